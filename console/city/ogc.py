"""The map as OGC API - Features, Part 1: Core (OGC 17-069r4): landing page, conformance, collections, items.

What answers GeoJSON is joined from the texts that the store keeps; nothing is decoded on the way. Each layer
is a collection. A caller sees the layers of its role, and in them what lies in its jurisdiction.
"""

import json
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from console.city.auth import reached
from console.city.context import city_of
from console.city.layers import seen_layer, seen_layers, title_of
from console.city.ogcquery import CRS84, MOST, USUAL, after_of, window_of
from console.city.parameters import free_query
from console.problems import Problem
from events.media import rfc3339
from storage.city.features import Layer, Page

router = APIRouter(prefix="/ogc", tags=["map"])

GEOJSON = "application/geo+json"
OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
CONFORMS = (
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
)
Name = Annotated[str, Path(description="A layer, as /ogc/collections lists them.", examples=["component"])]


def _object(text: str, media: str = "application/json") -> dict[int | str, dict[str, Any]]:
    return {200: {"description": text, "content": {media: {"schema": {"type": "object"}}}}}


def _json(body: object) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), media_type="application/json")


def _link(href: str, rel: str, media: str = "application/json", title: str = "") -> dict[str, str]:
    return {"href": href, "rel": rel, "type": media} | ({"title": title} if title else {})


def _base(request: Request) -> str:
    # `base_url` is of the outermost application; this one is mounted below it.
    return str(request.base_url.replace(path=f"{request.scope['root_path']}/ogc"))


@router.get("", summary="What this API is", responses=_object("The landing page."))
@router.get("/", include_in_schema=False)
def landing(request: Request) -> Response:
    reached(request, "map.read")
    base = _base(request)
    return _json(
        {
            "title": f"{city_of(request).name}: one map",
            "description": "Jurisdictions, buildings, components, organisations, cameras, alerts, cases.",
            "links": [
                _link(f"{base}/", "self", title="This document"),
                _link(
                    f"{base.removesuffix('/ogc')}/openapi.json", "service-desc", OPENAPI, "The description"
                ),
                _link(f"{base}/conformance", "conformance", title="What it conforms to"),
                _link(f"{base}/collections", "data", title="The layers"),
            ],
        }
    )


@router.get("/conformance", summary="What it conforms to", responses=_object("Conformance classes."))
def conformance(request: Request) -> Response:
    reached(request, "map.read")
    return _json({"conformsTo": CONFORMS})


@router.get("/collections", summary="The layers", responses=_object("Each with its extent and links."))
def collections(request: Request) -> Response:
    layers, _ = seen_layers(request)
    base = _base(request)
    return _json(
        {
            "links": [_link(f"{base}/collections", "self")],
            "collections": [_collection(request, layer) for layer in layers],
        }
    )


@router.get("/collections/{name}", summary="A layer", responses=_object("Extent and links."))
def collection(request: Request, name: Name) -> Response:
    layer, _ = seen_layer(request, name)
    return _json(_collection(request, layer))


def _collection(request: Request, layer: Layer) -> dict[str, Any]:
    here = f"{_base(request)}/collections/{quote(layer.name)}"
    found: dict[str, Any] = {
        "id": layer.name,
        "title": title_of(city_of(request), layer.name),
        "itemType": "feature",
        "crs": [CRS84],
        "links": [_link(here, "self"), _link(f"{here}/items", "items", GEOJSON)],
    }
    if layer.bbox is not None:
        found["extent"] = {
            "spatial": {"bbox": [list(layer.bbox)], "crs": CRS84},
            "temporal": {"interval": [[None, None]]},
        }
    return found


class Asked(NamedTuple):
    """What of a page FastAPI checks; the rest is read as strictly as the standard has it."""

    limit: int


def asked(
    bbox: Annotated[
        str | None,
        Query(description="west,south,east,north; west above east is over the antimeridian."),
    ] = None,
    bbox_crs: Annotated[str | None, Query(alias="bbox-crs", description=CRS84)] = None,
    datetime: Annotated[
        str | None, Query(description="RFC 3339 moment, or interval with .. for an open end.")
    ] = None,
    limit: Annotated[int, Query(ge=1, description=f"At most so many; more than {MOST} are {MOST}.")] = USUAL,
    after: Annotated[str | None, Query(description="As the `next` link has it.")] = None,
    area: Annotated[str | None, Query(description="How codes of their jurisdictions begin.")] = None,
) -> Asked:
    """The parameters that every layer has."""
    del bbox, bbox_crs, datetime, after, area  # by `window_of` and `after_of`
    return Asked(min(limit, MOST))


@router.get(
    "/collections/{name}/items", summary="Features of a layer", responses=_object("GeoJSON.", GEOJSON)
)
@free_query
def items(request: Request, name: Name, question: Annotated[Asked, Depends(asked)]) -> Response:
    """Any property of the layer is a parameter, too: `?state=damaged`. What is unknown is refused."""
    layer, prefix = seen_layer(request, name)
    params = request.query_params
    window, start = window_of(params, layer, prefix), after_of(params.get("after"))
    features = city_of(request).store.features
    page = features.items(layer.name, window, question.limit, start)
    whole = not start and not page.next
    matched = len(page.texts) if whole else features.count(layer.name, window)
    return Response(_answer(request, layer, page, matched), media_type=GEOJSON)


def _answer(request: Request, layer: Layer, page: Page, matched: int) -> str:
    here = f"{_base(request)}/collections/{quote(layer.name)}"
    given = dict(request.query_params)
    links = [
        _link(f"{here}/items" + (f"?{urlencode(given)}" if given else ""), "self", GEOJSON),
        _link(here, "collection"),
    ]
    if page.next:
        links.append(_link(f"{here}/items?{urlencode(given | {'after': page.next})}", "next", GEOJSON))
    head = {
        "type": "FeatureCollection",
        "links": links,
        "timeStamp": rfc3339(city_of(request).clock.wall_us()),
        "numberMatched": matched,
        "numberReturned": len(page.texts),
    }
    return f'{json.dumps(head, ensure_ascii=False)[:-1]},"features":[{",".join(page.texts)}]}}'


@router.get(
    "/collections/{name}/items/{id:path}", summary="A feature", responses=_object("GeoJSON.", GEOJSON)
)
def item(request: Request, name: Name, id: Annotated[str, Path(examples=["3704810101000001"])]) -> Response:
    layer, prefix = seen_layer(request, name)
    features = city_of(request).store.features
    text = features.feature(layer.name, id, prefix)
    if text is None:
        raise Problem(404, f"there is no {layer.name} {id[:60]!r}, as far as you may see")
    here = f"{_base(request)}/collections/{quote(layer.name)}"
    links = [_link(f"{here}/items/{quote(id)}", "self", GEOJSON), _link(here, "collection")]
    return Response(f'{text[:-1]},"links":{json.dumps(links)}}}', media_type=GEOJSON)

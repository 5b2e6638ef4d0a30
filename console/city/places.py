"""Single things of the map, changed by hand. Reading whole layers is `console.city.ogc`'s.

A change says which version its maker saw, by `If-Match: "7"` or `version`; -1 is of a thing that nobody has
edited yet, be it new or from a file. Of two at once one is told 412 or 409.
"""

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path
from starlette.requests import Request
from starlette.responses import Response

from city.features import Feature
from city.layers import KINDS
from city.rights import WHOLE, decide
from console.city.auth import needs, permit, reached
from console.city.context import city_of
from console.city.describing import answer, gives, reads, takes
from console.problems import Problem
from events.civic import Fact
from events.errors import ConfigError, NoSuchThing, NotShownYet, VersionConflict

router = APIRouter(prefix="/places", tags=["map"])

What = Annotated[str, Path(description=", ".join(KINDS), examples=["unit"])]
Id = Annotated[str, Path(max_length=64, examples=["U000001"])]
Match = Annotated[str | None, Header(max_length=40, examples=['"-1"'])]
_ETAG = re.compile(r'"(-1|[0-9]{1,9})"')
Moment = Annotated[int, msgspec.Meta(ge=0, le=1 << 52)]


class PlaceForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A thing as it is from now on. `parent` is found by the place if it is not given."""

    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    level: Annotated[str, msgspec.Meta(max_length=20)] = ""
    parent: Annotated[str, msgspec.Meta(max_length=64)] = ""
    geometry: dict[str, Any] | None = None
    """GeoJSON, WGS 84."""
    properties: dict[str, Fact | None] = {}
    since_us: Moment = 0
    until_us: Moment = 0
    version: Annotated[int, msgspec.Meta(ge=-1, le=1 << 30)] | None = None
    """What the caller saw, unless If-Match says it."""


class PlaceWas(msgspec.Struct, frozen=True, kw_only=True):
    """What a thing was."""

    from_us: int
    to_us: int
    feature: dict[str, Any]
    """GeoJSON."""


class PlaceShown(msgspec.Struct, frozen=True, kw_only=True):
    """A thing, its version, and what it was before."""

    version: int
    feature: dict[str, Any] | None
    """GeoJSON; null: it is gone."""
    before: tuple[PlaceWas, ...]


_EXAMPLE = {
    "name": "Corner shop",
    "geometry": {"type": "Point", "coordinates": [117.02, 35.02]},
    "properties": {"kind": "shop"},
    "version": -1,
}


@router.get(
    "/{what}/{id}", summary="A thing with its version and history", responses=gives(PlaceShown, "The thing.")
)
def place(request: Request, what: What, id: Id) -> Response:
    return _shown(request, what, id)


@router.put(
    "/{what}/{id}",
    summary="Make or change a thing",
    responses=gives(PlaceShown, "The thing after it."),
    openapi_extra=takes(PlaceForm, _EXAMPLE),
    dependencies=[needs("map.write")],
)
def put_place(
    request: Request,
    what: What,
    id: Id,
    form: Annotated[PlaceForm, reads(PlaceForm)],
    if_match: Match = None,
) -> Response:
    values = {name: getattr(form, name) for name in form.__struct_fields__ if name != "version"}
    version = _version(if_match, form.version)
    return _change(request, Feature(id=id, what=what, **values), version, if_match is not None)


@router.delete(
    "/{what}/{id}",
    summary="Take a thing off the map",
    responses=gives(PlaceShown, "What it was."),
    dependencies=[needs("map.write")],
)
def delete_place(request: Request, what: What, id: Id, if_match: Match = None) -> Response:
    gone = Feature(id=id, what=what)
    return _change(request, gone, _version(if_match, None), True, gone=True)


def _change(
    request: Request, feature: Feature, version: int, matched: bool, *, gone: bool = False
) -> Response:
    what, id = _known(feature.what), feature.id
    desk = city_of(request).map
    was = city_of(request).store.features.get(what, id)
    actor = permit(request, "map.write", was.area if was is not None else WHOLE, what="map.write", object=id)
    try:
        made = desk.change(what, id, None if gone else feature, version, actor)
        desk.shown(what, id, made)
    except VersionConflict as error:
        raise Problem(412 if matched else 409, str(error), "If-Match" if matched else "version") from error
    except ConfigError as error:
        raise Problem(422, str(error)) from error
    except NoSuchThing as error:
        raise Problem(404, str(error)) from error
    except NotShownYet as error:
        raise Problem(503, str(error)) from error
    return _shown(request, what, id)


def _shown(request: Request, what: str, id: str) -> Response:
    actor, _ = reached(request, "map.read")
    features = city_of(request).store.features
    text, before = features.feature(_known(what), id), features.before(what, id)
    found = features.get(what, id)
    seen = found is None or decide(actor, "map.read", found.area).allowed
    gone = found is None and not (before and actor.place == WHOLE)
    if (gone or not seen) and request.method != "DELETE":
        raise Problem(404, f"there is no {what} {id!r}, as far as you may see")
    version = city_of(request).map.version(what, id)
    shown = PlaceShown(
        version=version,
        feature=None if text is None or not seen else msgspec.json.decode(text),
        before=tuple(
            PlaceWas(from_us=was.from_us, to_us=was.to_us, feature=msgspec.json.decode(was.text))
            for was in before
        ),
    )
    return answer(shown, 200, {"etag": f'"{version}"'})


def _known(what: str) -> str:
    if what not in KINDS:
        raise Problem(404, f"there is no kind {what[:40]!r}; there are {', '.join(KINDS)}", "what")
    return what


def _version(if_match: str | None, given: int | None) -> int:
    if if_match is not None:
        matched = _ETAG.fullmatch(if_match.strip())
        if matched is None:
            raise Problem(400, 'If-Match must be the version in quotes, e.g. "3"', "If-Match")
        if given is not None and given != int(matched[1]):
            raise Problem(400, "If-Match and version say different things; send one of them", "version")
        return int(matched[1])
    if given is None:
        raise Problem(428, 'say which version you saw: If-Match: "3", or -1 if nobody edited it', "If-Match")
    return given

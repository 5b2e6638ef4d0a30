"""OGC API - Features over a real server: the standard's abstract tests (17-069r4, Annex A), and three clients
that nobody here wrote."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pyogrio
import pytest
import shapely
from owslib.ogcapi.features import Features

from city.features import Feature
from tests.city_stage import CITY, COMMUNITY, FAR, GRID, GRID2, TOWN, CityStage, token_of

DAY_US = 86_400_000_000
NEW_YEAR_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""


def component(n: int, lon: float, lat: float, parent: str, **more: Any) -> Feature:
    state = "damaged" if n % 4 == 0 else "intact"
    return Feature(
        id=f"3704810101{n:06}",
        what="component",
        name="上水井盖",
        parent=parent,
        geometry=more.pop("geometry", {"type": "Point", "coordinates": [lon, lat]}),
        properties={"class": "0101", "state": state, "depth": n / 2, "smart": n == 1},
        **more,
    )


COMPONENTS = [
    *(component(n, 117.001 + n / 1000, 35.01, GRID) for n in range(20)),
    component(20, 0, 0, GRID2, since_us=NEW_YEAR_US, until_us=NEW_YEAR_US + DAY_US,
              geometry={"type": "LineString", "coordinates": [[117.06, 35.05], [117.09, 35.09]]}),
    component(21, 117.3, 35.1, FAR, since_us=NEW_YEAR_US + 10 * DAY_US),
]  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = request.getfixturevalue("postgis").new_database() if request.param == "postgis" else None
    with CityStage(tmp_path_factory.mktemp("ogc"), where) as stage:
        for one in COMPONENTS:
            stage.put(one)
        stage.put(Feature(id="roster", what="duty", parent=GRID, properties={"role": "grid head"}))
        stage.settled()
        yield stage


@pytest.fixture
def client(stage: CityStage) -> Iterator[httpx.Client]:
    with stage.client("viewer") as client:
        yield client


def get(client: httpx.Client, path: str, status: int = 200, **params: Any) -> Any:
    answer = client.get(f"/city/ogc{path}", params={k.replace("_", "-"): v for k, v in params.items()})
    assert answer.status_code == status, answer.text
    return answer.json()


def items(client: httpx.Client, **params: Any) -> Any:
    return get(client, "/collections/component/items", **{"limit": 1000, **params})


def ids(page: Any) -> set[int]:
    return {int(feature["id"][10:]) for feature in page["features"]}


def links(body: Any) -> dict[str, dict[str, str]]:
    return {link["rel"]: link for link in body["links"]}


# -- A.2.1 to A.2.3: landing page, API definition, conformance


@pytest.mark.parametrize("path", ["", "/"])
def test_landing_page_links_to_description_conformance_and_data(client: httpx.Client, path: str) -> None:
    found = links(get(client, path))
    assert {"self", "service-desc", "conformance", "data"} <= found.keys()
    for rel in ("self", "service-desc", "conformance", "data"):
        answer = client.get(found[rel]["href"])
        assert answer.status_code == 200, rel
        if rel != "service-desc":
            assert answer.headers["content-type"] == found[rel]["type"]
    described = client.get(found["service-desc"]["href"]).json()
    assert "/ogc/collections/{name}/items" in described["paths"]


def test_conformance_names_core_and_geojson(client: httpx.Client) -> None:
    base = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/"
    assert set(get(client, "/conformance")["conformsTo"]) == {base + "core", base + "geojson"}


# -- A.2.4: collections


def test_collections_are_described_alike_in_the_list_and_alone(client: httpx.Client) -> None:
    whole = get(client, "/collections")
    assert "self" in links(whole)
    names = [one["id"] for one in whole["collections"]]
    assert names == ["component", "duty", "jurisdiction"]
    for one in whole["collections"]:
        assert get(client, f"/collections/{one['id']}") == one
        assert {"self", "items"} <= links(one).keys()
        assert links(one)["items"]["type"] == "application/geo+json"
        assert one["itemType"] == "feature"
        assert client.get(links(one)["items"]["href"]).status_code == 200
    west, south, east, north = whole["collections"][2]["extent"]["spatial"]["bbox"][0]
    assert (west, south, east, north) == (117.0, 35.0, 117.4, 35.2)


@pytest.mark.parametrize("path", ["/collections/nothing", "/collections/nothing/items", "/nothing"])
def test_what_there_is_not_is_404(client: httpx.Client, path: str) -> None:
    get(client, path, 404)


# -- A.2.5: features


def test_a_page_says_what_it_is(client: httpx.Client) -> None:
    answer = client.get("/city/ogc/collections/component/items")
    assert answer.headers["content-type"] == "application/geo+json"
    page = answer.json()
    assert page["type"] == "FeatureCollection"
    assert page["numberMatched"] == len(COMPONENTS)
    assert page["numberReturned"] == len(page["features"]) == 10, "the standard's usual limit"
    assert page["timeStamp"].endswith("Z")
    assert {"self", "collection", "next"} <= links(page).keys()
    for feature in page["features"]:
        assert feature["type"] == "Feature"
        assert shapely.is_valid(shapely.from_geojson(json.dumps(feature["geometry"])))


@pytest.mark.parametrize("limit", [1, 7, 21, 22, 23])
@pytest.mark.parametrize("more", [{}, {"bbox": "117,35,117.4,35.2", "state": "intact"}])
def test_pages_give_everything_once(client: httpx.Client, limit: int, more: dict[str, str]) -> None:
    wanted = ids(items(client, **more))
    seen: list[int] = []
    href = str(client.build_request("GET", "/city/ogc/collections/component/items",
                                    params={**more, "limit": limit}).url)  # fmt: skip
    while href:
        page = client.get(href).json()
        assert page["numberMatched"] == len(wanted)
        assert page["numberReturned"] <= limit
        seen += ids(page)
        href = links(page).get("next", {}).get("href", "")
    assert len(seen) == len(set(seen))
    assert set(seen) == wanted


def test_a_larger_limit_than_there_is_is_the_largest(client: httpx.Client) -> None:
    assert items(client, limit=1_000_000)["numberReturned"] == len(COMPONENTS)


@pytest.mark.parametrize(
    ("bbox", "found"),
    [
        ("117.0,35.0,117.0035,35.02", {0, 1, 2}),
        ("117.001,35.01,117.001,35.01", {0}),
        ("117.0,35.0,-100,117.0035,35.02,9000", {0, 1, 2}),
        ("117.06,35.05,117.07,35.06", {20}),
        ("117.08,35.05,117.09,35.06", set()),  # within the box around the line, not on it
        ("117.05,35.0,117.5,35.3", {20, 21}),
        ("-180,-90,180,90", set(range(22))),
        ("117.25,35.0,-170,36", {21}),  # over the antimeridian
        ("170,35.0,117.0035,36", {0, 1, 2}),
        ("1,1,2,2", set()),
    ],
)
def test_bbox(client: httpx.Client, bbox: str, found: set[int]) -> None:
    page = items(client, bbox=bbox)
    assert ids(page) == found
    assert page["numberMatched"] == len(found)
    first = items(client, bbox=bbox, limit=1)
    assert first["numberMatched"] == len(found)


def test_bbox_in_the_usual_system_may_be_said_to_be(client: httpx.Client) -> None:
    crs = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
    assert ids(items(client, bbox="1,1,2,2", bbox_crs=crs)) == set()


TIMELESS = set(range(20))


@pytest.mark.parametrize(
    ("datetime", "found"),
    [
        ("2026-01-01T12:00:00Z", {20}),
        ("2026-01-01T20:00:00+08:00", {20}),
        ("2026-01-01", {20}),
        ("2025-12-31T23:59:59Z", set()),
        ("2026-01-02T00:00:01Z", set()),
        ("2026-01-11T00:00:00Z/..", {21}),
        ("2026-01-02T00:00:00Z/2026-01-10T00:00:00Z", {20}),
        ("../2026-01-01T00:00:00Z", {20}),
        ("/2026-01-01T00:00:00Z", {20}),
        ("2026-01-01/2026-01-12", {20, 21}),
    ],
)
def test_datetime(client: httpx.Client, datetime: str, found: set[int]) -> None:
    """What has no time of its own is of any time."""
    page = items(client, datetime=datetime)
    assert ids(page) == found | TIMELESS
    assert page["numberMatched"] == len(found) + len(TIMELESS)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"state": "damaged"}, {0, 4, 8, 12, 16, 20}),
        ({"state": "damaged", "bbox": "117.05,35,118,36"}, {20}),
        ({"class": "0102"}, set()),
        ({"class": "0101", "smart": "true"}, {1}),
        ({"depth": "2.5"}, {5}),
        ({"parent": GRID2}, {20}),
        ({"area": TOWN}, set(range(21))),
        ({"area": "3_"}, set()),
        ({"name": "上水井盖", "area": FAR}, {21}),
        ({"name": "' OR 1=1 --"}, set()),
    ],
)
def test_filters_by_property(client: httpx.Client, filters: dict[str, str], found: set[int]) -> None:
    assert ids(items(client, **filters)) == found


def test_level_is_a_filter_of_jurisdictions(client: httpx.Client) -> None:
    page = get(client, "/collections/jurisdiction/items", level="grid")
    assert {feature["id"] for feature in page["features"]} == {GRID, GRID2}


@pytest.mark.parametrize(
    "query",
    [
        "unknown=1", "bbox=", "bbox=1,2,3", "bbox=1,2,3,x", "bbox=1,2,3,nan", "bbox=1,5,3,4",
        "bbox=1,2,3,4,5",
        "bbox=-181,0,1,1", "bbox=0,0,1,91", "bbox=inf,0,1,1", "bbox-crs=EPSG:3857", "limit=0", "limit=-1",
        "limit=x", "limit=1.5", "limit=", "datetime=x", "datetime=..", "datetime=../..", "datetime=2026",
        "datetime=2026-01-02T00:00:00Z/2026-01-01T00:00:00Z", "datetime=2026-01-01T00:00:00",
        "datetime=2026-13-01T00:00:00Z", "datetime=2026-01-01T00:00:00Z/x/y", "after=x", "after=-1",
        "limit=1&limit=2", "state=a&state=b", "state=%00", "f=html",
    ],
)  # fmt: skip
def test_bad_and_unknown_parameters_are_400_and_named(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/city/ogc/collections/component/items?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if "%00" not in query:
        assert answer.json()["parameter"] == query.partition("=")[0]


@pytest.mark.parametrize("path", ["", "/conformance", "/collections", "/collections/component",
                                  "/collections/component/items/3704810101000001"])  # fmt: skip
def test_elsewhere_there_are_no_parameters(client: httpx.Client, path: str) -> None:
    get(client, path, 400, unknown="1")


def test_a_feature(client: httpx.Client) -> None:
    path = "/collections/component/items/3704810101000001"
    feature = get(client, path)
    assert feature["type"] == "Feature"
    assert feature["id"] == "3704810101000001"
    assert {"self", "collection"} <= links(feature).keys()
    assert client.get(links(feature)["self"]["href"]).json() == feature
    of_page = next(one for one in items(client)["features"] if one["id"] == feature["id"])
    assert feature == of_page | {"links": feature["links"]}
    get(client, "/collections/component/items/nothing", 404)


# -- who may see what


def test_nobody_sees_anything_without_a_token(stage: CityStage) -> None:
    with stage.client() as client:
        for path in ("", "/conformance", "/collections", "/collections/component/items"):
            get(client, path, 401)


@pytest.mark.parametrize(
    ("who", "found"),
    [("viewer", set(range(22))), ("operator", set(range(21))), ("grid1", set(range(20))), ("town2", {21})],
)
def test_each_sees_its_jurisdiction(stage: CityStage, who: str, found: set[int]) -> None:
    with stage.client(who) as client:
        assert ids(items(client)) == found
        assert ids(items(client, area="370481")) == found, "a filter does not widen it"
        assert ids(items(client, bbox="-180,-90,180,90")) == found
        for n in (0, 20, 21):
            get(client, f"/collections/component/items/3704810101{n:06}", 200 if n in found else 404)


# -- clients that nobody here wrote


def test_owslib_reads_it(stage: CityStage) -> None:
    headers = {"Authorization": f"Bearer {token_of('viewer')}"}
    client = Features(f"{stage.url}/city/ogc", headers=headers)
    assert client.conformance()["conformsTo"]
    assert set(client.feature_collections()) == {"component", "duty", "jurisdiction"}
    assert client.collection("component")["id"] == "component"
    page = client.collection_items("component", bbox=[117.0, 35.0, 117.0035, 35.02], limit=2)
    assert page["numberMatched"] == 3
    assert page["numberReturned"] == 2
    assert client.collection_item("component", "3704810101000020")["geometry"]["type"] == "LineString"


_GDAL = """
import json, sys, pyogrio, shapely
where, token = sys.argv[1:]
pyogrio.set_gdal_config_options({"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": token})
names = [str(name) for name, _ in pyogrio.list_layers(where)]
meta, _, shapes, _ = pyogrio.raw.read(where, layer="component", PAGE_SIZE="5")
_, _, boxed, _ = pyogrio.raw.read(where, layer="component", bbox=(117.0, 35.0, 117.0035, 35.02))
kinds = sorted({shapely.from_wkb(shape).geom_type for shape in shapes})
print(json.dumps([names, list(meta["fields"]), len(shapes), kinds, len(boxed)]))
"""


def test_gdals_client_of_the_standard_reads_all_pages(stage: CityStage) -> None:
    if "OAPIF" not in pyogrio.list_drivers():
        pytest.skip("this GDAL has no driver for OGC API - Features")
    # In a process of its own: it waits for the server without letting Python go on.
    command = [sys.executable, "-c", _GDAL, f"OAPIF:{stage.url}/city/ogc", token_of("viewer")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    names, fields, count, kinds, boxed = json.loads(done.stdout)
    assert {"component", "jurisdiction"} <= set(names)
    assert {"name", "state", "class", "depth", "smart"} <= set(fields)
    assert count == len(COMPONENTS)
    assert kinds == ["LineString", "Point"]
    assert boxed == 3


def test_gdals_geojson_reader_takes_a_page(client: httpx.Client, tmp_path: Any) -> None:
    path = tmp_path / "page.geojson"
    path.write_text(json.dumps(items(client)), encoding="utf-8")
    info = pyogrio.read_info(path)
    assert info["crs"] == "EPSG:4326"
    assert info["features"] == len(COMPONENTS)


def test_the_page_before_a_change_goes_on_after_it(stage: CityStage, client: httpx.Client) -> None:
    """A place that moves while somebody turns the pages hides nobody else."""
    first = items(client, limit=5)
    stage.put(Feature(id="roster", what="duty", parent=COMMUNITY, properties={"role": "grid head"}))
    stage.settled()
    rest = client.get(links(first)["next"]["href"].replace("limit=5", "limit=1000")).json()
    assert ids(first) | ids(rest) == set(range(22))
    assert get(client, "/collections/duty/items/roster")["properties"]["parent"] == COMMUNITY
    assert COMMUNITY[:6] == CITY

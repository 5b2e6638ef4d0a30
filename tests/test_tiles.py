"""Vector tiles over a real server, from both stores, decoded by their library."""

import math
from collections.abc import Iterator
from typing import Any

import mapbox_vector_tile
import pytest

from city.features import Feature
from console.city import tiles
from console.city.tiles import TileCache
from storage.city.engine import writing
from tests.city_stage import FAR, GRID, CityStage

MANY = 2_600


def numbers(lon: float, lat: float, z: int) -> tuple[int, int]:
    """Column and row of the tile at a place (as the scheme defines them)."""
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2
    return int((lon + 180) / 360 * (1 << z)), int(y * (1 << z))


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = request.getfixturevalue("postgis").new_database() if request.param == "postgis" else None
    with CityStage(tmp_path_factory.mktemp("tiles"), where) as stage:
        units = [
            Feature(id=f"u{n}", what="unit", name=f"店{n}", parent=GRID if n % 2 else FAR,
                    geometry={"type": "Point", "coordinates": [117.02 + n % 50 / 1e4, 35.02 + n // 50 / 1e4]},
                    properties={"kind": "shop", "open": True, "tags": ("a",)})
            for n in range(MANY)
        ]  # fmt: skip
        with writing(stage.store._engine) as connection:
            stage.store.features.put(connection, "unit", units)
        yield stage


def drawn(
    stage: CityStage,
    layer: str,
    z: int,
    place: tuple[float, float] = (117.02, 35.02),
    who: str = "viewer",
    **headers: str,
) -> Any:
    x, y = numbers(*place, z)
    with stage.client(who) as client:
        answer = client.get(f"/city/tiles/{layer}/{z}/{x}/{y}.mvt", headers=headers)
    return answer


def features(answer: Any, layer: str) -> list[Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    decoded = mapbox_vector_tile.decode(answer.content) if answer.content else {}
    return list(decoded.get(layer, {}).get("features", []))


def test_a_shape_lies_in_the_tile_where_it_lies_on_the_ground(stage: CityStage) -> None:
    z = 12
    found = features(drawn(stage, "jurisdiction", z), "jurisdiction")
    grid = next(one for one in found if one["properties"]["id"] == GRID)
    assert grid["properties"]["level"] == "grid"
    assert grid["geometry"]["type"] == "Polygon"
    # The grid's corner at 117.0, 35.0, where it is in the tile by the scheme's own formula.
    column, row = numbers(117.02, 35.02, z)
    x = ((117.0 + 180) / 360 * (1 << z) - column) * 4096
    y = (row + 1 - (1 - math.asinh(math.tan(math.radians(35.0))) / math.pi) / 2 * (1 << z)) * 4096
    ring = grid["geometry"]["coordinates"][0]
    inside = 0 <= x <= 4096 and 0 <= y <= 4096
    assert not inside or any(abs(px - x) < 8 and abs(py - y) < 8 for px, py in ring)
    assert all(-65 <= px <= 4096 + 65 and -65 <= py <= 4096 + 65 for px, py in ring), "clipped to its margin"


def test_near_by_everything_is_drawn_with_its_properties(stage: CityStage) -> None:
    found = features(drawn(stage, "unit", 18, (117.0201, 35.0201)), "unit")
    assert 0 < len(found) < MANY
    first = found[0]["properties"]
    assert (first["kind"], first["open"]) == ("shop", True)
    assert "tags" not in first
    assert "count" not in first


def test_from_afar_points_stand_for_many(stage: CityStage) -> None:
    far = features(drawn(stage, "unit", 8), "unit")
    assert 0 < len(far) < 20
    assert sum(one["properties"]["count"] for one in far) == MANY
    nearer = features(drawn(stage, "unit", 13), "unit")
    assert 0 < len(nearer) <= tiles.MOST
    assert {one["properties"]["count"] for one in nearer} == {2}


def test_small_shapes_are_left_out_from_afar(stage: CityStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "MOST", 7)
    found = features(drawn(stage, "jurisdiction", 2, who="auditor"), "jurisdiction")
    assert {one["properties"]["level"] for one in found} == {"city"}


@pytest.mark.parametrize(("who", "even"), [("viewer", True), ("grid1", False)])
@pytest.mark.parametrize("z", [8, 13, 17])
def test_each_sees_its_jurisdiction(stage: CityStage, who: str, even: bool, z: int) -> None:
    found = features(drawn(stage, "unit", z, (117.0221, 35.0221), who), "unit")
    ids = {int(one["properties"]["id"][1:]) for one in found if "id" in one["properties"]}
    if not even:
        assert ids, "no clusters for those who do not see all"
        assert {n % 2 for n in ids} == {1}
    elif z > 13:
        assert {n % 2 for n in ids} == {0, 1}


def test_a_tile_is_the_same_until_the_layer_changes(stage: CityStage) -> None:
    first = drawn(stage, "jurisdiction", 10)
    tag = first.headers["etag"]
    again = drawn(stage, "jurisdiction", 10, **{"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert drawn(stage, "jurisdiction", 10).content == first.content
    assert drawn(stage, "jurisdiction", 10, who="grid1").headers["etag"] != tag
    square = [[117.01, 35.01], [117.02, 35.01], [117.02, 35.02], [117.01, 35.01]]
    stage.put(Feature(id=f"{GRID}-S", what="jurisdiction", level="dedicated", parent=GRID,
                      geometry={"type": "Polygon", "coordinates": [square]}))  # fmt: skip
    stage.settled()
    changed = drawn(stage, "jurisdiction", 10, **{"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_a_tile_with_nothing_is_empty(stage: CityStage) -> None:
    assert features(drawn(stage, "unit", 14, (-100.0, 40.0)), "unit") == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(("nothing/1/0/0", 404), ("unit/1/2/0", 404), ("unit/1/0/2", 404), ("unit/23/0/0", 404)),
        *(("unit/x/0/0", 404), ("unit/1/0/0", 200), ("unit/0/0/0", 200)),
    ],
)
def test_what_is_asked_for_wrongly(stage: CityStage, path: str, status: int) -> None:
    with stage.client("viewer") as client:
        assert client.get(f"/city/tiles/{path}.mvt").status_code == status
    with stage.client() as client:
        assert client.get(f"/city/tiles/{path}.mvt").status_code in (401, 404)


def test_the_cache_keeps_what_was_used_last_within_its_bound() -> None:
    cache = TileCache(most=250)
    for name in "ab":
        cache.put(name, bytes(100))
    assert cache.get("a") is not None
    cache.put("c", bytes(100))
    assert [cache.get(name) is not None for name in "abc"] == [True, False, True]

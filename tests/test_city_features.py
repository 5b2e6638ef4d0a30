"""The map's part of the store, on both databases: places, times, layers, batches, history, alerts."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from city.features import Feature, to_geojson, to_line
from events.civic import PlaceChanged, PlacesImported, desk_source, place_source
from events.errors import EventRefused, StorageError
from events.events import AlertCleared, AlertRaised, AlertUpdated, AnyPayload, Event, Judged
from storage.city.engine import opened, writing
from storage.city.features import FeatureTables, Layer, Was, Window
from storage.city.featuretables import NO_PLACE
from storage.city.featurewrites import Driver
from storage.objects import FolderObjects

SITE = "s"


class Map:
    """Tables, and events that come to them."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.objects = FolderObjects(folder)
        self.tables = FeatureTables(engine, self.objects)
        self.next: dict[str, int] = {}

    def event(self, data: AnyPayload, source: str) -> Event:
        n = self.next[source] = self.next.get(source, -1) + 1
        return Event(id=f"{source} {n}", source=source, time_us=n, epoch=0, sequence=n, data=data)

    def project(self, *events: Event) -> None:
        with writing(self.engine) as connection:
            self.tables.project(connection, events)

    def alerts(self, *events: Event) -> None:
        with writing(self.engine) as connection:
            self.tables.project_alerts(connection, events)

    def put(self, layer: str, *features: Feature) -> None:
        with writing(self.engine) as connection:
            self.tables.put(connection, layer, features)

    def batch(self, what: str, *features: Feature, **more: Any) -> Event:
        body = b"".join(map(to_line, sorted(features, key=lambda one: one.id)))
        digest = hashlib.sha256(body).hexdigest()
        self.objects.put(f"places/{digest}", body)
        data = {"what": what, "object": f"places/{digest}", "sha256": digest, "rows": len(features),
                "valid_us": 1, "who": "w"}  # fmt: skip
        return self.event(PlacesImported(**data | more), desk_source(SITE))

    def ids(self, layer: str, **window: Any) -> list[str]:
        return sorted(feature.id for feature in self.tables.every(layer, Window(**window), page=3))


@pytest.fixture(params=["sqlite", "postgis"])
def map_(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Map]:
    where = request.getfixturevalue("database") if request.param == "postgis" else tmp_path / "city.db"
    engine = opened(where)
    yield Map(engine, tmp_path / "objects")
    engine.dispose()


def thing(id: str, lon: float = 117.0, lat: float = 35.0, what: str = "unit", **more: Any) -> Feature:
    geometry = more.pop("geometry", {"type": "Point", "coordinates": [lon, lat]})
    return Feature(id=id, what=what, geometry=geometry, **more)


def square(code: str, level: str, parent: str, west: float, east: float) -> Feature:
    ring = [[west, 35.0], [east, 35.0], [east, 35.1], [west, 35.1], [west, 35.0]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return Feature(id=code, what="jurisdiction", level=level, parent=parent, geometry=geometry)


TREE = (
    square("370481", "city", "", 117.0, 117.4),
    square("370481001", "town", "370481", 117.0, 117.2),
    square("370481001001", "community", "370481001", 117.0, 117.2),
    square("370481001001G01", "grid", "370481001001", 117.0, 117.1),
    square("370481001001G02", "grid", "370481001001", 117.1, 117.2),
    square("370481001001S01", "dedicated", "370481001001G01", 117.02, 117.04),
)


# -- batches and single changes


def test_a_batch_is_there_once_whatever_comes_again(map_: Map) -> None:
    first = map_.batch("unit", thing("a"), thing("b", name="店"))
    map_.project(first)
    before = map_.tables.layers()
    map_.project(first)
    map_.project(map_.batch("unit", thing("a"), thing("b", name="店")))
    assert map_.tables.layers() == before
    assert map_.tables.feature("unit", "b") == to_geojson(thing("b", name="店"))
    assert map_.tables.before("unit", "b") == []


def test_a_later_batch_changes_and_what_was_is_kept(map_: Map) -> None:
    map_.project(map_.batch("unit", thing("a", name="old"), thing("b"), thing("c")))
    map_.project(map_.batch("unit", thing("a", name="new"), thing("d"), valid_us=7))
    assert map_.ids("unit") == ["a", "b", "c", "d"]
    assert map_.tables.before("unit", "a") == [
        Was(from_us=1, to_us=7, text=to_geojson(thing("a", name="old")))
    ]


def test_what_a_complete_batch_lacks_is_gone_and_remembered(map_: Map) -> None:
    map_.project(map_.batch("unit", thing("a"), thing("b")))
    map_.project(map_.batch("unit", thing("b"), valid_us=9, complete=True))
    assert map_.ids("unit") == ["b"]
    assert [was.to_us for was in map_.tables.before("unit", "a")] == [9]
    assert map_.tables.layer("unit").count == 1  # type: ignore[union-attr]


def test_single_changes_make_move_and_remove(map_: Map) -> None:
    source = place_source(SITE, "unit", "a")

    def change(feature: Feature | None, at: int) -> Event:
        body = "" if feature is None else to_line(feature).decode()
        return map_.event(PlaceChanged(what="unit", feature="a", body=body, valid_us=at, who="w"), source)

    events = [change(thing("a"), 1), change(thing("a", 118.0, 36.0), 2), change(None, 3)]
    map_.project(*events[:2])
    assert map_.ids("unit", bbox=(117.9, 35.9, 118.1, 36.1)) == ["a"]
    assert map_.ids("unit", bbox=(116.9, 34.9, 117.1, 35.1)) == []
    assert map_.tables.taken(source) == 1
    map_.project(*events)
    assert map_.tables.get("unit", "a") is None
    assert [(was.from_us, was.to_us) for was in map_.tables.before("unit", "a")] == [(1, 2), (2, 3)]
    assert map_.tables.taken(source) == 2


def test_a_batch_that_is_another_or_none_is_refused_and_changes_nothing(map_: Map) -> None:
    map_.project(map_.batch("unit", thing("a")))
    with pytest.raises(EventRefused, match="SHA-256"):
        map_.project(map_.batch("unit", thing("b"), sha256="0" * 64))
    with pytest.raises(StorageError, match="not among the objects"):
        map_.project(map_.batch("unit", thing("b"), object="places/nowhere"))
    rubbish = b"{}\n"
    map_.objects.put("places/rubbish", rubbish)
    digest = hashlib.sha256(rubbish).hexdigest()
    with pytest.raises(EventRefused, match="features"):
        map_.project(map_.batch("unit", thing("b"), object="places/rubbish", sha256=digest))
    assert map_.ids("unit") == ["a"]


# -- questions

coordinate = st.integers(-40, 40).map(lambda n: n / 8)


@st.composite
def shape(draw: st.DrawFn) -> dict[str, Any] | None:
    kind = draw(st.sampled_from(["Point", "Point", "LineString", "Polygon", "none"]))
    x, y = draw(coordinate), draw(coordinate)
    w, h = draw(st.integers(1, 40)) / 8, draw(st.integers(1, 40)) / 8
    if kind == "Point":
        return {"type": "Point", "coordinates": [x, y]}
    if kind == "LineString":
        return {"type": "LineString", "coordinates": [[x, y], [x + w, y + h]]}
    if kind == "Polygon":
        return {"type": "Polygon", "coordinates": [[[x, y], [x + w, y], [x, y + h], [x, y]]]}
    return None


@given(
    shapes=st.lists(shape(), min_size=1, max_size=25),
    box=st.tuples(coordinate, coordinate, st.integers(0, 40), st.integers(0, 40)),
)
@settings(max_examples=25, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
def test_a_box_finds_what_touches_it_and_nothing_else(
    map_: Map, shapes: list[dict[str, Any] | None], box: tuple[float, float, int, int]
) -> None:
    features = [thing(f"{n}", geometry=geometry) for n, geometry in enumerate(shapes)]
    with writing(map_.engine) as connection:
        map_.tables.remove(connection, "unit", [str(n) for n in range(30)])
        map_.tables.put(connection, "unit", features)
    west, south = box[:2]
    frame = (west, south, west + box[2] / 8, south + box[3] / 8)
    wanted = {
        f.id for f in features
        if f.geometry and shapely.intersects(shapely.geometry.shape(f.geometry), shapely.box(*frame))
    }  # fmt: skip
    assert set(map_.ids("unit", bbox=frame)) == wanted
    assert map_.tables.count("unit", Window(bbox=frame)) == len(wanted)


@given(
    points=st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=40),
    box=st.tuples(coordinate, coordinate, st.integers(0, 40), st.integers(0, 40)),
    size=st.integers(1, 7),
)
@settings(max_examples=25, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
def test_where_all_are_points_a_box_finds_those_in_it_page_by_page(
    map_: Map, points: list[tuple[float, float]], box: tuple[float, float, int, int], size: int
) -> None:
    with writing(map_.engine) as connection:
        map_.tables.remove(connection, "unit", [str(n) for n in range(40)])
        map_.tables.put(connection, "unit", [thing(f"{n}", *at) for n, at in enumerate(points)])
    west, south = box[:2]
    frame = (west, south, west + box[2] / 8, south + box[3] / 8)
    wanted = {
        f"{n}" for n, (x, y) in enumerate(points) if frame[0] <= x <= frame[2] and frame[1] <= y <= frame[3]
    }
    found: list[str] = []
    page = map_.tables.items("unit", Window(bbox=frame), size)
    while True:
        assert len(page.texts) <= size
        found += [msgspec.json.decode(text)["id"] for text in page.texts]
        if not page.next:
            break
        page = map_.tables.items("unit", Window(bbox=frame), size, page.next)
    assert sorted(found) == sorted(wanted)
    assert map_.tables.count("unit", Window(bbox=frame)) == len(wanted)


def test_points_and_a_line_among_them_are_found_before_and_after_it_came(map_: Map) -> None:
    map_.put("unit", thing("a", 117.0), thing("b", 117.5), thing("c", 118.0))
    box = (117.4, 34.9, 117.6, 35.1)
    assert map_.ids("unit", bbox=box) == ["b"]
    line = {"type": "LineString", "coordinates": [[110.0, 35.0], [125.0, 35.0]]}
    map_.put("unit", thing("road", geometry=line))
    assert map_.ids("unit", bbox=box) == ["b", "road"]
    with writing(map_.engine) as connection:
        map_.tables.remove(connection, "unit", ["road"])
    assert map_.ids("unit", bbox=box) == ["b"]


def test_a_point_whose_cell_was_full_is_found(map_: Map, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Driver.last_in
    full = (1 << 21) - 1

    def last_in(self: Driver, firsts: list[int]) -> dict[int, int]:
        return {first: first + full for first in firsts if not first & NO_PLACE} | real(self, firsts)

    map_.put("unit", thing("first"))
    monkeypatch.setattr(Driver, "last_in", last_in)
    map_.put("unit", *(thing(f"late {n}", 117.0001) for n in range(3)))
    assert map_.ids("unit", bbox=(116.9, 34.9, 117.1, 35.1)) == ["first", "late 0", "late 1", "late 2"]


def test_places_where_both_sides_of_the_world_meet(map_: Map) -> None:
    map_.put("unit", thing("east", 179.9, 0.0), thing("west", -179.9, 0.0), thing("far", 0.0, 0.0))
    assert map_.ids("unit", bbox=(179.0, -1.0, -179.0, 1.0)) == ["east", "west"]
    assert map_.ids("unit", bbox=(-180.0, -90.0, 180.0, 90.0)) == ["east", "far", "west"]


def test_a_layer_says_what_it_has(map_: Map) -> None:
    map_.put("unit", thing("a", 1.0, 2.0, properties={"open": True, "floors": 3}), thing("b", 3.0, 4.0))
    map_.put("duty", Feature(id="d", what="duty", properties={"role": "grid head"}))
    duty, unit = map_.tables.layers()
    assert (unit.name, unit.count, unit.bbox) == ("unit", 2, (1.0, 2.0, 3.0, 4.0))
    assert unit.properties == {"open": "boolean", "floors": "number"}
    assert (duty.name, duty.bbox) == ("duty", None)
    assert map_.tables.layer("nothing") is None
    assert map_.tables.items("nothing", Window()).texts == []


def test_many_at_one_place_have_their_own_numbers(map_: Map) -> None:
    map_.put("unit", *(thing(f"{n:04}") for n in range(300)))
    map_.put("unit", *(thing(f"{n:04}") for n in range(250, 600)))
    assert len(map_.ids("unit", bbox=(117.0, 35.0, 117.0, 35.0))) == 600
    layer = map_.tables.layer("unit")
    assert isinstance(layer, Layer)
    assert [(c.features, c.lon, c.lat) for c in map_.tables.clusters(layer)] == [(600, 117.0, 35.0)]


@pytest.mark.parametrize("bad", ["x", "-1", "1" * 30, "٣"])
def test_a_page_goes_on_only_where_one_ended(map_: Map, bad: str) -> None:
    map_.put("unit", thing("a"))
    with pytest.raises(StorageError, match="next"):
        map_.tables.items("unit", Window(), after=bad)


# -- jurisdictions


def test_a_place_finds_its_chain_and_the_tree_follows_its_layer(map_: Map) -> None:
    assert map_.tables.locate(117.03, 35.05) == []
    map_.project(map_.batch("jurisdiction", *TREE))
    grid = ["370481", "370481001", "370481001001", "370481001001G01"]
    assert map_.tables.locate(117.05, 35.05) == grid
    assert map_.tables.locate(117.03, 35.05) == [*grid, "370481001001S01"]
    assert map_.tables.locate(117.1, 35.05) == grid, "on the border the lower code"
    assert map_.tables.locate(117.3, 35.05) == ["370481"]
    assert map_.tables.locate(0.0, 0.0) == []
    with writing(map_.engine) as connection:
        map_.tables.remove(connection, "jurisdiction", ["370481001001S01"], valid_us=5)
    assert map_.tables.locate(117.03, 35.05) == grid


# -- alerts


def raised(alert: str, place: tuple[float, float] | None = (117.05, 35.05)) -> AlertRaised:
    return AlertRaised(alert=alert, rule="r", kind="intrusion", severity="major", label="person", since_us=5,
                       place=place, detail={"why": "in the zone"})  # fmt: skip


def test_alerts_live_on_the_map(map_: Map) -> None:
    map_.project(map_.batch("jurisdiction", *TREE))
    camera = "/s/camera/gate"
    made = map_.event(raised("a"), camera)
    map_.alerts(made, map_.event(raised("nowhere", None), camera))
    alert = map_.tables.get("alerts", "a")
    assert alert is not None
    assert (alert.parent, alert.properties["state"], alert.since_us) == ("370481001001G01", "open", 5)
    assert map_.tables.get("alerts", "nowhere") is None
    moved = AlertUpdated(alert="a", rule="r", place=(117.15, 35.05))
    cleared = AlertCleared(alert="a", rule="r", reason="left", until_us=99)
    judged = Judged(alert="a", rule="r", verdict="true", who="w")
    map_.alerts(map_.event(moved, camera), map_.event(cleared, camera))
    map_.alerts(map_.event(judged, camera), made)
    alert = map_.tables.get("alerts", "a")
    assert alert is not None
    assert (alert.parent, alert.until_us) == ("370481001001G02", 99)
    assert (alert.properties["state"], alert.properties["verdict"]) == ("cleared", "true")
    assert alert.properties["source"] == "gate"


def test_a_judgement_may_come_before_its_alert(map_: Map) -> None:
    map_.alerts(map_.event(Judged(alert="a", rule="r", verdict="false", who="w"), "/s/judge"))
    map_.alerts(map_.event(raised("a"), "/s/camera/gate"))
    alert = map_.tables.get("alerts", "a")
    assert alert is not None
    assert alert.properties["verdict"] == "false"

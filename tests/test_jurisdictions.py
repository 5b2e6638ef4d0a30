"""The jurisdiction tree, component classes, duty rosters, features as text: what is pure about the map."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.components import load, shipped
from city.duties import days_flaw, hours_flaw, on_duty
from city.features import Feature, bounds, from_geojson, from_line, to_geojson, to_line
from city.jurisdictions import Jurisdictions, code_flaw, level_of
from events.errors import ConfigError
from storage.city.hilbert import ORDER, cells, distances, runs


def area(code: str, level: str, parent: str, box: tuple[float, float, float, float]) -> Feature:
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return Feature(id=code, what="jurisdiction", level=level, parent=parent,
                   geometry={"type": "Polygon", "coordinates": [ring]})  # fmt: skip


C = "370481001001"
CITY = area("370481", "city", "", (117.0, 35.0, 117.2, 35.2))
TOWN = area("370481001", "town", "370481", (117.0, 35.0, 117.2, 35.1))
COMMUNITY = area(C, "community", "370481001", (117.0, 35.0, 117.1, 35.1))
G1 = area(f"{C}G01", "grid", C, (117.0, 35.0, 117.05, 35.1))
G2 = area(f"{C}G02", "grid", C, (117.05, 35.0, 117.1, 35.1))
SCHOOL = area(f"{C}S01", "dedicated", f"{C}G01", (117.01, 35.01, 117.02, 35.02))
WHOLE = (CITY, TOWN, COMMUNITY, G1, G2, SCHOOL)


@pytest.mark.parametrize(
    ("level", "code", "parent", "part"),
    [
        ("city", "370481", "", ""),
        ("town", "370481001", "370481", ""),
        ("community", C, "370481001", ""),
        ("grid", f"{C}G01", C, ""),
        ("grid", f"{C}-12-3", C, ""),
        ("grid", f"{C}00000001", C, ""),
        ("dedicated", f"{C}S01", f"{C}G01", ""),
        ("city", "3704811", "", "6 digits"),
        ("town", "370481", "370481", "9 digits"),
        ("town", "370481001", "370482", "lies in 370481"),
        ("town", "370481001", "", "not given"),
        ("community", "37048100100A", "370481001", "12 digits"),
        ("community", "３70481001001", "370481001", "city"),
        ("grid", C, C, "letters or digits"),
        ("grid", f"{C}G 1", C, "letters or digits"),
        ("grid", f"{C}G01", "370481001002", "community"),
        ("street", "370481", "", "none of"),
        ("town", "370482001", "370482", "not of the city"),
    ],
)
def test_codes(level: str, code: str, parent: str, part: str) -> None:
    found = code_flaw(level, code, parent, "370481")
    assert (found == "") == (part == "")
    assert part in found


def test_levels_by_length() -> None:
    assert [level_of(code) for code in ("370481", "370481001", C, f"{C}G01", "37")] == [
        "city", "town", "community", "grid", "",
    ]  # fmt: skip


def test_a_tree_in_order_has_no_flaws() -> None:
    assert list(Jurisdictions(WHOLE).flaws()) == []


@pytest.mark.parametrize(
    ("wrong", "code", "part"),
    [
        (area(f"{C}G03", "grid", C, (117.04, 35.0, 117.06, 35.1)), f"{C}G03", "overlaps"),
        (area(f"{C}G03", "grid", C, (117.09, 35.0, 117.11, 35.1)), f"{C}G03", "outside its parent"),
        (area("370481001009G01", "grid", "370481001009", (0, 0, 1, 1)), "370481001009G01", "not there"),
        (area("370481002", "town", "370481", (117.1, 35.05, 117.2, 35.2)), "370481002", "overlaps 370481001"),
    ],
)
def test_flaws_name_who_is_wrong(wrong: Feature, code: str, part: str) -> None:
    found = [flaw for flaw in Jurisdictions((*WHOLE, wrong)).flaws() if part in flaw.text]
    assert found
    assert {flaw.code for flaw in found} == {code}


def test_a_border_drawn_twice_may_differ_by_half_a_metre() -> None:
    def with_gap(metres: float) -> list[Any]:
        edge = 117.05 - metres / 111_320 / np.cos(np.radians(35.05))
        return list(Jurisdictions((CITY, TOWN, COMMUNITY, G1, area(f"{C}G02", "grid", C,
                                  (edge, 35.0, 117.1, 35.1)))).flaws())  # fmt: skip

    assert with_gap(0.4) == []
    assert with_gap(2.0)


@given(lon=st.floats(116.95, 117.25), lat=st.floats(34.95, 35.25))
def test_a_place_is_found_alike_alone_and_among_many(lon: float, lat: float) -> None:
    tree = Jurisdictions(WHOLE)
    chain = tree.locate(lon, lat)
    many = tree.locate_all(np.array([0.0, lon, 117.015]), np.array([0.0, lat, 35.015]))
    assert many == ["", chain[-1] if chain else "", f"{C}S01"]
    for above, below in pairwise(chain):
        assert tree.nodes[below].parent == above


def test_component_classes_come_from_a_table_with_its_source(tmp_path: Any) -> None:
    table = shipped()
    assert set(table.majors) == {"01", "02", "03", "04", "05"}
    assert "memory" in table.source
    assert table.of("3704810101000001").name_zh == "上水井盖"  # type: ignore[union-attr]
    assert table.flaw("3704810101000001", "370481") == ""
    for code, part in (("370481010100001", "16 digits"), ("3704820101000001", "division"),
                       ("3704810100000001", "unknown"), ("٣704810101000001", "16 digits")):  # fmt: skip
        assert part in table.flaw(code, "370481"), code
    own = tmp_path / "own.toml"
    own.write_text('code-system = "local"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"own\.toml"):
        load(own)


def duty(id: str, **properties: str) -> Feature:
    return Feature(id=id, what="duty", parent=f"{C}G01", properties=properties, since_us=10, until_us=20)


def test_who_is_on_duty_by_dates_weekdays_and_hours() -> None:
    day = duty("day", role="grid head", hours="08:00-18:00", days="mon,tue")
    night = duty("night", role="grid head", hours="22:00-06:00", days="mon")
    always = duty("always", role="police")
    roster = [night, day, always]

    def at(text: str, us: int = 15, role: str = "") -> list[str]:
        return [one.id for one in on_duty(roster, us, datetime.fromisoformat(text).replace(tzinfo=UTC), role)]

    assert at("2026-11-30T08:00") == ["always", "day"]  # a Monday
    assert at("2026-11-30T18:00") == ["always"]
    assert at("2026-11-30T23:00", role="grid head") == ["night"]
    assert at("2026-12-01T05:59") == ["always", "night"], "it began on Monday"
    assert at("2026-12-01T23:00") == ["always"]
    assert at("2026-12-01T09:00", us=9) == []
    assert at("2026-12-01T09:00", us=20) == []


def test_hours_and_days_are_checked() -> None:
    assert [hours_flaw(text) == "" for text in ("", "08:00-18:00", "22:00-06:00", "00:00-24:00", "8-18",
            "08:60-09:00", "24:30-25:00")] == [True, True, True, True, False, False, False]  # fmt: skip
    assert [days_flaw(text) == "" for text in ("", "mon", "mon,sun", "monday")] == [True, True, True, False]


facts = st.one_of(st.text(), st.integers(-(2**50), 2**50), st.booleans(), st.lists(st.text()).map(tuple))
names = st.text(min_size=1).filter(lambda name: name not in ("name", "level", "parent", "since", "until"))


@given(
    st.builds(
        Feature,
        id=st.text(min_size=1), what=st.just("unit"), name=st.text(), level=st.text(), parent=st.text(),
        geometry=st.none() | st.just({"type": "Point", "coordinates": [1.5, 2.5]}),
        properties=st.dictionaries(names, facts),
        since_us=st.integers(0, 2**50), until_us=st.integers(0, 2**50),
    )
)  # fmt: skip
def test_a_feature_is_the_same_from_its_text(feature: Feature) -> None:
    assert from_geojson("unit", to_geojson(feature)) == feature
    assert from_line(to_line(feature)) == feature
    assert "\n" not in to_geojson(feature)


def test_bounds() -> None:
    line = {"type": "LineString", "coordinates": [[3, 1], [1, 2, 99]]}
    both = {"type": "GeometryCollection", "geometries": [line, {"type": "Point", "coordinates": [5, 0]}]}
    assert bounds(line) == (1, 1, 3, 2)
    assert bounds(both) == (1, 0, 5, 2)
    assert bounds(None) is None
    assert bounds({"type": "Point", "coordinates": []}) is None


def test_a_hilbert_curve_goes_through_each_cell_from_neighbour_to_neighbour() -> None:
    x, y = (axis.ravel().astype(np.int64) for axis in np.meshgrid(np.arange(16), np.arange(16)))
    order = np.argsort(distances(x, y, 4))
    assert sorted(distances(x, y, 4).tolist()) == list(range(256))
    steps = np.abs(np.diff(x[order])) + np.abs(np.diff(y[order]))
    assert steps.max() == 1
    assert cells([(-180.0, -90.0, -180.0, -90.0), (180.0, 90.0, 180.0, 90.0)]).tolist()[0] == 0


@given(
    st.floats(-180, 180), st.floats(-90, 90), st.floats(0, 1), st.floats(0, 1), st.integers(0, 12),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20),
)  # fmt: skip
def test_runs_of_cells_hold_every_point_of_a_box(
    x: float, y: float, w: float, h: float, scale: int, points: list[tuple[float, float]]
) -> None:
    box = (x, y, min(180.0, x + w * 360 / 4**scale), min(90.0, y + h * 180 / 3**scale))
    found = runs([box])
    assert found == sorted(found)
    assert all(end < start for (_, end), (start, _) in pairwise(found))
    assert len(found) <= 128
    for a, b in points:
        lon, lat = box[0] + a * (box[2] - box[0]), box[1] + b * (box[3] - box[1])
        lon, lat = min(lon, box[2]), min(lat, box[3])
        (cell,) = cells([(lon, lat, lon, lat)]).tolist()
        assert any(first <= cell < end for first, end in found)


def test_runs_of_a_small_box_are_not_much_more_than_it_is() -> None:
    cell_lon, cell_lat = 360 / 2**ORDER, 180 / 2**ORDER
    found = runs([(117.0, 35.0, 117.0 + 5.5 * cell_lon, 35.0 + 5.5 * cell_lat)])
    assert sum(end - first for first, end in found) in (36, 42, 49)
    whole = runs([(-180.0, -90.0, 0.0, 90.0), (0.0, -90.0, 180.0, 90.0)])
    assert whole == [(0, 4**ORDER)]

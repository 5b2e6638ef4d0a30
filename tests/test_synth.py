"""The synthetic city: the same bytes for the same seed, ground that tiles, people whose numbers are right."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import STRtree, union_all
from shapely.geometry import Polygon, shape

from cli.main import main
from desk import synth
from desk.synthground import DIVISION, Ground, Plan
from events.errors import ConfigError
from testbed.intake import Intake

TINY = Plan.of(0.002)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def features(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["features"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A five-hundredth of the city."""
    folder = tmp_path_factory.mktemp("tiny")
    synth.make(folder, synth.City(TINY, 7), bad=True)
    return folder


def test_the_same_seed_gives_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    synth.make(tmp_path / "again", synth.City(TINY, 7), bad=True)
    assert contents(tmp_path / "again") == contents(tiny)
    synth.make(tmp_path / "other", synth.City(TINY, 8), bad=True)
    same = [name for name, body in contents(tmp_path / "other").items() if contents(tiny)[name] == body]
    assert same == ["bad/why.csv", "duties.geojson"]


@pytest.mark.parametrize("part", ["persons", "appeals", "estates"])
def test_a_part_made_apart_is_the_same(tiny: Path, tmp_path: Path, part: str) -> None:
    (name,) = synth.make(tmp_path, synth.City(TINY, 7), [part])
    assert (tmp_path / name).read_bytes() == (tiny / name).read_bytes()


def test_rows_are_as_planned(tmp_path: Path) -> None:
    plan = Plan.of(0.001)
    rows = synth.make(tmp_path, synth.City(plan, 3))
    wanted = {
        "persons": plan.persons, "homes": plan.homes, "appeals": plan.appeals, "components": plan.components,
        "units": plan.units,
    }  # fmt: skip
    assert {name: rows[f"{name}.csv"] for name in wanted} == wanted
    for name, count in rows.items():
        there = len(read(tmp_path / name)) if name.endswith("csv") else len(features(tmp_path / name))
        assert there == count, name
    full = Plan.of(1.0)
    assert full == Plan()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    towns=st.integers(1, 8),
    more=st.integers(0, 20),
    grids=st.integers(1, 6),
)
def test_jurisdictions_tile(seed: int, towns: int, more: int, grids: int) -> None:
    plan = Plan(towns=towns, sub_districts=1, communities=towns + more, grids=grids, cells=7)
    ground = Ground(plan, seed)
    whole = Polygon(ground.ring(ground.city.rect))
    for areas in (ground.towns, ground.communities, ground.grids):
        shapes = [Polygon(ground.ring(one.rect)) for one in areas]
        assert all(one.is_valid and one.exterior.is_ccw for one in shapes)
        assert union_all(shapes).symmetric_difference(whole).area < 1e-15  # no gap
        assert sum(one.area for one in shapes) == pytest.approx(whole.area, rel=1e-12)  # no overlap
    assert len(ground.towns) == towns
    assert len(ground.communities) == towns + more


def test_buildings_stand_in_their_grids_and_apart(tiny: Path) -> None:
    areas = {f["id"]: shape(f["geometry"]) for f in features(tiny / "jurisdictions.geojson")}
    built = features(tiny / "buildings.geojson")
    shapes = [shape(f["geometry"]) for f in built]
    assert all(areas[f["properties"]["parent"]].contains(one) for f, one in zip(built, shapes, strict=True))
    first, second = STRtree(shapes).query(shapes, predicate="intersects")
    assert (first == second).all()


def test_identity_numbers_are_right_and_nobodys(tiny: Path) -> None:
    people = read(tiny / "persons.csv")
    numbers = [row["identity"] for row in people if row["identity"]]
    assert len(set(numbers)) == len(numbers) > 0.9 * len(people)
    for row in people:
        number = row["identity"]
        if not number:
            continue
        # ISO 7064 as it is defined: the value of all eighteen digits leaves 1.
        values = [10 if c == "X" else int(c) for c in number]
        assert sum(value * 2 ** (17 - n) for n, value in enumerate(values)) % 11 == 1
        assert number.startswith(DIVISION)
        assert number[6:14] == row["born"].replace("-", "")
        assert (int(number[16]) % 2 == 1) == (row["sex"] == "male")
    assert all(row["phone"] == "" or row["phone"].startswith("100") for row in people)


def test_appeals_are_mixed_as_hotlines_say(tmp_path: Path) -> None:
    synth.make(tmp_path, synth.City(Plan.of(0.01), 7), ["appeals", "duplicates"])
    rows = read(tmp_path / "appeals.csv")
    share = {kind: sum(row["kind"] == kind for row in rows) / len(rows) for kind in ("help", "complaint")}
    assert share == {"help": pytest.approx(0.56, abs=0.05), "complaint": pytest.approx(0.069, abs=0.02)}
    at_once = sum(row["answered_at_once"] == "yes" for row in rows) / len(rows)
    assert at_once == pytest.approx(0.86, abs=0.02)
    assert [row["received"] for row in rows] == sorted(row["received"] for row in rows)
    by = {row["reference"]: row for row in rows}
    pairs = [pair for pair in read(tmp_path / "duplicates.csv") if pair["same_person"] == "yes"]
    assert pairs
    for pair in pairs:
        later, first = by[pair["reference"]], by[pair["of"]]
        assert later["phone"] == first["phone"]


def test_a_neighbourhood_lies_where_it_is_wanted(tmp_path: Path) -> None:
    synth.small(tmp_path, 5, centre=(9.0, 48.0))
    for row in read(tmp_path / "components.csv"):
        assert float(row["lon"]) == pytest.approx(9.0, abs=0.02)
        assert float(row["lat"]) == pytest.approx(48.0, abs=0.02)
    assert "Nobody and nothing in this folder is real" in (tmp_path / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def desk(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    """What a city's desk made of it."""
    folder = tmp_path_factory.mktemp("desk")
    with Intake(folder / "city.db", folder / "vault.db", folder, tiny) as desk:
        for what, done in desk.layers().items():
            assert not done.report.rejected, (what, done.report.rejected[:3])
        yield desk


def test_importers_take_all_of_it(desk: Intake, tiny: Path) -> None:
    for name, what in (("components.csv", "component"), ("units.csv", "unit")):
        done = desk.layer(name, what).report
        assert (done.accepted, done.rejected) == (len(read(tiny / name)), ()), what
        desk.projected()
    homes = desk.register("homes.csv", "home")
    desk.projected()
    persons = desk.register("persons.csv", "person")
    appeals = desk.appeals()
    desk.projected()
    assert (homes.taken, homes.rejected) == (TINY.homes, 0)
    assert (persons.taken, persons.rejected) == (TINY.persons, 0)
    assert (appeals.taken, appeals.rejected) == (TINY.appeals, 0)
    assert desk.store.registers.sums("", "2025-12-31").persons == TINY.persons
    (row,) = desk.store.cases.closure("appeal", "2022-01-01", "2026-01-01", "scenario")
    rows = read(tiny / "appeals.csv")
    assert row.opened == TINY.appeals
    assert row.closed == sum(bool(r["closed"]) for r in rows)
    assert row.solved == sum(r["verdict"].startswith("solved") for r in rows)
    # What was said twice is mostly seen to be: by the same person through another channel, by a neighbour.
    assert appeals.linked > len(read(tiny / "duplicates.csv")) / 3
    unplaced = sum(not (r["lon"] or r["address"]) for r in rows)
    assert appeals.unplaced >= unplaced > 0


def test_importers_refuse_what_is_bad_and_nothing_else(desk: Intake, tiny: Path) -> None:
    why = read(tiny / "bad" / "why.csv")

    def bad(name: str) -> list[int]:
        return [int(row["row"]) for row in why if row["file"] == name]

    components = desk.layer("bad/components.csv", "component").report
    assert sorted(one.row - 1 for one in components.rejected) == bad("components.csv")
    areas = desk.layer("bad/jurisdictions.geojson", "jurisdiction").report
    assert {one.row for one in areas.rejected} == set(bad("jurisdictions.geojson"))
    desk.register("homes.csv", "home")
    desk.projected()
    persons = desk.register("bad/persons.csv", "person")
    assert sorted(one.row - 1 for one in persons.first) == bad("persons.csv")
    assert desk.register("bad/persons-gb18030.csv", "person").rejected == 0
    assert desk.register("bad/persons-merged.xlsx", "person").rows == 5
    assert desk.appeals("bad/appeals.csv").rejected == len(bad("appeals.csv"))


def test_the_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["synth", str(tmp_path / "a"), "--seed", "7", "--small", "--bad"])
    assert done.exit_code == 0, done.output
    assert "persons.csv" in done.output
    assert (tmp_path / "a" / "bad" / "why.csv").is_file()
    with pytest.raises(ConfigError, match="no part 'people'"):
        synth.make(tmp_path / "b", synth.City(TINY, 7), ["people"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="name another folder"):
        synth.make(tmp_path / "file", synth.City(TINY, 7), ["units"])

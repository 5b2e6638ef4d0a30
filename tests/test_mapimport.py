"""Files put on the map: row by row, dry, again, mended; single edits; the GeoPackage read back."""

import csv
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from city.features import Feature
from city.rights import Actor
from desk import synth
from desk.mapbatch import Report, write_rejected
from desk.mapexport import export
from desk.mapimport import MapDesk, Options
from desk.synthground import CENTRE, DIVISION
from events.clock import SystemClock
from events.errors import AccessDenied, ConfigError, NoSuchThing, VersionConflict
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.objects import FolderObjects

ADMIN = Actor("admin", "administrator", "*")


class Desk:
    """A desk over a journal and a store that follows it when told to."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.journal = Journal(folder / "journal.db", clock)
        objects = FolderObjects(folder / "objects")
        self.vault = Vault(folder / "vault.db", bytes(range(32)))
        self.store = CityStore(folder / "city.db", objects, self.vault)
        self.features = self.store.features
        self.map = MapDesk(self.journal, self.store, objects, clock, "s", DIVISION)
        self.folder = folder

    def follow(self) -> None:
        records = self.journal.read(self.store.offset("log"), 1000)
        if records:
            self.store.apply("log", records)

    def load(self, path: Path, what: str, **how: Any) -> Report:
        report = self.map.load(path, what, how.pop("actor", ADMIN), Options(**how)).report
        self.follow()
        return report

    def csv(self, text: str, what: str = "component", encoding: str = "utf-8", **how: Any) -> Report:
        path = self.folder / "file.csv"
        path.write_bytes(text.encode(encoding))
        return self.load(path, what, **how)

    def close(self) -> None:
        self.journal.close()
        self.store.close()
        self.vault.close()


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth")
    small = synth.City(synth.SMALL, 7)
    synth.make(folder, small, ("jurisdictions", "buildings", "components", "duties", "estates"), bad=True)
    return folder


@pytest.fixture
def desk(tmp_path: Path, city: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    assert not made.load(city / "jurisdictions.geojson", "jurisdiction").rejected
    yield made
    made.close()


def why(report: Report) -> dict[str, tuple[str, str]]:
    return {one.id: (one.field, one.why) for one in report.rejected}


HEAD = "code,name,lon,lat,state\n"
LON, LAT = CENTRE


def row(serial: int, lon: float = LON, lat: float = LAT, state: str = "intact", kind: str = "0101") -> str:
    return f"{DIVISION}{kind}{serial:06},井盖,{lon},{lat},{state}\n"


def test_a_city_comes_in_and_the_same_again_changes_nothing(desk: Desk, city: Path) -> None:
    for file, what in (("buildings.geojson", "building"), ("components.csv", "component"),
                       ("duties.geojson", "duty"), ("estates.geojson", "estate")):  # fmt: skip
        first = desk.load(city / file, what)
        assert first.rejected == (), file
        assert first.changed == first.accepted == first.rows > 0
        offset = desk.journal.last_offset()
        again = desk.load(city / file, what)
        assert (again.changed, again.event, again.batch) == (0, "", "")
        assert desk.journal.last_offset() == offset, "no event"
        assert desk.features.layer(what).count == first.rows  # type: ignore[union-attr]
    component = next(desk.features.every("component"))
    assert component.properties["class"] == component.id[6:10]
    assert component.parent in desk.features.ids("jurisdiction")


def test_a_dry_run_says_the_same_and_keeps_nothing(desk: Desk, city: Path) -> None:
    path = city / "components.csv"
    dry = desk.map.load(path, "component", ADMIN, dry=True).report
    assert desk.features.layer("component") is None
    wet = desk.load(path, "component")
    assert (dry.rows, dry.accepted, dry.changed, dry.batch) == (
        wet.rows,
        wet.accepted,
        wet.changed,
        wet.batch,
    )
    assert (dry.event, bool(wet.event)) == ("", True)


def test_bad_jurisdictions_are_told_with_the_reason(desk: Desk, city: Path) -> None:
    report = desk.load(city / "bad" / "jurisdictions.geojson", "jurisdiction")
    assert report.accepted == 0
    told = sorted(one.why for one in report.rejected)
    for part in ("crosses itself", "overlaps", "outside its parent", "its parent is", "Too few points"):
        assert any(part in text for text in told), part


def test_bad_rows_are_rejected_and_the_others_taken(desk: Desk) -> None:
    rows = (
        *(row(1), row(2, lon=0.0), row(3, lon=LAT, lat=LON), row(4, kind="0199"), row(5, state="gone")),
        *(row(1), row(6).replace(str(LAT), "north"), f"123,x,{LON},{LAT},\n"),
        *(row(7).replace(str(LON), "").replace(str(LAT), ""), f"{DIVISION}0101000008,only,three\n", row(9)),
    )
    report = desk.csv(HEAD + "".join(rows))
    found = why(report)
    assert report.accepted == 2
    fields = {id[10:] or id: field for id, (field, _) in found.items()}
    assert fields == {
        "000002": "geometry", "000003": "geometry", "000004": "code", "000005": "state", "000001": "id",
        "000006": "row", "123": "code", "000007": "geometry", "000008": "row",
    }  # fmt: skip
    assert "changed over" in found[f"{DIVISION}0101000003"][1]
    assert "in row 2" in found[f"{DIVISION}0101000001"][1]
    assert sorted(desk.features.ids("component")) == [f"{DIVISION}010100000{n}" for n in (1, 9)]


@pytest.mark.parametrize("suffix", ["csv", "geojson"])
def test_what_was_rejected_is_mended_and_sent_again(desk: Desk, suffix: str) -> None:
    path, aside = desk.folder / "survey.csv", desk.folder / f"aside.{suffix}"
    path.write_text(HEAD + row(1) + row(2, state="brokn"), encoding="utf-8")
    loaded = desk.map.load(path, "component", ADMIN)
    desk.follow()
    write_rejected(aside, loaded)
    text = aside.read_text(encoding="utf-8-sig")
    assert "brokn" in text
    assert "_why" in text
    aside.write_text(text.replace('"brokn"', '"damaged"').replace(",brokn,", ",damaged,"), encoding="utf-8")
    report = desk.load(aside, "component")
    assert (report.rejected, report.accepted) == ((), 1)
    mended = desk.features.get("component", f"{DIVISION}0101000002")
    assert mended is not None
    assert mended.properties["state"] == "damaged"
    assert not {"_why", "_row"} & mended.properties.keys()


def test_gb18030_and_both_mixed_are_read(desk: Desk) -> None:
    assert not desk.csv(HEAD + row(1).replace("井盖", "龘井") + row(4).replace("井盖", "联通"),
                        encoding="gb18030").rejected  # fmt: skip
    mixed = (HEAD + row(2)).encode() + row(3).encode("gb18030")
    (desk.folder / "mixed.csv").write_bytes(mixed)
    assert not desk.load(desk.folder / "mixed.csv", "component").rejected
    names = {feature.id[-1]: feature.name for feature in desk.features.every("component")}
    assert names == {"1": "龘井", "2": "井盖", "3": "井盖", "4": "联通"}


def test_columns_about_persons_are_left_out(desk: Desk) -> None:
    report = desk.csv(HEAD.strip() + ",联系人,Phone\n" + row(1).strip() + ",张三,13800000000\n")
    assert report.left_out == ("Phone", "联系人")
    text = desk.features.feature("component", f"{DIVISION}0101000001")
    assert text is not None
    assert "张三" not in text
    assert "138" not in text


def test_other_headings_are_mapped(desk: Desk) -> None:
    text = HEAD.replace("code", "OBJ").replace("state", "ZT") + row(1)
    report = desk.csv(text, fields={"id": "OBJ", "state": "ZT"})
    assert report.rejected == ()
    assert desk.features.get("component", f"{DIVISION}0101000001").properties["state"] == "intact"  # type: ignore[union-attr]


def test_a_complete_file_takes_away_but_not_with_mistakes_in_it(desk: Desk) -> None:
    desk.csv(HEAD + row(1) + row(2))
    wrong = desk.csv(HEAD + row(1) + row(2, state="x"), complete=True)
    assert (wrong.event, len(desk.features.ids("component"))) == ("", 2)
    right = desk.csv(HEAD + row(1), complete=True)
    assert (right.removed, desk.features.ids("component")) == (1, [f"{DIVISION}0101000001"])
    assert desk.features.before("component", f"{DIVISION}0101000002")


def test_each_fills_only_its_own_jurisdiction(desk: Desk) -> None:
    mine = desk.features.locate(LON, LAT)[-1]
    own, other = Actor("g", "grid worker", mine), Actor("g", "grid worker", "990481999999G01")
    assert not desk.csv(HEAD + row(1), actor=own).rejected
    assert "outside g's jurisdiction" in desk.csv(HEAD + row(2), actor=other).rejected[0].why
    for actor in (Actor("v", "viewer", "*"), Actor("n", "administrator", "")):
        with pytest.raises(AccessDenied):
            desk.csv(HEAD + row(3), actor=actor)
    with pytest.raises(AccessDenied, match="complete"):
        desk.csv(HEAD + row(3), actor=own, complete=True)


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("a.xyz", b"", "send .geojson"),
        ("a.csv", b"", "empty"),
        ("a.csv", b"a,a\n1,2\n", "twice"),
        ("a.geojson", b"{", "no GeoJSON"),
        ("a.geojson", b'{"type":"FeatureCollection","crs":{"name":"EPSG:2437"},"features":[]}', "ogr2ogr"),
        ("a.gpkg", b"no database", "cannot be read"),
    ],
)
def test_files_that_are_none(desk: Desk, name: str, data: bytes, part: str) -> None:
    (desk.folder / name).write_bytes(data)
    with pytest.raises(ConfigError, match=part):
        desk.load(desk.folder / name, "component")


def test_a_file_of_another_reference_system_is_refused_with_the_mend(desk: Desk) -> None:
    path = desk.folder / "gauss.gpkg"
    pyogrio.raw.write(
        path, np.array([shapely.to_wkb(shapely.Point(1, 1))], dtype=object), [np.array(["x"], dtype=object)],
        ["code"], layer="a", geometry_type="Point", crs="EPSG:2437", driver="GPKG",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="ogr2ogr -t_srs EPSG:4326"):
        desk.load(path, "component")


def change(desk: Desk, feature: Feature | None, version: int, id: str = "u1", actor: Actor = ADMIN) -> int:
    made = desk.map.change("unit", id, feature, version, actor)
    desk.follow()
    return made


def unit(name: str, lon: float = LON) -> Feature:
    return Feature(id="u1", what="unit", name=name, geometry={"type": "Point", "coordinates": [lon, LAT]},
                   parent=f"{DIVISION}")  # fmt: skip


def test_single_edits_have_versions(desk: Desk) -> None:
    assert desk.map.version("unit", "u1") == -1
    assert change(desk, unit("first"), -1) == 0
    with pytest.raises(VersionConflict):
        change(desk, unit("late"), -1)
    assert change(desk, unit("second"), 0) == 1
    desk.map.shown("unit", "u1", 1)
    assert desk.features.get("unit", "u1").name == "second"  # type: ignore[union-attr]
    assert len(desk.features.before("unit", "u1")) == 1
    assert change(desk, unit("second"), 1) == 1, "it is so already"
    assert desk.features.get("unit", "u1").parent == desk.features.locate(LON, LAT)[-1]  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="outside the city"):
        change(desk, unit("far", 1.0), 1)
    with pytest.raises(AccessDenied):
        change(desk, unit("x"), 1, actor=Actor("v", "viewer", "*"))
    with pytest.raises(NoSuchThing):
        change(desk, None, -1, id="nobody")
    assert change(desk, None, 1) == 2
    assert desk.features.get("unit", "u1") is None


def test_of_two_who_edit_at_once_one_is_told(desk: Desk) -> None:
    change(desk, unit("first"), -1)
    told: list[str] = []
    start = threading.Barrier(8)

    def edit(n: int) -> None:
        start.wait()
        try:
            desk.map.change("unit", "u1", unit(f"of {n}"), 0, ADMIN)
            told.append("done")
        except VersionConflict:
            told.append("late")

    threads = [threading.Thread(target=edit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["done"] + ["late"] * 7
    assert desk.map.version("unit", "u1") == 1


def read_back(path: Path) -> Mapping[str, Any]:
    return {str(name): pyogrio.read_info(path, layer=str(name)) for name, _ in pyogrio.list_layers(path)}


def test_the_map_as_a_geopackage_and_back(desk: Desk, city: Path) -> None:
    for file, what in (
        ("components.csv", "component"),
        ("duties.geojson", "duty"),
        ("buildings.geojson", "building"),
    ):
        desk.load(city / file, what)  # fmt: skip
    path = desk.folder / "map.gpkg"
    written = export(desk.features, path, ADMIN)
    tables = read_back(path)
    assert {name: info["features"] for name, info in tables.items()} == written
    assert set(tables) == {"jurisdiction", "building", "duty", "component_point", "component_line"}
    assert tables["jurisdiction"]["geometry_type"] == "MultiPolygon"
    for name, info in tables.items():
        assert name == "duty" or info["crs"] == "EPSG:4326"
        assert {"id", "name", "parent"} <= set(info["fields"])
    assert "floors" in tables["building"]["fields"]
    with pytest.raises(ConfigError, match="there already"):
        export(desk.features, path, ADMIN)
    with pytest.raises(ConfigError, match="no layer"):
        export(desk.features, desk.folder / "b.gpkg", ADMIN, ["nothing"])
    before = desk.features.feature("building", desk.features.ids("building")[0])
    report = desk.load(path, "building", layer="building")
    assert report.rejected == ()
    after = desk.features.feature("building", json.loads(before)["id"]) if before else None
    assert before is not None
    assert after is not None
    one, other = json.loads(before), json.loads(after)
    assert one["properties"].items() <= other["properties"].items() | one["properties"].items()
    shapes = [shapely.from_geojson(json.dumps(found["geometry"])) for found in (one, other)]
    assert shapely.area(shapely.symmetric_difference(*shapes)) < 1e-12


def test_an_export_has_only_what_its_maker_may_see(desk: Desk, city: Path) -> None:
    desk.load(city / "components.csv", "component")
    community = desk.features.locate(LON, LAT)[2]
    path = desk.folder / "mine.gpkg"
    written = export(desk.features, path, Actor("c", "clerk", community), ["component"])
    expected = sum(f.parent.startswith(community) for f in desk.features.every("component"))
    assert sum(written.values()) == expected > 0
    with pytest.raises(AccessDenied):
        export(desk.features, desk.folder / "x.gpkg", Actor("n", "viewer", ""))


def test_synthetic_mistakes_are_those_that_they_say(desk: Desk, city: Path) -> None:
    report = desk.load(city / "bad" / "components.csv", "component")
    with (city / "bad" / "why.csv").open(encoding="utf-8") as file:
        expected = [int(line["row"]) + 1 for line in csv.DictReader(file) if line["file"] == "components.csv"]
    assert sorted(one.row for one in report.rejected) == expected

"""Whole files over HTTP, in and out, on both stores: tables, workbooks, maps; who is refused."""

import csv
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pyogrio
import pytest
from starlette.routing import Mount

from city.features import Feature
from console.city.app import MAX_BODY
from tests.city_stage import COMMUNITY, FAR, GRID, GRID2, IN_FAR, IN_GRID, CityStage
from tests.test_register_import import HEAD, LI, WANG, ZHAO

SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HOMES = "home,building,address,area_m2\nH1,B1,Road 1,70\nH2,B2,Road 2,\nH9,B9,Far road 3,55.5\n"
RECORDS = (
    "工单编号,来电时间,诉求分类,经度,纬度,诉求内容,渠道\n"
    "n-1,2026-03-01 08:00,rubbish,117.02,35.02,full bin,{0}\n"
    "n-2,2026-03-01 09:00,rubbish,117.07,35.02,another one,\n"
    "n-3,yesterday,rubbish,117.07,35.02,no such day,\n"
)


@pytest.fixture(params=["sqlite", "postgis"])
def stage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CityStage]:
    where = request.getfixturevalue("database") if request.param == "postgis" else None
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with CityStage(tmp_path, where) as stage:
        for code, area, place in (("B1", GRID, IN_GRID), ("B2", GRID2, (117.07, 35.02)), ("B9", FAR, IN_FAR)):
            point = {"type": "Point", "coordinates": list(place)}
            stage.put(Feature(id=code, what="building", parent=area, geometry=point))
        stage.settled()
        yield stage
    assert list((tmp_path / "tmp").iterdir()) == []  # nothing of any file is left


def sent(
    stage: CityStage, who: str, path: str, body: bytes | str, kind: str = "text/csv", **query: Any
) -> httpx.Response:
    """The answer; what was taken is in the store."""
    with stage.client(who) as client:
        found = client.post(
            f"/city/imports/{path}",
            content=body.encode() if isinstance(body, str) else body,
            headers={"content-type": kind},
            params=query,
        )
    stage.settled()
    return found


def homed(stage: CityStage) -> None:
    assert sent(stage, "admin", "registers/home", HOMES).json()["taken"] == 3


def people(*rows: str) -> str:
    return "\n".join((HEAD, *rows)) + "\n"


def workbook(text: str) -> bytes:
    book = openpyxl.Workbook()
    for row in csv.reader(io.StringIO(text)):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


# -- registers


def test_a_survey_is_taken_and_what_was_wrong_is_mended_and_sent_again(stage: CityStage) -> None:
    homed(stage)
    bad = LI[:17] + ("1" if LI[17] != "1" else "2")
    text = people(f"1,Li,{LI},,,,H1,2020-01-01,,owner,living-alone", f"2,Wang,{bad},,,,H1,2020-01-01,,,")
    done = sent(stage, "clerk1", "registers/person", text, purpose="spring survey", name="春.csv").json()
    assert (done["rows"], done["taken"], done["known"], done["rejected"]) == (2, 1, 0, 1)
    assert done["first"][0]["row"] == 3
    assert "check digit" in done["first"][0]["why"]
    (row,) = csv.DictReader(io.StringIO(done["aside"]))
    assert row["name"] == "Wang"
    assert row["_why"] == done["first"][0]["why"]
    mended = done["aside"].replace(bad, WANG)
    again = sent(stage, "clerk1", "registers/person", mended).json()
    assert (again["taken"], again["rejected"], again["aside"]) == (1, 0, "")
    once_more = sent(stage, "clerk1", "registers/person", mended).json()
    assert (once_more["taken"], once_more["known"]) == (0, 1)
    with stage.client("clerk1") as client:
        assert len(client.get("/city/persons").json()["items"]) == 2
        assert [one["care"] for one in client.get("/city/persons?care=living-alone").json()["items"]] == [
            ["living-alone"]
        ]


def test_a_dry_run_keeps_nothing_and_says_the_same(stage: CityStage) -> None:
    homed(stage)
    text = people(f"1,Li,{LI},,,,H1,2020-01-01,,owner,", "2,,,,,,H1,2020-01-01,,,")
    dry = sent(stage, "clerk1", "registers/person", text, dry=True).json()
    wet = sent(stage, "clerk1", "registers/person", text).json()
    assert dry["dry"]
    assert not wet["dry"]
    assert {k: dry[k] for k in ("rows", "taken", "rejected", "first")} == {
        k: wet[k] for k in ("rows", "taken", "rejected", "first")
    }
    with stage.client("clerk1") as client:
        assert len(client.get("/city/persons").json()["items"]) == 1


def test_a_workbook_and_headings_of_ones_own_and_gb18030(stage: CityStage) -> None:
    homed(stage)
    text = f"编号,姓名,身份证号,住在\n7,王五,{WANG},H1\n"
    book = sent(
        stage, "clerk1", "registers/person", workbook(text), SHEET, field="home=住在", survey="spring"
    )
    assert book.json()["taken"] == 1, book.text
    table = sent(stage, "clerk1", "registers/person", text.encode("gb18030"), field="home=住在")
    assert (table.json()["known"], table.json()["rejected"]) == (1, 0), table.text


def test_who_is_of_another_jurisdiction_is_not_taken(stage: CityStage) -> None:
    homed(stage)
    text = people(f"1,Li,{LI},,,,H1,2020-01-01,,owner,", f"2,Zhao,{ZHAO},,,,H9,2020-01-01,,owner,")
    done = sent(stage, "clerk1", "registers/person", text).json()
    assert (done["taken"], done["rejected"]) == (1, 1)
    assert f"{FAR} is outside clerk1's jurisdiction" in done["first"][0]["why"]


def test_what_disagrees_with_another_jurisdiction_is_not_told(stage: CityStage) -> None:
    homed(stage)
    elsewhere = people(f"1,Li,{LI},,,,H9,2020-01-01,,owner,")
    assert sent(stage, "admin", "registers/person", elsewhere).json()["taken"] == 1
    text = people(f"1,Li,{LI},,,,H1,2020-01-01,,owner,")
    (mine,) = sent(stage, "clerk1", "registers/person", text).json()["first"]
    assert mine["why"].startswith("it disagrees with what another jurisdiction says")
    assert "H9" not in str(mine)
    (whole,) = sent(stage, "admin", "registers/person", text).json()["first"]
    assert "H9 and H1" in whole["why"]


# -- the map


def test_a_survey_of_the_map_in_and_out(stage: CityStage, tmp_path: Path) -> None:
    text = "id,name,kind,lon,lat\nU1,Corner,shop,117.02,35.02\nU2,Far,shop,117.3,35.02\nU3,Away,shop,10,50\n"
    done = sent(stage, "admin", "map/unit", text).json()
    assert (done["rows"], done["taken"], done["rejected"]) == (3, 2, 1)
    assert "outside" in done["first"][0]["why"]
    assert "Away" in done["aside"]
    assert sent(stage, "admin", "map/unit", text).json()["known"] == 2
    points = (
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "id": "U1", "properties": '
        '{"name": "Corner", "kind": "shop"}, "geometry": {"type": "Point", "coordinates": [117.02, 35.02]}}]}'
    )
    whole = sent(stage, "admin", "map/unit", points, "application/geo+json", complete=True).json()
    assert (whole["known"], whole["removed"], whole["aside"]) == (1, 1, "")
    with stage.client("super") as client:
        answer = client.get("/city/exports/map", params={"purpose": "for the planners", "layer": "unit"})
    assert answer.headers["content-type"] == "application/geopackage+sqlite3"
    assert 'filename="map.gpkg"' in answer.headers["content-disposition"]
    (tmp_path / "map.gpkg").write_bytes(answer.content)
    _, _, _, (ids, *_) = pyogrio.raw.read(tmp_path / "map.gpkg", layer="unit")
    assert list(ids) == ["U1"]
    stage.settled()
    with stage.client("auditor") as client:
        looks = client.get("/city/audit", params={"limit": 500}).json()["items"]
    assert ("super", "export", "map *", "for the planners") in {
        (one["who"], one["what"], one["object"], one["purpose"]) for one in looks
    }


def test_a_file_that_is_none_is_told_with_its_mend_and_changes_nothing(stage: CityStage) -> None:
    for path, body, kind, text in (
        ("map/unit", "{", "application/geo+json", "no GeoJSON FeatureCollection"),
        ("registers/person", "", "text/csv", "the body is empty"),
        ("registers/person", "a,b\n1,2\n", "text/csv", "neither an identity number"),
        ("registers/home", b"PK no workbook", SHEET, "no spreadsheet that can be read"),
        ("appeals", "a,b\n1,2\n", "text/csv", "reference"),
    ):
        answer = sent(stage, "admin", path, body, kind)
        said = answer.text
        assert answer.status_code == (200 if "neither" in text else 422), said
        assert text in said
        assert "/tmp" not in said.replace("\\/", "/")
    assert sent(stage, "admin", "registers/person", "x", "application/json").status_code == 415
    assert sent(stage, "admin", "map/unit", "x", SHEET).status_code == 415
    assert sent(stage, "admin", "map/nothing", "x").status_code == 404
    assert sent(stage, "admin", "registers/person", "x", field="home").status_code == 400
    assert sent(stage, "admin", "registers/person", "a\n1\n", field="home=nowhere").status_code == 422
    assert sent(stage, "admin", "registers/person", b"x" * (MAX_BODY + 1)).status_code == 413


# -- appeals


def test_a_hotline_brings_its_own_records_alone(stage: CityStage) -> None:
    done = sent(stage, "hotline", "appeals", RECORDS.format("online")).json()
    assert (done["rows"], done["taken"], done["rejected"]) == (3, 1, 2)
    assert {"of 'online', and you bring those of hotline" in row["why"] for row in done["first"]} == {
        True,
        False,
    }
    done = sent(stage, "admin", "appeals", RECORDS.format("online")).json()
    assert (done["taken"], done["known"], done["rejected"]) == (1, 1, 1)
    assert "no such day" in done["aside"]
    with stage.client("super") as client:
        found = client.get("/city/cases?scenario=appeal").json()["items"]
    assert {(one["channel"], one["area"]) for one in found} == {("online", GRID), ("hotline", GRID2)}


# -- who may


def test_who_may_not_is_refused_and_it_is_noted(stage: CityStage) -> None:
    refused = [
        ("viewer", "registers/person"),
        ("grid1", "registers/home"),
        ("clerk1", "map/unit"),
        ("clerk1", "appeals"),
        ("super", "appeals"),
    ]
    for who, path in refused:
        answer = sent(stage, who, path, HOMES)
        assert answer.status_code == 403, (who, path, answer.text)
    with stage.client() as nobody:
        kind = {"content-type": "text/csv"}
        assert nobody.post("/city/imports/registers/person", content=b"x", headers=kind).status_code == 401
    stage.settled()
    with stage.client("auditor") as client:
        noted = client.get("/city/audit", params={"limit": 500}).json()["items"]
    assert {one["who"] for one in noted if not one["allowed"]} >= {who for who, _ in refused}


def test_persons_leave_for_a_purpose_that_is_noted_first(stage: CityStage) -> None:
    homed(stage)
    text = people(f"1,=Li,{LI},,,,H1,2020-01-01,,owner,", f"2,Zhao,{ZHAO},,,,H9,2020-01-01,,owner,")
    assert sent(stage, "admin", "registers/person", text).json()["taken"] == 2
    with stage.client("admin") as client:
        assert client.post("/city/exports/persons", json={"purpose": " a "}).status_code == 422
        answer = client.post("/city/exports/persons", json={"purpose": "census", "area": COMMUNITY})
        assert answer.status_code == 200, answer.text
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [(row["name"], row["identity"]) for row in rows] == [("'=Li", LI)]
    with stage.client("clerk1") as client:
        assert client.post("/city/exports/persons", json={"purpose": "census"}).status_code == 403
    stage.settled()
    with stage.client("auditor") as client:
        noted = client.get("/city/audit", params={"limit": 500}).json()["items"]
    assert ("admin", COMMUNITY, "census", True) in {
        (one["who"], one["object"], one["purpose"], one["plain"])
        for one in noted
        if one["what"] == "person-export"
    }


def test_the_map_leaves_as_far_as_ones_jurisdiction(stage: CityStage, tmp_path: Path) -> None:
    with stage.client("super") as client:
        assert client.get("/city/exports/map", params={"purpose": "x y"}).status_code == 200
        strange = client.get("/city/exports/map", params={"purpose": "x y", "layer": "nothing"})
        assert strange.status_code == 400
        assert "there are building, jurisdiction" in strange.json()["detail"]
        empty = client.get("/city/exports/map", params={"purpose": "x y", "layer": "building"})
        (tmp_path / "all.gpkg").write_bytes(empty.content)
    assert pyogrio.read_info(tmp_path / "all.gpkg", layer="building")["features"] == 3
    with stage.client("grid1") as client:
        assert client.get("/city/exports/map", params={"purpose": "x y"}).status_code == 403


def test_one_file_at_a_time(stage: CityStage) -> None:
    (app,) = (route.app for route in stage.app.routes if isinstance(route, Mount) and route.path == "/city")
    with app.app.state.city.busy:  # type: ignore[attr-defined]
        answer = sent(stage, "admin", "registers/home", HOMES)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        with stage.client("super") as client:
            assert client.get("/city/exports/map", params={"purpose": "x y"}).status_code == 503
    homed(stage)

"""Ratings and the calendar over HTTP: a point comes from its case, is contested by its company, decided."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from city.features import Feature
from tests.city_stage import COMMUNITY, IN_GRID, CityStage

ESTATE = "E1"


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = None
    if request.param == "postgis":
        where = request.getfixturevalue("postgis").new_database()
    with CityStage(tmp_path_factory.mktemp("ratings"), where) as stage:
        for id, company in ((ESTATE, "water"), ("E2", "roads")):
            properties = {"company": company, "households": 250}
            stage.put(Feature(id=id, what="estate", name=id, parent=COMMUNITY, properties=properties))
        stage.settled()
        yield stage


def ok(answer: httpx.Response) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def moved(stage: CityStage, case: dict[str, Any], *steps: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    for who, step in steps:
        with stage.client(who) as client:
            url = f"/city/cases/{case['case']}/steps"
            case = ok(client.post(url, json=step | {"version": case["version"]}))
    return case


def test_a_point_of_a_case_is_traced_contested_and_decided(stage: CityStage) -> None:
    with stage.client("grid1") as client:
        body = {"scenario": "matter", "category": "01", "place": IN_GRID, "estate": ESTATE}
        case = ok(client.post("/city/cases", json=body))
    case = moved(
        stage,
        case,
        ("clerk1", {"action": "accept"}),
        ("clerk1", {"action": "dispatch", "holder": "water"}),
        ("water", {"action": "sign"}),
        ("water", {"action": "handle", "note": "done"}),
        ("checker", {"action": "verify"}),
        ("super", {"action": "call-back", "marks": ["unsolved"]}),
        ("checker", {"action": "close"}),
    )
    with stage.client("viewer") as viewer, stage.client("super") as head, stage.client("water") as company:
        listed = ok(viewer.get("/city/ratings"))
        assert {row["estate"]: row["company"] for row in listed["items"]} == {ESTATE: "water", "E2": "roads"}
        assert listed["items"][0]["estate"] == ESTATE  # the worst first
        rating = ok(viewer.get(listed["items"][0]["entries"]))
        unsolved = next(p for p in rating["points"] if p["category"] == "unsolved")
        # -2 as the rules say, set to 500 households of which the estate has 250.
        assert (unsolved["entered_points"], unsolved["points"]) == (-2, -4)
        assert ok(viewer.get(unsolved["case"]))["case"] == case["case"]
        assert rating["score"] == rating["base"] + rating["merit"] - rating["demerit"]

        url = f"/city/ratings/{ESTATE}/entries/{unsolved['entry']}"
        said = {"state": "contested", "note": "the caller meant another house"}
        with stage.client("roads") as other:
            assert other.post(url, json=said).status_code == 403
        assert head.post(url, json=said).status_code == 403  # only its company contests
        assert company.post(url, json={"state": "withdrawn", "note": "please"}).status_code == 403
        assert head.post(url, json={"state": "upheld", "note": "as it was"}).status_code == 409  # of what?
        assert ok(company.post(url, json=said))["state"] == "contested"
        assert company.post(url, json=said).status_code == 409
        assert ok(head.post(url, json={"state": "withdrawn", "note": "right"}))["state"] == "withdrawn"
        assert [(s["state"], s["who"]) for s in ok(viewer.get(url))["items"]] == [
            ("contested", "water"),
            ("withdrawn", "super"),
        ]
        after = ok(viewer.get(f"/city/ratings/{ESTATE}"))
        assert after["demerit"] == rating["demerit"] - 4


def test_points_are_entered_by_who_may_within_their_bounds(stage: CityStage) -> None:
    with stage.client("super") as head:
        rules = ok(head.get("/city/ratings"))
        assert [colour["id"] for colour in rules["colours"]] == ["red", "orange", "yellow", "black"]
        url = "/city/ratings/E2/entries"
        form = {"category": "inspection", "points": -2, "note": "blocked fire lane"}
        entry = ok(head.post(url, json=form))
        assert (entry["state"], entry["company"], entry["who"]) == ("entered", "roads", "super")
        assert head.post(url, json=form | {"points": -1000}).status_code == 422
        assert head.post(url, json=form | {"category": "nothing"}).status_code == 422
        assert head.post(url, json=form | {"note": ""}).status_code == 422
        assert head.post("/city/ratings/E9/entries", json=form).status_code == 404
        assert -2 in [p["entered_points"] for p in ok(head.get("/city/ratings/E2"))["points"]]
    for who in ("viewer", "clerk1", "auditor", "water", "grid1"):
        with stage.client(who) as client:
            assert client.post(url, json=form).status_code == 403, who


def test_ratings_are_seen_within_the_jurisdiction(stage: CityStage) -> None:
    with stage.client("town2") as client:
        assert ok(client.get("/city/ratings"))["items"] == []
        assert client.get(f"/city/ratings/{ESTATE}").status_code == 404
    with stage.client("town") as client:
        assert len(ok(client.get("/city/ratings"))["items"]) == 2
        assert len(ok(client.get("/city/ratings", params={"company": "roads"}))["items"]) == 1


def test_days_are_changed_by_the_administrator_and_listed(stage: CityStage) -> None:
    url = "/city/days/2026-11-30"  # a Monday
    with stage.client("admin") as admin, stage.client("clerk1") as clerk:
        year = ok(clerk.get("/city/days", params={"year": 2026}))
        assert year["published"]
        assert "2026-11-30" not in {day["day"] for day in year["items"]}
        assert clerk.put(url, json={"is": "holiday", "name": "storm"}).status_code == 403
        assert ok(admin.put(url, json={"is": "holiday", "name": "storm"})) == {
            "day": "2026-11-30",
            "works": False,
            "name": "storm",
            "changed_by": "admin",
        }
        found = ok(clerk.get("/city/days", params={"year": 2026}))["items"]
        assert [day["changed_by"] for day in found if day["day"] == "2026-11-30"] == ["admin"]
        assert ok(admin.put(url, json={"is": "usual"}))["works"] is True
        for wrong in ("/city/days/2026-02-30", "/city/days/2026-1-1"):
            assert admin.put(wrong, json={"is": "holiday"}).status_code in (404, 422)
        assert admin.put(url, json={"is": "feast"}).status_code == 422
        assert not ok(clerk.get("/city/days", params={"year": 2090}))["published"]

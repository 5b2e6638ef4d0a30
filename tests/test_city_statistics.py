"""Figures over HTTP: closed, on time, called back, solved, satisfied apart; each figure opens its cases."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.city_stage import COMMUNITY, IN_COMMUNITY2, IN_FAR, IN_GRID, TOWN, TOWN2, CityStage

SPAN = {"since": "2020-01-01", "until": "2099-12-31"}
HANDLED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("city", {"action": "accept"}),
    ("city", {"action": "dispatch", "holder": "water"}),
    ("water", {"action": "sign"}),
    ("water", {"action": "handle", "note": "done"}),
    ("super", {"action": "verify"}),
)
CLOSED = (*HANDLED, ("super", {"action": "close"}))
SOLVED = (*HANDLED, ("super", {"action": "call-back", "marks": ["solved", "satisfied"]}), CLOSED[-1])
UNSOLVED = (*HANDLED, ("super", {"action": "call-back", "marks": ["unsolved", "dissatisfied"]}), CLOSED[-1])
REOPENED = (*CLOSED, ("super", {"action": "reopen", "note": "it leaks again"}))
PARKED = (
    HANDLED[0],
    HANDLED[1],
    ("city", {"action": "park", "note": "frost", "approver": "the mayor"}),
    ("city", {"action": "unpark"}),
    *CLOSED[2:],
)

MATTERS = (
    # place, category, steps
    (IN_GRID, "010101", ()),
    (IN_GRID, "010101", CLOSED),
    (IN_GRID, "010101", SOLVED),
    (IN_GRID, "010102", UNSOLVED),
    (IN_COMMUNITY2, "010102", REOPENED),
    (IN_FAR, "010102", PARKED),
)


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = None
    if request.param == "postgis":
        where = request.getfixturevalue("postgis").new_database()
    with CityStage(tmp_path_factory.mktemp("figures"), where) as stage:
        clients = {who: stage.client(who).__enter__() for who in ("city", "water", "super")}
        for place, category, steps in MATTERS:
            body = {"scenario": "matter", "category": category, "place": place}
            case = ok(clients["super"].post("/city/cases", json=body))
            for who, step in steps:
                url = f"/city/cases/{case['case']}/steps"
                case = ok(clients[who].post(url, json=step | {"version": case["version"]}))
        for client in clients.values():
            client.close()
        yield stage


def ok(answer: httpx.Response) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def figures(row: dict[str, Any]) -> dict[str, int]:
    return {name: cell["count"] for name, cell in row.items() if isinstance(cell, dict)}


EXPECTED = {
    TOWN: {
        "opened": 5,
        "closed": 3,
        "on_time": 3,
        "called_back": 2,
        "solved": 1,
        "satisfied": 1,
        "reopened": 1,
    },
    TOWN2: {
        "opened": 1,
        "closed": 1,
        "on_time": 1,
        "called_back": 0,
        "solved": 0,
        "satisfied": 0,
        "reopened": 0,
    },
}


def test_closed_is_not_solved(stage: CityStage) -> None:
    with stage.client("viewer") as client:
        rows = ok(client.get("/city/statistics/closure", params=SPAN))["items"]
    assert {row["key"]: figures(row) for row in rows} == EXPECTED
    town = next(row for row in rows if row["key"] == TOWN)
    assert town["closed"]["share"] == 0.6
    assert town["solved"]["share"] == 0.2
    assert town["median_s"] is not None


@pytest.mark.parametrize("by", ["town", "community", "category", "scenario", "day", "month"])
def test_every_figure_opens_the_cases_that_it_counts(stage: CityStage, by: str) -> None:
    with stage.client("viewer") as client:
        rows = ok(client.get("/city/statistics/closure", params=SPAN | {"by": by, "scenario": "matter"}))[
            "items"
        ]
        assert sum(row["opened"]["count"] for row in rows) == len(MATTERS)
        for row in rows:
            for name, cell in row.items():
                if isinstance(cell, dict):
                    found = ok(client.get(cell["cases"], params=None))["items"]
                    assert len(found) == cell["count"], (by, row["key"], name, cell["cases"])


def test_a_clerk_counts_what_is_the_clerks(stage: CityStage) -> None:
    with stage.client("clerk1") as client:
        rows = ok(client.get("/city/statistics/closure", params=SPAN | {"by": "community"}))["items"]
        assert [row["key"] for row in rows] == [COMMUNITY]
        assert figures(rows[0])["opened"] == 4
        for cell in rows[0].values():
            if isinstance(cell, dict):
                assert len(ok(client.get(cell["cases"]))["items"]) == cell["count"]
        assert ok(client.get("/city/statistics/open"))["open"] == 1
        # The same figure of all, asked by hand, is the clerk's part of it.
        link = f"/city/statistics/closure/cases?figure=opened&by=scenario&key=matter&since={SPAN['since']}"
        assert len(ok(client.get(f"{link}&until={SPAN['until']}"))["items"]) == 4


def test_pages_go_on_where_the_one_before_ended(stage: CityStage) -> None:
    with stage.client("viewer") as client:
        seen: list[str] = []
        after = ""
        while True:
            page = ok(client.get("/city/cases", params={"limit": 2, "after": after}))
            seen += [one["case"] for one in page["items"]]
            after = page["next"]
            if not after:
                break
        whole = [one["case"] for one in ok(client.get("/city/cases"))["items"]]
        assert seen == whole
        assert len(set(seen)) == len(MATTERS)
        assert client.get("/city/cases", params={"after": "nonsense"}).status_code == 400


def test_what_comes_again_at_one_place_is_found(stage: CityStage) -> None:
    with stage.client("viewer") as client:
        params = {"since": "2020-01-01", "scenario": "matter", "least": 3}
        spots = ok(client.get("/city/statistics/recurring", params=params))["items"]
        assert [(spot["category"], spot["count"]["count"]) for spot in spots] == [("010101", 3)]
        assert spots[0]["place"] == pytest.approx(IN_GRID, abs=0.001)
        assert len(ok(client.get(spots[0]["count"]["cases"]))["items"]) == 3


def test_open_and_overdue_by_level(stage: CityStage) -> None:
    with stage.client("super") as client:
        rows = ok(client.get("/city/statistics/overdue"))["items"]
        assert sum(row["open"]["count"] for row in rows) == 2  # one untouched, one opened again
        for row in rows:
            for cell in (row["open"], row["overdue"]):
                assert len(ok(client.get(cell["cases"]))["items"]) == cell["count"]


def test_the_auditor_finds_what_was_parked_and_then_closed(stage: CityStage) -> None:
    with stage.client("auditor") as client:
        for what, count in (("parked-then-closed", 1), ("re-clocked", 1), ("self-checked", 0)):
            found = ok(client.get("/city/statistics/findings", params={"what": what}))["items"]
            assert len(found) == count, what

"""Indicators: the shares that packs declare, and the cases behind each."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.city_stage import COMMUNITY, FAR, CityStage

CLOSED = ("accept", "dispatch", "sign", "handle", "verify", "close")
VALUES: dict[str, dict[str, Any]] = {"dispatch": {"holder": "water"}, "handle": {"note": "done"}}
MATTERS = (
    # area, steps, the citizen's word
    (COMMUNITY, (), ()),
    (COMMUNITY, CLOSED, ()),
    (COMMUNITY, CLOSED, ("solved", "satisfied")),
    (COMMUNITY, CLOSED, ("unsolved",)),
    (FAR, CLOSED, ("solved", "dissatisfied")),
)


def ok(answer: httpx.Response) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    with CityStage(tmp_path_factory.mktemp("indicators")) as stage:
        with stage.client("super") as chief, stage.client("water") as water, stage.client("city") as city:
            by = {"sign": water, "handle": water, "accept": city, "dispatch": city}
            for area, steps, verdict in MATTERS:
                body = {"scenario": "matter", "category": "0101", "area": area}
                case = ok(chief.post("/city/cases", json=body))
                todo = [(name, VALUES.get(name, {})) for name in steps]
                todo += [("call-back", {"marks": verdict})] if verdict else []
                for name, values in todo:
                    step = {"action": name, "version": case["version"]} | values
                    case = ok(by.get(name, chief).post(f"/city/cases/{case['case']}/steps", json=step))
        yield stage


def test_shares_are_of_those_that_they_say(stage: CityStage) -> None:
    with stage.client("super") as client:
        found = ok(client.get("/city/packs/matter/indicators"))
        figures = {one["id"]: (one["count"], one["of"]) for one in found["items"]}
        assert figures == {
            "closed": (4, 5),
            "on-time": (4, 4),
            "called-back": (3, 4),
            "solved": (2, 3),
            "satisfied": (1, 2),
            "redone": (0, 5),
        }
        assert (found["looked_at"], found["complete"]) == (5, True)


@pytest.mark.parametrize("narrow", [{}, {"area": COMMUNITY}, {"open": "false"}])
def test_every_share_opens_its_cases(stage: CityStage, narrow: dict[str, str]) -> None:
    with stage.client("super") as client:
        for one in ok(client.get("/city/packs/matter/indicators", params=narrow))["items"]:
            assert len(ok(client.get(one["cases"]))["items"]) == one["count"], one
            assert len(ok(client.get(one["all"]))["items"]) == one["of"], one


def test_a_list_goes_on_over_what_does_not_count(stage: CityStage) -> None:
    with stage.client("super") as client:
        seen, after = [], ""
        while True:
            params = {"limit": 1, "after": after}
            page = ok(client.get("/city/packs/matter/indicators/solved", params=params))
            seen += [case["case"] for case in page["items"]]
            after = page["next"]
            if not after:
                break
        assert len(seen) == len(set(seen)) == 2


def test_a_clerk_sees_the_share_of_the_clerks_own(stage: CityStage) -> None:
    with stage.client("clerk1") as client:
        figures = {i["id"]: i["of"] for i in ok(client.get("/city/packs/matter/indicators"))["items"]}
        assert figures["closed"] == 4
        assert client.get("/city/packs/matter/indicators", params={"area": FAR}).status_code == 403
    with stage.client("water") as client:
        assert client.get("/city/packs/matter/indicators").status_code == 403


def test_what_there_is_not(stage: CityStage) -> None:
    with stage.client("super") as client:
        assert client.get("/city/packs/potholes/indicators").status_code == 404
        answer = client.get("/city/packs/matter/indicators/happiness")
        assert answer.status_code == 404
        assert "closed, on-time" in answer.text
        params = {"scenario": "video"}
        assert client.get("/city/packs/matter/indicators", params=params).status_code == 400

"""Appeals through a running desk, on both stores: taken in, placed, linked, answered, seen by token."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from city.features import Feature
from desk.appealfollow import Followups
from desk.appeals import Appeals
from desk.words import WordsBox
from tests.city_stage import COMMUNITY, GRID, IN_COMMUNITY2, IN_FAR, IN_GRID, OUTSIDE, CityStage

WORDS = {"text": "电梯坏了", "name": "李某某", "phone": "13912345678"}


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = None
    if request.param == "postgis":
        where = request.getfixturevalue("postgis").new_database()
    with CityStage(tmp_path_factory.mktemp("appeals"), where) as stage:
        stage.put(
            Feature(
                id="E1",
                what="estate",
                name="合成第1小区",
                parent=COMMUNITY,
                geometry={
                    "type": "Polygon",
                    "coordinates": [
                        [[117.01, 35.0], [117.03, 35.0], [117.03, 35.04], [117.01, 35.04], [117.01, 35.0]]
                    ],
                },
                properties={
                    "company": "P1",
                    "households": 500,
                    "contract_from": "2020-01-01",
                    "contract_until": "2099-01-01",
                },
            )
        )
        stage.settled()
        yield stage


def send(stage: CityStage, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
    with stage.client(who) as client:
        return client.request(method, f"/city{path}", json=body)


def done(stage: CityStage, who: str, method: str, path: str, body: Any = None) -> Any:
    answer = send(stage, who, method, path, body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def taken(stage: CityStage, who: str = "hotline", **more: Any) -> Any:
    body = {"category": "property", "place": IN_GRID, "words": WORDS, **more}
    return done(stage, who, "POST", "/appeals", body)


def follow(stage: CityStage) -> int:
    """What the background does."""
    appeals = Appeals(stage.desk, stage.store, WordsBox(stage.objects, stage.vault), stage.vault, stage.clock)
    followups = Followups(appeals, stage.desk, stage.store)
    moved = 0
    while True:
        records = stage.journal.page(0, 100_000, followups.families)[0]
        now = sum(followups.take(record.event) for record in records)
        if not now:
            return moved
        moved += now


def step(stage: CityStage, who: str, case: str, action: str, **more: Any) -> Any:
    version = done(stage, "super", "GET", f"/cases/{case}")["version"]
    return done(stage, who, "POST", f"/cases/{case}/steps", {"action": action, "version": version, **more})


def test_taken_in_placed_and_routed_to_its_grid(stage: CityStage) -> None:
    found = taken(stage, category="light", reference="12345-1")
    case = found["case"]
    assert (case["state"], case["area"], case["level"]) == ("placed", GRID, "grid")
    assert (case["channel"], case["reference"], case["words"]) == ("hotline", "12345-1", True)
    inbox = done(stage, "grid1", "GET", "/cases?scenario=appeal&category=light")["items"]
    assert [one["case"] for one in inbox] == [case["case"]]
    assert done(stage, "grid2", "GET", "/cases?scenario=appeal&category=light")["items"] == []
    again = taken(stage, category="light", reference="12345-1")
    assert (again["case"]["case"], again["token"]) == (case["case"], found["token"])


def test_without_a_place_it_waits_for_somebody(stage: CityStage) -> None:
    case = taken(stage, category="dog", place=None)["case"]
    assert case["state"] == "received"
    waiting = done(stage, "city", "GET", "/appeals/unplaced")["items"]
    assert case["case"] in [one["case"] for one in waiting]
    placed = step(stage, "city", case["case"], "place", place=IN_FAR)
    assert placed["state"] == "placed"
    waiting = done(stage, "city", "GET", "/appeals/unplaced")["items"]
    assert case["case"] not in [one["case"] for one in waiting]


def test_an_address_is_found_by_the_names_of_the_map(stage: CityStage) -> None:
    words = {"text": "路灯不亮", "address": "某市合成第1小区北门"}
    case = taken(stage, category="light", place=None, words=words)["case"]
    assert (case["state"], case["area"], case["place"]) == ("placed", COMMUNITY, None)


def test_the_same_complaint_through_two_channels(stage: CityStage) -> None:
    first = taken(stage, category="water", place=(117.03, 35.03))
    second = taken(stage, "clerk1", category="water", place=(117.0302, 35.03), channel="online")
    third = taken(stage, category="water", place=(117.0301, 35.0301), words={"phone": "13000000000"})
    head = first["case"]["case"]
    assert second["linked"] == third["linked"] == head
    assert second["case"]["state"] == "linked"
    assert "the same caller by another channel" in second["why"]
    linked = done(stage, "clerk1", "GET", f"/appeals/{head}/linked")["items"]
    assert sorted(one["case"] for one in linked) == sorted((second["case"]["case"], third["case"]["case"]))
    like = done(stage, "clerk1", "GET", f"/appeals/{second['case']['case']}/like?other={head}")["items"][0]
    assert like["score"] > 0.9
    assert like["why"][0] == "both water"
    # The head is answered, and with it those that wait for it; each caller sees it by a token.
    step(stage, "grid1", head, "answer", note="pipe mended")
    assert follow(stage) == 2
    for one in (first, second, third):
        seen = done(stage, "", "GET", f"/appeals/track/{one['token']}")
        assert (seen["state"], seen["note"], seen["closed"]) == ("answered", "pipe mended", False)
    assert len({first["token"], second["token"], third["token"]}) == 3
    assert follow(stage) == 0  # once


def test_unlinked_by_a_person_it_goes_its_own_way(stage: CityStage) -> None:
    taken(stage, category="parking", place=(117.04, 35.04))
    other = taken(stage, category="parking", place=(117.04, 35.04))["case"]["case"]
    back = step(stage, "clerk1", other, "unlink", note="another gate")
    assert (back["state"], back["marks"]) == ("received", [])
    assert stage.store.appeals.linked(back["other"]) == []
    follow(stage)
    assert done(stage, "super", "GET", f"/cases/{other}")["state"] == "received"


def test_what_its_caller_took_back_is_still_open_for_the_others(stage: CityStage) -> None:
    head = taken(stage, category="parking", place=(117.01, 35.17))["case"]["case"]
    other = taken(stage, "clerk1", category="parking", place=(117.01, 35.17))["case"]
    assert other["state"] == "linked"
    step(stage, "clerk1", head, "withdraw", note="moved away")
    assert follow(stage) == 1
    assert done(stage, "super", "GET", f"/cases/{other['case']}")["state"] == "received"


def test_closed_called_back_solved_satisfied_are_four_things(stage: CityStage) -> None:
    found = taken(stage, category="road", place=IN_COMMUNITY2)
    case, token = found["case"]["case"], found["token"]
    refused = send(stage, "", "POST", f"/appeals/track/{token}/verdict", {"solved": True})
    assert refused.status_code == 409  # there is no answer yet
    step(stage, "townclerk", case, "answer", note="to be mended in spring")
    seen = done(stage, "", "POST", f"/appeals/track/{token}/verdict", {"solved": False, "satisfied": True})
    assert (seen["closed"], seen["solved"], seen["satisfied"], seen["called_back"]) == (
        False,
        False,
        True,
        False,
    )
    step(stage, "checker", case, "call-back", marks=["solved"])
    step(stage, "checker", case, "close")
    seen = done(stage, "", "GET", f"/appeals/track/{token}")
    assert (seen["closed"], seen["solved"], seen["satisfied"], seen["called_back"]) == (
        True,
        True,
        True,
        True,
    )


def test_a_matter_that_is_closed_answers_its_appeal(stage: CityStage) -> None:
    found = taken(stage, category="building", place=(117.02, 35.06))
    case = step(stage, "grid1", found["case"]["case"], "become-matter", category="010101")
    assert case["state"] == "in-work"
    matter = case["other"]
    for who, action, more in (
        ("clerk1", "accept", {}),
        ("clerk1", "dispatch", {"holder": "water"}),
        ("water", "sign", {}),
        ("water", "handle", {"note": "done"}),
        ("checker", "verify", {}),
        ("checker2", "close", {}),
    ):
        step(stage, who, matter, action, **more)
    assert follow(stage) == 1
    assert done(stage, "super", "GET", f"/cases/{case['case']}")["state"] == "answered"


@pytest.mark.parametrize("token", ["0" * 26, "v" * 26, "a" * 26 + "-" + "b" * 20])
def test_a_token_cannot_be_guessed(stage: CityStage, token: str) -> None:
    assert send(stage, "", "GET", f"/appeals/track/{token}").status_code == 404


def test_a_token_is_kept_nowhere(stage: CityStage) -> None:
    tokens = [
        taken(stage, category="noise")["token"],
        taken(stage, category="noise", reference="K1")["token"],
    ]
    stage.journal.flush()
    for path in stage.journal.path.parent.rglob("*"):
        if path.is_file() and path.suffix != ".db-shm":
            body = path.read_bytes()
            for token in tokens:
                assert token.encode() not in body, path
                assert token.rpartition("-")[2].encode() not in body, path


def test_a_numbered_token_is_given_again_to_who_may_read_words(stage: CityStage) -> None:
    found = taken(stage, category="dog", reference="again-1", place=IN_FAR)
    why = {"purpose": "call back"}
    path = f"/appeals/{found['case']['case']}/token"
    assert done(stage, "super", "POST", path, why)["token"] == found["token"]
    assert send(stage, "viewer", "POST", path, why).status_code == 403
    assert send(stage, "clerk1", "POST", path, why).status_code == 404  # of another community
    other = taken(stage, category="dog", place=IN_FAR)["case"]["case"]
    assert send(stage, "super", "POST", f"/appeals/{other}/token", why).status_code == 409


def test_another_channels_number_gives_nobody_its_appeal_or_token(stage: CityStage) -> None:
    body: dict[str, Any] = {"category": "dog", "reference": "own-1", "place": IN_FAR}
    found = taken(stage, **body)
    assert taken(stage, **body)["token"] == found["token"]  # its own channel may ask again
    mine = {"category": "dog", "channel": "hotline", "reference": "own-1", "place": IN_GRID}
    direct = {"scenario": "appeal", "category": "dog", "key": "hotline:own-1", "place": IN_GRID}
    for path, what in (("/appeals", mine), ("/cases", direct)):
        answer = send(stage, "clerk1", "POST", path, what)  # of another community
        assert answer.status_code == 403
        assert found["token"] not in answer.text
        assert found["case"]["case"] not in answer.text


def test_a_channel_sees_no_other_channels_appeal_that_is_linked_to_its_own(stage: CityStage) -> None:
    first = taken(stage, "hotline", category="building", place=IN_FAR)["case"]["case"]
    second = taken(stage, "super", category="building", place=IN_FAR, channel="online")
    assert second["linked"] == first
    for who, sees in (("super", [second["case"]["case"]]), ("hotline", [])):
        linked = done(stage, who, "GET", f"/appeals/{first}/linked")["items"]
        assert [case["case"] for case in linked] == sees


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"category": "dragons"}, 422),
        ({"place": OUTSIDE}, 422),
        ({"place": None, "address_id": "nowhere"}, 422),
        ({"kind": "poem"}, 422),
        ({"kind": "wish"}, 422),
        ({"reference": "a\nb"}, 422),
        ({"secret": 1}, 422),
    ],
)
def test_appeals_that_cannot_be(stage: CityStage, body: dict[str, Any], status: int) -> None:
    whole = {"category": "noise", "place": IN_GRID, **body}
    answer = send(stage, "hotline", "POST", "/appeals", whole)
    assert answer.status_code == status, answer.text
    assert send(stage, "viewer", "POST", "/appeals", {"category": "noise"}).status_code == 403
    assert send(stage, "", "POST", "/appeals", {"category": "noise"}).status_code == 401


def test_a_wish_is_claimed_by_the_first(stage: CityStage) -> None:
    case = taken(stage, "grid1", category="wish", kind="wish", words={"text": "想要一本字典"})["case"]
    assert case["case"] in [one["case"] for one in done(stage, "water", "GET", "/wishes")["items"]]
    path = f"/wishes/{case['case']}/claim"

    def claim(who: str) -> int:
        return send(stage, who, "POST", path, {"version": case["version"]}).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(claim, ("water", "roads"))) == [200, 409]
    found = done(stage, "super", "GET", f"/cases/{case['case']}")
    assert (found["state"], found["marks"]) == ("claimed", ["claimed"])
    assert found["holder"] in ("water", "roads")
    answered = step(stage, found["holder"], case["case"], "answer", note="a dictionary was brought")
    assert answered["state"] == "answered"


def test_a_council_resolves_and_opens_a_matter(stage: CityStage) -> None:
    body = {"category": "proposal", "kind": "council", "area": COMMUNITY, "words": {"text": "装长椅"}}
    case = done(stage, "clerk1", "POST", "/appeals", body)["case"]
    path = f"/council/proposals/{case['case']}/resolution"
    decided = {"version": case["version"], "passed": True, "yes": 31, "no": 4, "note": "benches in the yard"}
    wrong = send(stage, "clerk1", "POST", path, {**decided, "yes": 3})
    assert wrong.status_code == 422
    found = done(stage, "clerk1", "POST", path, {**decided, "matter": {"category": "010101"}})
    assert (found["state"], found["detail"]["votes-yes"]) == ("in-work", 31)
    matter = done(stage, "super", "GET", f"/cases/{found['other']}")
    assert (matter["scenario"], matter["cause"], matter["area"]) == ("matter", case["case"], COMMUNITY)
    plain = taken(stage, category="heating")["case"]
    path = f"/council/proposals/{plain['case']}/resolution"
    assert send(stage, "clerk1", "POST", path, decided).status_code == 409


CAMPAIGN = {
    "title": "Fire lanes before winter",
    "due_us": 2_000_000_000_000_000,
    "questions": [
        {
            "code": "lane",
            "title": "Is the fire lane free?",
            "effects": {"no": {"points": -2, "rating": "inspection", "matter": "010101"}},
        },
        {"code": "floors", "title": "Floors", "kind": "number", "required": False},
    ],
    "targets": [
        {"name": "gate 1", "place": IN_GRID, "estate": "E1"},
        {"name": "gate 2", "place": IN_COMMUNITY2},
    ],
}


def test_an_inspection_gives_points_and_opens_matters(stage: CityStage) -> None:
    campaign = done(stage, "super", "POST", "/campaigns", CAMPAIGN)
    assert campaign["visits"] == 2
    assert campaign["id"] in [one["id"] for one in done(stage, "grid1", "GET", "/campaigns")["items"]]
    visits = done(stage, "grid1", "GET", f"/campaigns/{campaign['id']}/visits")["items"]
    assert [(visit["name"], visit["state"]) for visit in visits] == [("gate 1", "open")]
    path = f"/campaigns/visits/{visits[0]['id']}/result"
    answers: dict[str, Any] = {"lane": False, "floors": 6}
    for wrong in ({}, {"lane": "no"}, {"lane": True, "floors": "six"}, {"lane": True, "other": 1}):
        assert send(stage, "grid1", "POST", path, {"answers": wrong}).status_code == 422
    assert send(stage, "grid2", "POST", path, {"answers": answers}).status_code == 404
    for _ in range(2):  # sent again, it is done once
        visit = done(stage, "grid1", "POST", path, {"answers": answers})
        assert (visit["state"], visit["who"], visit["answers"]) == ("done", "grid1", answers)
    assert send(stage, "operator", "POST", path, {"answers": answers}).status_code == 409
    matters = done(stage, "super", "GET", f"/cases?scenario=matter&cause={visits[0]['id']}")["items"]
    assert [(m["channel"], m["area"], m["title"]) for m in matters] == [
        ("inspection", GRID, "Fire lanes before winter: Is the fire lane free?")
    ]
    rating = done(stage, "super", "GET", "/ratings/E1")
    assert [p["entered_points"] for p in rating["points"] if p["category"] == "inspection"] == [-2]


@pytest.mark.parametrize(
    ("more", "who", "status"),
    [
        ({}, "grid1", 403),
        ({"due_us": 1}, "super", 422),
        ({"targets": [{"name": "x", "place": OUTSIDE}]}, "super", 422),
        ({"targets": [{"name": "x"}]}, "super", 422),
        ({"targets": []}, "super", 422),
        ({"targets": [{"name": "x", "place": IN_GRID, "estate": "E9"}]}, "super", 422),
        ({"questions": [{"code": "a", "title": "A", "kind": "choice"}]}, "super", 422),
        ({"questions": [{"code": "a", "title": "A", "effects": {"maybe": {"matter": "1"}}}]}, "super", 422),
    ],
)
def test_campaigns_that_cannot_be(stage: CityStage, more: dict[str, Any], who: str, status: int) -> None:
    assert send(stage, who, "POST", "/campaigns", {**CAMPAIGN, **more}).status_code == status

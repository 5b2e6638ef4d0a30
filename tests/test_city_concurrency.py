"""Many clients at once, on both stores: of two who change one thing, one is told; nothing is half-written."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest

from events.civic import CaseOpened, CaseStepped, case_source
from storage.city.engine import writing
from tests.city_stage import IN_GRID, SITE, CityStage, token_of


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = None
    if request.param == "postgis":
        where = request.getfixturevalue("postgis").new_database()
    with CityStage(tmp_path_factory.mktemp("city"), where) as stage:
        yield stage


def post(stage: CityStage, who: str, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    """From a connection of its own, as another client would."""
    with stage.client(who, headers=headers) as client:
        return client.post(f"/city{path}", json=body)


def moved(stage: CityStage, case: str, *steps: tuple[str, dict[str, Any]]) -> int:
    """Take the steps, (who, body), and answer the version after them."""
    version = 0
    for who, body in steps:
        answer = post(stage, who, f"/cases/{case}/steps", {**body, "version": version})
        assert answer.status_code == 200, answer.text
        version = answer.json()["version"]
    return version


def opened(stage: CityStage, who: str = "grid1", **more: Any) -> str:
    body = {"scenario": "matter", "category": "010101", "place": IN_GRID, **more}
    answer = post(stage, who, "/cases", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["case"])


HANDLED = (
    ("clerk1", {"action": "accept"}),
    ("clerk1", {"action": "dispatch", "holder": "water"}),
    ("water", {"action": "sign"}),
    ("water", {"action": "handle", "note": "lid replaced"}),
    ("checker", {"action": "verify"}),
)


@pytest.mark.parametrize("round_", range(3))
def test_two_close_one_matter_at_once_and_exactly_one_does(stage: CityStage, round_: int) -> None:
    case = opened(stage, reference=f"round {round_}")
    version = moved(stage, case, *HANDLED)
    whom = ("checker", "checker2", "townclerk", "super")

    def close(who: str) -> httpx.Response:
        return post(stage, who, f"/cases/{case}/steps", {"action": "close"}, **{"if-match": f'"{version}"'})

    with ThreadPoolExecutor(len(whom)) as pool:
        answers = list(pool.map(close, whom))
    told = Counter(answer.status_code for answer in answers)
    assert told == {200: 1, 412: len(whom) - 1}, [a.text for a in answers]
    winner = whom[[a.status_code for a in answers].index(200)]
    for answer in answers:
        if answer.status_code == 412:
            assert answer.json()["title"] == "Changed meanwhile"
            assert case in answer.json()["detail"]
    # The journal, the store and the API say the same: one step more, by who won.
    history = stage.journal.history(case_source(SITE, case), "case")
    assert [event.sequence for event in history] == list(range(version + 2))
    kept = stage.store.cases.case(case)
    assert kept is not None
    assert (kept.version, kept.state, kept.last_by) == (version + 1, "closed", winner)
    assert len(stage.store.cases.steps(case)) == version + 2


def test_many_clients_at_one_case_lose_no_step_and_double_none(stage: CityStage) -> None:
    """Each reads, comments, and tries again when it was too late."""
    case, each = opened(stage), 4
    whom = ("grid1", "clerk1", "town", "city", "super")

    def comment(who: str) -> int:
        conflicts = 0
        with stage.client(who) as client:
            for n in range(each):
                while True:
                    seen = client.get(f"/city/cases/{case}")
                    body = {"action": "comment", "note": f"{who} {n}"}
                    answer = client.post(
                        f"/city/cases/{case}/steps", json=body, headers={"if-match": seen.headers["etag"]}
                    )
                    if answer.status_code == 200:
                        break
                    assert answer.status_code == 412, answer.text
                    conflicts += 1
        return conflicts

    with ThreadPoolExecutor(len(whom)) as pool:
        conflicts = sum(pool.map(comment, whom))
    assert conflicts  # or nothing was tested
    rows = stage.store.cases.steps(case)
    assert [row.version for row in rows] == list(range(1 + each * len(whom)))
    notes = [row.data.note for row in rows if isinstance(row.data, CaseStepped)]
    assert sorted(notes) == sorted(f"{who} {n}" for who in whom for n in range(each))
    for who in whom:  # in the order in which each said it
        assert [n for n in notes if n.startswith(f"{who} ")] == [f"{who} {n}" for n in range(each)]


def test_one_key_opens_one_case_however_many_send_it(stage: CityStage) -> None:
    body = {"scenario": "matter", "category": "010101", "place": IN_GRID, "key": f"form {stage.url}"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(stage, "grid1", "/cases", body), range(6)))
    assert {answer.status_code for answer in answers} == {201}
    cases = {answer.json()["case"] for answer in answers}
    assert len(cases) == 1
    history = stage.journal.history(case_source(SITE, cases.pop()), "case")
    assert [type(event.data) for event in history] == [CaseOpened]


def test_what_was_answered_is_read_at_once_by_others(stage: CityStage) -> None:
    with stage.client("grid1") as one, stage.client("clerk1") as other:
        for _ in range(10):
            body = {"scenario": "matter", "category": "010101", "place": IN_GRID}
            made = one.post("/city/cases", json=body).json()
            seen = other.get(f"/city/cases/{made['case']}")
            assert seen.status_code == 200
            assert seen.json() == made
            newest = other.get("/city/cases", params={"limit": 1}).json()["items"]
            assert newest[0]["case"] == made["case"]


def test_two_pages_turn_one_case_into_one_matter(stage: CityStage) -> None:
    """The matter that a case becomes is in the same commit: never two, never half of it."""
    body = {"scenario": "video", "category": "intrusion", "place": IN_GRID}
    case = str(post(stage, "operator", "/cases", body).json()["case"])
    version = moved(stage, case, ("operator", {"action": "judge", "marks": ["true"]}))
    with ThreadPoolExecutor(3) as pool:
        step = {"action": "become-matter", "version": version}
        answers = list(pool.map(lambda w: post(stage, w, f"/cases/{case}/steps", step), ["operator"] * 3))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    turned = next(answer.json() for answer in answers if answer.status_code == 200)
    assert turned["state"] == "turned"
    matter = stage.store.cases.case(turned["other"])
    assert matter is not None
    assert (matter.scenario, matter.cause, matter.area, matter.place) == (
        "matter",
        case,
        turned["area"],
        IN_GRID,
    )
    with stage.client("operator") as client:
        found = client.get("/city/cases", params={"cause": case}).json()["items"]
    assert [one["case"] for one in found] == [matter.case]


def test_words_of_who_was_too_late_are_not_kept(stage: CityStage) -> None:
    case = opened(stage)
    before = set(stage.objects.keys("cases/"))
    body = {"action": "comment", "note": "called", "version": 0, "words": {"text": "she will call again"}}
    with ThreadPoolExecutor(4) as pool:
        whom = ("grid1", "clerk1", "town", "city")
        answers = list(pool.map(lambda w: post(stage, w, f"/cases/{case}/steps", body), whom))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    kept = set(stage.objects.keys("cases/")) - before
    assert len(kept) == 1
    with stage.client("clerk1") as client:
        said = client.get(f"/city/cases/{case}/words", params={"purpose": "a test"}).json()["items"]
    assert [(one["version"], one["text"]) for one in said] == [(1, "she will call again")]
    assert b"call again" not in stage.objects.get(kept.pop())  # type: ignore[operator]


def test_a_case_that_came_in_a_batch_is_moved_like_any_other(stage: CityStage) -> None:
    """It has no event of its own until then; its first step brings its beginning along."""
    made = stage.store.cases.case(opened(stage))
    assert made is not None
    id = f"{made.case[:-4]}batc"
    with writing(stage.store._engine) as connection:
        stage.store.cases.bulk(connection, [msgspec.structs.replace(made, case=id, opened_by="import")])
    with ThreadPoolExecutor(3) as pool:
        step = {"action": "accept", "version": 0}
        answers = list(
            pool.map(lambda w: post(stage, w, f"/cases/{id}/steps", step), ["clerk1", "town", "city"])
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert moved_on(stage, id) == ["CaseOpened", "CaseStepped"]
    after = stage.store.cases.case(id)
    assert after is not None
    assert (after.version, after.state, after.opened_us, after.opened_by) == (
        *(1, "accepted"),
        *(made.opened_us, "import"),
    )


def moved_on(stage: CityStage, case: str) -> list[str]:
    return [type(event.data).__name__ for event in stage.journal.history(case_source(SITE, case), "case")]


def test_a_hanging_projector_is_told_and_the_step_holds(tmp_path: Any) -> None:
    with CityStage(tmp_path, projecting=False, wait_s=0.2) as stage:
        body = {"scenario": "matter", "category": "010101", "area": "370481001001"}
        answer = post(stage, "clerk1", "/cases", body)
        assert answer.status_code == 503
        assert "is journaled and holds" in answer.json()["detail"]
        assert "serve" in answer.json()["detail"]
        case = answer.json()["thing"]
        assert answer.json()["version"] == 0
        history = stage.journal.history(case_source(SITE, case), "case")
        assert len(history) == 1
        assert token_of("clerk1") not in str(history)

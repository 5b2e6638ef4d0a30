"""Rights over HTTP, role by jurisdiction by operation, and requests that mean harm."""

import csv
import io
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.events import Access
from tests.city_stage import (
    COMMUNITY,
    FAR,
    IN_COMMUNITY2,
    IN_FAR,
    IN_GRID,
    OUTSIDE,
    PEOPLE,
    TOWN,
    CityStage,
    token_of,
)

SECRET = "the words of one citizen"
PLACES = {"grid": IN_GRID, "community2": IN_COMMUNITY2, "far": IN_FAR, "nowhere": None, "water": IN_FAR}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    with CityStage(tmp_path_factory.mktemp("http")) as stage:
        yield stage


@pytest.fixture(scope="module")
def cases(stage: CityStage) -> dict[str, str]:
    """One case each: in a grid, in another community, in another town, unplaced, and held by water."""
    made = {}
    with stage.client("super") as client:
        for name, place in PLACES.items():
            body = {"scenario": "matter", "category": "010101", "words": {"text": SECRET}, "reference": name}
            answer = client.post("/city/cases", json=body | ({"place": place} if place else {}))
            assert answer.status_code == 201, answer.text
            made[name] = answer.json()["case"]
    with stage.client("city") as client:
        for version, step in enumerate(({"action": "accept"}, {"action": "dispatch", "holder": "water"})):
            answer = client.post(f"/city/cases/{made['water']}/steps", json=step | {"version": version})
            assert answer.status_code == 200, answer.text
    return made


# Who sees which of them: written out, not derived.
SEES = {
    **dict.fromkeys(("viewer", "city", "super", "auditor"), "grid community2 far nowhere water"),
    "admin": "grid community2 far nowhere water",
    **dict.fromkeys(("operator", "townclerk", "town", "checker", "checker2"), "grid community2"),
    "town2": "far water",
    "grid1": "grid",
    "grid2": "",
    "clerk1": "grid",
    "water": "water",
    "roads": "",
    "hotline": "",
}


@pytest.mark.parametrize("who", PEOPLE)
def test_a_case_is_seen_by_role_and_jurisdiction(stage: CityStage, cases: dict[str, str], who: str) -> None:
    sees = SEES[who].split()
    with stage.client(who) as client:
        for name, case in cases.items():
            for part in ("", "/steps", "/actions"):
                answer = client.get(f"/city/cases/{case}{part}")
                assert answer.status_code == (200 if name in sees else 404), (name, part, answer.text)
                assert SECRET not in answer.text
        listed = {one["case"] for one in client.get("/city/cases", params={"limit": 500}).json()["items"]}
        assert {name for name, case in cases.items() if case in listed} == set(sees)


WORDS = ("grid1", "clerk1", "town", "townclerk", "checker", "city", "super", "auditor", "checker2")


@pytest.mark.parametrize("who", PEOPLE)
def test_words_are_read_by_few_and_each_reading_is_written_down(
    stage: CityStage, cases: dict[str, str], who: str
) -> None:
    before = stage.journal.last_offset()
    with stage.client(who) as client:
        answer = client.get(f"/city/cases/{cases['grid']}/words", params={"purpose": f"check by {who}"})
    may = who in WORDS
    sees = "grid" in SEES[who].split()
    assert answer.status_code == (200 if may else 403 if sees else 404), answer.text
    assert (SECRET in answer.text) == may
    stage.journal.flush()
    looks = [r.event.data for r in stage.journal.read(before, 100, ("access",))]
    said = [d for d in looks if isinstance(d, Access) and d.what == "words"]
    assert [(d.who, d.allowed) for d in said] == ([(who, may)] if sees else [])
    if may:
        assert said[0].purpose == f"check by {who}"


def test_what_a_person_said_is_erased_by_an_administrator_and_the_case_stays(stage: CityStage) -> None:
    with stage.client("super") as client:
        body = {
            "scenario": "matter",
            "category": "010101",
            "place": PLACES["grid"],
            "words": {"text": SECRET},
        }
        case = client.post("/city/cases", json=body).json()["case"]
        path = f"/city/cases/{case}"
        assert client.post(f"{path}/erasure", json={"reason": "asked"}).status_code == 403
    with stage.client("admin") as client:
        assert client.post(f"{path}/erasure", json={"reason": "for fun"}).status_code == 422
        assert client.post("/city/cases/nothing/erasure", json={"reason": "asked"}).status_code == 404
        assert client.post(f"{path}/erasure", json={"reason": "asked"}).json() == {
            "case": case,
            "again": False,
        }
        assert client.post(f"{path}/erasure", json={"reason": "asked"}).json()["again"]
    with stage.client("super") as client:
        (words,) = client.get(f"{path}/words", params={"purpose": "a test"}).json()["items"]
        assert words["erased"]
        assert SECRET not in str(words)
        assert client.get(path).json()["state"] == "reported"
    stage.journal.flush()
    deeds = [r.event.data for r in stage.journal.read(0, 100_000, ("access",))]
    said = [(d.who, d.allowed) for d in deeds if isinstance(d, Access) and d.what == "words-erasure"]
    assert said == [("super", False), ("admin", True), ("admin", True)]


@pytest.mark.parametrize("who", PEOPLE)
def test_the_map_shows_no_case_that_the_inbox_does_not(
    stage: CityStage, cases: dict[str, str], who: str
) -> None:
    """Who sees the cases of an organisation alone sees none on the map, where they are not told apart."""
    own = PEOPLE[who][0] in ("handler", "channel")
    expected = set() if own else {name for name in SEES[who].split() if PLACES[name]}
    with stage.client(who) as client:
        layers = {layer["id"] for layer in client.get("/city/ogc/collections").json()["collections"]}
        assert ("matters" in layers) == (not own)
        found = client.get("/city/ogc/collections/matters/items", params={"limit": 1000})
        assert found.status_code == (404 if own else 200)
        shown = {feature["id"] for feature in found.json().get("features", ())}
        assert {name for name, case in cases.items() if case in shown} == expected
        for name, case in cases.items():
            one = client.get(f"/city/ogc/collections/matters/items/{case}")
            assert one.status_code == (200 if name in expected else 404), name


def test_asking_for_what_lies_elsewhere_is_written_down(stage: CityStage) -> None:
    with stage.client("super") as client:
        body = {"scenario": "matter", "category": "01", "place": IN_FAR}
        case = client.post("/city/cases", json=body).json()["case"]
    before = stage.journal.last_offset()
    with stage.client("clerk1") as client:
        assert client.get(f"/city/cases/{case}").status_code == 404
        assert client.get("/city/cases/nothing").status_code == 404
    stage.journal.flush()
    looks = [r.event.data for r in stage.journal.read(before, 100, ("access",))]
    assert [(d.who, d.what, d.object, d.allowed) for d in looks if isinstance(d, Access)] == [
        ("clerk1", "case.read", case, False)
    ]


STEPS = {"grid1": 200, "clerk1": 200, "town": 200, "city": 200, "super": 200, "viewer": 403, "auditor": 403}
STEPS |= {"operator": 409, "admin": 403, "grid2": 404, "water": 404, "hotline": 404}


@pytest.mark.parametrize("who", STEPS)
def test_a_step_needs_the_role_in_the_table_and_the_jurisdiction(
    stage: CityStage, cases: dict[str, str], who: str
) -> None:
    """409: the pack's table does not give the action to the role."""
    with stage.client("viewer") as anyone:
        version = anyone.get(f"/city/cases/{cases['grid']}").json()["version"]
    with stage.client(who) as client:
        body = {"action": "comment", "note": "seen", "version": version}
        answer = client.post(f"/city/cases/{cases['grid']}/steps", json=body)
        assert answer.status_code == STEPS[who], answer.text
        assert answer.status_code == 200 or answer.json()["status"] == STEPS[who]
    with stage.client("viewer") as anyone:
        after = anyone.get(f"/city/cases/{cases['grid']}").json()["version"]
    assert after == version + (STEPS[who] == 200)


OPERATIONS: tuple[tuple[str, str, str], ...] = (
    ("/city/audit", "auditor admin", ""),
    ("/city/statistics/findings?what=self-checked", "auditor admin", ""),
    ("/city/statistics/closure?since=2026-01-01&until=2026-12-31", "", "water roads hotline"),
    ("/city/statistics/overdue", "", "water roads hotline"),
    ("/city/packs", "", "nobody-of-them"),
    ("/city/packs/matter/diagram", "", "nobody-of-them"),
)


@pytest.mark.parametrize(("url", "only", "not_"), OPERATIONS)
@pytest.mark.parametrize("who", PEOPLE)
def test_who_may_ask_for_what(stage: CityStage, url: str, only: str, not_: str, who: str) -> None:
    may = who in only.split() if only else who not in not_.split()
    with stage.client(who) as client:
        answer = client.get(url)
    assert answer.status_code == (200 if may else 403), answer.text


@pytest.mark.parametrize("who", PEOPLE)
def test_cases_are_taken_away_by_few_for_a_purpose(stage: CityStage, cases: dict[str, str], who: str) -> None:
    may = who in ("super", "auditor", "admin")
    last = stage.journal.last_offset()
    with stage.client(who) as client:
        assert client.get("/city/exports/cases").status_code == (400)
        table = client.get("/city/exports/cases", params={"purpose": "year book"})
        lines = client.get("/city/exports/cases", params={"purpose": "year book", "format": "jsonl"})
    assert {table.status_code, lines.status_code} == {200 if may else 403}
    assert SECRET not in table.text + lines.text
    stage.journal.flush()
    deeds = [r.event.data for r in stage.journal.read(last, 10, ("access",))]
    said = [(d.what, d.purpose, d.allowed) for d in deeds if isinstance(d, Access)]
    assert said == [("export", "year book", True)] * 2 if may else not any(allowed for _, _, allowed in said)
    if may:
        rows = list(csv.DictReader(io.StringIO(table.text)))
        whole = [json.loads(line) for line in lines.text.splitlines()]
        assert [row["case"] for row in rows] == [one["case"] for one in whole]
        assert set(cases.values()) <= {row["case"] for row in rows}


def test_an_export_holds_no_formula(stage: CityStage) -> None:
    with stage.client("super") as client:
        body = {"scenario": "matter", "category": "99", "title": "=HYPERLINK(1)", "reference": "@x"}
        assert client.post("/city/cases", json=body).status_code == 201
        params = {"purpose": "a test", "category": "99"}
        rows = list(csv.DictReader(io.StringIO(client.get("/city/exports/cases", params=params).text)))
        assert [(row["title"], row["reference"]) for row in rows] == [("'=HYPERLINK(1)", "'@x")]


def test_nobody_asks_for_more_than_their_jurisdiction(stage: CityStage) -> None:
    with stage.client("clerk1") as clerk:
        for url in (
            "cases",
            "statistics/open",
            "statistics/overdue",
            "statistics/recurring?since=2026-01-01",
        ):
            path = f"/city/{url}{'&' if '?' in url else '?'}area="
            assert clerk.get(f"{path}{FAR}").status_code == 403
            assert clerk.get(f"{path}{TOWN}").status_code == 200  # what of it is the clerk's
            assert clerk.get(f"{path}{COMMUNITY}").status_code == 200
        opened = {"scenario": "matter", "category": "010101"}
        for more in ({"place": IN_FAR}, {"area": FAR}, {"area": TOWN}, {"place": IN_COMMUNITY2}):
            assert clerk.post("/city/cases", json=opened | more).status_code == 403
        assert clerk.post("/city/cases", json=opened).json()["area"] == COMMUNITY
        assert clerk.post("/city/cases", json=opened | {"place": OUTSIDE}).status_code == 422
        both = opened | {"place": IN_GRID, "area": FAR}
        assert clerk.post("/city/cases", json=both).status_code == 422


def test_a_merge_reaches_no_case_that_is_not_seen(stage: CityStage, cases: dict[str, str]) -> None:
    with stage.client("clerk1") as clerk:
        mine = clerk.post("/city/cases", json={"scenario": "matter", "category": "010101"}).json()
        url = f"/city/cases/{mine['case']}/steps"
        for other, status in ((cases["far"], 404), ("nothing", 404), (mine["case"], 409)):
            body = {"action": "merge", "other": other, "version": 0}
            assert clerk.post(url, json=body).status_code == status
        answer = clerk.post(url, json={"action": "merge", "other": cases["grid"], "version": 0})
        assert answer.status_code == 200
        assert (answer.json()["state"], answer.json()["other"]) == ("merged", cases["grid"])


FORGED = ("source", "rule", "event", "back", "unpublished")


@pytest.mark.parametrize("key", FORGED)
def test_what_the_desk_says_of_itself_cannot_be_forged(stage: CityStage, key: str) -> None:
    with stage.client("operator") as client:
        body = {"scenario": "video", "category": "intrusion", "detail": {key: "/demo/camera/gate"}}
        answer = client.post("/city/cases", json=body)
        assert answer.status_code == 422
        assert answer.json()["parameter"] == "detail"


def test_who_checks_is_not_who_handled(stage: CityStage) -> None:
    with stage.client("grid1") as one, stage.client("clerk1") as other:
        case = one.post("/city/cases", json={"scenario": "matter", "category": "01", "place": IN_GRID}).json()
        url = f"/city/cases/{case['case']}/steps"
        steps: tuple[dict[str, Any], ...] = (
            {"action": "accept"},
            {"action": "dispatch", "holder": "grid-3"},
            {"action": "sign"},
            {"action": "handle", "note": "swept"},
        )
        for version, step in enumerate(steps):
            assert one.post(url, json=step | {"version": version}).status_code == 200
        refused = one.post(url, json={"action": "verify", "version": 4})
        assert refused.status_code == 409
        assert "somebody else" in refused.json()["detail"]
        assert "verify" not in {
            a["name"] for a in one.get(f"/city/cases/{case['case']}/actions").json()["items"]
        }
        assert other.post(url, json={"action": "verify", "version": 4}).status_code == 200


def test_a_cookie_is_as_good_as_a_token_and_no_token_is_logged(
    stage: CityStage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), stage.client() as client:
        assert client.post("/api/session", json={"token": token_of("clerk1")}).status_code == 200
        assert client.get("/city").json()["viewer"]["who"] == "clerk1"
        assert client.get("/city/cases").status_code == 200
        assert client.delete("/api/session").status_code == 204
        assert client.get("/city/cases").status_code == 401
    assert token_of("clerk1") not in caplog.text


def raw(stage: CityStage, request: bytes) -> bytes:
    """What the server answers to these very bytes, until it closes."""
    parts = urlsplit(stage.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/city/../api/site", (401, 404)),
        ("/city/cases/..%2f..%2fjournal.db", (404,)),
        ("/city/cases/%00", (404,)),
        ("/city/cases/" + "a" * 4000, (404,)),
        ("/city/cases/x'%20OR%201=1--", (404,)),
        ("/city/cases?after=%00", (400,)),
        ("/city/cases?limit=999999999999999999999999", (400,)),
        ("/city/cases?limit=%D9%A1", (200, 400)),
        ("/city/cases?bbox=nan,nan,nan,nan", (400,)),
        ("/city/cases?bbox=999,0,999,0", (400,)),
        ("/city/cases?since=-1", (400,)),
        ("/city/cases?state=a&state=b", (400,)),
        ("/city/cases?__proto__=1", (400,)),
        ("/city/statistics/closure?since=2026-02-30&until=2026-03-01", (400,)),
        ("/city/statistics/closure?since=2026-03-02&until=2026-03-01", (400,)),
        ("/city/docs", (404,)),
        ("/city/redoc", (404,)),
        ("/cityx", (404,)),
    ],
)
def test_no_path_and_no_parameter_breaks_it(stage: CityStage, path: str, status: tuple[int, ...]) -> None:
    host = urlsplit(stage.url).netloc
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    answer = raw(stage, f"{head}Authorization: Bearer {token_of('super')}\r\n\r\n".encode())
    assert int(answer.split(b" ", 2)[1]) in status, answer[:300]
    if b" 200 " not in answer[:20]:
        assert b"application/problem+json" in answer
        assert b"default-src 'none'" in answer


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b"\xff\xfe", "application/json", 400),
        (b'{"scenario":"matter","category":"\\ud800"}', "application/json", (400, 422)),
        (b'{"scenario":"matter","category":"01","title":"\\u0000"}', "application/json", 422),
        (b'{"scenario":"matter","category":"01","place":[1e999,0]}', "application/json", (400, 422)),
        (b'{"scenario":"matter","category":"01","place":[200,0]}', "application/json", 422),
        (b'{"scenario":"matter","category":"01","occurred_us":1e400}', "application/json", (400, 422)),
        (
            b'{"scenario":"matter","category":"01","detail":{"x":"' + b"y" * 300 + b'"}}',
            "application/json",
            422,
        ),
        (b'{"scenario":"nothing","category":"01"}', "application/json", 404),
        (b"[" * 30_000, "application/json", (400, 422)),
        (b'{"scenario":"matter","category":"' + b"1" * 70_000 + b'"}', "application/json", 413),
        (b"scenario=matter", "application/x-www-form-urlencoded", 415),
        (b"<a/>", "text/xml", 415),
    ],
)
def test_no_body_breaks_it(stage: CityStage, body: bytes, kind: str, status: int | tuple[int, ...]) -> None:
    last = stage.journal.last_offset()
    with stage.client("super", headers={"content-type": kind}) as client:
        answer = client.post("/city/cases", content=body)
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    stage.journal.flush()
    assert not stage.journal.read(last, 10, ("case",))


def test_a_body_that_is_far_too_large_is_cut_off(stage: CityStage) -> None:
    with stage.client("super", headers={"content-type": "application/json"}) as client:
        try:
            answer = client.post("/city/cases", content=b" " * (9 << 20))
        except httpx.TransportError:
            return  # the server hung up, which is an answer, too
        assert answer.status_code == 413


def test_a_foreign_page_changes_nothing(stage: CityStage) -> None:
    with stage.client("super", headers={"origin": "http://evil.example"}) as client:
        answer = client.post("/city/cases", json={"scenario": "matter", "category": "01"})
        assert (answer.status_code, answer.json()["parameter"]) == (403, "Origin")
    with stage.client("super", headers={"sec-fetch-site": "cross-site"}) as client:
        assert client.get("/city/cases").status_code == 403
    with stage.client("super", headers={"host": "evil.example"}) as client:
        assert client.get("/city").status_code == 400


@given(st.text(min_size=1, max_size=40), st.sampled_from(("state", "holder", "category", "after", "area")))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_filter_breaks_the_store(stage: CityStage, text: str, name: str) -> None:
    with stage.client("super") as client:
        answer = client.get("/city/cases", params={name: text.encode("utf-8", "surrogatepass")})
        assert answer.status_code in (200, 400), answer.text

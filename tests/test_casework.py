"""All that moves cases by itself, together, over both stores; and what is left of a person in the end."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from city.rights import Actor, system
from city.scenario import Opening
from desk.appeals import Appeals, Report
from desk.caseretention import WHO, CaseKeeper, CaseRetention, years_ago
from desk.orders import Orders
from desk.upstream import Order
from desk.upstreamfiles import FilesUpstream
from desk.words import Words, entry_of
from events.civic import RegisterErased
from events.clock import SystemClock
from events.errors import ConfigError, IllegalTransition, NotShownYet, StorageError
from events.media import parse_rfc3339, rfc3339
from pipeline.casework import Above, Casework, casework_services
from storage.city.casequery import CaseQuery
from testbed.upstream import FilePlatform
from tests.flowworks import GRID, INSIDE, SITE, Works, judged, raised, said
from tests.siteworks import until

DISPATCHER = Actor("du", "dispatcher", "*")
HANDLER = Actor("hu", "handler", "*", org="water")
CHECKER = Actor("che", "checker", "*")
OPERATOR = Actor("li", "operator", "*")
WORDS = Words(text="门口的井盖坏了", name="李某某", phone="13800001111")


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    works = Works(tmp_path)
    works.grounded()
    yield works
    works.close()


def keeper(works: Works, **policy: object) -> CaseKeeper:
    parts = works.journal, works.store, works.objects, works.vault, works.clock
    return CaseKeeper(*parts, SITE, CaseRetention(**policy))  # type: ignore[arg-type]


def closed(works: Works, words: Words | None = WORDS) -> str:
    """A matter with a citizen's words that went all the way."""
    case = works.opened(Opening(category="0203", area=GRID, channel="hotline"), words=words)
    works.step(case, "accept", DISPATCHER)
    works.step(case, "dispatch", DISPATCHER, holder="water")
    works.step(case, "sign", HANDLER)
    works.step(case, "handle", HANDLER, note="mended")
    works.step(case, "verify", CHECKER)
    works.step(case, "close", CHECKER, Words(text="已修好") if words else None)
    return case


# -- together


@pytest.mark.parametrize("kind", ["sqlite", "postgis"])
def test_all_services_together(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    where = request.getfixturevalue("database") if kind == "postgis" else None
    works = Works(tmp_path, where, clock=SystemClock())
    works.grounded()
    now = works.clock.wall_us()
    platform = FilePlatform(tmp_path / "exchange")
    parts = Casework(
        works.journal,
        works.bus,
        works.store,
        works.objects,
        works.vault,
        works.packs,
        works.calendar,
        works.clock,
        SITE,
    )
    services = casework_services(
        parts, CaseRetention(keep_years=5), Above(FilesUpstream(tmp_path / "exchange"), 0.05)
    )
    for service in services:
        service.start()
    # An alert is judged on the box's page, and becomes a matter by the case's own step.
    works.journal.append([said(raised("a1"), 0, now), said(judged("a1"), 0, now)])
    video = works.triggers().case_of("video", "a1")
    until(lambda: works.book.story(video) and works.case(video).state == "judged", 20, "it is not judged")
    matter = works.step(video, "become-matter", OPERATOR).other
    assert works.case(matter).area == GRID
    # An appeal becomes a matter, too, and is answered when that is closed.
    appeals = Appeals(works.desk, works.store, works.words, works.vault, works.clock)
    report = Report(category=next(iter(appeals.services.services)), place=INSIDE, words=WORDS)
    appeal = _taken(works, appeals, report)
    until(lambda: works.show() or works.case(appeal).state == "placed", 20, "it is not placed")
    second = works.step(appeal, "become-matter", DISPATCHER).other
    # The platform sends an order.
    order = Order(
        message="m-1", number="77", sent=rfc3339(now), title="井盖", category="0203", words="x" * 40
    )
    platform.give(order)
    third = Orders(works.book, works.store, works.packs, works.clock, works.calendar, works.words).case_of(
        "77"
    )
    until(lambda: works.book.story(third), 20, "the order is not here")
    for case in (matter, second, third):
        works.step(case, "accept", DISPATCHER)
        works.step(case, "dispatch", DISPATCHER, holder="water")
        works.step(case, "sign", HANDLER)
        works.step(case, "handle", HANDLER, note="mended")
        works.step(case, "verify", CHECKER)
        works.step(case, "close", CHECKER)
    until(lambda: works.show() or works.case(appeal).state == "answered", 20, "the appeal is not answered")
    until(lambda: len(platform.answers) == 2, 20, "the platform was not told")
    assert [platform.answers[id]["kind"] for id in platform.order] == ["signed", "reply"]
    for service in services:
        service.stop()
        assert not service.alive
    works.show()
    for case in (video, matter, appeal, second, third):
        assert works.store.cases.case(case) == works.case(case)
    works.close()


def parts_of_orders(works: Works) -> tuple[Any, ...]:
    return works.book, works.store, works.packs, works.clock, works.calendar, works.words


def _taken(works: Works, appeals: Appeals, report: Report) -> str:
    """Take in an appeal; its id. The store does not show it before it is asked to."""
    with contextlib.suppress(NotShownYet):
        appeals.take(report, system("hotline"))
    works.show()
    (case,) = works.store.cases.page(CaseQuery(scenario="appeal")).cases
    return case.case


# -- what is left of a person


@pytest.mark.parametrize("kind", ["sqlite", "postgis"])
def test_the_policy(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    where = request.getfixturevalue("database") if kind == "postgis" else None
    works = Works(tmp_path, where)
    case = closed(works)
    before = works.case(case)
    assert keeper(works, keep_years=5).sweep() == 0
    works.clock.advance(5 * 366 * 86_400)
    assert keeper(works, keep_years=6).sweep() == 0
    assert works.words.read(case, before.sealed) == WORDS
    assert keeper(works, keep_years=5).sweep() == 1
    works.show()
    # The words are gone, those that were answered too, and with them the objects.
    for step in works.steps(case):
        assert works.words.read(case, step.sealed) is None if step.sealed else True
    assert list(works.objects.keys("cases/")) == []
    # The figures stay.
    assert works.store.cases.case(case) == before
    assert works.case(case) == before
    year = works.store.cases.closure("matter", "2026-01-01", "2026-12-31", "town")
    assert [(row.opened, row.closed) for row in year] == [(1, 1)]
    (event,) = works.events("register")
    assert event.data == RegisterErased(what="case", entry=case, reason="expired", who=WHO)
    assert keeper(works).sweep() == 0
    works.close()


def test_a_copy_of_everything_that_was_kept_elsewhere_is_worth_nothing(works: Works, tmp_path: Path) -> None:
    case = closed(works)
    sealed = {step.sealed: works.objects.get(step.sealed) for step in works.steps(case) if step.sealed}
    assert len(sealed) == 2
    keeper(works).erase(case, "asked", "officer")
    for key, copy in sealed.items():
        assert copy is not None
        works.objects.put(key, copy)  # from a backup
        assert works.words.read(case, key) is None
    with pytest.raises(StorageError):
        works.vault.seal(entry_of(case), b"again")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert "李某某".encode() not in path.read_bytes()


def test_each_scenario_may_have_its_own_time_and_open_cases_wait(works: Works) -> None:
    matter = closed(works)
    video = works.opened(Opening(category="intrusion", area=GRID), "video", WORDS)
    works.clock.advance(2 * 366 * 86_400)
    policy = {"keep_years": 9, "scenarios": {"matter": 1, "video": 1}}
    assert keeper(works, **policy).sweep() == 1
    assert works.words.read(matter, works.case(matter).sealed) is None
    assert works.words.read(video, works.case(video).sealed) == WORDS
    works.step(video, "judge", OPERATOR, marks=("true",))
    works.step(video, "close", OPERATOR)
    assert keeper(works, **policy).sweep() == 0  # its time begins with its end
    works.clock.advance(366 * 86_400)
    assert keeper(works, **policy).sweep() > 0
    assert works.words.read(video, works.case(video).sealed) is None


def test_what_was_opened_again_begins_anew(works: Works) -> None:
    case = closed(works)
    works.clock.advance(4 * 366 * 86_400)
    works.step(case, "reopen", DISPATCHER, note="it broke again")
    works.clock.advance(2 * 366 * 86_400)
    assert keeper(works, keep_years=5).sweep() == 0
    assert works.words.read(case, works.case(case).sealed) == WORDS


def test_a_case_whose_words_were_erased_takes_no_more_and_goes_on_without(works: Works) -> None:
    case = closed(works)
    keeper(works).erase(case, "asked", "officer")
    with pytest.raises(IllegalTransition, match="erased"):
        works.step(case, "reopen", DISPATCHER, WORDS, note="it broke again")
    assert works.case(case).final
    works.step(case, "reopen", DISPATCHER, note="it broke again")
    assert not works.case(case).final
    assert list(works.objects.keys("cases/")) == []


def test_a_case_without_words_leaves_no_trace_of_an_erasure(works: Works) -> None:
    closed(works, None)
    works.clock.advance(6 * 366 * 86_400)
    assert keeper(works).sweep() == 1
    assert works.events("register") == []


def test_erasing_is_done_once_and_finished_after_a_kill(works: Works) -> None:
    case = closed(works)
    works.vault.erase(entry_of(case))  # killed after this
    assert keeper(works).erase(case, "asked", "officer") is True
    assert keeper(works).erase(case, "asked", "officer") is False
    assert len(works.events("register")) == 1
    assert list(works.objects.keys("cases/")) == []


def test_a_sweep_that_was_cut_goes_on(works: Works, tmp_path: Path) -> None:
    cases = [closed(works) for _ in range(3)]
    works.clock.advance(6 * 366 * 86_400)
    with contextlib.closing(sqlite3.connect(tmp_path / "vault.db")) as vault:
        vault.execute("ALTER TABLE vault_keys RENAME TO away")
        with pytest.raises(StorageError):
            keeper(works).sweep()
        vault.execute("ALTER TABLE away RENAME TO vault_keys")
    assert keeper(works).sweep() == 3
    for case in cases:
        assert works.words.read(case, works.case(case).sealed) is None
    assert len(works.events("register")) == 3


def test_once_a_month_all_are_looked_through_again(works: Works) -> None:
    first = closed(works)
    works.clock.advance(6 * 366 * 86_400)
    assert keeper(works).sweep() == 1
    assert keeper(works).sweep() == 0
    works.clock.advance(31 * 86_400)
    assert keeper(works).sweep() == 1
    assert len(works.events("register")) == 1
    assert works.words.read(first, works.case(first).sealed) is None


@pytest.mark.parametrize("years", [0, -1, 101, float("nan")])
def test_a_policy_that_is_none_is_refused(years: float) -> None:
    with pytest.raises(ConfigError, match="keep_years"):
        CaseRetention(keep_years=years)
    with pytest.raises(ConfigError, match="matter"):
        CaseRetention(scenarios={"matter": years})


@pytest.mark.parametrize(
    ("now", "years", "then"),
    [
        ("2028-02-29T12:00:00Z", 1, "2027-02-28T12:00:00Z"),
        ("2028-02-29T12:00:00Z", 4, "2024-02-28T12:00:00Z"),
        ("2026-03-02T00:00:00Z", 5, "2021-03-02T00:00:00Z"),
        ("2026-03-02T00:00:00Z", 0.5, "2025-08-31T09:00:00Z"),
    ],
)
def test_years_are_those_of_the_calendar(now: str, years: float, then: str) -> None:
    assert years_ago(parse_rfc3339(now), years) == parse_rfc3339(then)

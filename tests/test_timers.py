"""The clocks of cases: each thing told once, whatever is killed, parked, extended or published late."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from city import packs as scenarios
from city.clocks import Calendar
from city.rights import Actor
from city.scenario import Opening, Pack
from events.civic import CaseStepped
from events.media import parse_rfc3339
from pipeline.casework import TimerService
from testbed.lives import Life
from tests.flowworks import GRID, MONDAY, Works
from tests.siteworks import until

DISPATCHER = Actor("du", "dispatcher", "*")
HANDLER = Actor("hu", "handler", "*", org="water")
CHECKER = Actor("che", "checker", "*")
OPENING = Opening(category="0203", area=GRID, place=None, channel="grid")
HOUR = 3600.0


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    works = Works(tmp_path)
    yield works
    works.close()


def at(works: Works, text: str) -> None:
    """Move the clock there."""
    works.clock.advance((parse_rfc3339(text) - works.clock.wall_us()) / 1e6)


def told(works: Works, case: str) -> list[tuple[str, Any]]:
    """What the clock did with the case: action and which of its clocks it was about."""
    return [
        (step.action, step.detail.get("clock"))
        for step in works.steps(case)
        if isinstance(step, CaseStepped) and step.who == "clock"
    ]


# -- by time


def test_a_warning_before_and_one_word_when_it_has_run_out(works: Works) -> None:
    case = works.opened(OPENING)  # to be accepted within 4 working hours from Monday 09:00: by 14:30
    (deadline,) = works.case(case).deadlines
    assert works.tick() == 0
    works.clock.advance((deadline.warn_us - works.clock.wall_us()) / 1e6 - 1)
    assert works.tick() == 0
    works.clock.advance(1)
    assert works.tick() == 1
    assert told(works, case) == [("warn", "accept")]
    assert works.tick() == 0
    works.clock.advance((deadline.due_us - works.clock.wall_us()) / 1e6)
    assert works.tick() == 1
    assert told(works, case) == [("warn", "accept"), ("escalate", "accept")]
    for _ in range(3):
        works.clock.advance(86_400)
        assert works.tick() == 0
    last = works.steps(case)[-1]
    assert (last.who, last.role) == ("clock", "system")
    assert works.store.cases.case(case) == works.case(case)


def test_the_same_on_postgis(tmp_path: Path, database: str) -> None:
    works = Works(tmp_path, database)
    case = works.opened(OPENING)
    works.clock.advance(4.6 * HOUR)
    assert (works.tick(), works.tick()) == (1, 0)
    works.clock.advance(86_400)
    assert (works.tick(), works.tick()) == (1, 0)
    assert told(works, case) == [("warn", "accept"), ("escalate", "accept")]
    works.close()


def test_what_nobody_could_warn_of_in_time_is_not_warned_of_afterwards(works: Works) -> None:
    case = works.opened(OPENING)
    works.clock.advance(7 * 86_400)
    assert works.tick() == 1
    assert told(works, case) == [("escalate", "accept")]
    assert works.tick() == 0


def test_it_goes_up_level_by_level_and_at_the_top_is_only_told(works: Works) -> None:
    levels = []
    for level in ("grid", "community", "town", "city"):
        case = works.opened(Opening(category="02", area=GRID, level=level))
        works.clock.advance(86_400)
        works.tick()
        levels.append((works.case(case).level, told(works, case)[-1][0]))
    assert levels == [
        ("community", "escalate"),
        ("town", "escalate"),
        ("city", "escalate"),
        ("city", "overdue"),
    ]


def test_an_order_that_nobody_signs_for_has_a_clock(works: Works) -> None:
    case = works.opened(OPENING)
    works.step(case, "accept", DISPATCHER)
    works.step(case, "dispatch", DISPATCHER, holder="water")
    assert {d.name for d in works.case(case).deadlines if d.runs} >= {"sign", "handle", "total"}
    at(works, "2026-03-03T18:00:00+08:00")  # two working days to sign, one before the end it is warned
    works.tick()
    assert ("warn", "sign") in told(works, case)
    at(works, "2026-03-04T18:00:00+08:00")
    works.tick()
    assert ("escalate", "sign") in told(works, case)
    assert works.case(case).holder == "water"  # it is raised over them, not taken from them
    assert works.case(case).state == "dispatched"


def test_what_is_done_in_time_is_not_told(works: Works) -> None:
    case = works.opened(OPENING)
    works.step(case, "accept", DISPATCHER)
    works.step(case, "dispatch", DISPATCHER, holder="water")
    works.step(case, "sign", HANDLER)
    works.step(case, "handle", HANDLER, note="mended")
    works.step(case, "verify", CHECKER)
    works.step(case, "close", CHECKER)
    works.clock.advance(365 * 86_400)
    assert works.tick() == 0
    assert told(works, case) == []


def test_parked_its_clocks_stand_and_extended_they_are_told_anew(works: Works) -> None:
    case = works.opened(OPENING)
    works.step(case, "accept", DISPATCHER)
    works.step(case, "dispatch", DISPATCHER, holder="water")
    works.step(case, "sign", HANDLER)
    works.step(case, "park", DISPATCHER, note="no money before May", approver="director")
    works.clock.advance(60 * 86_400)
    assert works.tick() == 0
    works.step(case, "unpark", DISPATCHER)
    assert works.tick() == 0
    works.clock.advance(10 * 86_400)
    works.tick()
    assert ("escalate", "handle") in told(works, case)
    works.step(case, "extend", DISPATCHER, note="rain", approver="director", amount=10)
    before = told(works, case).count(("escalate", "handle"))
    assert works.tick() == 0
    works.clock.advance(20 * 86_400)
    works.tick()
    assert told(works, case).count(("escalate", "handle")) == before + 1


# -- by count


def test_the_third_redo_goes_up_at_once(works: Works) -> None:
    case = works.opened(OPENING)
    works.step(case, "accept", DISPATCHER)
    works.step(case, "dispatch", DISPATCHER, holder="water")
    works.step(case, "sign", HANDLER)
    for n in range(1, 4):
        works.step(case, "handle", HANDLER, note="mended")
        works.step(case, "redo", CHECKER, note="it is not")
        assert works.tick() == (1 if n == 3 else 0)
    assert told(works, case) == [("escalate-count", "thrice")]
    assert works.case(case).level == "community"
    assert works.tick() == 0


# -- packs that say little, or nothing any more


def quiet(pack: Pack) -> Pack:
    """The pack with clocks of which nothing is to be done."""
    clocks = {n: replace(c, on_warn="", on_overdue="", otherwise="") for n, c in pack.clocks.items()}
    return replace(pack, clocks=clocks)


@pytest.mark.parametrize("known", [True, False])
def test_a_clock_that_the_pack_does_not_speak_of_is_told_all_the_same(works: Works, known: bool) -> None:
    case = works.opened(OPENING)
    works.packs = {"matter": quiet(works.packs["matter"])} if known else {}
    works.clock.advance(4.6 * HOUR)
    assert works.tick() == 1
    works.clock.advance(86_400)
    assert works.tick() == 1
    assert told(works, case) == [("warn", "accept"), ("overdue", "accept")]
    assert works.case(case).state == "reported"
    assert "overdue" in works.case(case).marks
    assert works.tick() == 0


def test_a_case_that_cannot_be_told_does_not_keep_the_others(works: Works) -> None:
    good = works.packs
    bad = works.opened(OPENING)
    video = works.opened(Opening(category="intrusion", area=GRID), "video")
    actions = tuple(replace(a, restart=("nothing",)) for a in good["matter"].actions)
    works.packs = good | {"matter": replace(good["matter"], actions=actions)}  # no file can say so
    works.clock.advance(86_400)
    assert works.tick() == 1
    assert told(works, video) == [("escalate", "acknowledge")]
    works.packs = good
    assert works.tick() == 1
    assert told(works, bad) == [("escalate", "accept")]


# -- the calendar

NEW_YORK = Calendar(zone="America/New_York", hours=((540, 1020),), years=frozenset({2026, 2027}))


@pytest.mark.parametrize(
    ("opened", "kind", "due"),
    [
        # 24 natural hours over the night in which the clocks go forward: an hour later by the wall
        ("2026-03-07T12:00:00-05:00", "hours", "2026-03-08T13:00:00-04:00"),
        ("2026-10-31T12:00:00-04:00", "hours", "2026-11-01T11:00:00-05:00"),
        # and working time goes by the wall
        ("2026-03-06T16:00:00-05:00", "working-hours", "2026-03-11T16:00:00-04:00"),
        ("2026-10-30T16:00:00-04:00", "working-hours", "2026-11-04T16:00:00-05:00"),
        ("2026-03-06T16:00:00-05:00", "working-days", "2026-03-09T17:00:00-04:00"),
    ],
)
def test_a_clock_change_over_a_deadline(tmp_path: Path, opened: str, kind: str, due: str) -> None:
    amount = {"hours": 24, "working-hours": 24, "working-days": 1}[kind]
    path = tmp_path / "night.toml"
    path.write_text(
        f"""
id = "night"
title = "Night"
initial = "open"
opening = {{ roles = ["system"], start = ["only"] }}
states.open = {{ title = "Open" }}
states.over = {{ title = "Over", final = true }}
clocks.only = {{ title = "Only", kind = "{kind}", amount = {amount}, on-overdue = "end" }}
layer = {{ id = "night", title = "Night" }}
[[actions]]
name = "end"
title = "End"
from = ["open"]
to = "over"
roles = ["system"]
tells = "overdue"
"""
    )
    packs = {"night": scenarios.load(path)}
    works = Works(tmp_path, now_us=parse_rfc3339(opened), packs=packs, calendar=NEW_YORK)
    case = works.opened(Opening(category="1"), "night")
    works.clock.advance((parse_rfc3339(due) - parse_rfc3339(opened)) / 1e6 - 1)
    assert works.tick() == 0
    works.clock.advance(1)
    assert works.tick() == 1
    assert works.case(case).state == "over"
    works.close()


def test_a_year_that_nobody_has_published_counts_weekdays_and_says_so(works: Works) -> None:
    at(works, "2026-12-31T09:00:00+08:00")  # a Thursday; 2027 is in no calendar
    case = works.opened(OPENING)
    works.step(case, "accept", DISPATCHER)
    works.step(case, "dispatch", DISPATCHER, holder="water")
    assert works.case(case).detail["unpublished"] == 2027
    at(works, "2027-01-04T18:00:00+08:00")  # Thursday, Friday and Monday were working days
    works.tick()
    assert ("escalate", "sign") in told(works, case)


# -- exactly once


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    looks=st.lists(st.floats(0.1, 40.0), min_size=1, max_size=12), stale=st.lists(st.booleans(), min_size=12)
)
def test_whenever_it_looks_each_thing_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, looks: list[float], stale: list[bool]
) -> None:
    works = Works(tmp_path_factory.mktemp("looks"))
    case = works.opened(OPENING)
    for hours, behind in zip_longest(looks, stale[: len(looks)], fillvalue=False):
        works.clock.advance(hours * HOUR)
        if behind:  # the store does not show yet what was told
            works.timers().tick()
        works.tick()
    assert max(Counter(told(works, case)).values(), default=1) == 1
    works.close()


CASES = 150


def test_whenever_it_is_killed_each_thing_is_told_once(tmp_path: Path) -> None:
    """Two timers at work over the same cases, killed eight times."""
    works = Works(tmp_path)
    cases = [works.opened(OPENING) for _ in range(CASES)]
    works.clock.advance(4.6 * HOUR)
    now = works.clock.wall_us()
    works.close()
    path = tmp_path / "journal.db"

    def work(stop: threading.Event) -> None:
        works = Works(tmp_path, now_us=now)
        services = [TimerService(works.timers(), 0.01) for _ in range(2)]
        for service in services:
            service.start()
        while not stop.is_set():
            works.show()

    def progress() -> int:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM events WHERE family = 'case'").fetchone()[0])

    for _ in range(8):
        target = min(progress() + 9, 2 * CASES)
        life = Life(work)
        until(lambda: progress() >= target, 30, "nothing happens")  # noqa: B023
        life.kill()
    works = Works(tmp_path, now_us=now)
    while works.tick():
        pass
    assert [told(works, case) for case in cases] == [[("warn", "accept")]] * CASES
    works.clock.advance(86_400)
    while works.tick():
        pass
    assert all(told(works, case) == [("warn", "accept"), ("escalate", "accept")] for case in cases)
    assert now > MONDAY
    works.close()

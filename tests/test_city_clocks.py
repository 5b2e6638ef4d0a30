"""Three clocks and the working calendar: examples by hand, a slow count beside the fast one, and what must
hold whatever is stopped and resumed."""

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city import calendars, clocks
from city.clocks import HOUR_US, Calendar, due, left
from events.civic import ClockKind
from events.errors import ConfigError

CHINA = calendars.shipped()
BERLIN = Calendar(zone="Europe/Berlin", years=frozenset(range(2025, 2028)))
NIGHT = Calendar(zone="Europe/Berlin", hours=((60, 210), (1320, 1440)), weekdays=frozenset(range(7)))
"""Works through the hours that a clock change leaves out or repeats."""

MOMENTS = st.integers(1_735_700_000, 1_798_700_000).map(lambda s: s * 1_000_000)  # 2025 and 2026
AMOUNTS: dict[ClockKind, st.SearchStrategy[float]] = {
    "hours": st.integers(1, 4_000).map(lambda n: n / 8),
    "working-hours": st.integers(1, 800).map(lambda n: n / 8),
    "working-days": st.integers(1, 30).map(float),
}
KINDS = st.sampled_from(sorted(AMOUNTS))


def at(text: str, zone: str = "Asia/Shanghai") -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return int(moment.timestamp()) * 1_000_000


def said(time_us: int, zone: str = "Asia/Shanghai") -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).astimezone(ZoneInfo(zone)).isoformat()[:16]


@pytest.mark.parametrize(
    ("start", "kind", "amount", "end"),
    [
        ("2026-03-02T10:00", "hours", 24, "2026-03-03T10:00"),
        ("2026-03-06T17:00", "working-hours", 1, "2026-03-09T09:00"),  # over a weekend
        ("2026-03-02T11:00", "working-hours", 2, "2026-03-02T14:30"),  # over noon
        ("2026-03-02T11:00", "working-hours", 1, "2026-03-02T12:00"),  # not 13:30: it is over when it is over
        ("2026-03-02T10:00", "working-days", 1, "2026-03-03T17:30"),  # the day itself does not count
        ("2026-03-02T23:50", "working-days", 1, "2026-03-03T17:30"),
        ("2026-03-06T10:00", "working-days", 1, "2026-03-09T17:30"),
        ("2026-03-07T10:00", "working-days", 1, "2026-03-09T17:30"),
        ("2026-02-13T10:00", "working-days", 1, "2026-02-14T17:30"),  # a Saturday made up for Spring Festival
        ("2026-02-13T10:00", "working-days", 2, "2026-02-24T17:30"),  # and then the festival
        ("2026-02-24T08:30", "working-days", -1, "2026-02-14T17:30"),
        ("2026-03-09T09:00", "working-hours", -1, "2026-03-06T17:00"),
    ],
)
def test_examples(start: str, kind: ClockKind, amount: float, end: str) -> None:
    assert said(due(at(start), kind, amount, CHINA)) == end


@settings(max_examples=25, deadline=None)
@given(MOMENTS, MOMENTS.map(lambda us: us % (4 * 24 * HOUR_US)), st.sampled_from([CHINA, BERLIN, NIGHT]))
def test_working_hours_are_those_that_a_slow_count_finds(start: int, span: int, calendar: Calendar) -> None:
    """Minute by minute, by the clock on the wall."""
    start -= start % 60_000_000
    end = start + span - span % 60_000_000
    zone = ZoneInfo(calendar.zone)
    minutes = 0
    for moment in range(start, end, 60_000_000):
        wall = datetime.fromtimestamp(moment / 1e6, UTC).astimezone(zone)
        inside = any(a <= wall.hour * 60 + wall.minute < b for a, b in calendar.hours)
        minutes += inside and calendar.works(wall.date())
    assert left(start, end, "working-hours", calendar) * 60 == pytest.approx(minutes)


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_the_slow_count_agrees_over_both_clock_changes(day: str) -> None:
    start = at(f"{day}T00:00", NIGHT.zone)
    usual = 2 * (2.5 + 2.0) + 2.5
    change = -1 if "-03-" in day else 1  # an hour left out, an hour twice
    assert left(start, start + 53 * HOUR_US, "working-hours", NIGHT) == pytest.approx(usual + change)


@settings(deadline=None)
@given(st.data(), MOMENTS, KINDS, st.sampled_from([CHINA, BERLIN]))
def test_what_is_left_is_the_same_deadline(
    data: st.DataObject, start: int, kind: ClockKind, calendar: Calendar
) -> None:
    end = due(start, kind, data.draw(AMOUNTS[kind]), calendar)
    now = data.draw(st.integers(start, end))
    assert due(now, kind, left(now, end, kind, calendar), calendar) == end


@settings(deadline=None)
@given(st.data(), MOMENTS, KINDS)
def test_stopping_and_resuming_keeps_what_is_left(data: st.DataObject, start: int, kind: ClockKind) -> None:
    clock = clocks.started("handle", start, kind, data.draw(AMOUNTS[kind]), 0, CHINA)
    now = start
    for _ in range(data.draw(st.integers(1, 4))):
        now = data.draw(st.integers(now, max(now, clock.due_us)))
        rest = left(now, clock.due_us, kind, CHINA)
        clock = clocks.stopped(clock, now, CHINA)
        assert not clock.runs
        assert clock.left == rest
        now += data.draw(st.integers(0, 60 * 24)) * HOUR_US
        clock = clocks.resumed(clock, now, 0, CHINA)
        assert clock.runs
        again = left(now, clock.due_us, kind, CHINA)
        # On the last day 0 whole working days are left; if that day's work is over, the next one is the last.
        assert again == pytest.approx(rest, abs=1e-9) or (kind == "working-days" and (rest, again) == (0, 1))
        assert clock.due_us >= now


@settings(deadline=None)
@given(st.data(), MOMENTS, KINDS)
def test_a_longer_clock_ends_later_and_an_extension_is_a_longer_clock(
    data: st.DataObject, start: int, kind: ClockKind
) -> None:
    first, more = data.draw(AMOUNTS[kind]), data.draw(AMOUNTS[kind])
    clock = clocks.started("handle", start, kind, first, 0, CHINA)
    longer = clocks.extended(clock, more, 0, CHINA)
    assert longer.due_us == due(start, kind, first + more, CHINA) > clock.due_us


@settings(deadline=None)
@given(st.data(), MOMENTS, KINDS)
def test_what_is_overdue_stays_so_over_a_stop(data: st.DataObject, start: int, kind: ClockKind) -> None:
    clock = clocks.started("handle", start, kind, data.draw(AMOUNTS[kind]), 0, CHINA)
    now = clock.due_us + data.draw(st.integers(1, 24 * 60)) * HOUR_US // 2
    # Beside natural hours no time counts while nobody works: nothing more is lost then.
    assert left(now, clock.due_us, kind, CHINA) <= 0
    later = clocks.resumed(clocks.stopped(clock, now, CHINA), now + HOUR_US, 0, CHINA)
    assert later.due_us <= now + HOUR_US


def test_a_warning_comes_before_the_deadline_or_not_at_all() -> None:
    start = at("2026-03-02T10:00")
    clock = clocks.started("handle", start, "working-days", 5, 1, CHINA)
    assert (said(clock.warn_us), said(clock.due_us)) == ("2026-03-06T17:30", "2026-03-09T17:30")
    assert clocks.started("handle", start, "hours", 2, 3, CHINA).warn_us == 0


def test_a_clock_change_over_a_deadline() -> None:
    """In the night of 29 March 2026: natural hours do not see it, working time goes by the wall."""
    zone = BERLIN.zone
    friday = at("2026-03-27T10:00", zone)
    assert said(due(friday, "hours", 72, BERLIN), zone) == "2026-03-30T11:00"
    assert said(due(friday, "working-hours", 7.5, BERLIN), zone) == "2026-03-30T10:00"
    assert said(due(friday, "working-days", 1, BERLIN), zone) == "2026-03-30T17:30"
    autumn = at("2026-10-23T10:00", zone)
    assert said(due(autumn, "hours", 72, BERLIN), zone) == "2026-10-26T09:00"
    assert said(due(autumn, "working-days", 1, BERLIN), zone) == "2026-10-26T17:30"


def test_an_hour_that_the_clock_leaves_out_is_not_worked() -> None:
    night = Calendar(zone="Europe/Berlin", hours=((90, 210),), weekdays=frozenset(range(7)))
    spring, usual = date(2026, 3, 29), date(2026, 3, 30)
    worked = {day: sum(b - a for a, b in night.spans(day)) / HOUR_US for day in (spring, usual)}
    assert worked == {spring: 1.0, usual: 2.0}
    split = msgspec.structs.replace(night, hours=((60, 165), (180, 240)))  # 01:00-02:45, 03:00-04:00
    worked = {day: sum(b - a for a, b in split.spans(day)) / HOUR_US for day in (spring, usual)}
    assert worked == {spring: 2.0, usual: 2.75}


def test_days_that_people_change() -> None:
    start = at("2026-03-02T10:00")
    storm = CHINA.with_days({"2026-03-03": ("holiday", "storm"), "2026-03-07": ("workday", "made up")})
    assert said(due(start, "working-days", 1, storm)) == "2026-03-04T17:30"
    assert said(due(at("2026-03-06T10:00"), "working-days", 1, storm)) == "2026-03-07T17:30"
    taken_back = CHINA.with_days({"2026-03-03": ("usual", ""), "2026-10-01": ("usual", "")})
    assert taken_back == CHINA


def test_a_year_that_nobody_has_published_counts_weekdays_and_says_so() -> None:
    start = at("2026-12-30T10:00")
    end = due(start, "working-days", 3, CHINA)
    assert said(end) == "2027-01-04T17:30"  # 1 January is a Friday, and counted: nobody knows better
    assert CHINA.unpublished(end) == 2027
    assert "2027" in CHINA.warning(start, end)
    assert CHINA.warning(start) == ""


def test_the_shipped_calendar_has_the_days_made_up_for_the_festivals() -> None:
    worked = [day for day, works in CHINA.days.items() if works]
    assert len(worked) == 11
    assert all(date.fromisoformat(day).weekday() >= 5 for day in worked)
    # Every holiday span is of a festival: 28 days in 2025, 33 in 2026, weekends among them.
    assert sum(not works for day, works in CHINA.days.items() if day.startswith("2025")) == 28
    assert sum(not works for day, works in CHINA.days.items() if day.startswith("2026")) == 33


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('hours = ["8:30-12"]', "08:30-12:00"),
        ('hours = ["13:00-17:00", "08:00-12:00"]', "follow each other"),
        ("hours = []", "must be some"),
        ('zone = "Mars/Olympus"', "Asia/Shanghai"),
        ('weekdays = ["funday"]', "monday"),
        ('[year.2026]\nsource = ""\nholidays = ["2026-02-30"]', "no such day"),
        ('[year.2026]\nsource = ""\nholidays = ["2025-02-03"]', "must begin in 2026"),
        ('[year.2026]\nsource = ""\nholidays = ["2026-02-03"]\nworkdays = ["2026-02-03"]', "both"),
        ("[year.soon]\nsource = ''", "not a year"),
        ("surprise = 1", "surprise"),
        ("= 1", "line 1"),
    ],
)
def test_a_wrong_calendar_says_what_and_where(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "calendar.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        calendars.load(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "amount"),
    [("working-days", 0.5), ("hours", 1e9), ("hours", float("nan")), ("working-hours", -1e9)],
)
def test_amounts_that_cannot_be(kind: ClockKind, amount: float) -> None:
    with pytest.raises(ValueError, match=r"working days|more than"):
        due(at("2026-03-02T10:00"), kind, amount, CHINA)


def test_a_calendar_is_a_value() -> None:
    assert msgspec.json.decode(msgspec.json.encode(CHINA), type=Calendar) == CHINA

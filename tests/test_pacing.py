"""How fast bytes may leave: the hours of a day in any time zone, and a bucket over a clock that is moved."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.clock import ManualClock
from storage.pacing import BURST_S, SLICE, Bucket, Hours, Interrupted, Schedule, bytes_a_second, limit_at

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Schedule(1000.0, (Hours(time(22), time(6), None),))


def us(year: int, month: int, day: int, hour: int, minute: int = 0) -> int:
    """Of a moment in UTC."""
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("start", "end", "inside", "outside"),
    [
        (time(9), time(17), [time(9), time(12), time(16, 59, 59)], [time(8, 59), time(17), time(0)]),
        (
            time(22),
            time(6),
            [time(22), time(23, 59), time(0), time(5, 59)],
            [time(6), time(12), time(21, 59)],
        ),
        (time(8), time(8), [time(8), time(7, 59), time(20)], []),
    ],
)
def test_hours(start: time, end: time, inside: list[time], outside: list[time]) -> None:
    hours = Hours(start, end, 0.0)
    assert all(hours.holds(at) for at in inside)
    assert not any(hours.holds(at) for at in outside)


def test_the_first_that_holds_counts() -> None:
    both = Schedule(1.0, (Hours(time(8), time(12), 2.0), Hours(time(10), time(20), 3.0)))
    got = [limit_at(both, us(2026, 1, 5, hour), UTC) for hour in (7, 8, 11, 12, 19, 20)]
    assert got == [1.0, 2.0, 2.0, 3.0, 3.0, 1.0]
    assert limit_at(Schedule(), us(2026, 1, 5, 3), UTC) is None


def test_the_night_is_that_of_the_place() -> None:
    """In Berlin 22:00 is 21:00 UTC in winter and 20:00 in summer."""
    winter = [limit_at(NIGHT, us(2026, 1, 5, hour), BERLIN) for hour in (20, 21, 4, 5)]
    summer = [limit_at(NIGHT, us(2026, 7, 5, hour), BERLIN) for hour in (19, 20, 3, 4)]
    assert winter == summer == [1000.0, None, None, 1000.0]


def test_nights_in_which_the_clocks_change() -> None:
    def free(first: int, count: int) -> int:
        """Minutes without a limit."""
        step = 60_000_000
        return sum(limit_at(NIGHT, first + n * step, BERLIN) is None for n in range(count))

    day = 24 * 60
    assert free(us(2026, 1, 5, 11), day) == 8 * 60
    assert free(us(2026, 3, 28, 11), day) == 7 * 60, "spring: 2:00 to 3:00 is left out"
    assert free(us(2026, 10, 24, 11), day) == 9 * 60, "autumn: 2:00 to 3:00 comes twice"


def test_a_window_in_the_hour_that_comes_twice_or_never() -> None:
    early = Schedule(None, (Hours(time(2), time(3), 0.0),))

    def stopped(first: int) -> int:
        return sum(limit_at(early, first + n * 60_000_000, BERLIN) == 0 for n in range(24 * 60))

    assert stopped(us(2026, 1, 5, 12)) == 60
    assert stopped(us(2026, 3, 28, 12)) == 0
    assert stopped(us(2026, 10, 24, 12)) == 120


def test_megabits() -> None:
    assert (bytes_a_second(8), bytes_a_second(0), bytes_a_second(None)) == (1e6, 0, None)


@settings(deadline=None)
@given(st.floats(1000.0, 1e7), st.lists(st.integers(1, SLICE), min_size=1, max_size=60))
def test_never_faster_than_the_limit(rate: float, slices: list[int]) -> None:
    clock = ManualClock()
    bucket = Bucket(clock, lambda: rate)
    began = clock.monotonic()
    for count in slices:
        bucket.take(count)
        assert bucket.taken <= rate * (clock.monotonic() - began) + rate * BURST_S + SLICE + 1
    total = sum(slices)
    assert bucket.taken == total
    assert clock.monotonic() - began <= total / rate + 0.01


def test_a_pause_earns_no_more_than_the_burst() -> None:
    clock = ManualClock()
    bucket = Bucket(clock, lambda: 1000.0)
    bucket.take(100)
    clock.advance(3600)
    began = clock.monotonic()
    for _ in range(10):
        bucket.take(100)
    assert clock.monotonic() - began == pytest.approx(1 - BURST_S)


def test_without_a_limit_nothing_waits_and_a_change_holds_at_once() -> None:
    clock = ManualClock()
    limit: list[float | None] = [None]
    bucket = Bucket(clock, lambda: limit[0])
    for _ in range(1000):
        bucket.take(SLICE)
    assert clock.monotonic() == 0
    limit[0] = float(SLICE)
    for _ in range(10):
        bucket.take(SLICE)
    assert clock.monotonic() == pytest.approx(10, abs=1)
    limit[0] = 0.0
    with pytest.raises(Interrupted):
        bucket.take(1)


def test_a_stop_ends_the_wait() -> None:
    clock = ManualClock()
    bucket = Bucket(clock, lambda: 1.0, lambda: clock.monotonic() > 3)
    bucket.take(SLICE)  # leaves a debt of hours
    with pytest.raises(Interrupted):
        bucket.take(SLICE)
    assert clock.monotonic() < 5

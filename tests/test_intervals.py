"""Intervals: aligned to capture time, driven by media time, none doubled, none lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.intervals import Closed, Timeline
from events.media import TICKS

START_US = 1_700_000_040_000_000
"""A multiple of 60 s."""


def drive(timeline: Timeline, steps: list[tuple[float, float]]) -> list[Closed]:
    """Advance to (media seconds, wall clock's error in seconds) one after the other."""
    closed = []
    for t, off in steps:
        pieces = timeline.advance(round(t * TICKS), START_US + round((t + off) * 1e6))
        closed += [piece.closed for piece in pieces if piece.closed]
    return closed


def begun(at_s: float = 0.0, interval_s: int = 60) -> Timeline:
    timeline = Timeline(interval_s)
    timeline.begin(START_US + round(at_s * 1e6))
    return timeline


def test_the_first_interval_is_the_one_that_runs() -> None:
    timeline = begun(45)
    closed = drive(timeline, [(t / 5, 45) for t in range(1, 500)])
    assert [(c.start_us - START_US, c.end_us - START_US, c.observed_s) for c in closed] == [
        (0, 60_000_000, 15.0),
        (60_000_000, 120_000_000, 60.0),
    ]


def test_a_long_silence_closes_all_that_passed() -> None:
    closed = drive(begun(), [(200, 0)])
    assert [c.observed_s for c in closed] == [60, 60, 60]
    assert [c.pts // TICKS for c in closed] == [60, 120, 180]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.04, 5), st.floats(-0.2, 0.2)), min_size=1, max_size=200),
)
def test_small_steps_of_the_clock_double_and_lose_nothing(steps: list[tuple[float, float]]) -> None:
    timeline = begun(interval_s=10)
    t, moves = 0.0, []
    for dt, off in steps:
        t += dt
        moves.append((t, off * 10))
    closed = drive(timeline, moves)
    starts = [c.start_us for c in closed]
    assert starts == [START_US + n * 10_000_000 for n in range(len(closed))]
    rest = timeline.close().closed
    assert rest
    assert sum(c.observed_s for c in closed) + rest.observed_s == pytest.approx(
        t, abs=0.001 * len(closed) + 0.01
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.04, 5), st.integers(-10_000, 10_000)), min_size=1, max_size=100))
def test_whatever_the_clock_does_media_time_is_observed_once(steps: list[tuple[float, int]]) -> None:
    timeline = begun(interval_s=10)
    t, off, moves = 0.0, 0, []
    for dt, jump in steps:
        t += dt
        off += jump if abs(jump) > 5000 else 0
        moves.append((t, off))
    closed = drive(timeline, moves)
    rest = timeline.close().closed
    assert rest
    numbers = [c.number for c in [*closed, rest]]
    assert numbers == list(range(len(numbers)))
    total = sum(c.observed_s for c in [*closed, rest])
    assert total == pytest.approx(t, abs=0.001 * len(numbers) + 0.01)
    assert all(c.start_us % 10_000_000 == 0 and c.end_us - c.start_us == 10_000_000 for c in closed)
    assert all(c.observed_s <= 15.1 for c in closed)


def test_a_clock_that_is_set_closes_the_interval_and_begins_at_the_new_time() -> None:
    closed = drive(begun(), [(20, 0), (20.2, 3600), (80, 3600)])
    assert [(c.start_us - START_US) // 1_000_000 for c in closed] == [0, 3600]
    assert [c.observed_s for c in closed] == [20.2, 39.8]
    closed = drive(begun(), [(70, 0), (70.2, -60), (130, -60)])
    assert [((c.start_us - START_US) // 1_000_000, c.number) for c in closed] == [(0, 0), (60, 1), (0, 2)]


def test_a_clock_that_creeps_back_is_followed_as_well() -> None:
    closed = drive(begun(), [(n / 5, -n / 10) for n in range(1, 3000)])
    starts = [(c.start_us - START_US) // 60_000_000 for c in closed]
    assert starts == sorted(set(starts)) == list(range(len(starts))), "half speed: none doubled, none lost"
    closed = drive(begun(), [(1 + n, -25 * n) for n in range(100)])
    last = closed[-1]
    assert last.start_us <= START_US - 24 * 97 * 1_000_000, "labels follow even many steps of under half"


def test_what_was_shed_is_not_observed() -> None:
    timeline = begun()
    timeline.shed(10 * TICKS, 20 * TICKS)
    timeline.shed(15 * TICKS, 25 * TICKS)
    timeline.shed(55 * TICKS, 70 * TICKS)
    closed = drive(timeline, [(t / 5, 0) for t in range(1, 700)])
    assert [c.observed_s for c in closed] == [40.0, 50.0]
    assert timeline.state.shed == []
    assert timeline.state.watched == round((139.8 - 30) * TICKS)


def test_what_was_shed_before_it_was_told_corrects_the_current_interval() -> None:
    timeline = begun()
    drive(timeline, [(30, 0)])
    timeline.shed(25 * TICKS, 35 * TICKS)
    (closed,) = drive(timeline, [(60, 0)])
    assert closed.observed_s == 50.0


def test_time_does_not_go_back() -> None:
    timeline = begun()
    drive(timeline, [(30, 0)])
    assert timeline.advance(29 * TICKS, START_US) == []
    assert timeline.state.pts == 30 * TICKS


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 s"):
        Timeline(0)

"""What is counted of cases: on time, time to close, quantiles, spots."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.cases import Case, opened, stepped
from city.closure import (
    EDGES_S,
    FACTS,
    STEPS,
    bit,
    facts,
    middle,
    on_time,
    quantile,
    reclocked,
    rows,
    self_checked,
    spot,
    step_of,
)
from events.civic import CaseOpened, CaseStepped
from tests.contracts.city_examples import EPOCH, HOUR_US, Life, clock, whole_life


def closed(*clocks: Any, after_us: int = 10 * HOUR_US) -> Case:
    """A case that was closed so long after its opening, with these clocks."""
    life = Life("c")
    return fold([life.open(), life.step("close", after_us, final=True, deadlines=clocks)])


def fold(events: Any) -> Case:
    case: Case | None = None
    for e in events:
        if isinstance(e.data, CaseOpened):
            case = opened(e.key, e.time_us, e.data)
        elif isinstance(e.data, CaseStepped) and case is not None:
            case = stepped(case, e.sequence, e.time_us, e.data)
    assert case is not None
    return case


@pytest.mark.parametrize(
    ("clocks", "kept"),
    [
        ((), True),
        ((clock(hours=10.0),), True),
        ((clock(hours=9.0),), False),
        ((clock(hours=9.0, met_us=EPOCH + 9 * HOUR_US),), True),
        ((clock(hours=9.0, met_us=EPOCH + 9 * HOUR_US + 1),), False),
        ((clock(hours=99.0), clock("sign", hours=1.0, met_us=EPOCH + 2 * HOUR_US)), False),
        ((clock(hours=1.0, stopped_us=EPOCH, left=0.0),), True),
        ((clock(hours=1.0, stopped_us=EPOCH + 2 * HOUR_US, left=-1.0),), False),
    ],
)
def test_on_time_is_every_clock_kept(clocks: Any, kept: bool) -> None:
    case = closed(*clocks)
    assert on_time(case) is kept
    assert bool(facts(case) & bit("on_time")) is kept


def test_closed_is_not_solved() -> None:
    case = fold(whole_life("c"))
    assert [fact for fact in FACTS if facts(case) & bit(fact)] == list(FACTS[:-1])
    assert facts(closed()) == bit("opened") | bit("closed") | bit("on_time")
    open_case = fold(list(whole_life("c"))[:-1])
    assert facts(open_case) == bit("opened")
    assert step_of(open_case) == -1


def test_steps_of_time_to_close_end_at_their_edges() -> None:
    for n, edge in enumerate(EDGES_S):
        assert step_of(closed(after_us=round(edge * 1_000_000))) == n
        assert step_of(closed(after_us=round(edge * 1_000_000) + 1)) == n + 1
    assert sorted(EDGES_S) == list(EDGES_S)


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_the_step_of_the_true_one(seconds: list[float], share: float) -> None:
    counts = [0] * STEPS
    for took in seconds:
        counts[step_of(closed(after_us=round(took * 1_000_000)))] += 1
    found = quantile(counts, share)
    assert found is not None
    true = sorted(seconds)[max(0, -(-len(seconds) * round(share * 100) // 100) - 1)]
    step = step_of(closed(after_us=round(true * 1_000_000)))
    low = EDGES_S[step - 1] if step else 0.0
    assert low <= found <= (EDGES_S[step] if step < len(EDGES_S) else low)


def test_no_case_has_no_quantile() -> None:
    assert quantile([0] * STEPS, 0.5) is None


def test_what_the_auditor_wants_to_see() -> None:
    first = Life("c")
    before = fold([first.open(), first.step("dispatch", deadlines=(clock(),))])

    def after(*clocks: Any) -> Case:
        life = Life("c")
        return fold([life.open(), life.step("x", deadlines=clocks)])

    assert reclocked(before, after(clock(at_us=EPOCH + 1)))
    assert reclocked(before, after(clock(hours=25.0)))
    assert not reclocked(before, after(clock(met_us=EPOCH + 1), clock("check")))
    assert not reclocked(before, after(clock(due_us=EPOCH + 90 * HOUR_US))), "it went on after a stop"
    life = Life("c")
    handled = fold([life.open(), life.step("handle", who="zhao")])
    assert self_checked(handled, "verify", "zhao")
    assert not self_checked(handled, "verify", "sun")
    assert not self_checked(handled, "close", "zhao")
    assert not self_checked(before, "verify", "")


@given(st.floats(-180, 180), st.floats(-90, 90))
def test_a_place_lies_in_its_spot(lon: float, lat: float) -> None:
    number = spot((lon, lat))
    assert number is not None
    east, north = middle(number)
    assert abs(east - lon) <= 0.000501
    assert abs(north - lat) <= 0.000501
    assert any(first <= number <= last for first, last in rows(lon, lat, lon, lat))


def test_nowhere_on_earth_is_no_spot() -> None:
    assert spot((181.0, 0.0)) is None
    assert spot((float("nan"), 0.0)) is None

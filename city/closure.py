"""What is counted of cases: closed is not solved. Each figure is a fact that a case has or has not.

A case counts where and when it was opened: in one cell of (scenario, day, town, category), so that the cases
behind a figure are those of the cell that have the fact. A case that moves is taken out of one cell and put
into another.
"""

from bisect import bisect_left
from collections.abc import Sequence

from city.cases import Case

FACTS = ("opened", "closed", "on_time", "called_back", "solved", "satisfied", "reopened")
"""In the order of their bits. closed: it is at an end now. on_time: closed, and none of its clocks had run
out. called_back, solved, satisfied: by the citizen's word, whether it is closed or not. reopened: once or
more."""

_MARKS = {"called-back": "called_back", "solved": "solved", "satisfied": "satisfied"}
REOPEN, PARK, CHECKS = "reopen", "park", frozenset(("verify", "check"))
"""Actions that figures and the auditor's lists go by, as the packs call them."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
EDGES_S: tuple[float, ...] = (
    *(_MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 4 * _HOUR, 8 * _HOUR, 12 * _HOUR, 18 * _HOUR),
    *(n * _DAY for n in (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 14.0, 21.0, 30.0, 45.0, 60.0, 90.0, 180.0)),
)
"""Upper edges of the steps of time to close; one more step is open above."""
STEPS = len(EDGES_S) + 1


def bit(fact: str) -> int:
    """The fact's bit in `facts`."""
    return 1 << FACTS.index(fact)


_BITS = {mark: bit(fact) for mark, fact in _MARKS.items()}
_OPENED, _CLOSED, _ON_TIME, _REOPENED = (bit(fact) for fact in ("opened", "closed", "on_time", "reopened"))


def facts(case: Case) -> int:
    """The bits of what holds for the case."""
    found = _OPENED
    for mark in case.marks:
        found |= _BITS.get(mark, 0)
    if case.counts.get(REOPEN):
        found |= _REOPENED
    if case.final:
        found |= _CLOSED | (_ON_TIME if on_time(case) else 0)
    return found


def on_time(case: Case) -> bool:
    """Whether a closed case kept its clocks: each was met, stopped or at the end before it ran out."""
    for clock in case.deadlines:
        if clock.met_us:
            late = clock.met_us > clock.due_us
        elif clock.stopped_us:
            late = clock.left < 0
        else:
            late = case.closed_us > clock.due_us
        if late:
            return False
    return True


def step_of(case: Case) -> int:
    """Index of the step of its time to close; -1: it is open."""
    if not case.final:
        return -1
    return bisect_left(EDGES_S, (case.closed_us - case.opened_us) / 1_000_000)


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Seconds within which this share of the cases was closed, by linear interpolation in its step.

    Args:
        counts: by step.

    Returns:
        None: there are none. Of the step that is open above, its lower edge.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for index, count in enumerate(counts):
        if count and below + count >= wanted:
            low = EDGES_S[index - 1] if index else 0.0
            if index == len(EDGES_S):
                return low
            return low + (EDGES_S[index] - low) * max(wanted - below, 0) / count
        below += count
    return EDGES_S[-1]


def reclocked(before: Case, after: Case) -> bool:
    """Whether a step began a clock anew or gave it more time. (One that goes on after a stop is neither.)"""
    clocks = {clock.name: clock for clock in before.deadlines}
    return any(
        (was := clocks.get(clock.name)) is not None
        and (clock.started_us != was.started_us or clock.amount > was.amount)
        for clock in after.deadlines
    )


def self_checked(before: Case, action: str, who: str) -> bool:
    """Whether who takes the step of checking is who handled it."""
    return action in CHECKS and bool(before.handled_by) and who == before.handled_by


def parked_then_closed(case: Case) -> bool:
    """Whether its clocks were stopped by parking before it came to an end."""
    return case.final and bool(case.counts.get(PARK))


SPOT_DEGREES = 0.001
"""Width of a spot, about 100 m."""
_ROW = 360_001


def spot(place: tuple[float, float]) -> int | None:
    """Number of the spot in which a place lies; None: it is nowhere on earth."""
    lon, lat = place
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        return None
    return round((lat + 90) / SPOT_DEGREES) * _ROW + round((lon + 180) / SPOT_DEGREES)


def middle(number: int) -> tuple[float, float]:
    """Longitude and latitude of a spot's middle."""
    row, column = divmod(number, _ROW)
    return round(column * SPOT_DEGREES - 180, 7), round(row * SPOT_DEGREES - 90, 7)


def rows(west: float, south: float, east: float, north: float) -> list[tuple[int, int]]:
    """Of each row of spots that a box touches the first and the last number."""
    low, high = (round((lat + 90) / SPOT_DEGREES) for lat in (max(south, -90), min(north, 90)))
    first, last = (round((lon + 180) / SPOT_DEGREES) for lon in (max(west, -180), min(east, 180)))
    return [(row * _ROW + first, row * _ROW + last) for row in range(low, high + 1)]

"""Whether two appeals are about the same: a score, and why. Found ones are linked, never deleted.

What counts: the category, how far apart they lie, how long one came after the other, whether the same caller
said it. The caller is known here by a blind index alone (a keyed hash of the telephone number), made when it
is compared and kept nowhere. Words are not compared: they are sealed.

The figures are of this project's own making, set by hand and checked on the synthetic city (docs/appeals.md);
a city that has judged pairs may put others in their place.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from events.payload import Place

DAY_US = 86_400_000_000
EARTH_M = 6_371_008.8


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """What a likeness is worth. A score is a probability by the logistic function of the points' sum."""

    base: float = -6.5
    place: float = 5.0
    """At the same place; less by `reach_m`, and gone at three times as much."""
    reach_m: float = 60.0
    time: float = 4.0
    """At the same moment; less by `reach_days`."""
    reach_days: float = 2.0
    caller: float = 6.5
    """Both callers are known and the same."""
    unplaced: float = 0.5
    """One of the two has no place: neither for nor much against."""
    linked_at: float = 0.8
    """From this score on they are linked; a person may undo or do it."""
    similar_at: float = 0.5
    """From this score on it is only shown to the clerk."""
    window_days: float = 14.0
    """What lies further apart is not compared."""


WEIGHTS = Weights()


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an appeal."""

    case: str
    category: str
    time_us: int
    place: Place | None = None
    channel: str = ""
    caller: bytes = b""
    """Blind index; empty: not known."""


class Point(msgspec.Struct, frozen=True):
    """One reason of a score."""

    what: str
    """category, distance, time, caller."""
    text: str
    """In words: 12 m apart."""
    points: float


class Likeness(msgspec.Struct, frozen=True):
    """How much two appeals are the same."""

    score: float
    """0 to 1."""
    why: tuple[Point, ...]

    @property
    def text(self) -> str:
        """The reasons in one line; nothing about a person."""
        return "; ".join(point.text for point in self.why)


class Link(msgspec.Struct, frozen=True):
    """A later appeal that is the same as an earlier one."""

    case: str
    of: str
    likeness: Likeness


def compare(one: Said, other: Said, weights: Weights = WEIGHTS) -> Likeness:
    """How much they are the same; the order of the two makes no difference. Never both categories: what is
    about different things scores 0."""
    if one.category != other.category:
        return Likeness(0.0, (Point("category", f"{one.category} and {other.category} differ", 0.0),))
    why = [Point("category", f"both {one.category}", 0.0), _distance(one, other, weights)]
    days = abs(one.time_us - other.time_us) / DAY_US
    if days > weights.window_days:
        return Likeness(0.0, (Point("time", f"{days:.0f} days apart", 0.0),))
    why.append(Point("time", _apart(days), weights.time * math.exp(-days / weights.reach_days)))
    if one.caller and one.caller == other.caller:
        by = " by another channel" if one.channel != other.channel else ""
        why.append(Point("caller", f"the same caller{by}", weights.caller))
    total = weights.base + sum(point.points for point in why)
    return Likeness(1 / (1 + math.exp(-total)), tuple(why))


def reachable(one: Said, other: Said, weights: Weights = WEIGHTS) -> bool:
    """Whether it could be linked if the callers were the same: only then is it worth to look who called."""
    same = msgspec.structs.replace(one, caller=b"?"), msgspec.structs.replace(other, caller=b"?")
    return compare(*same, weights).score >= weights.similar_at


def best(new: Said, others: Iterable[Said], weights: Weights = WEIGHTS) -> Link | None:
    """The most like of those that came before, if any is like enough to be shown; of equals the earliest."""
    found: tuple[float, int, str, Likeness] | None = None
    for other in others:
        if other.case == new.case:
            continue
        likeness = compare(new, other, weights)
        if likeness.score >= weights.similar_at:
            rank = (-likeness.score, other.time_us, other.case, likeness)
            if found is None or rank[:3] < found[:3]:
                found = rank
    return Link(new.case, found[2], found[3]) if found else None


class Chain:
    """Links many, as they come in by time: each with the earliest head that it is the same as.

    A head is one that is linked to nothing itself; all duplicates of a thing hang on its first.
    """

    def __init__(self, weights: Weights = WEIGHTS) -> None:
        self._weights = weights
        self._heads = _Index(weights)

    def know(self, said: Iterable[Said]) -> None:
        """Heads that are here already."""
        for one in said:
            self._heads.add(one)

    def links(self, said: Iterable[Said]) -> Iterator[Link]:
        """The links of new ones; their order is that of their times. A next call has what comes later."""
        for one in sorted(said, key=lambda one: (one.time_us, one.case)):
            link = best(one, self._heads.near(one), self._weights)
            if link is not None and link.likeness.score >= self._weights.linked_at:
                yield link
            else:
                self._heads.add(one)


_Key = TypeVar("_Key")


class _Index:
    """Heads by category and cell of a grid, the oldest given up as time goes on."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        # A cell is as wide as the distance at which a place counts no more.
        self._step = 3 * weights.reach_m / 111_000
        self._cells: dict[tuple[str, int, int], list[Said]] = defaultdict(list)
        self._unplaced: dict[tuple[str, bytes], list[Said]] = defaultdict(list)
        self._callers: dict[tuple[str, bytes], list[Said]] = defaultdict(list)

    def add(self, one: Said) -> None:
        if one.place is not None:
            self._cells[self._cell(one.category, one.place)].append(one)
        if one.caller:
            (self._unplaced if one.place is None else self._callers)[one.category, one.caller].append(one)

    def near(self, one: Said) -> Iterator[Said]:
        """Those with which a comparison can come to anything."""
        since = one.time_us - self._weights.window_days * DAY_US
        key = (one.category, one.caller)
        if one.caller:
            yield from self._alive(self._unplaced, key, since)
        if one.place is None:
            yield from self._alive(self._callers, key, since) if one.caller else ()
            return
        category, x, y = self._cell(one.category, one.place)
        # A degree of longitude is shorter than one of latitude.
        wide = math.ceil(1 / max(math.cos(math.radians(one.place[1])), 0.05))
        for i in range(x - wide, x + wide + 1):
            for j in (y - 1, y, y + 1):
                yield from self._alive(self._cells, (category, i, j), since)

    def _cell(self, category: str, place: Place) -> tuple[str, int, int]:
        return category, math.floor(place[0] / self._step), math.floor(place[1] / self._step)

    @staticmethod
    def _alive(cells: dict[_Key, list[Said]], key: _Key, since: float) -> list[Said]:
        some = cells.get(key)
        if not some:
            return []
        if some[0].time_us < since:  # given up for good: nothing earlier comes any more
            some[:] = [one for one in some if one.time_us >= since]
        return some


def metres(one: Place, other: Place) -> float:
    """Between two places (longitude, latitude in degrees), on the plane that touches the earth there."""
    middle = math.radians((one[1] + other[1]) / 2)
    x = math.radians(one[0] - other[0]) * math.cos(middle)
    y = math.radians(one[1] - other[1])
    return math.hypot(x, y) * EARTH_M


def _distance(one: Said, other: Said, weights: Weights) -> Point:
    if one.place is None or other.place is None:
        return Point("distance", "one has no place", weights.unplaced)
    apart = metres(one.place, other.place)
    far = 3 * weights.reach_m
    # Falls from 1 at no distance to 0 at `far`, and goes on below: far away speaks against it.
    share = max(1 - (apart / far) ** 2, -1.0)
    return Point("distance", f"{apart:.0f} m apart", weights.place * share)


def _apart(days: float) -> str:
    if days < 1 / 24:
        return f"{days * 1440:.0f} minutes apart"
    return f"{days * 24:.0f} hours apart" if days < 2 else f"{days:.0f} days apart"

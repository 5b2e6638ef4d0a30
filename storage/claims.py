"""Claims: which box opened which stream of a camera, and so whose word counts where two have seen the same.

What the analysis says of a stream epoch counts until another box, under a larger token, had the camera; from
that capture time on it is superseded. The rule looks at all claims that are known and at nothing else, so it
does not matter in which order claims and events arrive, and a further claim can only supersede more.
"""

from collections.abc import Iterable, Mapping

import msgspec

from events.events import AlertRaised, Crossing, Event, FaceCaptured, Interval, ViewChanged

ANALYSIS = ("count", "alert", "view", "face")
"""Families of what a box makes of a camera's picture: two boxes that see the same say it twice."""


class Claim(msgspec.Struct, frozen=True):
    """A box opened a stream epoch of a camera under a token; `since_us` is the epoch's first capture time."""

    source: str
    epoch: int
    token: int
    box: str
    since_us: int


class Claims:
    """All claims of some cameras.

    Args:
        forgotten: by source, up to which epoch claims were pruned: an epoch from before without a claim is
            older than all that are known. Any other epoch without a claim is nobody's second word: it counts.
    """

    def __init__(self, claims: Iterable[Claim], forgotten: Mapping[str, int] | None = None) -> None:
        self._by_source: dict[str, list[Claim]] = {}
        self._own: dict[tuple[str, int], Claim] = {}
        self._forgotten = forgotten or {}
        self._ends: dict[str, dict[int, int]] = {}
        for claim in claims:
            self.add(claim)

    def add(self, claim: Claim) -> None:
        """One claim more."""
        self._by_source.setdefault(claim.source, []).append(claim)
        key = claim.source, claim.epoch
        own = self._own.get(key)
        if own is None or (claim.token, claim.box) < (own.token, own.box):
            self._own[key] = claim
        self._ends.pop(claim.source, None)

    def end_us(self, source: str, epoch: int) -> int | None:
        """The capture time from which the epoch's analysis is superseded; None: it counts for ever."""
        if (source, epoch) not in self._own and epoch <= self._forgotten.get(source, -1):
            return min((claim.since_us for claim in self._by_source.get(source, ())), default=None)
        return self.ends(source).get(epoch)

    def ends(self, source: str) -> dict[int, int]:
        """Of each epoch of the source that was claimed and ends, when."""
        if source not in self._ends:
            self._ends[source] = self._found_ends(source)
        return self._ends[source]

    def _found_ends(self, source: str) -> dict[int, int]:
        claims = sorted(self._by_source.get(source, ()), key=lambda claim: claim.token)
        mine = {claim.epoch: self._own[source, claim.epoch] for claim in claims}
        earliest: dict[str, int] = {}  # of the claims with a larger token, by box
        ends = {}
        for own in sorted(mine.values(), key=lambda claim: -claim.token):
            while claims and claims[-1].token > own.token:
                later = claims.pop()
                earliest[later.box] = min(later.since_us, earliest.get(later.box, later.since_us))
            others = [since_us for box, since_us in earliest.items() if box != own.box]
            if others:
                ends[own.epoch] = min(others)
        return ends


CrossingKey = tuple[str, str, str, str]
"""Source, rule, direction, label."""


class Undone(msgspec.Struct, frozen=True):
    """What events changed in the store that do not count any more."""

    crossings: dict[CrossingKey, tuple[int, int]]
    """How many, and the latest of them."""
    intervals: list[Event]
    captures: list[str]
    views: bool


def undone(events: Iterable[Event]) -> Undone:
    """Adds up what has to be taken back. Alerts are not here: they are found by their epoch."""
    crossings: dict[CrossingKey, tuple[int, int]] = {}
    intervals, captures, views = [], [], False
    for event in events:
        data = event.data
        if isinstance(data, Crossing):
            key = crossing_key(event)
            count, last_us = crossings.get(key, (0, 0))
            crossings[key] = count + 1, max(last_us, event.time_us)
        elif isinstance(data, Interval):
            intervals.append(event)
        elif isinstance(data, FaceCaptured):
            captures.append(data.capture)
        elif isinstance(data, ViewChanged):
            views = True
    return Undone(crossings, intervals, captures, views)


def crossing_key(event: Event) -> CrossingKey:
    """The total that a crossing belongs to."""
    assert isinstance(event.data, Crossing)
    return event.source, event.data.rule, event.data.direction, event.data.label


def counts_when_superseded(event: Event) -> bool:
    """The end of an alert, and what was deleted, are told by who had it: they are taken at their word always.

    An alert stands and falls with its raising.
    """
    return not isinstance(event.data, Crossing | Interval | AlertRaised | FaceCaptured | ViewChanged)

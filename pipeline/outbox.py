"""The journal as an outbox: what is to be sent next, what is under way, and up to where all has arrived.

Events are taken in the journal's order and handed to a sender; each comes back with a `Ticket` that says
when it has arrived. Of each family the *position* is the offset up to which every event of it has arrived.
Whatever goes wrong, `again` forgets what is under way and reads on from the positions: what had arrived
beyond them is sent twice, and never in another order.

A family whose topic cannot be written (`rest`) is passed over, so that the others go on; afterwards it has a
*lane* of its own until it has caught up. The least position is the consumer's offset in the journal: nothing
is pruned that has not arrived.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from storage.journal import Journal, Raw

GROUP = "relay"
"""The consumer of the journal, and the name of its state there."""

LETTER = "relay:letter:"
"""Names of states: an event that the broker will never take, by its offset."""

NEAR = 10_000
"""Families that differ by so many offsets at most are read together."""


DROP = 1000
"""Events that go in one transaction."""

GIVEN_UP_FIRST = (
    *("sensor", "segment", "view", "health", "count"),
    *("face", "claim", "judgement", "access", "alert"),
)
"""The order in which families go when the journal has come to its bound."""


class Ticket(Protocol):
    """Of one event that is under way."""

    @property
    def is_done(self) -> bool:
        """Nothing more will happen to it."""

    def succeeded(self) -> bool:
        """It has arrived."""


class Kept(msgspec.Struct, frozen=True):
    """What outlives a restart, beside the consumer's offset."""

    topics: dict[str, str] = {}
    """Family -> id of the topic that it was sent to."""
    positions: dict[str, int] = {}
    """Of families that are further than the consumer's offset."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """Why an event was not sent. It is in the journal still, and can be sent by hand."""

    family: str
    id: str
    reason: str
    bytes: int


class Sent(NamedTuple):
    """An event that is under way, since `at` (the clock's monotonic time); `note` is the caller's."""

    offset: int
    at: float
    ticket: Ticket
    bytes: int
    note: object


class _Lane:
    """Families that are read together."""

    def __init__(self, families: Sequence[str], cursor: int) -> None:
        self.families = list(families)
        self.cursor = cursor


class Outbox:
    """One thread uses it.

    Args:
        families: those that leave the box.
        every: whether these are all that there are, so that reading need not choose.
    """

    def __init__(self, journal: Journal, families: Sequence[str], *, every: bool = True) -> None:
        self._journal = journal
        self._every = every
        least = journal.add_consumer(GROUP)
        raw = journal.state(GROUP)
        kept = msgspec.json.decode(raw, type=Kept) if raw else Kept()
        self.topics = dict(kept.topics)
        self._position = {family: max(least, kept.positions.get(family, 0)) for family in families}
        self._under_way: dict[str, deque[Sent]] = {family: deque() for family in families}
        self._high = dict(self._position)
        self._letters = {int(name.removeprefix(LETTER)) for name in journal.states(LETTER)}
        self._resting: set[str] = set()
        self._lanes: list[_Lane] = []
        self._kept = (least, kept)
        self.in_flight = 0
        self.bytes_in_flight = 0
        self.sent = 0
        self.arrived = 0
        self.repeats = 0
        self.moved = False
        """Whether `take` read anything, wanted or not."""
        self.again()

    @property
    def families(self) -> Collection[str]:
        return self._position.keys()

    @property
    def positions(self) -> Mapping[str, int]:
        """Of each family the offset up to which all has arrived."""
        return self._position

    @property
    def position(self) -> int:
        """The offset up to which all has arrived, of all families."""
        return min(self._position.values())

    @property
    def resting(self) -> Collection[str]:
        """Families that are passed over."""
        return self._resting

    def again(self) -> None:
        """Forget what is under way and read on from the positions."""
        for tickets in self._under_way.values():
            tickets.clear()
        self.in_flight = 0
        self.bytes_in_flight = 0
        self._lanes = []
        awake = sorted((self._position[f], f) for f in self._position if f not in self._resting)
        near = [f for at, f in awake if awake[-1][0] - at <= NEAR]
        if near:
            self._lanes.append(_Lane(near, min(self._position[f] for f in near)))
        self._lanes += [_Lane([f], at) for at, f in awake if f not in near]

    def rest(self, families: Collection[str]) -> None:
        """Pass over these families from now on, and no others."""
        self._resting = set(families) & set(self._position)
        self.again()

    def wake(self, family: str) -> None:
        """A family that rested is sent again, from its position."""
        if family in self._resting:
            self._resting.discard(family)
            self._lanes.append(_Lane([family], self._position[family]))

    def restart(self, topics: Mapping[str, str]) -> list[str]:
        """The topics have these ids. Of families whose topic is another one now, all is sent again that the
        journal has; answers them.
        """
        lost = [f for f, id_ in topics.items() if f in self._position and self.topics.get(f, id_) != id_]
        new = {f: id_ for f, id_ in topics.items() if f in self._position and self.topics.get(f) != id_}
        self.topics |= new
        if lost:
            for family in lost:
                self._position[family] = 0
            self._journal.rewind(GROUP, 0)
            self._kept = (0, self._kept[1])
        if new:
            self.commit()
            self.again()
        return lost

    def take(self, limit: int) -> Iterator[Raw]:
        """Up to `limit` events to be sent now, in order. Each has to be told as `handed` (or `dead`) before
        the next is asked for."""
        self.moved = False
        for lane in list(self._lanes):
            if limit <= 0:
                return
            main = self._lanes[0]
            upto = None if lane is main else main.cursor
            rows, after = self._read(lane, max(limit // len(self._lanes), 1), upto)
            for row in rows:
                if self._wanted(lane, row):
                    limit -= 1
                    yield row
                lane.cursor = row.offset  # not before the event is under way: `collect` goes by it
            self.moved |= bool(rows)
            lane.cursor = after
            self._caught_up(lane, main)

    def handed(self, row: Raw, ticket: Ticket, at: float, note: object = None) -> None:
        """The event is under way since `at`; once it has arrived, `collect` tells the note."""
        self._under_way[row.family].append(Sent(row.offset, at, ticket, len(row.body), note))
        self.in_flight += 1
        self.bytes_in_flight += len(row.body)
        self.sent += 1
        if row.offset <= self._high[row.family]:
            self.repeats += 1
        else:
            self._high[row.family] = row.offset

    def collect(self, notes: list[Any] | None = None) -> Sent | None:
        """Look what has arrived and move the positions; answers one of those that have, if any did.

        Args:
            notes: theirs are added, where they have one.
        """
        last: Sent | None = None
        count = size = 0
        for family, tickets in self._under_way.items():
            while tickets and tickets[0].ticket.is_done and tickets[0].ticket.succeeded():
                last = tickets.popleft()
                self._position[family] = last.offset
                count += 1
                size += last.bytes
                if notes is not None and last.note is not None:
                    notes.append(last.note)
        self.in_flight -= count
        self.bytes_in_flight -= size
        self.arrived += count
        for lane in self._lanes:
            for family in lane.families:
                if not self._under_way[family] and self._position[family] < lane.cursor:
                    self._position[family] = lane.cursor
        return last

    def oldest(self) -> dict[str, float]:
        """Of each family with something under way, since when its oldest is."""
        return {family: tickets[0].at for family, tickets in self._under_way.items() if tickets}

    def dead(self, offset: int, letter: Letter) -> None:
        """The event will not be sent; durable when this returns. What follows it goes on."""
        self._letters.add(offset)
        name = f"{LETTER}{offset:020d}"
        self._journal.record((), state=(name, msgspec.json.encode(letter)))
        self._journal.flush()

    def commit(self) -> None:
        """Make the positions durable, if they have changed."""
        least = self.position
        ahead = {family: at for family, at in self._position.items() if at > least}
        kept = Kept(dict(self.topics), ahead)
        if (least, kept) == self._kept:
            return
        self._journal.record((), state=(GROUP, msgspec.json.encode(kept)))
        self._journal.commit(GROUP, least)
        self._kept = (least, kept)

    def _read(self, lane: _Lane, limit: int, upto: int | None) -> tuple[list[Raw], int]:
        everything = self._every and len(lane.families) == len(self._position)
        return self._journal.raw(lane.cursor, limit, () if everything else lane.families, upto)

    def _wanted(self, lane: _Lane, row: Raw) -> bool:
        position = self._position.get(row.family)
        return (
            position is not None
            and row.offset > position
            and row.offset not in self._letters
            and row.family in lane.families
        )

    def _caught_up(self, lane: _Lane, main: _Lane) -> None:
        if lane is not main and lane.cursor >= main.cursor:
            main.families += lane.families
            self._lanes.remove(lane)


def relieve(journal: Journal, bound: int, before_us: int) -> list[tuple[int, str]]:
    """If the journal is larger than `bound` bytes (0: no bound), the oldest events go that were committed
    before `before_us` and that every consumer but the relay has had.

    Returns:
        Offset and family of each that went unsent.
    """
    gone: list[tuple[int, str]] = []
    if not bound or journal.used_bytes() <= bound:
        return gone
    sent = journal.committed(GROUP)
    for family in GIVEN_UP_FIRST:
        while journal.used_bytes() > bound * 0.95:
            step = journal.drop([family], before_us, GROUP, DROP)
            gone += [(offset, family) for offset, family in step if offset > sent]
            if not step:
                break
    return gone

"""The embedded bus: the journal itself, read by offset (contract: `events/bus.py`)."""

import math
from collections.abc import Mapping, Sequence

from events.bus import Record, Start
from events.clock import Clock
from storage.journal import Journal

LOOK_S = 0.05
"""How often a waiting consumer looks for what other processes have committed. Commits of its own process
wake it at once."""


class LogBus:
    """Subscriptions to one journal. Close them before the journal."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    @property
    def id(self) -> str:
        """Names the log that offsets belong to; who keeps offsets elsewhere keeps this with them."""
        return self._journal.id

    def subscribe(
        self, group: str, families: Sequence[str] = (), start: Start | None = None
    ) -> "LogSubscription":
        """Read as consumer `group`, from its committed offset or from `start`; `families` empty means all.

        The group becomes known to the journal: nothing is pruned that it has not committed.
        """
        return LogSubscription(self._journal, self._clock, group, tuple(families), start)


class LogSubscription:
    """One consumer's position. Used by one thread at a time."""

    def __init__(
        self, journal: Journal, clock: Clock, group: str, families: tuple[str, ...], start: Start | None
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._group = group
        self._families = families
        committed = journal.add_consumer(group)
        self._position = committed if start is None else start(journal.id)

    def poll(self, timeout_s: float = 0.0, limit: int = 500) -> Sequence[Record]:
        """The next records, oldest first; empty if none came within the time-out."""
        until = self._clock.monotonic() + timeout_s
        looks = math.ceil(timeout_s / LOOK_S)  # a clock that stands still ends the wait too
        while True:
            seen = self._journal.stats().commits
            before = self._position
            if self._journal.last_offset() > before:
                records, self._position = self._journal.page(self._position, limit, self._families)
                if records:
                    return records
                if self._position > before:
                    continue  # it passed over others; what is wanted may stand behind them
            left = until - self._clock.monotonic()
            if left <= 0 or looks <= 0:
                return []
            if not self._journal.wait(seen, min(left, LOOK_S)):
                looks -= 1

    @property
    def position(self) -> Mapping[str, int]:
        """How far everything was given, or passed over as being of other families."""
        return {self._journal.id: self._position}

    def seek(self, position: Mapping[str, int]) -> None:
        """Read on from the record after the offset (0: from the beginning)."""
        self._position = position.get(self._journal.id, self._position)

    def commit(self, position: Mapping[str, int]) -> None:
        """All up to and including the offset is done with; durable when this returns."""
        if self._journal.id in position:
            self._journal.commit(self._group, position[self._journal.id])

    def close(self) -> None:
        """Nothing is held: the journal is its owner's."""

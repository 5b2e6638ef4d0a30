"""The bus contract: named consumers read events in order by offset and commit how far they came.

A bus is one *log* or several. The embedded bus is the journal itself, one log (`storage/logbus.py`); Kafka,
on many boxes, has a log for each partition (`storage/kafkabus.py`) and shares them among the consumers of one
name. Order holds within a log; the events of one camera and family are in one log. Offsets begin at 1, mean
something in their own log alone, and may have holes.

Delivery is at least once: after a crash a consumer gets again what it had not committed. Exactly once is the
store's, by keeping the offset in the projection's own transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from events.events import Event


class Record(msgspec.Struct, frozen=True):
    """An event with its place in a log."""

    offset: int
    event: Event
    log: str = ""
    """Names the log that the offset belongs to."""


Start = Callable[[str], int]
"""Answers up to which offset a log is done with; 0: not at all."""


class Subscription(Protocol):
    """One consumer's position in the logs that it holds. Used by one thread at a time."""

    def poll(self, timeout_s: float = 0.0, limit: int = 500) -> Sequence[Record]:
        """The next records, those of a log oldest first; empty if none came within the time-out.

        Raises:
            LinliError: the bus cannot be read now; a later call goes on where this one stood.
        """

    @property
    def position(self) -> Mapping[str, int]:
        """Of each log that this consumer holds, the offset of the last record that was given, or beyond it if
        what followed was for others: who is done with all that it was given commits this."""

    def seek(self, position: Mapping[str, int]) -> None:
        """Read these logs on from the record after the offset (0: from the beginning). Those that are not
        held (any more) are passed over."""

    def commit(self, position: Mapping[str, int]) -> None:
        """Of each log all up to and including the offset is done with; durable when this returns. Logs that
        are not held any more are passed over: who holds them now commits."""

    def close(self) -> None:
        """Release what the subscription holds."""


class Bus(Protocol):
    """Where consumers subscribe."""

    def subscribe(self, group: str, families: Sequence[str] = (), start: Start | None = None) -> Subscription:
        """Read as consumer `group`; `families` empty means all.

        Args:
            start: where to read a log on from, asked when the log comes to this consumer. Without it: from
                the committed offset.
        """


def before(records: Sequence[Record]) -> dict[str, int]:
    """Where to `seek` so that these records come again: of each log before the first of them."""
    found: dict[str, int] = {}
    for record in records:
        found.setdefault(record.log, record.offset - 1)
    return found

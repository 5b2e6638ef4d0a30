"""The bus contract: named consumers read events in order by offset and commit how far they came.

The embedded bus is the journal itself (`storage/logbus.py`); Kafka is the same contract on many boxes.
Delivery is at least once: after a crash a consumer gets again what it had not committed. Exactly once is the
store's, by keeping the offset in the projection's own transaction.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from events.events import Event


class Record(msgspec.Struct, frozen=True):
    """An event with its place in the log."""

    offset: int
    event: Event


class Subscription(Protocol):
    """One consumer's position in the log."""

    def poll(self, timeout_s: float = 0.0, limit: int = 500) -> Sequence[Record]:
        """The next records, oldest first; empty if none came within the time-out."""

    @property
    def position(self) -> int:
        """Offset of the last record that was given, or beyond it if what followed was for others: who is done
        with all that it was given commits this."""

    def seek(self, offset: int) -> None:
        """Read on from the record after `offset` (0: from the beginning)."""

    def commit(self, offset: int) -> None:
        """All up to and including `offset` is done with; durable when this returns."""

    def close(self) -> None:
        """Release what the subscription holds."""


class Bus(Protocol):
    """Where consumers subscribe."""

    def subscribe(self, group: str, families: Sequence[str] = ()) -> Subscription:
        """Read as consumer `group`, from its committed offset; `families` empty means all."""

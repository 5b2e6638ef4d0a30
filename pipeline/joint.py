"""Joint alerts from the bus: what cameras and sensors say becomes an alert where it comes together.

A consumer of the journal that writes into the same journal: the alerts that it makes, the engine's state and
the offset up to which that was read are one transaction. So a kill between any two steps neither loses nor
doubles an alert. The bus's own offset follows; it only says what may be pruned.
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from events.bus import Bus, Record, Subscription
from events.clock import Clock
from events.errors import StorageError
from events.joint import JointEngine
from events.noted import Noted
from pipeline.service import Service
from storage.journal import Journal

log = logging.getLogger(__name__)

GROUP = "joint"
"""The consumer, and the name of its state in the journal."""

COMMIT_S = 30.0
"""How often it is said that nothing was there to be done."""

_BATCH = 500


class _Kept(msgspec.Struct, frozen=True):
    offset: int
    engine: dict[str, Any]


class JointService(Service):
    """Feeds a `JointEngine` that nobody else feeds.

    At its very first start it learns from the journal what is open, and tells only what holds then: nobody
    is told of what came together before.
    """

    def __init__(self, bus: Bus, journal: Journal, engine: JointEngine, clock: Clock) -> None:
        self._bus = bus
        self._journal = journal
        self._engine = engine
        self._clock = clock
        self._blank = engine.snapshot()
        self._commit_at = 0.0
        super().__init__(GROUP)

    def _run(self) -> None:
        subscription = self._bus.subscribe(GROUP, ("alert",))
        lost = True  # where we stood: the journal alone knows
        said = ""
        try:
            while True:
                stopping = self._stop.is_set()
                try:
                    if lost:
                        self.resume(subscription)
                    lost = False
                    got = self.work(subscription, 0.0 if stopping else 0.5)
                    said = ""
                except StorageError as e:
                    if str(e) != said:  # not at each attempt
                        log.error("joint alerts have to wait: %s", e)
                    said = str(e)
                    if stopping:
                        return
                    lost = True
                    self._stop.wait(2.0)
                    continue
                if stopping and not got:
                    return
        finally:
            subscription.close()

    def resume(self, subscription: Subscription) -> None:
        """Go on where the journal says that we stood.

        Raises:
            StorageError: the journal cannot be written.
        """
        self._journal.flush()  # what was recorded before a failure is still to be written, or is lost
        kept = self._kept()
        self._engine.restore(self._blank if kept is None else kept.engine)
        subscription.seek({self._journal.id: 0 if kept is None else kept.offset})
        if kept is None:
            while records := subscription.poll(0.0, _BATCH):
                for record in records:
                    self._engine.learn(record.event)
        self._record(subscription, self._engine.settle())

    def work(self, subscription: Subscription, timeout_s: float) -> int:
        """Take the next records; answers how many there were.

        Raises:
            StorageError: the journal cannot be written. `resume` before the next call.
        """
        records = subscription.poll(timeout_s, _BATCH)
        if any(self._engine.concerns(record.event) for record in records):
            self._record(subscription, self._feed(records))
        elif self._clock.monotonic() >= self._commit_at:
            self._commit(subscription)
        return len(records)

    def _feed(self, records: Sequence[Record]) -> list[Noted]:
        return [noted for record in records for noted in self._engine.feed(record.event)]

    def _kept(self) -> _Kept | None:
        blob = self._journal.state(GROUP)
        if blob is None:
            return None
        try:
            return msgspec.json.decode(blob, type=_Kept)
        except msgspec.ValidationError as e:
            log.error("the state of joint alerts cannot be read, they begin anew: %s", e)
            return None

    def _record(self, subscription: Subscription, said: list[Noted]) -> None:
        """One transaction: what is said, what follows, and how far that is."""
        blob = msgspec.json.encode(_Kept(subscription.position[self._journal.id], self._engine.snapshot()))
        self._journal.record(said, state=(GROUP, blob))
        self._commit(subscription)

    def _commit(self, subscription: Subscription) -> None:
        """After the state, which is queued before it: nothing is pruned that may be read again."""
        subscription.commit(subscription.position)
        self._commit_at = self._clock.monotonic() + COMMIT_S

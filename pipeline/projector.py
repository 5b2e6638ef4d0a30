"""The projector: from the bus into the store, each event exactly once."""

import logging
from collections.abc import Sequence
from itertools import groupby

from events.bus import Bus, Record, Subscription
from events.clock import Clock
from events.errors import LinliError
from pipeline.service import Service
from storage.store import Store

log = logging.getLogger(__name__)

GROUP = "projector"


class Projector(Service):
    """Keeps the store up with the bus. At `stop` it projects what is on the bus then.

    The store's own offsets count, not the bus's: what the bus is told is for those who ask how far behind the
    store is, and so that nothing is pruned too early.
    """

    last = True

    def __init__(self, bus: Bus, store: Store, clock: Clock) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        super().__init__("projector")

    def _run(self) -> None:
        subscription: Subscription | None = None
        lost = False  # where we stood: the store alone knows
        try:
            while True:
                stopping = self._stop.is_set()
                try:
                    if subscription is None:
                        subscription = self._bus.subscribe(GROUP, start=self._store.offset)
                    elif lost:
                        rewind(subscription, self._store)
                    lost = False
                    got = catch_up(subscription, self._store, timeout_s=0.0 if stopping else 0.5)
                except LinliError as e:
                    log.error("the store cannot be kept up with the bus, trying again: %s", e)
                    if stopping:
                        return
                    lost = True
                    self._stop.wait(2.0)
                    continue
                if stopping and not got:
                    return
        finally:
            if subscription is not None:
                subscription.close()


def rewind(subscription: Subscription, store: Store) -> None:
    """Read on from where the store stands in each log."""
    subscription.seek({name: store.offset(name) for name in subscription.position})


def catch_up(subscription: Subscription, store: Store, *, timeout_s: float = 0.0, limit: int = 500) -> int:
    """One step of projecting: poll, apply, then commit on the bus; answers how many records were polled.

    The subscription begins where the store stands: `subscribe(group, start=store.offset)`.

    Raises:
        LinliError: bus or store failed; `rewind` before the next step.
    """
    records = subscription.poll(timeout_s, limit)
    for name, some in by_log(records):
        store.apply(name, some)
    if records:
        subscription.commit(subscription.position)
    return len(records)


def by_log(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    """The records of each log together, in their order."""
    in_logs = sorted(records, key=lambda record: record.log)  # stable
    return [(name, list(some)) for name, some in groupby(in_logs, key=lambda record: record.log)]

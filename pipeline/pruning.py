"""A store that nobody else looks after forgets what is old, once an hour."""

import logging

from events.clock import Clock
from events.errors import StorageError
from pipeline.service import Service
from storage.store import Store

log = logging.getLogger(__name__)

EVERY_S = 3600.0
AGAIN_S = 60.0


class Pruner(Service):
    """Args:
    keep_s: what happened longer ago goes.
    """

    def __init__(self, store: Store, keep_s: float, clock: Clock) -> None:
        self._store = store
        self._keep_s = keep_s
        self._clock = clock
        super().__init__("pruning")

    def _run(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            try:
                gone = self._store.prune(self._clock.wall_us() - int(self._keep_s * 1e6))
                wait = EVERY_S
                if gone:
                    log.info("%d old events are gone from the store", gone)
            except StorageError as e:
                log.error("old events stay for now: %s", e)
                wait = AGAIN_S

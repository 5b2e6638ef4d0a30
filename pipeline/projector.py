"""The projector: from the bus into the store, each event exactly once."""

import logging

from events.bus import Bus
from events.clock import Clock
from events.errors import StorageError
from pipeline.service import Service
from storage.store import Store, catch_up

log = logging.getLogger(__name__)

GROUP = "projector"


class Projector(Service):
    """Keeps the store up with the bus. At `stop` it projects what is on the bus then."""

    def __init__(self, bus: Bus, log_id: str, store: Store, clock: Clock) -> None:
        """`log_id` names the log whose offsets the store remembers."""
        self._bus = bus
        self._log_id = log_id
        self._store = store
        self._clock = clock
        super().__init__("projector")

    def _run(self) -> None:
        subscription = self._bus.subscribe(GROUP)
        lost = True  # where we stood: the store alone knows
        try:
            while True:
                stopping = self._stop.is_set()
                try:
                    if lost:
                        subscription.seek(self._store.offset(self._log_id))
                    lost = False
                    got = catch_up(
                        subscription, self._store, self._log_id, timeout_s=0.0 if stopping else 0.5
                    )
                except StorageError as e:
                    log.error("the store cannot be written, trying again: %s", e)
                    if stopping:
                        return
                    lost = True
                    self._stop.wait(2.0)
                    continue
                if stopping and not got:
                    return
        finally:
            subscription.close()

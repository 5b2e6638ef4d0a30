"""The projector: from the bus into the store, each event exactly once."""

import logging
import threading

from events.bus import Bus
from events.clock import Clock
from events.errors import StorageError
from storage.store import Store, catch_up

log = logging.getLogger(__name__)

GROUP = "projector"


class Projector:
    """A thread that keeps the store up with the bus."""

    def __init__(self, bus: Bus, log_id: str, store: Store, clock: Clock) -> None:
        """`log_id` names the log whose offsets the store remembers."""
        self._bus = bus
        self._log_id = log_id
        self._store = store
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="projector", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Project what is on the bus now, then end."""
        self._stop.set()
        self._thread.join(30.0)

    @property
    def alive(self) -> bool:
        """The thread runs."""
        return self._thread.is_alive()

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

"""What has to go, goes: footage by age and bytes, events that everyone has read, pictures of old alerts."""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from events.clock import Clock
from events.errors import StorageError
from events.events import Health
from storage.journal import Journal
from storage.retention import Hold, Limits, plan, sweep

log = logging.getLogger(__name__)

EVERY_S = 30.0


class Housekeeper:
    """A thread that sweeps every half minute."""

    def __init__(
        self,
        journal: Journal,
        footage: Path,
        limits: Limits,
        holds: Callable[[], Sequence[Hold]],
        old: Callable[[int], int],
        source: str,
        clock: Clock,
    ) -> None:
        """
        Args:
            holds: answers the spans of footage that open alerts need.
            old: told a capture time, deletes other evidence from before it.
            source: the box, for its health.
        """
        self._journal = journal
        self._footage = footage
        self._limits = limits
        self._holds = holds
        self._old = old
        self._source = source
        self._clock = clock
        self._short = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30.0)

    @property
    def alive(self) -> bool:
        """The thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.sweep()
            except (StorageError, OSError) as e:
                log.error("housekeeping: %s", e)

    def sweep(self) -> int:
        """One round; answers the bytes freed."""
        now = self._clock.wall_us()
        free = shutil.disk_usage(self._footage).free
        chosen = plan(self._journal.segments(), now, free, self._limits, self._holds())
        freed = sweep(self._footage, self._journal, chosen.delete)
        if self._limits.max_age_s is not None:
            before_us = now - int(self._limits.max_age_s * 1e6)
            self._old(before_us)
            self._journal.prune(before_us)
        if (chosen.missing_bytes > 0) != self._short:
            self._short = chosen.missing_bytes > 0
            self._tell(chosen.missing_bytes, now)
        return freed

    def _tell(self, missing: int, now_us: int) -> None:
        if missing:
            text = f"{missing >> 20} MiB more should be free, but open alerts hold the footage; add disk"
            data = Health(what="disk", state="raised", message=text)
        else:
            data = Health(what="disk", state="cleared", message="there is room for footage again")
        self._journal.note(self._source, data, now_us)

"""What has to go, goes: footage by age and bytes, events that everyone has read, pictures of old alerts. Who
keeps it from going is named."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from events.clock import Clock
from events.errors import StorageError
from events.events import Health
from pipeline import evidence, faults, joint, outbox, portraits, projector
from pipeline.service import Service
from storage.journal import Journal
from storage.retention import Hold, Limits, plan, sized, sweep

log = logging.getLogger(__name__)

EVERY_S = 30.0

OLD_EVERY_S = 3600.0
"""How often what is not footage is looked through."""

OURS = frozenset({projector.GROUP, evidence.GROUP, faults.GROUP, joint.GROUP, portraits.GROUP, outbox.GROUP})
"""Consumers that come back by themselves."""


class Housekeeper(Service):
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
            old: told a capture time, deletes what else is from before it; asked once an hour.
            source: the box, for its health.
        """
        self._journal = journal
        self._footage = footage
        self._limits = limits
        self._holds = holds
        self._old = old
        self._source = source
        self._clock = clock
        self._short = "disk" in journal.raised(source)
        self._behind: tuple[str, ...] = ("unknown",) if "consumer" in journal.raised(source) else ()
        self._old_at = clock.monotonic()
        self._held: Sequence[Hold] = ()
        """As the store said last: one that is away does not keep footage from going."""
        super().__init__("housekeeping")

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.sweep()
            except (StorageError, OSError) as e:
                log.error("housekeeping: %s", e)

    def sweep(self) -> int:
        """One round; answers the bytes freed."""
        now = self._clock.wall_us()
        # First what needs no room in the journal: people's pictures go in time on a full disk, too.
        try:
            if self._limits.max_age_s is not None and self._clock.monotonic() >= self._old_at:
                self._old(now - int(self._limits.max_age_s * 1e6))
                self._old_at = self._clock.monotonic() + OLD_EVERY_S
            self._held = self._holds()
        except StorageError as e:
            log.error("housekeeping: %s", e)
        free = shutil.disk_usage(self._footage).free
        rows = sized(self._footage, self._journal.segments())
        chosen = plan(rows, now, free, self._limits, self._held)
        freed = sweep(self._footage, self._journal, chosen.delete)
        if self._limits.max_age_s is not None:
            before_us = now - int(self._limits.max_age_s * 1e6)
            self._journal.prune(before_us)
            self._tell_behind(before_us, now)
        if (chosen.missing_bytes > 0) != self._short:
            self._short = chosen.missing_bytes > 0
            self._tell(chosen.missing_bytes, now)
        return freed

    def _tell_behind(self, before_us: int, now_us: int) -> None:
        """Names the consumers that keep old events from going."""
        behind = tuple(name for name in self._journal.behind(before_us) if name not in OURS)
        if behind == self._behind:
            return
        self._behind = behind
        if behind:
            text = (
                f"{', '.join(behind)} left events unread for longer than they are kept, so nothing is "
                f"pruned: let it read on, or forget it with `linli tail SITE --forget {behind[0]}`"
            )
            data = Health(what="consumer", state="raised", message=text)
        else:
            data = Health(what="consumer", state="cleared", message="no consumer keeps old events from going")
        self._journal.note(self._source, data, now_us)

    def _tell(self, missing: int, now_us: int) -> None:
        if missing:
            text = (
                f"{missing >> 20} MiB more should be free, but open alerts, or copies that wait, hold the "
                "footage; add disk"
            )
            data = Health(what="disk", state="raised", message=text)
        else:
            data = Health(what="disk", state="cleared", message="there is room for footage again")
        self._journal.note(self._source, data, now_us)

"""What was refused of the sensors' payloads, told without a flood: the first of its kind at once, then a
count every ten minutes."""

import logging

import msgspec

from events.errors import StorageError
from events.events import Health, sensor_source
from ingest.readings import Refusal
from storage.journal import Journal

log = logging.getLogger(__name__)

EVERY_US = 600_000_000


class _Kind(msgspec.Struct):
    told_us: int
    untold: int
    last: Refusal


class Complaints:
    """Counts refusals by sensor and reason, and notes them in the journal as health of the sensor.

    Attributes:
        counts: refusals by reason.
    """

    def __init__(self, site: str, box: str, journal: Journal) -> None:
        self._site, self._box, self._journal = site, box, journal
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self.counts: dict[str, int] = {}

    def add(self, refusal: Refusal, now_us: int) -> None:
        """One more."""
        self.counts[refusal.why] = self.counts.get(refusal.why, 0) + 1
        key = refusal.sensor, refusal.why
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(now_us - EVERY_US, 0, refusal)
        kind.untold += 1
        kind.last = refusal
        self._tell(kind, now_us)

    def due(self, now_us: int) -> None:
        """Tell what was counted since, where it is time."""
        for kind in self._kinds.values():
            if kind.untold:
                self._tell(kind, now_us)

    def _tell(self, kind: _Kind, now_us: int) -> None:
        if 0 <= now_us - kind.told_us < EVERY_US:
            return
        last, count = kind.last, kind.untold
        kind.told_us, kind.untold = now_us, 0
        whose = f"sensor {last.sensor}" if last.sensor else "readings"
        many = f" ({count} like it since the last note)" if count > 1 else ""
        message = f"{whose}: refused, {last.text}{many}"
        detail: dict[str, float | str] = {"why": last.why, "count": count, "sensor": last.sensor}
        if last.field:
            detail["field"] = last.field
        source = sensor_source(self._site, last.sensor) if last.sensor else self._box
        try:
            data = Health(what="sensors", state="note", message=message, detail=detail)
            self._journal.note(source, data, now_us)
        except StorageError as error:  # readings themselves wait for the disk; a note does not
            log.error("%s; not noted: %s", error, message)

"""What a camera showed before and after a fault of its picture: two stills for the health event."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from events.bus import Bus, Record
from events.clock import Clock
from events.events import Health
from pipeline.afterwork import Afterwork, Job, Step
from pipeline.moments import Moments
from storage.journal import Journal
from storage.objects import FolderObjects

GROUP = "faults"

PICTURED = frozenset({"black", "covered", "defocused", "frozen", "glare", "shaken", "still", "turned"})
"""Faults that a picture shows."""

BEFORE_US = 3_000_000
"""So long before its first sign the picture was still sound."""
UNKNOWN_US = 15_000_000
"""The same before the event, where nobody knows when the fault began."""


def keys_of(event: str) -> tuple[str, str]:
    """Object keys of the stills before and after the fault that this health event tells of."""
    return f"health/{event}-before.jpg", f"health/{event}-after.jpg"


class FaultPictures(Afterwork):
    """Cuts the stills of picture faults; people in them are pixelated."""

    def __init__(
        self,
        bus: Bus,
        journal: Journal,
        footage: Path,
        objects: FolderObjects,
        streams: Callable[[str], str],
        labels: Collection[str],
        clock: Clock,
    ) -> None:
        """`streams`: which stream of a camera is analysed. `labels`: who is hidden."""
        self._moments = Moments(journal, footage, streams, labels, clock)
        self._objects = objects
        super().__init__(bus, GROUP, ("health",), clock)

    def _steps(self, record: Record) -> Sequence[Step]:
        data = record.event.data
        told = isinstance(data, Health) and data.state == "raised" and data.what in PICTURED
        return (self._before, self._after) if told and "/camera/" in record.event.source else ()

    def _before(self, job: Job, patient: bool, waits: bool) -> bool:
        data = job.event.data
        assert isinstance(data, Health)
        at = data.since_us - BEFORE_US if data.since_us else job.event.time_us - UNKNOWN_US
        return self._still(job, at, keys_of(job.event.id)[0], (patient, waits))

    def _after(self, job: Job, patient: bool, waits: bool) -> bool:
        return self._still(job, job.event.time_us, keys_of(job.event.id)[1], (patient, waits))

    def _still(self, job: Job, at_us: int, key: str, how: tuple[bool, bool]) -> bool:
        patient, waits = how
        if patient and not self._moments.reached(job.camera, at_us, waits):
            return False
        self._objects.put(key, self._moments.picture(job.camera, at_us))
        return True

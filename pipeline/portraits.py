"""Portraits: of each captured face a pixelated crop and, where the site keeps originals, a sealed one.

They are cut from the footage of the analysed stream, from the picture that the event names. The original is
encoded and sealed in memory: nothing of it is written that is not encrypted, besides the footage itself.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from events.bus import Bus, Record
from events.clock import Clock
from events.errors import DiskFull
from events.events import FaceCaptured, FaceDeleted
from pipeline.afterwork import Afterwork, Job, Step
from pipeline.face_crops import original, pixelated
from pipeline.moments import Moments
from storage.captures import FacesSettings, keys_of
from storage.journal import Journal
from storage.objects import FolderObjects
from storage.pictures import jpeg
from storage.sealing import seal
from storage.stills import SHOWN_US, still_at
from storage.whereabouts import PERSONAL

log = logging.getLogger(__name__)

GROUP = "portraits"


class Portraits(Afterwork):
    """Cuts captured faces, and sees to it that what was deleted stays so."""

    def __init__(
        self,
        bus: Bus,
        journal: Journal,
        footage: Path,
        objects: FolderObjects,
        streams: Callable[[str], str],
        settings: FacesSettings,
        clock: Clock,
    ) -> None:
        """`streams`: which stream of a camera is analysed."""
        self._journal = journal
        self._moments = Moments(journal, footage, streams, PERSONAL, clock)
        self._footage = footage
        self._objects = objects
        self._settings = settings
        self._deleted: dict[str, str] = {}
        """What was deleted of captures whose pictures are still to be made: sealed or all."""
        super().__init__(bus, GROUP, ("face",), clock)

    def _steps(self, record: Record) -> Sequence[Step]:
        match record.event.data:
            case FaceCaptured():
                return (self._portrait,)
            case FaceDeleted(capture=capture, what=what):
                if self._deleted.get(capture) != "all":
                    self._deleted[capture] = what
                return (self._delete,)
            case _:
                return ()

    def work(self, stopping: bool = False) -> None:
        super().work(stopping)
        waiting = {job.event.subject for job in self._jobs}
        self._deleted = {capture: what for capture, what in self._deleted.items() if capture in waiting}

    def _portrait(self, job: Job, patient: bool, waits: bool) -> bool:
        """The pictures of a capture; those that are given up are told, or they would count as held."""
        try:
            return self._cut(job, patient, waits)
        except DiskFull:
            raise
        except Exception:
            if not patient:
                self._lost(job)
            raise

    def _lost(self, job: Job) -> None:
        """Say that there is no original, and no crop unless one was made."""
        data = job.event.data
        assert isinstance(data, FaceCaptured)
        crop = bool(data.picture) and self._objects.path(data.picture).is_file()
        if crop and not data.sealed:
            return
        lost = FaceDeleted(capture=data.capture, what="sealed" if crop else "all", reason="lost")
        self._journal.note(job.event.source, lost, self._clock.wall_us())
        self._journal.flush()

    def _cut(self, job: Job, patient: bool, waits: bool) -> bool:
        """The pictures that a capture is still to have. What would be deleted at once is not made."""
        data, camera = job.event.data, job.camera
        assert isinstance(data, FaceCaptured)
        age_us, deleted = self._clock.wall_us() - data.at_us, self._deleted.get(data.capture)
        crop = bool(data.picture) and deleted != "all" and age_us < self._settings.keep_us
        sealed = bool(data.sealed) and deleted is None and age_us < self._settings.sealed_us
        sealed = sealed and self._settings.originals == "sealed"
        if not (crop or sealed):
            return True
        if patient and not self._moments.reached(camera, data.at_us, waits):
            return False
        rows = self._moments.analysed(camera, data.at_us - SHOWN_US, data.at_us)
        rows = [row for row in rows if row.epoch == job.event.epoch]
        capture = self._moments.captures(rows).get(job.event.epoch)
        frame, taken_us = still_at(self._footage, rows, data.at_us, capture)
        others = self._moments.hidden(camera, data.at_us).at(taken_us)
        if crop:
            self._objects.put(data.picture, jpeg(pixelated(frame, data.box, others)))
        if sealed and others is not None:
            plain = jpeg(original(frame, data.box, others), quality=92)
            self._objects.put(data.sealed, seal(plain, self._settings.recipient))
        elif sealed:
            log.warning("%s: no original of capture %s: who else is in it is not known", camera, data.capture)
            self._lost(job)
        return True

    def _delete(self, job: Job, patient: bool, waits: bool) -> bool:
        """What is deleted must not come back: a capture that was cut again after a kill goes again."""
        del patient, waits
        data = job.event.data
        assert isinstance(data, FaceDeleted)
        picture, sealed = keys_of(job.camera, data.capture)
        self._objects.delete(sealed)
        if data.what == "all":
            self._objects.delete(picture)
        return True

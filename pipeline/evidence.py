"""Evidence: a picture and a clip of each alert, people pixelated, cut from the footage behind the loop."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from events.bus import Bus, Record
from events.clock import Clock
from events.events import AlertRaised
from pipeline.afterwork import Afterwork, Job, Step
from pipeline.moments import Moments
from storage.clips import cut_pixelated
from storage.journal import Journal
from storage.objects import FolderObjects
from storage.store import Store

GROUP = "evidence"


class EvidenceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert's clip shows, and what is hidden in it."""

    pre_s: float = 5.0
    post_s: float = 5.0
    longest_s: float = 60.0
    """A clip begins at most so long before the alert was raised."""
    labels: tuple[str, ...] = ("person", "face")


def sweep_evidence(objects: FolderObjects, store: Store, before_us: int) -> int:
    """Delete pictures and clips of closed alerts raised before `before_us`, and stills of faults; answers how
    many.

    What belongs to no alert that the store knows goes by its file's age.
    """
    gone = 0
    for key in [key for prefix in ("pictures/", "clips/", "health/") for key in objects.keys(prefix)]:
        path = objects.path(key)
        row = store.alert(path.stem)
        try:
            raised_us = row.raised_us if row else path.stat().st_mtime_ns // 1000
        except FileNotFoundError:  # somebody was quicker
            continue
        if raised_us < before_us and (row is None or row.state != "open"):
            objects.delete(key)
            gone += 1
    return gone


class Evidence(Afterwork):
    """Cuts the pictures and clips of alerts."""

    def __init__(
        self,
        bus: Bus,
        journal: Journal,
        footage: Path,
        objects: FolderObjects,
        streams: Callable[[str], str],
        settings: EvidenceSettings,
        clock: Clock,
    ) -> None:
        """`streams`: which stream of a camera is analysed."""
        self._moments = Moments(journal, footage, streams, settings.labels, clock)
        self._footage = footage
        self._objects = objects
        self._settings = settings
        super().__init__(bus, GROUP, ("alert",), clock)

    def _steps(self, record: Record) -> Sequence[Step]:
        of_camera = "/camera/" in record.event.source  # a sensor has no footage
        return (self._picture, self._clip) if of_camera and isinstance(record.event.data, AlertRaised) else ()

    def _picture(self, job: Job, patient: bool, waits: bool) -> bool:
        moments, at = self._moments, job.event.time_us
        if patient and not moments.reached(job.camera, at, waits):
            return False
        data = moments.picture(job.camera, at)
        self._objects.put(f"pictures/{job.event.subject}.jpg", data)
        return True

    def _clip(self, job: Job, patient: bool, waits: bool) -> bool:
        data = job.event.data
        assert isinstance(data, AlertRaised)
        moments, settings = self._moments, self._settings
        at = job.event.time_us
        start = max(data.since_us - int(settings.pre_s * 1e6), at - int(settings.longest_s * 1e6))
        end = at + int(settings.post_s * 1e6)
        if patient and not moments.reached(job.camera, end, waits):
            return False
        rows = moments.analysed(job.camera, start - 2_000_000, end + 5_000_000)
        shown = moments.best(job.camera, start, end)
        out = self._objects.path(f"clips/{job.event.subject}.mp4")
        traces = [self._footage / row.trace_path for row in rows if row.trace_path]
        captures = moments.captures(shown)
        labels = settings.labels
        cut_pixelated(self._footage, shown, start, end, out, traces=traces, labels=labels, captures=captures)
        return True

"""Evidence: a picture and a clip of each alert, people pixelated, cut from the footage behind the live loop.

A consumer of the bus like any other. It commits only what is done, so a kill makes it cut a clip again, never
miss one; a full disk makes it wait. Nothing here costs the frame loop anything.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from events.bus import Bus, Subscription
from events.clock import Clock
from events.errors import DiskFull, LinliError, StorageError
from events.events import AlertRaised, Event
from events.media import CaptureMap
from pipeline.service import Service
from storage.clips import cut_pixelated
from storage.journal import Journal
from storage.objects import FolderObjects
from storage.rows import SegmentRow
from storage.stills import picture_at
from storage.store import Store
from storage.trace import read_trace
from storage.whereabouts import Whereabouts

log = logging.getLogger(__name__)

GROUP = "evidence"
COMMIT_S = 30.0
"""How often it is said that nothing was there to be done."""
PATIENCE_S = 90.0
"""How long footage and trace of an alert are waited for before what is there is taken."""

SURE_US = 1_500_000
"""The trace has to be so far beyond a moment: until then a track may still be found that was there."""


class EvidenceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert's clip shows, and what is hidden in it."""

    pre_s: float = 5.0
    post_s: float = 5.0
    longest_s: float = 60.0
    """A clip begins at most so long before the alert was raised."""
    labels: tuple[str, ...] = ("person", "face")


class _Job(msgspec.Struct):
    offset: int
    event: Event
    camera: str
    since: float
    """Monotonic time at which the alert was read."""
    picture: bool = False
    clip: bool = False


def sweep_evidence(objects: FolderObjects, store: Store, before_us: int) -> int:
    """Delete pictures and clips of closed alerts raised before `before_us`; answers how many.

    What belongs to no alert that the store knows goes by its file's age.
    """
    gone = 0
    for key in [*objects.keys("pictures/"), *objects.keys("clips/")]:
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


class Evidence(Service):
    """Works off alerts in the order of their footage.

    At `stop` it cuts what all footage is there for; the rest is cut at the next start.
    """

    stop_s = 45.0

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
        self._bus = bus
        self._journal = journal
        self._footage = footage
        self._objects = objects
        self._streams = streams
        self._settings = settings
        self._clock = clock
        self._jobs: list[_Job] = []
        self._committed = 0
        self._commit_at = 0.0
        """Monotonic time at which events that are no alerts are worth a commit, too."""
        super().__init__("evidence")

    def _run(self) -> None:
        subscription = self._bus.subscribe(GROUP, ("alert",))
        said = ""
        try:
            while True:
                stopping = self._stop.is_set()
                try:
                    self._round(subscription, stopping)
                    said = ""
                except StorageError as e:
                    if str(e) != said:  # not at each attempt
                        log.error("evidence has to wait: %s", e)
                    said = str(e)
                    self._stop.wait(2.0)
                if stopping:
                    return
        finally:
            subscription.close()

    def _round(self, subscription: Subscription, stopping: bool) -> None:
        for record in subscription.poll(0.0 if stopping else 0.5):
            if isinstance(record.event.data, AlertRaised):
                now = self._clock.monotonic()
                self._jobs.append(_Job(record.offset, record.event, record.event.key, now))
        waiting = len(self._jobs)
        try:
            self.work(stopping)
        finally:
            self._commit(subscription, stopping or len(self._jobs) < waiting)

    def _commit(self, subscription: Subscription, now: bool) -> None:
        done = min((job.offset - 1 for job in self._jobs), default=subscription.position)
        if done > self._committed and (now or self._clock.monotonic() >= self._commit_at):
            subscription.commit(done)
            self._committed, self._commit_at = done, self._clock.monotonic() + COMMIT_S

    def work(self, stopping: bool = False) -> None:
        """Do what can be done now. `stopping`: nothing more is recorded, so that nothing later is waited for.

        Raises:
            DiskFull: what was not done stays to be done.
        """
        try:
            for job in self._jobs:
                patient = self._clock.monotonic() - job.since < PATIENCE_S
                waits = patient and not stopping
                job.picture = job.picture or self._tried(self._picture, job, patient, waits)
                job.clip = job.clip or self._tried(self._clip, job, patient, waits)
        finally:
            self._jobs = [job for job in self._jobs if not (job.picture and job.clip)]

    def _tried(self, make: Callable[[_Job, bool, bool], bool], job: _Job, patient: bool, waits: bool) -> bool:
        """Whether it is over with this job: done, or given up."""
        try:
            return make(job, patient, waits)
        except DiskFull:
            raise
        except (LinliError, OSError, ValueError) as e:
            if not patient:
                log.error("no evidence for alert %s of %s: %s", job.event.subject, job.camera, e)
            return not patient

    def _picture(self, job: _Job, patient: bool, waits: bool) -> bool:
        at = job.event.time_us
        if patient and not self._reached(job.camera, at, waits):
            return False
        hidden = self._hidden(job.camera, at, at)
        shown = self._best(job.camera, at - 1_000_000, at)  # between two segments the first one's last counts
        captures = self._captures(shown)
        capture = captures.get(shown[-1].epoch) if shown else None
        other = bool(shown) and shown[-1].stream != self._streams(job.camera)
        skew_us = hidden.skew_us(at, captures.values()) if other else 0
        data = picture_at(self._footage, shown, at, hidden, capture, skew_us)
        self._objects.put(f"pictures/{job.event.subject}.jpg", data)
        return True

    def _clip(self, job: _Job, patient: bool, waits: bool) -> bool:
        data = job.event.data
        assert isinstance(data, AlertRaised)
        settings = self._settings
        at = job.event.time_us
        start = max(data.since_us - int(settings.pre_s * 1e6), at - int(settings.longest_s * 1e6))
        end = at + int(settings.post_s * 1e6)
        if patient and not self._reached(job.camera, end, waits):
            return False
        rows = self._rows(job.camera, self._streams(job.camera), start - 2_000_000, end + 5_000_000)
        shown = self._best(job.camera, start, end)
        out = self._objects.path(f"clips/{job.event.subject}.mp4")
        traces = [self._footage / row.trace_path for row in rows if row.trace_path]
        captures = self._captures(shown)
        labels = settings.labels
        cut_pixelated(self._footage, shown, start, end, out, traces=traces, labels=labels, captures=captures)
        return True

    def _rows(self, camera: str, stream: str, start_us: int, end_us: int) -> list[SegmentRow]:
        """Segments that overlap the span; the open one counts as reaching to now."""
        rows = self._journal.segments(camera, stream, None, end_us)
        return [row for row in rows if row.end_us >= start_us or row.state == "open"]

    def _best(self, camera: str, start_us: int, end_us: int) -> list[SegmentRow]:
        """The main stream's footage if it covers the span, else the analysed one's."""
        main = self._rows(camera, "main", start_us, end_us)
        if main and main[0].start_us <= start_us:
            return main
        return self._rows(camera, self._streams(camera), start_us, end_us)

    def _captures(self, rows: Sequence[SegmentRow]) -> dict[int, CaptureMap]:
        """Capture times by epoch, with all anchors."""
        if not rows:
            return {}
        asked = {row.epoch for row in rows}
        epochs = self._journal.epochs(rows[0].camera, rows[0].stream)
        return {epoch.epoch: epoch.capture for epoch in epochs if epoch.epoch in asked}

    def _hidden(self, camera: str, start_us: int, end_us: int) -> Whereabouts:
        rows = self._rows(camera, self._streams(camera), start_us - 2_000_000, end_us + 2_000_000)
        traces = [read_trace(self._footage / row.trace_path) for row in rows if row.trace_path]
        return Whereabouts(traces, self._settings.labels)

    def _reached(self, camera: str, at_us: int, waits: bool) -> bool:
        """All there is to know of that moment is known: the trace has passed it, or (where the stream ended
        before) no epoch is open that may yet come there.

        `waits`: a moment that is still to come is waited for; else what was open at the stop decides.
        """
        later = at_us + SURE_US
        if waits and self._clock.wall_us() < later:
            return False
        analysed = self._streams(camera)
        running = [
            stream
            for of, stream, begun_us in self._journal.open_epochs()
            if of == camera and begun_us < later
        ]
        if analysed not in running and (waits or not running):
            return True
        rows = self._rows(camera, analysed, at_us, later + 5_000_000)
        traces = [read_trace(self._footage / row.trace_path) for row in rows if row.trace_path]
        return Whereabouts(traces, self._settings.labels).passed(later)

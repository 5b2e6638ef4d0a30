"""One worker process: some cameras' readers, their lanes, one analysis thread, one journal."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from events.clock import Clock, process_cpu_ns
from events.errors import LinliError, StorageError
from pipeline.camera import Reader
from pipeline.contract import Note
from pipeline.lane import Lane
from pipeline.loop import CameraLoop
from pipeline.scheduler import Scheduler
from storage.journal import Journal

log = logging.getLogger(__name__)

REFUSED = 3
"""Looks refused between two reports from which a box counts as too slow."""

CALM = 3
"""Reports without shedding after which it is over."""

SHEDDING = (
    "the box is too slow for its cameras: the newest pictures win, recording goes on; "
    "take a smaller model or fewer cameras"
)
CAUGHT_UP = "every picture whose turn it is gets its inference again"


class CameraStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one camera is doing."""

    camera: str
    connected: bool
    state: str
    """asleep, awake, dozing"""
    mode: str
    """lazy, full"""
    shedding: bool
    behind_s: float
    blind_s: float
    packets: int
    decoded: int
    probed: int
    inferred: int
    refused: int
    skipped: int
    wakes: int
    tracks: int
    stream_s: float
    segments: int
    segment_bytes: int


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker did since it started; written to a file every other second and at its end."""

    worker: str
    pid: int
    cameras: tuple[CameraStatus, ...]
    events: int
    conflicts: int
    problem: str
    """Why the journal cannot be written at present; empty while all is well."""
    load: float
    stuck_s: float = 0.0
    """How long the analysis has not moved although there was something to do."""
    lag_ms_p99: float
    """From a frame's decoding to its events' commit."""
    wake_ms_p99: float
    """From capture to decoding."""
    cpu_ms: float
    stream_s: float
    stage_ms: dict[str, float]


class Beside(Protocol):
    """A thread beside the readers: what asks a dome where it looks."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """Ask it to end."""

    def join(self, timeout_s: float) -> None:
        """Wait for its end, so long at most."""


class Worker:
    """Started once, drained once."""

    def __init__(  # noqa: PLR0913 - what runs (6), and what it runs with
        self,
        name: str,
        readers: Sequence[Reader],
        lanes: Sequence[Lane],
        scheduler: Scheduler,
        journal: Journal,
        clock: Clock,
        polls: Sequence[Callable[[], None]] = (),
        beside: Sequence[Beside] = (),
    ) -> None:
        """`polls`: called every other second. `beside`: threads that run as long as the readers do."""
        self._name = name
        self._polls = polls
        self._beside = beside
        self._ended: set[int] = set()
        """Those beside that ended by themselves, by their place, and were reported."""
        self._readers = list(readers)
        self._lanes = list(lanes)
        self._scheduler = scheduler
        self._journal = journal
        self._clock = clock
        self._shed: dict[str, tuple[int, int]] = {}
        """Camera -> looks refused and packets skipped when it was last looked at."""
        self._steps, self._moved_at = 0, clock.monotonic()
        self._quiet: dict[str, int] = {}
        """Camera that sheds -> looks of ours without shedding until it is called well."""

    def run(self, stop: threading.Event, status: Path) -> None:
        """Work until `stop` is set, then drain: no packet more, all that came analysed and committed.

        Raises:
            LinliError: the analysis failed; the supervisor starts the process again, and it resumes.
        """
        self._scheduler.start()
        for reader in self._readers:
            reader.start()
        for one in self._beside:
            one.start()
        try:
            while not stop.wait(2.0):
                self.write(status)
                self._report_shedding()
                self._poll()
                self._report_ended()
                if not self._scheduler.alive:
                    raise LinliError(f"the analysis ended: {self._scheduler.failure}")
        finally:
            self.drain()
            self.write(status)

    def leave(self) -> None:
        """Instead of a run: what was left was finished when the worker was made; keep it."""
        self._journal.close()

    def drain(self) -> None:
        """Stop the readers, let the lanes run empty, commit."""
        for one in self._beside:
            one.stop()
        for reader in self._readers:
            reader.stop()
        for one in self._beside:
            one.join(5.0)
        for reader in self._readers:
            if not reader.join(15.0):
                log.error("%s/%s does not stop reading", reader.camera, reader.stream)
        if not self._scheduler.drain(30.0):
            log.error("the analysis is not done within 30 s; the rest is resumed at the next start")
        self._journal.flush()

    def _poll(self) -> None:
        for poll in self._polls:
            try:
                poll()
            except StorageError as e:  # the next round tries again
                log.error("%s", e)

    def _report_ended(self) -> None:
        """They see to their own faults; one that has ended all the same ends no camera, but is told."""
        for n, one in enumerate(self._beside):
            if not one.alive and n not in self._ended:
                self._ended.add(n)
                log.error("%s: %s ended by itself; start the services again, and report it", self._name, one)

    def _report_shedding(self) -> None:
        for lane in self._lanes:
            now = lane.loop.tally.refused, lane.loop.tally.skipped
            before, self._shed[lane.camera] = self._shed.get(lane.camera, (0, 0)), now
            # A box that is too slow refuses in bursts: what counts is whether it did, not whether it does.
            if now[0] - before[0] >= REFUSED or now[1] > before[1]:
                if not self._quiet.get(lane.camera):
                    lane.tell(Note("shedding", "raised", SHEDDING))
                self._quiet[lane.camera] = CALM
            elif self._quiet.get(lane.camera):
                self._quiet[lane.camera] -= 1
                if not self._quiet[lane.camera]:
                    lane.tell(Note("shedding", "cleared", CAUGHT_UP))

    # --- status

    def write(self, path: Path) -> None:
        """Replace the status file."""
        part = path.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.encode(self.status()))
            part.replace(path)
        except OSError as e:
            log.warning("the status file %s cannot be written: %s", path, e.strerror)
            with contextlib.suppress(OSError):  # a full disk: its date says at least that we are at work
                os.utime(path)

    def status(self) -> WorkerStatus:
        """How it goes now."""
        stats = self._journal.stats()
        waits = sorted(us / 1000 for lane in self._lanes for us in list(lane.wakes_us))
        stages: dict[str, float] = {}
        for meter in self._meters():
            for stage, ns in meter.items():
                stages[stage] = stages.get(stage, 0.0) + ns / 1e6
        cpu_ms = process_cpu_ns() / 1e6
        cameras = tuple(self._camera(lane) for lane in self._lanes)
        return WorkerStatus(
            worker=self._name,
            pid=os.getpid(),
            cameras=cameras,
            events=stats.events,
            conflicts=stats.conflicts,
            problem=stats.problem,
            load=self._scheduler.load,
            stuck_s=self._stuck_s(),
            lag_ms_p99=round(self._journal.lag_ms().p99, 2),
            wake_ms_p99=round(waits[int(len(waits) * 0.99)] if waits else 0.0, 1),
            cpu_ms=round(cpu_ms, 1),
            stream_s=round(sum(c.stream_s for c in cameras), 2),
            stage_ms={stage: round(ms, 1) for stage, ms in stages.items()},
        )

    def _stuck_s(self) -> float:
        steps, now = self._scheduler.steps, self._clock.monotonic()
        if steps != self._steps or not self._scheduler.busy:
            self._steps, self._moved_at = steps, now
        return round(now - self._moved_at, 1)

    def _meters(self) -> list[dict[str, int]]:
        return [self._scheduler.meter.ns, *(reader.meter.ns for reader in self._readers)]

    def _camera(self, lane: Lane) -> CameraStatus:
        loop: CameraLoop = lane.loop
        readers = [r for r in self._readers if r.camera == lane.camera]
        analysed = next(r for r in readers if r.lane is lane)
        tally = loop.tally
        return CameraStatus(
            camera=lane.camera,
            connected=all(r.connected for r in readers),
            state=loop.state.value,
            mode=loop.mode,
            shedding=bool(self._quiet.get(lane.camera)),
            behind_s=round(lane.behind_s, 2),
            blind_s=round(loop.blind_s, 2),
            packets=sum(r.packets for r in readers),
            decoded=tally.decoded + tally.probed,
            probed=tally.probed,
            inferred=tally.inferred,
            refused=tally.refused,
            skipped=tally.skipped,
            wakes=tally.wakes,
            tracks=tally.tracks,
            stream_s=round(analysed.seconds, 2),
            segments=sum(r.segments for r in readers),
            segment_bytes=sum(r.segment_bytes for r in readers),
        )

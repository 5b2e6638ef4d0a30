"""The lane of one camera: from its reader's thread to the analysis thread, and what the loop says on its way
out. Live, resume and replay all drive the loop through here."""

import logging
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from detectors.detections import Detections
from events.clock import Clock
from events.events import Event
from events.media import TICKS, Anchor
from ingest.packets import Packet, StreamInfo
from pipeline.contract import Look, Note
from pipeline.loop import CameraLoop
from pipeline.policy import Policy
from storage import trace
from storage.rows import SegmentRow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Begin:
    """A stream epoch begins."""

    epoch: int
    info: StreamInfo
    anchor: Anchor


@dataclass(frozen=True, slots=True)
class Arrived:
    """A packet, already on its way to disk in `segment`."""

    packet: Packet
    segment: SegmentRow


@dataclass(frozen=True, slots=True)
class End:
    """The epoch is over."""

    reason: str


Item = Begin | Arrived | Anchor | End


class Sink(Protocol):
    """Where a lane's loop speaks to. Order of calls for one step: trace, events, notes, snapshot."""

    def events(self, events: Sequence[Event], decoded_at: float) -> None:
        """Keep the events; `decoded_at` (monotonic seconds) is when their picture was decoded."""

    def trace(self, lines: Sequence[trace.Line]) -> None:
        """Keep what was decided."""

    def notes(self, notes: Sequence[Note], capture_us: int) -> None:
        """Report health."""

    def segment(self, segment: SegmentRow, loop: CameraLoop, pts: int) -> None:
        """The packets that follow are in this segment."""

    def snapshot(self, segment: SegmentRow, loop: CameraLoop, pts: int) -> None:
        """The segment's first packet was fed: keep the state."""

    def ended(self, loop: CameraLoop, pts: int, reason: str) -> None:
        """All events of the epoch have been given."""

    def gave_up(self, loop: CameraLoop, pts: int, reason: str) -> None:
        """The epoch's analysis failed at `pts`; it is not tried again."""


class Lane:
    """A queue with a loop at its end. `put` from the reader's thread; all else from the analysis thread."""

    def __init__(self, camera: str, loop: CameraLoop, sink: Sink, policy: Policy, clock: Clock) -> None:
        self.camera = camera
        self.loop = loop
        self.sink = sink
        self.policy = policy
        self._clock = clock
        self._items: deque[Item] = deque()
        self._run: Generator[Look, Detections | None, None] | None = None
        self._look: Look | None = None
        self._after: Arrived | End | None = None
        self._segment: SegmentRow | None = None
        self._pts = 0
        self._newest = 0
        self._decoded_at = 0.0
        self.queued_bytes = 0
        self.failed_at: int | None = None
        """Media time at which the epoch's analysis was given up; it begins anew with the next one."""
        self.wakes_us: deque[int] = deque(maxlen=4096)
        """Microseconds from capture to decoding of the latest looks."""

    # --- the reader's side

    def put(self, item: Item) -> None:
        """Add what came; never blocks."""
        if isinstance(item, Arrived):
            self._newest = item.packet.pts
            self.queued_bytes += item.packet.size
        elif isinstance(item, Begin):
            self._newest = 0
        self._items.append(item)

    def tell(self, note: Note) -> None:
        """Report health from outside the loop."""
        self.sink.notes([note], self._clock.wall_us())

    # --- the analysis side

    def restore(self, segment: SegmentRow, state: dict[str, Any], first: Packet, info: StreamInfo) -> None:
        """Continue from the snapshot `state`, which was taken after `first`, the segment's first packet."""
        self._segment, self._pts, self._newest = segment, first.pts, first.pts
        self.loop.restore(state, first, info)
        self.sink.segment(segment, self.loop, first.pts)

    @property
    def busy(self) -> bool:
        return bool(self._items) or self._look is not None

    @property
    def bytes(self) -> int:
        """Of packets waiting here, or held by the loop while the camera is asleep."""
        return self.queued_bytes + self.loop.held_bytes

    @property
    def behind_s(self) -> float:
        """Media time between the packet last fed and the newest one received."""
        return max(self._newest - self._pts, 0) / TICKS if self._items else 0.0

    def advance(self) -> Look | None:
        """Work until a look is wanted (answer it with `answer`) or nothing is left."""
        while self._look is None:
            if self._run is None:
                if not self._items:
                    return None
                self._start(self._items.popleft())
            if self._run is not None:
                self._resume(None, first=True)
        return self._look

    def answer(self, detections: Detections | None) -> None:
        """The detections of the look that `advance` gave; None if it was shed."""
        self._look = None
        self._resume(detections)

    def granted(self) -> bool:
        """Whether the look that `advance` gave may have its inference."""
        return self._look is not None and self.policy.look(self._look.pts, self.behind_s)

    def fail(self, error: Exception) -> None:
        """Give the epoch up: a fault of ours at one camera must not stop the others."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} in {where.name}, line {where.lineno} of {Path(where.filename).name}"
        log.error("%s: the analysis failed", self.camera, exc_info=error)
        self._run = self._look = self._after = None
        self.failed_at = self._pts
        text = f"the analysis failed ({place}) and is tried again in a minute; recording goes on; report it"
        self.sink.gave_up(self.loop, self._pts, text)
        self.tell(Note("analysis", "raised", text))

    def _start(self, item: Item) -> None:
        if self.failed_at is not None:
            self._passed_over(item)
            if not isinstance(item, Begin):
                return
        match item:
            case Arrived(packet=packet, segment=segment):
                self.queued_bytes -= packet.size
                self._arrived(packet, segment, item)
            case Begin(epoch=epoch, info=info, anchor=anchor):
                self._segment, self._pts = None, 0
                self.loop.begin(epoch, info, anchor)
                self._say()
            case Anchor():
                self.loop.anchor(item)
            case End():
                self._after = item
                self._run = self.loop.end(self._pts)

    def _passed_over(self, item: Item) -> None:
        """What comes after a failure."""
        if isinstance(item, Arrived):
            self.queued_bytes -= item.packet.size
        elif isinstance(item, Begin):
            self.failed_at = None
            self.tell(Note("analysis", "cleared", "the stream is analysed again"))

    def _arrived(self, packet: Packet, segment: SegmentRow, item: Arrived) -> None:
        boundary = self._segment is None or segment.id != self._segment.id
        if boundary:
            self._segment = segment
            self.sink.segment(segment, self.loop, packet.pts)
        self._pts = packet.pts
        for line in self.policy.told(packet.pts):
            self.loop.told(line)
        # A segment's first packet is never shed, so that every segment has its snapshot.
        if self.policy.skip(packet, self.behind_s) and not boundary:
            self.loop.skip(packet)
            return
        if packet.keyframe and (mode := self.policy.mode(packet.pts)) is not None:
            self.loop.request_mode(mode)
        self._after = item
        self._decoded_at = self._clock.monotonic()  # of what is said without a look; a look sets its own
        self._run = self.loop.feed(packet, boundary)

    def _resume(self, detections: Detections | None, first: bool = False) -> None:
        assert self._run is not None
        try:
            self._look = next(self._run) if first else self._run.send(detections)
        except StopIteration:
            self._run = None
        self._say()
        if self._look is not None:
            self._decoded_at = self._clock.monotonic()
            self.wakes_us.append(self._clock.wall_us() - self.loop.capture_us(self._look.pts))
        elif self._run is None:
            self._finish()

    def _finish(self) -> None:
        if self.loop.snapshot_due and self._segment is not None:
            self.sink.snapshot(self._segment, self.loop, self._pts)
        if isinstance(self._after, End):
            self.sink.ended(self.loop, self._pts, self._after.reason)
        self._after = None

    def _say(self) -> None:
        out = self.loop.take()
        if out.trace:
            self.sink.trace(out.trace)
        if out.events:
            self.sink.events(out.events, self._decoded_at or self._clock.monotonic())
        if out.notes:
            self.sink.notes(out.notes, self.loop.capture_us(max(self._pts, 0)))

"""Whole runs of the frame loop in memory: drawn scenes, coded as cameras do, a scripted detector, a lane."""

import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from detectors.detections import NOTHING, Crop, Detections, Detector
from detectors.tracking import ByteTracker
from events.clock import Clock, ManualClock
from events.engine import Engine
from events.events import Event
from events.media import TICKS, Anchor
from events.rules import Intrusion, Line, Rule
from ingest.packets import Packet, StreamInfo
from pipeline.analysis import Faces
from pipeline.contract import LoopSettings, Mode, Note
from pipeline.lane import Arrived, Begin, End, Lane
from pipeline.loop import CameraLoop
from pipeline.meter import Meter
from pipeline.policy import Policy
from pipeline.sink import pack, unpack
from storage import trace
from storage.rows import SegmentRow
from tests.clipmaker import START_US
from tests.noisemaker import noisy

FPS = 10
SIZE = (320, 180)
ANCHOR = Anchor(pts=0, capture_us=START_US, source="file", uncertainty_us=0)
RULES: tuple[Rule, ...] = (
    Line(name="middle", points=((0.5, 0.1), (0.5, 1.0))),
    Intrusion(name="yard", polygon=((0.3, 0.2), (0.7, 0.2), (0.7, 1.0), (0.3, 1.0))),
)
QUICK = LoopSettings(fps=5, quiet_s=1.0, doze_s=2.0, mode="lazy")
"""Falls asleep and dozes soon, so that short clips go through all states."""

Where = Callable[[int], float | None]
"""Picture number -> the left edge of the box, None: nobody is there."""


def visits(*spans: tuple[int, int], stand: tuple[int, int] = (0, 0)) -> Where:
    """Somebody walks through in each span of pictures; in `stand` they stay where they are."""

    def where(n: int) -> float | None:
        for first, last in spans:
            if first <= n < last:
                paused = max(0, min(n, stand[1]) - stand[0]) if first <= stand[0] < last else 0
                steps = last - first - (stand[1] - stand[0] if first <= stand[0] < last else 0)
                return 10 + 260 * (n - first - paused) / steps
        return None

    return where


def draw(
    path: Path, seconds: float, where: Where, codec: str = "libx264", sigma: float = 3.0, **options: str
) -> Path:
    """A clip of the noisy scene at 10 pictures a second, GOP 10 unless told, with the box that walks."""
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        context = stream.codec_context
        context.gop_size = int(options.pop("g", "10"))
        context.max_b_frames = int(options.pop("bf", "0"))
        x265 = f"log-level=none:keyint={context.gop_size}:open-gop=0"
        usual = {"sc_threshold": "0"} if codec == "libx264" else {"x265-params": x265}
        stream.options = {"preset": "ultrafast", "crf": "26"} | usual | options
        for n, grey in zip(range(round(seconds * FPS)), noisy(SIZE, sigma), strict=False):
            left = where(n)
            if left is not None:
                x = round(left)
                grey[60:150, x : x + 40] = 235
                grey[70:140:8, x : x + 40] = 20
            planes = np.full((SIZE[1] * 3 // 2, SIZE[0]), 128, np.uint8)
            planes[: SIZE[1]] = grey
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


class Sees:
    """A detector that knows where the box is. `cost_s` of `clock` pass with each look."""

    digest = "scripted"

    def __init__(self, where: Where, clock: ManualClock | None = None, cost_s: float = 0.0) -> None:
        self._where, self._clock, self._cost_s = where, clock, cost_s
        self.looks: list[int] = []

    def detect(self, frame: av.VideoFrame, crops: Sequence[Crop] = ()) -> Detections:
        assert frame.pts is not None
        self.looks.append(frame.pts)
        if self._clock is not None:
            self._clock.advance(self._cost_s)
        left = self._where(round(frame.pts * FPS / TICKS))
        if left is None:
            return NOTHING
        box = np.array([[left, 60, left + 40, 150]], np.float32)
        return Detections(box, np.array([0.9], np.float32), ("person",))


class Kept:
    """A sink that keeps everything, snapshots as the journal would."""

    def __init__(self) -> None:
        self.got: list[Event] = []
        self.lines: list[trace.Line] = []
        self.said: list[Note] = []
        self.snapshots: dict[str, tuple[bytes, int, int, int]] = {}
        """Segment -> the snapshot, its media time, and how many events and lines there were before it."""
        self.last: dict[str, Any] | None = None
        self.ends: list[tuple[int, str]] = []
        """Epochs that ended, and why."""

    def events(self, events: Sequence[Event], decoded_at: float) -> None:
        self.got += events

    def trace(self, lines: Sequence[trace.Line]) -> None:
        self.lines += lines

    def notes(self, notes: Sequence[Note], capture_us: int) -> None:
        self.said += notes

    def segment(self, segment: SegmentRow, loop: CameraLoop, pts: int) -> None:
        pass

    def snapshot(self, segment: SegmentRow, loop: CameraLoop, pts: int) -> None:
        self.snapshots[segment.id] = pack(loop.snapshot()), pts, len(self.got), len(self.lines)

    def ended(self, loop: CameraLoop, pts: int, reason: str) -> None:
        self.last = json.loads(json.dumps(loop.snapshot()))
        self.ends.append((loop.epoch, reason))

    def gave_up(self, loop: CameraLoop, pts: int, reason: str) -> None:
        self.ends.append((loop.epoch, "gave up"))


def make_lane(
    policy: Policy,
    settings: LoopSettings = QUICK,
    rules: Sequence[Rule] = RULES,
    clock: Clock | None = None,
    views: Any = None,
    faces: Faces | None = None,
) -> tuple[Lane, Kept]:
    """A lane with a loop of its own."""
    sink = Kept()
    engine = Engine("town", "gate", rules, 5)
    loop = CameraLoop(settings, engine, ByteTracker(), Meter(lambda: 0), views=views, faces=faces)
    return Lane("gate", loop, sink, policy, clock or ManualClock(START_US)), sink


def cut(info: StreamInfo, packets: Sequence[Packet], borders: Sequence[int]) -> list[Arrived]:
    """The packets, in segments that begin at the keyframes with these numbers (the first always does)."""
    arrived: list[Arrived] = []
    keyframes, n = -1, -1
    row: SegmentRow | None = None
    for packet in packets:
        keyframes += packet.keyframe
        if row is None or (packet.keyframe and keyframes in borders):
            n += 1
            row = _row(info, n, packet)
        arrived.append(Arrived(packet, row))
    return arrived


def _row(info: StreamInfo, n: int, first: Packet) -> SegmentRow:
    return SegmentRow(
        id=f"s{n}",
        camera="gate",
        stream="main",
        epoch=7,
        n=n,
        path=f"gate/{n}.mp4",
        state="closed",
        codec=info.codec,
        width=info.width,
        height=info.height,
        first_pts=first.pts,
        last_pts=first.pts,
        start_us=first.capture_us,
        end_us=first.capture_us,
    )


def work(lane: Lane, detector: Detector) -> None:
    """Run the lane until it is empty, refusing what its policy refuses."""
    while (look := lane.advance()) is not None:
        lane.answer(detector.detect(look.frame, look.crops) if lane.granted() else None)


def run_whole(lane: Lane, detector: Detector, info: StreamInfo, arrived: Sequence[Arrived]) -> None:
    """The epoch from its beginning to its end."""
    lane.put(Begin(7, info, ANCHOR))
    for item in arrived:
        lane.put(item)
        work(lane, detector)
    lane.put(End("stopped"))
    work(lane, detector)


def run_from(
    lane: Lane, detector: Detector, info: StreamInfo, arrived: Sequence[Arrived], snapshot: tuple[bytes, int]
) -> None:
    """The rest of the epoch, from a snapshot after its segment's first packet."""
    blob, pts = snapshot
    at = next(i for i, item in enumerate(arrived) if item.packet.pts == pts)
    lane.restore(arrived[at].segment, unpack(blob), arrived[at].packet, info)
    for item in arrived[at + 1 :]:
        lane.put(item)
        work(lane, detector)
    lane.put(End("stopped"))
    work(lane, detector)


class Scripted:
    """A policy that sheds and switches where it is told to."""

    def __init__(
        self,
        skips: Sequence[tuple[int, int]],
        refused: set[int],
        modes: dict[int, Mode] | None = None,
        told: Mapping[int, Sequence[trace.Told]] | None = None,
    ) -> None:
        """Media times: spans that begin anywhere and end at the first keyframe from their end on; pictures;
        keyframes; packets."""
        self._skips, self._refused, self._modes = skips, refused, modes or {}
        self._told = told or {}
        self._until: int | None = None

    def skip(self, packet: Packet, behind_s: float) -> bool:
        if self._until is None:
            self._until = next((end for start, end in self._skips if start <= packet.pts < end), None)
        if self._until is not None and packet.keyframe and packet.pts >= self._until:
            self._until = None
        return self._until is not None

    def look(self, pts: int, behind_s: float) -> bool:
        return pts not in self._refused

    def mode(self, pts: int) -> Mode | None:
        return self._modes.get(pts)

    def told(self, pts: int) -> Sequence[trace.Told]:
        return self._told.get(pts, ())

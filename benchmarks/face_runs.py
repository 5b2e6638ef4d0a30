"""The two ways to look at a clip that the benchmark of face capture compares: every frame, and the product's
loop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

import av
import numpy as np

from detectors.face_tracking import FaceTracker
from detectors.onnx_detector import OnnxDetector
from detectors.shots import BestShots, CaptureArea, ShotSettings
from events.clock import thread_cpu_ns
from events.engine import Engine
from events.events import FaceCaptured
from events.observations import Box
from ingest.footage import FootageSource
from ingest.gate import luma
from pipeline.analysis import Faces
from pipeline.contract import LoopSettings
from pipeline.loop import CameraLoop
from pipeline.meter import Meter
from storage import trace
from testbed import faces
from testbed.faces import FPS, SIZE, Cut, FacePass


@dataclass(slots=True)
class Watched:
    """One run over a clip."""

    cpu_s: float = 0.0
    looks: int = 0
    frames: int = 0
    tracks: list[tuple[int, int, Box]] = field(default_factory=list)
    """(frame, ordinal, box) of confirmed tracks where they were seen."""
    shots: list[tuple[int, Box]] = field(default_factory=list)
    """(frame, box) of the shots that were given."""
    truth: dict[tuple[int, int], float] = field(default_factory=dict)
    """(pass, its k-th frame) -> how good it is."""


def every_frame(
    clip: Path, cuts: Sequence[Cut], passes: Sequence[FacePass], detector: OnnxDetector
) -> Watched:
    """Everything decoded, the detector on each frame, the same area and tracker; the truth, off the clock."""
    watched, tracker, area = Watched(), FaceTracker(), CaptureArea()
    where = {one.first + k: (n, k) for n, one in enumerate(passes) for k in range(len(one.moments))}
    start = process_time()
    for n, frame in enumerate(decoded(clip)):
        assert frame.pts is not None
        assert frame.time_base is not None
        pts = round(frame.pts * frame.time_base * 90_000)
        size = (frame.width, frame.height)
        tracked = tracker.update(pts, area.split(detector.detect(frame), size)[0], size)
        watched.cpu_s += process_time() - start
        watched.tracks += [(n, t.ordinal, t.box) for t in tracked.tracks if t.seen]
        watched.looks += 1
        watched.frames += 1
        if n in where:
            number, k = where[n]
            one = passes[number]
            watched.truth[n, number] = faces.truth(luma(frame), cuts[one.cut], one, k)
        start = process_time()
    return watched


def lazily(clip: Path, detector: OnnxDetector, closer: bool, fps: int = FPS) -> Watched:
    """The product's loop; `fps` of the clip."""
    watched = Watched()
    source = FootageSource(clip)
    opened = source.open()
    loop = CameraLoop(
        LoopSettings(mode="lazy"),
        Engine("bench", "c", []),
        FaceTracker(),
        Meter(thread_cpu_ns),
        look_closer=detector.manifest.input if closer else None,
        faces=Faces(CaptureArea(), BestShots(ShotSettings()), False),
    )
    start = process_time()
    loop.begin(1, opened.info, opened.anchor)
    last = 0
    for packet in source.packets():
        _drive(loop.feed(packet), detector, watched)
        last = packet.pts
    _drive(loop.end(last), detector, watched)
    watched.cpu_s = process_time() - start
    out = loop.take()
    for line in out.trace:
        if isinstance(line, trace.Frame):
            n = round(line.pts * fps / 90_000)
            watched.tracks += [(n, t[0], Box(*t[3:7])) for t in line.tracks if t[2] > 0]
    for event in out.events:
        if isinstance(event.data, FaceCaptured):
            n = round((event.data.at_us - opened.anchor.capture_us) * fps / 1_000_000)
            box = np.array(event.data.box) * (*SIZE, *SIZE)
            watched.shots.append((n, Box(*(float(v) for v in box))))
    return watched


def _drive(work: Any, detector: OnnxDetector, watched: Watched) -> None:
    try:
        look = next(work)
        while True:
            watched.looks += 1
            look = work.send(detector.detect(look.frame, look.crops))
    except StopIteration:
        pass


def decoded(clip: Path) -> Iterator[av.VideoFrame]:
    """All frames of a clip, by one thread."""
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_type = "NONE"
        yield from container.decode(video=0)

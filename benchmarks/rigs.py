"""Streams for the benchmarks of cost: real footage re-encoded as cameras would, from a real RTSP server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from benchmarks.common import SHARED, Missing, say
from cli.footage import cache_folder, demo_clips, print_progress
from detectors import fetch, manifest, onnx_detector
from events.clock import SystemClock
from events.errors import LinliError
from events.rules import Intrusion, Line, Rule, Zone
from ingest.rtsp import RtspSource
from pipeline.capacity import Cost, Decode, Rig, measure
from pipeline.contract import LoopSettings
from testbed.compose import ComposeSpec, compose
from testbed.rtsp import GstServer, Mount, ServerMissing

RULES: Sequence[Rule] = (
    Line(name="across", points=((0.5, 0.0), (0.5, 1.0))),
    Line(name="along", points=((0.0, 0.5), (1.0, 0.5))),
    Zone(name="square", polygon=((0.2, 0.3), (0.8, 0.3), (0.8, 0.9), (0.2, 0.9))),
    Intrusion(name="inside", polygon=((0.3, 0.4), (0.7, 0.4), (0.7, 0.9), (0.3, 0.9))),
)

SUB = ComposeSpec(seed=7, scene="room", size=(640, 360), fps=12, gop_s=2, dwells=(), min_gap_s=40)
MAIN = ComposeSpec(seed=8, scene="room", size=(1920, 1080), fps=25, gop_s=2, dwells=(), min_gap_s=24)
"""A real room, empty, with sensor noise: nothing moves."""


def quiet_clip(name: str, spec: ComposeSpec) -> Path:
    """The clip, made once and kept in the cache.

    Raises:
        Missing: the footage that the room comes from is not on this machine.
    """
    footage = SHARED / "footage"
    if not (footage / "one-by-one-person-detection.mp4").exists():
        raise Missing("one-by-one-person-detection.mp4 is not in ../shared/footage")
    path = cache_folder() / "bench" / f"{name}.mp4"
    if not path.exists():
        say(f"composing {path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.mp4")
        compose(part, spec, footage)
        part.replace(path)
    return path


def busy_clips() -> tuple[Path, Path]:
    """The demo's busiest camera: its sub- and main stream. People are in it at every moment.

    Raises:
        Missing: the demo's footage cannot be had here.
    """
    try:
        clip = demo_clips(cache_folder(), None, print_progress)[0]
    except LinliError as error:
        raise Missing(str(error)) from None
    return clip.sub or clip.main, clip.main


@contextmanager
def rig(clip: Path, streams: int, threads: int = 1) -> Iterator[Rig]:
    """So many cameras that all send the clip over RTSP/TCP, and the product's default model.

    Raises:
        Missing: no GStreamer RTSP server, or no model.
    """
    cv2.setNumThreads(1)
    clock = SystemClock()
    try:
        fetch.pull(manifest.named(onnx_detector.DEFAULT))
        detector = onnx_detector.load(labels=["person"], threads=threads, least_score=0.2)
        server = GstServer({f"c{i}": Mount(clip) for i in range(streams)}).__enter__()
    except (LinliError, ServerMissing) as error:
        raise Missing(str(error)) from None
    try:
        urls = [server.url(f"c{i}") for i in range(streams)]
        sources = [lambda url=url: RtspSource(url, clock=clock) for url in urls]
        with TemporaryDirectory(prefix="linli-bench-") as folder:
            yield Rig(sources, detector, RULES, Path(folder), clock, urls)
    finally:
        server.close()


def cost(clip: Path, streams: int, seconds: float, settings: LoopSettings, bare: Decode) -> Cost:
    """Measure so many streams of the clip."""
    say(f"{streams} x {clip.name}, {seconds:.0f} s")
    with rig(clip, streams) as made:
        return measure(made, seconds, settings, bare)

"""The capacity planner: what a stream costs here, stage by stage, beside libav and ONNX Runtime bare.

Both are measured in one run, in turn, because machines are noisy: the ratio is the figure to quote. The bare
cost is that of the streams in threads of one process, demuxed by libav, keyframes decoded or everything, plus
bare inferences of as many pictures as the loop looked at.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import av
import msgspec
from av.codec.context import ThreadType
from av.video.codeccontext import VideoCodecContext

from detectors.letterbox import Letterbox
from detectors.onnx_detector import OnnxDetector
from detectors.tracking import ByteTracker
from events.clock import Clock, process_cpu_ns, thread_cpu_ns
from events.engine import Engine
from events.rules import Rule
from ingest.source import Opened, Source
from pipeline.camera import ANALYSED_FRAGMENT_S, Reader
from pipeline.contract import LoopSettings
from pipeline.lane import Lane
from pipeline.loop import CameraLoop
from pipeline.meter import Meter
from pipeline.policy import Limits, Live
from pipeline.scheduler import Scheduler, SchedulerSettings
from pipeline.sink import JournalSink
from storage.journal import Journal
from storage.segments import SegmentWriter

Bare = Iterator[tuple[float, int]]
Decode = Literal["keyframes", "all"]
WARM_S = 3.0


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """CPU-milliseconds for one second of one stream."""

    streams: int
    seconds: float
    ours_ms: float
    """Everything: demux, recording, decoding, inference, tracking, rules, journal, Python."""
    bare_ms: float
    """libav's demuxing and decoding, and the bare inferences."""
    bare_demux_ms: float
    bare_decode_ms: float
    bare_infer_ms: float
    own_ms: float
    """Ours without decoding, inference, and what libav's demuxing costs bare."""
    stages_ms: dict[str, float]
    looks_per_s: float
    """Pictures inferred in a second of one stream."""
    infer_ms: float
    """One bare inference."""
    ratio: float
    """ours to bare."""
    own_share: float
    """own to bare."""
    streams_per_box: int
    """How many such streams the processors here carry, with a fifth of them left free."""


class Rig:
    """What a measurement needs: the streams, a model and a folder to record into."""

    def __init__(
        self,
        sources: Sequence[Callable[[], Source]],
        detector: OnnxDetector,
        rules: Sequence[Rule],
        folder: Path,
        clock: Clock,
        urls: Sequence[str] = (),
    ) -> None:
        """`urls`: where the sources are RTSP, so that libav can be driven without our layer."""
        self.sources = list(sources)
        self.detector = detector
        self.rules = list(rules)
        self.folder = folder
        self.clock = clock
        self.urls = list(urls)


def measure(
    rig: Rig,
    seconds: float,
    loop: LoopSettings,
    bare: Decode,
    progress: Callable[[str], None] = lambda what: None,
) -> Cost:
    """Bare, ours, bare again, each for `seconds` after a warm-up; answers the means."""
    progress("bare")
    first = _bare(rig, seconds / 2, bare)
    progress("ours")
    ours_ms, stages, looks, size = _ours(rig, seconds, loop)
    progress("bare")
    second = _bare(rig, seconds / 2, bare)
    demux_ms, decode_ms = ((a + b) / 2 for a, b in zip(first, second, strict=True))
    progress("inference")
    one = infer_ms(rig.detector, size)
    infer = one * looks
    total = demux_ms + decode_ms + infer
    own = max(ours_ms - stages.get("decode", 0.0) - stages.get("infer", 0.0) - demux_ms, 0.0)
    cores = os.cpu_count() or 1
    return Cost(
        streams=len(rig.sources),
        seconds=seconds,
        ours_ms=round(ours_ms, 3),
        bare_ms=round(total, 3),
        bare_demux_ms=round(demux_ms, 3),
        bare_decode_ms=round(decode_ms, 3),
        bare_infer_ms=round(infer, 3),
        own_ms=round(own, 3),
        stages_ms={name: round(ms, 3) for name, ms in stages.items()},
        looks_per_s=round(looks, 3),
        infer_ms=round(one, 3),
        ratio=round(ours_ms / total, 3) if total else 0.0,
        own_share=round(own / total, 3) if total else 0.0,
        streams_per_box=int(cores * 1000 * 0.8 / ours_ms) if ours_ms else 0,
    )


def infer_ms(detector: OnnxDetector, size: tuple[int, int], rounds: int = 30) -> float:
    """CPU of one bare inference in milliseconds: the session alone on a tensor that is ready.

    `size`: width and height of the picture, on which the tensor's depends.
    """
    tensor, place = Letterbox(detector.manifest.input).fill(av.VideoFrame(*size, "yuv420p"))
    for _ in range(3):
        detector.infer(tensor, place)
    before = process_cpu_ns()
    for _ in range(rounds):
        detector.infer(tensor, place)
    return (process_cpu_ns() - before) / rounds / 1e6


def _ours(
    rig: Rig, seconds: float, settings: LoopSettings
) -> tuple[float, dict[str, float], float, tuple[int, int]]:
    """CPU-ms per stream-second, the same by stage, looks per stream-second, and the pictures' size."""
    journal = Journal(rig.folder / "journal.db", rig.clock)
    meter = Meter(thread_cpu_ns)
    rig.detector.mark = meter.stop
    readers: list[Reader] = []
    lanes: list[Lane] = []
    for i, make_source in enumerate(rig.sources):
        camera = f"c{i:03d}"
        readers.append(_reader(rig, camera, make_source, journal))
        engine = Engine("bench", camera, rig.rules)
        sink = JournalSink(
            "bench", camera, "main", journal, rig.folder, model="", settings="", clock=rig.clock
        )
        frame_loop = CameraLoop(settings, engine, ByteTracker(), meter)
        lanes.append(Lane(camera, frame_loop, sink, Live(Limits()), rig.clock))
    detectors = {lane.camera: rig.detector for lane in lanes}
    scheduler = Scheduler(detectors, lanes, frozenset(), SchedulerSettings(), rig.clock, meter)
    for reader, lane in zip(readers, lanes, strict=True):
        reader.analyse(lane, scheduler.notify)
    scheduler.start()
    for reader in readers:
        reader.start()
    _wait(rig.clock, WARM_S, lambda: all(r.connected for r in readers))

    def stand() -> tuple[int, float, int, dict[str, int]]:
        stages: dict[str, int] = {}
        for stages_ns in [meter.ns, *(r.meter.ns for r in readers)]:
            for name, ns in stages_ns.items():
                stages[name] = stages.get(name, 0) + ns
        looks = sum(lane.loop.tally.inferred for lane in lanes)
        return process_cpu_ns(), sum(r.seconds for r in readers), looks, stages

    before = stand()
    rig.clock.sleep(seconds)
    after = stand()
    for reader in readers:
        reader.stop()
    for reader in readers:
        reader.join(10.0)
    scheduler.drain(30.0)
    journal.close()
    stream_s = after[1] - before[1] or 1.0
    stages = {name: (after[3][name] - before[3].get(name, 0)) / 1e6 / stream_s for name in after[3]}
    ours = (after[0] - before[0]) / 1e6 / stream_s
    stages["rest"] = max(ours - sum(stages.values()), 0.0)
    info = lanes[0].loop.info
    return ours, stages, (after[2] - before[2]) / stream_s, (info.width, info.height)


def _reader(rig: Rig, camera: str, make_source: Callable[[], Source], journal: Journal) -> Reader:
    def writer(epoch: int, opened: Opened) -> SegmentWriter:
        return SegmentWriter(
            rig.folder, camera, "main", epoch, opened.info, journal, fragment_s=ANALYSED_FRAGMENT_S
        )

    return Reader(camera, "main", "bench", make_source, writer, journal, rig.clock)


def _bare(rig: Rig, seconds: float, decode: Decode) -> tuple[float, float]:
    """CPU-ms per stream-second of the same streams by libav and nothing else: demuxing, decoding."""
    stop = threading.Event()
    progress = [0.0] * len(rig.sources)
    decoding = [0] * len(rig.sources)

    def run(i: int) -> None:
        run = _by_libav(rig.urls[i], decode, stop) if rig.urls else _by_source(rig.sources[i](), decode, stop)
        for progress[i], ns in run:
            decoding[i] += ns

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(rig.sources))]
    for thread in threads:
        thread.start()
    _wait(rig.clock, WARM_S, lambda: all(progress))
    before = process_cpu_ns(), sum(decoding), sum(progress)
    rig.clock.sleep(seconds)
    after = process_cpu_ns(), sum(decoding), sum(progress)
    stop.set()
    for thread in threads:
        thread.join(10.0)
    cpu, decoded, media = (b - a for a, b in zip(before, after, strict=True))
    media = (media or 1.0) * 1e6
    return (cpu - decoded) / media, decoded / media


def _by_source(source: Source, decode: Decode, stop: threading.Event) -> Bare:
    """Seconds of media time and nanoseconds of decoding, packet by packet."""
    info = source.open().info
    context = _context(info.codec, info.extradata)
    for packet in source.packets():
        ns = 0
        if decode == "all" or packet.keyframe:
            ns = _decode(context, packet.av, alone=decode == "keyframes")
        yield packet.pts / 90_000, ns
        if stop.is_set():
            break
    source.close()


def _by_libav(url: str, decode: Decode, stop: threading.Event) -> Bare:
    """The same, by libav alone."""
    options = {"rtsp_transport": "tcp", "allowed_media_types": "video"}
    with av.open(url, options=options, timeout=(10.0, 5.0)) as container:
        stream = container.streams.video[0]
        context = _context(stream.codec_context.name, stream.codec_context.extradata or b"")
        first = None
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            first = packet.pts if first is None else first
            ns = 0
            if decode == "all" or packet.is_keyframe:
                ns = _decode(context, packet, alone=decode == "keyframes")
            yield float((packet.pts - first) * packet.time_base), ns
            if stop.is_set():
                break


def _context(codec: str, extradata: bytes) -> VideoCodecContext:
    context = cast(VideoCodecContext, av.CodecContext.create(cast(Any, codec), "r"))
    context.thread_type = ThreadType.NONE
    context.thread_count = 1
    context.extradata = extradata
    return context


def _decode(context: VideoCodecContext, packet: Any, alone: bool) -> int:
    start = thread_cpu_ns()
    context.decode(packet)
    if alone:
        context.decode(None)
        context.flush_buffers()
    return thread_cpu_ns() - start


def _wait(clock: Clock, at_least_s: float, ready: Callable[[], bool], most_s: float = 60.0) -> None:
    start = clock.monotonic()
    while clock.monotonic() - start < at_least_s or not ready():
        if clock.monotonic() - start > most_s:
            return
        clock.sleep(0.1)

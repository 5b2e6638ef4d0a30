"""What lazy decoding loses, against the same footage with everything decoded.

Composed footage (`testbed/compose.py`): real people and cars cut from clips pass through real empty scenes
with sensor noise, at random phase to the GOP, at most a fifth of the time; H.264 with GOPs of 1 and 2 s,
variable and constant bit rate, H.265 and B-frames. The loop runs over each clip twice, lazily and fully,
with the product's default model and tracker.

* `seen`: a picture of the pass, while it is there, went to the model.
* `tracked`: a confirmed track lay on it, of those passes that have one when everything is decoded.

    python -m benchmarks.lazy_recall --json [--only h264-gop1-vbr]
"""

import argparse
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.common import SHARED, Missing, add_json_flag, run, say
from cli.footage import cache_folder
from detectors import fetch, manifest, onnx_detector
from detectors.onnx_detector import OnnxDetector
from detectors.tracking import ByteTracker, Scores
from events.clock import thread_cpu_ns
from events.engine import Engine
from events.errors import LinliError
from ingest.footage import FootageSource
from pipeline.contract import LoopSettings
from pipeline.loop import CameraLoop
from pipeline.meter import Meter
from storage import trace
from testbed.compose import ComposeSpec, PassTruth, compose, standard_set

GOAL = (
    "at least 99 % of at least 300 passes that last a GOP or longer are seen, and 99 % of those that have a "
    "track when everything is decoded"
)
LABELS = ("person", "car", "truck", "bus", "motorcycle", "bicycle")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--only", default="", help="names of variants, with commas")
    args = parser.parse_args()
    return run(partial(measure, [n for n in args.only.split(",") if n]), GOAL, args.json)


class Watched(msgspec.Struct, frozen=True):
    """One run of the loop over a clip."""

    looks: tuple[float, ...]
    """Seconds of the pictures that were looked at."""
    frames: tuple[trace.Frame, ...]
    decoded: int
    packets: int


def measure(only: list[str]) -> dict[str, Any]:
    """All variants."""
    try:
        fetch.pull(manifest.named(onnx_detector.DEFAULT))
        detector = onnx_detector.load(labels=LABELS, threads=2, least_score=Scores().low)
    except LinliError as error:
        raise Missing(str(error)) from None
    passes: list[tuple[float, bool, bool, bool]] = []
    variants = {}
    for name, spec in standard_set().items():
        if only and name not in only:
            continue
        clip, truth = composed(name, spec)
        say(f"{name}: {len(truth)} passes")
        lazy, full = (watch(clip, mode, detector) for mode in ("lazy", "full"))
        found = [_found(p, lazy, full, spec) for p in truth]
        passes += found
        variants[name] = _recall(found) | {"decoded": round(lazy.decoded / lazy.packets, 3)}
    whole = _recall(passes)
    return {
        **whole,
        "curve": _curve(passes),
        "variants": variants,
        "reached": whole["passes"] >= 300 and min(whole["seen"], whole["tracked"]) >= 0.99,
    }


def composed(name: str, spec: ComposeSpec) -> tuple[Path, list[PassTruth]]:
    """A variant's clip and its passes; made once and kept in the cache."""
    footage = SHARED / "footage"
    if not footage.is_dir():
        raise Missing("the clips that the passes are cut from are not in ../shared/footage")
    folder = cache_folder() / "bench" / "composed-1"
    clip, truth = folder / f"{name}.mp4", folder / f"{name}.json"
    if not truth.exists():
        say(f"composing {name}")
        folder.mkdir(parents=True, exist_ok=True)
        truth.write_bytes(msgspec.json.encode(compose(clip, spec, footage)))
    return clip, msgspec.json.decode(truth.read_bytes(), type=list[PassTruth])


def watch(clip: Path, mode: Any, detector: OnnxDetector) -> Watched:
    """The loop over a clip, as fast as it goes."""
    source = FootageSource(clip)
    opened = source.open()
    loop = CameraLoop(LoopSettings(mode=mode), Engine("bench", "c", []), ByteTracker(), Meter(thread_cpu_ns))
    loop.begin(1, opened.info, opened.anchor)
    looks: list[float] = []
    frames: list[trace.Frame] = []
    packets = 0
    for packet in source.packets():
        packets += 1
        work = loop.feed(packet)
        try:
            look = next(work)
            while True:
                looks.append(look.pts / 90_000)
                look = work.send(detector.detect(look.frame, look.crops))
        except StopIteration:
            frames += [line for line in loop.take().trace if isinstance(line, trace.Frame)]
    return Watched(tuple(looks), tuple(frames), loop.tally.decoded + loop.tally.probed, packets)


def _found(p: PassTruth, lazy: Watched, full: Watched, spec: ComposeSpec) -> tuple[float, bool, bool, bool]:
    """Dwell in GOPs; seen lazily; tracked lazily; tracked when everything is decoded."""
    seen = any(p.start_s <= at < p.end_s for at in lazy.looks)
    return p.dwell_gops, seen, _tracked(p, lazy, spec), _tracked(p, full, spec)


def _tracked(p: PassTruth, watched: Watched, spec: ComposeSpec) -> bool:
    return any(
        _on(box, track, spec.size)
        for frame in watched.frames
        if 0 <= (n := round(frame.pts / 90_000 * spec.fps) - p.first) < len(p.boxes)
        for box in (p.boxes[n],)
        for track in frame.tracks
    )


def _on(box: tuple[float, float, float, float], track: trace.TraceTrack, size: tuple[int, int]) -> bool:
    """The middle of the track's box lies in the true one."""
    x, y = (track[3] + track[5]) / 2 / size[0], (track[4] + track[6]) / 2 / size[1]
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _recall(passes: list[tuple[float, bool, bool, bool]]) -> dict[str, Any]:
    """Of those that last a GOP or longer."""
    long = [p for p in passes if p[0] >= 1]
    with_track = [p for p in long if p[3]]
    return {
        "passes": len(long),
        "seen": round(sum(p[1] for p in long) / len(long), 4) if long else 0.0,
        "tracked_fully": len(with_track),
        "tracked": round(sum(p[2] for p in with_track) / len(with_track), 4) if with_track else 0.0,
    }


def _curve(passes: list[tuple[float, bool, bool, bool]]) -> dict[str, dict[str, float]]:
    """Recall by dwell over GOP, to the nearest quarter."""
    groups: dict[float, list[tuple[float, bool, bool, bool]]] = defaultdict(list)
    for p in passes:
        groups[round(p[0] * 4) / 4].append(p)
    return {
        f"{dwell:.2f}": {
            "passes": len(group),
            "seen": round(sum(p[1] for p in group) / len(group), 3),
            "tracked": round(sum(p[2] and p[3] for p in group) / max(sum(p[3] for p in group), 1), 3),
        }
        for dwell, group in sorted(groups.items())
    }


if __name__ == "__main__":
    raise SystemExit(main())

"""Is every camera telling the truth? Faults found, and false alarms, of the watch over the picture.

Faults: each of `testbed.faults.FAULTS`, at its stated strength, begins at a moment drawn at random in real
footage with fresh sensor noise (sigma 1.5), after 40 s of sound pictures, with keyframes every 1 or 2 s; it
lasts 20 s. It counts as found if one of its names is raised within 10 s of media time (a loop's time counts
from its second round), and as cleared if nothing is raised 16 s after its end. Half of the cases go through
H.264 (x264 veryfast, 5 pictures a second, GOP of the interval): a quarter at CRF 26, a quarter under a
constant bit rate of 500 kbit/s. The others are the pictures themselves. `told` counts those in which anything
was raised in time, under whatever name; what was raised under a wrong one counts as `besides`.

False alarms: the clips for 24 camera-hours in all, a keyframe every 2 s at 640 pixels across, each round a
little out of step with the others, under light that drifts between 0.55 and 1.1 over three hours, with fresh
noise of sigma 1 to 2.5. Every ten minutes one of the harmless changes of `testbed.harmless.HARMLESS` comes
and goes. Whatever is raised is false; it is also counted under the name of the change during which, or in the
minute after which, it was.

The thresholds were chosen on vtest and one-by-one. car-detection, a bare road from above, was held out: there
the first version found 67 % and gave 302 false alarms in eight hours, as it took passing cars for the scene.
It was then looked at, and mended for, so that no clip is unseen any more. Its figures stand by themselves
(`bare`). CPU is process time of the watch alone.

    python -m benchmarks.health --json [--quick]
"""

import argparse
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import count
from time import process_time
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.common import add_json_flag, run, say, shared
from events.media import TICKS
from ingest.gate import luma
from ingest.watch import PictureWatch
from testbed.faults import FAULTS, Change, Grey, NoiseField, Synthetic
from testbed.harmless import HARMLESS

GOAL = "95 % of the faults found within 10 s; at most one false alarm in 24 camera-hours"
TUNED = ("vtest.avi", "one-by-one-person-detection.mp4")
BARE = ("car-detection.mp4",)
WITHIN_S = 10
SOUND_S, FAULT_S, AFTER_S = 40, 20, 16
WAYS = ((1, "plain"), (2, "plain"), (2, "crf"), (1, "cbr"))
"""Seconds from keyframe to keyframe, and how they are encoded."""

ENCODED = {"crf": {"crf": "26"}, "cbr": {"maxrate": "500k", "bufsize": "500k"}}
RATE = 5
WIDTH = 640
HOURS = 24.0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--quick", action="store_true", help="one case of each fault, one camera-hour")
    args = parser.parse_args()
    return run(partial(measure, args.quick), GOAL, args.json)


def measure(quick: bool) -> dict[str, Any]:
    """All figures."""
    cv2.setNumThreads(1)
    names = [*TUNED, *BARE]
    hours = (1.0 if quick else HOURS) / len(names)
    cases, quiet = {}, {}
    for name in names:
        pictures, fps = read(name)
        say(f"{name}: {len(FAULTS)} faults")
        cases[name] = [c for fault in FAULTS for c in found(name, fault, pictures, fps, quick)]
        say(f"{name}: {hours:g} hours without a fault")
        quiet[name] = alarms(pictures, fps, hours)
    every = [c for name in names for c in cases[name]]
    false = sum(q["false"] for q in quiet.values())
    bare = [c for name in BARE for c in cases[name]]
    share = _share(every)
    return {
        "cases": len(every),
        "found": share,
        "told": round(sum(c["told"] for c in every) / len(every), 4),
        "found_tuned": _share([c for name in TUNED for c in cases[name]]),
        "found_bare": _share(bare),
        "by_fault": {f: _summary([c for c in every if c["fault"] == f]) for f in FAULTS},
        "by_way": {w: _share([c for c in every if c["way"] == w]) for w in ("plain", *ENCODED)},
        "cleared": round(np.mean([c["cleared"] for c in every if c["found"]]).item(), 4),
        "besides": dict(Counter(b for c in every for b in c["besides"])),
        "camera_hours": round(hours * len(names), 2),
        "false": false,
        "quiet": quiet,
        "watch_ms": round(np.mean([q["watch_ms"] for q in quiet.values()]).item(), 3),
        "reached": share >= 0.95 and false <= 1 and not quick,
    }


def read(name: str) -> tuple[list[Grey], float]:
    """A clip's luma, every second picture, 640 across; and how many of these make a second."""
    with av.open(str(shared(f"footage/{name}"))) as container:
        stream = container.streams.video[0]
        pictures = []
        for n, frame in enumerate(container.decode(stream)):
            if n % 2 == 0:
                size = WIDTH, round(WIDTH * frame.height / frame.width / 2) * 2
                pictures.append(np.asarray(cv2.resize(luma(frame), size, interpolation=cv2.INTER_AREA)))
        return pictures, float(stream.average_rate or 10) / 2


def played(pictures: Sequence[Grey], fps: float, rng: np.random.Generator, every_s: float) -> Iterator[Grey]:
    """The clip for ever from a random moment, a picture every `every_s`. Each round is a little out of step
    with those before: a short clip would otherwise show the very same pictures again, which is a fault."""
    step, start = every_s * fps, float(rng.uniform(0, len(pictures)))
    for turn in count():
        at = start if turn == 0 else (0.31 * turn % 1) * step
        while at < len(pictures):
            yield pictures[int(at)]
            at += step


# --- faults


def found(clip: str, name: str, pictures: Sequence[Grey], fps: float, quick: bool) -> list[dict[str, Any]]:
    """One fault on one clip, in each of the ways."""
    cases = []
    for n, (gop_s, way) in enumerate(WAYS[1:2] if quick else WAYS):
        seed = zlib.crc32(f"{clip} {name} {n}".encode())
        cases.append({"fault": name, "way": way, **_case(FAULTS[name], pictures, fps, (gop_s, way, seed))})
        if not cases[-1]["found"]:
            say(f"  missed: {cases[-1]}")
    return cases


def _case(
    fault: Synthetic, pictures: Sequence[Grey], fps: float, how: tuple[int, str, int]
) -> dict[str, Any]:
    gop_s, _, seed = how
    rng = np.random.default_rng(seed)
    offset = float(rng.uniform(0, gop_s))  # the fault begins between two keyframes
    start = SOUND_S + offset
    watch, raised, cleared_at = PictureWatch(), {}, {}
    shown = _faulty(fault, pictures, fps, start, (*how, rng))
    for n, picture in enumerate(shown):
        for change in watch.keyframe(n * gop_s * TICKS, picture):
            if change.state == "raised":
                raised.setdefault(change.what, change.pts / TICKS - start - fault.lead_s)
            cleared_at[change.what] = change.pts if change.state == "cleared" else None
    times = [raised[w] for w in fault.found if w in raised and raised[w] >= 0]
    hit = bool(times) and min(times) <= WITHIN_S
    return {
        "found": hit,
        "told": any(0 <= t <= WITHIN_S for t in raised.values()),
        "after_s": round(min(times), 2) if times else None,
        "cleared": None not in cleared_at.values(),
        "besides": sorted(set(raised) - set(fault.found)),
    }


def _faulty(
    fault: Synthetic, pictures: Sequence[Grey], fps: float, start: float, how: tuple[int, str, int, Any]
) -> list[Grey]:
    """Keyframes with the fault from `start` on for a while, as the decoder gives them."""
    gop_s, way, seed, rng = how
    change = fault.make(seed)
    noise = NoiseField(pictures[0].shape, rng)
    rate = 1 / gop_s if way == "plain" else RATE
    clip = played(pictures, fps, rng, 1 / rate)
    frames: Iterator[Grey] = (
        _shown(next(clip), n / rate - start, fault, change, noise)
        for n in range(int((SOUND_S + FAULT_S + AFTER_S) * rate))
    )
    return list(frames) if way == "plain" else list(encoded(frames, gop_s, ENCODED[way]))


def _shown(picture: Grey, t: float, fault: Synthetic, change: Change, noise: NoiseField) -> Grey:
    on = 0 <= t < FAULT_S
    if on and fault.within:
        picture = change(picture, t)
    picture = noise.on(picture, 1.5)
    return change(picture, t) if on and not fault.within else picture


def encoded(pictures: Iterator[Grey], gop_s: int, options: dict[str, str]) -> Iterator[Grey]:
    """The keyframes of a stream of `RATE` pictures a second, after encoding and decoding."""
    encoder: Any = None
    for n, picture in enumerate(pictures):
        if encoder is None:
            encoder = av.CodecContext.create("libx264", "w")
            encoder.height, encoder.width = picture.shape
            encoder.pix_fmt, encoder.time_base, encoder.framerate = (
                "yuv420p",
                Fraction(1, RATE),
                Fraction(RATE),
            )
            encoder.gop_size, encoder.max_b_frames, encoder.thread_count = gop_s * RATE, 0, 1
            if "maxrate" in options:
                encoder.bit_rate = 500_000
            encoder.options = {"preset": "veryfast", "sc_threshold": "0", "tune": "zerolatency", **options}
        planes = np.full((picture.shape[0] * 3 // 2, picture.shape[1]), 128, np.uint8)
        planes[: picture.shape[0]] = picture
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, RATE)
        for packet in encoder.encode(frame):
            if packet.is_keyframe:
                decoder: Any = av.CodecContext.create("h264", "r")
                yield luma([*decoder.decode(packet), *decoder.decode(None)][0]).copy()


# --- false alarms


def alarms(pictures: Sequence[Grey], fps: float, hours: float) -> dict[str, Any]:
    """What is raised in footage without a fault."""
    rng = np.random.default_rng(7)
    noise, clip, watch = NoiseField(pictures[0].shape, rng), played(pictures, fps, rng, 2.0), PictureWatch()
    names, spent = list(HARMLESS), 0.0
    change, since, name, after = None, 0.0, "", 0.0
    raised: Counter[str] = Counter()
    for n in range(int(hours * 1800)):
        t = 2.0 * n
        if change is None and t > 60 and t % 600 == 0:
            name = names[int(t // 600 - 1) % len(names)]
            change, since = HARMLESS[name].make(n), t
        elif change is not None and t - since >= HARMLESS[name].seconds:
            change, after = None, t
        picture = _drifted(next(clip), t)
        sigma = 1.75 + 0.75 * float(np.sin(t / 4000))
        if change is not None and HARMLESS[name].within:
            picture = change(picture, t - since)
        picture = noise.on(picture, sigma)
        if change is not None and not HARMLESS[name].within:
            picture = change(picture, t - since)
        began = process_time()
        changes = watch.keyframe(n * 2 * TICKS, picture)
        spent += process_time() - began
        for c in changes:
            if c.state == "raised":
                during = name if name and (change is not None or t - after < 60) else "nothing"
                say(f"  false: {c.what} at {t:g} s during {during}")
                raised[f"{c.what} during {during}"] += 1
    return {
        "hours": round(hours, 2),
        "false": raised.total(),
        "raised": dict(raised),
        "watch_ms": round(1000 * spent / max(1, int(hours * 1800)), 3),
    }


def _drifted(picture: Grey, t: float) -> Grey:
    gain = 0.825 + 0.275 * float(np.cos(2 * np.pi * t / 10800))
    table = np.clip(16 + gain * (np.arange(256) - 16.0), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table), np.uint8)


def _share(cases: Sequence[dict[str, Any]]) -> float:
    return round(sum(c["found"] for c in cases) / max(1, len(cases)), 4)


def _summary(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    times = [c["after_s"] for c in cases if c["after_s"] is not None]
    fault = FAULTS[cases[0]["fault"]]
    return {
        "strength": fault.strength,
        "as": "/".join(fault.found),
        "found": f"{sum(c['found'] for c in cases)}/{len(cases)}",
        "median_s": float(np.median(times)) if times else None,
        "worst_s": max(times, default=None),
    }


if __name__ == "__main__":
    raise SystemExit(main())

"""Face capture: what lazy looking finds against the same detector on every frame, at what cost, and how good
the chosen shots are.

Synthetic: 45 passes of real faces cut from photographs through a real empty room, 1280 x 720 at 25 frames/s
in H.264, scaled, blurred, turned and covered by a script (`testbed/faces.py`), somebody there two fifths of
the time. A pass is *found* when a confirmed track lies on it, *captured* when a shot was given for it. Every
shot is compared with the best of *all* frames of its pass by the script's own measure: likeness to the sharp
original, turn, cover.

Real: four clips of one talking face each from package registries (`testbed/face_sources.py`), 40 seconds of
each looked at in pieces of four seconds, every piece a track of its own, and compared with the best of every
second frame by `benchmarks/face_quality.py`; and the shared clip in which people come one by one and never
face the camera.

The product's measures were tuned on the photographs, on passes of another seed made of the same photographs,
and (where on the face sharpness is looked for) on these clips; both real and synthetic figures are therefore
those of known faces. The width to which the tracker widens a face was chosen on the shared clip.

Cost is CPU time of this process. Every frame: decode everything, detect in each frame, track. `lazy`: the
product's loop at five looks a second, with gate, tracker and shots, the detector shown what moves or is
tracked (`crops`); `lazy_whole`: the same, shown whole pictures.

    python -m benchmarks.faces --json [--quick]
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from time import process_time
from typing import Any

import cv2
import msgspec

from benchmarks.common import Missing, add_json_flag, run, say, shared
from benchmarks.face_quality import real_pieces, spread
from benchmarks.face_runs import Watched, decoded, every_frame, lazily
from cli.footage import cache_folder
from detectors import manifest, models, onnx_detector
from detectors.detections import Detections
from detectors.face_tracking import FACE_SCORES
from detectors.onnx_detector import OnnxDetector
from detectors.runtime import Runtime
from events.errors import LinliError
from events.observations import Box
from testbed import face_sources, faces
from testbed.faces import FPS, Cut, FacePass

GOAL = (
    "passes found at least 98 % of those found on every frame, at a quarter of its CPU time or less; each"
    " shot at least 0.9 of its track's best frame by an independent measure"
)
ROOM = "footage/one-by-one-person-detection.mp4"

PROFILES = ((684, 691), (855, 862), (1343, 1353))
"""Frames of that clip in which a face at least 24 px wide is seen, from the side, as judged by eye."""
SEED = 2
"""Of the passes. The measures were tuned on the passes of seed 1."""


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_json_flag(parser)
    parser.add_argument("--quick", action="store_true", help="15 passes, 20 s of each real clip")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    return run(partial(measure, args.quick), GOAL, args.json)


def measure(quick: bool) -> dict[str, Any]:
    """All figures."""
    room = shared(ROOM)
    try:
        models.pull("centerface")
        detector = onnx_detector.load("centerface", least_score=FACE_SCORES.low)
        folder = cache_folder() / "bench" / "faces"
        stills = face_sources.gather(face_sources.STILLS, folder, lambda text, _: say(text))
        clips = face_sources.gather(face_sources.CLIPS, folder, lambda text, _: say(text))
    except LinliError as error:
        raise Missing(str(error)) from None
    cuts = faces.cut_faces(stills, detector)
    passes = faces.script(SEED, cuts, 15 if quick else 45, gap_s=(3.0, 6.0))
    clip = composed(folder / f"passes-{len(passes)}-seed{SEED}.mp4", room, cuts, passes)
    synthetic = _synthetic(clip, cuts, passes, detector)
    seconds = 20.0 if quick else 40.0
    return {
        "passes": len(passes),
        "faces": len(cuts),
        "synthetic": synthetic,
        "inputs": _inputs(clip, cuts, passes),
        "real": (real := real_pieces(clips, detector, seconds)),
        "from_the_side": None if quick else _from_the_side(room, detector),
        "parts": (parts := _parts(synthetic, real["shots"])),
        "reached": all(parts.values()),
    }


def _parts(synthetic: dict[str, Any], real: dict[str, Any]) -> dict[str, bool]:
    """Which parts of the goal were reached; the last one is the strict reading of the shots' part."""
    shots = synthetic["shots"], real
    return {
        "found": synthetic["lazy"]["found_of_every"] >= 0.98,
        "cost": synthetic["lazy"]["cost_of_every"] <= 0.25,
        "shots_on_average": all(s["mean"] >= 0.9 for s in shots),
        "shots_of_every_track": all(s["worst"] >= 0.9 for s in shots),
    }


def composed(path: Path, room: Path, cuts: Sequence[Cut], passes: Sequence[FacePass]) -> Path:
    """The clip, made once and kept in the cache."""
    if not path.exists():
        say(f"composing {path.name}")
        part = path.with_suffix(".part.mp4")
        faces.compose(part, room, cuts, passes, seed=SEED)
        part.replace(path)
    return path


# --- synthetic passes


def _synthetic(
    clip: Path, cuts: Sequence[Cut], passes: Sequence[FacePass], detector: OnnxDetector
) -> dict[str, Any]:
    say("every frame")
    every = every_frame(clip, cuts, passes, detector)
    answer: dict[str, Any] = {}
    found = _found(every, cuts, passes)
    for name, closer in (("lazy", True), ("lazy_whole", False)):
        say(name.replace("_", ", "))
        lazy = lazily(clip, detector, closer)
        own = _found(lazy, cuts, passes)
        captured = {n for frame, box in lazy.shots if (n := _pass_at(frame, box, cuts, passes)) is not None}
        answer[name] = {
            "found": len(own),
            "found_of_every": round(len(own & found) / max(len(found), 1), 4),
            "captured": len(captured),
            "looks": lazy.looks,
            "cpu_s": round(lazy.cpu_s, 2),
            "cost_of_every": round(lazy.cpu_s / every.cpu_s, 4),
        }
        if closer:
            answer["shots"] = _shots_of_passes(lazy, every, cuts, passes)
    return {
        "seconds": round(every.frames / FPS, 1),
        "every": {"found": len(found), "looks": every.looks, "cpu_s": round(every.cpu_s, 2)},
        **answer,
    }


def _found(watched: Watched, cuts: Sequence[Cut], passes: Sequence[FacePass]) -> set[int]:
    """Numbers of the passes that a confirmed track lies on."""
    hits = (_pass_at(frame, box, cuts, passes) for frame, _, box in watched.tracks)
    return {n for n in hits if n is not None}


def _pass_at(frame: int, box: Box, cuts: Sequence[Cut], passes: Sequence[FacePass]) -> int | None:
    for n, one in enumerate(passes):
        if 0 <= (k := frame - one.first) < len(one.moments):
            x, y, w, h = one.box(k, cuts[one.cut])
            return n if Box(x, y, x + w, y + h).iou(box) > 0.3 else None
    return None


def _shots_of_passes(
    lazy: Watched, every: Watched, cuts: Sequence[Cut], passes: Sequence[FacePass]
) -> dict[str, Any]:
    best: dict[int, float] = {}
    for (_, n), good in every.truth.items():
        best[n] = max(best.get(n, 0.0), good)
    shares: dict[str, list[float]] = {effect: [] for effect in faces.EFFECTS}
    for frame, box in lazy.shots:
        number = _pass_at(frame, box, cuts, passes)
        if number is not None:
            shares[passes[number].effect].append(every.truth[frame, number] / best[number])
    everything = [share for some in shares.values() for share in some]
    return {**spread(everything), "by_effect": {k: round(fmean(v), 3) for k, v in shares.items() if v}}


# --- the model's input


def _inputs(clip: Path, cuts: Sequence[Cut], passes: Sequence[FacePass]) -> dict[str, Any]:
    """Faces found in every eighth frame with one, by the width that the model is given."""
    known = manifest.named("centerface")
    runtime = Runtime(models.pull("centerface"))
    where = {one.first + k: (one, k) for one in passes for k in range(0, len(one.moments), 8)}
    detectors, hits = {}, {}
    for width in (320, 416, 640):
        spec = msgspec.structs.replace(known.input, width=width, height=width)
        own = msgspec.structs.replace(known, input=spec)
        detectors[width] = OnnxDetector(own, runtime, least_score=FACE_SCORES.high)
        hits[width] = [0, 0, 0, 0.0, 0]  # small found, small, large found, seconds, large
    say("input sizes")
    for n, frame in enumerate(decoded(clip)):
        if n not in where:
            continue
        one, k = where[n]
        x, y, w, h = one.box(k, cuts[one.cut])
        moment = one.moments[k]
        fair = moment.cover == 0 and abs(moment.turn) < 40 and moment.blur < 0.03
        for width, detector in detectors.items():
            start = process_time()
            detections = detector.detect(frame)
            hits[width][3] += process_time() - start
            if fair:
                hit = _hit(detections, Box(x, y, x + w, y + h))
                hits[width][0 if w < 60 else 2] += hit
                hits[width][1 if w < 60 else 4] += 1
    return {
        str(width): {
            "recall_34_to_60_px": round(small / max(small_all, 1), 3),
            "recall_60_to_130_px": round(large / max(large_all, 1), 3),
            "cpu_ms": round(1000 * seconds / len(where), 2),
        }
        for width, (small, small_all, large, seconds, large_all) in hits.items()
    }


def _hit(detections: Detections, box: Box) -> bool:
    return any(Box(*(float(v) for v in found)).iou(box) > 0.3 for found in detections.boxes)


def _from_the_side(clip: Path, detector: OnnxDetector) -> dict[str, Any]:
    """People who pass and are seen from behind or from the side: whose faces are tracked and captured."""
    say(clip.name)
    every, lazy = every_frame(clip, (), (), detector), lazily(clip, detector, closer=True, fps=10)
    return {
        "faces": len(PROFILES),
        "found_every": len(_spans_met(every)),
        "found_lazy": len(_spans_met(lazy)),
        "tracks_every": len({ordinal for _, ordinal, _ in every.tracks}),
        "tracks_lazy": len({ordinal for _, ordinal, _ in lazy.tracks}),
        "shots": len(lazy.shots),
        "cost_of_every": round(lazy.cpu_s / every.cpu_s, 4),
    }


def _spans_met(watched: Watched) -> set[int]:
    return {n for n, (a, b) in enumerate(PROFILES) if any(a <= frame <= b for frame, *_ in watched.tracks)}


if __name__ == "__main__":
    raise SystemExit(main())

"""How good a picture of a face is, by another way than the product's: for judging the shots that it chose.

Shares no code with `detectors/face_measures.py`: another detector (YuNet of libfacedetection), another
measure of sharpness (the variance of the Laplacian, Pech-Pacheco et al. 2000, around the eyes of the face
turned upright and scaled to 112 px, over the variance there: with the mouth in it, it told laughing from
sharp), and the distance between the eyes that this detector found.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from time import process_time
from typing import Any

import av
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import say, shared
from benchmarks.face_runs import decoded
from detectors import manifest
from detectors.face_tracking import FaceTracker
from detectors.onnx_detector import OnnxDetector
from detectors.runtime import Runtime
from detectors.shots import BestShots, ShotSettings
from ingest.gate import luma

SIDE = 112
TARGET_PX = 60.0
"""Distance between the eyes from which on a face counts as large enough."""
PIECE_S = 4.0
"""Each piece of a clip is looked at as a track of its own."""


def yunet(width: int = 640) -> OnnxDetector:
    """The other detector, at pictures of this width.

    Raises:
        Missing: its file is not in `../shared`.
    """
    path = shared("models/yunet_s_dynamic.onnx")
    known = msgspec.structs.replace(
        manifest.named("centerface"),
        name="yunet",
        file=path.name,
        decoder="yunet",
        input=manifest.Input(width=width, height=width, stride=32, colour="bgr", pad=0),
    )
    return OnnxDetector(known, Runtime(Path(path)), labels=["face"], least_score=0.3)


def quality(frame: av.VideoFrame, other: OnnxDetector) -> float:
    """Confidence x eye distance (up to a target) x sharpness of the picture's largest face; 0 without one."""
    found = other.detect(frame)
    if not len(found) or found.landmarks is None:
        return 0.0
    n = int(np.argmax(found.boxes[:, 2] - found.boxes[:, 0]))
    marks = found.landmarks[n].astype(np.float64)
    eyes = marks[1] - marks[0]
    distance = float(np.hypot(*eyes))
    if distance < 4:
        return 0.0
    grey = frame.to_ndarray(format="gray").astype(np.uint8, copy=False)
    face = upright(grey, marks)
    inner = face[SIDE // 5 : SIDE // 2, SIDE // 5 : -SIDE // 5].astype(np.float64)
    steps = cv2.Laplacian(cv2.GaussianBlur(inner, (0, 0), 1.0), cv2.CV_64F)
    sharpness = float(steps.std()) / max(float(inner.std()), 4.0)
    return float(found.scores[n]) * min(distance, TARGET_PX) / TARGET_PX * sharpness


def upright(grey: NDArray[np.uint8], marks: NDArray[np.float64]) -> NDArray[np.uint8]:
    """[112, 112] The face with its eyes level, at 30 % and 70 % of the width."""
    eyes = marks[1] - marks[0]
    scale = 0.4 * SIDE / float(np.hypot(*eyes))
    turn = float(np.degrees(np.arctan2(eyes[1], eyes[0])))
    middle = (marks[0] + marks[1]) / 2
    move = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), turn, scale)
    move[:, 2] += np.array([SIDE / 2, 0.36 * SIDE]) - middle
    if scale < 1:  # means before single pixels
        grey = cv2.GaussianBlur(grey, (0, 0), 0.45 / scale).astype(np.uint8)
    return cv2.warpAffine(grey, move, (SIDE, SIDE), flags=cv2.INTER_CUBIC).astype(np.uint8)


# --- clips of one face each, in pieces


def real_pieces(clips: Sequence[Path], detector: OnnxDetector, seconds: float) -> dict[str, Any]:
    """Every clip in pieces, each a track of its own."""
    other = yunet()
    shares: list[float] = []
    by_clip: dict[str, Any] = {}
    shots_s, measured = 0.0, 0
    for clip in clips:
        say(clip.name)
        pieces, spent, faces_seen = _pieces(clip, detector, other, seconds)
        shots_s, measured = shots_s + spent, measured + faces_seen
        given = [chosen / best for chosen, best in pieces if chosen is not None and best > 0]
        shares += given
        by_clip[clip.stem] = {"pieces": len(pieces), "shots": len(given), "mean": round(fmean(given), 3)}
    return {
        "shots": spread(shares),
        "clips": by_clip,
        "see_ms_per_look": round(1000 * shots_s / max(measured, 1), 3),
    }


def _pieces(
    clip: Path, detector: OnnxDetector, other: OnnxDetector, seconds: float
) -> tuple[list[tuple[float | None, float]], float, int]:
    """(the shot's quality or None, the best frame's) of each piece; CPU seconds and number of `see`."""
    tracker, shots = FaceTracker(), BestShots(ShotSettings(hold_s=60))
    answers: list[tuple[float | None, float]] = []
    good: dict[int, float] = {}
    spent, looks, next_look, n = 0.0, 0, 0, 0

    def close() -> None:
        given = shots.end()
        tracker.reset()
        if good:
            chosen = min((good[shot.pts] for shot in given), default=None)
            answers.append((chosen, max(good.values())))
        good.clear()

    for frame in decoded(clip):
        assert frame.pts is not None
        assert frame.time_base is not None
        pts = round(frame.pts * frame.time_base * 90_000)
        if pts >= round(seconds * 90_000):
            break
        if pts // round(PIECE_S * 90_000) > len(answers):
            close()
        n += 1
        if n % 2 or pts >= next_look:
            good[pts] = quality(frame, other)
        if pts < next_look:
            continue
        next_look = pts + 18_000 - 100
        detections = detector.detect(frame)
        tracked = tracker.update(pts, detections, (frame.width, frame.height))
        start = process_time()
        shots.see(pts, luma(frame), detections, tracked)
        spent += process_time() - start
        looks += 1
    close()
    return answers, spent, looks


def spread(shares: Sequence[float]) -> dict[str, Any]:
    """Of chosen over best, track by track."""
    if not shares:
        return {"tracks": 0, "mean": 0.0, "median": 0.0, "worst": 0.0, "at_least_0.9": 0.0}
    return {
        "tracks": len(shares),
        "mean": round(fmean(shares), 4),
        "median": round(median(shares), 4),
        "worst": round(min(shares), 4),
        "at_least_0.9": round(sum(s >= 0.9 for s in shares) / len(shares), 4),
    }

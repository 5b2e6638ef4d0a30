"""How good a picture of a face is, by another way than the product's: for judging the shots that it chose.

Shares no code with `detectors/face_measures.py`: another detector (YuNet of libfacedetection), another
measure of sharpness (the variance of the Laplacian, Pech-Pacheco et al. 2000, around the eyes of the face
turned upright and scaled to 112 px, over the variance there: with the mouth in it, it told laughing from
sharp), and the distance between the eyes that this detector found.
"""

from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import shared
from detectors import manifest
from detectors.onnx_detector import OnnxDetector
from detectors.runtime import Runtime

SIDE = 112
TARGET_PX = 60.0
"""Distance between the eyes from which on a face counts as large enough."""


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

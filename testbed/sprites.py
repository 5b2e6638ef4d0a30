"""Real people and cars cut out of clips with a still camera, to be pasted elsewhere.

The background is the median of frames spread over the clip; what differs from it, closed and filled, is an
object; it is followed from frame to frame by overlap, so that a sprite walks as the real person did.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

DIFFERENCE = 22
"""Grey levels in any channel from which a pixel is foreground."""


@dataclass(frozen=True)
class Sprite:
    """One object over consecutive frames of its clip."""

    pictures: tuple[Image, ...]
    """[h, w, 3] BGR each."""
    alphas: tuple[NDArray[np.float32], ...]
    """[h, w] 0 to 1, soft at the rim."""
    rightwards: bool
    """It went to the right in its clip."""


@dataclass(frozen=True)
class Cutting:
    """What counts as one whole object in a clip."""

    min_height: float
    """Of the picture's height."""
    shape: tuple[float, float]
    """Least and most height over width."""
    every: int
    """Look for new objects in each so many frames."""
    steps: int
    """Frames of a sprite: fewer for what is soon out of the picture."""
    empty_until: int
    """The background is the median of the frames before this one."""


CUTTINGS = {
    "one-by-one-person-detection.mp4": Cutting(
        min_height=0.5, shape=(1.5, 4.5), every=12, steps=8, empty_until=40
    ),
    "vtest.avi": Cutting(min_height=0.11, shape=(1.9, 4.0), every=20, steps=8, empty_until=795),
    "car-detection.mp4": Cutting(min_height=0.3, shape=(0.8, 3.0), every=1, steps=4, empty_until=377),
}


@cache
def empty_scene(clip: Path) -> Image:
    """[h, w, 3] BGR: the median of 40 frames, so many that nobody stands still through half of them."""
    until = CUTTINGS[clip.name].empty_until
    chosen = [p for n, p in zip(range(until), _frames(clip), strict=False) if n % (until // 40) == 0]
    middle: Image = np.median(np.stack(chosen[:40]), axis=0).astype(np.uint8)
    return middle


@cache
def sprites(clip: Path) -> tuple[Sprite, ...]:
    """Every usable sprite of a clip named in `CUTTINGS`, in the order of the clip.

    Raises:
        ValueError: none was found.
    """
    cutting, background = CUTTINGS[clip.name], empty_scene(clip)
    found: list[Sprite] = []
    window: list[Image] = []
    for n, picture in enumerate(_frames(clip)):
        window = [*window[1 - cutting.steps :], picture]
        if n % cutting.every == 0 and len(window) == cutting.steps:
            found += _cut(window, background, cutting)
    if not found:
        raise ValueError(f"no whole object could be cut out of {clip.name}")
    return tuple(found)


def _cut(window: list[Image], background: Image, cutting: Cutting) -> list[Sprite]:
    first = _foreground(window[0], background)
    boxes = _objects(first, cutting)
    if not boxes:
        return []
    masked = [(window[0], first), *((picture, _foreground(picture, background)) for picture in window[1:])]
    return [sprite for box in boxes if (sprite := _follow(masked, box, cutting))]


def _frames(clip: Path) -> Iterator[Image]:
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)


def _foreground(picture: Image, background: Image) -> Image:
    """[h, w] 0 or 255."""
    signed = picture.astype(np.int16) - background
    # A large object moves the camera's exposure; the median difference is that, not the object.
    signed -= np.median(signed[::8, ::8], axis=(0, 1)).astype(np.int16)
    difference = np.abs(signed).max(axis=2).astype(np.uint8)
    mask = cv2.threshold(cv2.GaussianBlur(difference, (5, 5), 0), DIFFERENCE, 255, cv2.THRESH_BINARY)[1]
    size = max(5, picture.shape[0] // 60) | 1
    closed = cv2.morphologyEx(
        mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    )
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(closed)
    return cv2.drawContours(filled, contours, -1, 255, cv2.FILLED)  # type: ignore[return-value]


def _objects(mask: Image, cutting: Cutting) -> list[Box]:
    """Boxes of the objects that are wholly inside the picture and have the right size and shape."""
    height, width = mask.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    boxes = []
    for x, y, w, h, area in stats[1:].tolist():
        inside = x > 2 and y > 2 and x + w < width - 2 and y + h < height - 2
        shaped = cutting.shape[0] <= h / w <= cutting.shape[1] and area > 0.45 * w * h
        if inside and shaped and h >= cutting.min_height * height:
            boxes.append((x, y, w, h))
    return boxes


def _follow(window: list[tuple[Image, Image]], box: Box, cutting: Cutting) -> Sprite | None:
    pictures, alphas, first = [], [], box
    for picture, mask in window:
        candidates = [b for b in _objects(mask, cutting) if _overlap(b, box) > 0.4]
        if len(candidates) != 1:
            return None
        box = candidates[0]
        x, y, w, h = box
        pictures.append(picture[y : y + h, x : x + w].copy())
        # Erosion takes the rim with the old background away, the blur makes it soft.
        solid = cv2.erode(mask[y : y + h, x : x + w], np.ones((3, 3), np.uint8), borderValue=0)
        alphas.append(cv2.GaussianBlur(solid.astype(np.float32) / 255, (5, 5), 0))
    return Sprite(tuple(pictures), tuple(alphas), box[0] + box[2] / 2 >= first[0] + first[2] / 2)  # type: ignore[arg-type]


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(h, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)

"""Looking closer where something moves, and putting together what was seen in several crops.

A small model sees a whole picture at a fraction of its resolution. Around motion it can be shown the pixels
as they are: small people become visible, and where little moves it costs less than the whole picture.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.decoders import Raw, suppress
from detectors.detections import NOTHING, Crop, Detections
from detectors.letterbox import fit
from detectors.manifest import Input

OVERHEAD = 96 * 96
"""What one more inference costs besides its pixels, in pixels of the model's input."""

LEAST = 160
"""Shortest side of a crop where the model takes any size: less shows too little around an object."""

CUT = 3.0
"""A box that ends this near to its crop's border, in pixels, may be cut off there."""

Region = Sequence[float]
"""x1 y1 x2 y2 in pixels of the picture, with a positive area."""


def choose(
    regions: Sequence[Region],
    size: tuple[int, int],
    spec: Input,
    *,
    most: int = 4,
    margin: float = 0.3,
) -> tuple[Crop, ...]:
    """The crops of a picture of `size` (width, height) to look at; none means the whole picture.

    Args:
        regions: where something moves, and where something is tracked (who stands still does not move).
        size: width and height of the picture.
        spec: the model's input.
        most: at most so many crops.
        margin: how much is added around a region, as a part of its longer side.

    Every region is inside one of the crops. Together they never cost more than the whole picture: where
    they would, or nothing is given, the answer is the whole picture.
    """
    crops = [_around(region, size, spec, margin) for region in regions]
    while len(crops) > 1:
        gain, a, b = _best_pair(crops, size, spec)
        if gain < 0 and len(crops) <= most:
            break
        joined = _union(crops[a], crops[b])
        crops = [crop for n, crop in enumerate(crops) if n not in (a, b)] + [joined]
    if not crops or sum(_cost(crop, size, spec) for crop in crops) > _cost(None, size, spec):
        return ()
    return tuple(sorted(crops))


def _around(region: Region, size: tuple[int, int], spec: Input, margin: float) -> Crop:
    """The region with its margin, at least as large as is worth looking at, inside the picture."""
    x1, y1, x2, y2 = region
    extra = margin * max(x2 - x1, y2 - y1)
    least = (LEAST, LEAST) if spec.stride else (spec.width, spec.height)
    left, right = _span(x1 - extra, x2 + extra, least[0], size[0])
    top, bottom = _span(y1 - extra, y2 + extra, least[1], size[1])
    return left, top, right, bottom


def _span(low: float, high: float, least: int, limit: int) -> tuple[int, int]:
    """An even interval of at least `least` around low..high, moved and cut to fit into 0..limit."""
    length = min(max(int(np.ceil(high - low)), least), limit)
    start = int(np.clip(round((low + high - length) / 2), 0, limit - length)) & ~1
    end = min(max(start + length, int(np.ceil(min(high, limit)))), limit)
    return start, min(end + (end & 1), limit)


def _union(a: Crop, b: Crop) -> Crop:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _cost(crop: Crop | None, size: tuple[int, int], spec: Input) -> int:
    place = fit(spec, size, crop)
    return place.input_width * place.input_height + OVERHEAD


def _best_pair(crops: Sequence[Crop], size: tuple[int, int], spec: Input) -> tuple[int, int, int]:
    """(what joining saves, index, index) of the pair that is best joined; ties go to the first."""
    costs = [_cost(crop, size, spec) for crop in crops]
    return max(
        (
            (costs[a] + costs[b] - _cost(_union(crops[a], crops[b]), size, spec), a, b)
            for a in range(len(crops))
            for b in range(a + 1, len(crops))
        ),
        key=lambda pair: pair[0],
    )


def merge(found: Sequence[tuple[Crop, Detections]], size: tuple[int, int], iou: float) -> Detections:
    """One answer from the detections in several crops, all in pixels of the picture.

    A box that its crop's border may have cut goes where another crop shows more of the same object. What is
    left is suppressed as in one picture: of two boxes of a class that overlap more than `iou` the worse goes.
    """
    parts = [(crop, detections) for crop, detections in found if len(detections)]
    if not parts:
        return NOTHING
    boxes = np.concatenate([d.boxes for _, d in parts])
    scores = np.concatenate([d.scores for _, d in parts])
    labels = [label for _, d in parts for label in d.labels]
    numbers = {label: n for n, label in enumerate(sorted(set(labels)))}
    classes = np.array([numbers[label] for label in labels], np.intp)
    source = np.repeat(np.arange(len(parts)), [len(d) for _, d in parts])
    cut = np.concatenate([_cut(d.boxes, crop, size) for crop, d in parts])
    whole = np.flatnonzero(~_shown_better(boxes, classes, source, cut))
    kept = whole[suppress(Raw(boxes[whole], scores[whole], classes[whole]), iou)]
    marks = [d.landmarks for _, d in parts if d.landmarks is not None]
    landmarks = np.concatenate(marks)[kept] if len(marks) == len(parts) else None
    return Detections(boxes[kept], scores[kept], tuple(labels[n] for n in kept), landmarks)


def _cut(boxes: NDArray[np.float32], crop: Crop, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes end at a border of the crop that is not the picture's own."""
    x1, y1, x2, y2 = crop
    left = (boxes[:, 0] < x1 + CUT) & (x1 > 0)
    top = (boxes[:, 1] < y1 + CUT) & (y1 > 0)
    right = (boxes[:, 2] > x2 - CUT) & (x2 < size[0])
    bottom = (boxes[:, 3] > y2 - CUT) & (y2 < size[1])
    return left | top | right | bottom


def _shown_better(
    boxes: NDArray[np.float32],
    classes: NDArray[np.intp],
    source: NDArray[np.intp],
    cut: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which boxes are cut and lie mostly within a box of the same class from another crop that is not cut,
    or is cut but larger."""
    hidden = np.zeros(len(boxes), bool)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for n in np.flatnonzero(cut):
        low, high = np.maximum(boxes[n, :2], boxes[:, :2]), np.minimum(boxes[n, 2:], boxes[:, 2:])
        within = np.maximum(high - low, 0).prod(axis=1) > 0.6 * area[n]
        better = ~cut | (area > area[n])
        hidden[n] = bool(np.any(within & better & (classes == classes[n]) & (source != source[n])))
    return hidden

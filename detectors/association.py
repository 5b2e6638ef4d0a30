"""Which box is which: assignment of boxes to boxes by their overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from detectors.detections import Detections
from events.observations import Track

Floats = NDArray[np.float64]

VEHICLES = frozenset(("car", "truck", "bus", "van"))
"""Classes that detectors confuse from frame to frame; they may continue each other's tracks."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """What is close enough to be the same object."""

    buffer: float
    """Share of its width and height that a box is widened by on each side before it is compared."""
    least: float
    """Intersection over union of the widened boxes below which two are never paired."""

    def pairs(
        self, a: Floats, a_labels: Sequence[str], b: Floats, b_labels: Sequence[str]
    ) -> list[tuple[int, int]]:
        """Pairs (row of `a` [N, 4], row of `b` [M, 4]) of the greatest summed overlap, in order of `a`.

        Only boxes of one class are paired; the kinds of vehicle count as one.
        """
        if not len(a) or not len(b):
            return []
        overlap = buffered_iou(a, b, self.buffer)
        overlap[overlap < self.least] = 0.0
        if len({*a_labels, *b_labels}) > 1:
            kinds_a, kinds_b = [_kind(x) for x in a_labels], [_kind(x) for x in b_labels]
            overlap[[[x != y for y in kinds_b] for x in kinds_a]] = 0.0
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if overlap[r, c] > 0]


def buffered_iou(a: Floats, b: Floats, buffer: float = 0.0) -> Floats:
    """Intersection over union of each box of `a` [N, 4] with each of `b` [M, 4], all widened: [N, M].

    The widening is that of C-BIoU (Yang et al. 2023, arXiv 2211.14317).
    """
    if buffer:
        a, b = _widened(a, buffer), _widened(b, buffer)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = np.maximum(high - low, 0.0)
    common = size[..., 0] * size[..., 1]
    union = _area(a)[:, None] + _area(b)[None, :] - common
    iou: Floats = common / np.maximum(union, 1e-9)
    return iou


def uncovered(detections: Detections, tracks: Sequence[Track], least: float = 0.5) -> list[int]:
    """Rows of the detections that no track of their class covers with an overlap of at least `least`."""
    if not len(detections) or not tracks:
        return list(range(len(detections)))
    boxes = np.array([(t.box.x1, t.box.y1, t.box.x2, t.box.y2) for t in tracks])
    covers = buffered_iou(detections.boxes.astype(np.float64), boxes) >= least
    if len({*detections.labels, *(t.label for t in tracks)}) > 1:
        covers &= np.array(detections.labels)[:, None] == np.array([t.label for t in tracks])
    return np.flatnonzero(~covers.any(axis=1)).tolist()


def _widened(boxes: Floats, buffer: float) -> Floats:
    margin = (boxes[:, 2:] - boxes[:, :2]) * buffer
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)


def _area(boxes: Floats) -> Floats:
    area: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def _kind(label: str) -> str:
    return "vehicle" if label in VEHICLES else label

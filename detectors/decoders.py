"""From a model's outputs to boxes: one function for each family of detectors, and what they share.

A decoder takes the outputs, the input's size and the classes asked for, and gives the candidates above a
score as `Raw`, in pixels of the input. Everything is done on whole arrays, and candidates are dropped by
score before anything dearer is computed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from events.errors import ModelError

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

STRIDES = (8, 16, 32)
"""Of the three feature maps that NanoDet and YOLOX predict on."""


ALL: Mask = np.ones(4096, bool)
"""A mask that leaves every class."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Candidates in pixels of the model's input."""

    boxes: Floats
    """[N, 4] x1 y1 x2 y2."""
    scores: Floats
    """[N]"""
    classes: Indices
    """[N] the model's class numbers."""
    landmarks: Floats | None = None
    """[N, 5, 2] see `Detections.landmarks`; None from a model that finds none."""


Decoder = Callable[[Sequence[Floats], tuple[int, int], Mask, float], Raw]
"""(outputs, (height, width) of the input, [classes] which are asked for, least score) -> candidates."""


def nanodet(outputs: Sequence[Floats], size: tuple[int, int], wanted: Mask, least: float) -> Raw:
    """NanoDet: for each of three feature maps class scores [1, n, classes] and box sides [1, n, 4 * bins].

    Each side of a box is the mean of a distribution over distances in strides (Generalized Focal Loss,
    Li et al. 2020, eq. 3-5); the scores are sigmoids already.
    """
    expect(len(outputs) == 6, "NanoDet has six outputs")
    # The three maps are searched as one; few candidates survive.
    scores = [output[0] for output in outputs[:3]]
    expect(
        scores[0].shape[1] == len(wanted), f"the model has {scores[0].shape[1]} classes, not {len(wanted)}"
    )
    numbers = np.flatnonzero(wanted)
    if len(numbers) == 1:  # the usual case, by the shortest way
        scored = np.concatenate([s[:, numbers[0]] for s in scores])
        rows = np.flatnonzero(scored >= least)
        best, classes = scored[rows], np.full(len(rows), numbers[0])
    else:
        table = np.concatenate([s[:, numbers] for s in scores])
        rows, best, columns = _best(table, ALL[: len(numbers)], least)
        classes = numbers[columns]
    first, second = np.searchsorted(rows, (len(scores[0]), len(scores[0]) + len(scores[1])))
    parts = (
        rows[:first],
        rows[first:second] - len(scores[0]),
        rows[second:] - len(scores[0]) - len(scores[1]),
    )
    bins = outputs[3].shape[2] // 4
    logits = np.concatenate([sides[0][part] for sides, part in zip(outputs[3:], parts, strict=True)])
    logits = logits.reshape(-1, 4, bins)
    weights: Floats = np.exp(logits - logits.max(axis=2, keepdims=True))
    mean = weights @ np.arange(bins, dtype=np.float32) / weights.sum(axis=2)
    centre = _centres(size)[rows]
    mean *= centre[:, 2:]
    boxes = np.concatenate([centre[:, :2] - mean[:, :2], centre[:, :2] + mean[:, 2:]], axis=1)
    return Raw(boxes, best, classes)


def yolox(outputs: Sequence[Floats], size: tuple[int, int], wanted: Mask, least: float) -> Raw:
    """YOLOX: one output [1, n, 5 + classes], of centre, log size, objectness and class scores (Ge et al.
    2021); the score is objectness times class score."""
    rows_of = outputs[0][0]
    grid, stride = _yolox_grid(size)
    expect(len(rows_of) == len(grid), f"YOLOX has {len(grid)} rows at this size, not {len(rows_of)}")
    sure = np.flatnonzero(rows_of[:, 4] >= least)
    rows, best, classes = _best(rows_of[sure, 5:] * rows_of[sure, 4:5], wanted, least)
    kept = sure[rows]
    centre = (rows_of[kept, :2] + grid[kept]) * stride[kept]
    half = np.exp(rows_of[kept, 2:4]) * (stride[kept] / 2)
    return Raw(np.concatenate([centre - half, centre + half], axis=1), best, classes)


def ssd(outputs: Sequence[Floats], size: tuple[int, int], wanted: Mask, least: float) -> Raw:
    """SSD (Liu et al. 2016) of TensorFlow's object detection: box codes [1, n, 4], class logits
    [1, n, 1 + classes] with the background first, anchors [1, n, 4] as y1 x1 y2 x2 from 0 to 1."""
    expect(len(outputs) == 3, "SSD has three outputs: box codes, logits, anchors")
    codes, logits, anchors = (output[0] for output in outputs)
    floor = np.float32(np.log(least / (1 - least))) if 0 < least < 1 else np.float32(-np.inf)
    rows, best, classes = _best(logits[:, 1:], wanted, float(floor))
    anchor, code = anchors[rows], codes[rows]
    extent = anchor[:, 2:] - anchor[:, :2]
    centre = anchor[:, :2] + extent / 2 + code[:, :2] / 10 * extent
    half = np.exp(code[:, 2:] / 5) * extent / 2
    scale = np.array([size[1], size[0], size[1], size[0]], np.float32)
    boxes = np.concatenate([centre - half, centre + half], axis=1)[:, [1, 0, 3, 2]] * scale
    return Raw(boxes, _sigmoid(best), classes)


def detr(outputs: Sequence[Floats], size: tuple[int, int], wanted: Mask, least: float) -> Raw:
    """RT-DETR, D-FINE and their kin, in either form they are exported in: labels [1, n], boxes [1, n, 4]
    x1 y1 x2 y2 in pixels, scores [1, n]; or class logits [1, n, classes] and boxes [1, n, 4] as centre and
    size from 0 to 1 (Zhao et al. 2024: sigmoid scores, no suppression of neighbours)."""
    if len(outputs) == 3:
        labels, boxes, scores = outputs[0][0], outputs[1][0], outputs[2][0]
        numbers = labels.astype(np.intp)
        expect(
            not len(numbers) or int(numbers.max()) < len(wanted),
            f"the model knows more than {len(wanted)} classes",
        )
        kept = np.flatnonzero((scores >= least) & wanted[numbers])
        return Raw(boxes[kept].astype(np.float32), scores[kept], numbers[kept])
    expect(len(outputs) == 2, "a DETR has outputs (labels, boxes, scores) or (logits, boxes)")
    rows, best, classes = _best(_sigmoid(outputs[0][0]), wanted, least)
    boxes = outputs[1][0][rows] * np.array([size[1], size[0], size[1], size[0]], np.float32)
    half = boxes[:, 2:] / 2
    return Raw(np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1), best, classes)


DECODERS: dict[str, Decoder] = {"nanodet": nanodet, "yolox": yolox, "ssd": ssd, "detr": detr}


def suppress(raw: Raw, iou: float, limit: int = 400) -> Indices:
    """Greedy non-maximum suppression within each class: which candidates stay, best first.

    Only the best `limit` candidates are looked at. The order is that of the scores; equal scores keep the
    order of the candidates, so the same candidates always give the same answer.
    """
    order = np.argsort(-raw.scores, kind="stable")[:limit]
    x1, y1, x2, y2 = np.ascontiguousarray(raw.boxes[order].T)
    classes = raw.classes[order]
    shared = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    heights = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    np.maximum(shared, 0, out=shared)
    shared *= np.maximum(heights, 0, out=heights)
    area = (x2 - x1) * (y2 - y1)
    near = shared * (1 + iou) > iou * (area[:, None] + area)  # intersection over union, without a division
    near &= classes[:, None] == classes
    gone = np.zeros(len(order), bool)
    kept: list[int] = []
    for n in range(len(order)):
        if not gone[n]:
            kept.append(n)
            gone |= near[n]
    return order[kept]


def _sigmoid(logits: Floats) -> Floats:
    half = np.float32(0.5)
    scores: Floats = half * np.tanh(half * logits) + half  # 1 / (1 + exp(-x)) without its overflow
    return scores


def _best(scores: Floats, wanted: Mask, least: float) -> tuple[Indices, Floats, Indices]:
    """Rows of `scores` [n, classes] whose best wanted class reaches `least`: (rows, scores, classes)."""
    expect(
        scores.shape[1] == len(wanted), f"the model has {scores.shape[1]} classes, its labels {len(wanted)}"
    )
    numbers = np.flatnonzero(wanted)
    few = 4 * len(numbers) <= len(wanted)
    table = scores[:, numbers] if few else scores
    likely = np.flatnonzero(table >= least) // max(table.shape[1], 1)  # one pass over plain memory
    likely = likely[np.flatnonzero(np.diff(likely, prepend=-1))]
    asked = table[likely] if few else table[likely][:, numbers]
    if not asked.size:
        return np.zeros(0, np.intp), np.zeros(0, np.float32), np.zeros(0, np.intp)
    columns = asked.argmax(axis=1)
    best = asked[np.arange(len(asked)), columns]
    kept = np.flatnonzero(best >= least)
    return likely[kept], best[kept], numbers[columns[kept]]


@lru_cache(maxsize=1024)
def cell_grid(size: tuple[int, int], stride: int) -> Floats:
    """Cell numbers x, y [n, 2] of a feature map, row by row."""
    rows, columns = -(-size[0] // stride), -(-size[1] // stride)
    y, x = np.mgrid[:rows, :columns]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


@lru_cache(maxsize=64)
def _centres(size: tuple[int, int]) -> Floats:
    """Of all feature maps' cells: x, y in pixels of the input, and the stride [n, 3]."""
    maps = []
    for stride in STRIDES:
        xy = (cell_grid(size, stride) + np.float32(0.5)) * np.float32(stride)
        maps.append(np.concatenate([xy, np.full((len(xy), 1), stride, np.float32)], axis=1))
    return np.concatenate(maps)


@lru_cache(maxsize=64)
def _yolox_grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    grids = [cell_grid(size, stride) for stride in STRIDES]
    strides = [np.full((len(g), 1), s, np.float32) for g, s in zip(grids, STRIDES, strict=True)]
    return np.concatenate(grids), np.concatenate(strides)


def expect(true: bool, otherwise: str) -> None:
    """Raise a `ModelError` that says so unless the outputs have the form that the decoder knows."""
    if not true:
        raise ModelError(f"{otherwise}; are `decoder` and `labels` in the manifest the right ones?")

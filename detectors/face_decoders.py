"""From the outputs of face detectors to boxes and landmarks; the contract is that of `detectors/decoders.py`.

Landmarks are in the order of `Detections.landmarks`: right eye, left eye, nose, right and left corner of the
mouth, as the face's owner says; in a face that looks at the camera the first is the left one in the picture.
"""

from collections.abc import Sequence

import numpy as np

from detectors.decoders import STRIDES, Decoder, Floats, Indices, Mask, Raw, cell_grid, expect

STRIDE = 4
"""Pixels of CenterFace's input for each cell of its outputs."""

_NONE: Indices = np.zeros(0, np.intp)


def centerface(outputs: Sequence[Floats], size: tuple[int, int], wanted: Mask, least: float) -> Raw:
    """CenterFace (Xu et al. 2019, arXiv 1911.03599): on cells of 4 pixels a heatmap of centres [1, 1, h, w],
    log height and width, offset of the centre in y and x [1, 2, h, w], and landmarks as parts of the box,
    y before x [1, 10, h, w].

    A face is a peak of the heatmap among its eight neighbours (Zhou et al. 2019, arXiv 1904.07850).
    """
    expect(len(outputs) == 4, "CenterFace has four outputs: heatmap, scale, offset, landmarks")
    heat, scale, offset, marks = (output[0] for output in outputs)
    expect(
        heat.shape == (1, -(-size[0] // STRIDE), -(-size[1] // STRIDE)) and marks.shape[0] == 10,
        f"CenterFace's heatmap has {STRIDE} pixels to a cell, and ten channels of landmarks",
    )
    y, x = np.nonzero(heat[0] >= least) if wanted[0] else (_NONE, _NONE)
    peaks = _peaks(heat[0], y, x)
    y, x = y[peaks], x[peaks]
    extent = np.exp(scale[::-1, y, x]).T * np.float32(STRIDE)  # width, height
    centre = (np.stack([x, y]) + offset[::-1, y, x] + np.float32(0.5)).T * np.float32(STRIDE)
    low = (centre - extent / 2).astype(np.float32)
    parts = marks[:, y, x].T.reshape(-1, 5, 2)[:, :, ::-1]
    landmarks = low[:, None] + parts * extent[:, None]
    boxes = np.concatenate([low, low + extent], axis=1)
    return Raw(boxes, heat[0, y, x], np.zeros(len(y), np.intp), landmarks)


def yunet(outputs: Sequence[Floats], size: tuple[int, int], wanted: Mask, least: float) -> Raw:
    """YuNet (Wu et al. 2023) of libfacedetection: for each of three feature maps class and object scores
    [1, n, 1], boxes as centre and log size [1, n, 4] and landmarks [1, n, 10], in strides from the cell;
    the maps follow each other within each of the four kinds. A score is the mean, the geometric one, of both.
    """
    expect(len(outputs) == 12, "YuNet has twelve outputs: class, object, box and landmarks at three sizes")
    found: list[Raw] = []
    for n, stride in enumerate(STRIDES):
        kind, thing, box, marks = (output[0] for output in outputs[n::3])
        cells = cell_grid(size, stride)
        expect(len(kind) == len(cells), f"YuNet has {len(cells)} cells of {stride} pixels, not {len(kind)}")
        scores = np.sqrt(np.clip(kind[:, 0], 0, 1) * np.clip(thing[:, 0], 0, 1))
        rows = np.flatnonzero(scores >= least) if wanted[0] else _NONE
        unit = np.float32(stride)
        centre = (box[rows, :2] + cells[rows]) * unit
        half = np.exp(box[rows, 2:]) * (unit / 2)
        landmarks = (marks[rows].reshape(-1, 5, 2) + cells[rows][:, None]) * unit
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        found.append(Raw(boxes, scores[rows], np.zeros(len(rows), np.intp), landmarks))
    return Raw(
        np.concatenate([raw.boxes for raw in found]),
        np.concatenate([raw.scores for raw in found]),
        np.concatenate([raw.classes for raw in found]),
        np.concatenate([raw.landmarks for raw in found if raw.landmarks is not None]),
    )


FACE_DECODERS: dict[str, Decoder] = {"centerface": centerface, "yunet": yunet}


def _peaks(heat: Floats, y: Indices, x: Indices) -> Indices:
    """Which of these cells have no higher one beside them."""
    height, width = heat.shape
    best = heat[y, x]
    is_peak = np.ones(len(y), bool)
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        beside = heat[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
        is_peak &= beside <= best
    return np.flatnonzero(is_peak)

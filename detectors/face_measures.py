"""How good a picture of a face is: four measures from 0 to 1, from the grey levels of the face alone.

The components are those of ISO/IEC 29794-5 (inter-eye distance, sharpness, pose, illumination, occlusion,
face in the frame) in their simplest forms, for choosing among pictures of *one* track; they say nothing
about who it is. Only the face's own patch is read, shrunk so that a face is at most 96 px wide; sums are
those of whole numbers, so that the same picture gives the same figures everywhere.

* size: the distance between the eyes against a target, from the box: 0.4 of the square root of its area,
  which is what upright faces that look at the camera have, and does not shrink when a head turns.
* sharpness: gradient energy (Tenengrad: Krotkov 1988; compared in Pertuz et al. 2013) after the noise's
  share is taken off (Immerkaer 1996, with a median so that edges do not count as noise), over the patch's
  own variance, in contrasts per face's width. The mean of both directions is the geometric one: a smear is
  not made good by the sharp lines along it.
* pose: from the landmarks how far the nose is from the middle of the eyes, how near the eyes are to each
  other against their distance to the mouth, where the nose is between eyes and mouth, and the tilt.
* visible: not cut by the picture's edge, not covered by another face's box, both halves alike, something
  where the mouth should be, enough light and not too much, and the detector's confidence, which falls where
  a hand or a mask hides a part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, degrees, hypot, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.gate import Luma

WIDE = 96
"""Pixels of a face's width beyond which it is shrunk."""

EYES = 0.4
"""Eye distance of a face that looks at the camera, as a share of the root of its box's area."""

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face."""

    box: Corners
    """x1 y1 x2 y2 in pixels of the picture."""
    score: float
    landmarks: NDArray[np.float32] | None
    """[5, 2] in the order of `Detections.landmarks`."""

    @property
    def side(self) -> float:
        """Root of the box's area, pixels."""
        return sqrt(max(self.box[2] - self.box[0], 0) * max(self.box[3] - self.box[1], 0))


def measure(picture: Luma, face: Face, others: Sequence[Corners], target_px: float) -> dict[str, float]:
    """size, sharpness, pose, visible (0 to 1) and width_px of a face; `others`: the other faces' boxes."""
    height, width = picture.shape
    cut = _patch(picture, face.box)
    if cut is None:
        return {"size": 0.0, "sharpness": 0.0, "pose": 0.0, "visible": 0.0, "width_px": 0.0}
    patch, grain = cut
    visible = (
        _whole(face, (width, height))
        * _free(face.box, others)
        * _uncovered(picture, face)
        * _lit(patch)
        * (0.4 + 0.6 * ramp(face.score, 0.4, 0.85))
    )
    found = {
        "size": min(1.0, EYES * face.side / target_px),
        "sharpness": ramp(contrasts(patch, grain), 6.0, 56.0),
        "pose": _pose(face.landmarks),
        "visible": visible,
        "width_px": face.box[2] - face.box[0],
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def ramp(value: float, none: float, full: float) -> float:
    """0 at `none`, 1 at `full`, straight in between, and no further."""
    return min(1.0, max(0.0, (value - none) / (full - none)))


def contrasts(patch: Luma, grain: float = 0.0) -> float:
    """Mean step between neighbouring pixels across a face's width, in the patch's standard deviations;
    `grain`: variance of the noise in it.

    On portraits 27 to 56; 18 when smoothed by 4 % of the face's width (sigma), 14 by 8 %.
    """
    if min(patch.shape) < 4:
        return 0.0
    q = patch.astype(np.float64)  # holds whole numbers: sums are exact in any order
    across, down = (q[:, 2:] - q[:, :-2]).ravel(), (q[2:] - q[:-2]).ravel()
    energy = [max(float(step @ step) / step.size - 2 * grain, 0.0) for step in (across, down)]
    face_width = float(patch.shape[1] / 0.8)  # the patch is the inner part
    return face_width * sqrt(sqrt(energy[0] * energy[1]) / max(_variance(q) - grain, 4.0))


def _patch(picture: Luma, box: Corners) -> tuple[Luma, float] | None:
    """Brows, eyes and nose, at most 96 px per face's width (a mouth that opens is not a sharper face), and
    the variance of the noise in it."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    height, width = picture.shape
    left, right = max(round(x1 + 0.1 * w), 0), min(round(x2 - 0.1 * w), width)
    top, bottom = max(round(y1 + 0.2 * h), 0), min(round(y1 + 0.7 * h), height)
    if right - left < 4 or bottom - top < 4:
        return None
    inner = picture[top:bottom, left:right]
    grain = _grain(inner)
    shrunk = (right - left) / (0.8 * WIDE)
    if shrunk <= 1:
        return inner, grain
    size = (max(round(inner.shape[1] / shrunk), 1), max(round(inner.shape[0] / shrunk), 1))
    small: Luma = cv2.resize(inner, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    # What a mean over `shrunk` pixels at any phase leaves of white noise's variance, in both directions.
    return small, grain * ((shrunk - 1 / 3) / shrunk**2) ** 2


def _grain(inner: Luma) -> float:
    """Variance of the noise in the middle of a patch: what no straight edge or slope accounts for, by the
    median, which a few corners do not move."""
    rows, columns = max((inner.shape[0] - 64) // 2, 0), max((inner.shape[1] - 96) // 2, 0)
    q = inner[rows : rows + 64, columns : columns + 96].astype(np.int32)
    corners, sides = q[:-2] + q[2:], q[1:-1, :-2] + q[1:-1, 2:]
    flat = corners[:, :-2] + corners[:, 2:] - 2 * (sides + corners[:, 1:-1]) + 4 * q[1:-1, 1:-1]
    return (float(np.median(np.abs(flat))) / 0.6745 / 6) ** 2 if flat.size else 0.0


def _pose(marks: NDArray[np.float32] | None) -> float:
    """1 for a face that looks at the camera, 0 for one in profile; 1 where there are no landmarks."""
    if marks is None:
        return 1.0
    (rx, ry), (lx, ly), (nx, ny), (ax, ay), (bx, by) = marks.tolist()
    ex, ey = lx - rx, ly - ry
    eyes = hypot(ex, ey)
    mx, my = (rx + lx) / 2, (ry + ly) / 2
    mouth = hypot((ax + bx) / 2 - mx, (ay + by) / 2 - my)
    if eyes < 1e-3 or mouth < 1e-3 or ex <= 0:
        return 0.0
    aside = ((nx - mx) * ex + (ny - my) * ey) / eyes**2
    below = ((ny - my) * ex - (nx - mx) * ey) / eyes / mouth
    yaw = min(ramp(abs(aside), 0.8, 0.1), ramp(eyes / mouth, 0.45, 0.9))
    pitch = ramp(abs(below - 0.55), 0.35, 0.08)
    roll = ramp(abs(degrees(atan2(ey, ex))), 75, 15)
    return yaw * pitch * roll


def _whole(face: Face, size: tuple[int, int]) -> float:
    """Less than 1 where the box ends at the picture's edge: part of the face may be beyond it."""
    x1, y1, x2, y2 = face.box
    room = min(x1, y1, size[0] - x2, size[1] - y2) / max(face.side, 1.0)
    return 0.3 + 0.7 * ramp(room, 0.0, 0.05)


def _free(box: Corners, others: Sequence[Corners]) -> float:
    """The share of the box that no other face's box covers (the largest of them alone)."""
    area = max((box[2] - box[0]) * (box[3] - box[1]), 1.0)
    shared = 0.0
    for other in others:
        w = min(box[2], other[2]) - max(box[0], other[0])
        h = min(box[3], other[3]) - max(box[1], other[1])
        shared = max(shared, w * h if w > 0 and h > 0 else 0.0)
    return 1.0 - min(shared / area, 1.0)


def _uncovered(picture: Luma, face: Face) -> float:
    """Less than 1 where one half of the face is unlike the other, or where the mouth should be there is
    nothing: something covers a side or the lower face, or light comes from one side only."""
    grid = _grid(picture, face)
    if grid is None:
        return 0.25
    left, right = grid[:, :8], grid[:, :7:-1]
    left, right = left * left.size - left.sum(), right * right.size - right.sum()
    scale = sqrt(float((left * left).sum()) * float((right * right).sum()))
    alike = float((left * right).sum()) / scale if scale else 0.0
    eyes, mouth = (sqrt(_variance(grid[rows, 3:13])) for rows in (slice(2, 8), slice(13, 19)))
    return (0.6 + 0.4 * ramp(alike, 0.0, 0.6)) * (0.4 + 0.6 * ramp(mouth / max(eyes, 1.0), 0.05, 0.2))


def _grid(picture: Luma, face: Face) -> NDArray[np.float64] | None:
    """[20, 16] The face as seen upright, in coarse cells from above the brows (eyes in row 4) to below the
    mouth (in row 15), the nose in the middle; whole numbers. Without landmarks the box's middle is taken."""
    x1, y1, x2, y2 = face.box
    if face.landmarks is None:
        middle, across = ((x1 + x2) / 2, y1 + 0.6 * (y2 - y1)), (0.4 * (x2 - x1), 0.0)
    else:
        eyes, mouth = face.landmarks[:2], face.landmarks[3:]
        centre, step = (eyes.mean(axis=0) + mouth.mean(axis=0)) / 2, (eyes[1] - eyes[0]) * 0.9
        middle, across = (float(centre[0]), float(centre[1])), (float(step[0]), float(step[1]))
    reach = hypot(*across)
    if reach < 2:
        return None
    down = (-across[1], across[0])
    cells = np.array(
        [
            [across[0] / 8, down[0] / 10, middle[0] - across[0] * 7.5 / 8 - down[0] * 0.95],
            [across[1] / 8, down[1] / 10, middle[1] - across[1] * 7.5 / 8 - down[1] * 0.95],
        ]
    )
    low = np.maximum(np.floor(np.array(middle) - 1.5 * reach), 0).astype(int)
    high = np.ceil(np.array(middle) + 1.5 * reach).astype(int)
    region = picture[low[1] : high[1], low[0] : high[0]]
    if min(region.shape) < 4:
        return None
    factor = min(1.0, 12 / reach)  # a cell is then about one pixel
    small = cv2.resize(region, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    cells[:, 2] -= low
    cells *= factor
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grid = cv2.warpAffine(small, cells, (16, 20), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return grid.astype(np.float64)


def _lit(patch: Luma) -> float:
    """1 unless much of the patch is black or white, or it has hardly any contrast.

    There is no wish for a mean: that would prefer light skin to dark.
    """
    dark, bright = int(np.count_nonzero(patch < 24)), int(np.count_nonzero(patch > 232))
    spoilt = max(dark - 0.1 * patch.size, 0) + max(bright - 0.1 * patch.size, 0)
    contrast = sqrt(_variance(patch.astype(np.float64)))
    return ramp(spoilt / patch.size, 0.6, 0.0) * ramp(contrast, 4.0, 16.0)


def _variance(q: NDArray[np.float64]) -> float:
    flat = q.ravel()
    return max(float(flat @ flat) / flat.size - (float(flat.sum()) / flat.size) ** 2, 0.0)

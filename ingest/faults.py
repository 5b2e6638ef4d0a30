"""Single measures of one keyframe's luma, for the watch over the picture. Pure; no state.

* **Edges** (`edges`): the gradient of the picture in a grid, 80 cells across, as a complex field of doubled
  angles: its direction is that of the edge whichever side is the brighter, its length grows with the
  logarithm of the gradient. So a scene is the same by day, by lamp and under infra-red (double-angle
  representation: Granlund, 1978).
* **Shift** (`shift`): how far the grid's edges moved against others, by phase correlation of those fields
  (Kuglin and Hines, 1975; on gradients: Argyriou and Vlachos, 2003).
* **Sharpness** (`sharpness`): where the pixel rows step from one level to another within 16 pixels, the sum
  of the squared differences of neighbours over the squared step: large for a step between two pixels, 1/16
  for an even slope. The noise of the evener half is taken off. The highest 15 % of the steps are taken,
  whatever their height, so dusk and haze do not blur a picture.
* **Patches** (`patches`): 24 squares of 16 x 16 pixels in full resolution, in which noise can be seen.
"""

from functools import lru_cache
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.gate import Luma

GRID = 80
"""Cells of the grid across the picture."""

TILES = (4, 8)
"""Rows and columns of tiles for which sharpness is given."""

PATCHES = (4, 6)
SIDE = 16

_ROWS = 32
"""Pixel rows that sharpness looks at."""

_STEPS = 0.85
"""Share of the windows of 16 pixels whose step is no step: the rest is looked at, so that the same places
are chosen at any contrast."""

_STEP = 8.0
"""Grey levels under which a step is none; nor is it under five times its noise."""

_EDGE = 6.0
"""Gradient, in grey levels a cell, at which an edge begins to be one."""

_QUARTER = SIDE // 4

Field = NDArray[np.float32]
"""[rows, columns, 2]"""


def grid(cells: Luma) -> Luma:
    """The gate's cells, 160 across, made half as fine."""
    height, width = cells.shape
    size = (GRID, max(2, round(GRID * height / width)))
    return cast(Luma, cv2.resize(cells, size, interpolation=cv2.INTER_AREA))


def edges(coarse: Luma) -> tuple[Field, NDArray[np.float32]]:
    """The field of doubled angles, [rows, columns, 2], and its length, [rows, columns]."""
    picture = coarse.astype(np.float32)
    gx = cv2.Sobel(picture, cv2.CV_32F, 1, 0, scale=0.25)
    gy = cv2.Sobel(picture, cv2.CV_32F, 0, 1, scale=0.25)
    xx, yy = gx * gx, gy * gy
    square = xx + yy
    length = cv2.log(1.0 + square * (1 / _EDGE**2))
    scale = length / (square + 1e-6)
    field = cv2.merge([(xx - yy) * scale, 2.0 * gx * gy * scale])
    return cast(Field, field), cast(NDArray[np.float32], length)


@lru_cache(maxsize=8)
def _window(height: int, width: int) -> NDArray[np.float32]:
    """Hann's window, twice for the two channels."""
    one = cv2.createHanningWindow((width, height), cv2.CV_32F)
    return cast(NDArray[np.float32], cv2.merge([one, one]))


def spectrum(field: Field) -> Field:
    """Of the windowed field, for `shift`."""
    return cast(Field, cv2.dft(field * _window(*field.shape[:2])))


def shift(now: Field, before: Field) -> tuple[float, float, float]:
    """How far the picture of spectrum `now` lies to the right of and below that of `before`, in cells, and
    how sure that is: the peak's height over the other heights' standard deviation."""
    cross = cv2.mulSpectrums(now, before, 0, conjB=True)
    length = np.sqrt(cross[..., 0] ** 2 + cross[..., 1] ** 2) + 1e-6
    surface = cv2.dft(cross / length[..., None], flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)[..., 0]
    surface = cv2.GaussianBlur(surface, (3, 3), 0.7, borderType=cv2.BORDER_REFLECT_101)
    height, width = surface.shape
    at = int(surface.argmax())
    y, x = divmod(at, width)
    peak = float(surface[y, x])
    dx = x + _vertex(*(float(surface[y, (x + k) % width]) for k in (-1, 0, 1)))
    dy = y + _vertex(*(float(surface[(y + k) % height, x]) for k in (-1, 0, 1)))
    dx -= width if dx > width / 2 else 0
    dy -= height if dy > height / 2 else 0
    return dx, dy, peak / (float(surface.std()) + 1e-9)


def overlap(now: Field, before: Field, dx: int, dy: int) -> float:
    """How well two fields match, from -1 to 1, where they overlap after a shift by whole cells."""
    height, width = now.shape[:2]
    a = now[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
    b = before[max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)]
    powers = float((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / (np.sqrt(powers) + 1e-6))


def _vertex(left: float, middle: float, right: float) -> float:
    """Where the parabola through three neighbours has its top, from -0.5 to 0.5."""
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, 0.5 * (left - right) / bend))


class Sharpness(NamedTuple):
    """What the pixel rows say."""

    sharp: NDArray[np.float32]
    """By tile, [4, 8]."""
    steps: NDArray[np.float32]
    """At how many steps it was measured."""
    step: float
    """Height of a large step in grey levels; if there are no steps at all, what they are all less than."""
    noise: float
    """Standard deviation of the evenest windows: hardly more than the sensor's noise."""


def sharpness(picture: Luma) -> Sharpness:
    """How sharp the picture is (see the top of this file)."""
    height, width = picture.shape
    across = width // (SIDE * TILES[1]) * TILES[1]
    nothing = np.zeros(TILES, np.float32)
    if not across:
        return Sharpness(nothing, nothing, 0.0, 0.0)
    first, every = height // (2 * _ROWS), height / _ROWS
    lines = [min(height - 1, first + int(n * every)) for n in range(_ROWS)]
    windows = picture[lines, : across * SIDE].astype(np.float32).reshape(-1, SIDE)
    fine = cv2.subtract(windows[:, 1:], windows[:, :-1])
    squares = _sums(fine * fine).reshape(_ROWS, across)
    ends = _sums(windows[:, -_QUARTER:]) - _sums(windows[:, :_QUARTER])
    steps = np.abs(ends).reshape(_ROWS, across) / _QUARTER
    ranked = np.sort(steps, axis=None)
    high = float(ranked[int(_STEPS * ranked.size)])
    noise = float(squares[steps <= ranked[ranked.size // 2]].mean())
    evenest = np.sort(squares, axis=None)[squares.size // 10]  # of 15 squared differences
    even = float(1.75 * evenest / (2 * (SIDE - 1))) ** 0.5
    least = max(_STEP, 5 * (noise / (4 * SIDE)) ** 0.5)
    if high < least:
        return Sharpness(nothing, nothing, least, even)
    step = (steps > high).astype(np.float32)
    shape = (TILES[0], _ROWS // TILES[0], TILES[1], across // TILES[1])
    count = step.reshape(shape).sum(axis=(1, 3))
    energy = ((squares - noise) * step).reshape(shape).sum(axis=(1, 3))
    total = ((steps * steps - noise / (4 * SIDE)) * step).reshape(shape).sum(axis=(1, 3))
    return Sharpness(np.maximum(energy, 0) / (total + 1e-6), count, high, even)


def _sums(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row. (A product with ones would wake the threads of a linear algebra library.)"""
    return cast(NDArray[np.float32], cv2.reduce(rows, 1, cv2.REDUCE_SUM)[:, 0])


@lru_cache(maxsize=8)
def _places(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    side = np.arange(SIDE)
    tops = ((np.arange(PATCHES[0]) + 0.5) * height / PATCHES[0]).astype(int) - SIDE // 2
    lefts = ((np.arange(PATCHES[1]) + 0.5) * width / PATCHES[1]).astype(int) - SIDE // 2
    rows = np.clip(tops[:, None, None, None] + side[None, None, :, None], 0, height - 1)
    columns = np.clip(lefts[None, :, None, None] + side[None, None, None, :], 0, width - 1)
    return rows, columns


def patches(picture: Luma) -> Luma:
    """[24, 16, 16], copied."""
    return cast(Luma, picture[_places(*picture.shape)].reshape(-1, SIDE, SIDE))

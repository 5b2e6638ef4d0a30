"""Numbers along a Hilbert curve: what is near in number is near on the ground, and lies near on the disk."""

import numpy as np
from numpy.typing import NDArray

from city.features import Box

ORDER = 16
"""Halvings of the world: cells of 0.0055 by 0.0027 degrees, at 35 degrees north 500 by 300 metres."""


def distances(x: NDArray[np.int64], y: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """How far along the curve each cell (x, y) of a square of 2**order cells a side is.

    From D. Hilbert, Ueber die stetige Abbildung einer Linie auf ein Flaechenstueck (1891); turned and
    mirrored square by square, from the largest down.
    """
    x, y = x.copy(), y.copy()
    found = np.zeros_like(x)
    side = 1 << (order - 1)
    while side:
        right, upper = (x & side) > 0, (y & side) > 0
        found += side * side * ((3 * right.astype(np.int64)) ^ upper)
        x &= side - 1
        y &= side - 1
        mirrored = ~upper & right
        x = np.where(mirrored, side - 1 - x, x)
        y = np.where(mirrored, side - 1 - y, y)
        x, y = np.where(upper, x, y), np.where(upper, y, x)
        side >>= 1
    return found


def cells(boxes: "NDArray[np.float64] | list[Box]", order: int = ORDER) -> NDArray[np.int64]:
    """Number of the cell in which the middle of each box (west, south, east, north) lies."""
    box = np.asarray(boxes, np.float64).reshape(-1, 4)
    count = 1 << order
    x = np.clip(((box[:, 0] + box[:, 2]) / 2 + 180) / 360 * count, 0, count - 1).astype(np.int64)
    y = np.clip(((box[:, 1] + box[:, 3]) / 2 + 90) / 180 * count, 0, count - 1).astype(np.int64)
    return distances(x, y, order)

"""Numbers along a Hilbert curve: what is near in number is near on the ground, and lies near on the disk."""

from collections.abc import Sequence

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


def runs(boxes: Sequence[Box], most: int = 128) -> list[tuple[int, int]]:
    """Ranges of cells, [first, end), in order, that hold every point of the boxes, and some around them.

    Args:
        boxes: west <= east.
        most: of squares that each box is covered with; the larger the box, the larger they are.
    """
    found: list[tuple[int, int]] = []
    for box in boxes:
        west, south, east, north = box
        for order in range(ORDER, -1, -1):
            x, y = _cell(np.array([west, east]), np.array([south, north]), order)
            if (x[1] - x[0] + 1) * (y[1] - y[0] + 1) <= most:
                break
        x, y = np.meshgrid(np.arange(x[0], x[1] + 1), np.arange(y[0], y[1] + 1))
        below = 2 * (ORDER - order)  # a square's number begins those of all squares in it
        for first in distances(x.ravel(), y.ravel(), order).tolist():
            found.append((first << below, (first + 1) << below))
    joined: list[tuple[int, int]] = []
    for first, end in sorted(found):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined


def cells(boxes: "NDArray[np.float64] | list[Box]", order: int = ORDER) -> NDArray[np.int64]:
    """Number of the cell in which the middle of each box (west, south, east, north) lies."""
    box = np.asarray(boxes, np.float64).reshape(-1, 4)
    return distances(*_cell((box[:, 0] + box[:, 2]) / 2, (box[:, 1] + box[:, 3]) / 2, order), order)


def _cell(
    lon: NDArray[np.float64], lat: NDArray[np.float64], order: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    count = 1 << order
    return (
        np.clip((lon + 180) / 360 * count, 0, count - 1).astype(np.int64),
        np.clip((lat + 90) / 180 * count, 0, count - 1).astype(np.int64),
    )

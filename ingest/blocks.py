"""The grid of a picture in blocks, and as text. Pure."""

import base64
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest import faults
from ingest.gate import Luma

BLOCKS = (6, 8)
"""Rows and columns of blocks in which the grid is compared."""

EDGED = 0.06
"""Mean length of a block's edges from which it has any."""

SEEN = 0.4
"""How well, from -1 to 1, the edges of a block match those that are seen again."""

FEW = 6
"""Blocks with edges that are needed to judge at all."""

Levels = NDArray[np.float32]


def block_means(*channels: Levels) -> Levels:
    """Of each block, [6, 8, channels]."""
    merged = cv2.merge(channels)
    return cast(Levels, cv2.resize(merged, BLOCKS[::-1], interpolation=cv2.INTER_AREA))


def in_part(seen: NDArray[np.bool_], valid: NDArray[np.bool_]) -> bool:
    """Is the scene there in some half of the picture? Then something stands before the rest."""
    rows, columns = seen.shape
    halves = (np.s_[: rows // 2], np.s_[rows // 2 :], np.s_[:, : columns // 2], np.s_[:, columns // 2 :])
    for half in halves:
        edged = int(np.count_nonzero(valid[half]))
        if edged >= FEW and np.count_nonzero(seen[half] & valid[half]) >= 0.5 * edged:
            return True
    return False


def alike(a: Luma, b: Luma) -> bool:
    """Whether two grids show the same scene."""
    (fa, la), (fb, lb) = faults.edges(a), faults.edges(b)
    product = fa * fb
    means = block_means(la * la, lb * lb, product[..., 0] + product[..., 1], lb)
    match = means[..., 2] / np.sqrt(means[..., 0] * means[..., 1] + 1e-6)
    edged = means[..., 3] >= EDGED
    return bool(2 * np.count_nonzero(match[edged] >= SEEN) > np.count_nonzero(edged))


def spread(blocks: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A value for each block as one for each cell."""
    rows = np.arange(shape[0]) * blocks.shape[0] // shape[0]
    columns = np.arange(shape[1]) * blocks.shape[1] // shape[1]
    return np.asarray(blocks[rows[:, None], columns], np.bool_)


def packed(grid: Luma | None) -> list[Any] | None:
    """As JSON values."""
    return None if grid is None else [*grid.shape, base64.b64encode(grid.tobytes()).decode()]


def unpacked(values: list[Any] | None) -> Luma | None:
    """The grid of JSON values."""
    if values is None:
        return None
    height, width, text = values
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)

"""Registration: by how much is this picture displaced and zoomed against that one? Pure and deterministic.

Pictures are luma in cells (`ingest/gate.py`, 160 across), freed of slow shading. The reference is cut into
blocks of 16 x 16 cells; each block with structure in it is looked for within 6 cells of its place by
normalised cross-correlation, which neither brightness nor contrast disturbs (Lewis, Fast Normalized
Cross-Correlation, 1995), to a part of a cell by a parabola through the peak. A block that shows an edge tells
nothing along it: each displacement counts with the block's structure tensor (Harris and Stephens, 1988).

What the whole picture did is then fitted by voting: shift and zoom are those on which most blocks agree,
refined by weighted least squares over the blocks that do (Fischler and Bolles' consensus, 1981, but with
every block tried as a guess, so nothing is drawn by chance). People, a bus over a part of the picture, rain
and shadows are blocks that do not agree, and are outvoted.
"""

from typing import Any, cast

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ingest.gate import Luma

BLOCK = 16
"""Cells along a block's side."""
REACH = 6
"""Cells, in each direction, by which a block is looked for."""
STEP = 12
"""Cells from block to block: they overlap by a quarter."""
SHADE = 15
"""Cells over which the slow shading that is taken out is averaged."""
STRUCTURE = 0.5
"""Least mean squared gradient (grey levels a cell, squared) of a block that is looked for: above noise."""
CLEAR = 8.0
"""Mean squared gradient of a block that has half of the weight of the clearest."""
ALIKE = 0.6
"""Least correlation of a block that was found."""
NEAR = 0.6
"""Cells by which a block's displacement may differ from the whole picture's."""

EDGE = 0.1
"""A block whose structure across and along differs more than this is an edge: along it, it tells nothing."""
PRIOR = 0.3
"""Blocks' worth of belief that nothing moved: what no block tells is taken for still."""

TELLS = 0.2
"""Cells that a block must be displaced for it to show."""

Floats = NDArray[np.float32]


Place = tuple[float, float, float]
"""Shift right and down, in cells, and zoom."""
AT_HOME: Place = (0.0, 0.0, 1.0)


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How a picture lies to a reference."""

    dx: float
    """Cells by which the picture's middle is displaced to the right."""
    dy: float
    """Cells, downwards."""
    zoom: float
    """1.02: everything is 2 % larger than in the reference."""
    off: float
    """Cells by which the blocks that agree are displaced, across their edges: root of the mean square."""
    agree: float
    """Share of the reference's blocks that were found where the fit says, 0 to 1."""
    stays: float
    """Of the blocks that would show the fit's displacement, the share that show none: 1 where nothing tells
    the two apart. Something large that moves before a camera at rest leaves many where they were."""
    blocks: int
    """Blocks with structure in the reference. With fewer than `ENOUGH` nothing can be said."""


ENOUGH = 6


def prepared(cells: Luma) -> Floats:
    """The picture without its slow shading."""
    real = cells.astype(np.float32)
    return cast(Floats, real - cv2.blur(real, (SHADE, SHADE)))


class Reference:
    """A picture against which others are registered."""

    def __init__(self, cells: Luma) -> None:
        """`cells`: [h, w], at least 28 x 28."""
        self.cells = cells
        flat = prepared(cells)
        height, width = flat.shape
        tensors = _tensors(flat)
        kept = [
            (y, x) for y in _places(height) for x in _places(width) if np.trace(tensors[y, x]) >= STRUCTURE
        ]
        self._places = kept
        self._templates = [flat[y : y + BLOCK, x : x + BLOCK].copy() for y, x in kept]
        self._tensors = _informing(np.array([tensors[at] for at in kept], np.float64).reshape(-1, 2, 2))
        strength = np.array([np.trace(tensors[at]) for at in kept], np.float64)
        self._weights = strength / (strength + CLEAR)
        self._total = max(float(self._weights.sum()), 1e-9)
        middles = np.array(kept, np.float64).reshape(-1, 2)[:, ::-1] + (BLOCK - 1) / 2
        self._middles = middles - np.array([(width - 1) / 2, (height - 1) / 2])

    @property
    def blocks(self) -> int:
        """Blocks with structure. With fewer than `ENOUGH` nothing can be said."""
        return len(self._places)

    @property
    def structure(self) -> float:
        """How much there is to recognise: of 72, clear blocks count 1, faint ones less."""
        return float(self._weights.sum())

    def fit(self, picture: Floats, place: Place = AT_HOME) -> Fit:
        """How `picture`, of the reference's size and `prepared`, lies to the reference.

        `place`: from where `Fit.off` and `Fit.stays` are taken.
        """
        if self.blocks < ENOUGH:
            return Fit(dx=0.0, dy=0.0, zoom=1.0, off=0.0, agree=0.0, stays=1.0, blocks=self.blocks)
        moves, found = self._search(picture)
        shift, zoom, agree = self._consensus(moves, found)
        expected = shift + (zoom - 1) * self._middles
        home = np.array(place[:2]) + (place[2] - 1) * self._middles
        off = self._misses(expected, home)
        return Fit(
            dx=float(shift[0]),
            dy=float(shift[1]),
            zoom=zoom,
            off=float(np.sqrt(np.mean(off[agree] ** 2))) if agree.any() else 0.0,
            agree=self._share(agree),
            stays=self._stays(
                self._misses(moves, home), self._misses(moves, expected), found & (off > TELLS)
            ),
            blocks=self.blocks,
        )

    def _stays(
        self, home: NDArray[np.float64], there: NDArray[np.float64], telling: NDArray[np.bool_]
    ) -> float:
        """See `Fit.stays`: each block's misses of both places; the blocks for which the two differ."""
        if not telling.any():
            return 1.0
        return self._share(telling & (home < there)) / max(self._share(telling), 1e-9)

    def _share(self, blocks: NDArray[np.bool_]) -> float:
        return float(self._weights[blocks].sum()) / self._total

    def _search(self, picture: Floats) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Displacement of each block, [n, 2], and whether it was found."""
        moves = np.zeros((self.blocks, 2))
        found = np.zeros(self.blocks, bool)
        for n, ((y, x), template) in enumerate(zip(self._places, self._templates, strict=True)):
            part = picture[y - REACH : y + BLOCK + REACH, x - REACH : x + BLOCK + REACH]
            match = cv2.matchTemplate(part, template, cv2.TM_CCOEFF_NORMED)
            _, best, _, (px, py) = cv2.minMaxLoc(match)
            if best < ALIKE:
                continue
            found[n] = True
            moves[n] = (
                px - REACH + _peak(match[py, max(px - 1, 0) : px + 2]),
                py - REACH + _peak(match[max(py - 1, 0) : py + 2, px]),
            )
        return moves, found

    def _misses(self, moves: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how many cells each block's displacement differs from what is expected, across its edges."""
        off = moves - expected
        return cast(NDArray[np.float64], np.sqrt(np.einsum("ni,nij,nj->n", off, self._tensors, off).clip(0)))

    def _consensus(
        self, moves: NDArray[np.float64], found: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], float, NDArray[np.bool_]]:
        """Shift of the middle, zoom, and the blocks that agree with both."""
        guesses = [np.zeros(2), *moves[found]]
        votes = [self._share(found & (self._misses(moves, g) < 2 * NEAR)) for g in guesses]
        shift, zoom = guesses[int(np.argmax(votes))], 1.0
        agree = found & (self._misses(moves, shift) < 2 * NEAR)
        for _ in range(3):
            if agree.sum() < ENOUGH / 2:
                break
            shift, zoom = self._least_squares(moves, agree)
            agree = found & (self._misses(moves, shift + (zoom - 1) * self._middles) < NEAR)
        return shift, zoom, agree

    def _least_squares(
        self, moves: NDArray[np.float64], use: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], float]:
        """Shift and zoom that fit the displacements best, each weighed by its block's tensor."""
        tensors, middles = self._tensors[use], self._middles[use]
        design = np.zeros((len(middles), 2, 3))
        design[:, 0, 0] = design[:, 1, 1] = 1
        design[:, :, 2] = middles
        weighed = np.einsum("nij,njk->nik", tensors, design)
        normal = np.einsum("nik,nil->kl", design, weighed) + np.diag([PRIOR, PRIOR, PRIOR * REACH**2])
        right = np.einsum("nik,ni->k", weighed, moves[use])
        dx, dy, growth = np.linalg.solve(normal, right)
        return np.array([dx, dy]), 1 + float(growth)


def _tensors(flat: Floats) -> Floats:
    """Structure tensor of the block whose upper left corner is at y, x: [h - 15, w - 15, 2, 2]."""
    gx = cv2.Sobel(flat, cv2.CV_32F, 1, 0, scale=1 / 8)
    gy = cv2.Sobel(flat, cv2.CV_32F, 0, 1, scale=1 / 8)
    products = np.stack([gx * gx, gx * gy, gx * gy, gy * gy], axis=-1)
    sums = cv2.boxFilter(products, cv2.CV_32F, (BLOCK, BLOCK), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    return cast(Floats, sums[: 1 - BLOCK, : 1 - BLOCK].reshape(*(n - BLOCK + 1 for n in flat.shape), 2, 2))


def _informing(tensors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Structure tensors, [n, 2, 2], of trace 1 and without what an edge pretends to know along itself."""
    values, vectors = np.linalg.eigh(tensors)
    values = np.where(values < EDGE * values[:, -1:], 0.0, values)
    values /= np.maximum(values.sum(axis=1, keepdims=True), 1e-9)
    return cast(NDArray[np.float64], np.einsum("nik,nk,njk->nij", vectors, values, vectors))


def _places(length: int) -> range:
    return range(REACH, length - BLOCK - REACH + 1, STEP)


def _peak(values: NDArray[Any]) -> float:
    """Where a parabola through three neighbours peaks, from the middle one; 0 at the border."""
    if len(values) < 3:
        return 0.0
    a, b, c = map(float, values)
    bend = a - 2 * b + c
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, (a - c) / (2 * bend)))

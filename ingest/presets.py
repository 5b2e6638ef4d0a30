"""Presets by their pictures: which one a picture shows, and whether it still shows where it did. Pure.

A preset is known by one or more low-resolution luma pictures (by day, by night). A picture shows it when
`KNOWN` of the blocks of one of them are found by `ingest/registration.py` where a dome's return would put
them: at most `SHIFT` and `ZOOM` off.
"""

from collections.abc import Callable, Mapping, Sequence

import cv2
import msgspec
import numpy as np

from ingest.gate import CELLS, Luma, shrink
from ingest.registration import Fit, Floats, Reference, prepared

SHIFT = 0.015
"""Share of the picture's width by which a return to a preset may miss it."""
ZOOM = 0.03
"""Share by which its zoom may."""
KNOWN = 0.3
"""Least share of the reference's blocks that must be found to recognise a preset."""
STRUCTURED = 24.0
"""Least structure (`Reference.structure`, of 72) of a picture that may become a reference."""


class Found(msgspec.Struct, frozen=True):
    """A preset that a picture shows."""

    preset: str
    score: float
    """Share of the reference's blocks that were found, 0 to 1."""
    place: tuple[int, float, float, float]
    """Number of the reference that shows it best; the fit's dx, dy and zoom."""


NOWHERE = Found("", 0.0, (0, 0.0, 0.0, 1.0))


class Presets:
    """A camera's presets, for pictures of one size at a time."""

    def __init__(self, pictures: Mapping[str, Sequence[Luma]]) -> None:
        """`pictures`: of each preset, [h, w] uint8."""
        self._pictures = {preset: tuple(pictures[preset]) for preset in sorted(pictures)}
        self._references: dict[str, list[Reference]] = {}
        self._shape: tuple[int, ...] = ()

    def __contains__(self, preset: str) -> bool:
        return preset in self._pictures

    def fit_to(self, cells: Luma) -> None:
        """Pictures in cells have the shape of this one from now on."""
        if cells.shape == self._shape:
            return
        self._shape = cells.shape
        size = cells.shape[1], cells.shape[0]
        self._references = {
            preset: [Reference(_cells(picture, size)) for picture in pictures]
            for preset, pictures in self._pictures.items()
        }

    def recognise(self, flat: Floats, refused: Callable[[str], bool]) -> Found | None:
        """The preset that a `prepared` picture shows best; None if it shows none, or only `refused` ones."""
        best: Found | None = None
        for preset, references in self._references.items():
            if refused(preset):
                continue
            for n, reference in enumerate(references):
                fit = reference.fit(flat)
                if fit.agree >= KNOWN and _near(fit) and (best is None or fit.agree > best.score):
                    best = Found(preset, fit.agree, (n, fit.dx, fit.dy, fit.zoom))
        return best

    def in_place(self, found: Found, flat: Floats, most: float) -> float:
        """Share of the preset's reference that shows where it did when it was found, to `most` cells."""
        references = self._references.get(found.preset, [])
        n, *place = found.place
        if n >= len(references):
            return 0.0
        dx, dy, zoom = place
        fit = references[n].fit(flat, (dx, dy, zoom))
        return fit.agree if fit.off <= most else 0.0

    def crept(self, preset: str, flat: Floats) -> bool:
        """Whether the picture still shows the preset, but farther off than a return may be."""
        fits = [reference.fit(flat) for reference in self._references.get(preset, ())]
        seen = [fit for fit in fits if fit.agree >= KNOWN]
        return bool(seen) and not _near(max(seen, key=lambda fit: fit.agree))


def same_view(reference: Luma, picture: Luma) -> Fit | None:
    """How `picture` lies to `reference` if a dome at the one would be taken to be at the other; else None.

    Both are luma of any size, [h, w].
    """
    size = _size(picture)
    fit = Reference(_cells(reference, size)).fit(prepared(_cells(picture, size)))
    return fit if fit.agree >= KNOWN and _near(fit) else None


def structured(picture: Luma) -> bool:
    """Whether the picture shows enough to be recognised again."""
    return Reference(_cells(picture, _size(picture))).structure >= STRUCTURED


def _near(fit: Fit) -> bool:
    """Whether a view is no farther off than a dome's return may be."""
    return float(np.hypot(fit.dx, fit.dy)) <= SHIFT * CELLS and abs(fit.zoom - 1) <= ZOOM


def _size(picture: Luma) -> tuple[int, int]:
    return CELLS, max(1, round(CELLS * picture.shape[0] / picture.shape[1]))


def _cells(picture: Luma, size: tuple[int, int]) -> Luma:
    """The picture in cells: `size` is their number across and down."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    cells = shrink(picture) if picture.shape[1] >= 2 * CELLS else picture
    if (cells.shape[1], cells.shape[0]) != size:
        cells = np.asarray(cv2.resize(cells, size, interpolation=cv2.INTER_AREA))
    return cells

"""How the picture lies against its reference from keyframe to keyframe: shifted aside, or shaken? Pure.

Where the edges match as well as ever the shift is none and is not measured. A measured one counts if the
edges match better there than without it.
"""

from ingest import faults
from ingest.faults import Field

SHIFT = 0.03
"""Share of the picture's width from which a steady shift is a turn."""

SHAKE = 0.5
"""Cells from keyframe to keyframe that are shaking."""

_WIDE = 8.0
"""Cells over which nothing shakes."""

_SURE = 8.0
_BETTER = 0.1
_LITTLE = 0.03
_OVERLAP = 0.3
_MATCH = 0.04
"""Less by which the edges may match until the shift is measured; half a cell makes it 0.08."""

_WELL = 0.75
"""How well they have to match in any case."""

_KEPT = 5


class Shifts:
    """The last few shifts, in cells to the right and down."""

    def __init__(self) -> None:
        self.found: list[tuple[int, float, float]] = []
        """Media time and shift of those keyframes that could be measured."""

    def measure(
        self, pts: int, field: Field, reference: tuple[Field, Field], match: tuple[float, float]
    ) -> bool:
        """One keyframe; answers whether its shift is known.

        Args:
            reference: its field and spectrum.
            match: of the edges as they lie, and what is usual.
        """
        at_rest, usual = match
        dx = dy = 0.0
        if at_rest < max(usual - _MATCH, _WELL):
            dx, dy, sure = faults.shift(faults.spectrum(field), reference[1])
            # Planks and fences look alike after a step, so the edges must match better there than here.
            x, y = round(dx), round(dy)
            size = max(abs(x), abs(y))
            least = max(_OVERLAP, at_rest + (_BETTER if size > 1 else _LITTLE)) if size else _OVERLAP
            if sure < _SURE or faults.overlap(field, reference[0], x, y) < least:
                return False
        self.found.append((pts, dx, dy))
        del self.found[:-_KEPT]
        return True

    @property
    def last(self) -> tuple[float, float]:
        """As shares of the picture's width."""
        _, dx, dy = self.found[-1]
        return dx / faults.GRID, dy / faults.GRID

    def aside(self) -> bool | None:
        """Is the last one far? None: it comes and goes, and is rather shaken."""
        _, dx, dy = self.found[-1]
        far = max(abs(dx), abs(dy)) >= SHIFT * faults.GRID
        step = self._steps()[-1] if len(self.found) > 1 else 0.0
        if step < SHAKE or max(abs(dx), abs(dy)) > _WIDE:
            return far
        _, x, y = self.found[-2]
        begins = far and max(abs(x), abs(y)) < SHAKE
        return True if begins else None

    def shaking(self) -> int | None:
        """Media time of the keyframe before the first of several large steps; None: it does not shake."""
        steps = self._steps()[-4:]
        large = [SHAKE <= step < _WIDE for step in steps]
        if sum(large) < 3 or steps[-1] < SHAKE / 2:
            return None
        first = next(n for n, step in enumerate(steps) if step >= SHAKE)
        return self.found[first - len(steps)][0]

    def _steps(self) -> list[float]:
        pairs = zip(self.found, self.found[1:], strict=False)
        return [max(abs(a[1] - b[1]), abs(a[2] - b[2])) for a, b in pairs]

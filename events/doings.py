"""What a target does, in numbers: cells of the picture, logarithmic bins, and the samples of one pass."""

from math import log2
from typing import Literal, NamedTuple

import msgspec

Attribute = Literal["speed", "direction", "size", "dwell", "place", "class", "hour"]
ATTRIBUTES: tuple[Attribute, ...] = ("speed", "direction", "size", "dwell", "place", "class", "hour")

COLUMNS, ROWS = 8, 6
CELLS = COLUMNS * ROWS
_ALIKE = {"car": "vehicle", "truck": "vehicle", "bus": "vehicle", "van": "vehicle"} | {
    "bicycle": "two-wheeler",
    "motorcycle": "two-wheeler",
}


def group_of(label: str) -> str:
    """Classes that detectors take for one another are learned together."""
    return _ALIKE.get(label, label)


class Scale(NamedTuple):
    """Logarithmic bins: position p stands for `least * 2 ** (p / octave)`."""

    first: int
    """Where its bins begin in a cell's table."""
    bins: int
    least: float
    octave: int
    """Bins for each doubling."""

    def position(self, value: float) -> float:
        """Where a value lies, 0 to just below `bins`."""
        if value <= self.least:
            return 0.0
        return min(self.octave * log2(value / self.least), self.bins - 1e-6)

    def value(self, position: float) -> float:
        """The value at a position."""
        return self.least * float(2.0 ** (position / self.octave))


SPEED = Scale(1, 25, 0.1, 3)
"""Body heights (or metres, on calibrated ground) per second."""
SECTORS = 8
FIRST_SECTOR = 26
SIZE = Scale(34, 18, 1 / 64, 3)
"""Height as a share of the picture's."""
STAY = Scale(52, 15, 1.0, 1)
"""Seconds within about one and a half body heights."""
WIDTH = 67
"""Numbers in a cell's table: visits, then the bins of speed, sector, size and stay."""


class Doing(NamedTuple):
    """What a target does, over a moment."""

    group: str
    x: float
    y: float
    """Foot point, fractions of the picture."""
    speed: float | None
    """None: not known."""
    heading: float | None
    """Degrees clockwise from straight up in the picture; None: it hardly moves."""
    size: float | None
    stay_s: float
    hour: float
    """Local time of day."""


class Passed(msgspec.Struct):
    """What is to be learned of one pass."""

    group: str
    hour: int
    samples: dict[int, int] = {}
    """Packed cell, speed, sector and size -> how often."""
    stays: dict[int, int] = {}
    """Cell -> bin of the longest stay."""


MOST_SAMPLES = 24
"""Different samples that are kept of one pass."""


def cell_of(x: float, y: float) -> int:
    """The cell of a point given in fractions of the picture."""
    column = min(max(int(x * COLUMNS), 0), COLUMNS - 1)
    return min(max(int(y * ROWS), 0), ROWS - 1) * COLUMNS + column


def sector_of(heading: float) -> int:
    """0 is up in the picture, 2 to the right, 4 down, 6 to the left."""
    return round(heading * SECTORS / 360) % SECTORS


def note(passed: Passed, doing: Doing) -> None:
    """Add a moment to a pass."""
    cell = cell_of(doing.x, doing.y)
    speed = -1 if doing.speed is None else int(SPEED.position(doing.speed))
    sector = -1 if doing.heading is None else sector_of(doing.heading)
    size = -1 if doing.size is None else int(SIZE.position(doing.size))
    packed = ((cell * 32 + speed + 1) * 16 + sector + 1) * 32 + size + 1
    if packed in passed.samples or len(passed.samples) < MOST_SAMPLES:
        passed.samples[packed] = passed.samples.get(packed, 0) + 1
    stay = int(STAY.position(doing.stay_s))
    passed.stays[cell] = max(passed.stays.get(cell, 0), stay)


def unpacked(packed: int) -> tuple[int, int, int, int]:
    """Cell, speed, sector and size; -1: not known."""
    packed, size = divmod(packed, 32)
    packed, sector = divmod(packed, 16)
    cell, speed = divmod(packed, 32)
    return cell, speed - 1, sector - 1, size - 1

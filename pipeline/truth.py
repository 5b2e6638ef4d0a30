"""What is known of a labelled clip: who was where, and what truly crossed a line.

A truth file has MOTChallenge's form, one box a line: `frame,id,x,y,w,h,conf[,class,visibility]`; the first
frame is 1. What crossed is said by `true_crossings` alone; it shares no code with the product's counter.
"""

from collections.abc import Mapping, Sequence
from math import hypot
from pathlib import Path

from events.errors import ConfigError
from events.observations import Box

Point = tuple[float, float]
Line = tuple[Point, Point]
"""From a to b, pixels. `in` is from the left of a->b to its right, as in `events/counting.py`."""
Truth = Mapping[int, Mapping[int, Box]]
"""Frame number from 0 -> identity -> box."""
Ways = Mapping[int, Sequence[Point]]
"""Identity -> its foot points in order of time."""

DEAD_BAND_PX = 8.0


def read_truth(path: Path) -> dict[int, dict[int, Box]]:
    """Ground truth in MOTChallenge's form. Lines with conf 0, and of MOT16's classes all but 1, are left out.

    Raises:
        ConfigError: the file cannot be read, or a line is not of that form.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"ground truth {path}: {error}") from error
    truth: dict[int, dict[int, Box]] = {}
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            frame, identity, x, y, w, h, *rest = (float(v) for v in line.split(","))
            box = Box(x, y, x + w, y + h)
        except ValueError as error:
            raise ConfigError(
                f"ground truth {path}, line {n}: needs frame,id,x,y,w,h,conf ({error})"
            ) from error
        if frame < 1 or frame != int(frame) or identity != int(identity):
            raise ConfigError(
                f"ground truth {path}, line {n}: frames count from 1, and ids are whole numbers"
            )
        if (rest and rest[0] == 0) or (len(rest) == 3 and rest[1] != 1):
            continue
        truth.setdefault(int(frame) - 1, {})[int(identity)] = box
    if not truth:
        raise ConfigError(f"ground truth {path}: holds no boxes")
    return truth


def ways_of(truth: Truth) -> dict[int, list[Point]]:
    """The foot points of each identity, in order of time."""
    ways: dict[int, list[Point]] = {}
    for frame in sorted(truth):
        for identity, box in truth[frame].items():
            ways.setdefault(identity, []).append(box.foot)
    return ways


def true_crossings(ways: Ways, line: Line, dead_band_px: float = DEAD_BAND_PX) -> tuple[int, int]:
    """How often the line was truly crossed: (in, out).

    The rule, in full: a way is on a side of the line while its foot point is farther than the dead band from
    the infinite line. From its last point on one side to its first on the other, the straight steps between
    cut the infinite line an odd number of times; if the steps cut the *finite* line (end points included) an
    odd number of times, that is one crossing, in the direction of the side that is reached.
    """
    (ax, ay), (bx, by) = line
    length = hypot(bx - ax, by - ay)
    crossed = {1: 0, -1: 0}
    for way in ways.values():
        side, cuts = 0, 0
        before: tuple[float, float, float] | None = None
        for x, y in way:
            off = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / length
            if before is not None and (before[2] > 0) != (off > 0):
                part = before[2] / (before[2] - off)
                cx, cy = before[0] + (x - before[0]) * part, before[1] + (y - before[1]) * part
                along = ((cx - ax) * (bx - ax) + (cy - ay) * (by - ay)) / length**2
                cuts += 0 <= along <= 1
            before = (x, y, off)
            if abs(off) > dead_band_px:
                now = 1 if off > 0 else -1
                if side == -now and cuts % 2:
                    crossed[now] += 1
                side, cuts = now, 0
    return crossed[1], crossed[-1]

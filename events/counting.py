"""Counting at lines: once per real crossing, by where the foot point goes.

Direction, in the picture as it is seen (y grows downwards), for somebody who stands at `a` and looks to `b`:

                 in  = from the left of a->b to its right
        left      |
    a ------------+-----------> b
        right     v             out = the other way

A track is *on a side* once its foot point was farther from the infinite line than the dead band; within the
band it stays on the side it came from, so jitter cannot count. It is counted when it gets on the other
side, provided the way it took since cuts the finite line more often in that direction than in the other
(the end points belong to the line). From that follow the hard cases:

* it straddles the line, or stands on it: the foot point alone decides, and only beyond the band;
* it turns back within the band: cuts cancel out, nothing is counted;
* it goes to and fro: each full passage counts, once;
* it passes round an end: it changes sides without a cut, nothing is counted;
* it jumps over the whole band between two frames, or comes back after a gap: the straight way between counts;
* it appears within the band: it has no side yet, gets one when it leaves the band, and nothing is counted,
  since nobody saw it come;
* it vanishes within the band: nothing is counted, unless its successor (see `events/targets.py`) ends the
  passage.

The band is `dead_band_px` or 6 % of the object's height, whichever is more: the noise of a detector's box
grows with the box.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from events.geometry import Point, Segment
from events.observations import Observation
from events.targets import Targets

Direction = Literal["in", "out"]

BAND_OF_HEIGHT = 0.06
"""Dead band as a share of the object's height, where that is more than the given pixels."""


class Crossed(NamedTuple):
    """A crossing as the counter sees it."""

    pts: int
    track: int
    label: str
    direction: Direction
    at: Point
    """Where the way cut the line, pixels."""
    occurrence: int
    """Counts the crossings of this track at this line from 0."""


class Walk(msgspec.Struct):
    """One track's way relative to the line."""

    x: float
    y: float
    d: float
    side: int = 0
    """-1 left, 1 right, 0 not yet known."""
    net: int = 0
    """Cuts of the finite line since the track was last beyond the band: to the right less to the left."""
    at: Point = (0.0, 0.0)
    count: int = 0


class CrossingCounter:
    """Counts tracks over one finite line from `a` to `b`, in pixels.

    Feed it detected foot points only, no predictions, in order of media time for each track. It takes
    `track` as the object: for tracks that change their ordinal use the serials of `events.targets.Targets`.
    """

    def __init__(self, a: Point, b: Point, dead_band_px: float = 8.0) -> None:
        self._line = Segment(a, b)
        self._band = dead_band_px
        self.walks: dict[int, Walk] = {}

    def update(
        self, pts: int, track: int, label: str, foot: Point, box_height: float = 0.0
    ) -> Crossed | None:
        """The track was seen with its foot point there; answers its crossing if this completes one."""
        x, y = foot
        line = self._line
        d = line.distance(x, y)
        band = max(self._band, BAND_OF_HEIGHT * box_height)
        side = 1 if d > band else -1 if d < -band else 0
        walk = self.walks.get(track)
        if walk is None:
            self.walks[track] = Walk(x=x, y=y, d=d, side=side)
            return None
        if (walk.d > 0) != (d > 0):
            part = walk.d / (walk.d - d)
            cut = (walk.x + (x - walk.x) * part, walk.y + (y - walk.y) * part)
            if -1e-9 <= line.along(*cut) <= 1 + 1e-9:
                walk.net += 1 if d > 0 else -1
                walk.at = cut
        walk.x, walk.y, walk.d = x, y, d
        if side == 0:
            return None
        crossed = None
        if walk.side == -side and walk.net * side > 0:
            crossed = Crossed(pts, track, label, "in" if side > 0 else "out", walk.at, walk.count)
            walk.count += 1
        walk.side, walk.net = side, 0
        return crossed

    def ended(self, track: int) -> None:
        """The track will not be seen again."""
        self.walks.pop(track, None)


def crossings(
    observations: Iterable[Observation],
    a: Point,
    b: Point,
    dead_band_px: float = 8.0,
    labels: tuple[str, ...] = ("person",),
) -> Iterator[Crossed]:
    """Crossings of one line (pixels) in one epoch's observations, just as the engine counts them.

    `Crossed.track` is the target's serial.
    """
    targets = Targets()
    counter = CrossingCounter(a, b, dead_band_px)
    for obs in observations:
        for t in targets.update(obs):
            if t.label in labels:
                crossed = counter.update(obs.pts, t.serial, t.label, (t.x, t.y), t.height)
                if crossed:
                    yield crossed
        for serial in targets.gone:
            counter.ended(serial)

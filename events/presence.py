"""Who is in a zone, with hysteresis in space and in time.

A target is in when its foot point is inside the polygon, and out when that is outside by more than a margin
(8 px or 6 % of its height). While it is not detected it counts as present for `lost_s`, so a missed
detection or an occlusion does not end a stay.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from events.counting import BAND_OF_HEIGHT
from events.geometry import Point, Polygon, in_pixels
from events.media import ticks
from events.scene import Scene
from events.targets import Target

MARGIN_PX = 8.0


class Member(msgspec.Struct):
    """A target's stay in the zone. Times without unit are analysed media ticks."""

    label: str
    since: int
    since_us: int
    last: int
    """When it was last detected inside."""
    missed: int = 0
    """In so many scenes since then it was not there."""


class Change(NamedTuple):
    """What one step changed."""

    entered: list[Target]
    left: list[int]
    """Serials."""
    inside: list[Target]
    """Detected now and in the zone, by serial."""


class Presence:
    """Keeps the members of one zone.

    polygon: corners as fractions of the picture.
    """

    def __init__(self, polygon: Sequence[Point], labels: Sequence[str], lost_s: float = 3.0) -> None:
        self.members: dict[int, Member] = {}
        self._corners = polygon
        self._labels = frozenset(labels)
        self._lost = ticks(lost_s)
        self._polygon = Polygon(polygon)

    def scale(self, size: tuple[int, int]) -> None:
        """The analysed picture has this size now."""
        self._polygon = Polygon(in_pixels(self._corners, size))

    def holds(self, target: Target, member: bool) -> bool:
        """Whether the target is in, given whether it was."""
        if self._polygon.contains(target.x, target.y):
            return True
        margin = max(MARGIN_PX, BAND_OF_HEIGHT * target.height)
        return member and self._polygon.distance(target.x, target.y) <= margin

    def step(self, scene: Scene) -> Change:
        """Bring the members up to the scene."""
        entered: list[Target] = []
        left: list[int] = []
        inside: list[Target] = []
        members = self.members
        for target in scene.seen:
            if target.label not in self._labels:
                continue
            member = members.get(target.serial)
            if self.holds(target, member is not None):
                inside.append(target)
                if member is None:
                    members[target.serial] = Member(
                        target.label, scene.watched, scene.capture_us, scene.watched
                    )
                    entered.append(target)
                else:
                    member.last, member.missed = scene.watched, 0
            elif member is not None:
                left.append(target.serial)
        there = {target.serial for target in inside}
        for serial, member in members.items():
            if serial not in there:
                member.missed += 1
                # where frames are seconds apart, one missed detection is no loss
                lost = scene.watched - member.last > self._lost and member.missed > 1
                if lost or serial in scene.gone:
                    left.append(serial)
        left = sorted(set(left))
        for serial in left:
            del members[serial]
        return Change(entered, left, inside)

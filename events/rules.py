"""The rules of a camera, as a site's TOML gives them: frozen, checked at birth.

    [[camera.rules]]
    kind = "line"
    name = "gate"
    points = [[0.1, 0.6], [0.9, 0.6]]     # in: from left of first -> second to its right (events/counting.py)

Coordinates are fractions of the picture, 0 to 1 from its upper left corner. Durations are seconds of
*analysed* media time: a step of the clock, a gap or shed frames do not make them pass. A rule that makes no
sense raises ValueError with a message that names the rule and the mend; `msgspec` adds the place in the
file.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from events.events import Severity
from events.geometry import Point, is_simple, signed_area

VEHICLES = ("car", "truck", "bus", "motorcycle", "bicycle")
LUGGAGE = ("backpack", "handbag", "suitcase")
WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
"""The whole picture as a polygon."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")


class NamedRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the rules of cameras, of sensors and of several of them have."""

    name: str
    """Identifies the rule in events; unique for its camera or sensor."""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(
                f"rule {self.name!r}: a name has lower case letters, digits, '-' and '_' and begins with a "
                "letter or digit, for example 'north-gate'"
            )
        self._check()

    def _check(self) -> None:
        """Refuse what makes no sense for the kind."""

    def _refuse(self, field: str, mend: str) -> None:
        raise ValueError(f"rule {self.name!r}: {field} {mend}")

    def _positive(self, *fields: str) -> None:
        for field in fields:
            if not getattr(self, field) > 0:
                self._refuse(field, f"must be above 0, not {getattr(self, field)}")

    def _not_negative(self, *fields: str) -> None:
        for field in fields:
            if not getattr(self, field) >= 0:
                self._refuse(field, f"must not be below 0, as {getattr(self, field)} is")


class _Rule(NamedRule, frozen=True, kw_only=True, tag_field="kind"):
    """What all rules of a camera have."""

    labels: tuple[str, ...] = ("person",)
    """Classes it is about."""
    severity: Severity = "minor"
    preset: str = ""
    """The view that it belongs to: needed for a dome, empty for a camera that does not move."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.labels or not all(self.labels) or len(set(self.labels)) < len(self.labels):
            self._refuse("labels", 'names each class once and at least one, for example ["person"]')

    def _inside(self, field: str, points: Sequence[Point]) -> None:
        if not all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points):
            self._refuse(field, "are fractions of the picture from 0 to 1: divide pixels by its size")


class _Area(_Rule, frozen=True, kw_only=True):
    """A rule about a part of the picture."""

    polygon: tuple[Point, ...] = WHOLE
    """Corners in order, at least three; edges do not cross."""

    def _check(self) -> None:
        self._inside("polygon's corners", self.polygon)
        if len(self.polygon) < 3:
            self._refuse("polygon", f"needs at least 3 corners, not {len(self.polygon)}")
        if not is_simple(self.polygon):
            self._refuse("polygon", "crosses or touches itself: give its corners in order, each once")
        if abs(signed_area(self.polygon)) < 1e-6:
            self._refuse("polygon", "has no area: move its corners apart")
        self._check_area()

    def _check_area(self) -> None:
        """Refuse what makes no sense for the kind."""


class Line(_Rule, frozen=True, kw_only=True, tag="line"):
    """Counts crossings of a finite line, in and out, by class; at will each raises an alert."""

    points: tuple[Point, ...]
    """The two ends, a and b."""
    dead_band_px: float = 8.0
    """Pixels of the analysed picture within which an object keeps its side."""
    alert_on: Literal["never", "in", "out", "both"] = "never"
    """Which crossings raise an alert."""
    clear_s: float = 10.0
    """An alert is cleared so long after the crossing."""
    severity: Severity = "info"

    def _check(self) -> None:
        self._inside("points", self.points)
        if len(self.points) != 2 or self.points[0] == self.points[1]:
            self._refuse("points", "are two different ends, for example [[0.1, 0.5], [0.9, 0.5]]")
        self._not_negative("dead_band_px", "clear_s")


class Zone(_Area, frozen=True, kw_only=True, tag="zone"):
    """Counts who is in an area: largest number, mean number and entries of each interval. No alerts."""

    severity: Severity = "info"


class Intrusion(_Area, frozen=True, kw_only=True, tag="intrusion"):
    """Somebody is where nobody should be."""

    dwell_s: float = 1.0
    """So long inside before it is an alert."""
    clear_s: float = 5.0
    """So long outside before it is over."""
    severity: Severity = "major"

    def _check_area(self) -> None:
        self._not_negative("dwell_s", "clear_s")


class Loitering(_Area, frozen=True, kw_only=True, tag="loitering"):
    """Somebody stays in an area for long."""

    dwell_s: float = 60.0
    """So long inside before it is an alert."""
    clear_s: float = 10.0
    """So long outside before it is over."""

    def _check_area(self) -> None:
        self._positive("dwell_s")
        self._not_negative("clear_s")


class Crowd(_Area, frozen=True, kw_only=True, tag="crowd"):
    """Many are in an area for a while."""

    count: int = 10
    """So many make a crowd."""
    clear_count: int | None = None
    """So many or fewer are none any more; by default four fifths of `count`."""
    for_s: float = 10.0
    """So long before it is an alert."""
    clear_s: float = 10.0
    """So long dispersed before it is over."""
    severity: Severity = "major"

    @property
    def low(self) -> int:
        """The number at which the crowd has dispersed."""
        return self.clear_count if self.clear_count is not None else self.count * 4 // 5

    def _check_area(self) -> None:
        if self.count < 1 or not 0 <= self.low < self.count:
            self._refuse("clear_count", f"must be from 0 to below count, not {self.low} of {self.count}")
        self._not_negative("for_s", "clear_s")


class WrongWay(_Area, frozen=True, kw_only=True, tag="wrong_way"):
    """Something goes against the direction of an area."""

    direction: Point
    """The allowed direction as a step in the picture, in fractions of it: [0, 1] is straight down."""
    distance: float = 0.1
    """So far against it before it is an alert, as a fraction of the picture's height."""
    angle: float = 60.0
    """Degrees by which a way may differ from straight against."""
    clear_s: float = 5.0
    """So long gone, or going back, before it is over."""
    labels: tuple[str, ...] = VEHICLES
    severity: Severity = "major"

    def _check_area(self) -> None:
        if self.direction == (0, 0):
            self._refuse("direction", "must point somewhere, for example [0, 1] for down the picture")
        self._positive("distance")
        if not 0 < self.angle <= 90:
            self._refuse("angle", f"is from above 0 to 90 degrees, not {self.angle}")
        self._not_negative("clear_s")


class Stationary(_Area, frozen=True, kw_only=True, tag="stationary"):
    """Something stays where it is: a bag left behind, a vehicle parked for long, a stall on the roadway."""

    for_s: float = 300.0
    """So long on the spot before it is an alert."""
    radius: float = 0.25
    """It is still on the spot within this share of its box's longer side (and at least 8 px)."""
    clear_s: float = 5.0
    """So long off the spot before the alert is over."""
    absent_s: float = 30.0
    """So long not detected, behind a passing bus for example, and still taken to be there."""
    grace_s: float = 120.0
    """A loss of the stream up to this long keeps what stood; it must then be seen again within `absent_s`."""
    labels: tuple[str, ...] = (*VEHICLES, *LUGGAGE)

    def _check_area(self) -> None:
        self._positive("for_s", "radius", "absent_s")
        self._not_negative("clear_s", "grace_s")


class Anomaly(_Area, frozen=True, kw_only=True, tag="anomaly"):
    """Something is unusual here, by what the camera has learned: its speed, direction, size, dwell, place,
    class or hour (`events/learned.py`). Changing `labels`, `polygon`, `preset` or `utc_offset_h` makes it
    forget what it learned; changing the rest does not."""

    rate: float = 0.5
    """So many alerts a day that nobody confirms are accepted: the limits are set by it."""
    warmup_h: float = 24.0
    """Hours that must have been watched before the first alert."""
    warmup_passes: int = 200
    """Objects that must have passed before the first alert."""
    half_life_days: float = 14.0
    """Watched days after which what was learned weighs half."""
    utc_offset_h: float = 8.0
    """Local time less UTC, hours, for the time of day."""
    clear_s: float = 5.0
    """So long as usual, or gone, before it is over."""
    labels: tuple[str, ...] = ("person", *VEHICLES)

    def _check_area(self) -> None:
        self._positive("rate", "half_life_days")
        self._not_negative("warmup_h", "warmup_passes", "clear_s")
        if not -12 <= self.utc_offset_h <= 14:
            self._refuse("utc_offset_h", f"is from -12 to 14 hours, not {self.utc_offset_h}")


Rule = Line | Zone | Intrusion | Loitering | Crowd | WrongWay | Stationary | Anomaly

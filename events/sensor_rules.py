"""The rules of a sensor, as a site's TOML gives them: frozen, checked at birth.

    [[sensor.rules]]
    kind = "threshold"
    name = "flooded"
    quantity = "level"
    above = 1.5           # in the quantity's unit
    clear_above = 1.3
    for_s = 30

Limits are in the unit of the quantity, durations in seconds between the times at which readings were
*measured*; a value holds until the next one is measured. A rule that makes no sense raises ValueError with a
message that names the rule and the mend.
"""

from math import isfinite

from events.events import Severity
from events.rules import NamedRule


class _SensorRule(NamedRule, frozen=True, kw_only=True, tag_field="kind"):
    """What all rules of a sensor have."""

    quantity: str
    """Which of the sensor's quantities it is about."""
    severity: Severity = "minor"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.quantity:
            self._refuse("quantity", "must say what it is about, for example 'level'")

    def _finite(self, *fields: str) -> None:
        for field in fields:
            value = getattr(self, field)
            if value is not None and not isfinite(value):
                self._refuse(field, f"must be a number, not {value}")


class _Lasting(_SensorRule, frozen=True, kw_only=True):
    """A rule whose condition has to last."""

    for_s: float = 0.0
    """So long before it is an alert."""
    clear_s: float = 0.0
    """So long as usual again before it is over."""

    def _check(self) -> None:
        self._finite("for_s", "clear_s")
        self._not_negative("for_s", "clear_s")
        self._check_limits()

    def _check_limits(self) -> None:
        """Refuse what makes no sense for the kind."""


class Threshold(_Lasting, frozen=True, kw_only=True, tag="threshold"):
    """A value is above one limit, or below another."""

    above: float | None = None
    """An alert if the value is above this. Of what is 0 or 1: 0.5."""
    below: float | None = None
    """An alert if the value is below this."""
    clear_above: float | None = None
    """What was above is over at this or less; by default at `above`."""
    clear_below: float | None = None
    """What was below is over at this or more; by default at `below`."""

    def _check_limits(self) -> None:
        self._finite("above", "below", "clear_above", "clear_below")
        above, below = self.above, self.below
        if above is None and below is None:
            self._refuse("above", "or below must be given, for example above = 1.5")
        if above is not None and below is not None and below >= above:
            self._refuse("below", f"must be less than above, not {below} to {above}: every value is an alert")
        if self.clear_above is not None and (above is None or self.clear_above > above):
            self._refuse("clear_above", f"must be at most above, not {self.clear_above} to {above}")
        if self.clear_below is not None and (below is None or self.clear_below < below):
            self._refuse("clear_below", f"must be at least below, not {self.clear_below} to {below}")


class Rate(_Lasting, frozen=True, kw_only=True, tag="rate"):
    """A value rises or falls too fast.

    A reading is compared with the newest one that is at least `window_s` older, so that noise is spread over
    that time; before there is such a one, nothing is said.
    """

    rise_per_min: float | None = None
    """An alert if it rises by more than this in a minute."""
    fall_per_min: float | None = None
    """An alert if it falls by more than this in a minute."""
    window_s: float = 60.0
    """Over how long the change is measured."""

    def _check_limits(self) -> None:
        if self.rise_per_min is None and self.fall_per_min is None:
            self._refuse("rise_per_min", "or fall_per_min must be given, for example rise_per_min = 0.1")
        given = [f for f in ("rise_per_min", "fall_per_min") if getattr(self, f) is not None]
        self._finite("rise_per_min", "fall_per_min", "window_s")
        self._positive("window_s", *given)


class Deviation(_Lasting, frozen=True, kw_only=True, tag="deviation"):
    """A value is far from what it usually is: a robust z-score.

    z = (value - median) / spread over the last `window_s`, where the spread is 1.4826 times the median of the
    absolute deviations from the median (MAD). Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers
    (1993), who advise 3.5. Where more than half of the values are equal, MAD is 0; then the spread is the
    smallest step between two different values, which is the sensor's resolution. Where all are equal nothing
    is said, unless `least_spread` is given.

    The window is cut into 240 parts, of each of which the last value counts. So a burst of readings weighs no
    more than its time, and a level that lasts for half of the window has become usual.
    """

    z: float = 3.5
    """An alert if the value is so many spreads from the median or more, above or below."""
    clear_z: float | None = None
    """It is over at so many or fewer; by default four fifths of `z`."""
    window_s: float = 3600.0
    """Over how long the median is taken."""
    samples: int = 30
    """So many values are needed before anything is said."""
    least_spread: float = 0.0
    """The spread is taken to be at least this: the sensor's resolution, or what is of no importance."""

    @property
    def low(self) -> float:
        """The z-score at which it is over."""
        return self.clear_z if self.clear_z is not None else self.z * 0.8

    def _check_limits(self) -> None:
        self._finite("z", "clear_z", "window_s", "least_spread")
        self._positive("z", "window_s")
        self._not_negative("least_spread")
        if not 0 <= self.low <= self.z:
            self._refuse("clear_z", f"must be from 0 to z, not {self.low} of {self.z}")
        if not 3 <= self.samples <= 240:
            self._refuse("samples", f"must be from 3 to 240, not {self.samples}")


class Silence(_SensorRule, frozen=True, kw_only=True, tag="silence"):
    """Nothing is heard of a quantity. Counted by arrival, while the box listens."""

    for_s: float
    """No reading for so long is an alert: a few times the sensor's own interval."""
    severity: Severity = "info"

    def _check(self) -> None:
        self._finite("for_s")
        self._positive("for_s")


SensorRule = Threshold | Rate | Deviation | Silence

"""The conditions of a sensor's rules: is a value as usual, or not, and by how much?

A condition is given the readings of one quantity in the order in which they were measured. What it remembers
is small and bounded: a part of its window is one value.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import copysign, isfinite
from statistics import median
from typing import Any, NamedTuple

from events.sensor_rules import Deviation, Rate, Silence, Threshold

PARTS = 240
"""A window is cut into so many parts."""

MAD_SCALE = 1.4826
"""Standard deviation of normal values over their median absolute deviation."""

Sample = tuple[int, float]
"""Time of measurement in microseconds, and value."""

Detail = dict[str, float | str]


class Finding(NamedTuple):
    """What a value is found to be."""

    side: str
    """above, below, rise, fall; empty: as usual."""
    excess: float
    """How far out it is; comparable within the side."""
    detail: Detail


USUAL = Finding("", 0.0, {})
UNSURE = Finding("?", 0.0, {})
"""There is too little to compare with: nothing changes."""


class Condition:
    """Base. `memory` is all that it remembers, oldest first."""

    def __init__(self, rule: Any, unit: str) -> None:
        self.memory: list[Sample] = []
        self.rule = rule
        self._unit = unit

    def look(self, time_us: int, value: float, side: str) -> Finding:
        """Judge a reading, and remember it. `side`: on which an alert is open; empty: on none.

        An open alert has hysteresis; on the way to one the full limit counts.
        """
        raise NotImplementedError

    def _detail(self, value: float, figures: Detail, why: str) -> Detail:
        named: Detail = {"value": figure(value)} | figures | {"why": why}
        return named | {"unit": self._unit} if self._unit else named

    def _says(self, value: float) -> str:
        """A value with its unit."""
        return f"{figure(value):g} {self._unit}".rstrip()


class ThresholdCondition(Condition):
    """See `events.sensor_rules.Threshold`."""

    rule: Threshold

    def look(self, time_us: int, value: float, side: str) -> Finding:
        rule = self.rule
        high, low = rule.above, rule.below
        if high is not None and value > (_or(rule.clear_above, high) if side == "above" else high):
            return self._found("above", value, high)
        if low is not None and value < (_or(rule.clear_below, low) if side == "below" else low):
            return self._found("below", value, low)
        return USUAL

    def _found(self, side: str, value: float, limit: float) -> Finding:
        why = f"{self.rule.quantity} is {self._says(value)}, {side} the limit of {self._says(limit)}"
        excess = value - limit if side == "above" else limit - value
        return Finding(side, figure(excess), self._detail(value, {"limit": figure(limit)}, why))


class RateCondition(Condition):
    """See `events.sensor_rules.Rate`."""

    rule: Rate

    def __init__(self, rule: Rate, unit: str) -> None:
        super().__init__(rule, unit)
        self._window = round(rule.window_s * 1e6)
        self._part = max(self._window // PARTS, 1)

    def look(self, time_us: int, value: float, side: str) -> Finding:
        memory = self.memory
        old = time_us - self._window
        while len(memory) > 1 and memory[1][0] <= old:
            del memory[0]
        found = self._compare(memory[0], time_us, value) if memory and memory[0][0] <= old else UNSURE
        if memory and memory[-1][0] // self._part == time_us // self._part:
            memory.pop()
        memory.append((time_us, value))
        return found

    def _compare(self, before: Sample, time_us: int, value: float) -> Finding:
        over_us = time_us - before[0]
        per_min = (value - before[1]) * 60e6 / over_us
        limit = self.rule.rise_per_min if per_min > 0 else self.rule.fall_per_min
        if limit is None or abs(per_min) <= limit:
            return USUAL
        side = "rise" if per_min > 0 else "fall"
        over_s = round(over_us / 1e6, 1)
        why = (
            f"{self.rule.quantity} {'rose' if per_min > 0 else 'fell'} by {self._says(abs(per_min))} "
            f"a minute over {over_s:g} s, from {figure(before[1]):g} to {self._says(value)}; "
            f"the limit is {limit:g}"
        )
        figures: Detail = {"rate_per_min": figure(per_min), "limit": figure(limit), "over_s": over_s}
        return Finding(side, figure(abs(per_min)), self._detail(value, figures, why))


class Usual(NamedTuple):
    """What values usually are."""

    median: float
    spread: float
    samples: int


class DeviationCondition(Condition):
    """See `events.sensor_rules.Deviation`. The part that a reading falls into is not compared with."""

    rule: Deviation

    def __init__(self, rule: Deviation, unit: str) -> None:
        super().__init__(rule, unit)
        self._part = max(round(rule.window_s * 1e6) // PARTS, 1)
        self._known: tuple[int, Usual | None] | None = None
        """What was usual before the part with this number; a new part is the only thing that changes it."""

    def look(self, time_us: int, value: float, side: str) -> Finding:
        part = time_us // self._part
        if self._known is None or self._known[0] != part:
            self._known = part, self._usual(part)
        usual = self._known[1]
        found = UNSURE if usual is None else self._compare(usual, value, side)
        memory = self.memory
        if memory and memory[-1][0] // self._part == part:
            memory.pop()
        memory.append((time_us, value))
        return found

    def _usual(self, part: int) -> Usual | None:
        memory, first = self.memory, part - PARTS
        gone = 0
        while gone < len(memory) and memory[gone][0] // self._part < first:
            gone += 1
        del memory[:gone]
        values = [value for time_us, value in memory if time_us // self._part < part]
        if len(values) < self.rule.samples:
            return None
        middle, spread = centre_and_spread(values)
        return Usual(middle, max(spread, self.rule.least_spread), len(values))

    def _compare(self, usual: Usual, value: float, side: str) -> Finding:
        off = value - usual.median
        if off == 0:
            return USUAL
        if usual.spread == 0:
            return UNSURE
        z, rule = off / usual.spread, self.rule
        found = "above" if z > 0 else "below"
        if abs(z) <= rule.low if found == side else abs(z) < rule.z:
            return USUAL
        why = (
            f"{rule.quantity} is {self._says(value)}, {figure(abs(z)):g} spreads of "
            f"{self._says(usual.spread)} {found} the median of {self._says(usual.median)} "
            f"({usual.samples} values over {rule.window_s:g} s); the limit is {rule.z:g}"
        )
        figures: Detail = {
            "z": figure(z),
            "median": figure(usual.median),
            "spread": figure(usual.spread),
            "limit": rule.z,
            "samples": float(usual.samples),
        }
        return Finding(found, figure(abs(z)), self._detail(value, figures, why))


def centre_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Median, and a robust estimate of the standard deviation (see `Deviation`); 0 if all are equal."""
    middle = median(values)
    mad = median([abs(value - middle) for value in values])
    return middle, MAD_SCALE * mad if mad else _step(values)


def _step(values: Sequence[float]) -> float:
    """The smallest step between two different values; 0 if there are none."""
    return min((b - a for a, b in pairwise(sorted(set(values)))), default=0.0)


def silence(rule: Silence) -> Finding:
    """What is said when nothing is heard."""
    why = f"no reading of {rule.quantity} for {rule.for_s:g} s"
    return Finding("silent", rule.for_s, {"silent_s": rule.for_s, "why": why})


def figure(value: float) -> float:
    """Rounded to 6 digits, and finite: an event's JSON has no other numbers."""
    return float(f"{value:.6g}") if isfinite(value) else copysign(1e300, value)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


CONDITIONS: dict[type, type[Any]] = {
    Threshold: ThresholdCondition,
    Rate: RateCondition,
    Deviation: DeviationCondition,
}

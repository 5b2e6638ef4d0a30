"""How the condition of one sensor rule goes on: the life of an alert, driven by readings alone.

The life is the table of `events/alerts.py`; its times are those of measurement. A value holds until the next
one is measured, so a deadline that lies between two readings has passed at its own time, whenever that is
noticed: to advance in one step or in many is the same.
"""

from typing import Any

import msgspec

from events.alerts import State, step
from events.sensor_conditions import CONDITIONS, UNSURE, Condition, Detail, Finding, Sample, silence
from events.sensor_rules import Deviation, Rate, SensorRule, Silence, Threshold

PATIENCE_US = 2_000_000
"""A deadline that no reading has passed runs out so long after it and after the last arrival, on the box's
clock: what was measured before it may be under way, above all while readings of an outage are coming in."""


class Life(msgspec.Struct):
    """An alert, from the first reading that shows it. Times are microseconds since 1970."""

    side: str
    since_us: int
    state: State = "waiting"
    faded_us: int = 0
    """Of the first reading that is as usual again."""
    excess: float = -1.0
    """Of the worst reading."""
    worst_us: int = 0
    detail: Detail = {}


class TrackState(msgspec.Struct):
    """All that follows from the readings up to one."""

    life: Life | None = None
    true_us: int = 0
    """Of the last reading that showed the condition."""
    closed_us: int = 0
    """When the last life ended."""
    memory: list[Sample] = []
    """The condition's."""


class Track:
    """One rule's condition and life, after some reading."""

    def __init__(self, rule: Threshold | Rate | Deviation, unit: str) -> None:
        self.state = TrackState()
        self._rule = rule
        self._unit = unit
        self._condition: Condition = CONDITIONS[type(rule)](rule, unit)
        self._need = round(rule.for_s * 1e6)
        self._clear = round(rule.clear_s * 1e6)

    def look(self, time_us: int, value: float) -> None:
        """The next reading, measured after all before."""
        self._advance(self.state, time_us)
        state = self.state
        life = state.life
        side = life.side if life is not None and life.state == "open" else ""
        found = self._condition.look(time_us, value, side)
        if found is UNSURE:
            return
        if life is not None and life.side != found.side:
            self._lapse(life, found.side, time_us)
        if found.side:
            self._hold(found, time_us)
        self._advance(state, time_us)

    def _lapse(self, life: Life, side: str, time_us: int) -> None:
        if side:  # from too high to too low at once: another alert
            step(life, "stop")
        elif life.state != "fading":
            step(life, "lapse")
            life.faded_us = time_us
        if life.state == "closed":
            self.state.life, self.state.closed_us = None, time_us

    def _hold(self, found: Finding, time_us: int) -> None:
        state = self.state
        life = state.life
        if life is None:
            life = state.life = Life(found.side, time_us)
        elif life.state == "fading":
            step(life, "return")
        state.true_us = time_us
        if found.excess > life.excess:
            life.excess, life.worst_us, life.detail = found.excess, time_us, found.detail

    def _advance(self, state: TrackState, to_us: int) -> None:
        """Let time pass. Time that has passed does nothing."""
        life = state.life
        if life is None or to_us < self._deadline(life):
            return
        if life.state == "waiting":
            step(life, "confirm")
        else:
            step(life, "expire")
            state.life, state.closed_us = None, life.faded_us + self._clear

    def _deadline(self, life: Life) -> int:
        if life.state == "waiting":
            return life.since_us + self._need
        return life.faded_us + self._clear if life.state == "fading" else FOREVER_US

    @property
    def deadline_us(self) -> int:
        """When something changes if no reading comes."""
        return self._deadline(self.state.life) if self.state.life is not None else FOREVER_US

    def at(self, to_us: int) -> TrackState:
        """The state at that time if no reading comes before; to be read only."""
        state = self.state
        if to_us < self.deadline_us:
            return state
        later = msgspec.structs.replace(state, life=_copy(state.life))
        self._advance(later, to_us)
        return later

    def copy(self) -> "Track":
        """Another one that goes on from here."""
        other = Track(self._rule, self._unit)
        kept = self.kept()
        other.go_on(msgspec.structs.replace(kept, life=_copy(kept.life), memory=list(kept.memory)))
        return other

    def kept(self) -> TrackState:
        """The whole state, to go on from."""
        self.state.memory = self._condition.memory
        return self.state

    def go_on(self, state: TrackState) -> None:
        """Go on from a state that `kept` gave."""
        self.state = state
        self._condition.memory = state.memory


class Told(msgspec.Struct):
    """An alert that was raised and not cleared, as it was told."""

    alert: str
    occurrence: int
    """How many alerts the rule had before."""
    side: str
    since_us: int
    of_us: int
    """Since when the life is that it belongs to: a late reading can move that."""
    told_us: int
    """When something was last told."""
    excess: float
    updates: int = 0


class Watch:
    """One rule: what follows from the readings that are settled and from all of them, and what was told."""

    by_tick = False
    """Told by ticks alone."""

    def __init__(self, rule: SensorRule) -> None:
        self.rule: SensorRule = rule
        self.told: Told | None = None

    def settle(self, time_us: int, value: float) -> None:
        """No reading from before this one is taken any more."""

    def look(self, time_us: int, value: float) -> None:
        """The newest reading."""

    def replay(self, readings: list[Sample]) -> None:
        """These are the readings that are not settled."""

    def hear(self, received_us: int) -> None:
        """A reading came."""

    def listen(self, now_us: int, *, again: bool) -> None:
        """Readings can come from now on. `again`: they could not before; else it only says the time."""

    def set_back(self, now_us: int) -> None:
        """The box's clock was set back to this."""

    def present(self, now_us: int) -> TrackState:
        """How things stand, as far as is known; to be read only."""
        raise NotImplementedError

    @property
    def due_us(self) -> int:
        """When something changes if no reading comes, on the box's clock."""
        raise NotImplementedError

    def kept(self) -> dict[str, Any]:
        """The state besides `told`, as msgspec can write it."""
        raise NotImplementedError

    def go_on(self, kept: dict[str, Any]) -> None:
        """Go on from what `kept` gave, before `replay`."""
        raise NotImplementedError


class ValueWatch(Watch):
    """Threshold, rate, deviation: by measurement."""

    def __init__(self, rule: Threshold | Rate | Deviation, unit: str) -> None:
        super().__init__(rule)
        self._settled = Track(rule, unit)
        self._head = Track(rule, unit)
        self._heard_us = 0

    def settle(self, time_us: int, value: float) -> None:
        self._settled.look(time_us, value)

    def look(self, time_us: int, value: float) -> None:
        self._head.look(time_us, value)

    def replay(self, readings: list[Sample]) -> None:
        self._head = self._settled.copy()
        for time_us, value in readings:
            self._head.look(time_us, value)

    def hear(self, received_us: int) -> None:
        self._heard_us = max(self._heard_us, received_us)

    def set_back(self, now_us: int) -> None:
        self._heard_us = min(self._heard_us, now_us)

    def present(self, now_us: int) -> TrackState:
        return self._head.at(now_us - PATIENCE_US) if now_us >= self.due_us else self._head.state

    @property
    def due_us(self) -> int:
        return max(self._head.deadline_us, self._heard_us) + PATIENCE_US

    def kept(self) -> dict[str, Any]:
        return {"settled": self._settled.kept(), "heard_us": self._heard_us}

    def go_on(self, kept: dict[str, Any]) -> None:
        self._settled.go_on(msgspec.convert(kept["settled"], TrackState))
        self._heard_us = int(kept["heard_us"])


class SilenceWatch(Watch):
    """Silence: by arrival."""

    rule: Silence
    by_tick = True

    def __init__(self, rule: Silence) -> None:
        super().__init__(rule)
        self._quiet_us = 0
        """Since when nothing is heard; 0: nobody has listened yet."""
        self._for = round(rule.for_s * 1e6)

    def hear(self, received_us: int) -> None:
        self._quiet_us = max(self._quiet_us, received_us)

    def listen(self, now_us: int, *, again: bool) -> None:
        if not self._quiet_us or (again and self.told is None):
            self._quiet_us = max(self._quiet_us, now_us)

    def set_back(self, now_us: int) -> None:
        self._quiet_us = min(self._quiet_us, now_us)
        if self.told is not None:
            self.told.of_us = self._quiet_us

    def present(self, now_us: int) -> TrackState:
        quiet = self._quiet_us
        if now_us < quiet + self._for and not (self.told is not None and self.told.of_us == quiet):
            return TrackState(true_us=quiet, closed_us=quiet)
        _, excess, detail = silence(self.rule)
        life = Life("silent", quiet, "open", excess=excess, worst_us=quiet + self._for, detail=detail)
        return TrackState(life, quiet, quiet)

    @property
    def due_us(self) -> int:
        return self._quiet_us + self._for if self.told is None else FOREVER_US

    def kept(self) -> dict[str, Any]:
        return {"quiet_us": self._quiet_us}

    def go_on(self, kept: dict[str, Any]) -> None:
        self._quiet_us = int(kept["quiet_us"])


FOREVER_US = 1 << 62


def watch_of(rule: SensorRule, unit: str) -> Watch:
    """The watch for a rule."""
    return SilenceWatch(rule) if isinstance(rule, Silence) else ValueWatch(rule, unit)


def _copy(life: Life | None) -> Life | None:
    return None if life is None else msgspec.structs.replace(life)

"""The engine of one sensor: readings in, alerts out. Pure: no I/O, no clock, no chance.

    engine = SensorEngine("town", "manhole-7", rules)
    engine.listen(now_us)                                      # the broker is connected (again)
    said = engine.feed("level", 1.62, measured_us, arrived_us)
    said += engine.tick(now_us)                                # each second while connected

**Order.** Rules go by the time of measurement. The readings of the last `late_s` are kept, the state before
them is settled. A reading that is older than others goes to its place among them and the rules go over the
kept ones again, so that what is open in the end does not depend on the order of arrival. Only the end is
told: a late reading neither raises nor clears what newer ones have decided otherwise, but it counts for
medians and rates, and it can show that a condition did not hold for so long, or did. What is older than
`late_s` is ignored, and so is what has the time of a reading that is there.

**Time.** The box's clock drives silence, and deadlines that no reading has passed. A deadline has its own
time, so it makes no difference when `tick` is called, or whether it is, before the next reading arrives: who
feeds the same readings again to an engine restored from a snapshot gets the same alerts with the same ids.
The exception is silence, which only `tick` tells: a snapshot belongs to what it said, and after `listen`.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple, cast

import msgspec

from events.alerts import UPDATE_S, step
from events.events import AlertCleared, AlertKind, AlertRaised, AlertUpdated, Place, Reason
from events.ids import event_id
from events.sensor_conditions import Sample
from events.sensor_rules import SensorRule
from events.sensor_tracks import FOREVER_US, Life, Told, TrackState, Watch, watch_of

LATE_S = 300.0
"""How late a reading may come."""

MOST_KEPT = 256
"""So many readings of a quantity are kept at most: of a fast sensor, the window is shorter."""

GREW = 1.5
"""An open alert is updated when it is so many times as far out as was last told."""

LARGEST = 1e100
"""Values are cut to this."""

SET_BACK_US = 60_000_000
"""A clock that is this far behind was set back; less is no matter."""


class Said(NamedTuple):
    """What is to be published, before it gets its number."""

    id: str
    data: AlertRaised | AlertUpdated | AlertCleared
    time_us: int


class _Stream(msgspec.Struct):
    """The readings of one quantity that are not settled, in the order of measurement."""

    floor_us: int = 0
    """Older ones are settled."""
    readings: list[Sample] = []


class _Kept(msgspec.Struct):
    rule: SensorRule
    told: Told | None
    state: dict[str, Any]
    true_us: int


class _Snapshot(msgspec.Struct):
    site: str
    sensor: str
    now_us: int
    occurrences: dict[str, int]
    streams: dict[str, _Stream]
    rules: list[_Kept]


class SensorEngine:
    """Applies a sensor's rules. See the module's text.

    Args:
        site, sensor: as in the events' source.
        rules: their names differ.
        place: where the sensor is; alerts carry it.
        units: of the quantities, for the alerts' words.
        late_s: how late a reading may come; at least what the intake lets in.

    Raises:
        ValueError: two rules have the same name.
    """

    def __init__(
        self,
        site: str,
        sensor: str,
        rules: Sequence[SensorRule],
        *,
        place: Place | None = None,
        units: Mapping[str, str] | None = None,
        late_s: float = LATE_S,
    ) -> None:
        names = [rule.name for rule in rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"sensor {sensor!r} has two rules named {name!r}: rename one")
        self._site, self._sensor, self._place = site, sensor, place
        self._late_us = round(late_s * 1e6)
        self._watches = [watch_of(rule, (units or {}).get(rule.quantity, "")) for rule in rules]
        self._of = {
            rule.quantity: [w for w in self._watches if w.rule.quantity == rule.quantity] for rule in rules
        }
        self._streams = {quantity: _Stream() for quantity in self._of}
        self._occurrences: dict[str, int] = {}
        """How many alerts each rule has had; a rule that is changed goes on counting."""
        self._removed: list[_Kept] = []
        """Rules of the restored snapshot that are no more, with an open alert: cleared with the next call."""
        self._now_us = 0
        self._due_us = 0

    def listen(self, now_us: int) -> None:
        """Readings can come from now on: the start, or the connection is back. Before, silence meant nothing.

        While there is no connection, do not call `tick`.
        """
        for watch in self._watches:
            watch.listen(now_us, again=True)
        self._due_us = 0

    def feed(self, quantity: str, value: float, time_us: int, received_us: int) -> list[Said]:
        """A reading: measured at `time_us`, arrived at `received_us`.

        Of a quantity without a rule, twice, too late, or from more than `late_s` in the future: it only says
        the time.

        Raises:
            ValueError: not a number. Nothing was changed.
        """
        if not isfinite(value):
            raise ValueError(f"sensor {self._sensor!r}: {quantity} of {value} is not a number")
        said = self._pass(received_us, by_tick=False)
        stream = self._streams.get(quantity)
        if stream is None or time_us < stream.floor_us or time_us > received_us + self._late_us:
            return said
        readings = stream.readings
        reading = time_us, min(max(float(value), -LARGEST), LARGEST)
        newest = not readings or time_us > readings[-1][0]
        watches = self._of[quantity]
        if newest:
            readings.append(reading)
            for watch in watches:
                watch.look(*reading)
        else:
            place = bisect_left(readings, (time_us, -LARGEST))
            if readings[place][0] == time_us:
                return said
            readings.insert(place, reading)
            for watch in watches:
                watch.replay(readings)
        for watch in watches:
            watch.hear(received_us)
            self._tell(watch, said, newest)
        self._settle(stream, watches)
        self._due_us = self._next_due()
        return said

    def tick(self, now_us: int) -> list[Said]:
        """The box's clock, microseconds since 1970: time passes. Keep a snapshot with what is said of it."""
        return self._pass(now_us, by_tick=True)

    @property
    def open(self) -> dict[str, str]:
        """The alerts that are raised and not cleared, by rule."""
        return {watch.rule.name: watch.told.alert for watch in self._watches if watch.told is not None}

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        whole = _Snapshot(
            site=self._site,
            sensor=self._sensor,
            now_us=self._now_us,
            occurrences=self._occurrences,
            streams=self._streams,
            rules=[
                *(_Kept(w.rule, w.told, w.kept(), w.present(self._now_us).true_us) for w in self._watches),
                *self._removed,
            ],
        )
        built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))
        return built

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot. A rule that is new or has changed begins anew, with the readings that are
        not settled; the open alert of one that is no more or has changed is cleared as `rule-removed` with
        the next call.

        Raises:
            msgspec.ValidationError: not a snapshot.
            ValueError: it is another sensor's.
        """
        whole = msgspec.convert(state, _Snapshot)
        if (whole.site, whole.sensor) != (self._site, self._sensor):
            raise ValueError(
                f"the snapshot is of sensor {whole.sensor!r} at {whole.site!r}, "
                f"not of {self._sensor!r} at {self._site!r}"
            )
        self._now_us, self._due_us = whole.now_us, 0
        self._occurrences = whole.occurrences
        self._streams = {quantity: whole.streams.get(quantity, _Stream()) for quantity in self._of}
        watches = {watch.rule.name: watch for watch in self._watches}
        self._removed = []
        for kept in whole.rules:
            watch = watches.get(kept.rule.name)
            if watch is not None and watch.rule == kept.rule:
                watch.told = kept.told
                watch.go_on(kept.state)
            elif kept.told is not None:
                self._removed.append(kept)
        for quantity, stream in self._streams.items():
            for watch in self._of[quantity]:
                watch.replay(stream.readings)

    def _pass(self, now_us: int, by_tick: bool) -> list[Said]:
        """Let time pass. Whether there was silence before a reading only ticks can know: they stop while
        nobody listens."""
        if now_us < self._now_us - SET_BACK_US:
            self._now_us, self._due_us = now_us, 0
            for watch in self._watches:
                watch.set_back(now_us)
        self._now_us = max(self._now_us, now_us)
        if self._now_us < self._due_us:
            return []
        said: list[Said] = []
        for kept in self._removed:
            assert kept.told is not None
            self._clear(kept.rule.name, kept.told, "rule-removed", (kept.true_us, self._now_us), said)
        self._removed = []
        for watch in self._watches:
            watch.listen(self._now_us, again=False)
            if by_tick or not watch.by_tick:
                self._tell(watch, said, newest=True)
        self._due_us = self._next_due()
        return said

    def _settle(self, stream: _Stream, watches: Sequence[Watch]) -> None:
        """Let go of readings that are older than any that is still taken."""
        readings = stream.readings
        stream.floor_us = max(stream.floor_us, readings[-1][0] - self._late_us)
        while readings[0][0] < stream.floor_us or len(readings) > MOST_KEPT:
            reading = readings.pop(0)
            stream.floor_us = max(stream.floor_us, reading[0] + 1)
            for watch in watches:
                watch.settle(*reading)

    def _next_due(self) -> int:
        """When there is something to do; what is due by now was done, but for what waits for a tick."""
        dues = [(watch.due_us, watch.by_tick) for watch in self._watches]
        return min((due for due, waits in dues if waits or due > self._now_us), default=FOREVER_US)

    def _tell(self, watch: Watch, said: list[Said], newest: bool) -> None:
        """Say in what the present differs from what was told. `newest`: it follows from a newer reading or
        from the time, not from a late reading."""
        present, told = watch.present(self._now_us), watch.told
        life = present.life
        on = life is not None and life.state in ("open", "fading")
        if told is not None:
            same = on and life is not None and life.side == told.side
            if same and life is not None and not newest:
                told.of_us = life.since_us
            if not same or (life is not None and life.since_us != told.of_us):
                until_us = max(present.true_us, told.since_us)
                times = until_us, max(present.closed_us, until_us)
                self._clear(watch.rule.name, told, "returned", times, said)
                told = watch.told = None
        if on and told is None:
            self._raise(watch, present, said)
        elif told is not None and life is not None and _grew(life, told):
            step(life, "change")
            self._update(watch.rule.name, told, life, said)

    def _raise(self, watch: Watch, present: TrackState, said: list[Said]) -> None:
        rule, life = watch.rule, present.life
        assert life is not None
        occurrence = self._occurrences.get(rule.name, 0)
        self._occurrences[rule.name] = occurrence + 1
        told_us = life.since_us + round(rule.for_s * 1e6)
        alert = self._id(rule.name, life.since_us, "alert", occurrence)
        watch.told = Told(alert, occurrence, life.side, life.since_us, life.since_us, told_us, life.excess)
        data = AlertRaised(
            alert=alert,
            rule=rule.name,
            kind=cast(AlertKind, rule.__struct_config__.tag),
            severity=rule.severity,
            label=rule.quantity,
            since_us=life.since_us,
            detail=life.detail,
            place=self._place,
        )
        said.append(Said(self._id(rule.name, life.since_us, "raised", occurrence), data, told_us))

    def _update(self, rule: str, told: Told, life: Life, said: list[Said]) -> None:
        told.updates += 1
        told.told_us, told.excess = life.worst_us, life.excess
        data = AlertUpdated(alert=told.alert, rule=rule, detail=life.detail, place=self._place)
        id_ = self._id(rule, told.since_us, f"updated-{told.updates}", told.occurrence)
        said.append(Said(id_, data, life.worst_us))

    def _clear(self, rule: str, told: Told, reason: Reason, times: tuple[int, int], said: list[Said]) -> None:
        """`times`: when the condition was last true, and when that was over."""
        data = AlertCleared(alert=told.alert, rule=rule, reason=reason, until_us=times[0])
        said.append(Said(self._id(rule, told.since_us, "cleared", told.occurrence), data, times[1]))

    def _id(self, rule: str, since_us: int, phase: str, occurrence: int) -> str:
        return event_id(self._site, "sensor", self._sensor, rule, since_us, phase, occurrence)


def _grew(life: Life, told: Told) -> bool:
    """Whether an open alert is to be updated."""
    later = life.worst_us - told.told_us >= UPDATE_S * 1e6
    return later and life.state == "open" and life.excess >= GREW * told.excess

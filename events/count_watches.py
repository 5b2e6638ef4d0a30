"""The watches that count: lines and zones, with their totals by interval."""

from collections import Counter
from typing import Any

import msgspec

from events.alerts import Alerts, AlertsState
from events.counting import Crossed, CrossingCounter, Walk
from events.events import Crossing, Interval, Reason
from events.intervals import Closed
from events.presence import Member, Presence
from events.rules import Line, Zone
from events.scene import Draft, Naming, Scene
from events.targets import Target
from events.watch import Watch, evidence


def draft_interval(
    watch: Watch, closed: Closed, epoch: int, counts: dict[str, int], occupancy: dict[str, float]
) -> Draft:
    """A rule's totals of an interval."""
    data = Interval(
        rule=watch.rule.name,
        start_us=closed.start_us,
        end_us=closed.end_us,
        counts=counts,
        occupancy=occupancy,
        observed_s=closed.observed_s,
        preset=watch.rule.preset,
    )
    return Draft(watch.naming.id(epoch, closed.start_us, 0, "interval", closed.number), data)


class LineWatch(Watch):
    """Crossings, their totals by interval, and at will an alert for each."""

    rule: Line

    def __init__(self, naming: Naming, rule: Line) -> None:
        super().__init__(naming, rule)
        self.alerts = Alerts(naming, "crossing", rule.severity, (0.0, rule.clear_s), self.drafts)
        self.totals: dict[str, int] = {}
        self.walks: dict[int, Walk] = {}
        self._labels = frozenset(rule.labels)
        self.scale((1, 1))

    def scale(self, size: tuple[int, int]) -> None:
        w, h = size
        (ax, ay), (bx, by) = self.rule.points
        self._counter = CrossingCounter((ax * w, ay * h), (bx * w, by * h), self.rule.dead_band_px)
        self._counter.walks = self.walks

    def step(self, scene: Scene) -> None:
        if scene.fresh:
            for t in scene.seen:
                if t.label in self._labels:
                    crossed = self._counter.update(scene.pts, t.serial, t.label, (t.x, t.y), t.height)
                    if crossed:
                        self._cross(t, crossed, scene)
        for serial in scene.gone:
            self._counter.ended(serial)
        self.alerts.sweep(scene.watched)
        self.alerts.forget(scene.gone)

    def _cross(self, target: Target, crossed: Crossed, scene: Scene) -> None:
        rule, (w, h) = self.rule, scene.size
        direction, (x, y) = crossed.direction, crossed.at
        key = f"{direction}.{target.label}"
        self.totals[key] = self.totals.get(key, 0) + 1
        event = self.naming.id(scene.epoch, target.first_us, target.serial, direction, crossed.occurrence)
        data = Crossing(
            rule=rule.name,
            direction=direction,
            label=target.label,
            track=target.ordinal,
            at=(round(x / w, 4), round(y / h, 4)),
            place=scene.place(x, y),
            speed_mps=scene.speed_mps(target),
            preset=rule.preset,
        )
        self.drafts.append(Draft(event, data))
        if rule.alert_on in (direction, "both"):
            since = (scene.watched, scene.capture_us)
            shown = evidence(target, scene, {"direction": direction})
            self.alerts.holds(target.serial, since, shown, scene)
            self.alerts.lapses(target.serial, "left")

    def close(self, interval: Closed, epoch: int) -> None:
        names = [f"{way}.{label}" for label in self.rule.labels for way in ("in", "out")]
        counts = {name: self.totals.get(name, 0) for name in names}
        self.totals = {}
        self.drafts.append(draft_interval(self, interval, epoch, counts, {}))

    def end(self, scene: Scene, why: Reason = "stream-ended") -> None:
        self.alerts.stop_all(why, scene.watched)

    def forget(self) -> None:
        self.walks.clear()

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._counter.walks = self.walks

    def _parts(self) -> list[tuple[str, Any, str, Any]]:
        return [
            ("alerts", self.alerts, "state", AlertsState),
            ("totals", self, "totals", dict[str, int]),
            ("walks", self, "walks", dict[int, Walk]),
        ]


class Tally(msgspec.Struct):
    """A zone's totals of the current interval."""

    entered: dict[str, int] = {}
    most: dict[str, int] = {}
    spent: dict[str, int] = {}
    """Ticks of presence by class, summed over the targets."""
    watched: int = 0
    """Analysed ticks of the interval so far."""


class ZoneWatch(Watch):
    """Occupancy by interval. `max` counts targets that were detected at once; the mean bridges short
    losses."""

    rule: Zone

    def __init__(self, naming: Naming, rule: Zone) -> None:
        super().__init__(naming, rule)
        self.presence = Presence(rule.polygon, rule.labels)
        self.tally = Tally()
        self.credited: dict[int, int] = {}
        """Up to when each member's presence is in `spent`."""
        self.there: list[int] = []
        """Serials that the last scene showed inside."""

    def scale(self, size: tuple[int, int]) -> None:
        self.presence.scale(size)

    def elapse(self, ticks: int, watched: int) -> None:
        self.tally.watched += ticks
        for serial in self.there:
            self._credit(serial, watched)

    def _credit(self, serial: int, watched: int) -> None:
        member = self.presence.members[serial]
        # what was missed before the interval began is no part of it
        gained = min(watched - self.credited[serial], self.tally.watched)
        self.tally.spent[member.label] = self.tally.spent.get(member.label, 0) + gained
        self.credited[serial] = watched

    def step(self, scene: Scene) -> None:
        change = self.presence.step(scene)
        tally = self.tally
        for target in change.entered:
            tally.entered[target.label] = tally.entered.get(target.label, 0) + 1
            self.credited[target.serial] = scene.watched
        for serial in change.left:
            self.credited.pop(serial, None)
        self.there = [target.serial for target in change.inside]
        for serial in self.there:
            self._credit(serial, scene.watched)
        self._most(Counter(target.label for target in change.inside))

    def _most(self, now: Counter[str]) -> None:
        most = self.tally.most
        for label, n in now.items():
            if n > most.get(label, 0):
                most[label] = n

    def close(self, interval: Closed, epoch: int) -> None:
        tally, labels = self.tally, self.rule.labels
        self.tally = Tally()
        self._most(Counter(self.presence.members[serial].label for serial in self.there))
        counts = {f"max.{label}": tally.most.get(label, 0) for label in labels}
        counts |= {f"entered.{label}": tally.entered.get(label, 0) for label in labels}
        whole = tally.watched or 1
        occupancy = {label: round(tally.spent.get(label, 0) / whole, 3) for label in labels}
        self.drafts.append(draft_interval(self, interval, epoch, counts, occupancy))

    def forget(self) -> None:
        self.presence.members.clear()
        self.credited.clear()
        self.there = []

    def _parts(self) -> list[tuple[str, Any, str, Any]]:
        return [
            ("members", self.presence, "members", dict[int, Member]),
            ("tally", self, "tally", Tally),
            ("credited", self, "credited", dict[int, int]),
            ("there", self, "there", list[int]),
        ]

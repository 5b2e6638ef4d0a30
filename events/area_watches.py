"""The watches that raise alerts about targets in an area: intrusion, loitering, crowd, wrong way."""

from collections import Counter
from math import acos, cos, degrees, hypot, radians
from typing import Any

import msgspec

from events.alerts import Alerts, AlertsState, Evidence
from events.events import AlertKind, Reason
from events.geometry import around, normalised
from events.presence import Member, Presence
from events.rules import Crowd, Intrusion, Loitering, WrongWay
from events.scene import Naming, Scene
from events.targets import Target
from events.watch import Watch, evidence, lasted_s


class AreaWatch(Watch):
    """Base of the watches that raise alerts about targets in an area."""

    def __init__(self, naming: Naming, rule: Any, kind: AlertKind, need_s: float) -> None:
        super().__init__(naming, rule)
        self.presence = Presence(rule.polygon, rule.labels)
        self.alerts = Alerts(naming, kind, rule.severity, (need_s, rule.clear_s), self.drafts)

    def scale(self, size: tuple[int, int]) -> None:
        self.presence.scale(size)

    def end(self, scene: Scene, why: Reason = "stream-ended") -> None:
        self.alerts.stop_all(why, scene.watched)

    def forget(self) -> None:
        self.presence.members.clear()

    def _parts(self) -> list[tuple[str, Any, str, Any]]:
        return [
            ("members", self.presence, "members", dict[int, Member]),
            ("alerts", self.alerts, "state", AlertsState),
        ]


class DwellWatch(AreaWatch):
    """Intrusion and loitering: a target stays in the area for `dwell_s`."""

    def __init__(self, naming: Naming, rule: Intrusion | Loitering) -> None:
        kind: AlertKind = "intrusion" if isinstance(rule, Intrusion) else "loitering"
        super().__init__(naming, rule, kind, rule.dwell_s)

    def step(self, scene: Scene) -> None:
        change = self.presence.step(scene)
        for serial in change.left:
            self.alerts.lapses(serial, "left")
        for target in change.inside:
            member = self.presence.members[target.serial]
            detail: dict[str, float | str] = {"dwell_s": lasted_s(member.since, scene)}
            since = (member.since, member.since_us)
            self.alerts.holds(target.serial, since, evidence(target, scene, detail), scene)
        self.alerts.sweep(scene.watched)
        self.alerts.forget(scene.gone)


class CrowdWatch(AreaWatch):
    """Many targets in the area for `for_s`; it is over when there are no more than `low` for `clear_s`."""

    rule: Crowd

    def __init__(self, naming: Naming, rule: Crowd) -> None:
        super().__init__(naming, rule, "crowd", rule.for_s)
        self.since: tuple[int, int] | None = None
        """When it became one (watched ticks, capture time); None: there is no crowd."""

    def step(self, scene: Scene) -> None:
        change = self.presence.step(scene)
        count = len(self.presence.members)
        if count >= self.rule.count:
            self.since = self.since or (scene.watched, scene.capture_us)
        elif count <= self.rule.low or not self.alerts.is_open(0):
            # only an open alert has hysteresis: on the way to one, the full count must last
            self.since = None
            self.alerts.lapses(0, "dispersed")
        # those lost a moment ago keep a crowd up, but do not make one: it is raised with all of them detected
        shown = len(change.inside) >= (1 if self.alerts.is_open(0) else self.rule.count)
        if self.since is not None and shown:
            self.alerts.holds(0, self.since, self._evidence(change.inside, count, scene), scene)
        self.alerts.sweep(scene.watched)

    def _evidence(self, inside: list[Target], count: int, scene: Scene) -> Evidence:
        labels = Counter(target.label for target in inside)
        label = min(labels, key=lambda name: (-labels[name], name))
        box = normalised(around([target.box for target in inside]), scene.size)
        tracks = tuple(sorted(t.ordinal for t in inside))
        middle = scene.place(sum(t.x for t in inside) / len(inside), sum(t.y for t in inside) / len(inside))
        return Evidence(label, tracks, box, {"count": float(count)}, middle)

    def forget(self) -> None:
        super().forget()
        self.since = None

    def _parts(self) -> list[tuple[str, Any, str, Any]]:
        return [*super()._parts(), ("since", self, "since", tuple[int, int] | None)]


class Way(msgspec.Struct):
    """A target's way against the direction. `far` grows against it, pixels."""

    low: float
    """Least `far` so far: where the way against the direction begins."""
    x: float
    y: float
    high: float
    """Largest `far` since."""
    since: int
    since_us: int
    wrong: bool = False


class WrongWayWatch(AreaWatch):
    """A target in the area got `distance` against the direction, as the crow flies and within `angle`.

    Measured from the place farthest along the right way that it has reached, so jitter and stops do not add
    up. It is over when the target leaves the area or goes back by half of the distance.
    """

    rule: WrongWay

    def __init__(self, naming: Naming, rule: WrongWay) -> None:
        super().__init__(naming, rule, "wrong_way", 0.0)
        self.ways: dict[int, Way] = {}
        self._cos = cos(radians(rule.angle))
        self.scale((1, 1))

    def scale(self, size: tuple[int, int]) -> None:
        super().scale(size)
        w, h = size
        dx, dy = self.rule.direction[0] * w, self.rule.direction[1] * h
        length = hypot(dx, dy)
        self._against = (-dx / length, -dy / length)
        self._distance = self.rule.distance * h

    def step(self, scene: Scene) -> None:
        change = self.presence.step(scene)
        for serial in change.left:
            self.ways.pop(serial, None)
            self.alerts.lapses(serial, "left")
        for target in change.inside:
            self._follow(target, scene)
        self.alerts.sweep(scene.watched)
        self.alerts.forget(scene.gone)

    def _follow(self, target: Target, scene: Scene) -> None:
        x, y = target.x, target.y
        far = x * self._against[0] + y * self._against[1]
        way = self.ways.get(target.serial)
        if way is None or (not way.wrong and far <= way.low):
            self.ways[target.serial] = Way(far, x, y, far, scene.watched, scene.capture_us)
            return
        gained = far - way.low
        if not way.wrong and gained < 0.1 * self._distance:
            way.since, way.since_us = scene.watched, scene.capture_us  # it has not really set out
        way.high = max(way.high, far)
        if way.wrong and way.high - far > self._distance / 2:
            self.alerts.lapses(target.serial, "moved")
            self.ways[target.serial] = Way(far, x, y, far, scene.watched, scene.capture_us)
            return
        length = hypot(x - way.x, y - way.y)
        way.wrong = way.wrong or (gained >= self._distance and gained >= self._cos * length)
        if way.wrong:
            angle = round(degrees(acos(min(gained / length, 1.0))), 1) if length else 0.0
            detail: dict[str, float | str] = {
                "distance": round(gained / scene.size[1], 3),
                "angle_deg": angle,
            }
            since = (way.since, way.since_us)
            self.alerts.holds(target.serial, since, evidence(target, scene, detail), scene)

    def forget(self) -> None:
        super().forget()
        self.ways.clear()

    def _parts(self) -> list[tuple[str, Any, str, Any]]:
        return [*super()._parts(), ("ways", self, "ways", dict[int, Way])]

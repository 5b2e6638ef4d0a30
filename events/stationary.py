"""What stays where it is: a bag left behind, a parked vehicle, a stall on the roadway.

The watch remembers *places*, not tracks. A place is where a target stands; it is on the spot while its foot
point stays within a radius, or its box nearly covers the place's. A new target whose box covers a known
place is the same object, so neither an occlusion nor a new ordinal starts it anew, and an alert is raised
once for a place.

A place outlives a short loss of the stream: at the next epoch's beginning, within `grace_s` of capture time
(the only time there is between epochs), it waits `absent_s` to be seen again, and is else cleared as `gap`.
"""

from math import hypot
from typing import Any

import msgspec

from events.alerts import Alerts, AlertsState, Evidence
from events.events import Reason
from events.geometry import Corners, Polygon, in_pixels, iou, normalised
from events.media import ticks
from events.rules import Stationary
from events.scene import Naming, Scene
from events.targets import KEEP_TRACKS, Target
from events.watch import Watch, lasted_s

SAME_PLACE = 0.5
"""A box that overlaps a place by this much (IoU) is the object that stands there."""

COVERS = 0.7
"""A box that overlaps the place by this much has not moved, wherever its foot point seems to be."""

RADIUS_PX = 8.0

OFF = ticks(2.0)
"""So long off the spot, or undetected, while it is not yet an alert."""

KEEP = ticks(10.0)
"""What stood this long is remembered over a loss of the stream."""


class Place(msgspec.Struct):
    """Where something stands. Times without unit are analysed media ticks."""

    serial: int
    label: str
    box: Corners
    x: float
    y: float
    since: int
    since_us: int
    last: int
    """When something was last seen standing there."""
    owner: int
    """Serial of the target; 0: none in this epoch."""
    ordinals: tuple[int, ...]
    confirm_by: int | None = None
    """After a loss of the stream: until then it must be seen again."""


class StationaryState(msgspec.Struct):
    """All that the watch remembers beside its alerts."""

    serial: int = 0
    places: dict[int, Place] = {}
    size: tuple[int, int] = (1, 1)
    ended_us: int = 0


class StationaryWatch(Watch):
    """Raises an alert for each place where something has stood for `for_s`."""

    rule: Stationary

    def __init__(self, naming: Naming, rule: Stationary) -> None:
        super().__init__(naming, rule)
        self.alerts = Alerts(naming, "stationary", rule.severity, (rule.for_s, rule.clear_s), self.drafts)
        self.state = StationaryState()
        self._labels = frozenset(rule.labels)
        self._polygon = Polygon(rule.polygon)
        self._clear = ticks(rule.clear_s)
        self._absent = ticks(rule.absent_s)

    def scale(self, size: tuple[int, int]) -> None:
        w, h = size
        old_w, old_h = self.state.size
        self._polygon = Polygon(in_pixels(self.rule.polygon, size))
        if size != self.state.size:
            fx, fy = w / old_w, h / old_h
            for place in self.state.places.values():
                x1, y1, x2, y2 = place.box
                place.box = (x1 * fx, y1 * fy, x2 * fx, y2 * fy)
                place.x, place.y = place.x * fx, place.y * fy
            self.state.size = size

    def begin(self, scene: Scene) -> None:
        gap_us = scene.capture_us - self.state.ended_us
        for serial in sorted(self.state.places):
            if gap_us > self.rule.grace_s * 1_000_000:
                self._drop(serial, "gap", scene)
            else:
                self.state.places[serial].confirm_by = scene.watched + self._absent

    def step(self, scene: Scene) -> None:
        places = self.state.places
        owned = {place.owner: place for place in places.values() if place.owner}
        strangers: list[Target] = []
        there: dict[int, Target] = {}
        """Serials of the targets that were seen, by place."""
        for target in scene.seen:
            if target.label not in self._labels:
                continue
            place = owned.get(target.serial)
            if place is None:
                if self._polygon.contains(target.x, target.y):
                    strangers.append(target)
            elif self._on_spot(target, place):
                there[place.serial] = target
            elif scene.watched - place.last > self._patience(place):
                self._drop(place.serial, "moved", scene)
                if self._polygon.contains(target.x, target.y):
                    self._settle(target, scene)
        for target in strangers:
            self._welcome(target, there, scene)
        for serial, target in there.items():
            self._stay(places[serial], target, scene)
        for serial in sorted(places):
            self._check(places[serial], scene)
        self.alerts.sweep(scene.watched)

    def _on_spot(self, target: Target, place: Place) -> bool:
        x1, y1, x2, y2 = place.box
        radius = max(RADIUS_PX, self.rule.radius * max(x2 - x1, y2 - y1))
        near = hypot(target.x - place.x, target.y - place.y) <= radius
        return near or iou(target.box, place.box) >= COVERS

    def _patience(self, place: Place) -> int:
        """How long its owner may be seen elsewhere: a box can slip for a moment."""
        return self._clear if self.alerts.is_open(place.serial) else min(OFF, place.last - place.since)

    def _welcome(self, target: Target, there: dict[int, Target], scene: Scene) -> None:
        """A target without a place: it is what stands at a known place, or settles at its own."""
        overlaps = [
            (-overlap, serial)
            for serial, place in self.state.places.items()
            if (overlap := iou(target.box, place.box)) >= SAME_PLACE
        ]
        if not overlaps:
            there[self._settle(target, scene)] = target
            return
        serial = min(overlaps)[1]
        if serial not in there:  # else it is a second box on the same object
            place = self.state.places[serial]
            place.owner = target.serial
            there[serial] = target

    def _settle(self, target: Target, scene: Scene) -> int:
        self.state.serial += 1
        serial = self.state.serial
        self.state.places[serial] = Place(
            serial=serial,
            label=target.label,
            box=target.box,
            x=target.x,
            y=target.y,
            since=scene.watched,
            since_us=scene.capture_us,
            last=scene.watched,
            owner=target.serial,
            ordinals=(target.ordinal,),
        )
        return serial

    def _stay(self, place: Place, target: Target, scene: Scene) -> None:
        place.last = scene.watched
        place.confirm_by = None
        if target.ordinal not in place.ordinals:
            place.ordinals = (*place.ordinals, target.ordinal)[-KEEP_TRACKS:]
        detail: dict[str, float | str] = {"stood_s": lasted_s(place.since, scene)}
        at = scene.place(place.x, place.y)
        shown = Evidence(place.label, place.ordinals, normalised(place.box, scene.size), detail, at)
        self.alerts.holds(place.serial, (place.since, place.since_us), shown, scene)

    def _check(self, place: Place, scene: Scene) -> None:
        """Give the place up if nothing was seen there for too long."""
        if place.confirm_by is not None:
            if scene.watched >= place.confirm_by:
                self._drop(place.serial, "gap", scene)
            return
        stood = place.last - place.since
        if scene.watched - place.last > min(self._absent, max(stood, OFF)):
            self._drop(place.serial, "left", scene)

    def _drop(self, serial: int, reason: Reason, scene: Scene) -> None:
        del self.state.places[serial]
        if reason == "gap":
            self.alerts.stop(serial, reason, scene.watched)
        else:
            self.alerts.lapses(serial, reason)
        self.alerts.forget((serial,))

    def end(self, scene: Scene, why: Reason = "stream-ended") -> None:
        """Keep what stands; whether it still does shows when the stream is back."""
        self.state.ended_us = scene.capture_us
        for serial in sorted(self.state.places):
            place = self.state.places[serial]
            if place.last - place.since < KEEP and not self.alerts.is_open(serial):
                del self.state.places[serial]
            place.owner = 0
            place.ordinals = ()
        for serial in sorted(self.alerts.state.alerts):
            if serial not in self.state.places:
                self.alerts.stop(serial, why, scene.watched)

    def _parts(self) -> list[tuple[str, Any, str, Any]]:
        return [
            ("alerts", self.alerts, "state", AlertsState),
            ("places", self, "state", StationaryState),
        ]

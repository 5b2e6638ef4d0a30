"""The life of an alert, as a table.

    waiting --confirm--> open --change--> open        raised, then updated
                          | ^
                      lapse return                    the condition is false for a moment
                          v |
                         fading --expire--> closed    cleared

An alert waits until its condition has held for `need_s`, is open while it holds, fades while it does not,
and is cleared when it has been false for `clear_s`. There is one for each rule and key (a target, a place,
or 0 for the rule as a whole), so what stands still does not fire again. Updates come at most each
`UPDATE_S`, and only if something changed: other tracks, another count, another place.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

import msgspec

from events.errors import IllegalTransition
from events.events import AlertCleared, AlertKind, AlertRaised, AlertUpdated, NormBox, Place, Reason, Severity
from events.geometry import iou
from events.media import ticks
from events.scene import Draft, Naming, Scene

State = Literal["waiting", "open", "fading", "closed"]
Signal = Literal["confirm", "change", "lapse", "return", "expire", "stop"]
Phase = Literal["raised", "updated", "cleared"]

LIFE: dict[tuple[State, Signal], tuple[State, Phase | None]] = {
    ("waiting", "confirm"): ("open", "raised"),
    ("waiting", "lapse"): ("closed", None),
    ("waiting", "stop"): ("closed", None),
    ("open", "change"): ("open", "updated"),
    ("open", "lapse"): ("fading", None),
    ("open", "stop"): ("closed", "cleared"),
    ("fading", "return"): ("open", None),
    ("fading", "expire"): ("closed", "cleared"),
    ("fading", "stop"): ("closed", "cleared"),
}

UPDATE_S = 10.0
"""Least time between two updates of an alert."""

MOVED = 0.5
"""A box that overlaps the one last told by less than this (IoU) is another place."""


class Evidence(NamedTuple):
    """What shows that a condition holds."""

    label: str
    tracks: tuple[int, ...]
    box: NormBox
    detail: dict[str, float | str]
    place: Place | None = None


class Alert(msgspec.Struct):
    """One alert, from the first sign on. Times without unit are analysed media ticks."""

    key: int
    epoch: int
    """The epoch in which it began."""
    occurrence: int
    since: int
    since_us: int
    last: int
    """When the condition was last true."""
    last_us: int
    label: str
    tracks: tuple[int, ...]
    box: NormBox
    detail: dict[str, float | str]
    place: Place | None = None
    state: State = "waiting"
    faded: int = 0
    reason: Reason = "left"
    told: int = 0
    """When something was last published."""
    told_tracks: tuple[int, ...] = ()
    told_box: NormBox = (0.0, 0.0, 0.0, 0.0)
    told_count: float | str = 0.0
    updates: int = 0


class Living(Protocol):
    """What has this life: a camera's alert, a sensor's."""

    state: State


def step(alert: Living, signal: Signal) -> Phase | None:
    """Move an alert along its table; answers what is to be published.

    Raises:
        IllegalTransition: the table has no such step. The alert is unchanged.
    """
    try:
        alert.state, phase = LIFE[alert.state, signal]
    except KeyError:
        raise IllegalTransition(f"an alert that is {alert.state} cannot {signal}") from None
    return phase


class AlertsState(msgspec.Struct):
    """All that a rule's alerts remember."""

    alerts: dict[int, Alert] = {}
    raised: dict[int, int] = {}
    """How many alerts each key has had."""


class Alerts:
    """The alerts of one rule. What is to be published is appended to `drafts`."""

    def __init__(
        self,
        naming: Naming,
        kind: AlertKind,
        severity: Severity,
        times: tuple[float, float],
        drafts: list[Draft],
    ) -> None:
        """`times`: need_s and clear_s."""
        need_s, clear_s = times
        self.state = AlertsState()
        self._drafts = drafts
        self._naming = naming
        self._kind: AlertKind = kind
        self._severity: Severity = severity
        self._need = ticks(need_s)
        self._clear = ticks(clear_s)
        self._update = ticks(UPDATE_S)

    def is_open(self, key: int) -> bool:
        """Raised and not cleared."""
        alert = self.state.alerts.get(key)
        return alert is not None and alert.state != "waiting"

    def holds(self, key: int, since: tuple[int, int], evidence: Evidence, scene: Scene) -> None:
        """The condition is true now, and has been since (watched ticks, capture time)."""
        alert = self.state.alerts.get(key)
        if alert is None:
            label, tracks, box, detail, place = evidence
            alert = Alert(
                key=key,
                epoch=scene.epoch,
                occurrence=self.state.raised.get(key, 0),
                since=since[0],
                since_us=since[1],
                last=scene.watched,
                last_us=scene.capture_us,
                label=label,
                tracks=tracks,
                box=box,
                detail=detail,
                place=place,
            )
            self.state.alerts[key] = alert
        elif alert.state == "fading":
            step(alert, "return")
        alert.last, alert.last_us = scene.watched, scene.capture_us
        alert.label, alert.tracks, alert.box, alert.detail, alert.place = evidence
        if alert.state == "waiting":
            if scene.watched - alert.since >= self._need:
                self.state.raised[key] = alert.occurrence + 1
                self._publish(alert, step(alert, "confirm"), scene.watched)
        elif scene.watched - alert.told >= self._update and _changed(alert):
            self._publish(alert, step(alert, "change"), scene.watched)

    def lapses(self, key: int, reason: Reason) -> None:
        """The condition is false now. Without an alert for the key, or while it fades, nothing happens."""
        alert = self.state.alerts.get(key)
        if alert is None or alert.state == "fading":
            return
        alert.reason = reason
        alert.faded = alert.last
        if step(alert, "lapse") is None and alert.state == "closed":
            del self.state.alerts[key]

    def sweep(self, watched: int) -> None:
        """Clear what has faded for long enough."""
        for key in sorted(self.state.alerts):
            alert = self.state.alerts[key]
            if alert.state == "fading" and watched - alert.faded >= self._clear:
                self._publish(alert, step(alert, "expire"), watched)
                del self.state.alerts[key]

    def stop(self, key: int, reason: Reason, watched: int) -> None:
        """End an alert at once, whatever its condition."""
        alert = self.state.alerts.pop(key, None)
        if alert is not None:
            alert.reason = reason
            self._publish(alert, step(alert, "stop"), watched)

    def stop_all(self, reason: Reason, watched: int) -> None:
        """End all at once and forget the keys."""
        for key in sorted(self.state.alerts):
            self.stop(key, reason, watched)
        self.state.raised.clear()

    def forget(self, keys: Iterable[int]) -> None:
        """These keys will not come again."""
        for key in keys:
            if key not in self.state.alerts:
                self.state.raised.pop(key, None)

    def _publish(self, alert: Alert, phase: Phase | None, watched: int) -> None:
        if phase is None:
            return
        naming, a = self._naming, alert
        born = (a.epoch, a.since_us, a.key)
        alert_id = naming.id(*born, "alert", a.occurrence)
        data: AlertRaised | AlertUpdated | AlertCleared
        if phase == "raised":
            event = naming.id(*born, "raised", a.occurrence)
            data = AlertRaised(
                alert=alert_id,
                rule=naming.rule,
                kind=self._kind,
                severity=self._severity,
                label=a.label,
                tracks=a.tracks,
                box=a.box,
                since_us=a.since_us,
                detail=a.detail,
                place=a.place,
                preset=naming.preset,
            )
        elif phase == "updated":
            a.updates += 1
            event = naming.id(*born, f"updated-{a.updates}", a.occurrence)
            data = AlertUpdated(
                alert=alert_id, rule=naming.rule, tracks=a.tracks, box=a.box, detail=a.detail, place=a.place
            )
        else:
            event = naming.id(*born, "cleared", a.occurrence)
            data = AlertCleared(alert=alert_id, rule=naming.rule, reason=a.reason, until_us=a.last_us)
        a.told, a.told_tracks, a.told_box = watched, a.tracks, a.box
        a.told_count = a.detail.get("count", 0.0)
        self._drafts.append(Draft(event, data))


def _changed(alert: Alert) -> bool:
    return (
        alert.tracks != alert.told_tracks
        or alert.detail.get("count", 0.0) != alert.told_count
        or iou(alert.box, alert.told_box) < MOVED
    )

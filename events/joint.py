"""Joint alerts: several things that are wrong at once, as one alert.

The engine is given the alerts of cameras and sensors and keeps those that are open, by part. A joint alert
holds while of each part one is open such that all of them began within `within_s` of each other. So whether
it holds follows from *what* is open, not from the order in which that became known. Cameras and sensors do
not tell in one order: an alert that is known only after another one has been cleared is still compared with
it (for `REMEMBER_S`, by capture times), and a joint alert that is over by then is raised and cleared at once.

The parts' own alerts stay as they are; the joint one names them in `causes`. Pure: no I/O, no clock.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from events.events import AlertCleared, AlertRaised, AlertUpdated, Event, Place, Reason
from events.ids import event_id
from events.joint_rules import Joint
from events.noted import Noted

REMEMBER_S = 300.0
"""So long after its end an alert is remembered for others that are known late; so long, too, an end whose
beginning is not known yet."""

MOST_CAUSES = 100
"""Causes that a joint alert names and remembers at most."""


def joint_source(site: str, name: str) -> str:
    """CloudEvents source of a joint alert."""
    return f"/{site}/joint/{name}"


class Known(msgspec.Struct):
    """An alert of a part."""

    alert: str
    since_us: int
    raised_us: int
    """When it was raised."""
    label: str
    place: Place | None = None
    until_us: int | None = None
    """When its condition was last true; None while it is open."""
    cleared_us: int = 0


class Told(msgspec.Struct):
    """A joint alert that is raised and not cleared."""

    alert: str
    since_us: int
    causes: list[str]
    """Of more than `MOST_CAUSES` those by which its end is told, in the order in which they joined."""
    updates: int = 0
    count: int = 0
    """All that were part of it; 0 in a snapshot of before: as many as `causes`."""


class _Kept(msgspec.Struct):
    joint: Joint
    told: Told | None = None
    over_us: int = 0
    """Until when the last one held: what is found later to have begun before is no other."""


class _State(msgspec.Struct):
    site: str
    newest_us: int = 0
    known: dict[str, dict[str, Known]] = {}
    """By part, then by alert."""
    ended: dict[str, tuple[int, int]] = {}
    """By alert of which the beginning is not known yet: until when it held, and when it was cleared."""
    joints: list[_Kept] = []


class JointEngine:
    """Applies a site's joint alerts.

    Raises:
        ValueError: two of them have the same name.
    """

    def __init__(self, site: str, joints: Sequence[Joint]) -> None:
        names = [joint.name for joint in joints]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two joint alerts are named {name!r}: rename one")
        self._site = site
        self._state = _State(site, joints=[_Kept(joint) for joint in joints])
        self._removed: list[_Kept] = []
        self._index()

    def _index(self) -> None:
        """Which joint alerts each part belongs to."""
        self._of: dict[str, list[_Kept]] = {}
        for kept in self._state.joints:
            for part in kept.joint.of:
                self._of.setdefault(part.key(self._site), []).append(kept)

    def concerns(self, event: Event) -> bool:
        """Whether the event changes anything here: it is an alert of a part."""
        return isinstance(event.data, AlertRaised | AlertCleared) and self._key(event) in self._of

    def learn(self, event: Event) -> bool:
        """Take note of an event and tell nothing yet: `settle` tells what holds by then. False: it says
        nothing new."""
        data, key = event.data, self._key(event)
        if key not in self._of:
            return False
        state = self._state
        alerts = state.known.setdefault(key, {})
        if isinstance(data, AlertRaised) and data.alert not in alerts:
            known = Known(data.alert, data.since_us, event.time_us, data.label, data.place)
            known.until_us, known.cleared_us = state.ended.pop(data.alert, (None, 0))
            alerts[data.alert] = known
        elif isinstance(data, AlertCleared) and data.alert not in alerts:
            state.ended[data.alert] = data.until_us, event.time_us
        elif isinstance(data, AlertCleared) and alerts[data.alert].until_us is None:
            alerts[data.alert].until_us, alerts[data.alert].cleared_us = data.until_us, event.time_us
        else:
            return False
        state.newest_us = max(state.newest_us, event.time_us)
        self._forget()
        return True

    def feed(self, event: Event) -> list[Noted]:
        """An event from the bus, in any order among sources. What is no alert of a part does nothing."""
        said = self._clear_removed()
        if not self.concerns(event) or not self.learn(event):
            return said
        fresh = event.data.alert if isinstance(event.data, AlertRaised) else ""
        for kept in self._of[self._key(event)]:
            self._judge(kept, fresh, said)
        return said

    def settle(self) -> list[Noted]:
        """Tell what holds by what was learned, and what is no more."""
        said = self._clear_removed()
        for kept in self._state.joints:
            self._judge(kept, "", said)
        return said

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        whole = msgspec.structs.replace(self._state, joints=[*self._state.joints, *self._removed])
        built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))
        return built

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot. The open alert of a joint that is no more or has changed is cleared as
        `rule-removed` with the next `settle` or `feed`; one that is new knows the alerts of parts that others
        had, and of the rest those that come.

        Raises:
            msgspec.ValidationError: not a snapshot.
            ValueError: it is another site's.
        """
        whole = msgspec.convert(state, _State)
        if whole.site != self._site:
            raise ValueError(f"the snapshot is of site {whole.site!r}, not of {self._site!r}")
        before = {kept.joint.name: kept for kept in whole.joints}
        ours = [_Kept(kept.joint) for kept in self._state.joints]
        for kept in ours:
            old = before.get(kept.joint.name)
            if old is not None and old.joint == kept.joint:
                kept.told, kept.over_us = old.told, old.over_us
        told = {kept.joint.name for kept in ours if kept.told is not None}
        self._removed = [k for k in whole.joints if k.told is not None and k.joint.name not in told]
        self._state = msgspec.structs.replace(whole, joints=ours)
        self._index()
        self._state.known = {key: alerts for key, alerts in whole.known.items() if key in self._of}

    def _key(self, event: Event) -> str:
        return f"{event.source} {getattr(event.data, 'rule', '')}"

    def _forget(self) -> None:
        """Drop what is over for long."""
        state = self._state
        old = state.newest_us - round(REMEMBER_S * 1e6)
        for alerts in state.known.values():
            for alert in [a.alert for a in alerts.values() if a.until_us is not None and a.cleared_us < old]:
                del alerts[alert]
        for alert in [alert for alert, (_, cleared_us) in state.ended.items() if cleared_us < old]:
            del state.ended[alert]

    def _judge(self, kept: _Kept, fresh: str, said: list[Noted]) -> None:
        """Tell what differs from what was told. `fresh`: an alert that has just become known."""
        parts = [self._state.known.get(part.key(self._site), {}) for part in kept.joint.of]
        holding = [sorted((a for a in alerts.values() if a.until_us is None), key=_age) for alerts in parts]
        chosen = choose(holding, kept.joint.within_s)
        told = kept.told
        if told is not None and not chosen:
            self._part(kept, told, parts, said)
        elif told is not None:
            self._join(kept, told, parts, holding, fresh, said)
        elif chosen:
            within_s = kept.joint.within_s
            all_of_it = [a for alerts in holding for a in alerts if choose(holding, within_s, a.alert)]
            kept.told = self._raise(kept.joint, chosen, all_of_it, said)
        elif any(fresh in alerts for alerts in parts):
            late = choose([list(alerts.values()) for alerts in parts], kept.joint.within_s, fresh)
            if late and max(a.since_us for a in late) > kept.over_us:
                self._part(kept, self._raise(kept.joint, late, late, said), parts, said)

    def _raise(
        self, joint: Joint, chosen: Sequence[Known], all_of_it: Sequence[Known], said: list[Noted]
    ) -> Told:
        """`chosen`: those that made it, one of each part; `all_of_it`: they and what belongs to them."""
        causes = [alert.alert for alert in all_of_it]
        sinces = [alert.since_us for alert in chosen]
        apart_s = round((max(sinces) - min(sinces)) / 1e6, 1)
        words = " and ".join(part.words for part in joint.of)
        why = f"{words} at the same time, begun {apart_s:g} s apart"
        detail: dict[str, float | str] = {"apart_s": apart_s, "why": why}
        detail |= {f"part_{n}": part.words for n, part in enumerate(joint.of, start=1)}
        alert = event_id(self._site, "joint", joint.name, *causes, "alert")
        data = AlertRaised(
            alert=alert,
            rule=joint.name,
            kind="joint",
            severity=joint.severity,
            label=" + ".join(dict.fromkeys(a.label for a in chosen)),
            since_us=max(sinces),
            detail=detail,
            place=next((a.place for a in chosen if a.place is not None), None),
            causes=tuple(causes),
        )
        id_ = event_id(self._site, "joint", joint.name, *causes, "raised")
        said.append(self._noted(joint.name, id_, data, max(a.raised_us for a in chosen)))
        return Told(alert, max(sinces), causes, count=len(all_of_it))

    def _join(
        self,
        kept: _Kept,
        told: Told,
        parts: Sequence[Mapping[str, Known]],
        holding: Sequence[Sequence[Known]],
        fresh: str,
        said: list[Noted],
    ) -> None:
        """Another alert of a part belongs to it now."""
        for alert in (a for alerts in holding for a in alerts if a.alert == fresh):
            if fresh in told.causes or not choose(holding, kept.joint.within_s, fresh):
                return
            told.count = max(told.count, len(told.causes)) + 1
            told.causes.append(fresh)
            while len(told.causes) > MOST_CAUSES:
                told.causes.remove(_dispensable(told.causes, parts))
            told.updates += 1
            data = AlertUpdated(
                alert=told.alert,
                rule=kept.joint.name,
                detail={
                    "joined": fresh,
                    "causes": float(told.count),
                    "why": f"{alert.label} joined: {told.count} alerts are part of it by now",
                },
                place=alert.place,
            )
            id_ = event_id(told.alert, f"updated-{told.updates}", fresh)
            said.append(self._noted(kept.joint.name, id_, data, alert.raised_us))
            return

    def _part(self, kept: _Kept, told: Told, parts: Sequence[Mapping[str, Known]], said: list[Noted]) -> None:
        """It does not hold any more: since the first end among its causes that left a part without one."""
        ends = []
        for alerts in parts:
            mine = [alerts[alert] for alert in told.causes if alert in alerts]
            if mine and all(alert.until_us is not None for alert in mine):
                ends.append(max(_end(alert) for alert in mine))
        closed = [_end(a) for alerts in parts for a in alerts.values() if a.alert in told.causes]
        until_us, at_us = min(ends) if ends else max(closed, default=(0, 0))
        kept.told, kept.over_us = None, max(until_us, told.since_us)
        self._clear(kept.joint.name, told, "parted", (kept.over_us, max(at_us, told.since_us)), said)

    def _clear_removed(self) -> list[Noted]:
        said: list[Noted] = []
        for kept in self._removed:
            assert kept.told is not None
            times = kept.told.since_us, max(self._state.newest_us, kept.told.since_us)
            self._clear(kept.joint.name, kept.told, "rule-removed", times, said)
        self._removed = []
        return said

    def _clear(
        self, name: str, told: Told, reason: Reason, times: tuple[int, int], said: list[Noted]
    ) -> None:
        data = AlertCleared(alert=told.alert, rule=name, reason=reason, until_us=times[0])
        said.append(self._noted(name, event_id(told.alert, "cleared"), data, times[1]))

    def _noted(self, name: str, id_: str, data: Any, time_us: int) -> Noted:
        return Noted(joint_source(self._site, name), id_, data, time_us)


def choose(parts: Sequence[Sequence[Known]], within_s: float, fresh: str = "") -> list[Known]:
    """One alert of each part such that they hold at one time and began within `within_s`; empty: there are
    none. `fresh`: one that must be among them. Of several choices the one that was complete first.
    """
    tried = [[a for a in alerts if a.alert == fresh] or sorted(alerts, key=_age) for alerts in parts]
    for last in sorted((alert for alerts in tried for alert in alerts), key=_age):
        at = last.since_us
        there = [next((a for a in alerts if _there(a, at, within_s)), None) for alerts in tried]
        chosen = [alert for alert in there if alert is not None]
        if len(chosen) == len(parts):
            return chosen
    return []


def _dispensable(causes: Sequence[str], parts: Sequence[Mapping[str, Known]]) -> str:
    """The cause whose end says least about the end of the whole: one that is forgotten; else of the part with
    the most of them one that has ended, or the oldest."""
    mine = [[alerts[cause] for cause in causes if cause in alerts] for alerts in parts]
    known = {alert.alert for alerts in mine for alert in alerts}
    forgotten = next((cause for cause in causes if cause not in known), None)
    if forgotten is not None:
        return forgotten
    most = max(mine, key=len)
    return next((alert for alert in most if alert.until_us is not None), most[0]).alert


def _end(alert: Known) -> tuple[int, int]:
    """Until when it held, and when it was cleared; zeros while it is open."""
    return alert.until_us or 0, alert.cleared_us


def _age(alert: Known) -> tuple[int, str]:
    return alert.since_us, alert.alert


def _there(alert: Known, at_us: int, within_s: float) -> bool:
    """It holds at that time, and began at most so long before."""
    held = alert.until_us is None or alert.until_us >= at_us
    return held and at_us - within_s * 1e6 <= alert.since_us <= at_us

"""The engine: one camera's observations in, events out. Pure: no I/O, no clock, no chance.

    engine = Engine("town", "gate", rules)
    events = engine.begin(epoch, capture_us, (1280, 720))     # media time 0
    events = engine.observe(observation)                      # an analysed frame
    events = engine.tick(pts, capture_us)                     # a quiet camera: time passes, nothing moves
    engine.shed(from_pts, to_pts)                             # a span that is not analysed; before it has
    passed events = engine.end(pts, capture_us)                      # the epoch is over

The same calls always give the same events with the same ids; an engine restored from a snapshot goes on bit
for bit as the one it was taken from.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from events.alerts import Alerts, AlertsState
from events.area_watches import CrowdWatch, DwellWatch, WrongWayWatch
from events.count_watches import LineWatch, ZoneWatch
from events.errors import IllegalTransition
from events.events import AnyPayload, Event, camera_source
from events.intervals import Closed, Timeline, TimelineState
from events.observations import Observation
from events.rules import Crowd, Intrusion, Line, Loitering, Rule, Stationary, WrongWay, Zone
from events.scene import Draft, Naming, Scene
from events.stationary import StationaryWatch
from events.targets import Target, Targets, TargetsState
from events.watch import Watch

WATCHES: dict[type, type[Any]] = {
    Line: LineWatch,
    Zone: ZoneWatch,
    Intrusion: DwellWatch,
    Loitering: DwellWatch,
    Crowd: CrowdWatch,
    WrongWay: WrongWayWatch,
    Stationary: StationaryWatch,
}


class _Run(msgspec.Struct):
    """Where the engine is. `sequences` and `observed_pts` are of the epoch."""

    epoch: int = 0
    running: bool = False
    size: tuple[int, int] = (1, 1)
    observed_pts: int = -1
    sequences: dict[str, int] = {}


class _RuleState(msgspec.Struct):
    rule: Rule
    state: dict[str, Any]


class _Snapshot(msgspec.Struct):
    site: str
    camera: str
    run: _Run
    timeline: TimelineState
    targets: TargetsState
    rules: list[_RuleState]


class Engine:
    """Applies a camera's rules.

    interval_s: length of the counting intervals, aligned to multiples of it in capture time.
    """

    def __init__(self, site: str, camera: str, rules: Sequence[Rule], interval_s: int = 60) -> None:
        """Raises ValueError: two rules have the same name."""
        names = [rule.name for rule in rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"camera {camera!r} has two rules named {name!r}: rename one")
        self._site, self._camera = site, camera
        self._source = camera_source(site, camera)
        self._watches: list[Watch] = [
            WATCHES[type(rule)](Naming(site, camera, rule.name), rule) for rule in rules
        ]
        self._targets = Targets()
        self._timeline = Timeline(interval_s)
        self._run = _Run()
        self._removed: list[_RuleState] = []
        """Rules of the restored snapshot that are no more; their open alerts are cleared with the next
        call."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The objects of the last observation, to be read only."""
        state = self._targets.state
        return tuple(state.targets[serial] for serial in state.seen)

    def begin(self, epoch: int, capture_us: int, size: tuple[int, int]) -> list[Event]:
        """A stream epoch begins at media time 0; an epoch that still runs is ended first."""
        events = self.abandon()
        self._run = _Run(epoch=epoch, running=True, size=size)
        self._timeline.begin(capture_us)
        scene = self._scene(capture_us, 0)
        drafts = self._clear_removed(scene)
        for watch in self._watches:
            watch.scale(size)
            watch.begin(scene)
            drafts += watch.take()
        return events + self._stamp(drafts, 0, capture_us)

    def observe(self, obs: Observation) -> list[Event]:
        """An analysed frame. It may be older than the last tick (a held group of pictures is decoded after
        it), not older than the last observation.

        Raises:
            IllegalTransition: no epoch has begun, or the observation is out of order. Nothing was changed.
        """
        run = self._running()
        if obs.pts <= run.observed_pts:
            raise IllegalTransition(
                f"observation at {obs.pts} after one at {run.observed_pts}: media time only grows in an epoch"
            )
        run.observed_pts = obs.pts
        if (obs.width, obs.height) != run.size:
            run.size = (obs.width, obs.height)
            for watch in self._watches:
                watch.scale(run.size)
        events = self._advance(obs.pts, obs.capture_us)
        seen = self._targets.update(obs)
        scene = self._scene(obs.capture_us, obs.pts, seen, fresh=True)
        return events + self._look(scene)

    def tick(self, pts: int, capture_us: int) -> list[Event]:
        """Time passes and nothing moves: what was there stays there. A time that has passed does nothing.

        Raises:
            IllegalTransition: no epoch has begun.
        """
        self._running()
        if pts <= self._timeline.state.pts:
            return []
        events = self._advance(pts, capture_us)
        return events + self._look(self._scene(capture_us, pts, self._targets.tick(pts)))

    def shed(self, from_pts: int, to_pts: int) -> list[Event]:
        """This span is not analysed: it counts neither as observed nor as dwell. Tell it before the call that
        passes it.

        Raises:
            IllegalTransition: no epoch has begun.
        """
        self._running()
        self._timeline.shed(from_pts, to_pts)
        if to_pts > self._run.observed_pts:
            self._targets.lose()
        return []

    def end(self, pts: int, capture_us: int) -> list[Event]:
        """The epoch is over: alerts are cleared as `stream-ended` (what stands still has its grace), the
        interval is closed as it is.

        Raises:
            IllegalTransition: no epoch has begun.
        """
        run = self._running()
        events = self._advance(pts, capture_us)
        now = self._timeline.state
        scene = self._scene(now.capture_us, now.pts)
        drafts = self._clear_removed(scene)
        for watch in self._watches:
            watch.end(scene)
            watch.forget()
            drafts += watch.take()
        events += self._stamp(drafts, now.pts, now.capture_us)
        events += self._close(self._timeline.close().closed)
        self._targets.reset()
        run.running = False
        return events

    def abandon(self) -> list[Event]:
        """End the epoch, if one runs, where it stands. Whatever happens, it does not run any more."""
        now = self._timeline.state
        try:
            return self.end(now.pts, now.capture_us) if self._run.running else []
        finally:
            self._run.running = False

    @property
    def running(self) -> tuple[int, int] | None:
        """The epoch that runs and its media time; None between epochs."""
        return (self._run.epoch, self._timeline.state.pts) if self._run.running else None

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        whole = _Snapshot(
            site=self._site,
            camera=self._camera,
            run=self._run,
            timeline=self._timeline.state,
            targets=self._targets.state,
            rules=[
                *(_RuleState(watch.rule, watch.snapshot()) for watch in self._watches),
                *self._removed,
            ],
        )
        built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))
        return built

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot. A rule that is new or has changed begins anew; open alerts of one that
        is no more or has changed are cleared as `rule-removed` with the next call.

        Raises:
            msgspec.ValidationError: not a snapshot.
            ValueError: it is another camera's.
        """
        whole = msgspec.convert(state, _Snapshot, str_keys=True)
        if (whole.site, whole.camera) != (self._site, self._camera):
            raise ValueError(
                f"the snapshot is of camera {whole.camera!r} at {whole.site!r}, "
                f"not of {self._camera!r} at {self._site!r}"
            )
        self._run = whole.run
        self._timeline.state = whole.timeline
        self._targets.state = whole.targets
        watches = {watch.rule.name: watch for watch in self._watches}
        self._removed = []
        for kept in whole.rules:
            watch = watches.get(kept.rule.name)
            if watch is not None and watch.rule == kept.rule:
                watch.restore(kept.state)
            else:
                self._removed.append(kept)
        for watch in self._watches:
            watch.scale(self._run.size)

    def _running(self) -> _Run:
        if not self._run.running:
            raise IllegalTransition(f"camera {self._camera!r}: no epoch has begun")
        return self._run

    def _scene(self, capture_us: int, pts: int, seen: Sequence[Target] = (), *, fresh: bool = False) -> Scene:
        run = self._run
        watched = self._timeline.state.watched
        return Scene(run.epoch, pts, watched, capture_us, run.size, seen, self._targets.gone, fresh)

    def _look(self, scene: Scene) -> list[Event]:
        drafts = self._clear_removed(scene)
        for watch in self._watches:
            watch.step(scene)
            if watch.drafts:
                drafts += watch.take()
        return self._stamp(drafts, scene.pts, scene.capture_us) if drafts else []

    def _advance(self, pts: int, capture_us: int) -> list[Event]:
        """Let time pass, closing the intervals on the way."""
        events: list[Event] = []
        for piece in self._timeline.advance(pts, capture_us):
            for watch in self._watches:
                watch.elapse(piece.ticks, piece.watched)
            events += self._close(piece.closed)
        return events

    def _close(self, closed: Closed | None) -> list[Event]:
        if closed is None:
            return []
        drafts: list[Draft] = []
        for watch in self._watches:
            watch.close(closed, self._run.epoch)
            drafts += watch.take()
        return self._stamp(drafts, closed.pts, closed.time_us)

    def _clear_removed(self, scene: Scene) -> list[Draft]:
        drafts: list[Draft] = []
        for kept in self._removed:
            naming = Naming(self._site, self._camera, kept.rule.name)
            if "alerts" in kept.state:
                # kind and severity appear in raised alerts alone
                alerts = Alerts(naming, "intrusion", kept.rule.severity, (0.0, 0.0), drafts)
                alerts.state = msgspec.convert(kept.state["alerts"], AlertsState, str_keys=True)
                alerts.stop_all("rule-removed", scene.watched)
        self._removed = []
        return drafts

    def _stamp(self, drafts: Sequence[Draft], pts: int, capture_us: int) -> list[Event]:
        """Put drafts into envelopes, with the next sequence numbers of their families."""
        run = self._run
        events = []
        for draft in drafts:
            family = _family(draft.data)
            sequence = run.sequences.get(family, 0)
            run.sequences[family] = sequence + 1
            events.append(
                Event(
                    id=draft.id,
                    source=self._source,
                    time_us=capture_us,
                    epoch=run.epoch,
                    sequence=sequence,
                    pts=pts,
                    data=draft.data,
                )
            )
        return events


def _family(data: AnyPayload) -> str:
    """The second word of the payload's type."""
    return str(data.__struct_config__.tag).split(".", 2)[1]

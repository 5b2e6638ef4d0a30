"""The engine: one camera's observations in, events out. Pure: no I/O, no clock, no chance.

    engine = Engine("town", "gate", rules)
    events = engine.begin(epoch, capture_us, (1280, 720))     # media time 0
    events = engine.observe(observation)                      # an analysed frame
    events = engine.tick(pts, capture_us)                     # a quiet camera: time passes, nothing moves
    engine.shed(from_pts, to_pts)                             # a span not analysed; before it has passed
    events = engine.view(view, capture_us)                    # a dome came to a preset, or left it
    events = engine.end(pts, capture_us)                      # the epoch is over

A dome's rules belong to presets. They live only while the camera is settled at theirs: when it leaves, their
alerts are cleared as `view-left` and no time passes for them; on arrival they begin as in a new epoch.

The same calls always give the same events with the same ids; an engine restored from a snapshot goes on bit
for bit as the one it was taken from.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from events.alerts import Alerts, AlertsState
from events.area_watches import CrowdWatch, DwellWatch, WrongWayWatch
from events.count_watches import LineWatch, ZoneWatch
from events.errors import IllegalTransition
from events.events import AnyPayload, Event, FaceCaptured, Place, ViewChanged, camera_source
from events.geometry import normalised
from events.ground import Ground
from events.intervals import Closed, Timeline, TimelineState
from events.learned import LearnedWatch
from events.media import TICKS
from events.observations import Observation, Shot
from events.rules import Anomaly, Crowd, Intrusion, Line, Loitering, Rule, Stationary, WrongWay, Zone
from events.scene import Draft, Naming, Scene
from events.stationary import StationaryWatch
from events.targets import Target, Targets, TargetsState
from events.views import View
from events.watch import Verdict, Watch

WATCHES: dict[type, type[Any]] = {
    Line: LineWatch,
    Zone: ZoneWatch,
    Intrusion: DwellWatch,
    Loitering: DwellWatch,
    Crowd: CrowdWatch,
    WrongWay: WrongWayWatch,
    Stationary: StationaryWatch,
    Anomaly: LearnedWatch,
}


class Captured(NamedTuple):
    """Capture times: of a shot's first and last detection, of the chosen picture, and of now."""

    since_us: int
    until_us: int
    at_us: int
    now_us: int


class _Run(msgspec.Struct):
    """Where the engine is. `sequences` and `observed_pts` are of the epoch."""

    epoch: int = 0
    running: bool = False
    size: tuple[int, int] = (1, 1)
    observed_pts: int = -1
    sequences: dict[str, int] = {}
    preset: str = ""
    """Where a dome is settled."""
    views: int = 0
    """How often it moved or settled in this epoch."""
    at_preset: dict[str, int] = {}
    """Analysed ticks of the current interval, by preset."""


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
    grounds: calibrations by preset; that of a camera that does not move under the empty name.
    place: where the camera is.
    """

    def __init__(
        self,
        site: str,
        camera: str,
        rules: Sequence[Rule],
        interval_s: int = 60,
        grounds: Mapping[str, Ground] | None = None,
        place: Place | None = None,
    ) -> None:
        """Raises ValueError: two rules have the same name."""
        names = [rule.name for rule in rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"camera {camera!r} has two rules named {name!r}: rename one")
        self._site, self._camera = site, camera
        self._source = camera_source(site, camera)
        self._watches: list[Watch] = [
            WATCHES[type(rule)](Naming(site, camera, rule.name, rule.preset), rule) for rule in rules
        ]
        self._grounds = dict(grounds or {})
        self._place = place
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
            if self._lives(watch):
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

    def view(self, view: View, capture_us: int) -> list[Event]:
        """A dome began to move or came to rest, as the picture at `view.pts` shows.

        Raises:
            IllegalTransition: no epoch has begun.
        """
        run = self._running()
        events = self._advance(view.pts, capture_us)
        was = run.preset
        drafts = self._leave(self._scene(capture_us, view.pts))
        run.preset = view.preset
        name = Naming(self._site, self._camera, "")
        data = ViewChanged(state=view.state, preset=view.preset, was=was, score=round(view.score, 3))
        drafts.append(Draft(name.id(run.epoch, capture_us, 0, "view", run.views), data))
        run.views += 1
        scene = self._scene(capture_us, view.pts)
        for watch in self._watches:
            if run.preset and watch.rule.preset == run.preset:
                watch.begin(scene)
                drafts += watch.take()
        return events + self._stamp(drafts, view.pts, capture_us)

    def _leave(self, scene: Scene) -> list[Draft]:
        """The camera looks elsewhere from now on: nothing that was there is there any more."""
        drafts: list[Draft] = []
        for watch in self._watches:
            if self._run.preset and watch.rule.preset == self._run.preset:
                watch.end(scene, "view-left")
                drafts += watch.take()
            watch.forget()
        self._targets.drop()
        return drafts

    def captured(self, shot: Shot, times: Captured, pts: int, sealed: bool) -> list[Event]:
        """A face's best picture was chosen, at media time `pts`. `sealed`: its original is kept, encrypted.

        Raises:
            IllegalTransition: no epoch has begun.
        """
        run = self._running()
        capture = Naming(self._site, self._camera, "").id(run.epoch, times.since_us, shot.track, "face", 0)
        box = (shot.box.x1, shot.box.y1, shot.box.x2, shot.box.y2)
        key = f"faces/{self._camera}/{capture}"
        data = FaceCaptured(
            capture=capture,
            track=shot.track,
            since_us=times.since_us,
            until_us=times.until_us,
            at_us=times.at_us,
            box=normalised(box, shot.size),
            place=self._place,
            quality=shot.quality,
            measures=shot.measures,
            picture=f"{key}.jpg",
            sealed=f"{key}.age" if sealed else "",
        )
        return self._stamp([Draft(capture, data)], pts, times.now_us)

    def judge(self, alert: str, verdict: Verdict) -> None:
        """An operator said what an alert was: the rules that learn take it to heart. Told twice it changes
        nothing."""
        for watch in self._watches:
            watch.judge(alert, verdict)

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
            if self._lives(watch):
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
            if watch is not None and watch.inherits(kept.rule):
                watch.restore(kept.state)
            else:
                self._removed.append(kept)
        for watch in self._watches:
            watch.scale(self._run.size)

    def _running(self) -> _Run:
        if not self._run.running:
            raise IllegalTransition(f"camera {self._camera!r}: no epoch has begun")
        return self._run

    def _lives(self, watch: Watch) -> bool:
        """Whether its rule holds for where the camera looks."""
        return not watch.rule.preset or watch.rule.preset == self._run.preset

    def _scene(self, capture_us: int, pts: int, seen: Sequence[Target] = (), *, fresh: bool = False) -> Scene:
        run = self._run
        watched = self._timeline.state.watched
        ground = self._grounds.get(run.preset)
        return Scene(run.epoch, pts, watched, capture_us, run.size, seen, self._targets.gone, fresh, ground)

    def _look(self, scene: Scene) -> list[Event]:
        drafts = self._clear_removed(scene)
        for watch in self._watches:
            if self._lives(watch):
                watch.step(scene)
                if watch.drafts:
                    drafts += watch.take()
        return self._stamp(drafts, scene.pts, scene.capture_us) if drafts else []

    def _advance(self, pts: int, capture_us: int) -> list[Event]:
        """Let time pass, closing the intervals on the way."""
        events: list[Event] = []
        at = self._run.at_preset
        for piece in self._timeline.advance(pts, capture_us):
            at[self._run.preset] = at.get(self._run.preset, 0) + piece.ticks
            for watch in self._watches:
                if self._lives(watch):
                    watch.elapse(piece.ticks, piece.watched)
            events += self._close(piece.closed)
        return events

    def _close(self, closed: Closed | None) -> list[Event]:
        if closed is None:
            return []
        drafts: list[Draft] = []
        at, self._run.at_preset = self._run.at_preset, {}
        for watch in self._watches:
            preset = watch.rule.preset
            observed = closed._replace(observed_s=round(at.get(preset, 0) / TICKS, 3)) if preset else closed
            watch.close(observed, self._run.epoch)
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

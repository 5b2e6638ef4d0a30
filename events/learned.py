"""The watch that learns what is usual at its camera and tells what is not.

Each target's pass is looked at in moments of about half a second (`events/passes.py`). A moment gives a score
for each attribute (`events/density.py`); a score holds when `HOLD` moments in a row reached it, so a single
bad box does nothing. When the held score of an attribute is above its limit (`events/rarity.py`), that is an
alert. When the pass is over it is learned, so a pass is always scored by what came before it.

A pass with an alert is not learned until somebody judges it (`events/verdicts.py`).
"""

from typing import Any

import msgspec

from events.alerts import Alerts, AlertsState
from events.density import STEPS, UNIT, Density, DensityState, around
from events.doings import ATTRIBUTES, Doing, cell_of, group_of, note
from events.events import Reason
from events.geometry import Polygon
from events.media import TICKS
from events.passes import AWAY, HOLD, Pass, Scored, began, doing, goes_on, held, look
from events.rarity import BIN, DAY, LEAST, Limit, Rarity, RarityState
from events.rules import Anomaly, Rule
from events.scene import Naming, Scene
from events.targets import Target
from events.unusual import History, detail
from events.verdicts import Record, Verdicts, VerdictsState
from events.watch import Verdict, Watch, evidence

PASSES = 64
"""Most targets that are watched at once."""
BELOW_1 = 1 - 1e-9


class LearnedState(msgspec.Struct):
    """All that the watch remembers beside density, limits and alerts."""

    passes: dict[int, Pass] = {}
    limits: list[Limit] = msgspec.field(default_factory=lambda: [Limit(LEAST, BIN)] * len(ATTRIBUTES))
    watched: int = 0
    """Ticks in all."""
    last: int = -1
    """When the last scene was (watched ticks); -1: none yet in this epoch."""
    due: int = 0
    """When the next step of forgetting is (watched ticks)."""
    finished: int = 0
    """Passes in all."""
    unit: str = ""


class LearnedWatch(Watch):
    """Learns passes, and raises an alert where one is unusual."""

    rule: Anomaly

    def __init__(self, naming: Naming, rule: Anomaly) -> None:
        super().__init__(naming, rule)
        self.alerts = Alerts(naming, "anomaly", rule.severity, (0.0, rule.clear_s), self.drafts)
        self.density = Density([group_of(label) for label in rule.labels])
        self.rarity = Rarity()
        self.verdicts = Verdicts(self.density, self.rarity)
        self.state = LearnedState()
        self._labels = frozenset(rule.labels)
        self._polygon = Polygon(rule.polygon)
        self._step = max(1, round(rule.half_life_days * DAY / STEPS))

    def inherits(self, before: Rule) -> bool:
        """What was learned holds as long as the rule is about the same."""
        same = ("labels", "polygon", "preset", "utc_offset_h")
        return isinstance(before, Anomaly) and all(getattr(before, f) == getattr(self.rule, f) for f in same)

    @property
    def ready(self) -> bool:
        """Whether enough was learned to speak."""
        state, rule = self.state, self.rule
        return state.watched >= rule.warmup_h * 3600 * TICKS and state.finished >= rule.warmup_passes

    # --- the engine's calls

    def begin(self, scene: Scene) -> None:
        self.state.last = scene.watched

    def step(self, scene: Scene) -> None:
        self._pass_time(scene)
        for target in scene.seen:
            if target.label in self._labels and self._inside(target, scene):
                self._follow(target, scene)
        for serial in sorted(self.state.passes):
            one = self.state.passes[serial]
            if one.alert and scene.watched - one.last > AWAY:
                self.alerts.lapses(serial, "left")
        self.alerts.sweep(scene.watched)
        for serial in sorted(self.state.passes):
            one = self.state.passes[serial]
            if one.alert and not self.alerts.is_open(serial):
                self._finish(one)
                self.state.passes[serial] = goes_on(one)
        for serial in scene.gone:
            if serial in self.state.passes:
                self.alerts.lapses(serial, "left")
                self._finish(self.state.passes.pop(serial))
        self.alerts.forget(scene.gone)

    def end(self, scene: Scene, why: Reason = "stream-ended") -> None:
        self.alerts.stop_all(why, scene.watched)

    def forget(self) -> None:
        for serial in sorted(self.state.passes):
            self._finish(self.state.passes[serial])
        self.state.passes.clear()
        self.state.last = -1

    def _parts(self) -> list[tuple[str, Any, str, Any]]:
        return [
            ("alerts", self.alerts, "state", AlertsState),
            ("density", self.density, "state", DensityState),
            ("rarity", self.rarity, "state", RarityState),
            ("verdicts", self.verdicts, "state", VerdictsState),
            ("learned", self, "state", LearnedState),
        ]

    # --- time

    def _hour(self, capture_us: int) -> float:
        return (capture_us / 3.6e9 + self.rule.utc_offset_h) % 24

    def _pass_time(self, scene: Scene) -> None:
        """Time was watched: forget, and settle what nobody judged."""
        state = self.state
        since, state.last = state.last, scene.watched
        if since < 0 or scene.watched <= since:
            return
        passed = scene.watched - since
        state.watched += passed
        self.rarity.state.watched += passed
        self.density.watch(int(self._hour(scene.capture_us)), passed)
        state.due = min(state.due or state.watched + self._step, state.watched + self._step)
        while state.watched >= state.due:
            self._fade()
        self.verdicts.expire(state.watched)

    def _fade(self) -> None:
        self.state.due += self._step
        self.density.fade()
        self.rarity.fade()
        self.verdicts.fade()

    # --- a target

    def _inside(self, target: Target, scene: Scene) -> bool:
        # whose feet are below the picture's lower edge stands at the edge, which is inside
        x, y = target.x / scene.size[0], target.y / scene.size[1]
        return self._polygon.contains(min(max(x, 0.0), BELOW_1), min(max(y, 0.0), BELOW_1))

    def _follow(self, target: Target, scene: Scene) -> None:
        passes = self.state.passes
        if target.serial not in passes:
            if len(passes) >= PASSES:
                return
            hour = int(self._hour(scene.capture_us))
            passes[target.serial] = began(group_of(target.label), hour, target, scene)
        one = passes[target.serial]
        moment = look(one, target, scene)
        if moment is None:
            return
        self._measured_in("bodies/s" if scene.ground is None else "m/s")
        did = doing(one, moment, target, scene, self._hour(scene.capture_us))
        scored = Scored(moment.since, moment.since_us, self.density.scores(did))
        one.recent = [*one.recent[1 - HOLD :], scored]
        note(one.passed, did)
        scores = held(one.recent)
        one.peaks = [max(pair) for pair in zip(one.peaks, scores, strict=True)]
        excess, index = self.excess(scores, (did.x, did.y), did.group)
        if excess < 0 or not self.ready:
            self.alerts.lapses(target.serial, "returned")
        else:
            self._alert(one, index, did, target, scene)

    def _measured_in(self, unit: str) -> None:
        """A camera that was calibrated since measures speeds in metres: those before do not compare."""
        if self.state.unit not in ("", unit):
            self.density.drop_speeds()
        self.state.unit = unit

    def excess(self, scores: list[int], place: tuple[float, float], group: str) -> tuple[int, int]:
        """By how much the most unusual attribute is above its limit there (hundredths of an e-fold of
        rarity; below 0: it is not), and which it is."""
        cells = [cell for weight, cell in around(*place) if weight > 0]
        best = (-100_000, 0)
        for index, (score, limit) in enumerate(zip(scores, self.state.limits, strict=True)):
            if not self.verdicts.mutes(index, group, cells):
                over = score - limit.score - self.verdicts.margin(index, cells)
                best = max(best, (100 * over // limit.fold, index))
        return best

    def _alert(self, one: Pass, index: int, did: Doing, target: Target, scene: Scene) -> None:
        began_at = one.recent[0]
        percentile = self.rarity.percentile(index, held(one.recent)[index])
        history = History(percentile, self.state.watched / DAY, self.state.unit)
        said = detail(ATTRIBUTES[index], did, self.density, history, target.label)
        since = (began_at.since, began_at.since_us)
        self.alerts.holds(target.serial, since, evidence(target, scene, said), scene)
        if not one.alert:
            alert = self.alerts.state.alerts[target.serial]
            one.alert = self.naming.id(alert.epoch, alert.since_us, alert.key, "alert", alert.occurrence)
            self.verdicts.keep(one.alert, Record(one.passed.group, index, cell_of(did.x, did.y)))

    # --- learning

    def _finish(self, one: Pass) -> None:
        """A pass is over: learn it, or wait for a verdict."""
        if one.alert:
            self.verdicts.over(one.alert, one.passed, one.peaks, self.state.watched)
        elif one.passed.samples:
            self.density.learn(one.passed, UNIT)
            self.rarity.add(one.peaks)
            self.state.finished += 1
        self._renew_limits()

    def _renew_limits(self) -> None:
        """Each attribute has its share of the alerts that are accepted."""
        share = self.rule.rate / len(ATTRIBUTES)
        self.state.limits = [self.rarity.limit(index, share) for index in range(len(ATTRIBUTES))]

    def judge(self, alert: str, verdict: Verdict) -> None:
        if self.verdicts.judge(alert, verdict):
            self._renew_limits()

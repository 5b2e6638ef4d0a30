"""The watch: one for each rule, holding the rule's state and turning scenes into drafts of events.

A watch is driven by the engine: `scale` when the picture's size is known, `begin` and `end` around an epoch,
`step` for each scene, `elapse` for analysed time that passed, `close` when an interval is over.
"""

from typing import Any, Literal

import msgspec

from events.alerts import Evidence
from events.events import Reason
from events.geometry import normalised
from events.intervals import Closed
from events.media import TICKS
from events.rules import Rule
from events.scene import Draft, Naming, Scene
from events.targets import Target

Verdict = Literal["true", "false", "ignore"]


class Watch:
    """Base: a watch that does nothing."""

    def __init__(self, naming: Naming, rule: Rule) -> None:
        self.rule: Rule = rule
        self.naming = naming
        self.drafts: list[Draft] = []
        """What is to be published since the last `take`."""

    def take(self) -> list[Draft]:
        """What is to be published since the last call."""
        drafts = self.drafts[:]
        self.drafts.clear()
        return drafts

    def scale(self, size: tuple[int, int]) -> None:
        """The analysed picture has this size now."""

    def begin(self, scene: Scene) -> None:
        """An epoch begins."""

    def step(self, scene: Scene) -> None:
        """Look at the scene."""
        raise NotImplementedError

    def elapse(self, ticks: int, watched: int) -> None:
        """So much analysed time passed, up to `watched`, in which the last scene stayed as it was."""

    def close(self, interval: Closed, epoch: int) -> None:
        """An interval is over: draft its totals, and begin the next with none."""

    def end(self, scene: Scene, why: Reason = "stream-ended") -> None:
        """The epoch is over, or a dome turns away: alerts are cleared for that reason."""

    def forget(self) -> None:
        """The epoch's targets are no more."""

    def judge(self, alert: str, verdict: Verdict) -> None:
        """An operator said what an alert was. Told twice it changes nothing."""

    def inherits(self, before: Rule) -> bool:
        """Whether the state that was kept with the rule as it was before still holds."""
        return before == self.rule

    def snapshot(self) -> dict[str, Any]:
        """The state as JSON values."""
        return _builtins({name: getattr(part, field) for name, part, field, _ in self._parts()})

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot of the same rule."""
        for name, part, field, kind in self._parts():
            setattr(part, field, msgspec.convert(state[name], kind, str_keys=True))

    def _parts(self) -> list[tuple[str, Any, str, Any]]:
        """Name in the snapshot, object, attribute and type of each part of the state."""
        return []


def _builtins(value: Any) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(value, str_keys=True)
    return built


def evidence(target: Target, scene: Scene, detail: dict[str, float | str]) -> Evidence:
    """A single target as evidence. On calibrated ground its speed is told, too."""
    place = scene.place(target.x, target.y)
    speed = scene.speed_mps(target)
    if speed is not None:
        detail = detail | {"speed_mps": speed}
    return Evidence(target.label, target.ordinals, normalised(target.box, scene.size), detail, place)


def lasted_s(since: int, scene: Scene) -> float:
    """Seconds of analysed time since then, to a tenth."""
    return round((scene.watched - since) / TICKS, 1)

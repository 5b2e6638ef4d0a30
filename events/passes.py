"""A target's pass, moment by moment: what it does between two scores, in whole numbers."""

from math import atan2, degrees, hypot
from typing import NamedTuple

import msgspec

from events.doings import ATTRIBUTES, Doing, Passed
from events.media import TICKS, ticks
from events.scene import Scene
from events.targets import Target

LEAST_MOMENT = ticks(0.35)
"""A moment lasts so long, and at least two looks."""
HOLD = 3
"""So many moments in a row must be unusual."""
AWAY = ticks(2.0)
"""Not seen for so long: the moment begins anew, and an alert's condition is over."""
MOVES = 0.25
"""Heights of its own per second below which a target has no direction."""
STAYS = 1.5
"""Heights from where it was within which a target stays."""


class Moment(msgspec.Struct, array_like=True):
    """Where and when a moment began, and sums over its looks."""

    since: int
    """Watched ticks."""
    since_us: int
    at: tuple[int, int]
    """Foot point, ten-thousandths of the picture."""
    looks: int = 0
    whole: int = 0
    """Looks that showed all of it, and so where it stands and how large it is."""
    height: int = 0
    """Ten-thousandths of the picture's height."""


class Scored(NamedTuple):
    """The scores of a moment and when it began."""

    since: int
    since_us: int
    scores: list[int]


class Pass(msgspec.Struct):
    """A target on its way, since it came or since its last alert was over."""

    passed: Passed
    moment: Moment
    anchor: tuple[int, int]
    """From where it is told whether it stays, ten-thousandths of the picture."""
    stayed: int
    """Since when it does (watched ticks)."""
    last: int
    """When it was last seen."""
    recent: list[Scored] = []
    """The last moments, at most HOLD."""
    peaks: list[int] = msgspec.field(default_factory=lambda: [0] * len(ATTRIBUTES))
    """The highest score that each attribute held."""
    alert: str = ""
    """What was raised about it."""


def began(group: str, hour: int, target: Target, scene: Scene) -> Pass:
    """The pass of a target that is there for the first time."""
    moment = _moment(target, scene)
    return Pass(Passed(group, hour), moment, moment.at, scene.watched, scene.watched)


def goes_on(one: Pass) -> Pass:
    """A new pass of the same target, after an alert about it is over."""
    fresh = Passed(one.passed.group, one.passed.hour)
    return Pass(fresh, one.moment, one.anchor, one.stayed, one.last)


def look(one: Pass, target: Target, scene: Scene) -> Moment | None:
    """Add a look; answers the moment that is over with it, if one is."""
    if scene.watched - one.last > AWAY:
        one.moment = _moment(target, scene)
        one.recent = []
    one.last = scene.watched
    w, h = scene.size
    x, y = _at(target, scene)
    away = hypot((x - one.anchor[0]) * w, (y - one.anchor[1]) * h) / 10_000
    if away > STAYS * target.height:
        one.anchor, one.stayed = (x, y), scene.watched
    moment = one.moment
    moment.looks += 1
    if not target.hidden and target.height > 0:
        moment.whole += 1
        moment.height += round(10_000 * target.height / h)
    if moment.looks < 2 or scene.watched - moment.since < LEAST_MOMENT:
        return None
    one.moment = _moment(target, scene)
    return moment


def doing(one: Pass, moment: Moment, target: Target, scene: Scene, hour: float) -> Doing:
    """What the target did in a moment that is over now. How fast it was is told by where it got to: a bad box
    in between leaves no trace."""
    w, h = scene.size
    x, y = _at(target, scene)
    dx, dy = (x - moment.at[0]) * w / 10_000, (y - moment.at[1]) * h / 10_000
    known = moment.looks == moment.whole
    size = moment.height / (10_000 * moment.whole) if known else None
    pace = _speed(hypot(dx, dy) / (size * h), moment, scene) if size else 0.0
    moves = pace >= MOVES
    return Doing(
        group=one.passed.group,
        x=target.x / w,
        y=target.y / h,
        speed=None if not known else _metres(moment, (x, y), scene) if scene.ground else pace,
        heading=degrees(atan2(dx, -dy)) % 360 if moves else None,
        size=size,
        stay_s=(scene.watched - one.stayed) / TICKS,
        hour=hour,
    )


def _speed(way: float, moment: Moment, scene: Scene) -> float:
    return way * TICKS / (scene.watched - moment.since)


def _metres(moment: Moment, now: tuple[int, int], scene: Scene) -> float | None:
    """Metres per second on calibrated ground; None beyond it."""
    if scene.ground is None:
        return None
    before = scene.ground.metres(moment.at[0] / 10_000, moment.at[1] / 10_000)
    after = scene.ground.metres(now[0] / 10_000, now[1] / 10_000)
    if before is None or after is None:
        return None
    return _speed(hypot(after[0] - before[0], after[1] - before[1]), moment, scene)


def held(recent: list[Scored]) -> list[int]:
    """The score of each attribute that all of the last HOLD moments reached; 0 while there are fewer."""
    if len(recent) < HOLD:
        return [0] * len(ATTRIBUTES)
    return [min(scores) for scores in zip(*(scored.scores for scored in recent), strict=True)]


def _moment(target: Target, scene: Scene) -> Moment:
    return Moment(scene.watched, scene.capture_us, _at(target, scene))


def _at(target: Target, scene: Scene) -> tuple[int, int]:
    w, h = scene.size
    return round(10_000 * target.x / w), round(10_000 * target.y / h)

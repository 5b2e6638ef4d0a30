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
MOVES = 250
"""Thousandths of its height per second below which a target has no direction."""
STAYS = 1.5
"""Heights from where it was within which a target stays."""


class Moment(msgspec.Struct, array_like=True):
    """Sums over the looks of a moment, and when it began."""

    since: int
    """Watched ticks."""
    since_us: int
    looks: int = 0
    moving: int = 0
    """Looks that showed how it moves and how large it is."""
    speed: int = 0
    """Thousandths of the unit."""
    dx: int = 0
    """Pixels per second."""
    dy: int = 0
    pace: int = 0
    """Thousandths of its height per second."""
    size: int = 0
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
    moment = Moment(scene.watched, scene.capture_us)
    return Pass(Passed(group, hour), moment, _at(target, scene), scene.watched, scene.watched)


def goes_on(one: Pass) -> Pass:
    """A new pass of the same target, after an alert about it is over."""
    fresh = Passed(one.passed.group, one.passed.hour)
    return Pass(fresh, one.moment, one.anchor, one.stayed, one.last)


def look(one: Pass, target: Target, scene: Scene) -> Moment | None:
    """Add a look; answers the moment that is over with it, if one is."""
    if scene.watched - one.last > AWAY:
        one.moment = Moment(scene.watched, scene.capture_us)
        one.recent = []
    one.last = scene.watched
    w, h = scene.size
    x, y = _at(target, scene)
    away = hypot((x - one.anchor[0]) * w, (y - one.anchor[1]) * h) / 10_000
    if away > STAYS * target.height:
        one.anchor, one.stayed = (x, y), scene.watched
    moment = one.moment
    moment.looks += 1
    if scene.fresh and not target.hidden and target.height > 0:
        _measure(moment, target, scene)
    if moment.looks < 2 or scene.watched - moment.since < LEAST_MOMENT:
        return None
    one.moment = Moment(scene.watched, scene.capture_us)
    return moment


def _measure(moment: Moment, target: Target, scene: Scene) -> None:
    pace = hypot(target.vx, target.vy) / target.height
    speed = pace if scene.ground is None else scene.speed_mps(target)
    if speed is None:  # beyond the calibrated ground
        return
    moment.moving += 1
    moment.pace += round(1000 * pace)
    moment.speed += round(1000 * speed)
    moment.dx += round(target.vx)
    moment.dy += round(target.vy)
    moment.size += round(10_000 * target.height / scene.size[1])


def doing(one: Pass, moment: Moment, target: Target, scene: Scene, hour: float) -> Doing:
    """What the target did in a moment that is over now."""
    n = moment.moving
    moves = n > 0 and moment.pace >= MOVES * n
    return Doing(
        group=one.passed.group,
        x=target.x / scene.size[0],
        y=target.y / scene.size[1],
        speed=moment.speed / (1000 * n) if n else None,
        heading=degrees(atan2(moment.dx, -moment.dy)) % 360 if moves else None,
        size=moment.size / (10_000 * n) if n else None,
        stay_s=(scene.watched - one.stayed) / TICKS,
        hour=hour,
    )


def held(recent: list[Scored]) -> list[int]:
    """The score of each attribute that all of the last HOLD moments reached; 0 while there are fewer."""
    if len(recent) < HOLD:
        return [0] * len(ATTRIBUTES)
    return [min(scores) for scores in zip(*(scored.scores for scored in recent), strict=True)]


def _at(target: Target, scene: Scene) -> tuple[int, int]:
    w, h = scene.size
    return round(10_000 * target.x / w), round(10_000 * target.y / h)

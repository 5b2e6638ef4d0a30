"""Targets: what the rules watch. A target outlives the tracks that show it, and has a steadier foot point.

A tracker's ordinal is not an object: after an occlusion the same person often comes back under a new ordinal.
`Targets` hands a lost target over to a new track of the same class that appears soon, near where the lost one
would be by now, and of a like height. A target that was walking out of the picture is not handed over.

The foot point (middle of the box's lower edge) is made steadier in two ways, both causal and deterministic:

* occlusion: where the box suddenly shrinks while its top stays, something hides the feet; the foot is then
  put at the known height below the top;
* noise: an exponential mean over time with constant `SMOOTH_S` (about two frames at 10 a second, less than
  one at 5), which forgets by media time, so gaps and uneven rates need no care.

Only boxes that were detected (`seen`) move a target; a tracker's predictions do not.
"""

from collections.abc import Iterable
from math import exp

import msgspec

from events.geometry import Corners, Point, segment_distance
from events.media import TICKS
from events.observations import Observation, Track

SMOOTH_S = 0.12
"""Time constant of the foot point."""

SPEED_S = 0.5
"""Time constant of the speed."""

HEIGHT_S = 1.0
"""Time constant of the height that a whole box has."""

HIDDEN_S = 4.0
"""Time constant at which the known height gives way while the feet seem hidden."""

SPARSE_S = 6.0
"""A target that was missed in one frame alone may be handed over this long after its last detection: on a
camera that is looked at each second or two, one missed detection is no loss."""

KEEP_TRACKS = 8
"""So many of a target's ordinals are remembered, the newest."""


class Target(msgspec.Struct):
    """One object in the scene. The engine changes it in place; rules only read it."""

    serial: int
    """Counts the targets of one epoch from 1."""
    ordinal: int
    """The track that shows it now."""
    ordinals: tuple[int, ...]
    label: str
    box: Corners
    """The last detected box, pixels."""
    x: float
    """Steadied foot point, pixels."""
    y: float
    vx: float
    """Pixels per second."""
    vy: float
    height: float
    """Height of the whole object, pixels."""
    hidden: bool
    """Something seems to hide its feet."""
    pts: int
    """Media time of the last detection."""
    until: int
    """Media time up to which it is known to be there: `pts`, or later if nothing moved since."""
    missed: int
    """In so many frames (or ticks) since then it was not there."""
    first_us: int
    """Capture time of its first detection."""


class TargetsState(msgspec.Struct):
    """All that `Targets` remembers."""

    serial: int = 0
    targets: dict[int, Target] = {}
    current: dict[int, int] = {}
    """Ordinal to serial."""
    seen: list[int] = []
    """Serials detected in the last observation."""


class Targets:
    """Turns observations into targets. Pure: the same observations always give the same targets.

    handover_s: how long after its last detection a target may go on under a new ordinal.
    keep_s: how long an undetected target is remembered at all (its own ordinal may come back).
    """

    def __init__(self, handover_s: float = 2.5, keep_s: float = 30.0) -> None:
        self.state = TargetsState()
        self._handover_s = handover_s
        self._keep = round(keep_s * TICKS)
        self.gone: list[int] = []
        """Serials given up in the last call of `update` or `tick`."""

    def update(self, obs: Observation) -> list[Target]:
        """Advance to an analysed frame; answers the targets detected in it, in order of their serials."""
        state = self.state
        known: dict[int, Track] = {}
        new: list[Track] = []
        for track in obs.tracks:
            if not track.seen:
                continue
            serial = state.current.get(track.ordinal)
            if serial is None:
                new.append(track)
            else:
                known[serial] = track
        size = (obs.width, obs.height)
        for serial, track in known.items():
            _move(state.targets[serial], track, obs.pts, size)
        if new:
            known |= self._admit(new, known, obs)
        state.seen = sorted(known)
        self._forget(obs.pts, obs.ended)
        return [state.targets[serial] for serial in state.seen]

    def tick(self, pts: int) -> list[Target]:
        """Time passes and nothing moves: what was there stays. Answers the targets that are there."""
        state = self.state
        there = [state.targets[serial] for serial in state.seen]
        for target in there:
            target.until = max(target.until, pts)
        self._forget(pts, ())
        return there

    def lose(self) -> None:
        """Nobody looked for a while: whether what was there still is has to be seen."""
        self.state.seen = []

    def drop(self) -> None:
        """The camera looks elsewhere: forget all that was there. Serials go on."""
        self.state = TargetsState(serial=self.state.serial)
        self.gone = []

    def reset(self) -> None:
        """Forget everything (the epoch is over)."""
        self.state = TargetsState()
        self.gone = []

    def _admit(self, new: list[Track], known: dict[int, Track], obs: Observation) -> dict[int, Track]:
        """Hand lost targets over to new tracks, nearest first; the rest are new targets."""
        state = self.state
        size = (obs.width, obs.height)
        lost = [t for s, t in state.targets.items() if s not in known]
        pairs = sorted(
            (cost, target.serial, index)
            for target in lost
            for index, track in enumerate(new)
            if (cost := self._distance(target, track, obs)) is not None
        )
        taken: dict[int, int] = {}
        used: set[int] = set()
        for _, serial, index in pairs:
            if serial not in used and index not in taken:
                taken[index] = serial
                used.add(serial)
        admitted: dict[int, Track] = {}
        for index, track in enumerate(new):
            heir = taken.get(index)
            if heir is None:
                target = self._create(track, obs)
            else:
                target = state.targets[heir]
                if state.current.get(target.ordinal) == heir:
                    del state.current[target.ordinal]
                target.ordinal = track.ordinal
                target.ordinals = (*target.ordinals, track.ordinal)[-KEEP_TRACKS:]
                _move(target, track, obs.pts, size)
            state.current[track.ordinal] = target.serial
            admitted[target.serial] = track
        return admitted

    def _create(self, track: Track, obs: Observation) -> Target:
        state = self.state
        state.serial += 1
        box = track.box
        target = Target(
            serial=state.serial,
            ordinal=track.ordinal,
            ordinals=(track.ordinal,),
            label=track.label,
            box=(box.x1, box.y1, box.x2, box.y2),
            x=(box.x1 + box.x2) / 2,
            y=box.y2,
            vx=0.0,
            vy=0.0,
            height=box.y2 - box.y1,
            hidden=False,
            pts=obs.pts,
            until=obs.pts,
            missed=0,
            first_us=obs.capture_us,
        )
        state.targets[target.serial] = target
        return target

    def _distance(self, target: Target, track: Track, obs: Observation) -> float | None:
        """How far off the new track is, 0 to 1, or None if it cannot be the lost target.

        A lost person may have gone on as before or stopped: anything between the last place and the predicted
        one is equally good. Beyond that there is room of 0.3 body heights for the boxes' noise, and 0.6
        more for each second, since people turn: a walking person makes about 0.8 body heights a second.
        Heads are compared too, for a track that begins behind something shows no feet.
        """
        age = (obs.pts - target.until) / TICKS
        if target.label != track.label or not self._in_reach(target, obs.pts):
            return None
        box = track.box
        height = box.y2 - box.y1
        if not 0.5 <= height / max(target.height, 1.0) <= 2.0:
            return None
        goes = (target.x + target.vx * age, target.y + target.vy * age)
        if _left_picture(target, goes, (obs.width, obs.height)):
            return None
        x = (box.x1 + box.x2) / 2
        feet = segment_distance((x, box.y2), (target.x, target.y), goes)
        tall = target.height
        heads = segment_distance((x, box.y1), (target.x, target.y - tall), (goes[0], goes[1] - tall))
        room = 0.3 + 0.6 * min(age, self._handover_s)
        far = min(feet, heads) / (max(tall, 1.0) * room)
        return far if far <= 1.0 else None

    def _in_reach(self, target: Target, pts: int) -> bool:
        """Whether a new track may still be this target."""
        age = (pts - target.until) / TICKS
        return age <= self._handover_s or (target.missed <= 1 and age <= SPARSE_S)

    def _forget(self, pts: int, ended: Iterable[int]) -> None:
        """Drop what nobody can come back to: ended tracks past the handover, and all after `keep_s`."""
        state = self.state
        for ordinal in ended:
            # no longer its track's own; it stays in reach of a handover
            state.current.pop(ordinal, None)
        self.gone = []
        seen = set(state.seen)
        for serial in sorted(state.targets):
            if serial in seen:
                continue
            target = state.targets[serial]
            target.missed += 1
            if self._in_reach(target, pts):
                continue
            if pts - target.until > self._keep or state.current.get(target.ordinal) != serial:
                del state.targets[serial]
                if state.current.get(target.ordinal) == serial:
                    del state.current[target.ordinal]
                self.gone.append(serial)


def _left_picture(target: Target, goes: Point, size: tuple[int, int]) -> bool:
    """True if its box touched the picture's edge and its way leads out."""
    x1, y1, x2, y2 = target.box
    w, h = size
    edge = 0.01 * max(size)
    touched = x1 <= edge or y1 <= edge or x2 >= w - edge or y2 >= h - edge
    middle = goes[1] - target.height / 2
    return touched and not (0 < goes[0] < w and 0 < middle < h)


def _move(target: Target, track: Track, pts: int, size: tuple[int, int]) -> None:
    """Bring the target to its new detection."""
    box = track.box
    dt = (pts - target.pts) / TICKS
    height = box.y2 - box.y1
    foot = box.y2
    if height >= 0.85 * target.height or box.y2 >= size[1] - 2:
        target.hidden = False
    elif not target.hidden:
        # it shrinks: hidden if the feet went up and the head did not come down
        _, top, _, bottom = target.box
        head_stays = abs(box.y1 - top - target.vy * dt) < 0.12 * target.height
        target.hidden = head_stays and box.y2 - bottom - target.vy * dt < -0.1 * target.height
    if target.hidden:
        foot = min(box.y1 + target.height, float(size[1]))
        target.height += (height - target.height) * (1 - exp(-dt / HIDDEN_S))
    else:
        target.height += (height - target.height) * (1 - exp(-dt / HEIGHT_S))
    x, y = target.x, target.y
    share = 1 - exp(-dt / SMOOTH_S)
    target.x = x + ((box.x1 + box.x2) / 2 - x) * share
    target.y = y + (foot - y) * share
    if dt > 0:
        share = 1 - exp(-dt / SPEED_S)
        target.vx += ((target.x - x) / dt - target.vx) * share
        target.vy += ((target.y - y) / dt - target.vy) * share
    target.box = (box.x1, box.y1, box.x2, box.y2)
    target.pts = pts
    target.until = pts
    target.missed = 0

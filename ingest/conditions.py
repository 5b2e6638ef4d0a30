"""What can be wrong with a camera's picture: how long each must hold, which hides which, and what is said.

A condition is fed once a keyframe with what was seen of it: it holds, it does not, or nobody can tell (a
black picture says nothing about the focus). It is raised when it has held for its time, and cleared when it
was seen mended as often as its row asks. What is hidden by another neither begins nor ends.
"""

from typing import Literal

import msgspec

from events.media import TICKS

What = Literal["black", "frozen", "still", "glare", "covered", "turned", "shaken", "defocused"]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One condition's row."""

    hold_s: float
    """Media time from its first keyframe to the one that raises it, at least."""
    keyframes: int
    """Keyframes that show it, at least."""
    mended: int
    """Keyframes in a row without it that clear it."""
    raised: str
    cleared: str


RULES: dict[What, Rule] = {
    "black": Rule(
        hold_s=1,
        keyframes=2,
        mended=1,
        raised="the picture is black; look whether the lens is covered, or the infra-red light is off",
        cleared="the picture is lit again",
    ),
    "frozen": Rule(
        hold_s=1,
        keyframes=2,
        mended=1,
        raised="the picture stands still, its noise too; restart the camera unless it shows a drawing",
        cleared="the picture changes again",
    ),
    "still": Rule(
        hold_s=1,
        keyframes=2,
        mended=2,
        raised="old pictures are shown again: a still or a loop in place of the camera's; look who feeds "
        "the stream, then restart the camera",
        cleared="the camera's own pictures are back",
    ),
    "glare": Rule(
        hold_s=5,
        keyframes=3,
        mended=2,
        raised="the camera is blinded by light; shade it, or turn it away from the sun or lamp",
        cleared="the camera is no longer blinded",
    ),
    "covered": Rule(
        hold_s=5,
        keyframes=3,
        mended=2,
        raised="most of the scene is gone: the lens is covered or sprayed, or the light went out; clear or "
        "clean it",
        cleared="the scene is in sight again",
    ),
    "turned": Rule(
        hold_s=5,
        keyframes=3,
        mended=2,
        raised="the camera looks elsewhere; turn it back, or check its lines and zones",
        cleared="the camera looks where it did",
    ),
    "shaken": Rule(
        hold_s=0,  # it takes several keyframes to show at all
        keyframes=1,
        mended=4,
        raised="the camera shakes; fasten its mount",
        cleared="the camera is steady again",
    ),
    "defocused": Rule(
        hold_s=5,
        keyframes=3,
        mended=2,
        raised="the picture is out of focus; clean the lens, then focus it",
        cleared="the picture is sharp again",
    ),
}
"""In order from the root down: each is fed after those that can hide it."""

_PLACE: tuple[What, ...] = ("glare", "covered", "turned", "shaken", "defocused")

HIDES: dict[What, frozenset[What]] = {
    "black": frozenset({"frozen", "still", *_PLACE}),
    "frozen": frozenset({"still", *_PLACE}),
    "still": frozenset(_PLACE),
    "glare": frozenset(_PLACE[1:]),
    "covered": frozenset(_PLACE[2:]),
    "turned": frozenset(_PLACE[3:]),
    "shaken": frozenset(_PLACE[4:]),
    "defocused": frozenset(),
}
"""While the one holds, whether raised already or not, nothing is said of the others."""


UNSURE = 3
"""Keyframes at which nobody can tell, after which what was about to be raised begins anew."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A condition began or ended."""

    what: What
    state: Literal["raised", "cleared"]
    pts: int
    """Of the keyframe that decided it."""
    since: int
    """Media time of the first keyframe of the condition; `pts` where that was in an earlier epoch."""
    message: str


class Condition(msgspec.Struct):
    """How long one condition has held."""

    what: What
    since: int = -1
    """Of its first keyframe in this epoch; -1: it does not hold, or began before."""
    seen: int = 0
    """Keyframes that showed it, since `since`."""
    good: int = 0
    """Keyframes in a row without it, while it is raised."""
    unsure: int = 0
    """Keyframes in a row at which nobody could tell."""
    raised: bool = False

    def begin(self) -> None:
        """A new epoch: media time starts anew; what was raised stays so."""
        self.since, self.seen, self.good, self.unsure = -1, 0, 0, 0

    def hide(self) -> None:
        """Another one hides it at this keyframe."""
        self.good = 0
        if not self.raised:
            self.since, self.seen = -1, 0

    def feed(self, pts: int, holds: bool | None, since: int, hold_s: float, why: str) -> Change | None:
        """One keyframe. `since` counts if the condition begins here; None for `holds`: nobody can tell."""
        rule = RULES[self.what]
        if holds is None:
            self.good = 0
            self.unsure += 1
            if self.unsure >= UNSURE and not self.raised:
                self.since, self.seen = -1, 0
            return None
        self.unsure = 0
        if not holds:
            return self._without(pts, rule)
        self.good = 0
        if self.raised:
            return None
        if self.since < 0:
            self.since = since
            self.seen = int(since != pts)
        self.seen += 1
        held = pts - self.since
        if self.seen < rule.keyframes or held < hold_s * TICKS:
            return None
        self.raised = True
        return self._change("raised", pts, f"{rule.raised}{why}")

    def _without(self, pts: int, rule: Rule) -> Change | None:
        self.good += 1
        if not self.raised:
            self.since, self.seen = -1, 0
            return None
        return self.clear(pts, rule.cleared) if self.good >= rule.mended else None

    def clear(self, pts: int, message: str) -> Change:
        """It is over."""
        change = self._change("cleared", pts, message)
        self.begin()
        self.raised = False
        return change

    def _change(self, state: Literal["raised", "cleared"], pts: int, message: str) -> Change:
        since = self.since if self.since >= 0 else pts
        return Change(what=self.what, state=state, pts=pts, since=since, message=message)

"""Watchers over decoded keyframes: a frozen or black picture. Pure: times and pictures in, changes out.

* **Frozen**: the luma of successive keyframes is the same bit for bit. A living sensor's noise changes some
  pixel of every keyframe; a camera that repeats its last picture, or whose sensor hangs, does not. A stream
  without any noise (drawn by a computer) that stands still is therefore called frozen, and rightly so. A
  frozen picture that is encoded again at another quality differs and is not found.
* **Black**: at least 99 % of the pixels are darker than `BLACK`: a covered lens, a dead sensor, a night
  without infra-red.

Either is raised by the second such keyframe in a row, if at least one second of media time lies between it
and the first, else by the next one after that second; the first keyframe that is not so clears it.
Every 16th row is looked at.
"""

import zlib
from typing import Any, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from events.media import TICKS

What = Literal["frozen", "black"]

BLACK = 32
"""Luma of video black is 16; sensors in the dark give up to twice that."""

_SHARE = 0.01
_ROWS = 16

_RAISED: dict[What, str] = {
    "frozen": "the picture has not changed by one bit; restart the camera unless it shows a drawing",
    "black": "the picture is black; look whether the lens is covered, or the infra-red light is off",
}
_CLEARED: dict[What, str] = {"frozen": "the picture changes again", "black": "the picture is lit again"}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A condition began or ended."""

    what: What
    state: Literal["raised", "cleared"]
    pts: int
    """Of the keyframe that decided it."""
    since: int
    """Media time of the first keyframe of the condition."""
    message: str


class _Condition(msgspec.Struct):
    """How long one condition has held."""

    what: What
    since: int = -1
    raised: bool = False

    def feed(self, pts: int, holds: bool, since: int) -> Change | None:
        if holds:
            if self.since < 0:
                self.since = since
            if not self.raised and pts > self.since and pts - self.since >= TICKS:
                self.raised = True
                return self._change("raised", pts, _RAISED[self.what])
            return None
        change = self._change("cleared", pts, _CLEARED[self.what]) if self.raised else None
        self.since, self.raised = -1, False
        return change

    def _change(self, state: Literal["raised", "cleared"], pts: int, message: str) -> Change:
        return Change(what=self.what, state=state, pts=pts, since=self.since, message=message)


class PictureWatch:
    """Watches one stream epoch's keyframes, in order."""

    def __init__(self) -> None:
        self._frozen = _Condition("frozen")
        self._black = _Condition("black")
        self._mark = -1
        self._last_pts = 0

    def keyframe(self, pts: int, luma: NDArray[np.uint8]) -> list[Change]:
        """What this keyframe changes. `luma` is [height, width]; rows may lie apart."""
        rows = np.ascontiguousarray(luma[::_ROWS])
        mark = zlib.crc32(rows.data)
        dark = 1 - cv2.countNonZero(cv2.threshold(rows, BLACK, 1, cv2.THRESH_BINARY)[1]) / rows.size
        same = mark == self._mark
        changes = [
            self._frozen.feed(pts, same, self._last_pts),
            self._black.feed(pts, dark >= 1 - _SHARE, pts),
        ]
        self._mark, self._last_pts = mark, pts
        return [c for c in changes if c is not None]

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        return {
            "frozen": [self._frozen.since, self._frozen.raised],
            "black": [self._black.since, self._black.raised],
            "mark": self._mark,
            "last_pts": self._last_pts,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot, bit for bit."""
        for name in ("frozen", "black"):
            since, raised = state[name]
            setattr(self, f"_{name}", _Condition(name, since, raised))
        self._mark, self._last_pts = state["mark"], state["last_pts"]

"""Is the camera telling the truth? Watches keyframes, in order. Pure: times and pictures in, changes out.

Black pictures are told here; pictures that come again in `ingest/repeats.py`; a scene that is covered,
dazzled, turned away, shaken or out of focus in `ingest/scene.py`; how long each has to hold, and which hides
which, in `ingest/conditions.py`. Nothing is said of a scene before it is known, five keyframes after the
start or after `moved`.
"""

from typing import Any

import cv2
import numpy as np

from ingest import blocks, faults, gate
from ingest.conditions import HIDES, RULES, Change, Condition, What
from ingest.gate import Luma
from ingest.repeats import Repeat, Repeats
from ingest.scene import ABSORB_S, Scene, Sight

__all__ = ["Change", "PictureWatch"]

BLACK = 32
"""Luma of video black is 16; sensors in the dark give up to twice that."""

_SHARE = 0.01
_ROWS = 16
_CELL = 12
"""Grey levels by which a cell differs."""

_BRIGHTER = 3
_LIGHT = 0.6
"""Share of the cells that differ by more than `_BRIGHTER` from which the light has changed, or the view."""

_Said = dict[What, tuple[bool | None, int, float, str]]
"""Condition -> whether it holds, since when, for how long it has to, and what is added to its message."""


class PictureWatch:
    """Watches one camera's keyframes through its stream epochs."""

    def __init__(self) -> None:
        self._conditions: dict[What, Condition] = {what: Condition(what) for what in RULES}
        self._repeats = Repeats()
        self._scene = Scene()
        self._cells: Luma | None = None
        self._size = (0, 0)
        self._moved = False

    def begin(self) -> None:
        """A new stream epoch: what is known of the scene is kept, and what is wrong stays so until it is seen
        mended. Media time may begin anew."""
        for condition in self._conditions.values():
            condition.begin()
        self._repeats.begin()
        self._scene.begin()
        self._cells = None

    def moved(self) -> None:
        """The camera looks elsewhere on purpose: the scene is learned anew from the next keyframe on.

        Keyframes taken while it moves may be given or not; call this again when it has arrived.
        """
        self._scene.moved()
        self._repeats.forget()
        self._moved = True

    def keyframe(self, pts: int, luma: Luma) -> list[Change]:
        """What this keyframe changes. `luma` is [height, width]; rows may lie apart."""
        if luma.shape != self._size:
            if self._size != (0, 0):
                self._repeats.forget()
                self._repeats.begin()
                self._scene.resized()
            self._size = luma.shape
        cells = faults.grid(gate.shrink(luma))
        dark = _is_black(luma)
        moved, lit = self._compared(cells)
        repeat = self._repeats.keyframe(pts, luma, moved, lit)
        sight = self._scene.look(pts, cells, luma)
        changes = [*self._excused(pts), *self._judge(pts, _said(pts, dark, repeat, sight))]
        self._learn(pts, dark, changes)
        return changes

    def _compared(self, cells: Luma) -> tuple[int, bool]:
        """Cells that differ from the last keyframe's, and whether the light has changed."""
        last, self._cells = self._cells, cells
        if last is None or last.shape != cells.shape:
            return 0, True
        difference = cv2.absdiff(cells, last)
        moved = cv2.countNonZero(cv2.threshold(difference, _CELL, 1, cv2.THRESH_BINARY)[1])
        brighter = cv2.countNonZero(cv2.threshold(difference, _BRIGHTER, 1, cv2.THRESH_BINARY)[1])
        return moved, brighter > _LIGHT * cells.size

    def _judge(self, pts: int, said: _Said) -> list[Change]:
        """Feed the conditions from the root down."""
        changes = []
        hidden: set[What] = set()
        for what, condition in self._conditions.items():
            holds, since, hold_s, why = said[what]
            if what in hidden:
                condition.hide()
                continue
            change = condition.feed(pts, holds, since, hold_s, why)
            if change is not None:
                changes.append(change)
            if holds:
                hidden |= HIDES[what]
        return changes

    def _excused(self, pts: int) -> list[Change]:
        """Moved on purpose: it is not turned away, and nothing is known of its shaking."""
        if not self._moved:
            return []
        self._moved = False
        text = "the camera was moved on purpose"
        places: tuple[What, ...] = ("turned", "shaken")
        return [self._conditions[w].clear(pts, text) for w in places if self._conditions[w].raised]

    def _learn(self, pts: int, dark: bool, changes: list[Change]) -> None:
        open_ = [c.what for c in self._conditions.values() if c.raised or c.since >= 0]
        if not dark and not self._conditions["frozen"].raised:
            self._scene.learn(pts, not open_)
        turned = self._conditions["turned"]
        if not turned.raised:
            self._scene.returned()
        elif turned.good == 0 and self._scene.settle(pts):
            text = f"the new view has stood for {ABSORB_S / 60:g} minutes and is the camera's view now; "
            changes.append(turned.clear(pts, text + "check its lines and zones"))

    @property
    def wrong(self) -> dict[str, str]:
        """What is raised at present, and what is said of it."""
        return {what: RULES[what].raised for what, condition in self._conditions.items() if condition.raised}

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        return {
            "conditions": [[c.since, c.seen, c.good, c.unsure, c.raised] for c in self._conditions.values()],
            "repeats": self._repeats.snapshot(),
            "scene": self._scene.snapshot(),
            "cells": blocks.packed(self._cells),
            "size": self._size,
            "moved": self._moved,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot, bit for bit."""
        for condition, row in zip(self._conditions.values(), state["conditions"], strict=True):
            condition.since, condition.seen, condition.good, condition.unsure, condition.raised = row
        self._repeats.restore(state["repeats"])
        self._scene.restore(state["scene"])
        self._cells = blocks.unpacked(state["cells"])
        self._size = tuple(state["size"])
        self._moved = state["moved"]


def _is_black(luma: Luma) -> bool:
    rows = np.ascontiguousarray(luma[::_ROWS])
    return cv2.countNonZero(cv2.threshold(rows, BLACK, 1, cv2.THRESH_BINARY)[1]) <= _SHARE * rows.size


def _said(pts: int, dark: bool, repeat: Repeat, sight: Sight) -> _Said:
    """What a keyframe says of each condition."""
    dx, dy = sight.shift
    aside = f" (by {abs(dx):.0%} of the width {'right' if dx < 0 else 'left'}" if dx or dy else ""
    aside += f" and {abs(dy):.0%} {'down' if dy < 0 else 'up'})" if aside else ""
    again = f" (they come again after {repeat.round_s:.1f} s)" if repeat.round_s else ""
    elsewhere = not repeat.sure and bool(sight.covered or sight.turned or sight.glare)
    frozen, still = (None, None) if elsewhere else (repeat.frozen, repeat.still)
    hold = {what: rule.hold_s for what, rule in RULES.items()}
    return {
        "black": (dark, pts, hold["black"], ""),
        "frozen": (frozen, repeat.since, max(hold["frozen"], repeat.hold_s), ""),
        "still": (still, repeat.since, max(hold["still"], repeat.hold_s), again),
        "glare": (sight.glare, pts, hold["glare"], ""),
        "covered": (sight.covered, pts, hold["covered"], ""),
        "turned": (sight.turned, pts, hold["turned"], aside),
        "shaken": (sight.shaken, sight.shaken_since, hold["shaken"], ""),
        "defocused": (sight.defocused, pts, hold["defocused"], ""),
    }

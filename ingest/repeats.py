"""Do old pictures come again? Watches the noise of keyframes, in order. Pure.

A living sensor's noise is new in each keyframe. Three signs that it is not, from sure to likely:

* **the same bits** as the keyframe before (every 16th pixel row), or as one further back, again and again:
  a hung sensor, or a recording played round and round;
* **the same noise**, encoded anew: what changed from keyframe to keyframe (24 patches in full resolution, as
  384 signs) is what changed in an earlier round. Independent noise agrees in half of them;
* **noise that stands still**: from keyframe to keyframe the patches change by less than two thirds of what
  this camera was seen to change by, but are as rough as before. Encoding alone does not do that: it takes
  the roughness with the noise.

Some encoders leave no noise at all, and a quiet scene then repeats itself bit for bit. So the first sign
counts at once only for a camera that was seen alive; for one that repeats itself by nature it has to hold
ten minutes, and three times longer than it ever did without being a fault.
"""

import base64
import zlib
from collections.abc import Sequence
from typing import Any, cast

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from events.media import TICKS
from ingest.faults import PATCHES, SIDE, patches
from ingest.gate import Luma

ROUND = 32
"""Keyframes of the longest round that is looked for."""

ROUND_S = 60.0
"""And its longest time: what repeats after more than a minute is not told."""

NATURE_S = 600.0
"""How long a camera that repeats itself by nature has to do so until it is called frozen."""

_ROWS = 16
_DIFFER = 0.32
"""Share of a patch's 16 signs that may differ if its noise is the same; one patch in ten has as few by
chance."""

_AGREE = 0.65
"""Share of the patches whose noise must be the same; three quarters of them must have any. Independent noise
reached a third, a loop encoded anew stayed above two thirds. Half a picture that moves in the same way again
does not do."""

_NOISE = 3.0
"""Times its usual change up to which what changes in a patch is its noise."""

_LEARNT = 8
_LEAST = 0.3
"""Grey levels by which a camera's patches must usually change for its noise to be known."""

_AGAIN = 2
"""Keyframes after a change of light or view in which nothing is said of the noise, and less is learned."""

_STILL = 0.65
_MOSTLY = 0.85
_ROUGH = 0.9
_OVERLAY = 2
"""Cells that change under a still from which it carries a clock or the like."""

_COUNT = PATCHES[0] * PATCHES[1]
_QUARTERS = SIDE // 4

Levels = NDArray[np.float32]


class Repeat(msgspec.Struct, frozen=True):
    """What a keyframe says of repetition."""

    frozen: bool | None
    still: bool | None
    hold_s: float
    """For how long either has to hold to be believed."""
    since: int
    """Media time of the first picture of the repetition, if it begins here."""
    sure: bool = True
    """False: the noise stands still, which a covered lens may feign."""
    round_s: float = 0.0
    """After how long the pictures come again; 0: one picture."""


class Repeats:
    """One camera's pictures against its earlier ones."""

    def __init__(self) -> None:
        self._change: list[float] = []
        """How much each patch usually changes, and how rough it is; empty: not known."""
        self._rough: list[float] = []
        self._learnt = self._wait = 0
        self._alive = self._dull = 0
        """Pairs of keyframes that showed noise, and that did not."""
        self._longest_s = 0.0
        """The longest time for which the picture repeated itself and was no fault."""
        self.begin()

    def begin(self) -> None:
        """A new epoch: what is known of the camera's noise is kept."""
        self._marks: list[tuple[int, int]] = []
        self._last: Luma | None = None
        self._signs: list[tuple[bytes, bytes]] = []
        self._run = -1
        self._lag = self._lag_run = 0

    def forget(self) -> None:
        """Another view: its patches are as rough as they are."""
        self._learnt, self._change, self._rough = 0, [], []
        self._last, self._signs = None, []

    def keyframe(self, pts: int, picture: Luma, moved: int, lit: bool) -> Repeat:
        """One keyframe. `moved`: cells that differ from the keyframe before; `lit`: the light changed."""
        mark = zlib.crc32(np.ascontiguousarray(picture[::_ROWS]).data)
        now = patches(picture)
        last, self._last = self._last, now
        before = self._marks[-1] if self._marks else None
        same = before is not None and before[0] == mark
        if before is None or last is None or last.shape != now.shape:
            self._signs.clear()
            self._remember(pts, mark, None)
            return Repeat(None, None, 0.0, pts)
        change, signs = _changed(now, last, self._change)
        rough = _roughness(now)
        self._bits(pts, before[1], same, change)
        lag, first = self._again(mark, signs, same)
        quiet = same or self._stands(change, rough)
        if lit:
            self._wait = _AGAIN
        elif not quiet and not lag:
            self._learn(change, rough)
        self._remember(pts, mark, signs)
        round_s = (pts - first) / TICKS if lag else 0.0
        overlay = quiet and not same and moved >= _OVERLAY
        frozen = quiet and not overlay and not lag
        hold_s = self._patience() if same or lag else 4.0
        since = first if lag else before[1]
        begins = since if frozen or overlay else pts
        return Repeat(frozen, bool(lag) or overlay, hold_s, begins, same or bool(lag), round_s)

    def _patience(self) -> float:
        if self._longest_s or self._dull > 8 + self._alive // 19:
            return max(NATURE_S, 3 * self._longest_s)
        return 1.0 if self._alive >= 3 else 10.0

    def _bits(self, pts: int, before: int, same: bool, change: Levels) -> None:
        """Is it this camera's nature to repeat itself bit for bit?"""
        if same:
            self._run = before if self._run < 0 else self._run
            return
        trembling = int(np.count_nonzero((change > 0.02) & (change < 4)))
        if 4 * trembling >= _COUNT:
            self._alive += 1
        elif int(np.count_nonzero(change)) < _COUNT:
            self._dull += 1
        if self._alive + self._dull > 512:
            self._alive, self._dull = self._alive // 2, self._dull // 2
        if self._run >= 0 and self._alive < 50:
            self._longest_s = max(self._longest_s, (before - self._run) / TICKS)
        self._run = -1

    def _stands(self, change: Levels, rough: Levels) -> bool:
        """Has the noise stopped, though the patches are as rough as ever?"""
        if self._learnt < _LEARNT or self._wait:
            return False
        usual, usually = np.array(self._change, np.float32), np.array(self._rough, np.float32)
        if float(np.sort(usual)[_COUNT // 2]) < _LEAST:
            return False
        if float(np.sort(rough / np.maximum(usually, 0.1))[_COUNT // 2]) < _ROUGH:
            return False
        ratio = np.sort(change / np.maximum(usual, 0.1))
        return bool(ratio[_COUNT // 2] < _STILL and ratio[_COUNT * 3 // 4] < _MOSTLY)

    def _learn(self, change: Levels, rough: Levels) -> None:
        """Follow the lower quartile of each patch's change by steps of 4 %, and its roughness."""
        if not self._change:
            self._change, self._rough = change.tolist(), rough.tolist()
        usual, usually = np.array(self._change, np.float32), np.array(self._rough, np.float32)
        quick = self._learnt < _LEARNT or self._wait > 0
        if self._learnt < _LEARNT:
            self._learnt += 1
            usual += (np.minimum(change, 2 * usual + 1) - usual) * np.float32(0.4)
        elif self._wait:  # less noise may be right now; more may be the picture that moves
            self._wait -= 1
            usual += (np.minimum(change, usual) - usual) * np.float32(0.4)
        else:
            usual *= np.where(change > usual, 1.013, 0.96).astype(np.float32)
        usually += (rough - usually) * np.float32(0.4 if quick else 0.04)
        self._change, self._rough = np.maximum(usual, 0.01).tolist(), usually.tolist()

    def _again(self, mark: int, signs: tuple[bytes, bytes], same: bool) -> tuple[int, int]:
        """After how many keyframes this one comes again (0: it does not), and when it was seen."""
        found: list[int] = []
        if not same:
            found = [
                k for k in range(2, len(self._marks) + 1) if self._marks[-k][0] == mark
            ] or self._same_noise(signs)
        lag = self._lag if self._lag in found else (found[0] if found else 0)
        self._lag_run = self._lag_run + 1 if lag and lag == self._lag else int(bool(lag))
        self._lag = lag
        return (lag, self._marks[-lag][1]) if lag else (0, 0)

    def _same_noise(self, signs: tuple[bytes, bytes]) -> list[int]:
        if len(self._signs) < 2:
            return []
        value, valid = (np.frombuffer(s, np.uint8) for s in signs)
        values = np.frombuffer(b"".join(s for s, _ in self._signs), np.uint8).reshape(-1, len(value))
        both = np.frombuffer(b"".join(k for _, k in self._signs), np.uint8).reshape(values.shape) & valid
        differ = np.bitwise_count((values ^ value) & both).reshape(-1, _COUNT, 2).sum(axis=2, dtype=np.int64)
        count = np.bitwise_count(both).reshape(-1, _COUNT, 2).sum(axis=2, dtype=np.int64)
        told = count >= 8
        agree = told & (differ <= _DIFFER * count)
        known = told.sum(axis=1)
        alike = (4 * known >= 3 * _COUNT) & (agree.sum(axis=1) >= _AGREE * known)
        return [len(alike) - int(n) for n in np.flatnonzero(alike)[::-1] if len(alike) - int(n) >= 2]

    def _remember(self, pts: int, mark: int, signs: tuple[bytes, bytes] | None) -> None:
        self._marks.append((mark, pts))
        if signs is not None:
            self._signs.append(signs)
        while len(self._marks) > ROUND or pts - self._marks[0][1] > ROUND_S * TICKS:
            del self._marks[0]
        del self._signs[: max(0, len(self._signs) - len(self._marks))]

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        return {
            "change": self._change,
            "rough": self._rough,
            "counts": [
                self._learnt,
                self._wait,
                self._alive,
                self._dull,
                self._run,
                self._lag,
                self._lag_run,
            ],
            "longest_s": self._longest_s,
            "marks": self._marks,
            "last": None if self._last is None else _text(self._last.tobytes()),
            "signs": [_text(s + k) for s, k in self._signs],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot, bit for bit."""
        self._change, self._rough = list(state["change"]), list(state["rough"])
        self._learnt, self._wait, self._alive, self._dull, self._run, self._lag, self._lag_run = state[
            "counts"
        ]
        self._longest_s = state["longest_s"]
        self._marks = [(mark, pts) for mark, pts in state["marks"]]
        last = state["last"]
        flat = None if last is None else np.frombuffer(base64.b64decode(last), np.uint8)
        self._last = None if flat is None else flat.reshape(_COUNT, SIDE, SIDE)
        pairs = [base64.b64decode(text) for text in state["signs"]]
        self._signs = [(pair[: len(pair) // 2], pair[len(pair) // 2 :]) for pair in pairs]


def _changed(now: Luma, last: Luma, usual: Sequence[float]) -> tuple[Levels, tuple[bytes, bytes]]:
    """Mean absolute change of each patch beside its mean; and the signs of its sixteenths' changes, with
    which of them are known: none where something moves, or the whole picture does."""
    change = cv2.subtract(now.reshape(_COUNT, -1), last.reshape(_COUNT, -1), dtype=cv2.CV_32F)
    change = change - cv2.reduce(change, 1, cv2.REDUCE_AVG)
    levels = cv2.reduce(np.abs(change), 1, cv2.REDUCE_AVG)[:, 0]
    parts = cv2.resize(change.reshape(_COUNT * SIDE, SIDE), (4, _COUNT * 4), interpolation=cv2.INTER_AREA)
    known = np.abs(parts).reshape(_COUNT, -1) > 0.05
    if usual:
        known &= (levels <= _NOISE * np.maximum(np.array(usual, np.float32), _LEAST))[:, None]
    else:
        known[:] = False
    return cast(Levels, levels), (np.packbits(parts.ravel() > 0).tobytes(), np.packbits(known).tobytes())


def _roughness(now: Luma) -> Levels:
    """Mean absolute difference of neighbours in each patch."""
    flat = now.reshape(_COUNT * SIDE, SIDE)
    difference = cv2.absdiff(flat[:, 1:], flat[:, :-1]).reshape(_COUNT, -1)
    return cast(Levels, cv2.reduce(difference, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[:, 0])


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()

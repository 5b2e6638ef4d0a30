"""The motion gate: does this keyframe differ from what stood there before? Pure and deterministic.

The picture's luma is looked at in cells, 160 across (`luma`, `shrink`): a zero-copy view of the Y plane, two
bilinear samplings of it and their mean, 16 pixels to a cell whatever the picture's size, so that sensor noise
is divided by four. A keyframe has moved when more than `share` of the cells differ by more than `threshold`

* from the last keyframe: something moves now; or
* from the background, for `ABSORB` keyframes: something has come, gone, or crept.

The background follows by one grey level a keyframe (the sigma-delta background of Manzanera and Richefeu,
2007), so that daylight does not wake the camera; what stays is taken into it whole. A change of most of the
picture (a lamp, a switch to infra-red) is motion once and is absorbed at once.

With the default share an object shows when about 15 cells of 160 x 90 change. Both where it was and where it
is count: a walking person is seen from about 7 % of the picture's height on, one who stands there from about
9 % on (`tests/test_gate.py` measures it).

Packet sizes (`size`) are a hint only: under constant bit rate they tell nothing.
"""

import base64
import zlib
from collections.abc import Sequence
from math import log2
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.packets import Packet

Luma = NDArray[np.uint8]
"""[height, width] 0-255; rows may be further apart in memory than they are wide."""

CELLS = 160
"""Cells across the picture."""

ABSORB = 2
"""Keyframes without motion after which a lasting difference becomes background."""

WHOLE = 0.6
"""Share of the cells from which a change counts as one of the whole picture."""

SIZE_JUMP = 1.0
"""Doublings over the usual packet size that count at least as a jump."""

_STEP = 0.05
_LEARN = 50
_KERNEL = np.ones((3, 3), np.uint8)


def luma(frame: av.VideoFrame) -> Luma:
    """The frame's Y plane as a view: nothing is copied, and the view must not outlive the frame."""
    plane = frame.planes[0]
    rows = np.frombuffer(cast(Any, plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]


def shrink(picture: Luma) -> Luma:
    """The picture in cells, 160 across; each is the mean of 16 pixels spread over it."""
    height, width = picture.shape
    cells = (CELLS, max(1, round(CELLS * height / width)))
    finer = cv2.resize(picture, (2 * cells[0], 2 * cells[1]), interpolation=cv2.INTER_LINEAR)
    return cast(Luma, cv2.resize(finer, cells, interpolation=cv2.INTER_AREA))


class Gate:
    """One camera's gate. Feed it every probed keyframe in order."""

    def __init__(self, threshold: int = 12, share: float = 0.001) -> None:
        self._threshold = threshold
        self._share = share
        self._background: Luma | None = None
        self._last: Luma | None = None
        self._differing = 0
        self._sizes = _SizeJumps()

    luma = staticmethod(luma)

    def keyframe(self, picture: Luma) -> bool:
        """Whether the keyframe shows motion or a change; the first one after a reset does not."""
        return self.cells(shrink(picture))

    def cells(self, cells: Luma) -> bool:
        """The same for a picture that was shrunk already."""
        background, last = self._background, self._last
        self._last = cells
        if background is None or last is None or background.shape != cells.shape:
            self._background = cells.copy()
            self._differing = 0
            return False
        most = self._share * cells.size
        moved = self._count(cells, last)
        if moved > WHOLE * cells.size:
            self._background = cells.copy()
            self._differing = 0
            return True
        differs = self._count(cells, background) > most
        if moved > most:
            self._differing = 0
        elif differs:
            self._differing += 1
            if self._differing > ABSORB:
                self._background = cells.copy()
                self._differing = 0
                return False
        else:
            self._differing = 0
        self._follow(background, cells)
        return bool(moved > most or differs)

    def size(self, packet: Packet) -> bool:
        """Whether the packet is far larger than its like: perhaps something moves between keyframes."""
        return self._sizes.jump(packet.size, packet.keyframe)

    def regions(self, picture: Luma) -> list[tuple[int, int, int, int]]:
        """Where the picture differs from the background, largest first, as x1, y1, x2, y2 in its pixels.

        Each is a patch of connected cells with a cell's margin around it. The gate's state is not changed.
        """
        cells = shrink(picture)
        if self._background is None or self._background.shape != cells.shape:
            return []
        mask = self._mask(cells, self._background)
        if not cv2.countNonZero(mask):
            return []
        joined = cv2.dilate(mask, _KERNEL, iterations=2)
        count, _, stats, _ = cv2.connectedComponentsWithStats(joined)
        height, width = picture.shape
        fx, fy = width / cells.shape[1], height / cells.shape[0]
        found = sorted((tuple(map(int, row)) for row in stats[1:count]), key=lambda r: (-r[4], r))
        return [
            (int(x * fx), int(y * fy), min(width, int((x + w) * fx) + 1), min(height, int((y + h) * fy) + 1))
            for x, y, w, h, _ in found
        ]

    def reset(self) -> None:
        """A new stream epoch: nothing is known of the picture or the sizes."""
        self._background = self._last = None
        self._differing = 0
        self._sizes = _SizeJumps()

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        return {
            "background": _pack(self._background),
            "last": _pack(self._last, self._background),
            "differing": self._differing,
            "sizes": self._sizes.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot, bit for bit."""
        self._background = _unpack(state["background"])
        self._last = _unpack(state["last"], self._background)
        self._differing = int(state["differing"])
        self._sizes = _SizeJumps(*state["sizes"])

    def _mask(self, a: Luma, b: Luma) -> Luma:
        difference = cv2.absdiff(a, b)
        return cast(Luma, cv2.threshold(difference, self._threshold, 1, cv2.THRESH_BINARY)[1])

    def _count(self, a: Luma, b: Luma) -> int:
        return cv2.countNonZero(self._mask(a, b))

    @staticmethod
    def _follow(background: Luma, cells: Luma) -> None:
        """One grey level towards the picture, in place."""
        up = cv2.min(cv2.subtract(cells, background), 1)  # type: ignore[call-overload]
        down = cv2.min(cv2.subtract(background, cells), 1)  # type: ignore[call-overload]
        cv2.subtract(cv2.add(background, up), down, dst=background)


class _SizeJumps:
    """The usual size of packets between keyframes, as a running median and median deviation of their
    logarithm: each steps up or down by a constant (stochastic approximation, Tierney 1983)."""

    __slots__ = ("middle", "seen", "spread", "streak")

    def __init__(self, middle: float = 0.0, spread: float = 0.3, seen: int = 0, streak: int = 0) -> None:
        self.middle, self.spread, self.seen, self.streak = middle, spread, seen, streak

    def jump(self, size: int, keyframe: bool) -> bool:
        if keyframe or size <= 0:
            return False
        level = log2(size)
        if self.seen < _LEARN:
            self.seen += 1
            step = 2.0 / self.seen if self.seen > 1 else 0.0
            self.middle = level if self.seen == 1 else self.middle
        else:
            step = _STEP
        off = level - self.middle
        far = off > max(SIZE_JUMP, 6 * self.spread)
        self.middle += step if off > 0 else -step
        self.spread = max(0.02, self.spread + (step if abs(off) > self.spread else -step) / 2)
        self.streak = self.streak + 1 if far else 0
        return self.streak == 2 and self.seen >= _LEARN

    def state(self) -> list[float]:
        return [self.middle, self.spread, self.seen, self.streak]


def _pack(cells: Luma | None, near: Luma | None = None) -> list[Any] | None:
    """Height, width, and the steps from cell to cell (or from the like picture `near`), which take half the
    room that the cells would."""
    if cells is None:
        return None
    steps = np.diff(cells, axis=1, prepend=np.uint8(0)) if near is None else cells - near
    return [*cells.shape, base64.b64encode(zlib.compress(steps.tobytes())).decode()]


def _unpack(packed: Sequence[Any] | None, near: Luma | None = None) -> Luma | None:
    """What was packed.

    Raises:
        ValueError: it was packed by an earlier version.
    """
    if packed is None:
        return None
    height, width, text = packed
    try:
        raw = zlib.decompress(base64.b64decode(text))
    except zlib.error:
        raise ValueError("the picture in the snapshot was packed by an earlier version") from None
    steps = np.frombuffer(raw, np.uint8).reshape(height, width)
    return np.cumsum(steps, axis=1, dtype=np.uint8) if near is None else steps + near

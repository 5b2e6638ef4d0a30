"""How sharp the camera's picture usually is, tile by tile, and whether it is less so. Pure."""

from typing import Any

import numpy as np

from ingest import blocks, faults

_CLEARS = 0.7
"""Share of the keyframes at which a tile must show large steps to be judged by them."""

_ENOUGH = 4
"""Steps in a tile that make its sharpness known."""

_DULL = 0.45
"""Share of its usual sharpness under which a tile is out of focus."""

_FLAT = 0.6
"""Share of the least usual step under which all steps are, when blur has left none."""

_MOST = 0.7
_WEIGHT = 0.02
_OFTEN = 0.03


class Focus:
    """One camera's sharpness."""

    def __init__(self) -> None:
        self._sharp = np.zeros(faults.TILES, np.float32)
        """How sharp each tile usually is; 0: not known."""
        self._clears = np.zeros(faults.TILES, np.float32)
        """At which share of the keyframes each tile has steps."""
        self._step = 0.0
        """How high a large step is at the least."""

    def lost(self, now: faults.Sharpness, as_lit: bool) -> bool | None:
        """Is the picture out of focus? None: it cannot be told.

        Args:
            as_lit: the blocks are as light as the reference's; blur leaves them so.
        """
        steady = self._clears >= _CLEARS
        if not now.steps.any():
            judged = as_lit and np.count_nonzero(steady) >= blocks.FEW
            return True if judged and now.step < _FLAT * self._step else None
        known = steady & (now.steps >= _ENOUGH)
        tiles = int(np.count_nonzero(known))
        if tiles < blocks.FEW:
            return None
        return bool(np.count_nonzero(now.sharp[known] < _DULL * self._sharp[known]) >= _MOST * tiles)

    def learn(self, now: faults.Sharpness, first: int) -> None:
        """Take a sound keyframe in; `first`: how many there were, while they are being averaged; 0 later."""
        # Who passes by makes the steps higher, so the lower ones count.
        self._step += (now.step - self._step) * (
            0.01 if now.step > self._step > 0 else 0.05 if self._step else 1
        )
        enough = now.steps >= _ENOUGH
        fresh = enough & (self._sharp == 0)
        self._clears += (enough - self._clears) * np.float32(1 / first if first else _OFTEN)
        weight = np.float32(1 / first if first else _WEIGHT)
        self._sharp += np.where(enough & ~fresh, (now.sharp - self._sharp) * weight, 0).astype(np.float32)
        self._sharp[fresh] = now.sharp[fresh]

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values."""
        return {
            "step": self._step,
            "sharp": [float(v) for v in self._sharp.ravel()],
            "clears": [float(v) for v in self._clears.ravel()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot, bit for bit."""
        self._step = state["step"]
        self._sharp = np.array(state["sharp"], np.float32).reshape(faults.TILES)
        self._clears = np.array(state["clears"], np.float32).reshape(faults.TILES)

"""A Kalman filter for a box that moves at nearly constant velocity, in plain floats.

The four edges are filtered with the same noise, all in proportion to the box's height. Then the filter of
eight states falls apart into four of two states (an edge and its velocity) that share one covariance and one
gain, and it does not matter whether edges or centre, width and height are filtered. That is some 40 times
cheaper than matrices for the handful of objects a camera sees.

Noise is given per second, not per frame, so frames may come at any rhythm: white-noise acceleration (Bar-
Shalom, Li, Kirubarajan 2001, section 6.2). The noise of a detection (h/20) and of an unknown first velocity
(10 h/160 a frame at 30 frames/s) are those of DeepSORT (Wojke et al. 2017, arXiv 1703.07402) and ByteTrack.
A detection counts by its confidence, as in the NSA Kalman filter of GIAOTracker (Du et al. 2021, arXiv
2202.11983): its variance is in proportion to 1 - score, for the box of somebody half hidden is faint and off.
"""

from collections.abc import Sequence
from typing import Any

_VELOCITY = 0.5
"""Variance that a velocity gains in a second, in (heights/s) squared: a walker may stop or turn in one."""
_MEASURED = 1 / 20**2
"""Variance of an edge detected with a confidence of `_USUAL`, in heights squared."""
_USUAL = 0.8
_LEAST_DOUBT = 0.05
"""No detection is taken for more certain than this less than 1."""
_FIRST_VELOCITY = (10 * 30 / 160) ** 2
"""Variance of the unknown velocity of a new object, in (heights/s) squared."""

Edges = tuple[float, float, float, float]
"""x1, y1, x2, y2."""


class BoxFilter:
    """Position and velocity of the four edges of a box.

    Args:
        edges: the first detection, pixels.
    """

    __slots__ = ("_pp", "_pv", "_vv", "edges", "velocity")

    def __init__(self, edges: Sequence[float]) -> None:
        x1, y1, x2, y2 = edges
        self.edges: Edges = (x1, y1, x2, y2)
        self.velocity: Edges = (0.0, 0.0, 0.0, 0.0)
        """Pixels per second, edge by edge."""
        hh = _scale(self.edges)
        self._pp = 4 * _MEASURED * hh
        self._pv = 0.0
        self._vv = _FIRST_VELOCITY * hh

    @property
    def variance(self) -> tuple[float, float, float]:
        """Of an edge, of an edge with its velocity, and of the velocity: pixels and seconds."""
        return self._pp, self._pv, self._vv

    def predict(self, dt: float) -> None:
        """Move on by `dt` seconds. A predicted box never turns inside out."""
        x1, y1, x2, y2 = self.edges
        vx1, vy1, vx2, vy2 = self.velocity
        hh = _scale(self.edges)
        x1, x2 = _in_order(x1 + vx1 * dt, x2 + vx2 * dt)
        y1, y2 = _in_order(y1 + vy1 * dt, y2 + vy2 * dt)
        self.edges = (x1, y1, x2, y2)
        q = _VELOCITY * hh * dt
        self._pp += dt * (2 * self._pv + dt * self._vv) + q * dt * dt / 3
        self._pv += dt * self._vv + q * dt / 2
        self._vv += q

    def drift(self) -> None:
        """Keep the motion, drop the growth: an object that is hidden keeps its size."""
        vx1, vy1, vx2, vy2 = self.velocity
        vx, vy = (vx1 + vx2) / 2, (vy1 + vy2) / 2
        self.velocity = (vx, vy, vx, vy)

    def update(self, edges: Sequence[float], score: float = _USUAL) -> None:
        """Take in a detection (pixels) of a confidence from 0 to 1."""
        r = _MEASURED * _scale(self.edges) * max(1 - score, _LEAST_DOUBT) / (1 - _USUAL)
        gain = self._pp / (self._pp + r)
        gain_v = self._pv / (self._pp + r)
        off = [z - p for z, p in zip(edges, self.edges, strict=True)]
        x1, y1, x2, y2 = (p + gain * d for p, d in zip(self.edges, off, strict=True))
        vx1, vy1, vx2, vy2 = (v + gain_v * d for v, d in zip(self.velocity, off, strict=True))
        self.edges = (x1, y1, x2, y2)
        self.velocity = (vx1, vy1, vx2, vy2)
        self._vv -= gain_v * self._pv
        self._pv *= 1 - gain
        self._pp *= 1 - gain

    def snapshot(self) -> list[float]:
        """The state as eleven numbers."""
        return [*self.edges, *self.velocity, self._pp, self._pv, self._vv]

    @classmethod
    def restored(cls, state: Sequence[Any]) -> "BoxFilter":
        """A filter from its snapshot."""
        box = cls(state[0:4])
        vx1, vy1, vx2, vy2 = state[4:8]
        box.velocity = (vx1, vy1, vx2, vy2)
        box._pp, box._pv, box._vv = state[8:11]
        return box


def _scale(edges: Edges) -> float:
    """Squared height, never less than a pixel."""
    return max(edges[3] - edges[1], 1.0) ** 2


def _in_order(low: float, high: float) -> tuple[float, float]:
    """Edges that crossed meet in their middle."""
    return (low, high) if low <= high else ((low + high) / 2, (low + high) / 2)

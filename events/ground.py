"""From pixels to the ground: a plane homography from point pairs, checked, and what it gives.

The ground seen by one view is taken for a plane. Four pairs of (picture, place) fix the eight numbers that
map one to the other; with more, the best fit is taken, and the error that is left shows how good it is.
Places are handled as metres east and north of the pairs' centre (an equirectangular projection with the
ellipsoid's radii there: exact to a millimetre over some hundred metres), so distances and speeds are metres.

The fit is the normalised direct linear transformation (Hartley and Zisserman, Multiple View Geometry, 2nd
edition, algorithm 4.2). Beyond `REACH` times the pairs' own extent from their centre nothing is said: out
there a pixel is many metres, and the fit is a guess.
"""

from collections.abc import Sequence
from math import cos, hypot, radians, sin, sqrt
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from events.events import Place

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Longitude = Annotated[float, msgspec.Meta(ge=-180, le=180)]
Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]

REACH = 2.5
"""How far from the centre of the pairs a place is still given, in units of the farthest pair's distance."""

WORST_M = 3.0
"""A calibration whose pairs are off by more than this (root mean square) is refused: a point is misplaced."""

_STEP_S = 0.1
_EDGE = 24
"""Points along each edge of the picture from which the view's polygon is drawn."""


class PointPair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point on the ground that can be seen in the picture, and where it is."""

    picture: tuple[Share, Share]
    """x and y as fractions of the picture."""
    place: tuple[Longitude, Latitude]
    """Degrees, WGS 84."""


class Residual(NamedTuple):
    """How well the fit agrees with one pair."""

    metres: float
    """Between the given place and the one that the fit gives."""
    without: float | None
    """The same for a fit without this pair: an independent check. None where only four pairs are given."""


class Ground:
    """Maps points of one view, as fractions of the picture, to the ground and back."""

    def __init__(self, pairs: Sequence[PointPair]) -> None:
        """Raises ValueError: too few pairs, pairs in one line, or pairs that contradict each other; the
        message names the pair and the mend."""
        if len(pairs) < 4:
            raise ValueError(f"a calibration needs at least four pairs, not {len(pairs)}; add some")
        self._pairs = tuple(pairs)
        places = np.array([pair.place for pair in pairs], np.float64)
        self._centre = (float(places[:, 0].mean()), float(places[:, 1].mean()))
        self._scale = _metres_per_degree(self._centre[1])
        self._picture = np.array([pair.picture for pair in pairs], np.float64)
        self._metres = (places - self._centre) * self._scale
        _check_spread(self._picture, "picture")
        _check_spread(self._metres, "place")
        self._h = _fit(self._picture, self._metres)
        self._reach = REACH * float(np.hypot(self._metres[:, 0], self._metres[:, 1]).max())
        w = self._picture @ self._h[2, :2] + self._h[2, 2]
        if not (np.all(w > 0) or np.all(w < 0)):
            raise ValueError(
                "the pairs contradict each other: some would lie above the horizon; "
                "look whether two of them are swapped"
            )
        if w[0] < 0:
            self._h = -self._h
        self._rows: list[list[float]] = self._h.tolist()  # plain floats: NumPy's are slow one by one
        if self.error_m > WORST_M:
            far = [residual.metres for residual in self.residuals()]
            n = far.index(max(far))
            raise ValueError(
                f"the pairs do not fit together: they are off by {self.error_m:.1f} m, pair {n + 1} "
                f"(picture {list(pairs[n].picture)}) the most, by {far[n]:.1f} m; measure it again"
            )

    @property
    def error_m(self) -> float:
        """Root mean square distance between the given places and those of the fit, metres. 0 with four pairs,
        which always fit: add a fifth to have a check."""
        return sqrt(sum(residual.metres**2 for residual in self._residuals(False)) / len(self._pairs))

    def residuals(self) -> list[Residual]:
        """Pair by pair."""
        return self._residuals(len(self._pairs) > 4)

    def metres(self, x: float, y: float) -> tuple[float, float] | None:
        """East and north of the pairs' centre; None above the horizon or out of reach."""
        (a, b, c), (d, e, f), (g, h, i) = self._rows
        w = g * x + h * y + i
        if w <= 1e-9:
            return None
        east, north = (a * x + b * y + c) / w, (d * x + e * y + f) / w
        return (east, north) if hypot(east, north) <= self._reach else None

    def place(self, x: float, y: float) -> Place | None:
        """Longitude and latitude of the ground at x, y; None above the horizon or out of reach."""
        at = self.metres(x, y)
        return None if at is None else self._degrees(*at)

    def speed_mps(self, at: tuple[float, float], step: tuple[float, float]) -> float | None:
        """Speed of a point that moves by `step` (fractions of the picture a second), metres per second."""
        before = self.metres(at[0] - step[0] * _STEP_S / 2, at[1] - step[1] * _STEP_S / 2)
        after = self.metres(at[0] + step[0] * _STEP_S / 2, at[1] + step[1] * _STEP_S / 2)
        if before is None or after is None:
            return None
        return round(hypot(after[0] - before[0], after[1] - before[1]) / _STEP_S, 2)

    def view(self) -> list[Place]:
        """The ground that the camera sees, within reach, as a polygon; its first corner is not repeated."""
        seen = shapely.Polygon([(0, 0), (1, 0), (1, 1), (0, 1)]).intersection(self._below_horizon())
        if seen.is_empty:
            return []
        outline = shapely.segmentize(seen, 1 / _EDGE).exterior.coords[:-1]
        ground = np.column_stack([np.array(outline), np.ones(len(outline))]) @ self._h.T
        whole = shapely.make_valid(shapely.Polygon(ground[:, :2] / ground[:, 2:]))
        near = whole.intersection(shapely.Point(0, 0).buffer(self._reach))
        parts = [part for part in shapely.get_parts(near) if part.geom_type == "Polygon"]
        if not parts:
            return []
        largest = max(parts, key=lambda part: part.area).simplify(self._reach / 500)
        return [self._degrees(east, north) for east, north in largest.exterior.coords[:-1]]

    def _below_horizon(self) -> shapely.Polygon:
        """The half plane below the horizon, as far as the picture goes; a hair's breadth away from it."""
        a, b, c = self._h[2]
        least = 1e-3 * float((self._picture @ self._h[2, :2] + c).min())
        length = hypot(a, b)
        if length < 1e-12:
            return shapely.box(-1, -1, 2, 2)
        nx, ny = a / length, b / length
        off = (least - c) / length  # points with n.p > off are below
        x, y = nx * off, ny * off
        far = 10.0
        return shapely.Polygon(
            [
                (x - ny * far, y + nx * far),
                (x + ny * far, y - nx * far),
                (x + ny * far + nx * far, y - nx * far + ny * far),
                (x - ny * far + nx * far, y + nx * far + ny * far),
            ]
        )

    def _residuals(self, independent: bool) -> list[Residual]:
        found = []
        for n in range(len(self._pairs)):
            without = None
            if independent:
                rest = [i for i in range(len(self._pairs)) if i != n]
                without = _distance(_fit(self._picture[rest], self._metres[rest]), self, n)
            found.append(Residual(_distance(self._h, self, n), without))
        return found

    def _degrees(self, east: float, north: float) -> Place:
        lon = self._centre[0] + east / self._scale[0]
        lat = self._centre[1] + north / self._scale[1]
        return round(float(lon), 7), round(float(lat), 7)


def _distance(h: NDArray[np.float64], ground: Ground, n: int) -> float:
    x, y = ground._picture[n]
    u, v, w = h @ (x, y, 1.0)
    east, north = ground._metres[n]
    return round(hypot(u / w - east, v / w - north), 3)


def _metres_per_degree(latitude: float) -> tuple[float, float]:
    """Metres of one degree of longitude and of latitude on the WGS 84 ellipsoid."""
    a, e2 = 6_378_137.0, 0.006_694_379_990_14
    s2 = sin(radians(latitude)) ** 2
    east = a / sqrt(1 - e2 * s2) * cos(radians(latitude))
    north = a * (1 - e2) / (1 - e2 * s2) ** 1.5
    return radians(east), radians(north)


def _check_spread(points: NDArray[np.float64], what: str) -> None:
    """Refuse points that lie (nearly) on one line or on each other: they fix no plane."""
    centred = points - points.mean(axis=0)
    long, short = np.linalg.svd(centred, compute_uv=False)
    if short < 0.02 * long:
        raise ValueError(f"the pairs' {what} points lie in one line; choose corners of a wide area instead")


def _fit(picture: NDArray[np.float64], metres: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3] homography from picture to metres."""
    t, p = _normalised(picture)
    s, q = _normalised(metres)
    rows = []
    for (x, y), (u, v) in zip(p, q, strict=True):
        rows.append([-x, -y, -1, 0, 0, 0, u * x, u * y, u])
        rows.append([0, 0, 0, -x, -y, -1, v * x, v * y, v])
    h = np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)
    found: NDArray[np.float64] = np.linalg.inv(s) @ h @ t
    return found / np.linalg.norm(found)


def _normalised(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The similarity that moves points to their centre and a mean distance of sqrt 2, and they so moved."""
    centre = points.mean(axis=0)
    k = sqrt(2) / float(np.hypot(*(points - centre).T).mean())
    t = np.array([[k, 0, -k * centre[0]], [0, k, -k * centre[1]], [0, 0, 1]])
    return t, (points - centre) * k

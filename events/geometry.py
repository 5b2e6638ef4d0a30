"""Plane geometry of pictures on plain floats: lines, polygons, boxes.

Picture coordinates: x grows to the right, y grows *downwards*. "Left" and "right" of a directed line are
those of somebody who stands at `a` in the picture and looks towards `b`:

        left
    a --------> b
        right

Points are pairs of floats. Nothing here allocates per call but its answer.
"""

from collections.abc import Sequence
from math import hypot

Point = tuple[float, float]
Corners = tuple[float, float, float, float]
"""x1, y1, x2, y2 of a box."""


class Segment:
    """A finite directed line from `a` to `b` that answers where a point is and where a step cuts it."""

    __slots__ = ("_ax", "_ay", "_dx", "_dy", "length")

    def __init__(self, a: Point, b: Point) -> None:
        """Raises ValueError: the two points are the same."""
        self._ax, self._ay = a
        self._dx, self._dy = b[0] - a[0], b[1] - a[1]
        self.length = hypot(self._dx, self._dy)
        if self.length == 0:
            raise ValueError(f"a line needs two different points, not twice {a}")

    def distance(self, x: float, y: float) -> float:
        """Signed distance from the infinite line: below 0 on its left, above 0 on its right."""
        return (self._dx * (y - self._ay) - self._dy * (x - self._ax)) / self.length

    def along(self, x: float, y: float) -> float:
        """Where the point's foot of the perpendicular lies: 0 at `a`, 1 at `b`."""
        return ((x - self._ax) * self._dx + (y - self._ay) * self._dy) / (self.length * self.length)


def in_pixels(corners: Sequence[Point], size: tuple[int, int]) -> list[Point]:
    """Corners given as fractions of a picture of `size`. Those on its right or lower edge lie a pixel beyond
    it: whoever the edge cuts off stands on it, and is inside."""
    w, h = size
    return [(x * w + (x == 1.0), y * h + (y == 1.0)) for x, y in corners]


class Polygon:
    """A simple polygon that answers whether, and how far from it, a point lies."""

    __slots__ = ("_box", "_edges")

    def __init__(self, points: Sequence[Point]) -> None:
        self._edges = [(*p, *q) for p, q in zip(points, [*points[1:], points[0]], strict=True)]
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        self._box = (min(xs), min(ys), max(xs), max(ys))

    def contains(self, x: float, y: float) -> bool:
        """Even-odd rule (a ray to the right); of two polygons that share an edge one has a point on it."""
        x1, y1, x2, y2 = self._box
        if x < x1 or x > x2 or y < y1 or y > y2:
            return False
        inside = False
        for ax, ay, bx, by in self._edges:
            if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
                inside = not inside
        return inside

    def distance(self, x: float, y: float) -> float:
        """Distance to the nearest point of the boundary."""
        return min(_to_segment(x, y, edge) for edge in self._edges)


def _to_segment(x: float, y: float, edge: Corners) -> float:
    ax, ay, bx, by = edge
    dx, dy = bx - ax, by - ay
    square = dx * dx + dy * dy
    t = ((x - ax) * dx + (y - ay) * dy) / square if square else 0.0
    t = 0.0 if t < 0 else 1.0 if t > 1 else t
    return hypot(x - ax - t * dx, y - ay - t * dy)


def segment_distance(p: Point, a: Point, b: Point) -> float:
    """Distance from `p` to the nearest point between `a` and `b` (which may be the same point)."""
    return _to_segment(p[0], p[1], (*a, *b))


def signed_area(points: Sequence[Point]) -> float:
    """Area by the shoelace formula; its sign tells the sense of rotation."""
    pairs = zip(points, [*points[1:], points[0]], strict=True)
    return sum(px * qy - qx * py for (px, py), (qx, qy) in pairs) / 2


def is_simple(points: Sequence[Point]) -> bool:
    """True if no two edges touch but neighbours in their common corner."""
    n = len(points)
    if n < 3 or len(set(points)) < n:
        return False
    edges = [(points[i], points[(i + 1) % n]) for i in range(n)]
    for i in range(n):
        (p, q), (_, r) = edges[i], edges[(i + 1) % n]
        back = (q[0] - p[0]) * (r[0] - q[0]) + (q[1] - p[1]) * (r[1] - q[1]) < 0
        if back and _turn(p, q, r) == 0:
            return False  # the boundary runs back over itself
        for j in range(i + 2, n - (i == 0)):
            if _touch(*edges[i], *edges[j]):
                return False
    return True


def _turn(p: Point, q: Point, r: Point) -> int:
    cross = (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
    return (cross > 0) - (cross < 0)


def _touch(p: Point, q: Point, r: Point, s: Point) -> bool:
    """True if the closed segments pq and rs share a point."""
    turns = _turn(p, q, r), _turn(p, q, s), _turn(r, s, p), _turn(r, s, q)
    if turns[0] != turns[1] and turns[2] != turns[3]:
        return True
    ends = ((p, q, r), (p, q, s), (r, s, p), (r, s, q))
    return any(turn == 0 and _between(*end) for turn, end in zip(turns, ends, strict=True))


def _between(p: Point, q: Point, r: Point) -> bool:
    """For r on the infinite line pq: whether it lies between them."""
    return min(p[0], q[0]) <= r[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= r[1] <= max(p[1], q[1])


def iou(a: Corners, b: Corners) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def around(boxes: Sequence[Corners]) -> Corners:
    """The smallest box that holds all of them (at least one)."""
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


def normalised(box: Corners, size: tuple[int, int]) -> Corners:
    """A box in pixels as fractions of a picture of `size`, cut to it and rounded to 4 digits."""
    w, h = size
    x1, y1, x2, y2 = box
    return (_fraction(x1, w), _fraction(y1, h), _fraction(x2, w), _fraction(y2, h))


def _fraction(value: float, whole: int) -> float:
    return round(min(max(value / whole, 0.0), 1.0), 4)

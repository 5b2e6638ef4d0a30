"""Lines and polygons, against plain definitions and shapely."""

from math import cos, isclose, pi, sin

import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from events.geometry import (
    Polygon,
    Segment,
    around,
    iou,
    is_simple,
    normalised,
    segment_distance,
    signed_area,
)
from events.observations import Box

coordinate = st.integers(0, 100)
point = st.tuples(coordinate, coordinate)


def test_left_and_right_are_those_of_the_picture() -> None:
    line = Segment((0, 50), (100, 50))
    assert line.distance(50, 40) == -10, "above a line that points to the right is its left"
    assert line.distance(50, 60) == 10
    assert line.distance(900, 60) == 10, "the infinite line counts"
    assert line.along(25, 77) == 0.25


def test_a_line_of_one_point_is_refused() -> None:
    with pytest.raises(ValueError, match="two different"):
        Segment((1, 2), (1, 2))


@settings(deadline=None)
@given(st.lists(point, min_size=3, max_size=7))
def test_simple_means_what_shapely_calls_valid(points: list[tuple[int, int]]) -> None:
    corners = [(float(x), float(y)) for x, y in points]
    valid = shapely.Polygon(corners).is_valid and shapely.LinearRing(corners).is_simple
    # shapely lets a corner be repeated next to itself; here each is given once
    assert is_simple(corners) == (valid and len(set(corners)) == len(corners))


@settings(deadline=None)
@given(st.lists(st.floats(0.2, 1), min_size=3, max_size=9), st.floats(-1, 1), st.floats(-1, 1))
def test_containment_and_distance_agree_with_shapely(radii: list[float], x: float, y: float) -> None:
    n = len(radii)
    star = [(r * cos(2 * pi * i / n), r * sin(2 * pi * i / n)) for i, r in enumerate(radii)]
    reference, ours = shapely.Polygon(star), Polygon(star)
    distance = reference.exterior.distance(shapely.Point(x, y))
    assert isclose(ours.distance(x, y), distance, abs_tol=1e-9)
    assume(distance > 1e-9)
    assert ours.contains(x, y) == reference.contains(shapely.Point(x, y))


def test_neighbouring_polygons_share_no_point() -> None:
    left, right = Polygon([(0, 0), (5, 0), (5, 9), (0, 9)]), Polygon([(5, 0), (9, 0), (9, 9), (5, 9)])
    for y in range(9):
        assert left.contains(5, y) + right.contains(5, y) == 1


def test_small_parts() -> None:
    assert signed_area([(0, 0), (2, 0), (2, 2), (0, 2)]) == 4
    assert segment_distance((5, 5), (0, 0), (10, 0)) == 5
    assert segment_distance((-3, 4), (0, 0), (10, 0)) == 5
    assert segment_distance((3, 4), (0, 0), (0, 0)) == 5
    assert around([(1, 5, 3, 7), (2, 4, 9, 6)]) == (1, 4, 9, 7)
    assert normalised((-5, 50, 100, 33.33333), (100, 100)) == (0.0, 0.5, 1.0, 0.3333)


@settings(deadline=None)
@given(point, point, point, point)
def test_overlap_is_that_of_boxes(
    a: tuple[int, int], b: tuple[int, int], c: tuple[int, int], d: tuple[int, int]
) -> None:
    p = Box(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))
    q = Box(min(c[0], d[0]), min(c[1], d[1]), max(c[0], d[0]), max(c[1], d[1]))
    assert iou((p.x1, p.y1, p.x2, p.y2), (q.x1, q.y1, q.x2, q.y2)) == p.iou(q)

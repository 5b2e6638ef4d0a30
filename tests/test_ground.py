"""The ground: a known camera's pairs give its places back; bad pairs are named."""

from math import atan2, cos, hypot, radians, sin, tan

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from events.engine import Engine
from events.events import AlertRaised, Crossing
from events.ground import Ground, PointPair
from events.rules import Intrusion, Line
from tests.scenes import SIZE, START_US, person, seen

CENTRE = (112.5, 37.8)
EAST_M, NORTH_M = 88_080.0, 110_980.0
"""About metres a degree there; the tests' own figures, not the module's."""


class Pinhole:
    """A camera over flat ground: height, tilt below the horizon, heading, field of view."""

    def __init__(self, height: float = 6.0, tilt: float = 25.0, heading: float = 30.0, fov: float = 70.0):
        self.height = height
        t, h = radians(tilt), radians(heading)
        ahead = np.array([sin(h) * cos(t), cos(h) * cos(t), -sin(t)])
        right = np.array([cos(h), -sin(h), 0.0])
        self.axes = np.array([right, np.cross(ahead, right), ahead])
        self.f = 0.5 / tan(radians(fov) / 2)
        self.aspect = 16 / 9

    def shows(self, east: float, north: float) -> tuple[float, float] | None:
        """Where a point on the ground is in the picture, as fractions; None: it is not in it."""
        x, y, z = self.axes @ (east, north, -self.height)
        if z <= 0:
            return None
        px, py = 0.5 + self.f * x / z, 0.5 + self.f * y / z * self.aspect
        return (px, py) if 0 <= px <= 1 and 0 <= py <= 1 else None


def place(east: float, north: float) -> tuple[float, float]:
    return CENTRE[0] + east / EAST_M, CENTRE[1] + north / NORTH_M


def grid(camera: Pinhole, step: float = 4.0, reach: float = 26.0) -> list[tuple[float, float]]:
    """Points on the ground that the camera sees, near it."""
    steps = np.arange(-reach, reach + 1, step)
    return [(float(e), float(n)) for e in steps for n in steps if camera.shows(e, n) and hypot(e, n) < reach]


def pairs_of(camera: Pinhole, points: list[tuple[float, float]], noise: float = 0.0) -> list[PointPair]:
    draw = np.random.default_rng(7)
    pairs = []
    for east, north in points:
        shown = camera.shows(east, north)
        assert shown is not None
        x, y = np.clip(np.array(shown) + draw.normal(0, noise, 2), 0, 1)
        pairs.append(PointPair(picture=(float(x), float(y)), place=place(east, north)))
    return pairs


def off_m(ground: Ground, camera: Pinhole, east: float, north: float) -> float:
    shown = camera.shows(east, north)
    assert shown is not None
    at = ground.place(*shown)
    assert at is not None
    want = place(east, north)
    return hypot((at[0] - want[0]) * EAST_M, (at[1] - want[1]) * NORTH_M)


@given(height=st.floats(3, 15), tilt=st.floats(15, 60), heading=st.floats(0, 360), fov=st.floats(40, 100))
def test_a_known_cameras_four_pairs_give_every_place_back(
    height: float, tilt: float, heading: float, fov: float
) -> None:
    camera = Pinhole(height, tilt, heading, fov)
    points = grid(camera)
    assume(len(points) >= 8)
    corners = [
        min(points, key=lambda p, k=k: p[0] * k[0] + p[1] * k[1])
        for k in ((1, 1), (1, -1), (-1, 1), (-1, -1))
    ]
    assume(len(set(corners)) == 4)
    try:
        ground = Ground(pairs_of(camera, corners))
    except ValueError as error:
        assume("in one line" not in str(error))
        raise
    assert ground.error_m < 0.01
    assert all(off_m(ground, camera, *point) < 0.02 for point in points)


def test_noisy_pairs_are_off_by_what_the_error_says() -> None:
    camera = Pinhole()
    points = grid(camera)
    ground = Ground(pairs_of(camera, points[::3], noise=0.002))
    assert 0.01 < ground.error_m < 0.6
    found = [off_m(ground, camera, *point) for point in points]
    assert float(np.sqrt(np.mean(np.square(found)))) < 3 * ground.error_m
    residuals = ground.residuals()
    assert all(r.without is not None and r.without >= r.metres for r in residuals)


def test_a_misplaced_pair_is_named() -> None:
    camera = Pinhole()
    pairs = pairs_of(camera, grid(camera)[::3])
    moved = PointPair(picture=pairs[4].picture, place=(pairs[4].place[0] + 60 / EAST_M, pairs[4].place[1]))
    with pytest.raises(ValueError, match=r"pair 5 .* measure it again"):
        Ground([*pairs[:4], moved, *pairs[5:]])


def test_too_few_pairs_or_pairs_in_a_line_are_refused() -> None:
    camera = Pinhole()
    pairs = pairs_of(camera, grid(camera)[:3])
    with pytest.raises(ValueError, match="at least four pairs, not 3"):
        Ground(pairs)
    line = [PointPair(picture=(0.1 * n, 0.5), place=place(n, n * n)) for n in range(1, 6)]
    with pytest.raises(ValueError, match="picture points lie in one line"):
        Ground(line)
    street = [PointPair(picture=(0.1 * n, 0.3 + 0.1 * (n % 2)), place=place(n, 2 * n)) for n in range(1, 6)]
    with pytest.raises(ValueError, match="place points lie in one line"):
        Ground(street)


def test_above_the_horizon_and_far_beyond_the_pairs_there_is_no_place() -> None:
    camera = Pinhole(tilt=10.0)
    ground = Ground(pairs_of(camera, [p for p in grid(camera) if hypot(*p) < 20]))
    assert ground.place(0.5, 0.0) is None
    rows = [ground.place(0.5, y / 200) for y in range(201)]
    first = next(n for n, at in enumerate(rows) if at is not None)
    horizon = 0.5 - camera.f * tan(radians(10.0)) * camera.aspect
    assert first / 200 > horizon
    assert all(at is not None for at in rows[first:])


def test_speed_is_metres_a_second_whichever_way_one_walks() -> None:
    camera = Pinhole()
    ground = Ground(pairs_of(camera, grid(camera)))
    east, north = grid(camera)[10]
    for heading in range(0, 360, 45):
        de, dn = 1.4 * sin(radians(heading)), 1.4 * cos(radians(heading))
        a, b = camera.shows(east, north), camera.shows(east + de / 100, north + dn / 100)
        assert a is not None
        assert b is not None
        speed = ground.speed_mps(a, ((b[0] - a[0]) * 100, (b[1] - a[1]) * 100))
        assert speed == pytest.approx(1.4, abs=0.05)


def test_the_view_is_where_the_camera_looks() -> None:
    camera = Pinhole(heading=30.0)
    points = grid(camera)
    ground = Ground(pairs_of(camera, points))
    view = shapely.Polygon(ground.view())
    assert view.is_valid
    assert all(view.buffer(2e-6).contains(shapely.Point(place(*point))) for point in points)
    east, north = view.centroid.x - CENTRE[0], view.centroid.y - CENTRE[1]
    heading = atan2(east * EAST_M, north * NORTH_M)
    assert heading == pytest.approx(radians(30.0), abs=0.1)
    assert not view.contains(shapely.Point(place(0.0, -5.0)))


def test_events_of_a_calibrated_camera_have_places_and_speeds() -> None:
    camera = Pinhole()
    ground = Ground(pairs_of(camera, grid(camera)))
    line = Line(name="line", points=((0.0, 0.5), (1.0, 0.5)))
    yard = Intrusion(name="yard", dwell_s=0.5)
    engine = Engine("town", "gate", [line, yard], grounds={"": ground})
    events = engine.begin(1, START_US, SIZE)
    steps = [camera.shows(0.5 * (16 - 0.3 * n), 0.866 * (16 - 0.3 * n)) for n in range(25)]  # 1.5 m/s
    for n, shown in enumerate(steps):
        assert shown is not None
        events += engine.observe(seen(n / 5, person(1, shown[0] * 1000, shown[1] * 1000, height=150.0)))
    (crossing,) = [e.data for e in events if isinstance(e.data, Crossing)]
    (alert,) = [e.data for e in events if isinstance(e.data, AlertRaised)]
    assert crossing.speed_mps == pytest.approx(1.5, abs=0.2)
    assert crossing.place is not None
    at = ((crossing.place[0] - CENTRE[0]) * EAST_M, (crossing.place[1] - CENTRE[1]) * NORTH_M)
    back = camera.shows(*at)
    assert back is not None
    assert back[1] == pytest.approx(0.5, abs=0.01)
    assert alert.place is not None
    assert alert.detail["speed_mps"] == pytest.approx(1.5, abs=0.8)  # its speed is still being found out
    plain = Engine("town", "gate", [line])
    events = plain.begin(1, START_US, SIZE)
    for n, shown in enumerate(steps):
        assert shown is not None
        events += plain.observe(seen(n / 5, person(1, shown[0] * 1000, shown[1] * 1000, height=150.0)))
    (crossing,) = [e.data for e in events if isinstance(e.data, Crossing)]
    assert (crossing.place, crossing.speed_mps) == (None, None)

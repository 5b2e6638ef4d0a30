"""The simulated dome: its truth is what its pictures show."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from testbed.dome import Bus, DomeSpec, Pose, Stop, film, pictures, plan, steadied
from testbed.sprites import Image

STOPS = (
    Stop(preset="a", x=0.3, y=0.35, width=0.4, dwell_s=2, move_s=1),
    Stop(preset="b", x=0.7, y=0.6, width=0.5, dwell_s=2, move_s=0.5),
    Stop(preset="", x=0.5, y=0.5, width=0.3, dwell_s=1, move_s=1),
)
QUIET = DomeSpec(stops=STOPS, seconds=10, size=(320, 180), noise=0, light=0, jitter=0)


def world(shift: tuple[float, float] = (0, 0)) -> Image:
    """Planar YUV of a drawn place, 640 x 480, moved by whole or broken pixels."""
    rng = np.random.default_rng(4)
    small = rng.integers(0, 255, (60, 80)).astype(np.uint8)
    luma = cv2.GaussianBlur(cv2.resize(small, (640, 480), interpolation=cv2.INTER_NEAREST), (0, 0), 1.5)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    luma = cv2.warpAffine(luma, matrix, (640, 480), borderMode=cv2.BORDER_REFLECT)
    return np.vstack([luma, np.full((240, 640), 128, np.uint8)])


def test_the_tour_is_as_scripted() -> None:
    poses = plan(QUIET, 10)
    assert len(poses) == 100
    assert [(p.state, p.preset) for p in poses[:20]] == [("settled", "a")] * 20
    assert [p.rests_s for p in poses[:3]] == [0, 0.1, 0.2]
    assert [p.state for p in poses[20:24]] == ["moving"] * 4
    assert [p.preset for p in poses[24:44]] == ["b"] * 20
    assert poses[53].state == "settled"
    assert poses[53].preset == ""


def test_a_way_is_smooth_and_ends_where_it_should() -> None:
    poses = plan(QUIET, 100)
    steps = [np.hypot(b.x - a.x, b.y - a.y) for a, b in pairwise(poses)]
    assert max(steps) < 0.03
    rests = {(p.preset, p.x, p.y, p.width) for p in poses if p.state == "settled"}
    assert rests == {(s.preset, s.x, s.y, s.width) for s in STOPS}


def test_returns_miss_a_little_and_differently() -> None:
    spec = DomeSpec(stops=STOPS, seconds=60, jitter=0.004)
    landings = {p.x for p in plan(spec, 10) if p.preset == "a"}
    assert len(landings) > 5
    assert max(abs(x - 0.3) for x in landings) <= 2 * 0.004 * 0.4 + 1e-9
    assert plan(spec, 10) == plan(spec, 10)


def test_the_window_shows_what_the_truth_says() -> None:
    source = [world()]
    poses = plan(QUIET, 10)
    for pose, planes in zip(poses[10::23], list(pictures(source, QUIET, poses, 10))[10::23], strict=True):
        if pose.state != "settled":
            continue
        assert np.abs(planes[:180].astype(int) - expected(pose).astype(int)).mean() < 4


def expected(pose: Pose) -> Image:
    """The window cut out by hand."""
    width, height = pose.width * 640, pose.width * 640 * 180 / 320
    x, y = pose.x * 640 - width / 2, pose.y * 480 - height / 2
    part = world()[:480][round(y) : round(y + height), round(x) : round(x + width)]
    return np.asarray(cv2.resize(part, (320, 180), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_light_and_a_bus() -> None:
    spec = DomeSpec(
        stops=STOPS[:1],
        seconds=8,
        size=(320, 180),
        noise=0,
        light=0,
        steps=((1.0, 0.5),),
        buses=(Bus(start_s=3, cover=0.35, cross_s=2, stay_s=1),),
        fixed="a",
    )
    seen = [p[:180].astype(int) for p in pictures([world()], spec, plan(spec, 10), 10)]
    assert seen[15].mean() == pytest.approx(seen[5].mean() / 2, rel=0.05)
    covered = np.abs(seen[45] - seen[15]) > 10
    assert 0.2 < covered.mean() < 0.36
    assert not covered[:, :90].any()
    assert np.array_equal(seen[75], seen[15])


def test_a_fixed_camera_sees_the_same_footage() -> None:
    source = [world((k, 0)) for k in range(5)]
    fixed = DomeSpec(stops=STOPS, seconds=6, size=(320, 180), noise=0, light=0, fixed="b", jitter=0, first=2)
    tour = DomeSpec(stops=STOPS, seconds=6, size=(320, 180), noise=0, light=0, jitter=0, first=2)
    poses = plan(tour, 10)
    both = zip(
        pictures(source, fixed, plan(fixed, 10), 10), pictures(source, tour, poses, 10), poses, strict=True
    )
    same = [np.array_equal(a, b) for a, b, pose in both if pose.preset == "b"]
    assert len(same) == 20
    assert all(same)


def test_a_hand_held_clip_is_steadied() -> None:
    shaken = [world((dx, dy)) for dx, dy in ((0, 0), (1.5, -0.5), (4.2, 2.1), (6.0, 3.0))]
    steady = steadied(shaken)
    for before, after in zip(shaken[1:], steady[1:], strict=True):
        inner = np.s_[40:440, 40:600]
        off = np.abs(before[:480][inner].astype(int) - shaken[0][:480][inner]).mean()
        left = np.abs(after[:480][inner].astype(int) - shaken[0][:480][inner]).mean()
        assert left < off / 3


def test_it_is_filmed_as_a_camera_sends_it(tmp_path: Path) -> None:
    path = tmp_path / "dome.mp4"
    poses = film(path, [world()], Fraction(10), QUIET)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 320, 180)
        keyframes = [p.is_keyframe for p in container.demux(stream) if p.size]
    assert len(keyframes) == len(poses) == 100
    assert [n for n, key in enumerate(keyframes) if key] == list(range(0, 100, 10))

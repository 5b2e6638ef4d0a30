"""Composed footage: its truth is true, its passes fall where they should, and it can be made again."""

from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.compose import SHOWS, ComposeSpec, PassTruth, compose, plan, standard_set
from testbed.sprites import Sprite

FOOTAGE = Path(__file__).parents[1].parent / "shared" / "footage"
needs_footage = pytest.mark.skipif(not FOOTAGE.is_dir(), reason="the clips are not beside the project")

SPEC = ComposeSpec(seed=5, scene="road", repeats=1, min_gap_s=2, dwells=(0.5, 1.0, 2.0))
Made = tuple[Path, list[PassTruth]]


def sprite(width: int, height: int) -> Sprite:
    return Sprite(
        pictures=(np.zeros((height, width, 3), np.uint8),) * 2,
        alphas=(np.ones((height, width), np.float32),) * 2,
        rightwards=True,
    )


specs = st.builds(
    partial(ComposeSpec, dwells=(0.25, 0.5, 1.0, 1.5, 4.0)),
    seed=st.integers(0, 1 << 30),
    scene=st.sampled_from(["room", "yard", "road"]),
    gop_s=st.sampled_from([1.0, 2.0]),
    repeats=st.integers(1, 6),
    busy=st.floats(0.02, 0.2),
    min_gap_s=st.floats(0.5, 6),
)


@settings(max_examples=60, deadline=None)
@given(specs, st.integers(10, 80))
def test_a_plan_keeps_its_promises(spec: ComposeSpec, width: int) -> None:
    length, passes = plan(np.random.default_rng(spec.seed), spec, [sprite(width, 100)])
    assert sorted(p.frames for p in passes) == sorted(
        max(2, round(d * spec.gop)) for d in spec.dwells for _ in range(spec.repeats)
    )
    assert sum(p.frames for p in passes) <= 0.2 * length
    edges = [0, *(e for p in passes for e in (p.first, p.first + p.frames)), length]
    assert all(
        b - a >= round(spec.min_gap_s * spec.fps) for a, b in zip(edges[::2], edges[1::2], strict=True)
    )
    for p in passes:
        assert 0 <= p.cover[0] < p.cover[1] <= spec.size[0]
        assert p.foot >= p.height
        assert p.foot <= spec.size[1]


def test_passes_begin_at_every_phase_of_the_gop() -> None:
    spec = ComposeSpec(seed=1, repeats=60, gop_s=1)
    _, passes = plan(np.random.default_rng(1), spec, [sprite(40, 100)])
    counts = np.bincount([p.first % spec.gop for p in passes], minlength=spec.gop)
    expected = len(passes) / spec.gop
    assert ((counts - expected) ** 2 / expected).sum() < 31.3, "chi-squared, 11 degrees of freedom, p = 0.001"


def test_the_standard_set_is_what_the_benchmark_asks_for() -> None:
    variants = standard_set()
    long_enough = sum(v.repeats for v in variants.values() for d in v.dwells if d >= 1)
    assert long_enough >= 300
    kinds = {(v.codec, v.gop_s, v.cbr_kbps > 0, v.b_frames > 0) for v in variants.values()}
    assert {("h264", g, cbr, False) for g in (1, 2) for cbr in (False, True)} < kinds
    assert any(codec == "hevc" for codec, *_ in kinds)
    assert any(b for *_, b in kinds)
    assert {min(v.dwells) for v in variants.values()} == {0.25}
    assert len({v.seed for v in variants.values()}) == len(variants)


# --- on the real clips --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    if not FOOTAGE.is_dir():
        pytest.skip("the clips are not beside the project")
    path = tmp_path_factory.mktemp("composed") / "a.mp4"
    return path, compose(path, SPEC, FOOTAGE)


def luma(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="gray").astype(int) for f in container.decode(video=0)]


@needs_footage
def test_something_moves_exactly_where_and_when_the_truth_says(made: Made) -> None:
    path, truth = made
    frames = luma(path)
    width, height = SPEC.size
    quiet = np.median([frames[n] for n in range(0, truth[0].first, 2)], axis=0)
    there = {t.first + k: box for t in truth for k, box in enumerate(t.boxes)}
    for n, frame in enumerate(frames):
        moved = cv2.GaussianBlur(np.abs(frame - quiet).astype(np.float32), (5, 5), 0) > 14
        if n not in there:
            # A frame before and after, a sliver narrower than SHOWS would be allowed; nothing is drawn.
            assert moved.mean() < 0.001, f"frame {n} should be empty"
            continue
        x1, y1, x2, y2 = (round(v * s) for v, s in zip(there[n], (width, height) * 2, strict=True))
        assert moved[y1:y2, x1:x2].mean() > 0.2, f"frame {n} should show an object in its box"
        moved[max(y1 - 8, 0) : y2 + 8, max(x1 - 8, 0) : x2 + 8] = False
        assert moved.mean() < 0.002, f"frame {n} shows something outside its box"


@needs_footage
def test_truth_is_in_order_and_adds_up(made: Made) -> None:
    _, truth = made
    assert sorted(t.dwell_gops for t in truth) == [0.5, 1.0, 2.0]
    for t in truth:
        assert len(t.boxes) == t.frames
        assert t.end_s - t.start_s == pytest.approx(t.dwell_s)
        assert t.dwell_s == pytest.approx(t.dwell_gops * SPEC.gop_s)
        widths = [b[2] - b[0] for b in t.boxes]
        for shown in (widths[0], widths[-1]):  # of a brief pass only 0.8 of the width ever shows
            assert SHOWS - 0.02 <= shown / max(widths) <= SHOWS / 0.7 + 0.02
    assert [t.first for t in truth] == sorted(t.first for t in truth)


@needs_footage
def test_the_same_seed_makes_the_same_clip(made: Made, tmp_path: Path) -> None:
    path, truth = made
    assert compose(tmp_path / "b.mp4", SPEC, FOOTAGE) == truth
    assert all(np.array_equal(a, b) for a, b in zip(luma(path), luma(tmp_path / "b.mp4"), strict=True))


@needs_footage
@pytest.mark.parametrize(
    ("codec", "gop_s", "cbr_kbps", "b_frames"),
    [("h264", 1, 0, 0), ("h264", 2, 400, 0), ("h264", 1, 0, 2), ("hevc", 1, 0, 0)],
)
def test_streams_are_coded_as_asked(
    tmp_path: Path, codec: str, gop_s: float, cbr_kbps: int, b_frames: int
) -> None:
    spec = ComposeSpec(
        seed=2, scene="road", repeats=1, dwells=(0.5,), min_gap_s=6,
        codec=codec, gop_s=gop_s, cbr_kbps=cbr_kbps, b_frames=b_frames,  # type: ignore[arg-type]
    )  # fmt: skip
    compose(tmp_path / "a.mp4", spec, FOOTAGE)
    with av.open(str(tmp_path / "a.mp4")) as container:
        video = container.streams.video[0]
        assert video.codec_context.name == codec
        packets = [p for p in container.demux(video) if p.size]
    keys = [n for n, p in enumerate(packets) if p.is_keyframe]
    assert keys == list(range(0, len(packets), spec.gop))
    reordered = any(p.pts != p.dts + (packets[0].pts - packets[0].dts) for p in packets)
    assert reordered == (b_frames > 0)
    if cbr_kbps:
        per_gop = [sum(p.size for p in packets[k : k + spec.gop]) * 8 / 1000 / gop_s for k in keys[2:-1]]
        assert np.mean(per_gop) == pytest.approx(cbr_kbps, rel=0.1)
        assert max(per_gop) < 1.6 * min(per_gop)

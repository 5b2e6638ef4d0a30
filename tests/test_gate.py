"""The motion gate: asleep over noise and daylight, awake for what moves, comes or goes."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.decode import LazyDecoder
from ingest.gate import ABSORB, Gate, luma, shrink
from ingest.packets import Packet
from tests.clipmaker import packets_of, walker
from tests.noisemaker import Grey, encode_noise, noisy

SIZE = (640, 360)
CBR = {"b": "400k", "maxrate": "400k", "bufsize": "400k", "x264-params": "nal-hrd=cbr"}


def with_box(picture: Grey, x: int, y: int, w: int, h: int, step: int = 60) -> Grey:
    out = picture.copy()
    part = out[y : y + h, x : x + w].astype(np.int16)
    out[y : y + h, x : x + w] = (part - step if part.mean() > 127 else part + step).clip(0, 255)
    return out


def test_luma_is_a_view_of_the_frame_whatever_its_line_size() -> None:
    frame = av.VideoFrame(322, 182, "yuv420p")
    view = luma(frame)
    assert frame.planes[0].line_size > 322
    assert view.shape == (182, 322)
    assert np.shares_memory(view, np.frombuffer(frame.planes[0], np.uint8))  # type: ignore[call-overload]
    view[...] = np.arange(182, dtype=np.uint8)[:, None]
    assert (frame.to_ndarray()[:182, 0] == np.arange(182)).all()


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (768, 576), (1920, 1080), (100, 100)])
def test_cells_are_means_and_keep_the_shape(size: tuple[int, int]) -> None:
    width, height = size
    ramp = np.broadcast_to((np.arange(width) * 255 // width).astype(np.uint8), (height, width))
    cells = shrink(np.ascontiguousarray(ramp))
    assert cells.shape == (round(160 * height / width), 160)
    assert np.abs(cells.astype(int) - (np.arange(160) + 0.5) * 255 / 160).max() < 3


@pytest.mark.parametrize(
    ("seconds", "options"), [(60, {"crf": "28"}), (300, CBR)], ids=["vbr", "cbr for five minutes"]
)
def test_coded_sensor_noise_neither_moves_nor_jumps(
    tmp_path: Path, seconds: float, options: dict[str, str]
) -> None:
    clip = encode_noise(tmp_path / "still.mp4", seconds, options=options)
    info, packets = packets_of(clip)
    decoder, gate = LazyDecoder(info), Gate()
    moved = jumps = 0
    for packet in packets:
        jumps += gate.size(packet)
        if packet.keyframe:
            frame = decoder.probe(packet)
            assert frame is not None
            moved += gate.keyframe(luma(frame))
    assert (moved, jumps) == (0, 0)


def test_daylight_that_fades_does_not_wake_and_a_cloud_that_comes_at_once_does() -> None:
    pictures = noisy(SIZE)
    gate = Gate()
    fade = [gate.keyframe((next(pictures) * (1 - n / 200)).astype(np.uint8)) for n in range(100)]
    assert not any(fade)
    assert gate.keyframe(next(pictures))


def test_a_lamp_is_motion_once() -> None:
    pictures = noisy(SIZE)
    gate = Gate()
    for _ in range(3):
        gate.keyframe(next(pictures))
    lit = [gate.keyframe(next(pictures) // 2 + 120) for _ in range(6)]
    assert lit == [True, False, False, False, False, False]


def test_what_comes_and_stays_wakes_and_is_then_taken_for_background_and_wakes_when_it_goes() -> None:
    pictures = noisy(SIZE)
    gate = Gate()
    gate.keyframe(next(pictures))
    stays = [gate.keyframe(with_box(next(pictures), 300, 150, 40, 60)) for _ in range(8)]
    assert stays == [True] * (1 + ABSORB) + [False] * (7 - ABSORB)
    gone = [gate.keyframe(next(pictures)) for _ in range(8)]
    assert gone == stays


def test_what_creeps_too_slowly_to_see_from_one_keyframe_to_the_next_wakes_all_the_same() -> None:
    pictures = noisy(SIZE, sigma=1)
    gate = Gate()
    gate.keyframe(next(pictures))
    creeping = [gate.keyframe(with_box(next(pictures), 100, 100, 2 * n, 60)) for n in range(1, 40)]
    assert sum(creeping) >= 3


@pytest.mark.parametrize("size", [(640, 360), (1920, 1080)])
def test_the_smallest_walker_that_is_seen(size: tuple[int, int]) -> None:
    """A person 0.4 as wide as high, of 60 grey levels' contrast; walking 1 % of the width at a time."""
    width, height = size
    seen: dict[float, int] = {}
    for percent in (1, 7, 9):
        h = int(height * percent / 100)
        w = round(h * 0.4)
        gate, pictures = Gate(), noisy(size)
        seen[percent] = 0
        for n in range(20):
            x = width // 10 + n * (w + 3)
            seen[percent] += gate.keyframe(with_box(next(pictures), x, height // 2, w, h))
    assert seen[9] >= 19
    assert seen[7] >= 15
    assert seen[1] == 0


def test_regions_are_where_the_box_is() -> None:
    pictures = noisy((320, 180))
    gate = Gate()
    gate.keyframe(next(pictures))
    x1, y1, x2, y2 = walker(30)
    before = gate.snapshot()
    found = gate.regions(with_box(next(pictures), x1, y1, x2 - x1, y2 - y1))
    assert len(found) == 1
    fx1, fy1, fx2, fy2 = found[0]
    assert x1 - 16 <= fx1 <= x1 < x2 <= fx2 <= x2 + 16
    assert y1 - 16 <= fy1 <= y1 < y2 <= fy2 <= y2 + 16
    assert gate.snapshot() == before
    assert gate.regions(next(pictures)) == []


def sized(size: int, keyframe: bool = False) -> Packet:
    return Packet(0, 0, 0, keyframe, False, size, None)  # type: ignore[arg-type]


def test_a_jump_of_packet_sizes_is_told_once() -> None:
    rng = np.random.default_rng(2)
    gate = Gate()
    quiet = [gate.size(sized(int(600 * rng.lognormal(0, 0.15)), n % 24 == 0)) for n in range(600)]
    assert sum(quiet) == 0
    busy = [gate.size(sized(int(6000 * rng.lognormal(0, 0.15)))) for n in range(24)]
    assert busy[1]
    assert sum(busy) == 1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=12), st.integers(0, 11))
def test_a_restored_gate_goes_on_as_the_first_one(steps: list[int], at: int) -> None:
    pictures = noisy((160, 90))
    shown = [with_box(next(pictures), x % 120, 20, 30, 40) for x in steps]
    first, second = Gate(), Gate()
    answers, again = [], []
    for n, picture in enumerate(shown):
        answers.append((first.size(sized(100 + 9 * steps[n])), first.keyframe(picture)))
        if n == at:
            second.restore(json.loads(json.dumps(first.snapshot())))
        elif n > at:
            again.append((second.size(sized(100 + 9 * steps[n])), second.keyframe(picture)))
    assert answers[at + 1 :] == again
    if at < len(shown):
        assert first.snapshot() == second.snapshot()


def test_after_a_reset_or_a_change_of_size_nothing_is_known() -> None:
    gate = Gate()
    gate.keyframe(next(noisy((640, 360))))
    gate.reset()
    assert gate.snapshot() == Gate().snapshot()
    assert not gate.keyframe(next(noisy((640, 360))))
    assert not gate.keyframe(next(noisy((640, 480))))

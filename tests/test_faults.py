"""Each synthesised fault is found in time, under its own name, and cleared; what is harmless stays silent.

On a made scene; `python -m benchmarks.health` does the same on real footage, encoded too.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from events.media import TICKS
from ingest import faults, gate
from ingest.watch import PictureWatch
from testbed.faults import FAULTS, Grey, NoiseField, Synthetic, blur, shake, turn
from testbed.harmless import HARMLESS

SIZE = (640, 360)
GOP_S = 2
SOUND = 20
"""Keyframes before the fault."""


def street(seed: int = 4) -> Grey:
    """A scene with edges of all directions and heights, [360, 640]."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    picture = np.tile(np.linspace(90, 150, width, dtype=np.float32), (height, 1)).astype(np.uint8)
    for x, y, w, h, tone, angle in rng.random((60, 6)):
        box = cv2.boxPoints(((x * width, y * height), (20 + w * 90, 10 + h * 70), angle * 90))
        cv2.fillPoly(picture, [box.astype(np.int32)], float(30 + 190 * tone))
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.7), np.uint8)


def walkers(scene: Grey) -> Iterator[Grey]:
    """The scene for ever; two people walk through it."""
    n = 0
    while True:
        picture = scene.copy()
        for k, speed in ((0, 37), (1, -53)):
            x = (100 + 300 * k + speed * n) % 600
            cv2.rectangle(picture, (x, 150 + 60 * k), (x + 24, 220 + 60 * k), 30 + 170 * k, -1)
        yield picture
        n += 1


def told(change: Synthetic, keyframes: int, after: int, gop_s: int = GOP_S) -> list[tuple[str, str, float]]:
    """What is said, in seconds from the change's beginning."""
    seed = 3
    noise = NoiseField(SIZE[::-1], np.random.default_rng(seed))
    watch, clip, said = PictureWatch(), walkers(street()), []
    make = change.make(seed)
    for n in range(SOUND + keyframes + after):
        picture, t = next(clip), float(gop_s * (n - SOUND))
        on = SOUND <= n < SOUND + keyframes
        if on and change.within:
            picture = make(picture, t)
        picture = noise.on(picture, 1.5)
        if on and not change.within:
            picture = make(picture, t)
        said += [
            (c.what, c.state, c.pts / TICKS - gop_s * SOUND)
            for c in watch.keyframe(n * gop_s * TICKS, picture)
        ]
    return said


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_within_ten_seconds_and_cleared(name: str) -> None:
    fault = FAULTS[name]
    said = told(fault, 8, 7)
    assert [(what, state) for what, state, _ in said] == [
        (fault.found[0], "raised"),
        (fault.found[0], "cleared"),
    ]
    assert 0 < said[0][2] - fault.lead_s <= 10
    assert 16 <= said[1][2] <= 16 + 5 * GOP_S


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_stays_silent(name: str) -> None:
    change = HARMLESS[name]
    gop_s = GOP_S if change.seconds < 600 else 6
    assert told(change, int(change.seconds / gop_s), 20, gop_s) == []


@pytest.mark.parametrize(
    "mild", [blur(0.0008), turn(0.012), shake(0.001)], ids=["blur-0.08 %", "turn-1.2 %", "shake-0.1 %"]
)
def test_what_is_too_little_to_matter_stays_silent(mild: object) -> None:
    assert told(Synthetic(found=(), strength="", make=mild), 10, 5) == []  # type: ignore[arg-type]


# --- the single measures


def test_edges_are_the_same_with_black_and_white_exchanged() -> None:
    coarse = faults.grid(gate.shrink(street()))
    field, length = faults.edges(coarse)
    other, long = faults.edges(255 - coarse)
    assert np.allclose(field, other, atol=1e-3)
    assert np.allclose(length, long, atol=1e-3)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (-5, 2), (12, -4), (0.5, 0)])
def test_the_shift_is_measured_to_a_fifth_of_a_cell(dx: float, dy: float) -> None:
    scene = street()
    matrix = np.array([[1, 0, dx * 8], [0, 1, dy * 8]], np.float32)
    moved = cv2.warpAffine(scene, matrix, SIZE, borderMode=cv2.BORDER_REFLECT)
    first, second = (
        faults.spectrum(faults.edges(faults.grid(gate.shrink(np.asarray(p, np.uint8))))[0])
        for p in (scene, moved)
    )
    x, y, sure = faults.shift(second, first)
    assert abs(x - dx) < 0.3
    assert abs(y - dy) < 0.3
    assert sure > 12


def test_sharpness_falls_with_blur_and_not_with_contrast_or_noise() -> None:
    scene = street()
    noise = NoiseField(scene.shape, np.random.default_rng(1))

    def middle(picture: Grey) -> float:
        sharp, count, _, _ = faults.sharpness(picture)
        return float(np.median(sharp[count >= 4]))

    usual = middle(noise.on(scene, 1.5))
    assert middle(noise.on((scene // 2 + 60).astype(np.uint8), 1.5)) > 0.85 * usual
    assert middle(noise.on(scene, 4)) > 0.8 * usual
    assert middle(noise.on(cv2.GaussianBlur(scene, (0, 0), 3), 1.5)) < 0.4 * usual  # type: ignore[arg-type]


def test_a_picture_too_small_to_measure_says_so() -> None:
    sharp, count, _, _ = faults.sharpness(np.zeros((40, 60), np.uint8))
    assert not sharp.any()
    assert not count.any()
    assert faults.patches(np.arange(240, dtype=np.uint8).reshape(12, 20)).shape == (24, 16, 16)

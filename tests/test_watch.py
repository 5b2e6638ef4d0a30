"""Frozen and black pictures."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from events.media import TICKS
from ingest.watch import PictureWatch
from tests.noisemaker import Grey, noisy


def changes(
    pictures: Iterator[Grey], times: list[int], watch: PictureWatch
) -> list[tuple[str, str, int, int]]:
    return [(c.what, c.state, c.pts, c.since) for pts in times for c in watch.keyframe(pts, next(pictures))]


def still(picture: Grey) -> Iterator[Grey]:
    while True:
        yield picture


@pytest.mark.parametrize(("gop_s", "keyframes"), [(2, 2), (1, 2), (0.5, 3), (0.25, 5)])
def test_a_frozen_picture_is_told_within_two_keyframes_and_a_second(gop_s: float, keyframes: int) -> None:
    watch, gop = PictureWatch(), int(gop_s * TICKS)
    pictures = noisy((320, 180))
    assert changes(pictures, [n * gop for n in range(5)], watch) == []
    last = next(pictures)
    found = changes(still(last), [(5 + n) * gop for n in range(10)], watch)
    assert found == [("frozen", "raised", (5 + keyframes - 1) * gop, 5 * gop)]
    assert changes(pictures, [20 * gop, 21 * gop], watch) == [("frozen", "cleared", 20 * gop, 5 * gop)]


def test_a_single_noisy_pixel_row_keeps_a_picture_alive() -> None:
    watch = PictureWatch()
    picture = np.full((180, 320), 100, np.uint8)
    for n in range(8):
        picture[16, 7] = 100 + n % 2
        assert watch.keyframe(n * TICKS, picture) == []


def test_a_black_picture_with_some_noise_is_black_and_a_night_with_a_lamp_is_not() -> None:
    rng = np.random.default_rng(1)
    dark = (rng.integers(14, 22, (180, 320), dtype=np.uint8) for _ in range(99))
    watch = PictureWatch()
    found = changes(dark, [0, TICKS, 2 * TICKS], watch)
    assert found == [("black", "raised", TICKS, 0)]

    def lamp() -> Iterator[Grey]:
        while True:
            picture = next(dark)
            picture[:60, :60] = 200
            yield picture

    assert changes(lamp(), [3 * TICKS, 4 * TICKS], watch) == [("black", "cleared", 3 * TICKS, 0)]


def test_messages_say_what_to_do() -> None:
    watch = PictureWatch()
    black = np.zeros((90, 160), np.uint8)
    found = [c for n in range(3) for c in watch.keyframe(n * TICKS, black)]
    assert {c.what for c in found} == {"black"}, "the root alone is told"
    assert all("; " in c.message for c in found)


@pytest.mark.parametrize("at", range(6))
def test_a_restored_watch_goes_on_as_the_first_one(at: int) -> None:
    pictures = [np.full((90, 160), v, np.uint8) for v in (90, 90, 90, 5, 5, 5, 91)]
    first, second = PictureWatch(), PictureWatch()
    answers, again = [], []
    for n, picture in enumerate(pictures):
        answers.append(first.keyframe(n * TICKS, picture))
        if n == at:
            second.restore(json.loads(json.dumps(first.snapshot())))
        elif n > at:
            again.append(second.keyframe(n * TICKS, picture))
    assert answers[at + 1 :] == again

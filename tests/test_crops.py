"""Crops: every region is looked at, never for more than the whole picture costs; cut objects are healed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.crops import OVERHEAD, choose, merge
from detectors.detections import Crop, Detections
from detectors.letterbox import fit
from detectors.manifest import Input

OPEN = Input(width=416, height=416, stride=32, colour="bgr")
FIXED = Input(width=416, height=416, colour="bgr")


def cost(crop: Crop | None, size: tuple[int, int], spec: Input) -> int:
    place = fit(spec, size, crop)
    return place.input_width * place.input_height + OVERHEAD


@st.composite
def scenes(draw: st.DrawFn) -> tuple[tuple[int, int], list[tuple[int, int, int, int]]]:
    width, height = draw(st.sampled_from([(640, 360), (768, 576), (1920, 1080), (352, 289), (120, 90)]))
    regions = []
    for _ in range(draw(st.integers(0, 12))):
        x, y = draw(st.integers(0, width - 2)), draw(st.integers(0, height - 2))
        regions.append((x, y, draw(st.integers(x + 1, width)), draw(st.integers(y + 1, height))))
    return (width, height), regions


@given(scenes(), st.sampled_from([OPEN, FIXED]), st.integers(1, 5))
def test_every_region_is_in_a_crop_or_the_whole_picture_is_looked_at(
    scene: tuple[tuple[int, int], list[tuple[int, int, int, int]]], spec: Input, most: int
) -> None:
    size, regions = scene
    crops = choose(regions, size, spec, most=most)
    assert crops == choose(regions, size, spec, most=most)
    assert len(crops) <= most
    for x1, y1, x2, y2 in crops:
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]
    if crops:
        assert sum(cost(crop, size, spec) for crop in crops) <= cost(None, size, spec)
        for x1, y1, x2, y2 in regions:
            assert any(c[0] <= x1 and c[1] <= y1 and c[2] >= x2 and c[3] >= y2 for c in crops)


def test_a_small_region_costs_a_fraction_and_is_seen_at_full_resolution() -> None:
    (crop,) = choose([(900, 500, 930, 590)], (1920, 1080), OPEN)
    place = fit(OPEN, (1920, 1080), crop)
    assert (place.width, place.height) == (crop[2] - crop[0], crop[3] - crop[1])
    assert cost(crop, (1920, 1080), OPEN) < cost(None, (1920, 1080), OPEN) / 2


def test_far_regions_get_crops_of_their_own_and_near_ones_share() -> None:
    far = choose([(10, 10, 40, 80), (1800, 900, 1830, 980)], (1920, 1080), OPEN)
    assert len(far) == 2
    assert len(choose([(500, 300, 530, 380), (540, 310, 570, 390)], (1920, 1080), OPEN)) == 1


def test_nothing_or_everything_moving_means_the_whole_picture() -> None:
    assert choose([], (640, 360), OPEN) == ()
    assert choose([(0, 0, 640, 360)], (640, 360), FIXED) in ((), ((0, 0, 640, 360),))
    assert choose([(x, 0, x + 60, 360) for x in range(0, 640, 64)], (1280, 720), OPEN) == ()


def found(*rows: tuple[float, float, float, float, float, str]) -> Detections:
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([row[4] for row in rows], np.float32), tuple(row[5] for row in rows))


LEFT, RIGHT = (0, 0, 400, 576), (368, 0, 768, 576)
SIZE = (768, 576)


def test_a_cut_object_goes_where_another_crop_shows_it_whole() -> None:
    whole = (375.0, 100.0, 430.0, 250.0, 0.6, "person")
    cut = (375.0, 100.0, 399.0, 250.0, 0.9, "person")
    merged = merge([(LEFT, found(cut)), (RIGHT, found(whole))], SIZE, 0.6)
    assert merged.boxes.tolist() == [list(whole[:4])]
    other = merge([(LEFT, found((*cut[:5], "car"))), (RIGHT, found(whole))], SIZE, 0.6)
    assert len(other) == 2


def test_a_cut_object_stays_where_nothing_shows_more_of_it() -> None:
    cut = (375.0, 100.0, 399.0, 250.0, 0.9, "person")
    assert len(merge([(LEFT, found(cut)), (RIGHT, found())], SIZE, 0.6)) == 1
    larger = (369.0, 90.0, 460.0, 250.0, 0.5, "person")  # cut too, but more of it
    merged = merge([(LEFT, found(cut)), (RIGHT, found(larger))], SIZE, 0.6)
    assert merged.scores.tolist() == [0.5]


def test_the_picture_border_cuts_nothing_and_the_best_comes_first() -> None:
    edge = (0.0, 0.0, 50.0, 100.0, 0.3, "person")
    both = (375.0, 300.0, 395.0, 380.0, 0.5, "person")
    merged = merge(
        [(LEFT, found(edge, both)), (RIGHT, found((376, 301, 396, 381, 0.8, "person")))], SIZE, 0.6
    )
    np.testing.assert_allclose(merged.scores, [0.8, 0.3])
    assert len(merge([(LEFT, found()), (RIGHT, found())], SIZE, 0.6)) == 0

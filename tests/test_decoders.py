"""Decoders: what a model of each family would put out for known boxes gives those boxes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.decoders import STRIDES, Raw, detr, nanodet, ssd, suppress, yolox
from events.errors import ModelError

SIZE = (160, 192)
ALL = np.ones(4, bool)

coordinates = st.floats(0, 1, width=32)


@st.composite
def targets(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """Centre and size in pixels of the input."""
    w, h = draw(st.floats(4, 150)), draw(st.floats(4, 150))
    return draw(coordinates) * (SIZE[1] - 1), draw(coordinates) * (SIZE[0] - 1), w, h


def corners(target: tuple[float, float, float, float]) -> list[float]:
    x, y, w, h = target
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def cells(stride: int) -> int:
    return SIZE[0] // stride * (SIZE[1] // stride)


@given(targets(), st.integers(0, 2), st.integers(0, 3))
def test_yolox_gives_back_a_box(target: tuple[float, float, float, float], level: int, label: int) -> None:
    x, y, w, h = target
    stride = STRIDES[level]
    column, row = int(x // stride), int(y // stride)
    index = sum(cells(s) for s in STRIDES[:level]) + row * (SIZE[1] // stride) + column
    out = np.zeros((1, sum(map(cells, STRIDES)), 9), np.float32)
    out[0, index, :5] = x / stride - column, y / stride - row, np.log(w / stride), np.log(h / stride), 0.8
    out[0, index, 5 + label] = 0.5
    raw = yolox([out], SIZE, ALL, 0.1)
    np.testing.assert_allclose(raw.boxes, [corners(target)], atol=0.05)
    np.testing.assert_allclose(raw.scores, [0.4], atol=1e-6)
    assert raw.classes.tolist() == [label]
    assert len(yolox([out], SIZE, ALL, 0.41).scores) == 0
    assert len(yolox([out], SIZE, np.arange(4) != label, 0.1).scores) == 0


@given(st.integers(0, 2), st.data())
def test_nanodet_gives_back_a_box(level: int, data: st.DataObject) -> None:
    """A distance between two bins is the mean of a distribution over both."""
    stride = STRIDES[level]
    index = data.draw(st.integers(0, cells(stride) - 1))
    sides = np.array([data.draw(st.floats(0, 9.99)) for _ in range(4)])
    scores = [np.zeros((1, cells(s), 80), np.float32) for s in STRIDES]
    codes = [np.zeros((1, cells(s), 44), np.float32) for s in STRIDES]
    scores[level][0, index, 2] = 0.7
    scores[level][0, index, 60] = 0.9
    bins = np.full((4, 11), -30, np.float32)
    for side, distance in enumerate(sides):
        low = int(distance)
        bins[side, low] = np.log(max(1 - (distance - low), 1e-12))
        bins[side, low + 1] = np.log(max(distance - low, 1e-12))
    codes[level][0, index] = bins.ravel()
    x, y = (index % (SIZE[1] // stride) + 0.5) * stride, (index // (SIZE[1] // stride) + 0.5) * stride
    want = np.array([x, y, x, y]) + sides * stride * [-1, -1, 1, 1]
    for wanted, label in ((np.isin(np.arange(80), [0, 2]), 2), (np.ones(80, bool), 60)):
        raw = nanodet([*scores, *codes], SIZE, wanted, 0.3)
        np.testing.assert_allclose(raw.boxes, [want], atol=0.05)
        assert raw.classes.tolist() == [label]


@given(targets())
def test_ssd_gives_back_a_box(target: tuple[float, float, float, float]) -> None:
    x, y, w, h = target
    anchors = np.array([[[0.1, 0.2, 0.3, 0.6], [0, 0, 1, 1]]], np.float32)
    logits = np.full((1, 2, 5), -9, np.float32)
    logits[0, 1, 1 + 3] = 2.0
    codes = np.zeros((1, 2, 4), np.float32)
    cy, cx = y / SIZE[0] - 0.5, x / SIZE[1] - 0.5
    codes[0, 1] = cy * 10, cx * 10, 5 * np.log(h / SIZE[0]), 5 * np.log(w / SIZE[1])
    raw = ssd([codes, logits, anchors], SIZE, ALL, 0.1)
    np.testing.assert_allclose(raw.boxes, [corners(target)], atol=0.05)
    np.testing.assert_allclose(raw.scores, [1 / (1 + np.exp(-2))], rtol=1e-5)
    assert raw.classes.tolist() == [3]


@given(targets())
def test_both_forms_of_detr_give_back_a_box(target: tuple[float, float, float, float]) -> None:
    logits = np.full((1, 3, 4), -200, np.float32)
    logits[0, 1, 2] = 1.0
    boxes = np.zeros((1, 3, 4), np.float32)
    boxes[0, 1] = np.array(target) / [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]
    raw = detr([logits, boxes], SIZE, ALL, 0.1)
    ready = np.zeros((1, 3, 4), np.float32)
    ready[0, 1] = corners(target)
    labels = np.array([[0, 2, 1]])
    done = detr([labels, ready, np.array([[0.05, 0.73, 0.01]], np.float32)], SIZE, ALL, 0.1)  # type: ignore[list-item]
    for answer in (raw, done):
        np.testing.assert_allclose(answer.boxes, [corners(target)], atol=0.05)
        assert answer.classes.tolist() == [2]
        assert answer.boxes.dtype == answer.scores.dtype == np.float32


def test_outputs_of_another_family_are_refused() -> None:
    out = np.zeros((1, 10, 9), np.float32)
    for decode, outputs in ((nanodet, [out]), (yolox, [out]), (ssd, [out]), (detr, [out])):
        with pytest.raises(ModelError, match="decoder"):
            decode(outputs, SIZE, ALL, 0.1)


def brute_force(raw: Raw, iou: float) -> list[int]:
    kept: list[int] = []
    for n in sorted(range(len(raw.scores)), key=lambda n: (-raw.scores[n], n)):
        for k in kept:
            w = min(raw.boxes[n][2], raw.boxes[k][2]) - max(raw.boxes[n][0], raw.boxes[k][0])
            h = min(raw.boxes[n][3], raw.boxes[k][3]) - max(raw.boxes[n][1], raw.boxes[k][1])
            shared = max(w, 0) * max(h, 0)
            areas = [float((b[2] - b[0]) * (b[3] - b[1])) for b in (raw.boxes[n], raw.boxes[k])]
            if raw.classes[n] == raw.classes[k] and shared > iou * (sum(areas) - shared):
                break
        else:
            kept.append(n)
    return kept


@given(st.integers(0, 40), st.sampled_from([0.25, 0.5, 0.75]), st.integers(0, 10_000))
@settings(max_examples=100)
def test_suppression_is_greedy_by_score_within_a_class(count: int, iou: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 40, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 40, (count, 2))], axis=1).astype(np.float32)
    scores = (rng.integers(1, 6, count) / 8).astype(np.float32)  # many ties
    raw = Raw(boxes, scores, rng.integers(0, 2, count).astype(np.intp))
    assert suppress(raw, iou).tolist() == brute_force(raw, iou)
    assert suppress(raw, iou, limit=5).tolist() == [n for n in suppress(raw, iou, limit=5) if n < count]

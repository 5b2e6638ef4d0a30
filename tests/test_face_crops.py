"""Crops of faces: coarse for whoever looks, and nobody else's face in them."""

from fractions import Fraction

import av
import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from events.observations import Box
from pipeline.face_crops import Pixels, original, pixelated

W, H = 320, 240
BLOCKS = 8
"""Across a face, as the documents say."""
NOISE = np.random.default_rng(7).integers(0, 256, (H, W, 3), dtype=np.uint8)
"""Every pixel tells: whatever is averaged shows it."""
FRAME = av.VideoFrame.from_ndarray(NOISE, format="bgr24")

sizes = st.tuples(st.integers(16, 90), st.integers(16, 110))


@st.composite
def faces(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """Fractions of the picture, wholly inside it."""
    w, h = draw(sizes)
    x, y = draw(st.integers(0, W - w)), draw(st.integers(0, H - h))
    return x / W, y / H, (x + w) / W, (y + h) / H


def colours(line: Pixels) -> int:
    """Runs of one colour along a row or column."""
    return 1 + int((np.diff(line.astype(int), axis=0) != 0).any(axis=1).sum())


def cut_at(face: tuple[float, float, float, float]) -> tuple[int, int]:
    """Left and top of the crop, as it should be: half the face's size beyond it."""
    x1, y1, x2, y2 = face
    return max(int((x1 - (x2 - x1) / 2) * W), 0), max(int((y1 - (y2 - y1) / 2) * H), 0)


@given(faces())
@settings(max_examples=60, deadline=None)
def test_a_pixelated_face_has_so_few_blocks(face: tuple[float, float, float, float]) -> None:
    crop = pixelated(FRAME, face, [])
    left, top = cut_at(face)
    own = crop[round(face[1] * H) - top : round(face[3] * H) - top, round(face[0] * W) - left :]
    own = own[:, : round((face[2] - face[0]) * W)]
    assert max(colours(row) for row in own) <= BLOCKS + 2  # cut ones at both sides
    tall = (face[3] - face[1]) * H / ((face[2] - face[0]) * W)
    assert max(colours(own[:, x]) for x in range(own.shape[1])) <= BLOCKS * tall + 2
    assert max(colours(row) for row in crop) <= 2 * BLOCKS + 1


@given(faces())
@settings(max_examples=60, deadline=None)
def test_the_original_is_the_picture_around_the_face(face: tuple[float, float, float, float]) -> None:
    crop = original(FRAME, face, [])
    left, top = cut_at(face)
    rows, columns = crop.shape[:2]
    np.testing.assert_array_equal(crop, NOISE[top : top + rows, left : left + columns])
    w, h = (face[2] - face[0]) * W, (face[3] - face[1]) * H
    assert columns <= 2 * w + 1.5
    assert rows <= 2 * h + 1.5
    assert left <= face[0] * W
    assert left + columns >= face[2] * W - 0.5


@given(faces(), faces())
@settings(max_examples=200, deadline=None)
def test_somebody_else_is_hidden_in_both_and_the_face_itself_is_not(
    face: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> None:
    x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    covers = other[0] <= x <= other[2] and other[1] <= y <= other[3]
    crop, blocks = original(FRAME, face, [Box(*other)]), pixelated(FRAME, face, [Box(*other)])
    rows, columns = crop.shape[:2]
    left, top = cut_at(face)
    plain = (crop == NOISE[top : top + rows, left : left + columns]).all(axis=2)
    own = np.zeros((rows, columns), bool)
    own[round(face[1] * H) - top : round(face[3] * H) - top, round(face[0] * W) - left :][
        :, : round(face[2] * W) - round(face[0] * W)
    ] = True
    theirs = np.zeros((rows, columns), bool)
    theirs[
        max(round(other[1] * H) - top, 0) : max(round(other[3] * H) - top, 0),
        max(round(other[0] * W) - left, 0) : max(round(other[2] * W) - left, 0),
    ] = True
    assert plain[own].all()
    if covers:
        assert plain.all()
        return
    rim = cv2.dilate(theirs.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)  # halves are rounded
    assert plain[~rim & ~own].all()
    hidden = theirs & ~own
    if hidden.sum() > 200:  # pixels; a block that happens to have one pixel's colour is rare
        assert plain[hidden].mean() < 0.02
        ys, xs = np.nonzero(hidden)
        row = blocks[int(np.median(ys)), xs.min() : xs.max() + 1]
        assert colours(row) <= 2 * BLOCKS + 12


def test_a_big_face_beside_a_small_one_is_hidden_in_its_own_measure() -> None:
    """In blocks of the small face's size the big one would be 20 blocks wide."""
    small, big = (0.5, 0.4, 0.55, 0.5), Box(0.56, 0.2, 0.9, 0.9)
    without, crop = pixelated(FRAME, small, []), pixelated(FRAME, small, [big])
    left, _ = cut_at(small)
    beside = round(big.x1 * W) - left
    rows = slice(2, -2)
    fine = len(np.unique(without[rows, beside:].reshape(-1, 3), axis=0))
    coarse = len(np.unique(crop[rows, beside:].reshape(-1, 3), axis=0))
    assert coarse * 4 < fine
    np.testing.assert_array_equal(crop[:, : beside - 2], without[:, : beside - 2])


def test_where_it_is_not_known_who_is_there_the_crop_as_a_whole_is_coarse() -> None:
    crop = pixelated(FRAME, (0.4, 0.4, 0.6, 0.7), None)
    assert max(colours(row) for row in crop) <= BLOCKS
    assert max(colours(row) for row in pixelated(FRAME, (0.4, 0.4, 0.6, 0.7), [])) > BLOCKS


def test_a_face_at_the_edge_is_cut_within_the_picture() -> None:
    for face in ((0.0, 0.0, 0.1, 0.1), (0.9, 0.9, 1.0, 1.0), (0.999, 0.0, 1.0, 0.001)):
        crop = original(FRAME, face, [])
        assert 1 <= crop.shape[0] <= H
        assert 1 <= crop.shape[1] <= W
        assert pixelated(FRAME, face, []).shape == crop.shape


def test_a_yuv_picture_of_odd_size_is_cut_as_well() -> None:
    frame = FRAME.reformat(318, 238, "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 10)
    assert pixelated(frame, (0.2, 0.2, 0.5, 0.6), []).shape[2] == 3

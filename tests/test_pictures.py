"""Hidden people cannot be made out; the rest of the picture stays, and so does the decoder's."""

import io
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.observations import Box
from storage.pictures import hide, mosaic, snapshot
from tests.clipmaker import HEIGHT, WIDTH, picture, walker


def fine(pixels: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """How much detail there is in a box: mean step from pixel to pixel, minus the steps between blocks."""
    x1, y1, x2, y2 = box
    part = pixels[y1:y2, x1:x2].astype(int)
    return float(np.median(np.abs(np.diff(part, axis=1))) + np.mean(np.abs(np.diff(part, axis=1)) > 60) * 100)


def luma(frame: av.VideoFrame) -> np.ndarray:
    return frame.to_ndarray(format="gray")


def test_a_box_is_hidden_and_the_rest_is_not_touched() -> None:
    rng = np.random.default_rng(1)
    frame, x = picture(5, rng), walker(5)
    before = luma(frame).copy()
    assert fine(before, x) > 20
    after = luma(hide(frame, [Box(*x)]))
    assert fine(after, x) < 5
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[x[1] : x[3], x[0] : x[2]] = False
    assert (after[outside] == before[outside]).all()


def test_unknown_hides_everything() -> None:
    rng = np.random.default_rng(1)
    after = luma(hide(picture(5, rng), None))
    assert fine(after, walker(5)) < 5
    assert len(np.unique(after[:20])) < 30


@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p", "nv12", "yuv422p", "rgb24", "gray"])
def test_any_format_is_hidden(name: str) -> None:
    rng = np.random.default_rng(1)
    frame = picture(5, rng).reformat(format=name)
    assert fine(luma(hide(frame, [Box(*walker(5))])), walker(5)) < 5


def test_the_decoders_own_pictures_are_not_changed() -> None:
    """A hidden picture that others are predicted from must not spoil them."""
    rng = np.random.default_rng(1)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base = Fraction(1, 10)
    packets = [p for n in range(10) for p in encoder.encode(picture(n, rng))] + encoder.encode(None)

    def decoded(spoil: bool) -> list[bytes]:
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        out = []
        for p in [*packets, None]:
            for frame in decoder.decode(p):
                out.append(frame.to_ndarray().tobytes())
                if spoil:
                    hide(frame, None)
        return out

    assert decoded(spoil=True) == decoded(spoil=False)


@given(
    st.tuples(*[st.floats(-500, 500) for _ in range(4)]),
    st.floats(1, 100),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_any_box_fits_any_picture(
    corners: tuple[float, float, float, float], block: float, width: int, height: int
) -> None:
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    plane = np.arange(width * height, dtype=np.uint32).astype(np.uint8).reshape(height, width)
    before = plane.copy()
    mosaic(plane, Box(x1, y1, x2, y2), block)
    rows, columns = np.mgrid[0:height, 0:width]
    outside = (columns < int(x1)) | (columns >= np.ceil(x2)) | (rows < int(y1)) | (rows >= np.ceil(y2))
    assert (plane[outside] == before[outside]).all()


def jpeg(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    return pixels


def test_a_snapshot_hides_unless_asked_not_to() -> None:
    rng = np.random.default_rng(1)
    frame, x = picture(5, rng), walker(5)
    untouched = frame.to_ndarray().copy()
    assert fine(jpeg(snapshot(frame, [Box(*x)])), x) < 10
    assert fine(jpeg(snapshot(frame, None)), x) < 10
    assert fine(jpeg(snapshot(frame, [Box(*x)], plain=True)), x) > 20
    assert fine(jpeg(snapshot(frame, [])), x) > 20  # known to hold nobody
    assert (frame.to_ndarray() == untouched).all()


def test_a_snapshot_is_a_jpeg_of_the_frames_size() -> None:
    rng = np.random.default_rng(1)
    with av.open(io.BytesIO(snapshot(picture(5, rng), []))) as image:
        assert (image.streams.video[0].width, image.streams.video[0].height) == (WIDTH, HEIGHT)

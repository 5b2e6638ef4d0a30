"""From frame to tensor: geometry both ways, colours, padding, crops."""

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.detections import Crop
from detectors.letterbox import Letterbox, fit
from detectors.manifest import Input

FIXED = Input(width=416, height=416, colour="bgr")
OPEN = Input(width=416, height=416, stride=32, colour="rgb")
STRETCH = Input(width=300, height=300, colour="rgb", fit="stretch")


def picture(width: int, height: int, form: str = "yuv420p") -> av.VideoFrame:
    """Four quarters: red, green, blue, white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    pixels[:h, :w], pixels[:h, w:], pixels[h:, :w] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    pixels[h:, w:] = 255
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=form)


sides = st.integers(32, 4000)


@given(sides, sides, st.sampled_from([FIXED, OPEN, STRETCH]), st.data())
def test_boxes_come_back_to_where_they_were(w: int, h: int, spec: Input, data: st.DataObject) -> None:
    crop: Crop | None = None
    if data.draw(st.booleans()):
        x1, y1 = data.draw(st.integers(0, w - 16)), data.draw(st.integers(0, h - 16))
        crop = (x1, y1, data.draw(st.integers(x1 + 8, w)), data.draw(st.integers(y1 + 8, h)))
    place = fit(spec, (w, h), crop)
    x1, y1, x2, y2 = place.crop
    assert place.width <= place.input_width <= spec.width
    assert place.height <= place.input_height <= spec.height
    if spec.stride:
        assert place.input_width % spec.stride == place.input_height % spec.stride == 0
    if crop:
        assert (x1 <= crop[0], y1 <= crop[1], x2 >= crop[2], y2 >= crop[3]) == (True,) * 4
        assert x1 % 2 == y1 % 2 == 0
    whole = np.array([[0, 0, place.width, place.height], [-50, -50, 9000, 9000]], np.float32)
    np.testing.assert_allclose(place.to_picture(whole), [[x1, y1, x2, y2]] * 2, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "nv12", "yuv422p", "rgb24"])
@pytest.mark.parametrize("crop", [None, (0, 0, 320, 180), (100, 40, 540, 320)])
@pytest.mark.parametrize("spec", [FIXED, OPEN, STRETCH])
def test_every_quarter_has_its_colour(form: str, crop: Crop | None, spec: Input) -> None:
    tensor, place = Letterbox(spec).fill(picture(640, 360, form), crop)
    assert tensor.shape == (1, 3, place.input_height, place.input_width)
    rgb = tensor[0] if spec.colour == "rgb" else tensor[0, ::-1]
    x1, y1, x2, y2 = place.crop
    for (x, y), colour in {
        (160, 90): (255, 0, 0),
        (480, 90): (0, 255, 0),
        (160, 270): (0, 0, 255),
        (480, 270): (255, 255, 255),
    }.items():
        if x1 < x < x2 and y1 < y < y2:
            row, column = (y - y1) * place.height // (y2 - y1), (x - x1) * place.width // (x2 - x1)
            np.testing.assert_allclose(rgb[:, row, column], colour, atol=6)
    assert (tensor[0, :, place.height :] == spec.pad).all()
    assert (tensor[0, :, :, place.width :] == spec.pad).all()


def test_a_crop_shows_the_same_pixels_as_the_picture() -> None:
    noise = np.random.default_rng(5).integers(0, 255, (180, 320, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format="yuv420p")
    box = Letterbox(OPEN)
    whole = box.fill(frame, (0, 0, 320, 180))[0][0, :, :180, :320].copy()
    part, place = box.fill(frame, (64, 32, 192, 128))
    assert (place.width, place.height) == (128, 96)
    inner = (slice(None), slice(4, 92), slice(4, 124))  # chroma at the very border is interpolated
    np.testing.assert_allclose(part[0][inner], whole[:, 32:128, 64:192][inner], atol=1)


def test_mean_and_scale_are_applied_to_picture_and_padding() -> None:
    spec = Input(width=64, height=64, colour="rgb", mean=(100, 50, 0), scale=(0.1, 0.2, 0.5), pad=0)
    tensor, place = Letterbox(spec).fill(picture(64, 32))
    assert place.height == 32
    np.testing.assert_allclose(tensor[0, :, 28, 60], [15.5, 41, 127.5], atol=0.5)
    np.testing.assert_allclose(tensor[0, :, 40, 8], [-10, -10, 0], atol=1e-5)


def test_the_tensor_is_reused_and_old_pictures_leave_no_trace() -> None:
    box = Letterbox(OPEN)
    first, _ = box.fill(picture(640, 360))
    wide = first.copy()
    tall, _ = box.fill(picture(360, 640))
    assert np.shares_memory(first, tall)
    again, _ = box.fill(picture(640, 360))
    assert (again == wide).all()


def test_bright_pixels_stay_bright_where_the_camera_uses_the_full_range() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((64, 64), 235, np.uint8), format="gray")
    limited = frame.reformat(format="yuv420p")
    frame = av.VideoFrame(64, 64, "yuvj420p")
    for plane, value in zip(frame.planes, (235, 128, 128), strict=True):
        np.frombuffer(plane, np.uint8)[:] = value  # type: ignore[call-overload]
    full = Letterbox(OPEN).fill(frame, (0, 0, 64, 64))[0][0, 0, 8, 8]
    assert full == pytest.approx(235, abs=1)
    assert Letterbox(OPEN).fill(limited, (0, 0, 64, 64))[0][0, 0, 8, 8] == pytest.approx(235, abs=1)


@given(st.integers(-500, 900), st.integers(-500, 900))
@settings(max_examples=30)
def test_a_crop_outside_the_picture_is_refused(x: int, y: int) -> None:
    crop = (x, y, x + 100, y + 100)
    if x + 100 > 2 and y + 100 > 2 and x < 638 and y < 358:
        fit(OPEN, (640, 360), crop)
    else:
        with pytest.raises(ValueError, match="nothing of a picture"):
            fit(OPEN, (640, 360), (x + 4, y + 4, x + 96, y + 96))

"""Decoders of faces: what a model would put out for a known face gives it back, and real ones agree."""

from pathlib import Path

import av
import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors import centerface as graph
from detectors import crops, manifest, models, onnx_detector
from detectors.decoders import STRIDES, Raw, suppress
from detectors.detections import Detections
from detectors.face_decoders import STRIDE, centerface, yunet
from detectors.letterbox import fit
from detectors.runtime import Runtime
from events.errors import ModelError

SHARED = Path(__file__).parents[1].parent / "shared"
SIZE = (160, 192)
ALL = np.ones(1, bool)
MARKS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
"""Right eye, left eye, nose, corners of the mouth as parts of the box, x y."""

coordinates = st.floats(0, 0.99)
Floats = NDArray[np.float32]


@st.composite
def faces(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """Centre and size in pixels of the input."""
    return (
        draw(coordinates) * SIZE[1],
        draw(coordinates) * SIZE[0],
        draw(st.floats(4, 150)),
        draw(st.floats(4, 150)),
    )


def corners(x: float, y: float, w: float, h: float) -> Floats:
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2], np.float32)


def centerface_outputs(face: tuple[float, float, float, float], score: float = 0.8) -> list[Floats]:
    x, y, w, h = face
    rows, columns = SIZE[0] // STRIDE, SIZE[1] // STRIDE
    heat, scale, offset, marks = (np.zeros((1, n, rows, columns), np.float32) for n in (1, 2, 2, 10))
    row, column = int(y // STRIDE), int(x // STRIDE)
    heat[0, 0, row, column] = score
    scale[0, :, row, column] = np.log(h / STRIDE), np.log(w / STRIDE)
    offset[0, :, row, column] = y / STRIDE - row - 0.5, x / STRIDE - column - 0.5
    marks[0, :, row, column] = MARKS[:, ::-1].ravel()
    return [heat, scale, offset, marks]


def yunet_outputs(face: tuple[float, float, float, float], level: int) -> list[Floats]:
    x, y, w, h = face
    cells = [SIZE[0] // s * (SIZE[1] // s) for s in STRIDES]
    outputs = [np.zeros((1, n, width), np.float32) for width in (1, 1, 4, 10) for n in cells]
    stride = STRIDES[level]
    column, row = int(x // stride), int(y // stride)
    cell = row * (SIZE[1] // stride) + column
    kind, thing, box, marks = outputs[level::3]
    kind[0, cell], thing[0, cell] = 0.9, 0.4
    box[0, cell] = x / stride - column, y / stride - row, np.log(w / stride), np.log(h / stride)
    points = corners(*face)[:2] + MARKS * (w, h)
    marks[0, cell] = (points / stride - (column, row)).ravel()
    return outputs


@given(faces())
def test_centerface_gives_back_a_face(face: tuple[float, float, float, float]) -> None:
    outputs = centerface_outputs(face)
    raw = centerface(outputs, SIZE, ALL, 0.5)
    np.testing.assert_allclose(raw.boxes, [corners(*face)], atol=0.05)
    np.testing.assert_allclose(raw.scores, [0.8], atol=1e-6)
    assert raw.landmarks is not None
    np.testing.assert_allclose(raw.landmarks, [corners(*face)[:2] + MARKS * face[2:]], atol=0.05)
    assert len(centerface(outputs, SIZE, ALL, 0.81).scores) == 0
    assert centerface(outputs, SIZE, ~ALL, 0.5).boxes.shape == (0, 4)


def test_centerface_takes_the_peak_only() -> None:
    outputs = centerface_outputs((80, 80, 40, 50))
    outputs[0][0, 0, 20, 19:23] = 0.5, 0.8, 0.7, 0.75
    raw = centerface(outputs, SIZE, ALL, 0.3)
    assert raw.scores.tolist() == pytest.approx([0.8, 0.75])
    outputs[0][0, 0, 0, 0] = 0.6  # at the border there are fewer neighbours
    assert len(centerface(outputs, SIZE, ALL, 0.3).scores) == 3


@given(faces(), st.integers(0, 2))
def test_yunet_gives_back_a_face(face: tuple[float, float, float, float], level: int) -> None:
    raw = yunet(yunet_outputs(face, level), SIZE, ALL, 0.5)
    np.testing.assert_allclose(raw.boxes, [corners(*face)], atol=0.05)
    np.testing.assert_allclose(raw.scores, [0.6], atol=1e-6)
    assert raw.landmarks is not None
    np.testing.assert_allclose(raw.landmarks, [corners(*face)[:2] + MARKS * face[2:]], atol=0.05)
    assert len(yunet(yunet_outputs(face, level), SIZE, ~ALL, 0.5).scores) == 0


def test_other_outputs_are_refused() -> None:
    outputs = centerface_outputs((80, 80, 40, 50))
    with pytest.raises(ModelError, match="four outputs"):
        centerface(outputs[:3], SIZE, ALL, 0.5)
    with pytest.raises(ModelError, match="4 pixels to a cell"):
        centerface(outputs, (320, 320), ALL, 0.5)
    with pytest.raises(ModelError, match="twelve outputs"):
        yunet(outputs, SIZE, ALL, 0.5)
    with pytest.raises(ModelError, match="cells of 8 pixels"):
        yunet(yunet_outputs((80, 80, 40, 50), 0), (320, 320), ALL, 0.5)


def test_merging_crops_keeps_each_face_with_its_landmarks() -> None:
    def seen(*lefts: int) -> Detections:
        boxes = np.array([[x, 10, x + 40, 60] for x in lefts], np.float32)
        marks = boxes[:, None, :2] + MARKS * 40
        return Detections(
            boxes, np.linspace(0.9, 0.8, len(lefts), dtype=np.float32), ("face",) * len(lefts), marks
        )

    found = [((0, 0, 200, 200), seen(20, 120)), ((100, 0, 300, 200), seen(122, 240))]
    merged = crops.merge(found, (300, 200), 0.3)
    assert merged.landmarks is not None
    assert sorted(merged.boxes[:, 0].tolist()) == [20, 122, 240]
    np.testing.assert_allclose(merged.landmarks, merged.boxes[:, None, :2] + MARKS * 40)
    plain = Detections(found[0][1].boxes, found[0][1].scores, found[0][1].labels)
    assert crops.merge([(found[0][0], plain), found[1]], (300, 200), 0.3).landmarks is None


def test_landmarks_of_a_crop_are_placed_in_the_picture() -> None:
    """Where boxes go, points go, and those outside the crop stay outside."""
    spec = manifest.Input(width=320, height=320, stride=32, colour="rgb")
    place = fit(spec, (1280, 720), (200, 100, 840, 740))
    box = np.array([[10, 20, 60, 90]], np.float32)
    moved = place.points_to_picture(box.reshape(1, 2, 2)).reshape(1, 4)
    np.testing.assert_allclose(moved, place.to_picture(box))
    factor = 640 / place.width
    np.testing.assert_allclose(place.points_to_picture(np.array([-5, 3], np.float32))[0], 200 - 5 * factor)


def test_suppression_needs_no_landmarks() -> None:
    raw = Raw(np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.intp))
    assert suppress(raw, 0.3).tolist() == [0]


def test_only_the_declarations_of_the_graph_are_mended(tmp_path: Path) -> None:
    """A graph of the same form: weights as inputs, one fixed size."""
    value = onnx.helper.make_tensor_value_info
    weight = onnx.numpy_helper.from_array(np.full((15, 3, 4, 4), 0.5, np.float32), "w")
    nodes = [
        onnx.helper.make_node("Conv", ["input.1", "w"], ["all"], strides=[4, 4]),
        onnx.helper.make_node("Split", ["all"], ["537", "538", "539", "540"], axis=1, split=[1, 2, 2, 10]),
    ]
    made = onnx.helper.make_graph(
        nodes,
        "g",
        [value("input.1", 1, [10, 3, 32, 32]), value("w", 1, [15, 3, 4, 4])],
        [value(name, 1, [10, n, 8, 8]) for name, n in (("537", 1), ("538", 2), ("539", 2), ("540", 10))],
        [weight],
    )
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 9)], ir_version=4)
    onnx.save(model, tmp_path / "fixed.onnx")
    (tmp_path / "open.onnx").write_bytes(graph.mended(tmp_path / "fixed.onnx"))
    assert graph.mended(tmp_path / "fixed.onnx") == (tmp_path / "open.onnx").read_bytes()
    runtime = Runtime(tmp_path / "open.onnx")
    assert runtime.inputs == {"input.1": (None, 3, None, None)}
    heat, *_ = runtime.run({"input.1": np.ones((1, 3, 64, 96), np.float32)})
    assert heat.shape == (1, 1, 16, 24)
    assert heat[0, 0, 0, 0] == 24
    model.graph.output[0].name = "other"
    onnx.save(model, tmp_path / "fixed.onnx")
    with pytest.raises(ModelError, match="is not CenterFace"):
        graph.mended(tmp_path / "fixed.onnx")


@pytest.fixture(scope="module")
def frame() -> av.VideoFrame:
    clip = SHARED / "footage" / "one-by-one-person-detection.mp4"
    if not clip.exists():
        pytest.skip("one-by-one-person-detection.mp4 is not in ../shared/footage")
    with av.open(str(clip)) as container:
        for n, picture in enumerate(container.decode(video=0)):
            if n == 686:
                return picture
    raise AssertionError


def test_two_models_agree_on_a_real_face(frame: av.VideoFrame) -> None:
    """Boxes, landmarks and their order: the owner's right eye is on the left of the picture."""
    models.pull("centerface")
    detector = onnx_detector.load("centerface", least_score=0.5)
    first = detector.detect(frame)
    other = SHARED / "models" / "yunet_s_dynamic.onnx"
    if not other.exists():
        pytest.skip("yunet_s_dynamic.onnx is not in ../shared/models")
    known = msgspec.structs.replace(
        manifest.named("centerface"), file=other.name, decoder="yunet",
        input=manifest.Input(width=768, height=768, stride=32, colour="bgr", pad=0),
    )  # fmt: skip
    second = onnx_detector.OnnxDetector(known, Runtime(other), least_score=0.5).detect(frame)
    assert len(first) == len(second) == 1
    for found in (first, second):
        assert found.labels == ("face",)
        assert found.landmarks is not None
        right, left, nose, mouth_right, mouth_left = found.landmarks[0]
        assert right[0] < left[0]
        assert mouth_right[0] < mouth_left[0]
        assert max(right[1], left[1]) < nose[1] < min(mouth_right[1], mouth_left[1])
        inside = (found.landmarks[0] - found.boxes[0, :2]) / (found.boxes[0, 2:] - found.boxes[0, :2])
        assert np.all((inside > -0.1) & (inside < 1.1))
    assert first.landmarks is not None
    assert second.landmarks is not None
    width = first.boxes[0, 2] - first.boxes[0, 0]
    assert np.abs(first.landmarks - second.landmarks).max() < 0.35 * width
    closer = detector.detect(frame, ((480, 0, 700, 200), (520, 0, 760, 220)))
    assert closer.landmarks is not None
    assert len(closer) == 1
    assert np.abs(closer.landmarks[0] - first.landmarks[0]).max() < 0.15 * width

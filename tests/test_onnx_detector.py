"""The detector as the worker uses it: real models on real footage, and models that do not fit."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from detectors import fetch, manifest
from detectors.detections import Detections
from detectors.onnx_detector import OnnxDetector, load
from events.errors import ModelError
from events.observations import Box

SHARED = Path(__file__).parents[1].parent / "shared"
VTEST = SHARED / "footage" / "vtest.avi"
YOLOX = SHARED / "models" / "yolox_nano_416.onnx"
FRAMES = range(1, 300, 15)

needs_footage = pytest.mark.skipif(not VTEST.exists(), reason="needs vtest.avi in ../shared/footage")


@pytest.fixture(scope="module")
def default() -> OnnxDetector:
    fetch.pull(manifest.named("nanodet"))
    return load("nanodet")


@pytest.fixture(scope="module")
def frames() -> dict[int, av.VideoFrame]:
    with av.open(VTEST) as container:
        decoded = enumerate(container.decode(video=0), 1)
        return {n: f.reformat(format="yuv420p") for n, f in decoded if n in FRAMES and n < 300}


def truth() -> dict[int, list[Box]]:
    boxes: dict[int, list[Box]] = {}
    for line in (SHARED / "footage" / "vtest.gt.txt").read_text().splitlines():
        frame, _, x, y, w, h, valid = [float(part) for part in line.split(",")[:7]]
        if valid:
            boxes.setdefault(int(frame), []).append(Box(x, y, x + w, y + h))
    return boxes


def score(found: dict[int, Detections], least: float) -> tuple[float, float]:
    """Recall and precision of persons at an overlap of half."""
    hits = shown = there = 0
    for n, detections in found.items():
        left = truth()[n]
        there += len(left)
        for box, value, label in zip(detections.boxes, detections.scores, detections.labels, strict=True):
            if label == "person" and value >= least:
                shown += 1
                mine = Box(*map(float, box))
                best = max(left, key=mine.iou, default=None)
                if best and mine.iou(best) > 0.5:
                    hits += 1
                    left.remove(best)
    return hits / there, hits / shown


@needs_footage
def test_the_default_model_sees_the_people_in_the_footage(
    default: OnnxDetector, frames: dict[int, av.VideoFrame]
) -> None:
    recall, precision = score({n: default.detect(f) for n, f in frames.items()}, 0.4)
    assert recall > 0.85
    assert precision > 0.65  # a sign like a person and somebody far away that the truth leaves out


@needs_footage
@pytest.mark.skipif(not YOLOX.exists(), reason="needs yolox_nano_416.onnx in ../shared/models")
def test_yolox_sees_the_people_in_the_footage(
    frames: dict[int, av.VideoFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINLI_MODELS", str(tmp_path))
    shutil.copy(YOLOX, tmp_path / manifest.named("yolox-nano").file)
    detector = load("yolox-nano", labels=["person"])
    recall, precision = score({n: detector.detect(f) for n, f in frames.items()}, 0.3)
    assert recall > 0.8
    assert precision > 0.65


@needs_footage
def test_crops_show_what_is_in_them(default: OnnxDetector, frames: dict[int, av.VideoFrame]) -> None:
    left, right = (0, 0, 416, 576), (352, 0, 768, 576)
    recall, precision = score({n: default.detect(f, (left, right)) for n, f in frames.items()}, 0.4)
    assert recall > 0.85
    assert precision > 0.65
    outside = default.detect(frames[1], (left,)).boxes[:, 2].max()
    assert outside <= 416


@needs_footage
def test_the_same_frame_gives_the_same_bytes(default: OnnxDetector, frames: dict[int, av.VideoFrame]) -> None:
    other = load("nanodet")
    crop = (96, 64, 400, 300)
    for detector in (default, other):
        detector.detect(frames[16], (crop,))  # another size between must not matter
    answers = [
        (a.boxes.tobytes(), a.scores.tobytes(), a.labels)
        for detector in (default, other, default)
        for a in (detector.detect(frames[1]),)
    ]
    assert answers[0] == answers[1] == answers[2]


@needs_footage
def test_only_the_classes_asked_for_are_answered(frames: dict[int, av.VideoFrame]) -> None:
    fetch.pull(manifest.named("nanodet"))
    found = load("nanodet", labels=["car", "truck"], least_score=0.3).detect(frames[1])
    assert set(found.labels) <= {"car", "truck"}
    assert len(found)
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores.min() >= 0.3


def model(folder: Path, outputs: list[NDArray[np.float32]], size: int | str = 64, more: str = "") -> Path:
    """A model that always puts out the same, and its manifest."""
    nodes = [helper.make_node("Identity", [f"c{n}"], [f"o{n}"]) for n in range(len(outputs))]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])]
    if more:
        inputs.append(helper.make_tensor_value_info(more, TensorProto.INT64, [1, 2]))
        nodes.append(helper.make_node("Cast", [more], ["o1"], to=TensorProto.FLOAT))
        nodes.pop(1)
    infos = [helper.make_tensor_value_info(f"o{n}", TensorProto.FLOAT, None) for n in range(len(outputs))]
    constants = [numpy_helper.from_array(array, f"c{n}") for n, array in enumerate(outputs)]
    graph = helper.make_graph(nodes, "g", inputs, infos, constants)
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    (folder / "mine.onnx").write_bytes(made.SerializeToString())
    sha = hashlib.sha256(made.SerializeToString()).hexdigest()
    path = folder / "mine.toml"
    path.write_text(
        f'name = "mine"\nfile = "mine.onnx"\nsha256 = "{sha}"\nlicence = "MIT"\ndecoder = "yolox"\n'
        'labels = ["person", "car"]\n[input]\nwidth = 64\nheight = 64\ncolour = "rgb"\n'
    )
    return path


def yolox_rows() -> NDArray[np.float32]:
    rows = np.zeros((1, 64 + 16 + 4, 7), np.float32)
    rows[0, 9] = [0.5, 0.5, 0, 0, 0.9, 0.8, 0.1]  # cell 1, 1 of stride 8: centre 12, 12, size 8
    return rows


def frame(width: int = 128, height: int = 128) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")


def test_a_user_plugs_a_model_by_its_manifest(tmp_path: Path) -> None:
    path = model(tmp_path, [yolox_rows()])
    for name in (path, str(path)):
        detector = load(name)
        found = detector.detect(frame())
        assert found.labels == ("person",)
        np.testing.assert_allclose(found.boxes, [[16, 16, 32, 32]])
        np.testing.assert_allclose(found.scores, [0.72], rtol=1e-6)
        assert detector.digest == fetch.sha256(tmp_path / "mine.onnx")
    np.testing.assert_allclose(load(path).detect(frame(), ((64, 64, 128, 128),)).boxes, [[72, 72, 80, 80]])
    assert len(load(path, least_score=0.75).detect(frame())) == 0


def test_a_detr_is_told_the_size_of_its_input(tmp_path: Path) -> None:
    labels, boxes = np.array([[1.0]], np.float32), np.array([[8, 8, 24, 40]], np.float32)[None]
    path = model(tmp_path, [labels, boxes, np.array([[0.9]], np.float32)])
    path.write_text(path.read_text().replace("yolox", "detr"))
    assert load(path).detect(frame(64, 64)).boxes.tolist() == [[8, 8, 24, 40]]
    with_size = model(tmp_path, [labels, boxes], more="orig_target_sizes")
    detector = load(with_size)
    from detectors.letterbox import fit

    place = fit(detector.manifest.input, (128, 128))
    outputs = detector.infer(np.zeros((1, 3, 64, 64), np.float32), place)
    assert outputs[1].tolist() == [[64, 64]]


Change = Callable[[Path], None]


def replaced(old: str, new: str) -> Change:
    return lambda path: path.write_text(path.read_text().replace(old, new)) and None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("width = 64", "width = 96"), "takes input 1x3x64x64, its manifest says 1x3x64x96"),
        (replaced("height = 64", "height = 64\nstride = 32"), "manifest says 1x3xanyxany"),
        (lambda path: (path.parent / "mine.onnx").write_bytes(b"x") and None, "has SHA-256 .* expected"),
        (lambda path: (path.parent / "mine.onnx").unlink(), "put it there"),
        (replaced("yolox", "nanodet"), "NanoDet has six outputs"),
        (replaced(', "car"', ""), "2 classes"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Change, message: str) -> None:
    path = model(tmp_path, [yolox_rows()])
    change(path)
    with pytest.raises(ModelError, match=message):
        load(path).detect(frame())


def test_asking_for_what_is_not_there_is_refused(tmp_path: Path) -> None:
    path = model(tmp_path, [yolox_rows()])
    with pytest.raises(ModelError, match="no class tiger; it knows person, car"):
        load(path, labels=["tiger"])
    with pytest.raises(ModelError, match="least_score"):
        load(path, least_score=0)
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        load(path, providers=["CUDAExecutionProvider"])

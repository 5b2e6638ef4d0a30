"""The session: clear errors, nothing burnt while idle, the same answer every time."""

import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model

from detectors.runtime import CPU, Runtime
from events.errors import ModelError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution of a picture of any size."""
    kernel = np.random.default_rng(1).normal(size=(16, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "kernel"], ["out"])],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    opset = [helper.make_opsetid("", 18)]
    save_model(helper.make_model(graph, ir_version=8, opset_imports=opset), path)
    return path


def test_shapes_are_told_and_open_sides_are_none(model: Path) -> None:
    runtime = Runtime(model)
    assert runtime.inputs == {"image": (1, 3, None, None)}
    assert runtime.providers == (CPU,)


def test_the_same_input_gives_the_same_bytes(model: Path) -> None:
    image = np.random.default_rng(2).normal(size=(1, 3, 64, 96)).astype(np.float32)
    answers = {Runtime(model, threads=2).run({"image": image})[0].tobytes() for _ in range(5)}
    assert len(answers) == 1


def test_threads_do_not_spin_while_there_is_nothing_to_do(model: Path) -> None:
    runtime = Runtime(model, threads=2)
    runtime.run({"image": np.zeros((1, 3, 256, 256), np.float32)})
    before = time.thread_time(), time.process_time()
    time.sleep(0.5)
    others = (time.process_time() - before[1]) - (time.thread_time() - before[0])
    assert others < 0.1


@pytest.mark.parametrize(
    ("provider", "mend"),
    [("OpenVINOExecutionProvider", "onnxruntime-openvino"), ("FooExecutionProvider", "look at the name")],
)
def test_a_provider_that_is_not_installed_names_its_package(model: Path, provider: str, mend: str) -> None:
    with pytest.raises(ModelError, match=mend):
        Runtime(model, providers=(provider, CPU))


def test_nonsense_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        Runtime(tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match="at least 1 thread"):
        Runtime(model, threads=0)
    with pytest.raises(ModelError, match="no provider"):
        Runtime(model, providers=())
    with pytest.raises(ModelError, match="inference failed"):
        Runtime(model).run({"image": np.zeros((1, 4, 8, 8), np.float32)})

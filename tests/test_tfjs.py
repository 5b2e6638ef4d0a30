"""The converter: a small graph of every operator gives what numpy computes; the real ones are pinned."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from scipy.signal import correlate

from detectors import fetch, manifest, tfjs
from events.errors import ModelError

Array = NDArray[np.float32]
RNG = np.random.default_rng(3)


class Graph:
    """Writes a TensorFlow.js graph model."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.weights: list[dict[str, Any]] = []
        self.shard = b""

    def const(self, name: str, value: Any, stored: str | None = None) -> str:
        array = np.asarray(value)
        dtype = "int32" if array.dtype.kind == "i" else "float32"
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": dtype}
        if stored:
            entry["quantization"] = {"dtype": stored}
        self.shard += array.astype(stored or dtype).tobytes()
        self.weights.append(entry)
        self.nodes.append({"name": name, "op": "Const"})
        return name

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> str:
        attr: dict[str, Any] = {}
        for key, value in attributes.items():
            if isinstance(value, list):
                attr[key] = {"list": {"i": [str(v) for v in value]}}
            elif isinstance(value, str):
                attr[key] = {"s": base64.b64encode(value.encode()).decode()}
            elif isinstance(value, bool):
                attr[key] = {"b": value}
            else:
                attr[key] = {"i": str(value)} if isinstance(value, int) else {"f": value}
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attr})
        return name

    def write(self, folder: Path) -> Path:
        (folder / "shard").write_bytes(self.shard)
        group = {"paths": ["shard"], "weights": self.weights}
        document = {"modelTopology": {"node": self.nodes}, "weightsManifest": [group]}
        (folder / "model.json").write_text(json.dumps(document))
        return folder / "model.json"


def run(model: bytes, image: Array) -> list[Array]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"image": image}))


def convolve(x: Array, kernel: Array, stride: int) -> Array:
    """NHWC picture, HWIO kernel, no padding."""
    out = [
        sum(correlate(x[0, :, :, i], kernel[:, :, i, o], mode="valid") for i in range(x.shape[3]))
        for o in range(kernel.shape[3])
    ]
    return np.stack(out, axis=-1)[None, ::stride, ::stride].astype(np.float32)


def nanodet_like(graph: Graph, kernel: Array, bias: Array) -> None:
    """NCHW with everything wrapped in transposes, as onnx-tf leaves it."""
    graph.node("image", "Placeholder")
    to_nhwc, to_nchw = graph.const("a", [0, 2, 3, 1]), graph.const("b", [0, 3, 1, 2])
    pads = graph.const("pads", [[0, 0], [0, 0], [1, 1], [1, 1]])
    graph.node("pad", "Pad", "image", pads)
    graph.node("t1", "Transpose", "pad", to_nhwc)
    graph.node("conv", "Conv2D", "t1", graph.const("k", kernel), strides=[1, 2, 2, 1], padding="VALID")
    graph.node("bias", "Add", "conv", graph.const("bias_", bias))
    graph.node("t2", "Transpose", "bias", to_nchw)
    graph.node("act", "LeakyRelu", "t2", alpha=0.1)
    graph.node("pad2", "PadV2", "act", pads, graph.const("inf", np.float32(-np.inf)))
    graph.node("t3", "Transpose", "pad2", to_nhwc)
    graph.node("pool", "MaxPool", "t3", ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="VALID")
    size = graph.const("size", [8, 8])
    graph.node("up", "ResizeBilinear", "pool", size, half_pixel_centers=True, align_corners=False)
    graph.node("t4", "Transpose", "up", to_nchw)
    graph.node("cat", "ConcatV2", "t4", "act", graph.const("axis", np.int32(1)))
    graph.node("split", "SplitV", "cat", graph.const("sizes", [3, 5]), "axis", num_split=2)
    graph.node("sigmoid", "Sigmoid", "split:1")
    empty = graph.const("empty", np.zeros((0, 1), np.int32))
    graph.node(
        "none", "SparseToDense", empty, graph.const("three", [3]), empty, graph.const("zero", np.int32(0))
    )
    graph.node("shape", "AddV2", graph.const("shape_", [1, 5, -1]), "none")
    graph.node("rows", "Reshape", "sigmoid", "shape")
    graph.node("out", "Transpose", "rows", graph.const("order", [0, 2, 1]))


def expected_nanodet_like(image: Array, kernel: Array, bias: Array) -> Array:
    x = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1))).transpose(0, 2, 3, 1)
    act = convolve(x, kernel, 2) + bias
    act = np.where(act > 0, act, np.float32(0.1) * act)
    padded = np.pad(act, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded[0], (3, 3), (0, 1))
    pool = windows[::2, ::2].max(axis=(3, 4))
    up = pool
    for axis in (0, 1):  # twice the size, half-pixel centres, edges held
        low = np.concatenate([up.take([0], axis), up.take(range(up.shape[axis] - 1), axis)], axis)
        high = np.concatenate([up.take(range(1, up.shape[axis]), axis), up.take([-1], axis)], axis)
        pairs = np.stack([0.25 * low + 0.75 * up, 0.75 * up + 0.25 * high], axis + 1)
        shape = list(up.shape)
        shape[axis] *= 2
        up = pairs.reshape(shape)
    both = np.concatenate([up, act[0]], axis=2)[:, :, 3:]
    return (1 / (1 + np.exp(-both))).reshape(1, -1, 5).astype(np.float32)


def test_an_nchw_graph_gives_what_numpy_computes_at_any_size(tmp_path: Path) -> None:
    kernel = RNG.normal(size=(3, 3, 3, 4)).astype(np.float16).astype(np.float32)
    bias = RNG.normal(size=4).astype(np.float32)
    graph = Graph()
    nanodet_like(graph, kernel, bias)
    path = graph.write(tmp_path)
    fixed = tfjs.convert(path, picture="image", shape=(1, 3, 16, 16), outputs=["out"])
    open_ = tfjs.convert(path, picture="image", shape=(1, 3, 16, 16), outputs=["out"], open_size=True)
    assert open_ == tfjs.convert(path, picture="image", shape=(1, 3, 16, 16), outputs=["out"], open_size=True)
    for model, sizes in ((fixed, [(16, 16)]), (open_, [(16, 16), (32, 16), (16, 48)])):
        for height, width in sizes:
            image = RNG.normal(size=(1, 3, height, width)).astype(np.float32)
            want = expected_nanodet_like(image, kernel, bias)
            np.testing.assert_allclose(run(model, image)[0], want, rtol=1e-4, atol=1e-5)


def test_transposes_and_paddings_are_folded_away(tmp_path: Path) -> None:
    import onnx

    graph = Graph()
    nanodet_like(graph, np.ones((3, 3, 3, 4), np.float32), np.zeros(4, np.float32))
    model = tfjs.convert(graph.write(tmp_path), picture="image", shape=(1, 3, 16, 16), outputs=["out"])
    kinds = [node.op_type for node in onnx.load_from_string(model).graph.node]
    assert "Pad" not in kinds
    assert kinds.count("Transpose") == 1  # the output's


def test_an_nhwc_graph_gives_what_numpy_computes(tmp_path: Path) -> None:
    """Depthwise convolution, SAME padding, batch normalisation, a shape that only asks for the batch."""
    kernel = RNG.normal(size=(3, 3, 3, 1)).astype(np.float32)
    gamma, beta, mean, variance = RNG.uniform(0.5, 2, (4, 3)).astype(np.float32)
    graph = Graph()
    graph.node("image", "Placeholder")
    graph.node("scaled", "Mul", graph.const("half", np.float32(0.5)), "image")
    graph.node("centred", "Sub", "scaled", graph.const("one", np.float32(1)))
    graph.node(
        "deep", "DepthwiseConv2dNative", "centred", graph.const("k", kernel),
        strides=[1, 2, 2, 1], padding="SAME", data_format="NHWC", dilations=[1, 1, 1, 1],
    )  # fmt: skip
    numbers = [graph.const(n, v) for n, v in zip("gbmv", (gamma, beta, mean, variance), strict=True)]
    graph.node("norm", "FusedBatchNorm", "deep", *numbers, epsilon=0.001)
    graph.node("relu", "Relu6", "norm")
    graph.node("sum", "AddN", "relu", "deep")
    graph.node("shape", "Shape", "sum")
    bounds = [graph.const(f"b{n}", [v]) for n, v in enumerate((0, 1, 1))]
    graph.node("batch", "StridedSlice", "shape", *bounds, shrink_axis_mask=1)
    parts = [graph.const("n", np.int32(25)), graph.const("u", np.int32(1)), graph.const("c", np.int32(3))]
    graph.node("target", "Pack", "batch", *parts, axis=0)
    graph.node("rows", "Reshape", "sum", "target")
    graph.node("out", "Squeeze", "rows", squeeze_dims=[2])
    graph.const("anchors", np.ones((1, 25, 4), np.float32))
    model = tfjs.convert(
        graph.write(tmp_path), picture="image", shape=(1, 10, 10, 3), outputs=["out", "anchors"]
    )

    image = RNG.normal(size=(1, 10, 10, 3)).astype(np.float32)
    x = np.pad(image * 0.5 - 1, ((0, 0), (0, 1), (0, 1), (0, 0)))  # an odd border goes below and right
    deep = np.concatenate([convolve(x[..., [c]], kernel[:, :, [c]], 2) for c in range(3)], axis=3)
    norm = (deep - mean) / np.sqrt(variance + 0.001) * gamma + beta
    want = (np.clip(norm, 0, 6) + deep).reshape(1, 25, 3)
    rows, anchors = run(model, image.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(rows, want, rtol=1e-4, atol=1e-5)
    assert anchors.shape == (1, 25, 4)


def test_float16_weights_are_widened(tmp_path: Path) -> None:
    graph = Graph()
    graph.node("image", "Placeholder")
    graph.node("out", "Add", "image", graph.const("c", np.array([0.1, 0.2, 0.3]), "float16"))
    model = tfjs.convert(graph.write(tmp_path), picture="image", shape=(1, 2, 2, 3), outputs=["out"])
    want = np.array([0.1, 0.2, 0.3], np.float16).astype(np.float32)
    assert (run(model, np.zeros((1, 3, 2, 2), np.float32))[0] == want).all()


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    graph = Graph()
    graph.node("image", "Placeholder")
    graph.node("fft", "FFT2D", "image")
    graph.node("one", "Add", "two", "image")
    graph.node("two", "Add", "one", "image")
    resized = graph.node("resize", "ResizeBilinear", "image", graph.const("s", [2, 2]), align_corners=True)
    path = graph.write(tmp_path)

    def convert(output: str) -> None:
        tfjs.convert(path, picture="image", shape=(1, 4, 4, 3), outputs=[output])

    with pytest.raises(ModelError, match="FFT2D at node fft"):
        convert("fft")
    with pytest.raises(ModelError, match="loop at node"):
        convert("one")
    with pytest.raises(ModelError, match="no node absent"):
        convert("absent")
    with pytest.raises(ModelError, match="half-pixel"):
        convert(resized)
    (tmp_path / "shard").unlink()
    with pytest.raises(ModelError, match="not a readable"):
        convert("fft")


def test_the_real_default_model_runs_at_any_multiple_of_its_stride() -> None:
    known = next(iter(manifest.bundled().values()))
    session = ort.InferenceSession(fetch.pull(known), providers=["CPUExecutionProvider"])
    for height, width in ((416, 416), (256, 416), (160, 192)):
        outputs = session.run(None, {"image": np.zeros((1, 3, height, width), np.float32)})
        cells = [height * width // stride**2 for stride in (8, 16, 32)]
        assert [o.shape for o in outputs] == [(1, n, 80) for n in cells] + [(1, n, 44) for n in cells]

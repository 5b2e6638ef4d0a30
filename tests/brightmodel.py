"""A small real model: one box around all that is bright. It finds the box that `tests/loopmaker.py` draws."""

import hashlib
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIDE = 128


def bright_model(folder: Path) -> Path:
    """Write the ONNX file and its manifest; answers the manifest."""
    ramp = np.arange(1, SIDE + 1, dtype=np.float32)
    constants = {
        "level": np.float32(210),
        "few": np.float32(40),
        "sure": np.float32(0.9),
        "side": np.array([SIDE], np.float32),
        "red": np.array([[[[1]], [[0]], [[0]]]], np.float32),
        "up": ramp,
        "down": ramp[::-1].copy(),
        "all": np.array([0, 1, 2, 3], np.int64),
        "rows": np.array([1, 2], np.int64),
        "columns": np.array([1, 3], np.int64),
        "label": np.zeros((1, 1), np.float32),
        "one": np.array([1], np.int64),
        "one_row": np.array([1, 1], np.int64),
        "one_box": np.array([1, 1, 4], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Mul", ["images", "red"], ["only"]),
        node("Greater", ["only", "level"], ["bits"]),
        node("Cast", ["bits"], ["mask"], to=TensorProto.FLOAT),
        node("ReduceSum", ["mask", "all"], ["sum"], keepdims=0),
        node("Greater", ["sum", "few"], ["there"]),
        node("Cast", ["there"], ["is"], to=TensorProto.FLOAT),
        node("Mul", ["is", "sure"], ["score"]),
        node("Reshape", ["score", "one_row"], ["scores"]),
        node("ReduceMax", ["mask", "rows"], ["across"], keepdims=0),
        node("ReduceMax", ["mask", "columns"], ["along"], keepdims=0),
    ]
    for name, axis, line, far in (("x", "across", "up", 1), ("y", "along", "up", 1)):
        nodes += [
            node("Mul", [axis, line], [f"{name}up"]),
            node("ReduceMax", [f"{name}up", "all2"], [f"{name}{far + 1}"], keepdims=0),
            node("Mul", [axis, "down"], [f"{name}down"]),
            node("ReduceMax", [f"{name}down", "all2"], [f"{name}far"], keepdims=0),
            node("Sub", ["side", f"{name}far"], [f"{name}1"]),
        ]
    constants["all2"] = np.array([0, 1], np.int64)
    corners = ["x1", "y1", "x2", "y2"]
    nodes += [node("Reshape", [c, "one"], [f"{c}r"]) for c in corners]
    nodes += [
        node("Concat", [f"{c}r" for c in corners], ["flat"], axis=0),
        node("Reshape", ["flat", "one_box"], ["boxes"]),
        node("Identity", ["label"], ["labels"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "bright",
        [value("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            value("labels", TensorProto.FLOAT, [1, 1]),
            value("boxes", TensorProto.FLOAT, [1, 1, 4]),
            value("scores", TensorProto.FLOAT, [1, 1]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    data = made.SerializeToString()
    (folder / "bright.onnx").write_bytes(data)
    path = folder / "bright.toml"
    path.write_text(
        f'name = "bright"\nfile = "bright.onnx"\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'
        'licence = "MIT"\ndecoder = "detr"\nlabels = ["person", "car"]\n'
        f'[input]\nwidth = {SIDE}\nheight = {SIDE}\ncolour = "rgb"\n'
    )
    return path

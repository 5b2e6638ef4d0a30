"""TensorFlow's operators in ONNX: one small function each, in a table.

A function takes the graph being built, the node's attributes and its inputs, and gives its outputs. What is
constant is computed at once with numpy; what is a picture stays in ONNX's order of axes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from detectors.onnx_builder import NHWC, Array, Builder, Lazy, Padding, Value
from events.errors import ModelError

Operator = Callable[[Builder, dict[str, Any], list[Value]], list[Value]]


def _array(value: Value, what: str) -> Array:
    if isinstance(value, Lazy):
        raise ModelError(f"{what} must be a constant, but is computed")
    return value


def _ints(value: Value, what: str) -> list[int]:
    return [int(i) for i in _array(value, what).ravel()]


def _unary(op: str, **fixed: Any) -> Operator:
    def operator(graph: Builder, attributes: dict[str, Any], inputs: list[Value]) -> list[Value]:
        source = graph.lazy(inputs[0])
        extra = {"alpha": float(attributes["alpha"])} if op == "LeakyRelu" else fixed
        return [Lazy(graph.emit(op, [source.name], **extra)[0], source.perm)]

    return operator


def _relu6(graph: Builder, _: dict[str, Any], inputs: list[Value]) -> list[Value]:
    source = graph.lazy(inputs[0])
    bounds = [graph.constant(np.array(bound, np.float32)) for bound in (0, 6)]
    return [Lazy(graph.emit("Clip", [source.name, *bounds])[0], source.perm)]


def _binary(op: str) -> Operator:
    def operator(graph: Builder, _: dict[str, Any], inputs: list[Value]) -> list[Value]:
        left = inputs[0]
        for right in inputs[1:]:
            left = _combine(graph, op, left, right)
        return [left]

    return operator


def _combine(graph: Builder, op: str, left: Value, right: Value) -> Value:
    if not isinstance(left, Lazy) and not isinstance(right, Lazy):
        fold = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[op]
        return fold(left, right)
    left, right = (graph.lazy(v) if isinstance(v, Lazy) else v for v in (left, right))
    perms = {v.perm for v in (left, right) if isinstance(v, Lazy)}
    perm = perms.pop() if len(perms) == 1 else None
    fits = all(isinstance(v, Lazy) or v.ndim <= 1 for v in (left, right))
    if perm is None or not fits:  # mixed orders: turn both back first
        return Lazy(graph.emit(op, [graph.plain(left), graph.plain(right)])[0])
    names = []
    for value in (left, right):
        if isinstance(value, Lazy):
            names.append(value.name)
        else:  # a scalar, or one value for each entry of TensorFlow's last axis
            shape = [1] * len(perm)
            shape[perm[-1]] = -1
            names.append(graph.constant(value if value.ndim == 0 else value.reshape(shape)))
    return Lazy(graph.emit(op, names)[0], perm)


def _convolution(depthwise: bool) -> Operator:
    def operator(graph: Builder, attributes: dict[str, Any], inputs: list[Value]) -> list[Value]:
        kernel = _array(inputs[1], "a convolution's kernel")  # height, width, in, out
        if depthwise:
            height, width, channels, multiplier = kernel.shape
            kernel = kernel.reshape(height, width, 1, channels * multiplier)
        picture, border = graph.window(inputs[0], 0.0)
        result = graph.emit(
            "Conv",
            [picture, graph.constant(kernel.transpose(3, 2, 0, 1))],
            group=channels if depthwise else 1,
            kernel_shape=kernel.shape[:2],
            **_window(attributes, border),
        )
        return [Lazy(result[0], NHWC)]

    return operator


def _window(attributes: dict[str, Any], border: list[int] | None) -> dict[str, Any]:
    """Strides, dilations and padding of a convolution or a pool."""
    if attributes.get("data_format", "NHWC") != "NHWC":
        raise ModelError("only convolutions and pools in NHWC order are known")
    padding = attributes["padding"]
    if padding not in ("SAME", "VALID") or (border and padding == "SAME"):
        raise ModelError(f"padding {padding} is not known here")
    window: dict[str, Any] = {"strides": attributes["strides"][1:3]}
    if attributes.get("dilations", [1, 1, 1, 1]) != [1, 1, 1, 1]:
        window["dilations"] = attributes["dilations"][1:3]
    if border:
        window["pads"] = border
    elif padding == "SAME":
        window["auto_pad"] = "SAME_UPPER"
    return window


def _max_pool(graph: Builder, attributes: dict[str, Any], inputs: list[Value]) -> list[Value]:
    picture, border = graph.window(inputs[0], -np.inf)
    kernel = attributes["ksize"][1:3]
    result = graph.emit("MaxPool", [picture], kernel_shape=kernel, **_window(attributes, border))
    return [Lazy(result[0], NHWC)]


def _batch_norm(graph: Builder, attributes: dict[str, Any], inputs: list[Value]) -> list[Value]:
    numbers = [graph.constant(_array(v, "batch normalisation")) for v in inputs[1:5]]
    epsilon = float(attributes.get("epsilon", 1e-4))
    result = graph.emit("BatchNormalization", [graph.nchw(inputs[0]), *numbers], epsilon=epsilon)
    return [Lazy(result[0], NHWC)]


def _pad(graph: Builder, _: dict[str, Any], inputs: list[Value]) -> list[Value]:
    source = graph.lazy(inputs[0])
    pads = _array(inputs[1], "padding").astype(np.int64)
    if source.perm is not None:
        pads = pads[np.argsort(source.perm)]
    fill = float(_array(inputs[2], "the padding's value")) if len(inputs) > 2 else 0.0
    return [Lazy(source.name, source.perm, Padding(tuple(int(n) for n in pads.T.ravel()), fill))]


def _transpose(_: Builder, __: dict[str, Any], inputs: list[Value]) -> list[Value]:
    source, order = inputs[0], _ints(inputs[1], "a transpose's order")
    if not isinstance(source, Lazy):
        return [source.transpose(order)]
    perm = tuple(source.perm[i] for i in order) if source.perm else tuple(order)
    return [Lazy(source.name, None if perm == tuple(range(len(perm))) else perm, source.padding)]


def _concat(graph: Builder, _: dict[str, Any], inputs: list[Value]) -> list[Value]:
    *parts, axis = inputs
    dimension = _ints(axis, "a concatenation's axis")[0]
    perms = {p.perm if isinstance(p, Lazy) else None for p in parts}
    perm = perms.pop() if len(perms) == 1 else None
    if perm is None:
        return [Lazy(graph.emit("Concat", [graph.plain(p) for p in parts], axis=dimension)[0])]
    names = [graph.lazy(p).name for p in parts]
    return [Lazy(graph.emit("Concat", names, axis=perm[dimension])[0], perm)]


def _split(graph: Builder, _: dict[str, Any], inputs: list[Value]) -> list[Value]:
    source = graph.lazy(inputs[0])
    sizes, dimension = _array(inputs[1], "a split's sizes"), _ints(inputs[2], "a split's axis")[0]
    axis = source.perm[dimension] if source.perm else dimension
    names = graph.emit("Split", [source.name, graph.constant(sizes.astype(np.int64))], len(sizes), axis=axis)
    return [Lazy(name, source.perm) for name in names]


def _reshape(graph: Builder, _: dict[str, Any], inputs: list[Value]) -> list[Value]:
    shape = _array(inputs[1], "a reshape's shape").astype(np.int64)
    if not isinstance(inputs[0], Lazy):
        return [inputs[0].reshape(shape)]
    return [Lazy(graph.emit("Reshape", [graph.plain(inputs[0]), graph.constant(shape)])[0])]


def _resize(graph: Builder, attributes: dict[str, Any], inputs: list[Value]) -> list[Value]:
    if not attributes.get("half_pixel_centers") or attributes.get("align_corners"):
        raise ModelError("only bilinear resizing with half-pixel centres is known")
    size = graph.constant(_array(inputs[1], "a resize's size").astype(np.int64))
    result = graph.emit(
        "Resize",
        [graph.nchw(inputs[0]), "", "", size],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
        axes=[2, 3],
    )
    return [Lazy(result[0], NHWC)]


def _squeeze(graph: Builder, attributes: dict[str, Any], inputs: list[Value]) -> list[Value]:
    axes = graph.constant(np.array(attributes["squeeze_dims"], np.int64))
    return [Lazy(graph.emit("Squeeze", [graph.plain(inputs[0]), axes])[0])]


def _shape(_: Builder, __: dict[str, Any], ___: list[Value]) -> list[Value]:
    """Only the batch size is ever asked of a shape, and the batch is one picture: the rest is left at -1,
    which `_strided_slice` refuses to hand out."""
    return [np.array([1, -1, -1, -1], np.int32)]


def _strided_slice(_: Builder, attributes: dict[str, Any], inputs: list[Value]) -> list[Value]:
    array = _array(inputs[0], "a slice")
    begin, end, step = (_ints(v, "a slice's bounds")[0] for v in inputs[1:4])
    cut = array[begin:end:step]
    if attributes.get("begin_mask") or attributes.get("end_mask") or bool((cut < 0).any()):
        raise ModelError("a slice asks for more than the batch size")
    return [cut[0] if attributes.get("shrink_axis_mask") else cut]


def _pack(_: Builder, attributes: dict[str, Any], inputs: list[Value]) -> list[Value]:
    return [np.stack([_array(v, "a stack's part") for v in inputs], attributes.get("axis", 0))]


def _sparse_to_dense(_: Builder, __: dict[str, Any], inputs: list[Value]) -> list[Value]:
    dense = np.full(_ints(inputs[1], "a dense shape"), _array(inputs[3], "a default"))
    places = _array(inputs[0], "sparse places")
    if places.size:
        dense[tuple(places.reshape(-1, dense.ndim).T)] = _array(inputs[2], "sparse values")
    return [dense]


def _identity(_: Builder, __: dict[str, Any], inputs: list[Value]) -> list[Value]:
    return inputs[:1]


OPERATORS: dict[str, Operator] = {
    "Add": _binary("Add"),
    "AddN": _binary("Add"),
    "AddV2": _binary("Add"),
    "BiasAdd": _binary("Add"),
    "ConcatV2": _concat,
    "Conv2D": _convolution(depthwise=False),
    "DepthwiseConv2dNative": _convolution(depthwise=True),
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV3": _batch_norm,
    "Identity": _identity,
    "LeakyRelu": _unary("LeakyRelu"),
    "MaxPool": _max_pool,
    "Mul": _binary("Mul"),
    "Pack": _pack,
    "Pad": _pad,
    "PadV2": _pad,
    "Relu": _unary("Relu"),
    "Relu6": _relu6,
    "Reshape": _reshape,
    "ResizeBilinear": _resize,
    "Shape": _shape,
    "Sigmoid": _unary("Sigmoid"),
    "SparseToDense": _sparse_to_dense,
    "SplitV": _split,
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "Sub": _binary("Sub"),
    "Transpose": _transpose,
}

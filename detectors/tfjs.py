"""Converts a TensorFlow.js graph model to ONNX with nothing but numpy and the `onnx` package.

The default models come from npm packages, where they lie as TensorFlow.js graphs (`model.json` and weight
shards). This reads the operators those detectors use, and refuses any other by name. The same input gives
the same bytes, so the result's SHA-256 can be pinned in the manifest.

TensorFlow keeps pictures as NHWC, ONNX as NCHW. Transposes are therefore never emitted where they stand:
a tensor is remembered as (ONNX tensor, permutation) and turned only where its order matters, at a reshape
or an output. That leaves a graph of plain convolutions. Where every spatial size in the graph follows from
its input's, height and width can be left open (`open_size`), so that one model runs at any size.
"""

import json
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from detectors.onnx_builder import NHWC, Array, Builder, Lazy, Value
from detectors.tfjs_operators import OPERATORS
from events.errors import ModelError

OPSET = 18
IR_VERSION = 8

Node = dict[str, Any]

_DTYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "bool": "?", "uint8": "u1"}


def convert(
    model_json: Path,
    *,
    picture: str,
    shape: tuple[int, int, int, int],
    outputs: Sequence[str],
    open_size: bool = False,
) -> bytes:
    """The ONNX model that computes `outputs` from one picture, serialised.

    Args:
        model_json: the graph; its weight shards lie beside it.
        picture: the tensor to cut the graph at. It becomes the input `image`, always NCHW float32.
        shape: that tensor's shape as TensorFlow has it, NHWC or NCHW.
        outputs: tensor names, in the order wanted; each keeps TensorFlow's order of axes.
        open_size: leave the picture's height and width open. Only for graphs without fixed sizes inside.

    Raises:
        ModelError: a file is missing or malformed, or something in the graph is not known.
    """
    try:
        document = json.loads(model_json.read_bytes())
        nodes: dict[str, Node] = {node["name"]: node for node in document["modelTopology"]["node"]}
        values: dict[str, Value] = dict(_weights(document["weightsManifest"], model_json.parent))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{model_json}: not a readable TensorFlow.js graph model: {error!r}") from error
    builder = Builder()
    is_nhwc = shape[3] == 3
    values[picture] = Lazy("image", NHWC if is_nhwc else None)
    for node in _in_order(nodes, values, outputs):
        _convert(builder, node, values)
    size = shape[1:3] if is_nhwc else shape[2:]
    names = [builder.plain(values[tensor]) for tensor in outputs]
    model = _model(builder, (shape[0], 3, *size), names)
    if open_size:
        _open_size(model)
    del model.graph.value_info[:]  # what the runtime finds out by itself
    return cast(bytes, model.SerializeToString(deterministic=True))


def _weights(manifest: list[dict[str, Any]], folder: Path) -> dict[str, Array]:
    """Every constant by name; float16 storage is widened to float32, as TensorFlow.js does."""
    found: dict[str, Array] = {}
    for group in manifest:
        raw = b"".join((folder / path).read_bytes() for path in group["paths"])
        offset = 0
        for weight in group["weights"]:
            quantised = weight.get("quantization", {})
            if "scale" in quantised:
                raise ValueError(f"weight {weight['name']} is quantised to integers")
            dtype = np.dtype(_DTYPES[quantised.get("dtype", weight["dtype"])])
            count = int(np.prod(weight["shape"]))
            values = np.frombuffer(raw, dtype, count, offset).reshape(weight["shape"])
            found[weight["name"]] = values.astype(_DTYPES[weight["dtype"]])
            offset += count * dtype.itemsize
    return found


def _in_order(nodes: dict[str, Node], known: dict[str, Value], outputs: Sequence[str]) -> list[Node]:
    """The nodes that the outputs depend on, each after those it depends on."""
    order: list[Node] = []
    done = set(known)
    open_: set[str] = set()
    pending = [name.split(":")[0] for name in reversed(outputs)]
    while pending:  # a loop, not recursion: graphs are deeper than Python's stack
        name = pending[-1]
        if name in done:
            pending.pop()
            continue
        if name not in nodes:
            raise ModelError(f"the graph has no node {name}")
        needs = [need.split(":")[0] for need in _inputs(nodes[name]) if need not in known]
        missing = [need for need in needs if need not in done]
        if not missing:
            order.append(nodes[name])
            done.add(name)
        elif name in open_:
            raise ModelError(f"the graph has a loop at node {name}; cut it at a tensor behind the loop")
        else:
            pending.extend(reversed(missing))
        open_.add(name)
    return order


def _inputs(node: Node) -> list[str]:
    return [name for name in node.get("input", []) if not name.startswith("^")]


def _convert(builder: Builder, node: Node, values: dict[str, Value]) -> None:
    operator = OPERATORS.get(node["op"])
    if operator is None:
        raise ModelError(
            f"no converter for operator {node['op']} at node {node['name']}; convert the model to ONNX"
            " with other means and name the .onnx file in a manifest"
        )
    try:
        results = operator(builder, _attributes(node), [values[name] for name in _inputs(node)])
    except ModelError as error:
        raise ModelError(f"node {node['name']} ({node['op']}): {error}") from error
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(f"node {node['name']} ({node['op']}) is malformed: {error!r}") from error
    for n, result in enumerate(results):
        values[node["name"] if n == 0 else f"{node['name']}:{n}"] = result


def _model(builder: Builder, shape: Sequence[int], outputs: Sequence[str]) -> onnx.ModelProto:
    """The finished model with its outputs' shapes, checked."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    infos = []
    for n, tensor in enumerate(outputs):
        builder.nodes.append(helper.make_node("Identity", [tensor], [f"output{n}"]))
        infos.append(helper.make_tensor_value_info(f"output{n}", TensorProto.FLOAT, None))
    graph = helper.make_graph(builder.nodes, "graph", [image], infos, builder.initializers)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="linli")
    try:
        shaped = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(shaped)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ModelError(f"the graph's shapes do not fit together: {error}") from error
    return shaped


def _open_size(model: onnx.ModelProto) -> None:
    """Leave height and width open: every resize to a fixed size becomes one by the factor it stands for."""
    sizes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in (*model.graph.value_info, *model.graph.input)
    }
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    factors: dict[bytes, str] = {}
    for node in model.graph.node:
        if node.op_type == "Resize":
            factor = (constants[node.input[3]] / sizes[node.input[0]][2:]).astype(np.float32)
            name = factors.setdefault(factor.tobytes(), f"factor{len(factors)}")
            node.input[2:] = [name]
    for raw, name in factors.items():
        model.graph.initializer.append(numpy_helper.from_array(np.frombuffer(raw, np.float32), name))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[2].dim_param, dims[3].dim_param = "height", "width"
    del model.graph.value_info[:]  # they hold the fixed sizes
    for output in model.graph.output:  # how many candidates there are follows from the picture's size
        output.type.tensor_type.shape.dim[1].dim_param = f"{output.name}_length"
    onnx.checker.check_model(model)


def _attributes(node: Node) -> dict[str, Any]:
    """A node's attributes as plain values: lists of ints, floats, bools, text."""
    plain: dict[str, Any] = {}
    for key, attribute in node.get("attr", {}).items():
        if "list" in attribute:
            plain[key] = [int(i) for i in attribute["list"].get("i", [])]
        elif "s" in attribute:
            raw = attribute["s"]
            plain[key] = (b64decode(raw) if isinstance(raw, str) else bytes(raw)).decode()
        elif "i" in attribute:
            plain[key] = int(attribute["i"])
        else:
            plain[key] = next(iter(attribute.values()), None)
    return plain

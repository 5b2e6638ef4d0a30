"""Opens the graph of CenterFace to pictures of any size.

The file in its package declares one fixed input, ten pictures of 32 x 32, and lists every weight as an input
too, so that a runtime may fold nothing. The operators themselves (convolutions, sums, transposed
convolutions) take any size that is a multiple of 32: only declarations are changed, no weight is touched.
"""

from pathlib import Path

import onnx

from events.errors import ModelError

_OUTPUTS = {"537": 1, "538": 2, "539": 2, "540": 10}
"""Channels of heatmap, scale, offset and landmarks."""


def mended(path: Path) -> bytes:
    """The graph of the file with open picture size and its weights as constants; always the same bytes.

    Raises:
        ModelError: the file is not the graph that is meant.
    """
    model = onnx.load(path)
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    pictures = [value for value in graph.input if value.name not in weights]
    outputs = {value.name for value in graph.output}
    if len(pictures) != 1 or outputs != set(_OUTPUTS):
        raise ModelError(
            f"{path.name} is not CenterFace: inputs {', '.join(v.name for v in pictures)}, outputs"
            f" {', '.join(sorted(outputs))}"
        )
    del graph.input[:]
    graph.input.append(_open(pictures[0].name, 3, "height", "width"))
    del graph.output[:]
    graph.output.extend(_open(name, n, "rows", "columns") for name, n in _OUTPUTS.items())
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _open(name: str, channels: int, *sides: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", channels, *sides])

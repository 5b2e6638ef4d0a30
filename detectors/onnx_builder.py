"""An ONNX graph while it grows out of a TensorFlow one.

TensorFlow keeps pictures as NHWC, ONNX as NCHW; a tensor here knows both, so that axes are turned only where
their order matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

NHWC = (0, 2, 3, 1)
"""The permutation of a tensor that TensorFlow sees as NHWC and ONNX holds as NCHW."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Padding:
    """A border still to be added to an ONNX picture, [batch, channels, height, width]."""

    amounts: tuple[int, ...]
    """As ONNX wants them: of every axis before, then of every axis after."""
    fill: float


@dataclass(frozen=True, slots=True)
class Lazy:
    """A TensorFlow tensor: the ONNX tensor `name`, padded, its axes in the order `perm` (None: as they
    are). Transposes and paddings wait here until something needs them done: convolutions do not."""

    name: str
    perm: tuple[int, ...] | None = None
    padding: Padding | None = None


Value = Lazy | Array


class Builder:
    """An ONNX graph while it grows."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: dict[bytes, onnx.TensorProto] = {}

    @property
    def initializers(self) -> list[onnx.TensorProto]:
        return list(self._initializers.values())

    def emit(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """Append an ONNX node; answers the names of its outputs."""
        names = [f"t{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names

    def constant(self, value: Array) -> str:
        """The name of an initialiser with this value; equal ones are kept once."""
        value = np.ascontiguousarray(value)
        key = f"{value.dtype}{value.shape}".encode() + value.tobytes()
        if key not in self._initializers:
            self._initializers[key] = numpy_helper.from_array(value, f"c{len(self._initializers)}")
        return self._initializers[key].name

    def lazy(self, value: Value) -> Lazy:
        """The value as an ONNX tensor with nothing left to be padded."""
        if not isinstance(value, Lazy):
            return Lazy(self.constant(value))
        if value.padding is None:
            return value
        amounts = self.constant(np.array(value.padding.amounts, np.int64))
        fill = self.constant(np.array(value.padding.fill, np.float32))
        return Lazy(self.emit("Pad", [value.name, amounts, fill])[0], value.perm)

    def plain(self, value: Value) -> str:
        """The ONNX tensor with its axes in TensorFlow's order."""
        source = self.lazy(value)
        if source.perm is None:
            return source.name
        return self.emit("Transpose", [source.name], perm=source.perm)[0]

    def nchw(self, value: Value) -> str:
        """The ONNX tensor of a picture that TensorFlow has as NHWC."""
        source = self.lazy(value)
        if source.perm == NHWC:
            return source.name
        return self.emit("Transpose", [self.plain(source)], perm=(0, 3, 1, 2))[0]

    def window(self, value: Value, fill: float) -> tuple[str, list[int] | None]:
        """The picture for an operator that slides a window and can add a border of `fill` by itself:
        its NCHW tensor and the border (None: there is none)."""
        if isinstance(value, Lazy) and value.perm == NHWC and value.padding and value.padding.fill == fill:
            amounts = value.padding.amounts
            if not any((*amounts[:2], *amounts[4:6])):
                return value.name, [*amounts[2:4], *amounts[6:]]
        return self.nchw(value), None

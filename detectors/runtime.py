"""One ONNX Runtime session: the model's graph on this machine's processor or accelerator.

A process has one session for all its cameras. Threads are fixed by the configuration and do not spin while
there is nothing to do: a quiet site shall cost nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from events.errors import ModelError

CPU = "CPUExecutionProvider"

ort.disable_telemetry_events()  # a box calls nobody

PACKAGES = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "DmlExecutionProvider": "onnxruntime-directml",
}
"""Which package carries which provider; each replaces `onnxruntime`."""

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class Runtime:
    """A model ready to run. Calls from several threads at once are not meant: see `detectors.detections`."""

    def __init__(self, path: Path, *, threads: int = 1, providers: Sequence[str] = (CPU,)) -> None:
        """Load the model.

        Args:
            path: an ONNX file.
            threads: of one inference.
            providers: ONNX Runtime's names, the preferred first. What none of them can run, the CPU does.

        Raises:
            ModelError: a provider is not installed, or the file is not a model.
        """
        if threads < 1:
            raise ModelError(f"an inference needs at least 1 thread, not {threads}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        wanted = _available(providers)
        try:
            self._session = ort.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:
            raise ModelError(f"{path} cannot be loaded by ONNX Runtime: {_first_line(error)}") from error
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        missing = [name for name in providers if name not in self.providers]
        if missing:
            raise ModelError(
                f"provider {missing[0]} is installed but did not start; its driver or libraries are missing"
            )
        self.path = path
        self.inputs: dict[str, tuple[int | None, ...]] = _shapes(self._session.get_inputs())
        self.outputs: dict[str, tuple[int | None, ...]] = _shapes(self._session.get_outputs())

    def run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """The model's outputs in order. On the CPU the input arrays are read where they are.

        Raises:
            ModelError: the arrays do not fit the model.
        """
        try:
            return cast(list[NDArray[np.float32]], self._session.run(None, feeds))
        except Exception as error:
            raise ModelError(f"{self.path.name}: inference failed: {_first_line(error)}") from error


def _available(providers: Sequence[str]) -> list[str]:
    """The providers in the session's order, the CPU last."""
    if not providers:
        raise ModelError(f"no provider given; the plain one is {CPU}")
    installed = ort.get_available_providers()
    for name in providers:
        if name not in installed:
            package = PACKAGES.get(name)
            mend = f"`pip install {package}` in place of onnxruntime" if package else "look at the name"
            raise ModelError(f"provider {name} is not installed ({', '.join(installed)} are); {mend}")
    return [*providers, *([] if CPU in providers else [CPU])]


def _shapes(arguments: Sequence[Any]) -> dict[str, tuple[int | None, ...]]:
    return {a.name: tuple(d if isinstance(d, int) else None for d in a.shape) for a in arguments}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]

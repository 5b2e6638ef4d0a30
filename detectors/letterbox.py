"""From a decoded frame straight to a model's input tensor.

One call of libav's scaler takes the frame (or a crop of it) to the model's size, to RGB planes and to
floats at once (measured as fast as to interleaved bytes, which would have to be taken apart again); one
pass per channel writes it into the input tensor, which is made once. Nothing else is converted.
"""

from dataclasses import dataclass
from typing import Any, cast

import av
import av.video.plane
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from detectors.detections import Crop
from detectors.manifest import Input

_PLANAR_420 = {"yuv420p", "yuvj420p"}
"""What H.264 and H.265 cameras give; crops of these are cut without converting the rest."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Where a picture (or a crop of it) lies in the model's input."""

    crop: Crop
    """The part of the picture, in its pixels; even numbers, for the chroma planes."""
    width: int
    height: int
    """Size of the scaled crop, in the upper left corner of the input."""
    input_width: int
    input_height: int

    def to_picture(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes [N, 4] x1 y1 x2 y2 in pixels of the input as ones in pixels of the picture, kept inside."""
        x1, y1, x2, y2 = self.crop
        factor = np.array([(x2 - x1) / self.width, (y2 - y1) / self.height] * 2, np.float32)
        moved = boxes * factor + np.array([x1, y1, x1, y1], np.float32)
        low, high = np.array([x1, y1, x1, y1], np.float32), np.array([x2, y2, x2, y2], np.float32)
        return cast(NDArray[np.float32], np.clip(moved, low, high))

    def points_to_picture(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [..., 2] x y in pixels of the input as ones of the picture; some may be outside."""
        x1, y1, x2, y2 = self.crop
        factor = np.array([(x2 - x1) / self.width, (y2 - y1) / self.height], np.float32)
        return cast(NDArray[np.float32], points * factor + np.array([x1, y1], np.float32))


def fit(spec: Input, size: tuple[int, int], crop: Crop | None = None) -> Fit:
    """Place a picture of `size` (width, height), or a crop of it, into the model's input.

    Crops are widened to even pixels. Where the model takes any size, a crop is never enlarged.
    """
    width, height = size
    if crop is None:
        x1, y1, x2, y2 = 0, 0, width, height
    else:
        x1, y1 = max(crop[0], 0) & ~1, max(crop[1], 0) & ~1
        x2, y2 = min(crop[2] + (crop[2] & 1), width), min(crop[3] + (crop[3] & 1), height)
    if x2 - x1 < 2 or y2 - y1 < 2:
        raise ValueError(f"crop {crop} has nothing of a picture of {width}x{height}")
    if spec.fit == "stretch":
        return Fit((x1, y1, x2, y2), spec.width, spec.height, spec.width, spec.height)
    scale = min(spec.width / (x2 - x1), spec.height / (y2 - y1))
    if crop is not None and spec.stride:
        scale = min(scale, 1.0)  # a crop shows more pixels of an object, not larger ones
    w, h = max(round((x2 - x1) * scale), 1), max(round((y2 - y1) * scale), 1)
    if not spec.stride:
        return Fit((x1, y1, x2, y2), w, h, spec.width, spec.height)
    s = spec.stride
    return Fit((x1, y1, x2, y2), w, h, -(-w // s) * s, -(-h // s) * s)


class Letterbox:
    """Fills the input tensor of one model. The tensor is reused: use it before the next call."""

    def __init__(self, spec: Input) -> None:
        self._spec = spec
        self._buffer = np.empty(3 * spec.width * spec.height, np.float32)
        self._reformatters: dict[tuple[int, ...], VideoReformatter] = {}
        self._cropped: dict[tuple[int, int, str], av.VideoFrame] = {}
        scale = np.array(spec.scale, np.float32)
        self._offset = np.array(spec.mean, np.float32) * -scale
        self._scale = scale * np.float32(255)  # the scaler gives 0 to 1
        self._fill = spec.pad * scale + self._offset
        self._planes = (2, 0, 1) if spec.colour == "rgb" else (1, 0, 2)

    def fill(self, frame: av.VideoFrame, crop: Crop | None = None) -> tuple[NDArray[np.float32], Fit]:
        """The tensor [1, 3, input height, input width] of the frame or the crop, and how it was placed."""
        place = fit(self._spec, (frame.width, frame.height), crop)
        source = frame if crop is None else self._crop(frame, place.crop)
        planes = self._scaled(source, place.width, place.height)
        h, w = place.height, place.width
        size = (place.input_height, place.input_width)
        tensor = self._buffer[: 3 * size[0] * size[1]].reshape(1, 3, *size)
        for channel, number in enumerate(self._planes):
            target = tensor[0, channel, :h, :w]
            np.multiply(planes[number], self._scale[channel], out=target)
            if self._offset[channel]:
                target += self._offset[channel]
            tensor[0, channel, h:] = self._fill[channel]
            tensor[0, channel, :h, w:] = self._fill[channel]
        return tensor, place

    def _scaled(self, frame: av.VideoFrame, width: int, height: int) -> list[NDArray[np.float32]]:
        """Green, blue and red of the frame at this size, [height, width] from 0 to 1."""
        key = (frame.width, frame.height, width, height)
        reformatter = self._reformatters.get(key)  # one for each pair of sizes: it keeps its tables
        if reformatter is None:
            if len(self._reformatters) >= 64:
                self._reformatters.clear()
            reformatter = self._reformatters[key] = VideoReformatter()
        scaled = reformatter.reformat(
            frame, width, height, "gbrpf32le", interpolation=Interpolation.AREA, threads=1
        )
        return [_plane(plane).view(np.float32)[:, :width] for plane in scaled.planes]

    def _crop(self, frame: av.VideoFrame, crop: Crop) -> av.VideoFrame:
        """The crop as a frame of its own, copied plane by plane; the frame is reused."""
        if frame.format.name not in _PLANAR_420:
            frame = frame.reformat(format="yuv420p")
        x1, y1, x2, y2 = crop
        key = (x2 - x1, y2 - y1, frame.format.name)
        small = self._cropped.get(key)
        if small is None:
            if len(self._cropped) >= 16:
                self._cropped.clear()
            small = self._cropped[key] = av.VideoFrame(*key)
        small.colorspace, small.color_range = frame.colorspace, frame.color_range
        for n in range(3):
            shift = 1 if n else 0
            rows, columns = (
                slice(y1 >> shift, (y2 + shift) >> shift),
                slice(x1 >> shift, (x2 + shift) >> shift),
            )
            part = _plane(frame.planes[n])[rows, columns]
            _plane(small.planes[n])[: part.shape[0], : part.shape[1]] = part
        return small


def _plane(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    """A view of an 8-bit plane, [height, bytes in a line]."""
    return np.frombuffer(cast(Any, plane), np.uint8).reshape(-1, plane.line_size)

"""Pictures of a frame in which people cannot be recognised, and JPEG snapshots.

Hiding replaces blocks by their mean colour (mosaic). A block is a tenth of the box's longer side, about a
head, and never under 8 pixels, so that a face is about one block.
"""

from collections.abc import Iterable, Iterator, Sequence

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from events.errors import StorageError
from events.observations import Box

_BLOCKS = 10
"""Along a box's longer side."""

_BLOCKS_WHOLE = 16
"""Along the picture's longer side when all of it is hidden."""

_MIN_BLOCK = 8

_PLANAR = {"yuv420p": 2, "yuvj420p": 2}
"""Formats that are hidden as they are; the chroma planes are half as wide and high."""


def pad(box: Box, fraction: float) -> Box:
    """The box grown on each side by this fraction of its width and height."""
    w, h = (box.x2 - box.x1) * fraction, (box.y2 - box.y1) * fraction
    return Box(box.x1 - w, box.y1 - h, box.x2 + w, box.y2 + h)


def mosaic(plane: NDArray[np.uint8], box: Box, block: float) -> None:
    """Replace blocks of `block` pixels within the box by their mean, in place.

    Args:
        plane: [H, W] or [H, W, channels], writable.
        box: in pixels of the plane, may reach over its edges.
    """
    height, width = plane.shape[:2]
    x1, y1 = max(int(box.x1), 0), max(int(box.y1), 0)
    x2, y2 = min(int(np.ceil(box.x2)), width), min(int(np.ceil(box.y2)), height)
    if x1 >= x2 or y1 >= y2:
        return
    part = plane[y1:y2, x1:x2]
    across, down = max(round((x2 - x1) / block), 1), max(round((y2 - y1) / block), 1)
    small = cv2.resize(part, (across, down), interpolation=cv2.INTER_AREA)
    part[...] = cv2.resize(small, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST)


def _block(box: Box) -> float:
    return max((box.x2 - box.x1) / _BLOCKS, (box.y2 - box.y1) / _BLOCKS, _MIN_BLOCK)


def hide(frame: av.VideoFrame, boxes: Iterable[Box] | None) -> av.VideoFrame:
    """The frame with the boxes hidden, in its YUV planes; None hides the whole picture.

    The frame given may be changed or not: use the one answered. A picture that the decoder still needs is
    copied first, and any format but 4:2:0 with 8 bits is converted to it.

    Args:
        boxes: in pixels of the frame.
    """
    frame = changeable(frame)
    regions = _regions(boxes, frame.width, frame.height)
    for pixels, by in planes(frame):
        for box, block in regions:
            mosaic(pixels, Box(box.x1 / by, box.y1 / by, box.x2 / by, box.y2 / by), block / by)
    return frame


def changeable(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame in 4:2:0 with 8 bits, its planes free to be written: a copy if the decoder needs them."""
    if frame.format.name not in _PLANAR:
        frame = frame.reformat(format="yuv420p")
    frame.make_writable()
    return frame


def planes(frame: av.VideoFrame) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Luma and the two chroma planes of a changeable frame as they lie, with what each is smaller by."""
    for n, plane in enumerate(frame.planes):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        yield rows[:, : plane.width], _PLANAR[frame.format.name] if n else 1


def _regions(boxes: Iterable[Box] | None, width: int, height: int) -> list[tuple[Box, float]]:
    if boxes is None:
        whole = Box(0, 0, width, height)
        return [(whole, max(width, height) / _BLOCKS_WHOLE)]
    return [(box, _block(box)) for box in boxes]


def snapshot(
    frame: av.VideoFrame, boxes: Sequence[Box] | None, *, plain: bool = False, quality: int = 85
) -> bytes:
    """The frame as JPEG. The frame is not changed.

    Args:
        boxes: people in it, in pixels of the frame; hidden, grown by a tenth. None: it is not known where
            they are, so everything is hidden.
        plain: hide nothing; for those who may see it.
        quality: of JPEG, 1 to 100.

    Raises:
        StorageError: the picture cannot be encoded.
    """
    pixels = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
    if not plain:
        hide_pixels(pixels, None if boxes is None else [pad(box, 0.1) for box in boxes])
    return jpeg(pixels, quality)


def hide_pixels(pixels: NDArray[np.uint8], boxes: Iterable[Box] | None) -> None:
    """Hide the boxes in place; None hides the whole picture.

    Args:
        pixels: [H, W] or [H, W, channels], writable.
        boxes: in pixels.
    """
    for box, block in _regions(boxes, pixels.shape[1], pixels.shape[0]):
        mosaic(pixels, box, block)


def jpeg(pixels: NDArray[np.uint8], quality: int = 85) -> bytes:
    """A picture, [H, W, 3] BGR, as JPEG.

    Raises:
        StorageError: it cannot be encoded.
    """
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        height, width = pixels.shape[:2]
        raise StorageError(f"a picture of {width}x{height} cannot be encoded as JPEG")
    return data.tobytes()

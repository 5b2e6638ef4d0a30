"""A captured face cut out of its picture: in blocks for whoever may look, as it is for the seal.

Who else was seen in the picture is hidden in both: a crop is of one capture, and when that is deleted no
other one still shows the face. Of boxes that cover the middle of the captured face it is not known whose they
are (its own, its bearer's, somebody's behind); its own box is never hidden as another's.
"""

from collections.abc import Sequence

import av
import numpy as np
from numpy.typing import NDArray

from events.events import NormBox
from events.observations import Box
from storage.pictures import hide_pixels, mosaic, pad

MARGIN = 0.5
"""The crop is the face's box, grown by so much of its size on each side: twice as wide and high."""

BLOCKS = 8
"""Blocks across the face's width."""

Pixels = NDArray[np.uint8]


def original(frame: av.VideoFrame, face: NormBox, others: Sequence[Box]) -> Pixels:
    """The crop around the face, [H, W, 3] BGR.

    Args:
        face: fractions of the picture.
        others: boxes of people and faces at that moment, likewise; the face's own may be among them.
    """
    window = _window(face, frame.width, frame.height)
    pixels = _cut(frame, window)
    _hide_others(pixels, window, _pixels(face, frame), [_pixels(box, frame) for box in _apart(others, face)])
    return pixels


def pixelated(frame: av.VideoFrame, face: NormBox, others: Sequence[Box] | None) -> Pixels:
    """The crop in blocks, `BLOCKS` across the face, [H, W, 3] BGR.

    Args:
        others: as above; hidden in blocks of a tenth of their own size, where that is coarser. None: it is
            not known where they are, so there are `BLOCKS` blocks across the whole crop.
    """
    window = _window(face, frame.width, frame.height)
    pixels = _cut(frame, window)
    rows, columns = pixels.shape[:2]
    own = _pixels(face, frame)
    block = (columns if others is None else own.x2 - own.x1) / BLOCKS
    mosaic(pixels, Box(0, 0, columns, rows), max(block, 1.0))
    if others is not None:
        _hide_others(pixels, window, own, [_pixels(box, frame) for box in _apart(others, face)])
    return pixels


def _window(face: NormBox, width: int, height: int) -> tuple[int, int, int, int]:
    """left, top, right, bottom in pixels, within the picture."""
    box = pad(Box(*face), MARGIN)
    left = min(max(int(box.x1 * width), 0), width - 1)
    top = min(max(int(box.y1 * height), 0), height - 1)
    right, bottom = min(round(box.x2 * width), width), min(round(box.y2 * height), height)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _cut(frame: av.VideoFrame, window: tuple[int, int, int, int]) -> Pixels:
    left, top, right, bottom = window
    picture = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
    return picture[top:bottom, left:right].copy()


def _pixels(box: NormBox | Box, frame: av.VideoFrame) -> Box:
    x1, y1, x2, y2 = box if isinstance(box, tuple) else (box.x1, box.y1, box.x2, box.y2)
    return Box(x1 * frame.width, y1 * frame.height, x2 * frame.width, y2 * frame.height)


def _apart(others: Sequence[Box], face: NormBox) -> list[Box]:
    """Those that do not cover the face's middle."""
    x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    return [box for box in others if not (box.x1 <= x <= box.x2 and box.y1 <= y <= box.y2)]


def _hide_others(pixels: Pixels, window: tuple[int, int, int, int], own: Box, others: Sequence[Box]) -> None:
    """Hide the boxes (pixels of the whole picture) in the crop, in place, but for the face's own box."""
    left, top = window[:2]
    face = pixels[_span(own.y1 - top, own.y2 - top), _span(own.x1 - left, own.x2 - left)]
    kept = face.copy()
    hide_pixels(pixels, [Box(b.x1 - left, b.y1 - top, b.x2 - left, b.y2 - top) for b in others])
    face[...] = kept


def _span(start: float, end: float) -> slice:
    return slice(max(round(start), 0), max(round(end), 0))

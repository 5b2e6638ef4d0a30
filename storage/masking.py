"""What a masked export hides, picture by picture, in the picture's own YUV planes.

    tracked      boxes of the traces (people, or all that was tracked), in blocks as in clips; the whole
                 picture where nobody knows what was in it
    faces        each by its mean colour alone: from a face model that is run on every picture, with room in
                 space and time, and from the traces: faces, and the upper part of people
    regions      drawn polygons, black, in every picture

A face that was found is hidden for `HOLD_US` before and after as well, so that one which the model misses for
a few pictures is not shown. While it is not found again, its place grows with the time that has passed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np

from detectors.detections import Detector
from events.errors import StorageError
from events.geometry import Point, is_simple, signed_area
from events.media import CaptureMap
from events.observations import Box
from storage import trace
from storage.cutting import Picture, scaled
from storage.pictures import hide, mosaic, pad, planes
from storage.whereabouts import Whereabouts

HOLD_US = 500_000
"""A face is hidden for so long before it was found and after it was last found."""
FACE_PAD = 0.3
"""Of its width and height, on each side: hair and ears are told by, too."""
FACE_SPEED = 2.0
"""Widths (heights) a second by which the place of a face that is not found grows on each side."""
HEAD = 0.4
"""So much of the height of somebody who stands is taken for the head, from above."""

_WINDOW_US = 60_000_000
_AROUND_US = 30_000_000
"""Traces are read for so long at once, and so much around it: looks are never further apart."""
_FULL_RANGE = "yuvj420p"

Region = tuple[Point, ...]
"""Corners of a drawn polygon, fractions of the picture."""

Where = Callable[[int], Sequence[Box] | None]
"""Capture time -> boxes, fractions of the picture; None: nobody knows."""


class Marking(msgspec.Struct, frozen=True, kw_only=True):
    """What an exported file says of itself (its MP4 comment, JSON)."""

    linli: str = "export"
    site: str
    camera: str
    stream: str
    start: str
    """RFC 3339."""
    end: str
    masked: bool
    hidden: tuple[str, ...]
    """What is hidden, and how, in words."""
    regions: tuple[Region, ...] = ()
    purpose: str = ""


class Masks(msgspec.Struct, frozen=True, kw_only=True):
    """What is hidden in one export."""

    tracked: Where | None = None
    """Hidden in blocks; the whole picture where it answers None."""
    faces: Detector | None = None
    """Run on every picture."""
    known_faces: tuple[Where, ...] = ()
    """Boxes of faces from elsewhere; None adds nothing."""
    regions: tuple[Region, ...] = ()


@dataclass
class Tally:
    """What was done so far."""

    pictures: int = 0
    whole: int = 0
    """Hidden as a whole."""
    found: int = 0
    """Pictures in which the face model found a face."""


def check_region(region: Region) -> None:
    """
    Raises:
        ValueError: it is no polygon of the picture.
    """
    if len(region) < 3:
        raise ValueError(f"it has {len(region)} points; a region needs at least 3")
    for x, y in region:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(f"the point {x:g},{y:g} is outside the picture; write fractions from 0 to 1")
    if not is_simple(region) or not signed_area(region):
        raise ValueError("its outline crosses or touches itself; give the corners in order")


class Traced:
    """Where the traces say that things were; they are read as the export comes to them."""

    def __init__(
        self,
        find: Callable[[int, int], Sequence[Path]],
        labels: frozenset[str] | None,
        shown: Sequence[CaptureMap] | None = None,
    ) -> None:
        """
        Args:
            find: the traces of what was analysed between two capture times.
            labels: what is looked for; None: whatever was tracked.
            shown: capture times of the exported stream, if that is not the analysed one.
        """
        self._find, self._labels, self._shown = find, labels, shown
        self._window: int | None = None
        self._known = Whereabouts([])
        self.unread: set[str] = set()
        """What was wrong with traces that could not be read."""

    def at(self, capture_us: int) -> list[Box] | None:
        """A `Where`."""
        window = capture_us // _WINDOW_US
        if window != self._window:
            self._window = window
            self._known = self._read(window * _WINDOW_US)
        known = self._known
        return known.at(capture_us, 0 if self._shown is None else known.skew_us(capture_us, self._shown))

    def _read(self, from_us: int) -> Whereabouts:
        traces: list[list[trace.Line]] = []
        for path in self._find(from_us - _AROUND_US, from_us + _WINDOW_US + _AROUND_US):
            try:
                traces.append(trace.read_trace(path))
            except StorageError as error:
                self.unread.add(str(error))  # what it knew is unknown: hidden whole
        return Whereabouts(traces, self._labels if self._labels is not None else _labels(traces))


def heads(boxes: Sequence[Box] | None) -> list[Box] | None:
    """The part of people's boxes in which their faces are; all of one who does not stand."""
    if boxes is None:
        return None
    return [
        Box(b.x1, b.y1, b.x2, b.y1 + HEAD * (b.y2 - b.y1)) if b.y2 - b.y1 > b.x2 - b.x1 else b for b in boxes
    ]


def masked(
    pictures: Iterable[Picture], masks: Masks, span: tuple[int, int], tally: Tally
) -> Iterator[Picture]:
    """The pictures of the span, masked.

    Args:
        pictures: in order, best from `HOLD_US` before the span to `HOLD_US` after it.
        span: capture times of the first and last picture that are given.
        tally: counts as they go by.

    Raises:
        ModelError: the face model's outputs are not what its manifest says.
    """
    for (frame, at, pts), faces in _with_faces(pictures, masks.faces, tally):
        if not span[0] <= at <= span[1]:
            continue
        tally.pictures += 1
        boxes = masks.tracked(at) if masks.tracked else []
        tally.whole += boxes is None
        frame = hide(frame, scaled(boxes, frame.width, frame.height))
        for where in masks.known_faces:
            faces = [*faces, *(where(at) or ())]
        blot(frame, scaled(faces, frame.width, frame.height) or [])
        for region in masks.regions:
            fill(frame, region)
        yield Picture(frame, at, pts)


def blot(frame: av.VideoFrame, boxes: Sequence[Box]) -> None:
    """Give each box one colour, its mean, in place: nothing of a face is left in it.

    Args:
        frame: as `storage.pictures.changeable` gives it.
        boxes: in pixels.
    """
    for pixels, by in planes(frame):
        for b in boxes:
            side = max(b.x2 - b.x1, b.y2 - b.y1, 1.0)
            mosaic(pixels, Box(b.x1 / by, b.y1 / by, b.x2 / by, b.y2 / by), 4 * side)


def fill(frame: av.VideoFrame, region: Region) -> None:
    """Make the polygon black, in place, and a pixel around it: what was there cannot be had back.

    Args:
        frame: as `storage.pictures.changeable` gives it.
    """
    black = 0 if frame.format.name == _FULL_RANGE else 16
    for pixels, by in planes(frame):
        height, width = pixels.shape
        corners = np.array([(round(x * width), round(y * height)) for x, y in region], np.int32)
        value = black if by == 1 else 128
        cv2.fillPoly(pixels, [corners], value)
        cv2.polylines(pixels, [corners], True, value, 3)


def _with_faces(
    pictures: Iterable[Picture], model: Detector | None, tally: Tally
) -> Iterator[tuple[Picture, list[Box]]]:
    """Each picture with the faces to hide in it, fractions of it; `HOLD_US` of pictures wait for that."""
    waiting: deque[Picture] = deque()
    looks: deque[tuple[int, list[Box]]] = deque()
    for picture in pictures:
        if model is None:
            yield picture, []
            continue
        boxes = _found(model, picture.frame)
        tally.found += bool(boxes)
        looks.append((picture.capture_us, boxes))
        waiting.append(picture)
        while waiting[0].capture_us + HOLD_US < picture.capture_us:
            yield _held(waiting.popleft(), looks)
    while waiting:
        yield _held(waiting.popleft(), looks)


def _found(model: Detector, frame: av.VideoFrame) -> list[Box]:
    found = model.detect(frame)
    w, h = frame.width, frame.height
    return [Box(x1 / w, y1 / h, x2 / w, y2 / h) for x1, y1, x2, y2 in found.boxes.tolist()]


def _held(picture: Picture, looks: deque[tuple[int, list[Box]]]) -> tuple[Picture, list[Box]]:
    at = picture.capture_us
    while looks and looks[0][0] + HOLD_US < at:
        looks.popleft()
    here = [box for t, boxes in looks if t == at for box in boxes]
    hidden: list[Box] = []
    for t, boxes in looks:
        passed = abs(t - at)
        if passed <= HOLD_US:
            for box in boxes:
                there = any(pad(box, FACE_PAD).iou(other) > 0 for other in here)
                hidden.append(pad(box, FACE_PAD if there else FACE_PAD + FACE_SPEED * passed / 1e6))
    return picture, hidden


def _labels(traces: Iterable[Sequence[trace.Line]]) -> frozenset[str]:
    """All that the traces name."""
    frames = [line for lines in traces for line in lines if isinstance(line, trace.Frame)]
    tracked = {track[1] for frame in frames for track in frame.tracks}
    return frozenset(tracked | {faint[0] for frame in frames for faint in frame.faint})

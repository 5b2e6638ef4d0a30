"""The contracts of the detector's floor: a detector turns a picture into detections, a tracker turns the
detections of successive frames into tracks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from events.observations import Track


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector found in one picture, in pixels of that picture, best first."""

    boxes: NDArray[np.float32]
    """[N, 4] x1 y1 x2 y2."""
    scores: NDArray[np.float32]
    """[N] 0 to 1."""
    labels: tuple[str, ...]
    """[N] class names."""
    landmarks: NDArray[np.float32] | None = None
    """[N, 5, 2] x y of a face's right eye, left eye, nose, right and left corner of the mouth (right and left
    as the face's owner says); None from a model that finds none."""

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,):
            raise ValueError(f"shapes differ: {self.boxes.shape}, {self.scores.shape}, {n} labels")
        if self.landmarks is not None and self.landmarks.shape != (n, 5, 2):
            raise ValueError(f"landmarks have shape {self.landmarks.shape}, not {(n, 5, 2)}")

    def __len__(self) -> int:
        return len(self.labels)


NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())

Crop = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels: the part of a picture to look at."""


class Detector(Protocol):
    """A model ready to run. Shared by the cameras of a process; not called from two threads at once."""

    @property
    def digest(self) -> str:
        """SHA-256 of the model file, so that a replay can tell whether it runs the same one."""

    def detect(self, frame: av.VideoFrame, crops: Sequence[Crop] = ()) -> Detections:
        """Objects in the frame (or in the crops of it, merged), in pixels of the frame."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A tracker's answer for one frame."""

    tracks: tuple[Track, ...]
    """Confirmed tracks: detected in this frame (`seen`) or, for a short time, predicted."""
    ended: tuple[int, ...]
    """Ordinals given up since the last frame."""


class Tracker(Protocol):
    """Pure: the same detections at the same times always give the same tracks."""

    @property
    def active(self) -> bool:
        """Something is tracked (or was lost so recently that it may come back)."""

    def update(self, pts: int, detections: Detections, size: tuple[int, int]) -> Tracked:
        """Advance to media time `pts` with the detections of a picture of `size` (width, height)."""

    def reset(self) -> tuple[int, ...]:
        """Give up all tracks (end of an epoch, a gap); answers their ordinals."""

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values; `restore` of it continues bit for bit."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""

"""Tracks of faces at a few looks a second.

A face is small for how far it moves: a walker's is 30 px wide in a picture that he crosses at 200 px/s, so at
five looks a second its boxes do not even touch, and no overlap tells whose they are. The same tracker as for
people is given each face with its surroundings, about as wide as shoulders; what it answers is cut back.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.detections import Detections, Tracked, Tracker
from detectors.tracking import ByteTracker, Scores
from events.observations import Box, Track

FACE_SCORES = Scores(low=0.3, high=0.5, new=0.6)
"""What a face detector's confidence counts as: CenterFace gives small and turned faces 0.5 to 0.7, and hardly
anything else more than 0.4."""

SHOULDERS = 2.5
"""Width of what is tracked, in widths of a face."""


class FaceTracker:
    """A `detectors.detections.Tracker` for faces: boxes are widened about their middles on the way in and
    narrowed on the way out."""

    def __init__(
        self, scores: Scores = FACE_SCORES, *, widened: float = SHOULDERS, lost_s: float = 2.0
    ) -> None:
        """`widened`: times; `lost_s`: a face not seen for longer has gone, and its shot is due, seconds."""
        self._widened = widened
        self._tracker: Tracker = ByteTracker(scores=scores, lost_s=lost_s, faint_s=lost_s)

    @property
    def active(self) -> bool:
        """Something is followed, tentative and lost tracks included."""
        return self._tracker.active

    def update(self, pts: int, detections: Detections, size: tuple[int, int]) -> Tracked:
        """Advance to media time `pts` with the faces of a picture of `size`.

        Raises:
            ValueError: `pts` is before that of the last call; a new epoch needs `reset`.
        """
        wide = Detections(_scaled(detections.boxes, self._widened), detections.scores, detections.labels)
        tracked = self._tracker.update(pts, wide, size)
        return Tracked(tuple(self._narrowed(track) for track in tracked.tracks), tracked.ended)

    def reset(self) -> tuple[int, ...]:
        """Give up all tracks and begin a new epoch: ordinals start from 1 again."""
        return self._tracker.reset()

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values; `restore` of it continues bit for bit."""
        return self._tracker.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._tracker.restore(state)

    def _narrowed(self, track: Track) -> Track:
        box = track.box
        edges = np.array([[box.x1, box.y1, box.x2, box.y2]])
        x1, y1, x2, y2 = _scaled(edges, 1 / self._widened)[0].tolist()
        return Track(track.ordinal, track.label, track.score, Box(x1, y1, x2, y2), track.seen)


def _scaled(boxes: NDArray[Any], times: float) -> NDArray[Any]:
    """Boxes [N, 4] made so many times as wide and as high about their middles."""
    middles, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * times
    return np.concatenate([middles - halves, middles + halves], axis=1).astype(boxes.dtype)

"""Detections of successive frames into tracks: a tracker of ByteTrack's class for a few irregular frames a
second.

From ByteTrack (Zhang et al. 2022, arXiv 2110.06864): confident detections are assigned first, faint ones
then only to tracks that go on, so that a half-hidden person keeps the track but a faint blob starts none.
From C-BIoU (Yang et al. 2023, arXiv 2211.14317): boxes are widened by a share of their size before their
overlap is taken, since at 5 frames/s a walker moves more than half a body's width between two frames; first
by little, then by more. From OC-SORT (Cao et al. 2023, arXiv 2203.14360): what is left is compared with
where a track was last *seen*, for objects that stopped while they were hidden. The motion model works in
seconds (`detectors/kalman.py`). There is no appearance model: no picture of a person is compared.

Pure: no clock, no randomness; the same detections at the same times give the same tracks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from detectors.detections import Detections, Tracked
from detectors.kalman import BoxFilter, Edges
from events.media import seconds, ticks
from events.observations import Box, Track

Floats = NDArray[np.float64]

VEHICLES = frozenset(("car", "truck", "bus", "van"))
"""Classes that detectors confuse from frame to frame; they may continue each other's tracks."""


@dataclass(slots=True)
class _Target:
    """One object that is followed."""

    filter: BoxFilter
    votes: dict[str, float]
    """Summed confidence by class name."""
    seen_box: Edges
    """As last detected."""
    seen_pts: int
    score: float
    hits: int = 1
    ordinal: int = 0
    """0: tentative."""

    @property
    def label(self) -> str:
        """The class that most confidence was given to."""
        return max(self.votes, key=lambda name: (self.votes[name], name))

    def see(self, pts: int, box: Edges, score: float, label: str) -> None:
        """Take in the detection that was assigned to it."""
        self.filter.update(box)
        self.seen_box, self.seen_pts, self.score = box, pts, score
        self.votes[label] = self.votes.get(label, 0.0) + score
        self.hits += 1


@dataclass(frozen=True, slots=True)
class _Found:
    """The detections of one frame as the rounds of assignment take them."""

    boxes: Floats
    scores: list[float]
    labels: tuple[str, ...]


class ByteTracker:
    """A `detectors.detections.Tracker`.

    Args:
        high: detections at or above this confidence are assigned first and may begin tracks.
        low: detections below this are ignored; between `low` and `high` they only continue tracks.
        new: confidence that a detection needs to begin a track.
        min_hits: detections before a track is confirmed and gets its ordinal.
        lost_s: a track not detected for longer than this ends, seconds.
        shown_s: a track not detected for up to this long is still reported, predicted (`seen=False`).
    """

    def __init__(
        self,
        *,
        high: float = 0.5,
        low: float = 0.1,
        new: float = 0.6,
        min_hits: int = 2,
        lost_s: float = 2.0,
        shown_s: float = 0.4,
    ) -> None:
        if not 0 <= low <= high <= new <= 1:
            raise ValueError(f"confidences must be 0 <= low <= high <= new <= 1, not {low}, {high}, {new}")
        if min_hits < 1 or not 0 <= shown_s <= lost_s:
            raise ValueError(f"min_hits >= 1 and 0 <= shown_s <= lost_s, not {min_hits}, {shown_s}, {lost_s}")
        self._high, self._low, self._new = high, low, new
        self._min_hits = min_hits
        self._lost, self._shown = ticks(lost_s), ticks(shown_s)
        self._targets: list[_Target] = []
        self._pts: int | None = None
        self._ordinals = 0

    @property
    def active(self) -> bool:
        """Something is followed, tentative and lost tracks included."""
        return bool(self._targets)

    def update(self, pts: int, detections: Detections, size: tuple[int, int]) -> Tracked:
        """Advance to media time `pts` with the detections of a picture of `size`.

        Raises:
            ValueError: `pts` is before that of the last call; a new epoch needs `reset`.
        """
        if self._pts is not None and pts < self._pts:
            raise ValueError(f"media time went back from {self._pts} to {pts}: reset the tracker first")
        before = self._pts
        ended = self._advance(pts, size)
        found = _Found(
            detections.boxes.astype(np.float64), detections.scores.astype(float).tolist(), detections.labels
        )
        left = self._associate(pts, before, found)
        self._targets = [t for t in self._targets if t.ordinal or t.seen_pts == pts]
        self._targets += [_begun(pts, found, i) for i in left if found.scores[i] >= self._new]
        for target in self._targets:
            if not target.ordinal and target.hits >= self._min_hits:
                self._ordinals += 1
                target.ordinal = self._ordinals
        return Tracked(tracks=self._report(pts), ended=ended)

    def _advance(self, pts: int, size: tuple[int, int]) -> tuple[int, ...]:
        """Predict all targets; give up those lost for too long or gone from the picture."""
        dt = seconds(pts - self._pts) if self._pts is not None else 0.0
        kept: list[_Target] = []
        ended: list[int] = []
        for target in self._targets:
            if target.seen_pts != self._pts:
                target.filter.drift()
            target.filter.predict(dt)
            if pts - target.seen_pts <= self._lost and not _outside(target.filter.edges, size):
                kept.append(target)
            elif target.ordinal:
                ended.append(target.ordinal)
        self._targets, self._pts = kept, pts
        return tuple(ended)

    def _associate(self, pts: int, before: int | None, found: _Found) -> list[int]:
        """Give detections to targets, round by round; answers the strong ones that are left."""
        strong = [i for i, s in enumerate(found.scores) if s >= self._high]
        faint = [i for i, s in enumerate(found.scores) if self._low <= s < self._high]
        confirmed = [t for t in self._targets if t.ordinal]

        def assign(targets: list[_Target], chosen: list[int], how: "_Round") -> list[int]:
            pairs = how.pairs(targets, found, chosen)
            for target, i in pairs:
                target.see(pts, _edges(found.boxes[i]), found.scores[i], found.labels[i])
            taken = {i for _, i in pairs}
            return [i for i in chosen if i not in taken]

        def waiting() -> list[_Target]:
            return [t for t in confirmed if t.seen_pts != pts]

        strong = assign(confirmed, strong, NEAR)
        assign([t for t in waiting() if t.seen_pts == before], faint, FAINT)
        strong = assign(waiting(), strong, WIDE)
        strong = assign(waiting(), strong, LAST_SEEN)
        return assign([t for t in self._targets if not t.ordinal], strong, WIDE)

    def _report(self, pts: int) -> tuple[Track, ...]:
        return tuple(
            Track(
                ordinal=t.ordinal,
                label=t.label,
                score=t.score if t.seen_pts == pts else 0.0,
                box=Box(*(t.seen_box if t.seen_pts == pts else t.filter.edges)),
                seen=t.seen_pts == pts,
            )
            for t in self._targets
            if t.ordinal and pts - t.seen_pts <= self._shown
        )

    def reset(self) -> tuple[int, ...]:
        """Give up all tracks and begin a new epoch: ordinals start from 1 again."""
        ended = tuple(t.ordinal for t in self._targets if t.ordinal)
        self._targets, self._pts, self._ordinals = [], None, 0
        return ended

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values; `restore` of it continues bit for bit."""
        return {
            "pts": self._pts,
            "ordinals": self._ordinals,
            "targets": [
                {
                    "filter": t.filter.snapshot(),
                    "votes": dict(t.votes),
                    "seen_box": list(t.seen_box),
                    "seen_pts": t.seen_pts,
                    "score": t.score,
                    "hits": t.hits,
                    "ordinal": t.ordinal,
                }
                for t in self._targets
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._pts, self._ordinals = state["pts"], state["ordinals"]
        self._targets = [
            _Target(
                BoxFilter.restored(t["filter"]),
                dict(t["votes"]),
                _edges(t["seen_box"]),
                t["seen_pts"],
                t["score"],
                t["hits"],
                t["ordinal"],
            )
            for t in state["targets"]
        ]


@dataclass(frozen=True, slots=True)
class _Round:
    """One round of assignment: which box of a target is compared, how widened, and what is close enough."""

    box: Callable[[_Target], Edges]
    buffer: float
    """Share of its width and height that a box is widened by on each side."""
    least: float
    """Overlap (intersection over union of the widened boxes) below which two are not the same object."""

    def pairs(
        self, targets: Sequence[_Target], found: _Found, chosen: list[int]
    ) -> list[tuple[_Target, int]]:
        """The assignment of the greatest summed overlap, each pair of one class and close enough."""
        if not targets or not chosen:
            return []
        overlap = buffered_iou(np.array([self.box(t) for t in targets]), found.boxes[chosen], self.buffer)
        overlap[overlap < self.least] = 0.0
        groups = [_group(found.labels[i]) for i in chosen]
        for row, target in enumerate(targets):
            mine = _group(target.label)
            for column, group in enumerate(groups):
                if group != mine:
                    overlap[row, column] = 0.0
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        return [(targets[r], chosen[c]) for r, c in zip(rows, columns, strict=True) if overlap[r, c] > 0]


NEAR = _Round(lambda t: t.filter.edges, buffer=0.3, least=0.2)
FAINT = _Round(lambda t: t.filter.edges, buffer=0.3, least=0.5)
WIDE = _Round(lambda t: t.filter.edges, buffer=0.5, least=0.2)
LAST_SEEN = _Round(lambda t: t.seen_box, buffer=0.5, least=0.2)


def buffered_iou(a: Floats, b: Floats, buffer: float) -> Floats:
    """Intersection over union of each box of `a` [N, 4] with each of `b` [M, 4], all widened: [N, M]."""
    a, b = _widened(a, buffer), _widened(b, buffer)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = np.maximum(high - low, 0.0)
    common = size[..., 0] * size[..., 1]
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    union: Floats = area_a[:, None] + area_b[None, :] - common
    return np.asarray(common / np.maximum(union, 1e-9))


def _widened(boxes: Floats, buffer: float) -> Floats:
    margin = (boxes[:, 2:] - boxes[:, :2]) * buffer
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)


def _begun(pts: int, found: _Found, index: int) -> _Target:
    """A tentative track from a detection that belongs to none."""
    edges = _edges(found.boxes[index])
    score = found.scores[index]
    return _Target(BoxFilter(edges), {found.labels[index]: score}, edges, pts, score)


def _edges(box: Sequence[Any] | Floats) -> Edges:
    x1, y1, x2, y2 = box
    return float(x1), float(y1), float(x2), float(y2)


def _group(label: str) -> str:
    return "vehicle" if label in VEHICLES else label


def _outside(edges: Edges, size: tuple[int, int]) -> bool:
    """Whether the box's middle has left the picture."""
    x, y = (edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2
    return not (0 <= x <= size[0] and 0 <= y <= size[1])

"""Detections of successive frames into tracks: a tracker of ByteTrack's class for a few irregular frames a
second.

From ByteTrack (Zhang et al. 2022, arXiv 2110.06864): confident detections are assigned first, faint ones
then only to tracks that go on, so that a half-hidden person keeps the track but a faint blob starts none.
From C-BIoU (Yang et al. 2023, arXiv 2211.14317): boxes are widened by a share of their size before their
overlap is taken, since at 5 frames/s a walker moves more than half a body's width between two frames; not at
first, where neighbours would be confused, but for what is left. From OC-SORT (Cao et al. 2023, arXiv
2203.14360): what is then left is compared with where a track was last *seen*, for objects that stopped while
they were hidden. Our own: faint detections carry a track only for a time, because an object is hidden for
seconds, while what is *always* faint (a sign post, a statue) is none; and the motion model works in seconds
(`detectors/kalman.py`). There is no appearance model: no picture of a person is compared.

Pure: no clock, no randomness; the same detections at the same times give the same tracks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.association import Closeness
from detectors.detections import Detections, Tracked
from detectors.kalman import BoxFilter, Edges
from events.media import seconds, ticks
from events.observations import Box, Track

NEAR = Closeness(buffer=0.0, least=0.2)
FAINT = Closeness(buffer=0.0, least=0.3)
WIDE = Closeness(buffer=0.3, least=0.2)
LAST_SEEN = Closeness(buffer=0.5, least=0.2)


@dataclass(frozen=True, slots=True)
class Scores:
    """Thresholds of confidence. `high` and `new` are those of ByteTrack's paper; its `low` of 0.1 is raised,
    because small models fill a picture with candidates of 0.1 to 0.2 where there is nothing."""

    low: float = 0.2
    """Detections below are ignored; between `low` and `high` they are faint and only continue tracks."""
    high: float = 0.6
    """Detections from here on are confident."""
    new: float = 0.7
    """A detection needs this much to begin a track."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= self.new <= 1:
            raise ValueError(
                f"confidences must be 0 <= low <= high <= new <= 1, not {self.low}, {self.high}, {self.new}"
            )


DEFAULT_SCORES = Scores()


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
    strong_pts: int
    """When it was last detected with confidence."""
    hits: int = 1
    ordinal: int = 0
    """0: tentative."""

    @property
    def label(self) -> str:
        """The class that most confidence was given to."""
        return max(self.votes, key=lambda name: (self.votes[name], name))

    def see(self, pts: int, box: Edges, score: float, label: str) -> None:
        """Take in the detection that was assigned to it."""
        self.filter.update(box, score)
        self.seen_box, self.seen_pts, self.score = box, pts, score
        self.votes[label] = self.votes.get(label, 0.0) + score
        self.hits += 1


@dataclass(frozen=True, slots=True)
class _Found:
    """The detections of one frame as the rounds of assignment take them."""

    boxes: NDArray[np.float64]
    scores: list[float]
    labels: tuple[str, ...]


class ByteTracker:
    """A `detectors.detections.Tracker`.

    Args:
        scores: what confidence counts as what.
        min_hits: detections, one after the other, before a track is confirmed and gets its ordinal.
        lost_s: a track not detected for longer than this ends, seconds.
        faint_s: so does one without a confident detection for longer than this.
        shown_s: a track not detected for up to this long is still reported, predicted (`seen=False`).
    """

    def __init__(
        self,
        *,
        scores: Scores = DEFAULT_SCORES,
        min_hits: int = 2,
        lost_s: float = 3.0,
        faint_s: float = 3.0,
        shown_s: float = 0.4,
    ) -> None:
        if min_hits < 1 or faint_s < 0 or not 0 <= shown_s <= lost_s:
            raise ValueError(
                "min_hits must be 1 or more, faint_s not negative and shown_s between 0 and lost_s, not"
                f" {min_hits}, {faint_s}, {shown_s} and {lost_s}"
            )
        self._scores = scores
        self._min_hits = min_hits
        self._lost, self._faint, self._shown = ticks(lost_s), ticks(faint_s), ticks(shown_s)
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
        ended = self._advance(pts, size)
        found = _Found(
            detections.boxes.astype(np.float64), detections.scores.astype(float).tolist(), detections.labels
        )
        left = self._associate(pts, found)
        self._targets = [t for t in self._targets if t.ordinal or t.seen_pts == pts]
        self._targets += [_begun(pts, found, i) for i in left if found.scores[i] >= self._scores.new]
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
            fresh = pts - target.seen_pts <= self._lost and pts - target.strong_pts <= self._faint
            if fresh and not _outside(target.filter.edges, size):
                kept.append(target)
            elif target.ordinal:
                ended.append(target.ordinal)
        self._targets, self._pts = kept, pts
        return tuple(ended)

    def _associate(self, pts: int, found: _Found) -> list[int]:
        """Give detections to targets, round by round; answers the strong ones that are left."""
        low, high = self._scores.low, self._scores.high
        strong = [i for i, s in enumerate(found.scores) if s >= high]
        faint = [i for i, s in enumerate(found.scores) if low <= s < high]
        confirmed = [t for t in self._targets if t.ordinal]

        def assign(
            targets: list[_Target], chosen: list[int], near: Closeness, seen: bool = False
        ) -> list[int]:
            if not targets or not chosen:
                return chosen
            boxes = np.array([t.seen_box if seen else t.filter.edges for t in targets])
            labels = [t.label for t in targets]
            taken = set()
            for row, column in near.pairs(
                boxes, labels, found.boxes[chosen], [found.labels[i] for i in chosen]
            ):
                i = chosen[column]
                targets[row].see(pts, _edges(found.boxes[i]), found.scores[i], found.labels[i])
                if found.scores[i] >= high:
                    targets[row].strong_pts = pts
                taken.add(i)
            return [i for i in chosen if i not in taken]

        def waiting() -> list[_Target]:
            return [t for t in confirmed if t.seen_pts != pts]

        strong = assign(confirmed, strong, NEAR)
        faint = assign(waiting(), faint, FAINT)
        strong = assign(waiting(), strong, WIDE)
        strong = assign(waiting(), strong, LAST_SEEN, seen=True)
        tentative = [t for t in self._targets if not t.ordinal]
        strong = assign(tentative, strong, WIDE)
        assign([t for t in tentative if t.seen_pts != pts], faint, FAINT)
        return strong

    def _report(self, pts: int) -> tuple[Track, ...]:
        return tuple(
            Track(
                ordinal=t.ordinal,
                label=t.label,
                score=t.score if t.seen_pts == pts else 0.0,
                box=Box(*t.filter.edges),
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
                    "strong_pts": t.strong_pts,
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
                t["strong_pts"],
                t["hits"],
                t["ordinal"],
            )
            for t in state["targets"]
        ]


def _begun(pts: int, found: _Found, index: int) -> _Target:
    """A tentative track from a detection that belongs to none."""
    edges = _edges(found.boxes[index])
    score = found.scores[index]
    return _Target(BoxFilter(edges), {found.labels[index]: score}, edges, pts, score, pts)


def _edges(box: Sequence[Any] | NDArray[np.float64]) -> Edges:
    x1, y1, x2, y2 = box
    return float(x1), float(y1), float(x2), float(y2)


def _outside(edges: Edges, size: tuple[int, int]) -> bool:
    """Whether the box's middle has left the picture."""
    x, y = (edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2
    return not (0 <= x <= size[0] and 0 <= y <= size[1])

"""The best picture of each face's track, chosen while it passes; and the area in which faces are captured.

Nothing of a picture is kept here: a shot is a time, a box and measures (`detectors/face_measures.py`), and
whoever needs its pixels cuts them from the recorded footage. Pure: the same detections and pictures give the
same shots, and the state is plain values.

    tracker --Tracked--> BestShots.see --Shot--> one for each track, when it ends or has lasted `hold_s`
"""

from dataclasses import dataclass, field
from math import hypot
from typing import Any

import msgspec
import numpy as np

from detectors.detections import Detections, Tracked
from detectors.face_measures import Corners, Face, measure
from events.geometry import Point, Polygon
from events.media import ticks
from events.observations import Box, Shot, Track
from ingest.gate import Luma

NEAR = 2.5
"""A new track takes over the unclaimed face of the look before within so many of its own sides."""


class ShotSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a shot must be."""

    hold_s: float = 5.0
    """A track that lasts longer gives its shot then, without waiting for its end, seconds."""
    least_quality: float = 0.05
    """No shot of a track whose best quality is below this, 0 to 1."""
    target_px: float = 60.0
    """Distance between the eyes from which on a larger face is no better, pixels of the analysed picture."""

    def __post_init__(self) -> None:
        if self.hold_s <= 0 or not 0 <= self.least_quality <= 1 or self.target_px <= 0:
            raise ValueError(
                "hold_s and target_px must be above 0 and least_quality from 0 to 1, not"
                f" {self.hold_s}, {self.target_px} and {self.least_quality}"
            )


class CaptureArea:
    """Where faces are captured; outside they are neither tracked nor measured."""

    def __init__(self, polygon: tuple[Point, ...] = (), least_px: float = 24.0) -> None:
        """`polygon`: corners as parts of the picture's width and height, none means the whole picture;
        `least_px`: least width of a face in pixels.

        Raises:
            ValueError: one or two corners make no area.
        """
        if polygon and len(polygon) < 3:
            raise ValueError(f"a capture area needs at least three corners, not {len(polygon)}")
        self._polygon = Polygon(polygon) if polygon else None
        self._least = least_px

    def split(self, detections: Detections, size: tuple[int, int]) -> tuple[Detections, Detections]:
        """The faces whose middle is inside and that are large enough, and the others; both best first."""
        if not len(detections):
            return detections, detections
        boxes = detections.boxes
        inside = boxes[:, 2] - boxes[:, 0] >= self._least
        if self._polygon is not None:
            middles = ((boxes[:, :2] + boxes[:, 2:]) / 2 / np.array(size, np.float32)).tolist()
            inside &= np.array([self._polygon.contains(x, y) for x, y in middles])
        return _only(detections, inside), _only(detections, ~inside)


@dataclass(slots=True)
class _Look:
    """One face in one picture."""

    pts: int
    box: Corners
    size: tuple[int, int]
    quality: float
    measures: dict[str, float]


@dataclass(slots=True)
class _Passing:
    """A track's way so far."""

    first: int
    last: int
    best: _Look
    given: bool = False


@dataclass(slots=True)
class _Seen:
    """The measured faces of one picture: those of tracks by ordinal, and those of none yet."""

    claimed: dict[int, _Look] = field(default_factory=dict)
    free: list[_Look] = field(default_factory=list)


class BestShots:
    """Chooses one shot for each track. `begin` an epoch, `see` each look, `end` the epoch."""

    def __init__(self, settings: ShotSettings) -> None:
        self._settings = settings
        self._hold = ticks(settings.hold_s)
        self._tracks: dict[int, _Passing] = {}
        self._free: list[_Look] = []

    def begin(self) -> None:
        """A new epoch: ordinals start again, and nothing is known."""
        self._tracks, self._free = {}, []

    def see(self, pts: int, picture: Luma, detections: Detections, tracked: Tracked) -> list[Shot]:
        """Take in a picture after the tracker did.

        Args:
            pts: its media time.
            picture: its luma, read only during this call.
            detections: what the tracker was given.
            tracked: what the tracker answered.

        Returns:
            Shots of tracks that ended or have lasted `hold_s`, by ordinal; never a second one of a track.
        """
        seen = self._measure(pts, picture, detections, tracked.tracks)
        for ordinal, look in seen.claimed.items():
            passing = self._tracks.get(ordinal)
            if passing is None:
                self._tracks[ordinal] = self._begun(look)
                continue
            passing.last = pts
            if look.quality > passing.best.quality:
                passing.best = look
        self._free = seen.free
        shots = [self._shot(n) for n in sorted(self._tracks) if n in tracked.ended or self._due(n, pts)]
        for ordinal in tracked.ended:
            self._tracks.pop(ordinal, None)
        return [shot for shot in shots if shot is not None]

    def end(self) -> list[Shot]:
        """The epoch is over, or the tracker was reset: the shots of all tracks that gave none yet."""
        shots = [self._shot(n) for n in sorted(self._tracks)]
        self.begin()
        return [shot for shot in shots if shot is not None]

    def _due(self, ordinal: int, pts: int) -> bool:
        return pts - self._tracks[ordinal].first >= self._hold

    def _shot(self, ordinal: int) -> Shot | None:
        passing = self._tracks[ordinal]
        best = passing.best
        if passing.given or best.quality < self._settings.least_quality:
            return None
        passing.given = True
        return Shot(
            track=ordinal,
            first_pts=passing.first,
            last_pts=passing.last,
            pts=best.pts,
            box=Box(*best.box),
            size=best.size,
            quality=best.quality,
            measures=best.measures,
        )

    def _begun(self, look: _Look) -> _Passing:
        """A track's first look. The tracker confirms it only now: the face of the look before is its, too."""
        passing = _Passing(look.pts, look.pts, look)
        x, y, side = _middle(look.box)
        middles = [_middle(before.box) for before in self._free]
        near = [(hypot(bx - x, by - y), n) for n, (bx, by, _) in enumerate(middles)]
        near = [pair for pair in near if pair[0] < NEAR * side]
        if near:
            before = self._free.pop(min(near)[1])
            passing.first = before.pts
            if before.quality > look.quality:
                passing.best = before
        return passing

    def _measure(self, pts: int, picture: Luma, detections: Detections, tracks: tuple[Track, ...]) -> _Seen:
        """Measure the faces that belong to tracks that still want a shot, and those of no track yet."""
        boxes: list[Corners] = [tuple(box) for box in np.round(detections.boxes.astype(float), 2).tolist()]
        owner = _owners(boxes, tracks)
        seen = _Seen()
        for n, box in enumerate(boxes):
            ordinal = owner.get(n)
            passing = self._tracks.get(ordinal) if ordinal is not None else None
            if passing is not None and passing.given:
                passing.last = pts
                continue
            marks = None if detections.landmarks is None else detections.landmarks[n]
            face = Face(box, float(detections.scores[n]), marks)
            found = measure(picture, face, boxes[:n] + boxes[n + 1 :], self._settings.target_px)
            quality = round(found["size"] * found["sharpness"] * found["pose"] * found["visible"], 4)
            look = _Look(pts, box, (picture.shape[1], picture.shape[0]), quality, found)
            if ordinal is None:
                seen.free.append(look)
            else:
                seen.claimed[ordinal] = look
        return seen

    # --- snapshots

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON values: times, boxes and measures, nothing of a picture."""
        return {
            "tracks": [
                [n, p.first, p.last, p.given, _plain(p.best)] for n, p in sorted(self._tracks.items())
            ],
            "free": [_plain(look) for look in self._free],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._tracks = {
            n: _Passing(first, last, _look(best), given) for n, first, last, given, best in state["tracks"]
        }
        self._free = [_look(look) for look in state["free"]]


def _only(detections: Detections, mask: Any) -> Detections:
    rows = np.flatnonzero(mask)
    labels = tuple(detections.labels[n] for n in rows)
    marks = None if detections.landmarks is None else detections.landmarks[rows]
    return Detections(detections.boxes[rows], detections.scores[rows], labels, marks)


def _owners(boxes: list[Corners], tracks: tuple[Track, ...]) -> dict[int, int]:
    """Index of a detection -> ordinal of the track that it was given to: the greatest overlap first.

    A track's box is its detection's, smoothed, so they overlap well.
    """
    pairs = [
        (-overlap, track.ordinal, n)
        for track in tracks
        if track.seen
        for n, box in enumerate(boxes)
        if (overlap := track.box.iou(Box(*box))) > 0.2
    ]
    owner: dict[int, int] = {}
    taken: set[int] = set()
    for _, ordinal, n in sorted(pairs):
        if n not in owner and ordinal not in taken:
            owner[n] = ordinal
            taken.add(ordinal)
    return owner


def _middle(box: Corners) -> tuple[float, float, float]:
    """x and y of the middle, and the mean side."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0] + box[3] - box[1]) / 2


def _plain(look: _Look) -> list[Any]:
    return [look.pts, list(look.box), list(look.size), look.quality, look.measures]


def _look(plain: list[Any]) -> _Look:
    pts, (x1, y1, x2, y2), (width, height), quality, measures = plain
    return _Look(pts, (x1, y1, x2, y2), (width, height), quality, dict(measures))

"""Real tracks, looped with variation into days, and what is injected into them.

A `Way` is a real object's boxes over time: from ground truth, from the product's detector and tracker, or,
for cars seen from above, which the detectors do not know, from background subtraction and the tracker.
`varied` makes another pass of it; the functions in `KINDS` make something that should not happen out of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from detectors.detections import Detections, Detector
from detectors.tracking import ByteTracker
from events.observations import Observation
from pipeline.evaluate import Seen, detect, only, track
from pipeline.truth import read_truth

Floats = NDArray[np.float64]
LEAST_S = 3.0
"""Shorter tracks are left out."""


@dataclass(frozen=True)
class Way:
    """One object's pass."""

    name: str
    label: str
    times: Floats
    """[n] seconds from its beginning."""
    boxes: Floats
    """[n, 4] x1, y1, x2, y2 in pixels."""

    def at(self, t: float) -> Floats:
        """[4] the box at a time."""
        return np.array([np.interp(t, self.times, self.boxes[:, k]) for k in range(4)])

    @property
    def lasts(self) -> float:
        """Seconds."""
        return float(self.times[-1])

    @property
    def goes(self) -> float:
        """How far its end is from its beginning, in heights of its own."""
        feet = np.stack([self.boxes[:, [0, 2]].mean(1), self.boxes[:, 3]], 1)
        return float(np.hypot(*(feet[-1] - feet[0]))) / self.height

    @property
    def height(self) -> float:
        """Median, pixels."""
        return float(np.median(self.boxes[:, 3] - self.boxes[:, 1]))


# --- where they come from


def labelled(truth: Path, fps: float) -> list[Way]:
    """The identities of a ground truth in MOTChallenge's form."""
    found: dict[int, list[tuple[float, tuple[float, ...]]]] = {}
    for frame, boxes in sorted(read_truth(truth).items()):
        for identity, b in boxes.items():
            found.setdefault(identity, []).append((frame / fps, (b.x1, b.y1, b.x2, b.y2)))
    return _ways("person", found)


def detected(clip: Path, detector: Detector, fps: float = 5.0) -> list[Way]:
    """People as the product's own detector and tracker see them."""
    seen = [only(s, ("person",)) for s in detect(clip, detector, fps=fps)]
    return _ways("person", _tracks(track(seen, ByteTracker())))


def moving(clip: Path, label: str, least_px: int = 2500) -> list[Way]:
    """What differs from the median picture, followed by the tracker."""
    with av.open(str(clip)) as container:
        pictures = [(f.time or 0.0, f.to_ndarray(format="gray")) for f in container.decode(video=0)][::2]
    empty = np.median(np.stack([p for _, p in pictures[::3]]), axis=0).astype(np.uint8)
    seen = []
    for n, (t, picture) in enumerate(pictures):
        difference = cv2.GaussianBlur(cv2.absdiff(picture, empty), (9, 9), 0)
        mask = (difference > 22).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
        stats = cv2.connectedComponentsWithStats(mask)[2][1:].tolist()
        boxes = [(x, y, x + w, y + h) for x, y, w, h, area in stats if area > least_px]
        found = Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.full(len(boxes), 0.9, np.float32),
            (label,) * len(boxes),
        )
        seen.append(Seen(n, round(t * 90_000), (picture.shape[1], picture.shape[0]), found))
    return _ways(label, _tracks(track(seen, ByteTracker())))


def _tracks(observations: Sequence[Observation]) -> dict[int, list[tuple[float, tuple[float, ...]]]]:
    found: dict[int, list[tuple[float, tuple[float, ...]]]] = {}
    for obs in observations:
        for t in obs.tracks:
            if t.seen:
                found.setdefault(t.ordinal, []).append((obs.t, (t.box.x1, t.box.y1, t.box.x2, t.box.y2)))
    return found


def _ways(label: str, found: dict[int, list[tuple[float, tuple[float, ...]]]]) -> list[Way]:
    ways = []
    for identity, rows in found.items():
        times = np.array([t for t, _ in rows])
        if times[-1] - times[0] >= LEAST_S:
            boxes = np.array([box for _, box in rows], float)
            ways.append(Way(f"{label}-{identity}", label, times - times[0], boxes))
    return ways


# --- variation and injection


def placed(way: Way, shift: tuple[float, float], scale: tuple[float, float] = (1.0, 1.0)) -> Way:
    """The same elsewhere in the picture: scaled, then shifted."""
    boxes = way.boxes * [scale[0], scale[1], scale[0], scale[1]] + [*shift, *shift]
    return replace(way, boxes=boxes)


def backwards(way: Way) -> Way:
    """From its end to its beginning."""
    return replace(way, times=way.lasts - way.times[::-1], boxes=way.boxes[::-1])


def varied(way: Way, random: np.random.Generator) -> Way:
    """Another pass: pace by 12 %, place by a seventh of its height, size by 4 %, beginning and end."""
    height = way.height
    size = 1 + random.normal(0, 0.04)
    shift = random.normal(0, height / 7, 2)
    middles = (way.boxes[:, :2] + way.boxes[:, 2:]) / 2
    halves = (way.boxes[:, 2:] - way.boxes[:, :2]) / 2 * size
    boxes = np.hstack([middles - halves, middles + halves]) + np.tile(shift, 2)
    begin, end = random.uniform(0, 0.15) * way.lasts, (1 - random.uniform(0, 0.15)) * way.lasts
    kept = (way.times >= begin) & (way.times <= end)
    times = (way.times[kept] - way.times[kept][0]) / np.exp(random.normal(0, 0.12))
    return replace(way, times=times, boxes=boxes[kept])


def fast(way: Way, _: np.random.Generator) -> Way:
    """Twice as fast."""
    return replace(way, times=way.times / 2)


def reversed_(way: Way, _: np.random.Generator) -> Way:
    """The other way round."""
    return backwards(way)


def wrong_class(way: Way, _: np.random.Generator) -> Way:
    """A car where people walk, a person where cars drive: its box and way stay, only the class differs."""
    return replace(way, label="person" if way.label == "car" else "car")


def stopped(way: Way, random: np.random.Generator, seconds: float = 60.0) -> Way:
    """Stands for a minute somewhere in the middle of its way."""
    at = random.uniform(0.3, 0.7) * way.lasts
    box = way.at(at)
    before, after = way.times < at, way.times >= at
    times = np.concatenate([way.times[before], [at, at + seconds], way.times[after] + seconds])
    return replace(way, times=times, boxes=np.vstack([way.boxes[before], box, box, way.boxes[after]]))


def loitering(way: Way, random: np.random.Generator) -> Way:
    """Goes to and fro by a body's height for two minutes, then on."""
    at = random.uniform(0.3, 0.7) * way.lasts
    box = way.at(at)
    height = box[3] - box[1]
    beats = np.arange(0, 120, 0.5)
    sway = 0.5 * height * np.sin(beats * 2 * np.pi / 8)
    there = box + np.stack([sway, 0 * sway, sway, 0 * sway], axis=1)
    before, after = way.times < at, way.times >= at
    times = np.concatenate([way.times[before], at + beats, way.times[after] + 120])
    return replace(way, times=times, boxes=np.vstack([way.boxes[before], there, way.boxes[after]]))


def as_it_is(way: Way, _: np.random.Generator) -> Way:
    """Only the time of day, or the place, is unusual: the caller sees to that."""
    return way


KINDS: dict[str, Callable[[Way, np.random.Generator], Way]] = {
    "speed doubled": fast,
    "direction reversed": reversed_,
    "wrong class": wrong_class,
    "stopped": stopped,
    "loitering": loitering,
    "hour": as_it_is,
    "place": as_it_is,
}

"""A labelled clip through detector, tracker and line counter: how good is it here?

The scores are those of the literature, by their reference implementation (TrackEval): HOTA (Luiten et al.
2020, arXiv 2009.07736), MOTA of CLEAR MOT (Bernardin, Stiefelhagen 2008), IDF1 (Ristani et al. 2016, arXiv
1609.01775). Tracks count where they were detected; predictions are left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.association import buffered_iou
from detectors.detections import Detections, Detector, Tracker
from detectors.tracking import ByteTracker
from events.counting import CrossingCounter
from events.errors import ConfigError, SourceError
from events.media import ticks
from events.observations import Box, Observation
from events.targets import Targets
from pipeline.truth import DEAD_BAND_PX, Line, Truth, true_crossings, ways_of


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of a clip's tracks, 0 to 1 (MOTA may fall below 0)."""

    hota: float
    mota: float
    idf1: float
    id_switches: int
    false_positives: int
    misses: int
    frames: int
    identities: int
    tracks: int


class LineCount(msgspec.Struct, frozen=True, kw_only=True):
    """One line: what crossed it and what was counted."""

    line: Line
    true_in: int
    true_out: int
    counted_in: int
    counted_out: int

    @property
    def true(self) -> int:
        return self.true_in + self.true_out

    @property
    def off(self) -> int:
        """Crossings counted too many or too few, each direction by itself."""
        return abs(self.counted_in - self.true_in) + abs(self.counted_out - self.true_out)

    @property
    def surplus(self) -> int:
        """Crossings counted too many less too few."""
        return self.counted_in + self.counted_out - self.true


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `evaluate` found."""

    metrics: Metrics
    lines: tuple[LineCount, ...]
    crossing_error: float | None
    """Summed `off` of the lines as a share of the true crossings; None where nothing truly crossed."""
    crossing_surplus: float | None
    """Summed `surplus` likewise: its sign says whether too much or too little was counted."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the detector said about one frame that was analysed."""

    frame: int
    pts: int
    size: tuple[int, int]
    detections: Detections


Progress = Callable[[int, int], None]
"""Called with frames done and frames in all (0: not known)."""


def evaluate(
    clip: Path,
    truth: Truth,
    detector: Detector,
    *,
    fps: float | None = 5.0,
    lines: Sequence[Line] = (),
    labels: Sequence[str] = ("person",),
    progress: Progress | None = None,
) -> Result:
    """Run the clip as the frame loop would and compare with its truth (`pipeline.truth.read_truth`).

    Args:
        fps: analyse about this many frames a second; None: every frame.
        lines: to count at, pixels.
        labels: the classes that the truth is about.

    Raises:
        SourceError: the clip cannot be read.
        ConfigError: TrackEval is not installed.
    """
    seen = [only(s, labels) for s in detect(clip, detector, fps=fps, progress=progress)]
    observations = track(seen, ByteTracker())
    frames = [s.frame for s in seen]
    counted = count(observations, lines)
    ways = ways_of(truth)
    counts = tuple(
        _line_count(line, true_crossings(ways, line), c) for line, c in zip(lines, counted, strict=True)
    )
    return Result(
        metrics=metrics(truth, dict(zip(frames, observations, strict=True))),
        lines=counts,
        crossing_error=share(counts, "off"),
        crossing_surplus=share(counts, "surplus"),
    )


def detect(
    clip: Path, detector: Detector, *, fps: float | None = None, progress: Progress | None = None
) -> Iterator[Seen]:
    """Decode the clip and run the detector on about `fps` frames a second of it.

    Raises:
        SourceError: the clip cannot be read.
    """
    try:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            step = ticks(1 / fps) if fps else 0
            due = 0
            for number, frame in enumerate(container.decode(stream)):
                pts = ticks(frame.time) if frame.time is not None else number
                # half a frame early is in time: 5 of 10 frames/s are every other one, whatever is rounded
                if pts >= due - _half(stream.average_rate):
                    due = max(due + step, pts)
                    yield Seen(number, pts, (frame.width, frame.height), detector.detect(frame))
                if progress:
                    progress(number + 1, stream.frames)
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise SourceError(f"clip {clip}: cannot be read as video ({error})") from error


def only(seen: Seen, labels: Sequence[str]) -> Seen:
    """The same without detections of other classes."""
    kept = [i for i, label in enumerate(seen.detections.labels) if label in labels]
    d = seen.detections
    return replace(
        seen, detections=Detections(d.boxes[kept], d.scores[kept], tuple(d.labels[i] for i in kept))
    )


def track(seen: Iterable[Seen], tracker: Tracker) -> list[Observation]:
    """The tracker's answers, frame by frame."""
    observations = []
    for s in seen:
        tracked = tracker.update(s.pts, s.detections, s.size)
        observations.append(
            Observation(
                pts=s.pts,
                capture_us=s.pts * 100 // 9,
                width=s.size[0],
                height=s.size[1],
                tracks=tracked.tracks,
                ended=tracked.ended,
            )
        )
    return observations


def count(observations: Iterable[Observation], lines: Sequence[Line]) -> list[tuple[int, int]]:
    """In and out of each line as the product counts them, all classes together."""
    targets = Targets()
    counters = [CrossingCounter(a, b, DEAD_BAND_PX) for a, b in lines]
    counted = [[0, 0] for _ in lines]
    for obs in observations:
        there = targets.update(obs)
        for counter, both in zip(counters, counted, strict=True):
            for t in there:
                crossed = counter.update(obs.pts, t.serial, t.label, (t.x, t.y), t.height)
                if crossed:
                    both[0 if crossed.direction == "in" else 1] += 1
            for serial in targets.gone:
                counter.ended(serial)
    return [(i, o) for i, o in counted]


def metrics(truth: Truth, observations: Mapping[int, Observation]) -> Metrics:
    """Scores of the tracks seen in the frames that were analysed (frame number -> observation).

    Raises:
        ConfigError: TrackEval is not installed.
    """
    try:
        with redirect_stdout(StringIO()):  # it prints which of its data sets it cannot read
            from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise ConfigError(
            "scoring tracks needs TrackEval; install it with: pip install --no-deps 'trackeval>=1.3'"
            " (it runs without its dependencies, one of which would replace opencv-python-headless)"
        ) from error
    data = _trackeval_data(truth, observations)
    hota = HOTA().eval_sequence(data)
    clear = CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)
    identity = Identity({"PRINT_CONFIG": False}).eval_sequence(data)
    return Metrics(
        hota=float(np.mean(hota["HOTA"])),
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        id_switches=int(clear["IDSW"]),
        false_positives=int(clear["CLR_FP"]),
        misses=int(clear["CLR_FN"]),
        frames=len(observations),
        identities=data["num_gt_ids"],
        tracks=data["num_tracker_ids"],
    )


def _trackeval_data(truth: Truth, observations: Mapping[int, Observation]) -> dict[str, Any]:
    """The tables that TrackEval's metrics work on: identities numbered from 0, overlaps frame by frame."""
    ids: tuple[dict[int, int], dict[int, int]] = ({}, {})
    rows: tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]] = ([], [])
    overlaps = []
    for frame, obs in observations.items():
        sides = (truth.get(frame, {}), {t.ordinal: t.box for t in obs.tracks if t.seen})
        for numbers, row, side in zip(ids, rows, sides, strict=True):
            row.append(np.array([numbers.setdefault(i, len(numbers)) for i in side], np.intp))
        overlaps.append(buffered_iou(_array(sides[0].values()), _array(sides[1].values())))
    return {
        "gt_ids": rows[0],
        "tracker_ids": rows[1],
        "similarity_scores": overlaps,
        "num_gt_dets": sum(map(len, rows[0])),
        "num_tracker_dets": sum(map(len, rows[1])),
        "num_gt_ids": len(ids[0]),
        "num_tracker_ids": len(ids[1]),
        "num_timesteps": len(observations),
    }


def share(counts: Iterable[LineCount], what: str) -> float | None:
    """A summed property of the lines as a share of what truly crossed them; None if nothing did."""
    counts = list(counts)
    true = sum(c.true for c in counts)
    return sum(getattr(c, what) for c in counts) / true if true else None


def _line_count(line: Line, true: tuple[int, int], counted: tuple[int, int]) -> LineCount:
    return LineCount(
        line=line, true_in=true[0], true_out=true[1], counted_in=counted[0], counted_out=counted[1]
    )


def _array(boxes: Iterable[Box]) -> NDArray[np.float64]:
    return np.array([(b.x1, b.y1, b.x2, b.y2) for b in boxes], np.float64).reshape(-1, 4)


def _half(rate: Any) -> int:
    """Half a frame's time in ticks."""
    return ticks(0.5 / float(rate)) if rate else 0

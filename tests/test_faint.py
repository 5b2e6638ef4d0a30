"""Who is detected without being tracked: in the trace, so that pictures and clips can hide them."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from detectors.association import uncovered
from detectors.detections import NOTHING, Crop, Detections
from events.events import Interval
from events.observations import Box, Track
from pipeline.policy import Unlimited
from storage import trace
from tests.clipmaker import packets_of
from tests.loopmaker import Kept, Sees, cut, draw, make_lane, run_whole, visits

WHERE = visits((15, 45))


class Unsure(Sees):
    """Sees the box with so little confidence that no track begins."""

    def detect(self, frame: av.VideoFrame, crops: Sequence[Crop] = ()) -> Detections:
        sure = super().detect(frame, crops)
        return Detections(sure.boxes, sure.scores * np.float32(0.5), sure.labels)


def looked(clip: Path, detector: Sees) -> Kept:
    info, packets = packets_of(clip)
    lane, kept = make_lane(Unlimited())
    run_whole(lane, detector, info, cut(info, packets, ()))
    return kept


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("faint") / "clip.mp4", 6, WHERE)


def frames(kept: Kept) -> list[trace.Frame]:
    return [line for line in kept.lines if isinstance(line, trace.Frame)]


def test_what_begins_no_track_is_in_the_trace(clip: Path) -> None:
    kept = looked(clip, Unsure(WHERE))
    found = [frame.faint for frame in frames(kept) if frame.faint]
    assert len(found) >= 10
    assert not any(frame.tracks for frame in frames(kept))
    counts = [event.data.counts for event in kept.got if isinstance(event.data, Interval)]
    assert {n for count in counts for n in count.values()} == {0}  # no rule hears of it
    label, x1, y1, x2, y2 = found[0][0]
    assert (label, y1, y2, round(x2 - x1)) == ("person", 60, 150, 40)


def test_what_is_tracked_is_not_told_twice(clip: Path) -> None:
    """Only the first detection, of which nobody knows yet whether it is a track."""
    kept = looked(clip, Sees(WHERE))
    assert sum(bool(frame.faint) for frame in frames(kept)) == 1
    assert sum(bool(frame.tracks) for frame in frames(kept)) >= 10


def found(*boxes: tuple[float, float, float, float], label: str = "person") -> Detections:
    return Detections(
        np.array(boxes, np.float32), np.full(len(boxes), 0.9, np.float32), (label,) * len(boxes)
    )


def test_a_detection_is_covered_by_a_track_of_its_class_with_half_of_it_in_common() -> None:
    person = Track(1, "person", 0.9, Box(0, 0, 10, 40), True)
    car = Track(2, "car", 0.9, Box(50, 0, 90, 40), True)
    seen = found((0, 0, 10, 40), (4, 0, 14, 40), (50, 0, 90, 40), (3, 0, 13, 40))
    assert uncovered(seen, (person, car)) == [1, 2]  # overlaps of 0.43 and 0.54; a car covers no person
    assert uncovered(seen, ()) == [0, 1, 2, 3]
    assert uncovered(NOTHING, (person,)) == []
    assert uncovered(found((0, 0, 10, 40)), (person,)) == []

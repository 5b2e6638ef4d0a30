"""Tracks of faces: small boxes that jump further than they are wide stay one face each."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.detections import NOTHING, Detections, Tracked
from detectors.face_tracking import FACE_SCORES, FaceTracker
from detectors.tracking import ByteTracker
from events.media import ticks

SIZE = (1280, 720)


def faces(*places: tuple[float, float], w: float = 30, score: float = 0.8) -> Detections:
    boxes = np.array([(x - w / 2, y - 0.65 * w, x + w / 2, y + 0.65 * w) for x, y in places], np.float32)
    return Detections(boxes.reshape(-1, 4), np.full(len(places), score, np.float32), ("face",) * len(places))


def seen(tracked: Tracked) -> dict[int, tuple[float, float]]:
    return {t.ordinal: t.box.centre for t in tracked.tracks if t.seen}


def test_a_small_face_that_moves_fast_is_one_track() -> None:
    """40 px a look with boxes 30 px wide: the tracker of people never gets hold of it."""
    people, tracker = ByteTracker(scores=FACE_SCORES), FaceTracker()
    for n in range(6):
        found = faces((200 + 40 * n, 300))
        assert seen(people.update(ticks(n / 5), found, SIZE)) == {}
        tracked = tracker.update(ticks(n / 5), found, SIZE)
        assert set(seen(tracked)) == ({1} if n else set())
        for track in tracked.tracks:
            x1, y1, x2, y2 = found.boxes[0].tolist()
            box = track.box
            assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((x1, y1, x2, y2), abs=6)
    assert tracker.active
    ended = [tracker.update(ticks(1 + n / 5), NOTHING, SIZE).ended for n in range(1, 15)]
    assert (1,) in ended
    assert not tracker.active


@settings(max_examples=40, deadline=None)
@given(st.floats(60, 300), st.floats(-45, 45), st.floats(-20, 20))
def test_faces_side_by_side_stay_apart(apart: float, dx: float, dy: float) -> None:
    """Two that walk alike, two face widths and more between them."""
    tracker, first = FaceTracker(), {}
    for n in range(8):
        x, y = 600 + dx * n, 360 + dy * n
        where = seen(tracker.update(ticks(n / 5), faces((x, y), (x + apart, y)), SIZE))
        first = first or where
        for ordinal, (at, _) in where.items():
            left = first[ordinal][0] == min(place[0] for place in first.values())
            assert abs(at - (x if left else x + apart)) < 25
        assert len(where) == (2 if n else 0)


def test_a_snapshot_continues_and_a_reset_begins_again() -> None:
    plain, resumed = FaceTracker(), FaceTracker()
    for n in range(10):
        found = faces((200 + 35 * n, 300), (900 - 30 * n, 320))
        assert plain.update(ticks(n / 5), found, SIZE) == resumed.update(ticks(n / 5), found, SIZE)
        state = json.loads(json.dumps(resumed.snapshot()))
        resumed = FaceTracker()
        resumed.restore(state)
    assert plain.reset() == (1, 2)
    assert plain.reset() == ()
    with pytest.raises(ValueError, match="media time went back"):
        resumed.update(0, NOTHING, SIZE)

"""The tracker: identities that last, whatever the rhythm of the frames; the same again from a snapshot."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.association import Closeness, buffered_iou
from detectors.detections import NOTHING, Detections, Tracked, Tracker
from detectors.kalman import BoxFilter
from detectors.tracking import ByteTracker, Scores
from events.media import TICKS, ticks

SIZE = (640, 480)
REFERENCE = Path(__file__).with_name("bytetrack_reference.json")

Row = tuple[float, float, float, float, float]
"""Centre x, centre y, height, score, and 1.0 for a person, 0.0 for a car."""


def found(*rows: Row) -> Detections:
    """Detections of upright boxes, 0.4 as wide as tall."""
    boxes = [(x - 0.2 * h, y - h / 2, x + 0.2 * h, y + h / 2) for x, y, h, _, _ in rows]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([r[3] for r in rows], np.float32),
        tuple("person" if r[4] else "car" for r in rows),
    )


def person(x: float, y: float = 200, h: float = 100, score: float = 0.9) -> Row:
    return (x, y, h, score, 1.0)


def feed(tracker: Tracker, *frames: Detections, fps: float = 5, start: int = 0) -> list[Tracked]:
    return [tracker.update(ticks((start + n) / fps), d, SIZE) for n, d in enumerate(frames)]


def ordinals(tracked: Tracked) -> list[int]:
    return [t.ordinal for t in tracked.tracks if t.seen]


# --- a track's life ---------------------------------------------------------------------------------------


def test_a_track_is_confirmed_at_its_second_detection_and_keeps_its_ordinal() -> None:
    answers = feed(ByteTracker(), *(found(person(100 + 12 * n)) for n in range(10)))
    assert [ordinals(a) for a in answers] == [[], *[[1]] * 9]
    assert answers[5].tracks[0].label == "person"
    assert answers[5].tracks[0].score == pytest.approx(0.9)


def test_a_single_detection_is_no_track() -> None:
    tracker = ByteTracker()
    answers = feed(tracker, found(person(100)), NOTHING, NOTHING)
    assert [a.tracks for a in answers] == [(), (), ()]
    assert [a.ended for a in answers] == [(), (), ()]
    assert not tracker.active


def test_ordinals_count_from_1_in_order_of_confirmation_and_are_not_reused() -> None:
    tracker = ByteTracker(lost_s=0.5, shown_s=0.1)
    a, b, c = person(100), person(400), person(250)
    feed(tracker, found(a, b), found(a, b))
    answers = feed(tracker, found(b), found(b), found(b), found(b), found(b, c), found(b, c), start=2)
    assert [x for answer in answers for x in answer.ended] == [1]
    assert ordinals(answers[-1]) == [2, 3]


def test_reset_gives_up_all_and_starts_from_1() -> None:
    tracker = ByteTracker()
    feed(tracker, found(person(100), person(400)), found(person(100), person(400)))
    assert tracker.reset() == (1, 2)
    assert not tracker.active
    assert ordinals(feed(tracker, found(person(300)), found(person(300)))[-1]) == [1]


def test_a_missed_track_is_predicted_for_a_short_time_then_only_remembered_then_ended() -> None:
    tracker = ByteTracker(shown_s=0.4, lost_s=2.0)
    feed(tracker, *(found(person(100 + 20 * n)) for n in range(6)))
    answers = feed(tracker, *[NOTHING] * 12, start=6)
    shown = [a.tracks for a in answers]
    assert [len(s) for s in shown] == [1, 1, *[0] * 10]
    assert not shown[0][0].seen
    assert shown[0][0].score == 0
    assert shown[1][0].box.centre[0] == pytest.approx(240, abs=8)  # goes on at 100 px/s
    assert [a.ended for a in answers] == [*[()] * 10, (1,), ()]  # seen last at 1.0 s, over 2 s ago at 3.2 s
    assert not tracker.active


def test_a_walker_who_was_hidden_for_two_seconds_is_found_again() -> None:
    ways = [found(person(100 + 16 * n)) if not 8 <= n < 18 else NOTHING for n in range(28)]
    assert ordinals(feed(ByteTracker(), *ways)[-1]) == [1]


def test_somebody_who_stopped_behind_something_is_found_where_last_seen() -> None:
    walked = [found(person(100 + 16 * n)) for n in range(8)]
    answers = feed(ByteTracker(), *walked, *[NOTHING] * 9, found(person(212)), found(person(212)))
    assert ordinals(answers[-1]) == [1]


def test_a_track_that_leaves_the_picture_ends_at_once() -> None:
    tracker = ByteTracker()
    feed(tracker, *(found(person(540 + 20 * n)) for n in range(5)))
    answers = feed(tracker, *[NOTHING] * 6, start=5)
    assert (1,) in [a.ended for a in answers]
    assert not tracker.active


def test_after_a_gap_longer_than_lost_s_nobody_is_taken_for_somebody_else() -> None:
    tracker = ByteTracker(lost_s=2)
    feed(tracker, found(person(100)), found(person(100)))
    answer = tracker.update(ticks(60), found(person(100)), SIZE)
    assert answer.ended == (1,)
    assert answer.tracks == ()


def test_media_time_may_stand_still_but_not_go_back() -> None:
    tracker = ByteTracker()
    tracker.update(TICKS, found(person(100)), SIZE)
    assert ordinals(tracker.update(TICKS, found(person(101)), SIZE)) == [1]
    with pytest.raises(ValueError, match="went back"):
        tracker.update(TICKS - 1, NOTHING, SIZE)


# --- confidence and classes -------------------------------------------------------------------------------


def test_faint_detections_continue_a_track_but_begin_none() -> None:
    tracker = ByteTracker()
    assert not any(a.tracks for a in feed(tracker, *[found(person(100, score=0.5))] * 5))
    feed(tracker, found(person(100)), found(person(100)), start=5)
    answers = feed(tracker, *(found(person(100 + 6 * n, score=0.4)) for n in range(8)), start=7)
    assert [ordinals(a) for a in answers] == [[1]] * 8


def test_what_is_always_faint_loses_its_track_after_faint_s() -> None:
    tracker = ByteTracker(faint_s=2)
    answers = feed(tracker, *[found(person(100))] * 2, *[found(person(100, score=0.5))] * 20)
    assert [x for a in answers for x in a.ended] == [1]
    assert answers[-1].tracks == ()


def test_noise_below_low_is_ignored() -> None:
    tracker = ByteTracker(scores=Scores(low=0.3))
    feed(tracker, found(person(100)), found(person(100)))
    answer = feed(tracker, found(person(100, score=0.29)), start=2)[0]
    assert ordinals(answer) == []


def test_a_person_does_not_go_on_as_a_car() -> None:
    tracker = ByteTracker()
    car = (100.0, 200.0, 100.0, 0.9, 0.0)
    answers = feed(tracker, found(person(100)), found(person(100)), found(car), found(car))
    assert [[(t.ordinal, t.label) for t in a.tracks if t.seen] for a in answers[1:]] == [
        [(1, "person")],
        [],
        [(2, "car")],
    ]


def test_kinds_of_vehicle_are_one_and_the_most_confident_name_wins() -> None:
    tracker = ByteTracker()
    box = np.array([[100, 100, 200, 160]], np.float32)
    names = ["car", "car", "truck", "car", "bus"]
    answers = [
        tracker.update(ticks(n / 5), Detections(box, np.array([0.8], np.float32), (name,)), SIZE)
        for n, name in enumerate(names)
    ]
    assert [(t.ordinal, t.label) for t in answers[-1].tracks] == [(1, "car")]


@pytest.mark.parametrize(
    "bad", [{"low": -0.1}, {"low": 0.7}, {"new": 0.5}, {"high": 0.9}, {"new": 1.1}], ids=str
)
def test_thresholds_out_of_order_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="low <= high <= new"):
        Scores(**bad)


@pytest.mark.parametrize("bad", [{"min_hits": 0}, {"shown_s": 9.0}, {"faint_s": -1.0}], ids=str)
def test_times_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="min_hits"):
        ByteTracker(**bad)  # type: ignore[arg-type]


# --- identities over a scene ------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [5, 10, 25])
def test_two_who_pass_each_other_keep_their_identities(fps: int) -> None:
    """They meet at x = 350 on ways 60 px apart in depth; no swap at any rate."""
    tracker = ByteTracker()
    for n in range(5 * fps):
        t = n / fps
        tracked = tracker.update(
            ticks(t), found(person(100 + 60 * t, 200), person(400 - 60 * t, 260, h=120)), SIZE
        )
        if n > 1:
            assert [round(k.box.centre[0]) for k in tracked.tracks] == pytest.approx(
                [100 + 60 * t, 400 - 60 * t], abs=6
            )
    assert ordinals(tracked) == [1, 2]


@settings(max_examples=40, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([0.04, 0.1, 0.2, 0.3, 0.4]), min_size=15, max_size=40),
    speed=st.floats(-90, 90),
    noise=st.floats(0, 2),
    seed=st.integers(0, 1000),
)
def test_one_walker_is_one_track_at_any_rhythm_of_frames(
    gaps: list[float], speed: float, noise: float, seed: int
) -> None:
    """A walker of 100 px makes up to 90 px/s; frames come 40 to 400 ms apart, boxes jitter by 2 px."""
    tracker, random, t = ByteTracker(), np.random.default_rng(seed), 0.0
    seen = set()
    for gap in gaps:
        t += gap
        x = 2000 + speed * t + random.normal(0, noise)
        tracked = tracker.update(ticks(t), found(person(x)), (4000, 480))
        seen |= set(ordinals(tracked))
    assert seen == {1}
    assert tracked.tracks[0].box.centre[0] == pytest.approx(2000 + speed * t, abs=8)


rows = st.tuples(
    st.floats(0, 640, width=32),
    st.floats(0, 480, width=32),
    st.floats(4, 200, width=32),
    st.floats(0, 1, width=32),
    st.sampled_from([0.0, 1.0]),
)
scenes = st.lists(st.tuples(st.integers(0, TICKS), st.lists(rows, max_size=5)), min_size=1, max_size=14)


@settings(max_examples=60, deadline=None)
@given(scenes, st.integers(0, 13))
def test_a_restored_tracker_continues_bit_for_bit(scene: list[tuple[int, list[Row]]], cut: int) -> None:
    """Even of detections that make no sense; the snapshot goes through JSON as it does on disk."""
    whole, resumed = ByteTracker(), ByteTracker()
    pts = 0
    for n, (gap, given_rows) in enumerate(scene):
        if n == cut % len(scene):
            resumed.restore(json.loads(json.dumps(whole.snapshot())))
        pts += gap
        answer = whole.update(pts, found(*given_rows), SIZE)
        if n >= cut % len(scene):
            assert resumed.update(pts, found(*given_rows), SIZE) == answer
    assert resumed.snapshot() == whole.snapshot()


@settings(max_examples=60, deadline=None)
@given(scenes)
def test_ordinals_are_unique_and_nothing_lives_after_its_end(scene: list[tuple[int, list[Row]]]) -> None:
    tracker, pts = ByteTracker(), 0
    ended: set[int] = set()
    highest = 0
    for gap, given_rows in scene:
        pts += gap
        answer = tracker.update(pts, found(*given_rows), SIZE)
        now = [t.ordinal for t in answer.tracks]
        assert len(set(now)) == len(now)
        new = sorted(o for o in now if o > highest)
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)
        ended |= set(answer.ended)
        assert not ended & set(now)
    rest = set(tracker.reset())
    assert ended | rest == set(range(1, highest + 1))
    assert not ended & rest


def test_the_plain_case_gives_the_identities_of_the_reference() -> None:
    """Six walkers at 10 frames/s, hidden by each other now and then; recorded from roboflow's ByteTrack
    (`trackers` 2.6.1, a lost track kept for 3 s as ours) by tests/record_bytetrack_reference.py."""
    recorded = json.loads(REFERENCE.read_text())
    tracker = ByteTracker()
    pairs = set()
    both = 0
    for frame in recorded["frames"]:
        boxes = np.array([d[:4] for d in frame["detections"]], np.float32).reshape(-1, 4)
        scores = np.array([d[4] for d in frame["detections"]], np.float32)
        tracked = tracker.update(
            frame["pts"], Detections(boxes, scores, ("person",) * len(scores)), (768, 576)
        )
        ours = {t.ordinal: (t.box.x1, t.box.y1, t.box.x2, t.box.y2) for t in tracked.tracks if t.seen}
        theirs = {int(i): box for i, *box in frame["tracks"]}
        if not ours or not theirs:
            continue
        overlap = buffered_iou(np.array(list(ours.values())), np.array(list(theirs.values())))
        for row, ordinal in enumerate(ours):
            if overlap[row].max() > 0.7:
                pairs.add((ordinal, list(theirs)[int(overlap[row].argmax())]))
                both += 1
    assert both > 600
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == recorded["identities"]


# --- the parts --------------------------------------------------------------------------------------------


def dense(z: list[NDArray[np.float64]], dts: list[float]) -> NDArray[np.float64]:
    """The same filter the long way: eight states, matrices, Joseph form."""
    h2 = [max(z[0][3] - z[0][1], 1.0) ** 2]
    x = np.concatenate([z[0], np.zeros(4)])
    p = np.diag([4 / 400 * h2[0]] * 4 + [1.875**2 * h2[0]] * 4)
    one = np.eye(4)
    for measured, dt in zip(z[1:], dts, strict=True):
        f = np.block([[one, dt * one], [0 * one, one]])
        q = 0.5 * max(x[3] - x[1], 1.0) ** 2
        noise = q * np.block([[dt**3 / 3 * one, dt**2 / 2 * one], [dt**2 / 2 * one, dt * one]])
        x, p = f @ x, f @ p @ f.T + noise
        r = max(x[3] - x[1], 1.0) ** 2 / 400 * one
        observe = np.hstack([one, 0 * one])
        gain = p @ observe.T @ np.linalg.inv(observe @ p @ observe.T + r)
        x = x + gain @ (measured - observe @ x)
        rest = np.eye(8) - gain @ observe
        p = rest @ p @ rest.T + gain @ r @ gain.T
    return np.concatenate([x, [p[0, 0], p[0, 4], p[4, 4]]])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.02, 1.0), min_size=1, max_size=20), st.floats(-50, 50), st.integers(0, 100))
def test_the_filter_in_plain_floats_is_the_matrix_filter(dts: list[float], speed: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    times = np.concatenate([[0], np.cumsum(dts)])
    z = [np.array([100, 100, 140, 200]) + speed * t + random.normal(0, 2, 4) for t in times]
    box = BoxFilter(z[0].tolist())
    for measured, dt in zip(z[1:], dts, strict=True):
        box.predict(dt)
        box.update(measured.tolist())
    assert box.snapshot() == pytest.approx(dense(z, dts).tolist(), rel=1e-6, abs=1e-6)


def test_a_faint_detection_moves_the_filter_less() -> None:
    moved = []
    for score in (0.3, 0.8, 1.0):
        box = BoxFilter((100, 100, 140, 200))
        box.predict(0.1)
        box.update((110, 100, 150, 200), score)
        moved.append(box.edges[0] - 100)
    assert 0 < moved[0] < moved[1] < moved[2] <= 10


def test_a_predicted_box_never_turns_inside_out() -> None:
    box = BoxFilter((100, 100, 140, 200))
    for n in range(1, 6):
        box.predict(0.2)
        box.update((100 + 3 * n, 100 + 9 * n, 140 - 3 * n, 200 - 9 * n))
    for _ in range(20):
        box.predict(0.2)
        x1, y1, x2, y2 = box.edges
        assert x1 <= x2
        assert y1 <= y2


def test_overlap_of_widened_boxes() -> None:
    a = np.array([[0.0, 0, 10, 10], [0, 0, 10, 20]])
    b = np.array([[0.0, 0, 10, 10], [10, 0, 20, 10], [100, 100, 110, 110]])
    assert buffered_iou(a, b).tolist() == [[1, 0, 0], [0.5, 0, 0]]
    assert buffered_iou(a, b, 0.5)[0].tolist() == pytest.approx([1, 1 / 3, 0])


def test_the_assignment_maximises_the_sum_not_the_single_overlap() -> None:
    """The first box overlaps the first detection most, but then the second would get nothing."""
    a = np.array([[0.0, 0, 10, 10], [4, 0, 14, 10]])
    b = np.array([[2.0, 0, 12, 10], [-4, 0, 6, 10]])
    names = ("person", "person")
    assert Closeness(0.0, 0.1).pairs(a, names, b, names) == [(0, 1), (1, 0)]
    assert Closeness(0.0, 0.9).pairs(a, names, b, names) == []
    assert Closeness(0.0, 0.1).pairs(a, names, b[:0], ()) == []

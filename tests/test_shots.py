"""Best shots: what is measured of a face, which picture of a track is chosen, and once only."""

import json
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.detections import NOTHING, Detections, Tracked
from detectors.face_measures import Face, contrasts, measure
from detectors.face_tracking import FaceTracker
from detectors.shots import BestShots, CaptureArea, ShotSettings
from events.media import ticks
from events.observations import Box, Shot, Track

SIZE = (640, 480)
MARKS = np.array([[0.28, 0.42], [0.72, 0.42], [0.5, 0.61], [0.34, 0.77], [0.66, 0.77]], np.float32)
EMPTY = Tracked((), ())
Luma = NDArray[np.uint8]
Corners = tuple[float, float, float, float]


def drawn(
    x: float = 320, y: float = 240, w: float = 100, *, blur: float = 0.0, contrast: float = 1.0
) -> Luma:
    """A picture with one face-like thing of width w, its middle at x, y."""
    random = np.random.default_rng(1)
    face = np.full((260, 200), 150, np.uint8)
    face += random.integers(0, 12, face.shape, np.uint8)
    for side in (56, 144):
        cv2.ellipse(face, (side, 109), (20, 9), 0, 0, 360, 60, -1)
        cv2.circle(face, (side, 109), 7, 25, -1)
        cv2.rectangle(face, (side - 24, 83), (side + 24, 91), 70, -1)
    cv2.line(face, (100, 110), (100, 160), 120, 6)
    cv2.ellipse(face, (100, 200), (34, 10), 0, 0, 360, 90, -1)
    face = (150 + (face.astype(float) - 150) * contrast).astype(np.uint8)
    small = cv2.resize(face, (round(w), round(1.3 * w)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), np.hypot(blur, 0.01) * w)  # no lens draws a sharper line
    picture = np.full((SIZE[1], SIZE[0]), 190, np.uint8)
    top, left = round(y - 0.65 * w), round(x - w / 2)
    y1, x1 = max(top, 0), max(left, 0)
    part = small[y1 - top : SIZE[1] - top, x1 - left : SIZE[0] - left]
    picture[y1 : y1 + part.shape[0], x1 : x1 + part.shape[1]] = part
    return picture


def box_of(x: float = 320, y: float = 240, w: float = 100) -> Corners:
    return x - w / 2, y - 0.65 * w, x + w / 2, y + 0.65 * w


def face_of(
    box: Corners, score: float = 0.9, *, aside: float = 0.0, tilt: float = 0.0, marks: bool = True
) -> Face:
    """`aside`: how far the nose is off the middle, in eye distances; `tilt` in degrees."""
    if not marks:
        return Face(box, score, None)
    size = np.array([box[2] - box[0], box[3] - box[1]])
    parts = MARKS.astype(float)
    parts[2, 0] += 0.44 * aside
    points = np.array(box[:2]) + parts * size
    middle, turn = points.mean(axis=0), np.radians(tilt)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return Face(box, score, ((points - middle) @ spin + middle).astype(np.float32))


def found(*faces: Face) -> Detections:
    return Detections(
        np.array([f.box for f in faces], np.float32).reshape(-1, 4),
        np.array([f.score for f in faces], np.float32),
        ("face",) * len(faces),
        np.array([f.landmarks for f in faces], np.float32).reshape(-1, 5, 2),
    )


def measured(picture: Luma, face: Face, others: tuple[Corners, ...] = ()) -> dict[str, float]:
    return measure(picture, face, others, 60.0)


# --- measures


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 0.09), st.floats(0.012, 0.05), st.floats(50, 200))
def test_the_more_blurred_the_less_sharp(blur: float, more: float, w: float) -> None:
    face = face_of(box_of(w=w))
    sharper, softer = (measured(drawn(w=w, blur=b), face)["sharpness"] for b in (blur, blur + more))
    assert softer < sharper or sharper == 0


def test_a_smear_along_one_direction_is_not_sharp() -> None:
    picture, face = drawn(), face_of(box_of())
    for kernel in (np.ones((1, 15)), np.ones((15, 1))):
        smeared = cv2.filter2D(picture, -1, kernel / kernel.sum()).astype(np.uint8)
        assert measured(smeared, face)["sharpness"] < 0.8 * measured(picture, face)["sharpness"]


def test_noise_and_contrast_do_not_make_a_face_sharp() -> None:
    face, random = face_of(box_of()), np.random.default_rng(2)
    sharp, blurred = measured(drawn(), face), measured(drawn(blur=0.04), face)
    assert sharp["sharpness"] > 2 * blurred["sharpness"] > 0
    for sigma in (3, 8):
        noise = random.normal(0, sigma, (SIZE[1], SIZE[0]))
        noisy = measured(np.clip(drawn(blur=0.04) + noise, 0, 255).astype(np.uint8), face)
        assert noisy["sharpness"] < blurred["sharpness"] + 0.12
        noisy = measured(np.clip(drawn() + noise, 0, 255).astype(np.uint8), face)
        assert noisy["sharpness"] == pytest.approx(sharp["sharpness"], abs=0.12)
    flat = measured(drawn(contrast=0.6), face)
    assert flat["sharpness"] == pytest.approx(sharp["sharpness"], rel=0.12)
    assert measured(np.full((SIZE[1], SIZE[0]), 128, np.uint8), face)["sharpness"] == 0
    assert contrasts(np.zeros((5, 5), np.uint8)) == 0


@given(st.floats(10, 400))
def test_size_grows_up_to_the_target(w: float) -> None:
    size = measured(drawn(w=100), face_of(box_of(w=w)))["size"]
    assert size == pytest.approx(min(1.0, 0.4 * w * 1.3**0.5 / 60), abs=1e-3)


def test_a_head_that_turns_does_not_get_smaller() -> None:
    picture = drawn()
    assert (
        measured(picture, face_of(box_of(), aside=0.4))["size"]
        == measured(picture, face_of(box_of()))["size"]
    )


@settings(max_examples=40)
@given(st.floats(0.0, 1.5), st.floats(0.02, 0.5))
def test_pose_falls_as_the_nose_goes_aside(aside: float, more: float) -> None:
    poses = [measured(drawn(), face_of(box_of(), aside=a))["pose"] for a in (aside, aside + more, -aside)]
    assert poses[1] <= poses[0]
    assert poses[2] == pytest.approx(poses[0], abs=2e-3)
    assert (poses[0] == 1) == (aside <= 0.1) or abs(aside - 0.1) < 0.01


def test_pose_of_known_faces() -> None:
    def pose(face: Face) -> float:
        return measured(drawn(), face)["pose"]

    assert pose(face_of(box_of())) == 1
    assert pose(face_of(box_of(), aside=0.9)) == 0
    assert pose(face_of(box_of(), tilt=12)) == 1
    assert 0 < pose(face_of(box_of(), tilt=45)) < 0.6
    assert pose(face_of(box_of(), tilt=80)) == 0
    assert pose(face_of(box_of(), tilt=180)) == 0
    assert pose(face_of(box_of(), marks=False)) == 1
    near = face_of(box_of())
    assert near.landmarks is not None
    near.landmarks[:2, 0] = (318, 322)  # a profile: both eyes at one place
    assert pose(near) == 0
    up = face_of(box_of())
    assert up.landmarks is not None
    up.landmarks[2, 1] = up.landmarks[0, 1]
    assert pose(up) < 0.1


def test_what_hides_a_face_makes_it_less_visible() -> None:
    whole = measured(drawn(), face_of(box_of()))["visible"]
    assert whole == 1
    assert measured(drawn(x=40), face_of((0.0, 175, 90, 305)))["visible"] <= 0.3
    covering = (box_of(x=360),)
    assert measured(drawn(), face_of(box_of()), covering)["visible"] == pytest.approx(0.4, abs=0.02)
    assert measured(drawn(), face_of(box_of()), (box_of(x=500),))["visible"] == 1
    half = drawn()
    half[:, 320:] = 60
    assert measured(half, face_of(box_of()))["visible"] < 0.75
    assert measured(half, face_of(box_of(), marks=False))["visible"] < 0.75
    assert measured(drawn(), face_of(box_of(), score=0.5))["visible"] < 0.6
    assert measured((drawn() // 12).astype(np.uint8), face_of(box_of()))["visible"] < 0.1
    glare = drawn()
    glare[160:300] = np.maximum(glare[160:300], 252)
    assert measured(glare, face_of(box_of()))["visible"] < 0.1


def test_only_the_face_counts_wherever_it_lies_in_memory() -> None:
    picture, face = drawn(), face_of(box_of())
    first = measured(picture, face)
    assert all(round(value, 4) == value for value in first.values())
    changed = picture.copy()
    changed[:100], changed[:, :200] = 7, 7
    assert measured(changed, face) == first
    wide = np.zeros((SIZE[1], SIZE[0] + 64), np.uint8)
    wide[:, : SIZE[0]] = picture
    assert measured(wide[:, : SIZE[0]], face) == first


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(-50, 700)] * 4), st.booleans())
def test_no_box_is_too_strange(corners: Corners, marks: bool) -> None:
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    got = measured(drawn(), face_of((x1, y1, x2, y2), marks=marks))
    assert all(0 <= got[name] <= 1 for name in ("size", "sharpness", "pose", "visible"))


# --- shots


class Passing:
    """A tracker and shots over looks five a second."""

    def __init__(self, **settings: float) -> None:
        self.tracker, self.shots = FaceTracker(), BestShots(ShotSettings(**settings))
        self.shots.begin()
        self.given: list[Shot] = []

    def look(self, n: int, picture: Luma, *faces: Face) -> list[Shot]:
        detections = found(*faces) if faces else NOTHING
        tracked = self.tracker.update(ticks(n / 5), detections, SIZE)
        given = self.shots.see(ticks(n / 5), picture, detections, tracked)
        self.given += given
        return given


def passed(blurs: list[float], step: int = 15, **settings: float) -> Passing:
    """One face goes through the picture, blurred as told, and is gone."""
    passing = Passing(**settings)
    for n, blur in enumerate(blurs):
        x = 150 + step * n
        passing.look(n, drawn(x, blur=blur), face_of(box_of(x)))
    for n in range(len(blurs), len(blurs) + 20):
        passing.look(n, drawn(-500))
    return passing


@pytest.mark.parametrize("step", [0, 15, 70])
@pytest.mark.parametrize("best", [0, 1, 3, 5])
def test_a_track_gives_its_best_picture_when_it_ends(best: int, step: int) -> None:
    """Also the very first, when the tracker did not know yet that it was one."""
    blurs = [0.05] * 6
    blurs[best] = 0.0
    (shot,) = passed(blurs, step).given
    assert (shot.track, shot.first_pts, shot.last_pts) == (1, 0, ticks(5 / 5))
    assert shot.pts == ticks(best / 5)
    assert shot.box == Box(*box_of(150 + step * best))
    assert shot.size == SIZE
    assert shot.measures["width_px"] == 100
    parts = [shot.measures[name] for name in ("size", "sharpness", "pose", "visible")]
    assert shot.quality == pytest.approx(np.prod(parts), abs=1e-3)


def test_a_long_track_gives_its_shot_while_it_lasts_and_no_second_one() -> None:
    passing = Passing(hold_s=2.0)
    for n in range(30):
        blur = 0.04 if n < 20 else 0.0  # far better later: it does not matter any more
        given = passing.look(n, drawn(blur=0.02 if n == 4 else blur), face_of(box_of()))
        assert bool(given) == (n == 10)
    assert [shot.pts for shot in passing.given] == [ticks(4 / 5)]
    assert passing.shots.end() == []
    assert len(passing.given) == 1


def test_a_poor_track_gives_nothing_and_a_late_good_one_does() -> None:
    assert passed([0.1] * 6, least_quality=0.2).given == []
    passing = Passing(hold_s=1.0, least_quality=0.2)
    for n in range(12):
        given = passing.look(n, drawn(blur=0.1 if n < 8 else 0.0), face_of(box_of()))
        assert bool(given) == (n == 8)


def test_the_end_of_an_epoch_gives_what_there_is() -> None:
    passing = Passing()
    for n in range(4):
        assert passing.look(n, drawn(), face_of(box_of())) == []
    (shot,) = passing.shots.end()
    assert shot.track == 1
    assert passing.shots.end() == []
    assert passing.shots.snapshot() == {"tracks": [], "free": []}
    passing.tracker.reset()
    assert passing.look(5, drawn(), face_of(box_of())) == []
    assert passing.look(6, drawn(), face_of(box_of())) == []
    passing.shots.begin()
    assert passing.shots.end() == []


def test_faces_side_by_side_keep_their_own_pictures() -> None:
    passing = Passing()
    for n in range(6):
        left, right = drawn(200, blur=0 if n == 2 else 0.05), drawn(420, blur=0 if n == 4 else 0.05)
        picture = np.hstack([left[:, :310], right[:, 310:]])
        faces = [face_of(box_of(200)), face_of(box_of(420))]
        passing.look(n, picture, *(faces if n % 2 else faces[::-1]))
    first, second = passing.shots.end()
    got = {round(shot.box.centre[0]): shot.pts for shot in (first, second)}
    assert got == {200: ticks(2 / 5), 420: ticks(4 / 5)}


def test_a_track_that_is_not_seen_is_not_measured() -> None:
    shots = BestShots(ShotSettings())
    hidden = Track(ordinal=1, label="face", score=0.0, box=Box(*box_of()), seen=False)
    assert shots.see(0, drawn(), found(face_of(box_of())), Tracked((hidden,), ())) == []
    assert shots.snapshot()["tracks"] == []
    assert shots.see(ticks(1), drawn(), NOTHING, Tracked((), (1, 7))) == []


def test_two_faces_that_overlap_are_two_tracks_faces() -> None:
    """Each detection has one track and each track one detection, the nearest first."""
    shots = BestShots(ShotSettings())
    boxes = [box_of(300), box_of(330)]
    tracks = tuple(
        Track(ordinal=n, label="face", score=0.9, box=Box(*box_of(x))) for n, x in ((1, 312), (2, 331))
    )
    shots.see(0, drawn(), found(*(face_of(box) for box in boxes)), Tracked(tracks, ()))
    assert [(row[0], tuple(row[4][1])) for row in shots.snapshot()["tracks"]] == [
        (1, boxes[0]),
        (2, boxes[1]),
    ]
    shots.see(ticks(0.2), drawn(), found(face_of(boxes[1])), Tracked(tracks, ()))
    lasts = {row[0]: row[2] for row in shots.snapshot()["tracks"]}
    assert lasts == {1: 0, 2: ticks(0.2)}


looks = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.03, 0.08]), st.floats(0.0, 1.0)), min_size=3, max_size=20
)


@settings(max_examples=25, deadline=None)
@given(looks, st.integers(0, 19), st.floats(0.4, 4.0))
def test_a_restored_run_gives_the_same_shots(
    course: list[tuple[bool, float, float]], at: int, hold_s: float
) -> None:
    plain, resumed = Passing(hold_s=hold_s), Passing(hold_s=hold_s)
    for n, (there, blur, aside) in enumerate(course):
        faces = [face_of(box_of(), aside=aside)] if there else []
        assert plain.look(n, drawn(blur=blur), *faces) == resumed.look(n, drawn(blur=blur), *faces)
        if n == at:
            states = [json.loads(json.dumps(part.snapshot())) for part in (resumed.tracker, resumed.shots)]
            resumed = Passing(hold_s=hold_s)
            resumed.tracker.restore(states[0])
            resumed.shots.restore(states[1])
        assert resumed.shots.snapshot() == plain.shots.snapshot()
    assert plain.shots.end() == resumed.shots.end()


def test_a_snapshot_holds_no_picture_and_is_small() -> None:
    passing = Passing()
    for n in range(4):
        faces = [face_of(box_of(60 + 100 * k, w=80)) for k in range(6)]
        passing.look(n, drawn(), *faces)
    state = passing.shots.snapshot()
    assert len(state["tracks"]) == 6
    assert len(json.dumps(state)) < 2000

    def leaves(value: Any) -> int:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return sum(map(leaves, parts)) if isinstance(value, dict | list) else 1

    assert leaves(state) == 6 * (4 + 1 + 4 + 2 + 1 + 5)


@pytest.mark.parametrize(
    "wrong", [{"hold_s": 0}, {"least_quality": 1.5}, {"least_quality": -0.1}, {"target_px": 0}]
)
def test_settings_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="least_quality from 0 to 1"):
        ShotSettings(**wrong)


# --- the capture area

places = st.lists(st.tuples(st.floats(0, 640), st.floats(0, 480), st.floats(5, 120)), max_size=8)


@given(places)
def test_every_face_is_inside_or_outside(where: list[tuple[float, float, float]]) -> None:
    area = CaptureArea(((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)), least_px=20)
    faces = [face_of(box_of(*place)) for place in where]
    inside, outside = area.split(found(*faces), SIZE)
    assert len(inside) + len(outside) == len(where)
    for part, expected in ((inside, True), (outside, False)):
        assert part.landmarks is not None
        for box, marks in zip(part.boxes, part.landmarks, strict=True):
            x, y = (box[0] + box[2]) / 2 / 640, (box[1] + box[3]) / 2 / 480
            edge = (
                min(abs(v - e) for v in (x, y) for e in (0.25, 0.75)) < 1e-5
                or abs(box[2] - box[0] - 20) < 1e-3
            )
            large = box[2] - box[0] >= 20
            assert edge or (0.25 < x < 0.75 and 0.25 < y < 0.75 and large) == expected
            assert np.all(np.abs(marks.mean(axis=0) - (box[:2] + box[2:]) / 2) < 0.2 * (box[2] - box[0]))


def test_by_default_the_whole_picture_is_the_area() -> None:
    faces = found(face_of(box_of(w=30)), face_of(box_of(w=20)))
    inside, outside = CaptureArea().split(faces, SIZE)
    assert inside.boxes.tolist() == faces.boxes[:1].tolist()
    assert outside.boxes.tolist() == faces.boxes[1:].tolist()
    assert CaptureArea().split(NOTHING, SIZE) == (NOTHING, NOTHING)
    plain = Detections(faces.boxes, faces.scores, faces.labels)
    assert CaptureArea().split(plain, SIZE)[0].landmarks is None
    with pytest.raises(ValueError, match="at least three corners"):
        CaptureArea(((0, 0), (1, 1)))

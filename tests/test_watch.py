"""The watch over the picture: frozen and black, epochs, moves, what hides what, snapshots."""

import json
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any

import av
import cv2
import numpy as np
import pytest

from events.media import TICKS
from ingest.conditions import HIDES, RULES, UNSURE, Condition
from ingest.gate import luma
from ingest.scene import ABSORB_S
from ingest.watch import PictureWatch
from testbed.faults import FAULTS, NoiseField
from tests.noisemaker import Grey, noisy
from tests.test_faults import street, walkers


def changes(
    pictures: Iterator[Grey], times: list[int], watch: PictureWatch
) -> list[tuple[str, str, int, int]]:
    return [(c.what, c.state, c.pts, c.since) for pts in times for c in watch.keyframe(pts, next(pictures))]


def still(picture: Grey) -> Iterator[Grey]:
    while True:
        yield picture


@pytest.mark.parametrize(("gop_s", "keyframes"), [(2, 2), (1, 2), (0.5, 3), (0.25, 5)])
def test_a_frozen_picture_is_told_within_two_keyframes_and_a_second(gop_s: float, keyframes: int) -> None:
    watch, gop = PictureWatch(), int(gop_s * TICKS)
    pictures = noisy((320, 180))
    assert changes(pictures, [n * gop for n in range(5)], watch) == []
    last = next(pictures)
    found = changes(still(last), [(5 + n) * gop for n in range(10)], watch)
    assert found == [("frozen", "raised", (5 + keyframes - 1) * gop, 5 * gop)]
    assert changes(pictures, [20 * gop, 21 * gop], watch) == [("frozen", "cleared", 20 * gop, 5 * gop)]


def test_a_single_noisy_pixel_row_keeps_a_picture_alive() -> None:
    watch = PictureWatch()
    picture = np.full((180, 320), 100, np.uint8)
    for n in range(8):
        picture[16, 7] = 100 + n % 2
        assert watch.keyframe(n * TICKS, picture) == []


def test_a_black_picture_with_some_noise_is_black_and_a_night_with_a_lamp_is_not() -> None:
    rng = np.random.default_rng(1)
    dark = (rng.integers(14, 22, (180, 320), dtype=np.uint8) for _ in range(99))
    watch = PictureWatch()
    found = changes(dark, [0, TICKS, 2 * TICKS], watch)
    assert found == [("black", "raised", TICKS, 0)]

    def lamp() -> Iterator[Grey]:
        while True:
            picture = next(dark)
            picture[:60, :60] = 200
            yield picture

    assert changes(lamp(), [3 * TICKS, 4 * TICKS], watch) == [("black", "cleared", 3 * TICKS, 0)]


def test_messages_say_what_to_do() -> None:
    watch = PictureWatch()
    black = np.zeros((90, 160), np.uint8)
    found = [c for n in range(3) for c in watch.keyframe(n * TICKS, black)]
    assert {c.what for c in found} == {"black"}, "the root alone is told"
    assert all("; " in c.message for c in found)


@pytest.mark.parametrize("at", range(6))
def test_a_restored_watch_goes_on_as_the_first_one(at: int) -> None:
    pictures = [np.full((90, 160), v, np.uint8) for v in (90, 90, 90, 5, 5, 5, 91)]
    first, second = PictureWatch(), PictureWatch()
    answers, again = [], []
    for n, picture in enumerate(pictures):
        answers.append(first.keyframe(n * TICKS, picture))
        if n == at:
            second.restore(json.loads(json.dumps(first.snapshot())))
        elif n > at:
            again.append(second.keyframe(n * TICKS, picture))
    assert answers[at + 1 :] == again


# --- scenes, epochs and moves

GOP = 2 * TICKS


def shots(scene: Grey, count: int, seed: int = 1, sigma: float = 1.5) -> list[Grey]:
    """The scene with people in it, with fresh noise."""
    noise = NoiseField(scene.shape, np.random.default_rng(seed))
    return [noise.on(picture, sigma) for picture in islice(walkers(scene), count)]


def fed(
    watch: PictureWatch, pictures: Sequence[Grey], first: int = 0, gop: int = GOP
) -> list[tuple[str, str]]:
    """What is said, without when."""
    return [(c.what, c.state) for n, p in enumerate(pictures) for c in watch.keyframe((first + n) * gop, p)]


def turned(scene: Grey) -> Grey:
    return np.ascontiguousarray(scene[::-1, ::-1])


def test_a_camera_that_was_turned_while_it_was_unplugged_is_found() -> None:
    watch = PictureWatch()
    assert fed(watch, shots(street(), 20)) == []
    watch.begin()
    assert fed(watch, shots(turned(street()), 6, 2)) == [("turned", "raised")]
    watch.begin()
    changes = [c for n, p in enumerate(shots(street(), 4, 3)) for c in watch.keyframe(n * GOP, p)]
    assert [(c.what, c.state, c.pts, c.since) for c in changes] == [("turned", "cleared", GOP, GOP)]


def test_what_is_wrong_stays_so_over_a_reconnection_until_it_is_seen_mended() -> None:
    watch = PictureWatch()
    fed(watch, shots(street(), 20))
    covered = FAULTS["cover-90"].make(1)
    hidden = [covered(p, 0.0) for p in shots(street(), 10, 2)]
    assert fed(watch, hidden, 20) == [("covered", "raised")]
    watch.begin()
    assert fed(watch, hidden) == []
    assert fed(watch, shots(street(), 5, 3), 10) == [("covered", "cleared")]


def test_a_frozen_picture_is_cleared_by_the_next_epochs_second_keyframe() -> None:
    watch, pictures = PictureWatch(), shots(street(), 12)
    assert fed(watch, pictures + [pictures[-1]] * 2) == [("frozen", "raised")]
    watch.begin()
    assert fed(watch, pictures[:1]) == []
    assert fed(watch, pictures[1:2], 1) == [("frozen", "cleared")]


def test_a_dome_that_moved_on_purpose_is_not_turned_and_learns_its_new_view() -> None:
    watch = PictureWatch()
    fed(watch, shots(street(), 20))
    watch.moved()
    other = turned(street())
    assert fed(watch, shots(other, 20, 2), 20) == []
    assert fed(watch, shots(street(), 6, 3), 40) == [("turned", "raised")], "against the new view"
    watch.moved()
    (change,) = watch.keyframe(46 * GOP, shots(street(), 1, 4)[0])
    assert (change.what, change.state) == ("turned", "cleared")
    assert "on purpose" in change.message
    assert fed(watch, shots(street(), 10, 5), 47) == []


def test_a_hoarding_before_the_half_that_has_nearly_all_the_edges_is_no_turn() -> None:
    scene = street()
    scene[:, 320:] = 120
    for x in range(350, 620, 60):
        scene[20:100, x : x + 25] = 30
    before = scene.copy()
    before[:, :320] = turned(street())[:, :320]
    watch = PictureWatch()
    assert fed(watch, shots(scene, 20)) == []
    assert fed(watch, shots(before, 20, 2), 20) == []


def test_a_new_view_becomes_the_cameras_view_after_its_time_and_says_so() -> None:
    watch, gop = PictureWatch(), 20 * TICKS
    fed(watch, shots(street(), 20), gop=gop)
    other, pool = turned(street()), []
    pool = shots(other, 40, 2)
    changes = [
        c for n in range(220) for c in watch.keyframe((20 + n) * gop, pool[n % 37 if n % 2 else n % 40])
    ]
    changes = [c for c in changes if c.what == "turned"]
    assert [c.state for c in changes] == ["raised", "cleared"]
    assert 0 <= (changes[1].pts - changes[0].pts) / TICKS - ABSORB_S <= 60
    assert "is the camera's view now; check its lines" in changes[1].message


def test_a_turn_says_by_how_much_and_which_way() -> None:
    watch = PictureWatch()
    fed(watch, shots(street(), 20))
    aside = FAULTS["turn-15"].make(1)  # the picture goes right and down: the camera went left and up
    changes = [
        c for n, p in enumerate(shots(street(), 6, 2)) for c in watch.keyframe((20 + n) * GOP, aside(p, 0.0))
    ]
    assert changes[0].message.endswith("(by 15% of the width left and 3% up)")


@pytest.mark.parametrize("factor", [0.5, 3])
def test_another_size_of_the_same_picture_is_the_same_scene(factor: float) -> None:
    """Three times as large it is no sharper, pixel for pixel, than it was."""
    watch = PictureWatch()
    fed(watch, shots(street(), 20))
    watch.begin()
    other = [np.asarray(cv2.resize(p, None, fx=factor, fy=factor)) for p in shots(street(), 8, 2)]
    assert fed(watch, other) == []
    assert fed(watch, [turned(p) for p in other], 8) == [("turned", "raised")]


# --- noise that stands still, and none at all


def encoded(pictures: Sequence[Grey], options: dict[str, str], kbps: int = 0) -> list[Grey]:
    """Every fifth picture, after H.264 with a keyframe there."""
    height, width = pictures[0].shape
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.gop_size, encoder.max_b_frames = (
        Fraction(1, 5),
        Fraction(5),
        5,
        0,
    )
    encoder.bit_rate, encoder.thread_count = kbps * 1000, 1
    encoder.options = {"preset": "veryfast", "sc_threshold": "0", **options}
    packets = []
    for n, picture in enumerate(pictures):
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        planes[:height] = picture
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, 5)
        packets += encoder.encode(frame)
    keyframes = [p for p in packets + encoder.encode(None) if p.is_keyframe]
    decoder: Any = av.CodecContext.create("h264", "r")
    frames = [f for p in keyframes for f in decoder.decode(p)] + decoder.decode(None)
    return [luma(f).copy() for f in frames]


@pytest.mark.parametrize(
    ("options", "kbps"), [({"crf": "24"}, 0), ({"maxrate": "1500k", "bufsize": "1500k"}, 1500)]
)
def test_a_frozen_sensor_behind_an_encoder_at_work_is_found(options: dict[str, str], kbps: int) -> None:
    pictures = shots(street(), 100, sigma=2.5)
    stream = encoded(pictures + [pictures[-1]] * 60, options, kbps)
    watch = PictureWatch()
    changes = [c for n, p in enumerate(stream) for c in watch.keyframe(n * TICKS, p)]
    assert [c.what for c in changes] == ["frozen"]
    assert changes[0].pts / TICKS <= 30


@pytest.mark.parametrize("to", ["34", "40"])
def test_an_encoder_that_takes_the_noise_away_is_no_frozen_camera(to: str) -> None:
    """The patches are smoother then."""
    pictures = shots(street(), 200, sigma=2.5)
    stream = encoded(pictures[:100], {"qp": "20"}) + encoded(pictures[100:], {"qp": to})
    assert fed(PictureWatch(), stream, gop=TICKS) == []


def test_a_quiet_scene_without_any_noise_is_silent_once_it_is_known_to_be_so() -> None:
    """People, then nobody for five minutes; the pictures of an empty scene are the same bit for bit."""
    watch, scene = PictureWatch(), street()
    people = list(islice(walkers(scene), 20))
    said = fed(watch, people + [scene] * 3)
    for round_ in range(4):
        said += fed(watch, people + [scene] * 150, 23 + 170 * round_)
    assert said == []


def test_a_stream_that_stands_still_from_its_start_is_told_after_ten_seconds() -> None:
    watch = PictureWatch()
    changes = [c for n in range(9) for c in watch.keyframe(n * GOP, street())]
    assert [(c.what, c.pts, c.since) for c in changes] == [("frozen", 10 * TICKS, 0)]


# --- conditions


def test_each_condition_is_fed_after_those_that_can_hide_it() -> None:
    order = list(RULES)
    assert set(HIDES) == set(order)
    assert all(order.index(hidden) > order.index(root) for root in HIDES for hidden in HIDES[root])
    assert all("; " in rule.raised for rule in RULES.values()), "each says how to mend it"


def test_what_is_hidden_neither_begins_nor_ends() -> None:
    condition = Condition("turned")
    times = iter(range(0, 99 * TICKS, GOP))

    def feed(holds: bool | None) -> str:
        pts = next(times)
        change = condition.feed(pts, holds, pts, 5, "")
        return change.state if change else ""

    assert [feed(True), feed(True)] == ["", ""]
    condition.hide()
    assert [feed(True), feed(True), feed(True), feed(True)] == ["", "", "", "raised"]
    assert feed(False) == ""
    condition.hide()
    assert [feed(False), feed(None), feed(False), feed(False)] == ["", "", "", "cleared"]
    assert [feed(True), feed(True), *(feed(None) for _ in range(UNSURE - 1)), feed(True)][-1] == "raised"


# --- snapshots


@pytest.mark.parametrize("name", ["cover-90", "turn-15", "shake-2", "loop-4s", "still-clock", "blur-1"])
def test_a_watch_restored_at_any_keyframe_goes_on_as_the_first_one(name: str) -> None:
    change, pictures = FAULTS[name].make(1), shots(street(), 36)
    shown = [change(p, 2.0 * (n - 18)) if 18 <= n < 26 else p for n, p in enumerate(pictures)]
    if name == "loop-4s":  # encoded anew, as it were: nothing is the same bit for bit
        shown = [NoiseField(p.shape, np.random.default_rng(n)).on(p, 0.5) for n, p in enumerate(shown)]
    first, answers, states = PictureWatch(), [], []
    for n, picture in enumerate(shown):
        states.append(json.dumps(first.snapshot()))
        answers.append(first.keyframe(n * GOP, picture))
    assert sum(map(len, answers)) == 2
    for at in range(3, 30, 3):
        again = PictureWatch()
        again.restore(json.loads(states[at]))
        assert [again.keyframe(n * GOP, p) for n, p in enumerate(shown) if n >= at] == answers[at:]
        assert json.dumps(again.snapshot()) == json.dumps(first.snapshot())


def test_a_snapshot_is_small() -> None:
    watch = PictureWatch()
    fed(watch, shots(street(), 40))
    fed(watch, shots(turned(street()), 10, 2), 40)
    assert len(zlib.compress(json.dumps(watch.snapshot()).encode(), 1)) < 20_000

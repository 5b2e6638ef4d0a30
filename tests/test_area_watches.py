"""Intrusion, loitering, crowd, wrong way and trip wires, from beginning to end."""

import pytest

from events.events import AlertCleared, AlertRaised, AlertUpdated
from events.media import TICKS
from events.observations import Box, Track
from events.rules import (
    Crowd,
    Intrusion,
    Line,
    Loitering,
    WrongWay,
)
from tests.scenes import START_US, Camera, person, vehicle

SQUARE = ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7))
INSIDE, OUTSIDE = (500, 500), (500, 900)


def test_an_intruder_is_told_of_once_and_cleared_after_leaving() -> None:
    camera = Camera(Intrusion(name="yard", polygon=SQUARE))
    camera.stay(2, person(1, *OUTSIDE))
    camera.stay(20, person(1, *INSIDE))
    camera.stay(20, person(1, *OUTSIDE))
    (raised,) = camera.of(AlertRaised)
    (cleared,) = camera.of(AlertCleared)
    assert (raised.kind, raised.severity, raised.tracks) == ("intrusion", "major", (1,))
    assert abs(raised.since_us - START_US - 2_200_000) <= 400_000
    assert raised.box == (0.48, 0.42, 0.52, 0.5)
    assert cleared.alert == raised.alert
    assert cleared.reason == "left"
    assert abs(cleared.until_us - START_US - 22_000_000) <= 400_000


def test_a_step_over_the_corner_is_no_intrusion() -> None:
    camera = Camera(Intrusion(name="yard", polygon=SQUARE, dwell_s=1))
    camera.stay(2, person(1, *OUTSIDE))
    camera.stay(0.6, person(1, *INSIDE))
    camera.stay(5, person(1, *OUTSIDE))
    assert camera.events == []


def test_loitering_survives_losses_and_a_new_ordinal() -> None:
    camera = Camera(Loitering(name="door", polygon=SQUARE, dwell_s=60))
    for ordinal in range(1, 8):
        camera.stay(8.4, person(ordinal, 500 + 5 * ordinal, 500))
        camera.stay(1.6)
    (raised,) = camera.of(AlertRaised)
    assert raised.since_us - START_US < 1_000_000
    assert raised.detail["dwell_s"] == pytest.approx(60, abs=2.1)
    assert raised.tracks == (1, 2, 3, 4, 5, 6, 7)


def test_who_was_away_for_long_begins_anew() -> None:
    camera = Camera(Loitering(name="door", polygon=SQUARE, dwell_s=10))
    for ordinal in range(1, 6):
        camera.stay(8, person(ordinal, *INSIDE))
        camera.stay(8)
    assert camera.events == []


def test_time_alone_makes_a_dwell_on_a_quiet_camera() -> None:
    camera = Camera(Loitering(name="door", polygon=SQUARE, dwell_s=30))
    camera.see(person(1, *INSIDE))
    for _ in range(40):
        camera.tick(1)
    assert len(camera.of(AlertRaised)) == 1
    camera.see(person(1, *OUTSIDE))
    for _ in range(11):
        camera.tick(1)
    assert len(camera.of(AlertCleared)) == 1


def test_a_lost_target_is_not_there_on_a_quiet_camera() -> None:
    camera = Camera(Loitering(name="door", polygon=SQUARE, dwell_s=30))
    camera.see(person(1, *INSIDE))
    camera.see()
    for _ in range(60):
        camera.tick(1)
    assert camera.events == []


def test_one_missed_detection_on_a_camera_looked_at_every_other_second_is_no_loss() -> None:
    camera = Camera(Loitering(name="door", polygon=SQUARE, dwell_s=60))
    for n in range(35):
        camera.see(*([] if n % 5 == 4 else [person(1 + n // 5, *INSIDE)]), dt=2)
    (raised,) = camera.of(AlertRaised)
    assert raised.since_us == START_US + 2_000_000


def test_after_shedding_nobody_is_taken_to_be_there() -> None:
    camera = Camera(Loitering(name="door", polygon=SQUARE, dwell_s=30))
    camera.stay(10, person(1, *INSIDE))
    camera.engine.shed(10 * TICKS, 12 * TICKS)
    for _ in range(60):
        camera.tick(1)
    assert camera.events == []


def crowd_of(n: int) -> list[Track]:
    return [person(i + 1, 350 + 40 * i, 500) for i in range(n)]


def test_a_crowd_has_one_alert_with_hysteresis() -> None:
    camera = Camera(Crowd(name="square", polygon=SQUARE, count=5, clear_count=3, for_s=5, clear_s=5))
    camera.stay(4, *crowd_of(5))
    camera.stay(10, *crowd_of(4))
    camera.stay(4, *crowd_of(5))
    assert camera.of(AlertRaised) == [], "not for long enough"
    camera.stay(20, *crowd_of(6))
    (raised,) = camera.of(AlertRaised)
    assert raised.detail["count"] == 6
    assert len(raised.tracks) == 6
    camera.see(*crowd_of(5))
    camera.stay(20, *crowd_of(5))
    assert camera.of(AlertCleared) == []
    assert [u.detail["count"] for u in camera.of(AlertUpdated)][-1] == 5
    camera.stay(20, *crowd_of(3))
    (cleared,) = camera.of(AlertCleared)
    assert cleared.reason == "dispersed"
    assert len(camera.of(AlertRaised)) == 1


def test_wrong_way_is_about_distance_and_angle() -> None:
    rule = WrongWay(name="one-way", direction=(0, 1), distance=0.2)
    right, wrong, across = Camera(rule), Camera(rule), Camera(rule)
    for n in range(60):
        right.see(vehicle(1, 500, 200 + 10 * n))
        wrong.see(vehicle(1, 500, 800 - 10 * n))
        across.see(vehicle(1, 200 + 10 * n, 500 - 2 * n))
    assert (right.events, across.events) == ([], [])
    (raised,) = wrong.of(AlertRaised)
    assert raised.kind == "wrong_way"
    assert raised.detail["distance"] == pytest.approx(0.2, abs=0.02)
    assert raised.detail["angle_deg"] == 0


def test_wrong_way_is_over_when_it_turns_round_or_leaves() -> None:
    camera = Camera(WrongWay(name="one-way", direction=(0, 1), distance=0.2))
    for n in range(40):
        camera.see(vehicle(1, 500, 800 - 10 * n))
    for n in range(60):
        camera.see(vehicle(1, 500, 400 + 5 * n))
    (cleared,) = camera.of(AlertCleared)
    assert cleared.reason == "moved"
    assert len(camera.of(AlertRaised)) == 1


def test_swaying_never_adds_up_to_a_wrong_way() -> None:
    camera = Camera(WrongWay(name="one-way", direction=(0, 1), distance=0.1))
    for n in range(2000):
        camera.see(vehicle(1, 500, 500 + (30 if n % 7 < 3 else -30)))
    assert camera.events == []


def test_a_trip_wire_raises_an_alert_that_goes_by_itself() -> None:
    camera = Camera(Line(name="wire", points=((0.2, 0.5), (0.8, 0.5)), alert_on="in", severity="critical"))
    for n in range(20):
        camera.see(person(1, 500, 400 + 10 * n))
    camera.tick(20)
    (raised,) = camera.of(AlertRaised)
    assert (raised.kind, raised.severity, raised.detail) == ("crossing", "critical", {"direction": "in"})
    assert len(camera.of(AlertCleared)) == 1


def test_the_end_of_an_epoch_clears_open_alerts() -> None:
    camera = Camera(Intrusion(name="yard", polygon=SQUARE))
    camera.stay(5, person(1, *INSIDE))
    events = camera.end()
    (cleared,) = [e.data for e in events if isinstance(e.data, AlertCleared)]
    assert cleared.reason == "stream-ended"
    camera.begin(2, START_US + 10_000_000)
    camera.stay(5, person(1, *INSIDE))
    ids = [raised.alert for raised in camera.of(AlertRaised)]
    assert len(set(ids)) == 2, "another epoch, another alert"


@pytest.mark.parametrize("edge", [(500.0, 1000.0), (1000.0, 700.0), (1000.0, 1000.0)])
def test_whoever_the_pictures_edge_cuts_off_is_in_the_picture(edge: tuple[float, float]) -> None:
    """A box that reaches the lower edge has its foot exactly on it."""
    camera = Camera(Intrusion(name="whole", dwell_s=0.5))
    box = Box(edge[0] - 100, edge[1] - 200, min(edge[0] + 100, 1000.0), edge[1])
    if edge[0] == 1000.0:
        box = Box(1000.0, edge[1] - 200, 1000.0, edge[1])
    camera.stay(2.0, Track(1, "person", 0.9, box))
    assert len(camera.of(AlertRaised)) == 1

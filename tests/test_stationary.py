"""Things that stay where they are: one alert for each, whatever their ordinals and the stream do."""

from events.events import AlertCleared, AlertRaised
from events.rules import Stationary
from tests.scenes import START_US, Camera, person, vehicle

PARKED = Stationary(name="parked", for_s=30, absent_s=20, grace_s=60)


def test_what_stands_still_is_told_of_once() -> None:
    camera = Camera(PARKED)
    for n in range(20):
        camera.see(vehicle(1, 100 + 20 * n, 500))
    camera.stay(300, vehicle(1, 480, 500), dt=0.5)
    (raised,) = camera.of(AlertRaised)
    assert (raised.kind, raised.label) == ("stationary", "car")
    assert abs(raised.since_us - START_US - 4_000_000) < 1_000_000, "since it stopped"
    assert 30 <= raised.detail["stood_s"] < 30.6
    assert camera.of(AlertCleared) == []


def test_a_new_ordinal_or_class_at_the_same_place_is_the_same_thing() -> None:
    camera = Camera(PARKED)
    for ordinal in range(1, 20):
        camera.stay(8, vehicle(ordinal, 480 + ordinal % 3, 500, "car" if ordinal % 2 else "truck"), dt=0.5)
        camera.stay(6, dt=0.5)
    assert len(camera.of(AlertRaised)) == 1
    assert camera.of(AlertCleared) == []


def test_a_second_box_on_it_is_not_a_second_thing() -> None:
    camera = Camera(PARKED)
    camera.stay(60, vehicle(1, 480, 500, "car"), vehicle(2, 484, 502, "truck"), dt=0.5)
    assert len(camera.of(AlertRaised)) == 1


def test_it_is_cleared_when_it_drives_away() -> None:
    camera = Camera(PARKED)
    camera.stay(40, vehicle(1, 480, 500), dt=0.5)
    for n in range(40):
        camera.see(vehicle(1, 480 + 12 * n, 500))
    (cleared,) = camera.of(AlertCleared)
    assert cleared.reason == "moved"
    assert abs(cleared.until_us - START_US - 40_000_000) < 1_500_000


def test_another_car_at_its_place_is_another_alert() -> None:
    camera = Camera(PARKED)
    camera.stay(40, vehicle(1, 480, 500), dt=0.5)
    for n in range(40):
        camera.see(vehicle(1, 480 + 12 * n, 500))
    camera.stay(40, vehicle(2, 480, 500), dt=0.5)
    first, second = camera.of(AlertRaised)
    assert first.alert != second.alert
    assert second.since_us > first.since_us + 40_000_000


def test_it_is_cleared_when_it_is_gone_for_long() -> None:
    camera = Camera(PARKED)
    camera.stay(40, vehicle(1, 480, 500), dt=0.5)
    camera.stay(15, dt=0.5)
    camera.stay(5, vehicle(2, 480, 500), dt=0.5)
    assert camera.of(AlertCleared) == []
    camera.stay(30, dt=0.5)
    (cleared,) = camera.of(AlertCleared)
    assert cleared.reason == "left"


def test_a_box_that_slips_for_a_moment_has_not_moved() -> None:
    camera = Camera(PARKED)
    for n in range(600):
        camera.see(vehicle(1, 480 + (90 if n % 20 == 19 else 0), 500))
    assert len(camera.of(AlertRaised)) == 1
    assert camera.of(AlertCleared) == []


def test_what_moves_and_what_creeps_never_stands() -> None:
    camera = Camera(PARKED)
    for n in range(700):
        camera.see(vehicle(1, 100 + n, 500), person(2, 300, 300))
    assert camera.events == [], "5 px a second leaves its place in time; and persons are not its classes"


def test_passers_by_do_not_make_a_parked_car() -> None:
    camera = Camera(PARKED)
    for n in range(2000):
        camera.see(vehicle(1 + n // 20, 100 + 40 * (n % 20), 500))
    assert camera.events == []


def test_where_it_does_not_matter_nothing_is_told() -> None:
    lane = Stationary(name="lane", for_s=10, polygon=((0.0, 0.0), (0.4, 0.0), (0.4, 1.0), (0.0, 1.0)))
    camera = Camera(lane)
    camera.stay(30, vehicle(1, 480, 500), dt=0.5)
    assert camera.events == []
    camera.stay(30, vehicle(1, 200, 500), dt=0.5)
    assert len(camera.of(AlertRaised)) == 1


def reconnected(after_s: float) -> Camera:
    """A car stood for 40 s, then the stream was lost."""
    camera = Camera(PARKED)
    camera.stay(40, vehicle(1, 480, 500), dt=0.5)
    camera.end()
    camera.begin(2, camera.us(camera.t + after_s))
    return camera


def test_a_short_loss_of_the_stream_changes_nothing() -> None:
    camera = reconnected(30)
    camera.stay(60, vehicle(1, 483, 502), dt=0.5)
    assert len(camera.of(AlertRaised)) == 1
    assert camera.of(AlertCleared) == []
    camera.stay(60, dt=0.5)
    (cleared,) = camera.of(AlertCleared)
    assert cleared.alert == camera.of(AlertRaised)[0].alert
    assert [e.epoch for e in camera.events] == [1, 2]
    assert [e.sequence for e in camera.events] == [0, 0]


def test_a_new_epochs_first_target_is_not_the_old_ones() -> None:
    camera = reconnected(30)
    for n in range(120):
        camera.see(vehicle(1, 100 + 5 * n, 200), vehicle(2, 480, 500), dt=0.5)
    assert len(camera.of(AlertRaised)) == 1
    assert camera.of(AlertCleared) == []


def test_what_is_not_seen_again_after_the_loss_is_cleared_as_a_gap() -> None:
    camera = reconnected(30)
    camera.stay(15, dt=0.5)
    assert camera.of(AlertCleared) == []
    camera.stay(10, dt=0.5)
    (cleared,) = camera.of(AlertCleared)
    assert cleared.reason == "gap"
    assert cleared.until_us == START_US + 40_000_000


def test_after_a_long_loss_it_begins_anew() -> None:
    camera = reconnected(90)
    (cleared,) = camera.of(AlertCleared)
    assert cleared.reason == "gap"
    camera.stay(40, vehicle(1, 480, 500), dt=0.5)
    assert len(camera.of(AlertRaised)) == 2


def test_dwell_goes_on_over_a_short_loss() -> None:
    camera = Camera(PARKED)
    camera.stay(20, vehicle(1, 480, 500), dt=0.5)
    camera.end()
    camera.begin(2, camera.us(camera.t + 30))
    camera.stay(8, vehicle(1, 480, 500), dt=0.5)
    assert camera.events == [], "28 s were watched"
    camera.stay(4, vehicle(1, 480, 500), dt=0.5)
    (raised,) = camera.of(AlertRaised)
    assert abs(raised.since_us - START_US) < 1_000_000


def test_another_size_of_the_picture_keeps_the_places() -> None:
    camera = Camera(PARKED)
    camera.stay(40, vehicle(1, 480, 500), dt=0.5)
    state = camera.engine.snapshot()
    before = state["rules"][0]["state"]["places"]["places"]["1"]["box"]
    camera.engine.begin(2, camera.us(45), (500, 500))
    after = camera.engine.snapshot()["rules"][0]["state"]["places"]["places"]["1"]["box"]
    assert after == [value / 2 for value in before]

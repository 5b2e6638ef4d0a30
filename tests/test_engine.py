"""The engine: rules over observations, intervals, alerts, identity, and going on from a snapshot."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import decode, encode
from events.engine import Engine
from events.errors import IllegalTransition
from events.events import AlertCleared, AlertRaised, AlertUpdated, Crossing, Event, Interval
from events.media import TICKS
from events.observations import Box, Observation, Track
from events.rules import (
    Crowd,
    Intrusion,
    Line,
    Loitering,
    Rule,
    Stationary,
    WrongWay,
    Zone,
)
from tests.scenes import SIZE, START_US, Camera, person, seen, vehicle

SQUARE = ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7))
LINE = Line(name="line", points=((0.2, 0.5), (0.8, 0.5)), labels=("person", "car"))
INSIDE, OUTSIDE = (500, 500), (500, 900)

EVERYTHING: list[Rule] = [
    LINE,
    Line(name="wire", points=((0.5, 0.1), (0.5, 0.9)), alert_on="both"),
    Zone(name="zone", polygon=SQUARE),
    Intrusion(name="intrusion", polygon=SQUARE),
    Loitering(name="loitering", polygon=SQUARE, dwell_s=5),
    Crowd(name="crowd", polygon=SQUARE, count=2, for_s=2, clear_s=2),
    WrongWay(name="way", direction=(0, 1), labels=("person", "car")),
    Stationary(name="stands", labels=("person",), for_s=5, absent_s=5),
]


# Lines and intervals


def test_a_crossing_has_its_class_place_and_direction() -> None:
    camera = Camera(LINE)
    for n in range(20):
        camera.see(person(3, 400, 400 + 10 * n), vehicle(5, 700, 600 - 10 * n))
    crossed = camera.of(Crossing)
    assert {(c.direction, c.label, c.track) for c in crossed} == {("in", "person", 3), ("out", "car", 5)}
    assert all(c.at[1] == 0.5 for c in crossed)
    assert {event.source for event in camera.events} == {"/town/camera/gate"}
    assert {event.subject for event in camera.events} == {"line"}


def test_a_lines_totals_by_interval() -> None:
    camera = Camera(LINE)
    for n in range(20):
        camera.see(person(3, 400, 400 + 10 * n))
    camera.tick(130)
    camera.end()
    first, second, last = camera.of(Interval)
    none = {"in.person": 0, "out.person": 0, "in.car": 0, "out.car": 0}
    assert (first.counts, first.observed_s) == ({**none, "in.person": 1}, 60.0)
    assert (first.start_us, first.end_us) == (START_US, START_US + 60_000_000)
    assert (second.counts, last.counts) == (none, none)
    assert last.observed_s == pytest.approx(14.0), "closed as it was"


def test_a_zones_totals_by_interval() -> None:
    camera = Camera(Zone(name="zone", polygon=SQUARE))
    camera.stay(10, person(1, *OUTSIDE))
    camera.stay(15, person(1, *INSIDE))
    camera.stay(15, person(1, *INSIDE), person(2, 400, 400))
    camera.stay(25, person(1, *OUTSIDE))
    (interval,) = camera.of(Interval)
    assert interval.counts == {"max.person": 2, "entered.person": 2}
    assert interval.occupancy["person"] == pytest.approx((15 + 2 * 15) / 60, abs=0.01)


def test_an_interval_begins_with_who_is_there() -> None:
    camera = Camera(Zone(name="zone", polygon=SQUARE))
    camera.stay(130, person(1, *INSIDE), dt=1)
    first, second = camera.of(Interval)
    assert (first.counts["entered.person"], second.counts["entered.person"]) == (1, 0)
    assert second.counts["max.person"] == 1
    assert second.occupancy["person"] == 1.0


def test_the_mean_bridges_missed_detections_and_ordinals() -> None:
    camera = Camera(Zone(name="zone", polygon=SQUARE))
    for n in range(310):
        camera.see(*([person(1 + n // 40, *INSIDE)] if n % 8 < 5 else []))
    (interval,) = camera.of(Interval)
    assert interval.counts == {"max.person": 1, "entered.person": 1}
    assert interval.occupancy["person"] == pytest.approx(1.0, abs=0.02)


def test_a_zones_edge_does_not_flicker() -> None:
    camera = Camera(Zone(name="zone", polygon=SQUARE))
    for n in range(300):
        camera.see(person(1, 500, 700 + (4 if n % 2 else -4)))
    camera.end()
    assert camera.of(Interval)[0].counts["entered.person"] == 1


def test_what_was_shed_shrinks_what_was_observed() -> None:
    camera = Camera(LINE, Loitering(name="loitering", polygon=SQUARE, dwell_s=30))
    camera.stay(10, person(1, *INSIDE))
    assert camera.engine.shed(10 * TICKS, 40 * TICKS) == []
    camera.see(person(1, *INSIDE), dt=30)
    camera.stay(15, person(1, *INSIDE))
    assert camera.of(AlertRaised) == [], "25 s of dwell were seen"
    camera.stay(6, person(1, *INSIDE))
    assert len(camera.of(AlertRaised)) == 1
    assert camera.of(Interval)[0].observed_s == pytest.approx(30.0)


# Alerts


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


# Time


@given(st.lists(st.integers(-7200, 7200), min_size=1, max_size=5))
def test_steps_of_the_clock_change_no_alert_and_no_total(steps: list[int]) -> None:
    """Timers are driven by media time, whatever capture time does."""
    plain, stepped = (Engine("t", "c", [LINE, Loitering(name="l", polygon=SQUARE, dwell_s=20)]) for _ in "ab")
    result: list[list[Event]] = [[], []]
    for engine, events, by in ((plain, result[0], [0]), (stepped, result[1], steps)):
        events += engine.begin(1, START_US, SIZE)
        for n in range(600):
            off = by[n * len(by) // 600] * 1_000_000
            y = 490 + 40 * ((n // 50) % 2)
            events += engine.observe(seen((n + 1) / 5, person(1, 500, y), step_us=off))
        events += engine.end(601 * TICKS // 5, START_US + 601 * 200_000)
    alike = [[(e.pts, e.type) for e in events if not isinstance(e.data, Interval)] for events in result]
    assert alike[0] == alike[1]
    totals = [
        sum(e.data.counts["in.person"] for e in events if isinstance(e.data, Interval)) for events in result
    ]
    assert totals[0] == totals[1] == 6
    times = [sum(e.data.observed_s for e in events if isinstance(e.data, Interval)) for events in result]
    assert times[1] == pytest.approx(times[0], abs=0.02)


def test_an_observation_may_be_older_than_a_tick_but_not_than_an_observation() -> None:
    camera = Camera(LINE)
    camera.see(person(1, 500, 480))
    camera.tick(2)
    camera.t = 0.4
    camera.see(person(1, 500, 540))
    assert len(camera.of(Crossing)) == 1
    before = camera.engine.snapshot()
    with pytest.raises(IllegalTransition, match="media time"):
        camera.engine.observe(seen(0.5, person(1, 500, 540)))
    assert camera.engine.snapshot() == before
    assert camera.engine.tick(0, START_US) == []


def test_an_engine_outside_an_epoch_says_so() -> None:
    engine = Engine("town", "gate", [LINE])
    for call in (
        lambda: engine.observe(seen(1)),
        lambda: engine.tick(1, START_US),
        lambda: engine.end(1, START_US),
        lambda: engine.shed(0, 1),
    ):
        with pytest.raises(IllegalTransition, match="'gate': no epoch"):
            call()


def test_a_new_epoch_ends_one_that_still_runs() -> None:
    camera = Camera(Intrusion(name="yard", polygon=SQUARE))
    camera.stay(5, person(1, *INSIDE))
    camera.begin(2, START_US + 60_000_000)
    assert [(e.epoch, type(e.data)) for e in camera.events] == [(1, AlertRaised), (1, AlertCleared)]


def test_an_epoch_knows_nothing_of_the_targets_before() -> None:
    camera = Camera(LINE)
    camera.stay(5, person(1, 500, 480))
    camera.end()
    assert camera.engine.targets == ()
    camera.begin(2, START_US + 9_000_000)
    camera.see(person(1, 510, 540))
    (target,) = camera.engine.targets
    assert (target.serial, target.x, target.y, target.first_us) == (1, 510, 540, START_US + 9_200_000)
    assert camera.of(Crossing) == []


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'line'"):
        Engine("town", "gate", [LINE, LINE])


# Identity, sequence, snapshot

moves = st.lists(
    st.tuples(
        st.sampled_from(["see", "see", "see", "see", "tick", "shed", "end"]),
        st.floats(0.1, 2.0),
        st.lists(st.tuples(st.integers(1, 6), st.floats(250, 750), st.floats(250, 750)), max_size=4),
    ),
    min_size=5,
    max_size=60,
)


def apply(engine: Engine, history: list[Any]) -> list[Event]:
    """Drive an engine by a generated history; each `end` begins the next epoch."""
    events: list[Event] = []
    for kind, epoch, t, tracks in history:
        pts, us = round(t * TICKS), START_US + round(t * 1e6) + epoch * 600_000_000
        if kind == "begin":
            events += engine.begin(epoch, us, SIZE)
        elif kind == "see":
            boxes = tuple(Track(o, "person", 0.9, Box(x - 20, y - 80, x + 20, y)) for o, x, y in tracks)
            events += engine.observe(
                Observation(pts=pts, capture_us=us, width=SIZE[0], height=SIZE[1], tracks=boxes)
            )
        elif kind == "tick":
            events += engine.tick(pts, us)
        elif kind == "shed":
            events += engine.shed(pts, pts + TICKS)
        else:
            events += engine.end(pts, us)
    return events


def history_of(drawn: list[Any]) -> list[Any]:
    epoch, t = 1, 0.0
    history: list[Any] = [("begin", epoch, 0.0, [])]
    for kind, dt, tracks in drawn:
        t += dt
        distinct = list({track[0]: track for track in tracks}.values())
        history.append((kind, epoch, t, distinct))
        if kind == "end":
            epoch, t = epoch + 1, 0.0
            history.append(("begin", epoch, 0.0, []))
    return history


@settings(max_examples=80, deadline=None)
@given(moves, st.data())
def test_going_on_from_a_snapshot_is_bit_for_bit_the_same(drawn: list[Any], data: st.DataObject) -> None:
    history = history_of(drawn)
    cut = data.draw(st.integers(0, len(history)))
    whole = Engine("town", "gate", EVERYTHING, 10)
    apply(whole, history[:cut])
    # keys sorted as text, as storage may keep them
    kept = json.loads(json.dumps(whole.snapshot(), sort_keys=True))
    resumed = Engine("town", "gate", EVERYTHING, 10)
    resumed.restore(kept)
    assert json.dumps(resumed.snapshot(), sort_keys=True) == json.dumps(kept, sort_keys=True)
    rest, again = apply(whole, history[cut:]), apply(resumed, history[cut:])
    assert [encode(event) for event in again] == [encode(event) for event in rest]
    assert json.dumps(resumed.snapshot(), sort_keys=True) == json.dumps(whole.snapshot(), sort_keys=True)


@settings(max_examples=80, deadline=None)
@given(moves)
def test_ids_are_unique_and_sequences_have_no_hole(drawn: list[Any]) -> None:
    events = apply(Engine("town", "gate", EVERYTHING, 10), history_of(drawn))
    assert len({event.id for event in events}) == len(events)
    counts: dict[tuple[int, str], int] = {}
    for event in events:
        key = (event.epoch, event.family)
        assert event.sequence == counts.get(key, 0)
        counts[key] = event.sequence + 1
        assert decode(encode(event)) == event
    opened: set[str] = set()
    for event in events:
        if isinstance(event.data, AlertRaised):
            assert event.data.alert not in opened
            opened.add(event.data.alert)
        elif isinstance(event.data, AlertCleared):
            opened.remove(event.data.alert)


def test_the_same_footage_gives_the_same_ids_in_another_engine() -> None:
    streams = []
    for _ in range(2):
        camera = Camera(*EVERYTHING)
        for n in range(100):
            camera.see(person(1, 500, 300 + 4 * n), person(2, 300 + 4 * n, 500))
        camera.end()
        streams.append([encode(event) for event in camera.events])
    assert streams[0] == streams[1]
    assert len(streams[0]) > 10


def test_a_rule_that_was_removed_or_changed_has_its_alerts_cleared() -> None:
    yard = Intrusion(name="yard", polygon=SQUARE)
    door = Loitering(name="door", polygon=SQUARE, dwell_s=1)
    camera = Camera(yard, door, LINE)
    camera.stay(5, person(1, *INSIDE))
    assert len(camera.of(AlertRaised)) == 2
    changed = Engine("town", "gate", [Intrusion(name="yard", polygon=SQUARE, dwell_s=2), LINE])
    changed.restore(camera.engine.snapshot())
    changed.restore(changed.snapshot())
    cleared = [e.data for e in changed.tick(6 * TICKS, START_US + 6_000_000)]
    assert [(c.rule, c.reason) for c in cleared if isinstance(c, AlertCleared)] == [
        ("yard", "rule-removed"),
        ("door", "rule-removed"),
    ]
    assert {c.alert for c in cleared if isinstance(c, AlertCleared)} == {
        a.alert for a in camera.of(AlertRaised)
    }


def test_a_snapshot_of_another_camera_is_refused() -> None:
    with pytest.raises(ValueError, match="'gate'"):
        Engine("town", "door", []).restore(Engine("town", "gate", []).snapshot())


def test_ten_tracks_and_five_rules_take_little_time() -> None:
    """A bound against accidents of order of magnitude; `benchmarks` measures."""
    from timeit import timeit

    camera = Camera(*EVERYTHING[:5])
    took = timeit(
        lambda: camera.see(*(person(i, 50 + 90 * i, 300 + 5 * i) for i in range(1, 11))), number=200
    )
    assert took / 200 < 0.005

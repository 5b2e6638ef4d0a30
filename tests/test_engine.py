"""The engine: time, identity, sequence, and going on from a snapshot."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import decode, encode
from events.engine import Engine
from events.errors import IllegalTransition
from events.events import AlertCleared, AlertRaised, Crossing, Event, Interval
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
from tests.scenes import SIZE, START_US, Camera, person, seen

SQUARE = ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7))
LINE = Line(name="line", points=((0.2, 0.5), (0.8, 0.5)), labels=("person", "car"))
INSIDE = (500, 500)

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


# Time


@settings(max_examples=50, deadline=None)
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

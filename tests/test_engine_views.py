"""A dome's rules: they live only while the camera is settled at their preset."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import codec
from events.engine import Captured, Engine
from events.errors import IllegalTransition
from events.events import AlertCleared, AlertRaised, Crossing, FaceCaptured, Interval, ViewChanged
from events.media import TICKS
from events.observations import Box, Shot
from events.rules import Intrusion, Line, Stationary, Zone
from events.views import View
from tests.scenes import SIZE, START_US, Camera, person, vehicle

GATE = Line(name="gate-line", preset="gate", points=((0.0, 0.5), (1.0, 0.5)))
SQUARE = Line(name="square-line", preset="square", points=((0.0, 0.5), (1.0, 0.5)))
YARD = Intrusion(name="yard", preset="gate", dwell_s=0.5, clear_s=1.0)
ROOM = Zone(name="room", preset="square")


class Dome(Camera):
    """A camera that can be turned."""

    def turn(self, preset: str = "", state: str = "settled") -> None:
        view = msgspec.convert(
            {"pts": round(self.t * TICKS), "state": state if not preset else "settled", "preset": preset},
            View,
        )
        self.events += self.engine.view(view, self.us(self.t))


def walk_over(dome: Camera, ordinal: int) -> None:
    for n in range(11):
        dome.see(person(ordinal, 500, 300 + 40 * n))
    dome.see(ended=(ordinal,))


def test_nothing_is_counted_until_a_preset_is_known() -> None:
    dome = Dome(GATE, SQUARE)
    walk_over(dome, 1)
    assert dome.of(Crossing) == []


def test_only_the_rules_of_the_present_view_count_and_counts_carry_it() -> None:
    dome = Dome(GATE, SQUARE)
    dome.turn("gate")
    walk_over(dome, 1)
    dome.turn(state="moving")
    walk_over(dome, 2)
    dome.turn("square")
    walk_over(dome, 3)
    assert [(c.rule, c.preset) for c in dome.of(Crossing)] == [
        ("gate-line", "gate"),
        ("square-line", "square"),
    ]
    views = [(v.state, v.preset, v.was) for v in dome.of(ViewChanged)]
    assert views == [("settled", "gate", ""), ("moving", "", "gate"), ("settled", "square", "")]


def test_somebody_under_way_over_the_line_when_the_camera_turns_is_not_counted() -> None:
    dome = Dome(GATE)
    dome.turn("gate")
    for n in range(4):
        dome.see(person(1, 500, 300 + 40 * n))
    dome.turn(state="moving")
    dome.turn("gate")
    for n in range(4):
        dome.see(person(1, 500, 620 + 40 * n))  # the same ordinal, by then below the line
    assert dome.of(Crossing) == []


def test_an_alert_ends_when_the_camera_turns_away_and_begins_anew_when_it_is_back() -> None:
    dome = Dome(YARD)
    dome.turn("gate")
    dome.stay(2.0, person(1, 500, 500))
    dome.turn(state="moving")
    dome.stay(3.0, person(2, 500, 500))
    dome.turn("gate")
    dome.stay(2.0, person(3, 500, 500))
    raised, cleared = dome.of(AlertRaised), dome.of(AlertCleared)
    assert [a.preset for a in raised] == ["gate", "gate"]
    assert raised[0].alert != raised[1].alert
    assert [(c.alert, c.reason) for c in cleared] == [(raised[0].alert, "view-left")]


def test_what_stands_still_over_a_short_tour_is_one_alert() -> None:
    dome = Dome(Stationary(name="parked", preset="gate", for_s=10.0, absent_s=5.0))
    dome.turn("gate")
    dome.stay(15.0, vehicle(1, 500, 500))
    dome.turn(state="moving")
    dome.stay(20.0)
    dome.turn("gate")
    dome.stay(15.0, vehicle(2, 500, 500))
    assert len(dome.of(AlertRaised)) == 1
    assert dome.of(AlertCleared) == []


def test_an_interval_has_observed_only_what_was_seen_at_its_preset() -> None:
    dome = Dome(GATE, ROOM)
    dome.turn("gate")
    dome.stay(20.0)
    dome.turn(state="moving")
    dome.stay(5.0)
    dome.turn("square")
    dome.stay(35.2, person(1, 500, 500))
    by_rule = {i.rule: i for i in dome.of(Interval)}
    assert by_rule["gate-line"].observed_s == pytest.approx(20.0, abs=0.3)
    assert by_rule["room"].observed_s == pytest.approx(35.0, abs=0.3)
    assert (by_rule["gate-line"].preset, by_rule["room"].preset) == ("gate", "square")
    assert by_rule["room"].occupancy["person"] == pytest.approx(1.0, abs=0.02)
    assert by_rule["room"].counts["max.person"] == 1


def test_a_view_needs_an_epoch() -> None:
    with pytest.raises(IllegalTransition):
        Engine("town", "dome", [GATE]).view(View(pts=0, state="moving"), START_US)


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["gate", "square", "moving", "unknown"]),
        st.integers(1, 8).map(lambda n: n / 5),
    ),
    max_size=30,
)


@given(steps=STEPS, cut=st.integers(0, 30))
def test_an_engine_restored_anywhere_on_a_tour_goes_on_the_same(steps: list[str | float], cut: int) -> None:
    def play(dome: Dome, part: list[str | float]) -> list[bytes]:
        before = len(dome.events)
        for step in part:
            if step in ("gate", "square"):
                dome.turn(str(step))
            elif isinstance(step, str):
                dome.turn(state=step)
            else:
                dome.stay(step, person(1, 500, 300 + (dome.t * 200) % 400))
        return [codec.encode(e) for e in dome.events[before:]]

    rules = (GATE, SQUARE, YARD, ROOM)
    whole = Dome(*rules)
    play(whole, steps[:cut])
    other = Dome(*rules)
    other.engine.restore(whole.engine.snapshot())
    other.t, other.events = whole.t, []
    assert play(whole, steps[cut:]) == play(other, steps[cut:])
    assert whole.engine.snapshot() == other.engine.snapshot()


def test_a_capture_says_when_and_where_and_names_its_pictures() -> None:
    engine = Engine("town", "door", [], place=(112.5, 37.8))
    engine.begin(5, START_US, SIZE)
    shot = Shot(
        track=3,
        first_pts=0,
        last_pts=90_000,
        pts=45_000,
        box=Box(100.0, 200.0, 200.0, 400.0),
        size=SIZE,
        quality=0.71,
        measures={"size": 0.9},
    )
    times = Captured(START_US, START_US + 1_000_000, START_US + 500_000, START_US + 1_200_000)
    (event,) = engine.captured(shot, times, 108_000, sealed=True)
    data = event.data
    assert isinstance(data, FaceCaptured)
    assert (event.family, event.sequence, event.pts, event.time_us) == (
        "face",
        0,
        108_000,
        START_US + 1_200_000,
    )
    assert (data.at_us, data.box, data.place) == (START_US + 500_000, (0.1, 0.2, 0.2, 0.4), (112.5, 37.8))
    assert data.capture == event.id
    assert data.picture == f"faces/door/{event.id}.jpg"
    assert data.sealed == f"faces/door/{event.id}.age"
    (unsealed,) = engine.captured(msgspec.structs.replace(shot, track=4), times, 108_000, sealed=False)
    assert isinstance(unsealed.data, FaceCaptured)
    assert unsealed.data.sealed == ""
    assert unsealed.sequence == 1

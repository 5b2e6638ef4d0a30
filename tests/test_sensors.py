"""Sensors' rules: what they say of readings, in whatever order these come."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import decode_data, encode_data
from events.events import AlertCleared, AlertRaised, AlertUpdated
from events.sensor_conditions import PARTS, centre_and_spread
from events.sensor_rules import Deviation, Rate, SensorRule, Silence, Threshold
from events.sensor_tracks import PATIENCE_US
from events.sensors import MOST_KEPT, Said, SensorEngine

S = 1_000_000
START = 1_700_000_000 * S
DELAY = 100_000
"""A reading arrives so long after it was measured."""

FLOODED = Threshold(name="flooded", quantity="level", above=10, clear_above=8)


class Sensor:
    """An engine fed by the second."""

    def __init__(self, *rules: SensorRule, **more: Any) -> None:
        self.engine = SensorEngine("town", "manhole-7", rules, **more)
        self.said: list[Said] = []
        self.engine.listen(START)

    def read(self, t: float, value: float, arrives: float | None = None) -> list[str]:
        """A reading of the level at `t`; answers what was said to it."""
        at = START + round(t * S)
        received = at + DELAY if arrives is None else START + round(arrives * S)
        return self._heard(self.engine.feed("level", value, at, received))

    def tick(self, t: float) -> list[str]:
        return self._heard(self.engine.tick(START + round(t * S)))

    def _heard(self, said: list[Said]) -> list[str]:
        self.said += said
        return [word(one) for one in said]

    def last(self, kind: type) -> Any:
        return [one.data for one in self.said if isinstance(one.data, kind)][-1]


def word(said: Said) -> str:
    return type(said.data).__name__.removeprefix("Alert").lower()


# What a rule may say


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Threshold(name="x", quantity="level"), "above"),
        (lambda: Threshold(name="x", quantity="level", above=float("nan")), "above"),
        (lambda: Threshold(name="x", quantity="level", above=1, below=2), "below"),
        (lambda: Threshold(name="x", quantity="level", above=1, clear_above=2), "clear_above"),
        (lambda: Threshold(name="x", quantity="level", above=1, clear_below=2), "clear_below"),
        (lambda: Threshold(name="x", quantity="level", below=1, clear_below=0), "clear_below"),
        (lambda: Threshold(name="x", quantity="level", above=1, for_s=-1), "for_s"),
        (lambda: Threshold(name="x", quantity="level", above=1, clear_s=float("inf")), "clear_s"),
        (lambda: Threshold(name="x", quantity="", above=1), "quantity"),
        (lambda: Rate(name="x", quantity="level"), "rise_per_min"),
        (lambda: Rate(name="x", quantity="level", rise_per_min=0), "rise_per_min"),
        (lambda: Rate(name="x", quantity="level", fall_per_min=1, window_s=0), "window_s"),
        (lambda: Deviation(name="x", quantity="level", z=0), "z"),
        (lambda: Deviation(name="x", quantity="level", clear_z=9), "clear_z"),
        (lambda: Deviation(name="x", quantity="level", samples=2), "samples"),
        (lambda: Deviation(name="x", quantity="level", samples=PARTS + 1), "samples"),
        (lambda: Deviation(name="x", quantity="level", least_spread=-1), "least_spread"),
        (lambda: Silence(name="x", quantity="level", for_s=0), "for_s"),
    ],
)
def test_a_rule_that_makes_no_sense_names_itself_and_the_field(make: Callable[[], Any], field: str) -> None:
    with pytest.raises(ValueError, match=rf"rule 'x': {field}"):
        make()


def test_a_name_that_could_not_stand_in_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match="'No/Name'"):
        Silence(name="No/Name", quantity="level", for_s=1)


def test_rules_are_read_from_toml() -> None:
    text = """
        [[rules]]
        kind = "threshold"
        name = "open"
        quantity = "open"
        above = 0.5
        [[rules]]
        kind = "silence"
        name = "dead"
        quantity = "open"
        for_s = 900
    """
    rules = msgspec.toml.decode(text, type=dict[str, tuple[SensorRule, ...]])["rules"]
    assert [type(rule) for rule in rules] == [Threshold, Silence]
    assert rules[0].severity == "minor"
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"kind": "silence", "name": "x", "quantity": "a", "for_s": 1, "above": 1}, SensorRule)


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'flooded'"):
        SensorEngine("town", "manhole-7", [FLOODED, FLOODED])


# Threshold


def test_a_threshold_has_hysteresis_only_while_its_alert_is_open() -> None:
    sensor = Sensor(FLOODED)
    assert sensor.read(0, 9) == [], "between the two limits: not yet"
    assert sensor.read(1, 10) == [], "at the limit"
    assert sensor.read(2, 11) == ["raised"]
    assert sensor.read(3, 9) == []
    assert sensor.read(4, 8) == ["cleared"]
    assert sensor.read(5, 9) == []


def test_what_is_said_of_a_threshold() -> None:
    sensor = Sensor(FLOODED, place=(120.5, 30.1), units={"level": "m"})
    sensor.read(0, 5)
    sensor.read(7, 11)
    sensor.read(9, 12)
    sensor.read(20, 3)
    raised, cleared = sensor.last(AlertRaised), sensor.last(AlertCleared)
    assert (raised.rule, raised.kind, raised.label, raised.severity) == (
        "flooded",
        "threshold",
        "level",
        "minor",
    )
    assert (raised.since_us, raised.box, raised.tracks, raised.place) == (
        START + 7 * S,
        None,
        (),
        (120.5, 30.1),
    )
    assert raised.detail == {
        "value": 11.0,
        "limit": 10.0,
        "unit": "m",
        "why": "level is 11 m, above the limit of 10 m",
    }
    assert (cleared.alert, cleared.reason, cleared.until_us) == (raised.alert, "returned", START + 9 * S)
    assert [said.time_us for said in sensor.said] == [START + 7 * S, START + 20 * S]


def test_below_and_above_are_two_alerts() -> None:
    sensor = Sensor(Threshold(name="x", quantity="level", above=10, below=2))
    assert sensor.read(0, 11) == ["raised"]
    assert sensor.read(1, 1) == ["cleared", "raised"]
    assert sensor.last(AlertRaised).detail["limit"] == 2
    assert sensor.read(2, 5) == ["cleared"]


def test_a_condition_has_to_last_from_reading_to_reading() -> None:
    sensor = Sensor(Threshold(name="x", quantity="level", above=10, for_s=30, clear_s=20))
    assert [sensor.read(t, 11) for t in (0, 10, 20)] == [[], [], []]
    sensor.read(25, 3)
    assert [sensor.read(t, 11) for t in (30, 45, 59)] == [[], [], []], "it begins anew"
    assert sensor.read(60, 11) == ["raised"]
    assert sensor.last(AlertRaised).since_us == START + 30 * S
    assert sensor.read(70, 5) == []
    assert sensor.read(80, 11) == []
    assert sensor.read(90, 5) == []
    assert sensor.read(109, 5) == []
    assert sensor.read(110, 5) == ["cleared"]
    assert sensor.last(AlertCleared).until_us == START + 80 * S


def test_a_door_that_tells_only_changes_is_open_for_long_without_a_reading() -> None:
    sensor = Sensor(Threshold(name="open", quantity="level", above=0.5, for_s=60))
    sensor.read(0, 0)
    sensor.read(5, 1)
    assert sensor.tick(65) == [], "a reading from before may be under way"
    assert sensor.tick(65 + PATIENCE_US / S) == ["raised"]
    assert sensor.said[-1].time_us == START + 65 * S
    assert sensor.tick(1000) == []
    assert sensor.read(2000, 0) == ["cleared"]


def test_an_open_alert_is_updated_when_it_got_much_worse_and_not_often() -> None:
    sensor = Sensor(FLOODED)
    for t in range(60):
        sensor.read(t, 11 + t)
    updates = [said for said in sensor.said if isinstance(said.data, AlertUpdated)]
    assert [(said.time_us - START) // S for said in updates] == [10, 20, 31, 47], (
        "10 s apart, half as much more"
    )
    assert isinstance(updates[-1].data, AlertUpdated)
    assert updates[-1].data.detail["value"] == 58
    for t in range(60, 120):
        assert sensor.read(t, 30) == []


# Rate


def test_a_rate_is_measured_over_its_window() -> None:
    sensor = Sensor(Rate(name="rises", quantity="level", rise_per_min=6, window_s=60), units={"level": "m"})
    for t in range(0, 120, 10):
        assert sensor.read(t, t / 20 + (t // 10) % 2 * 0.5) == [], "3 a minute, and noise that is 30 a minute"
    assert [sensor.read(120 + t, 6 + t / 5) for t in (10, 20)] == [[], []]
    assert [sensor.read(120 + t, 6 + t / 5) for t in (30, 40, 50)] == [["raised"], [], []]
    detail = sensor.last(AlertRaised).detail
    assert detail["over_s"] == 60
    assert detail["rate_per_min"] == 7
    assert "rose by" in detail["why"]
    assert "m a minute over 60 s" in detail["why"]


def test_a_rate_of_a_sensor_that_is_slower_than_the_window() -> None:
    sensor = Sensor(Rate(name="falls", quantity="level", fall_per_min=1, window_s=60))
    assert sensor.read(0, 100) == []
    assert sensor.read(600, 95) == []
    assert sensor.read(1200, 80) == ["raised"]
    assert sensor.last(AlertRaised).detail["rate_per_min"] == -1.5
    assert sensor.read(1800, 120) == ["cleared"], "it rises, and nobody asked for that"


# Deviation


def test_the_spread_is_robust_and_that_of_normal_values() -> None:
    rnd = random.Random(3)
    values = [rnd.gauss(20, 2) for _ in range(5000)]
    middle, spread = centre_and_spread(values)
    assert (middle, spread) == (pytest.approx(20, abs=0.1), pytest.approx(2, rel=0.05))
    for n in range(0, 5000, 5):
        values[n] = 1e6
    middle, spread = centre_and_spread(values)
    assert (middle, spread) == (pytest.approx(20, abs=1), pytest.approx(2, rel=0.5))


def test_iglewicz_and_hoaglins_score() -> None:
    """M = 0.6745 (x - median) / MAD, computed by hand: median 2.5, MAD 1."""
    middle, spread = centre_and_spread([1.0, 1.5, 2.0, 3.0, 3.5, 4.0])
    assert (100.0 - middle) / spread == pytest.approx(0.6745 * 97.5 / 1.0, rel=1e-4)


def test_a_mad_of_zero_gives_way_to_the_smallest_step() -> None:
    assert centre_and_spread([5.0] * 30) == (5.0, 0.0)
    assert centre_and_spread([5.0] * 28 + [8.0, 7.5]) == (5.0, 0.5)


def test_a_value_that_flickers_by_its_last_digit_is_as_usual() -> None:
    sensor = Sensor(Deviation(name="odd", quantity="level", window_s=2400))
    for n in range(100):
        assert sensor.read(10 * n, 20.1 if n % 7 == 3 else 20) == []
    assert sensor.read(1000, 20.3) == []
    assert sensor.read(1010, 20.5) == ["raised"]


def test_a_deviation_from_what_is_usual() -> None:
    sensor = Sensor(Deviation(name="odd", quantity="level", z=6, window_s=2400), units={"level": "m"})
    for n in range(60):
        assert sensor.read(10 * n, 5 + 0.1 * (n % 5)) == []
    assert sensor.read(600, 9) == ["raised"]
    detail = sensor.last(AlertRaised).detail
    assert detail["median"] == 5.2
    assert detail["z"] == pytest.approx((9 - 5.2) / (1.4826 * 0.1), rel=1e-3)
    assert (detail["samples"], detail["limit"], detail["unit"]) == (60, 6, "m")
    assert "above the median of 5.2 m (60 values over 2400 s)" in detail["why"]
    assert sensor.read(610, 6) == [], "5.4 spreads: still out"
    assert sensor.read(620, 5.2) == ["cleared"]


def test_nothing_is_said_before_there_are_enough_values() -> None:
    sensor = Sensor(Deviation(name="odd", quantity="level", samples=10, window_s=2400))
    for n in range(9):
        sensor.read(10 * n, n % 3)
    assert sensor.read(90, 1000) == []
    assert sensor.read(100, 1000) == ["raised"]


def test_a_constant_sensor_is_judged_by_its_least_spread_or_not_at_all() -> None:
    plain, fine = (
        Sensor(Deviation(name="odd", quantity="level", window_s=2400, least_spread=least))
        for least in (0, 0.1)
    )
    for sensor in (plain, fine):
        for n in range(40):
            assert sensor.read(10 * n, 20) == []
        assert sensor.read(400, 20.1) == []
    assert plain.read(405, 21) == [], "the part of 10 s that began with 20.1 is not compared with"
    assert fine.read(405, 21) == ["raised"]
    assert plain.read(415, 25) == ["raised"], "now there is a step: 1"


def test_a_lasting_level_becomes_usual() -> None:
    sensor = Sensor(Deviation(name="odd", quantity="level", z=6, window_s=600))
    heard = [word for n in range(240) for word in sensor.read(5 * n, (5 if n < 120 else 9) + 0.1 * (n % 5))]
    assert heard == ["raised", "cleared"]
    assert (sensor.said[-1].time_us - START) / S == pytest.approx(600 + 300, abs=30)


def test_a_burst_weighs_no_more_than_its_time() -> None:
    sensor = Sensor(Deviation(name="odd", quantity="level", z=6, window_s=2400))
    for n in range(60):
        sensor.read(10 * n, 5 + 0.1 * (n % 5))
    for n in range(200):
        sensor.read(600 + n / 25, 9)
    assert sensor.read(610, 9) == [], "nothing new"
    assert sensor.engine.open != {}


# Silence


def test_silence_is_counted_from_the_last_reading_and_ends_with_the_next() -> None:
    sensor = Sensor(Silence(name="dead", quantity="level", for_s=60))
    sensor.read(10, 1)
    assert sensor.tick(70) == []
    assert sensor.tick(70.2) == ["raised"]
    raised = sensor.last(AlertRaised)
    assert (raised.kind, raised.since_us, sensor.said[-1].time_us) == (
        "silence",
        START + 10 * S + DELAY,
        START + 70 * S + DELAY,
    )
    assert raised.detail == {"silent_s": 60.0, "why": "no reading of level for 60 s"}
    assert sensor.tick(500) == []
    sensor.engine.listen(START + 600 * S)
    assert sensor.tick(600) == [], "that somebody listens ends no silence"
    assert sensor.read(610, 1) == ["cleared"]
    assert sensor.last(AlertCleared).until_us == START + 610 * S + DELAY
    assert sensor.tick(671) == ["raised"]


def test_a_sensor_that_was_never_heard_is_silent_too() -> None:
    sensor = Sensor(Silence(name="dead", quantity="level", for_s=60))
    sensor.engine.feed("another", 1.0, START + 50 * S, START + 50 * S)
    assert sensor.tick(59) == []
    assert sensor.tick(60) == ["raised"]


def test_silence_is_not_counted_while_nobody_listens() -> None:
    sensor = Sensor(Silence(name="dead", quantity="level", for_s=60))
    sensor.read(10, 1)
    sensor.engine.listen(START + 5000 * S)  # the broker is back
    assert sensor.tick(5059) == []
    assert sensor.tick(5060) == ["raised"]


def test_what_comes_before_anybody_was_seen_to_listen_makes_no_silence() -> None:
    """After a stop of the box the first reading may come before the connection is told."""
    sensor = Sensor(
        Silence(name="dead", quantity="level", for_s=60), Silence(name="x", quantity="y", for_s=60)
    )
    sensor.read(10, 1)
    assert sensor.read(5000, 1) == []
    assert sensor.tick(5001) == ["raised"], "of the other one, for time has passed and nobody called listen"
    assert sensor.last(AlertRaised).rule == "x"
    assert sensor.tick(5061) == ["raised"]


def test_what_comes_again_is_no_sign_of_life() -> None:
    """A broker gives a retained message at each connection."""
    sensor = Sensor(Silence(name="dead", quantity="level", for_s=60))
    sensor.read(10, 1)
    sensor.read(10, 1, arrives=65)
    assert sensor.tick(71) == ["raised"]


def test_a_clock_that_is_set_back_neither_hides_silence_for_long_nor_makes_it() -> None:
    sensor = Sensor(Silence(name="dead", quantity="level", for_s=60))
    sensor.read(10_000, 1)
    assert sensor.tick(100) == []
    assert sensor.tick(159) == []
    assert sensor.tick(160) == ["raised"]
    assert sensor.tick(1) == [], "still silent"
    assert sensor.read(5, 1, arrives=2) == [] or sensor.read(10_001, 1, arrives=3) == ["cleared"]


# Order


def test_a_late_reading_does_not_undo_what_newer_ones_decided() -> None:
    sensor = Sensor(FLOODED)
    sensor.read(0, 5)
    sensor.read(20, 11)
    assert sensor.read(10, 5, arrives=21) == []
    assert sensor.read(30, 5) == ["cleared"]
    assert sensor.read(25, 12, arrives=31) == []


def test_a_late_reading_counts_where_it_stands() -> None:
    sensor = Sensor(FLOODED)
    sensor.read(0, 5)
    assert sensor.read(20, 9) == []
    assert sensor.read(10, 11, arrives=21) == ["raised"], "it was above, and 9 is not yet over"
    assert sensor.read(15, 7, arrives=22) == ["cleared"], "and it was over in between"


def test_readings_of_an_outage_are_judged_by_their_own_times() -> None:
    """They arrive at once, hours later: the box's clock decides nothing between them."""
    sensor = Sensor(Threshold(name="x", quantity="level", above=10, for_s=30))
    for t in range(0, 100, 10):
        assert sensor.read(t, 11 if t % 20 else 5, arrives=7200 + t / 100) == []
    assert sensor.tick(7201) == []
    assert sensor.tick(7203) == ["raised"], "the last one is above"
    assert sensor.said[-1].time_us == START + 120 * S


def test_a_late_reading_can_show_that_it_did_not_last() -> None:
    sensor = Sensor(Threshold(name="x", quantity="level", above=10, for_s=30))
    sensor.read(0, 11)
    assert sensor.read(40, 11) == ["raised"]
    assert sensor.read(20, 5, arrives=41) == ["cleared"]
    assert sensor.read(71, 11) == ["raised"]
    assert sensor.last(AlertRaised).since_us == START + 40 * S


def test_what_was_under_way_for_long_can_undo_a_deadline_that_ran_out() -> None:
    sensor = Sensor(Threshold(name="x", quantity="level", above=10, clear_above=8, for_s=30))
    sensor.read(0, 11)
    assert sensor.tick(40) == ["raised"]
    assert sensor.read(20, 9, arrives=41) == ["cleared"], "on the way to an alert the full limit counts"


def test_an_alert_stays_the_same_when_a_late_reading_moves_its_beginning() -> None:
    sensor = Sensor(FLOODED)
    assert sensor.read(20, 11) == ["raised"]
    assert sensor.read(10, 11, arrives=21) == []
    assert sensor.read(30, 11) == []
    assert sensor.read(40, 1) == ["cleared"]
    assert sensor.said[0].data.alert == sensor.said[1].data.alert


def test_too_late_is_ignored_and_so_is_the_far_future() -> None:
    sensor = Sensor(FLOODED, late_s=60)
    sensor.read(0, 5)
    sensor.read(100, 9)
    before = sensor.engine.snapshot()
    assert sensor.read(39, 11, arrives=100.1) == []
    assert sensor.read(200, 11, arrives=100.1) == []
    assert sensor.engine.snapshot() == before
    assert sensor.read(40, 11, arrives=100.1) == ["raised"]


def test_what_is_kept_of_a_fast_sensor_is_bounded() -> None:
    sensor = Sensor(
        FLOODED, Deviation(name="odd", quantity="level"), Rate(name="r", quantity="level", rise_per_min=1e9)
    )
    for n in range(3000):
        sensor.read(n / 100, n % 7)
    state = sensor.engine.snapshot()
    assert len(state["streams"]["level"]["readings"]) == MOST_KEPT
    assert len(json.dumps(state)) < 20_000
    sensor.read(10.001, 11, arrives=30)
    after = sensor.engine.snapshot()
    assert (after["streams"], after["rules"]) == (state["streams"], state["rules"]), "its window is shorter"


def test_a_value_that_is_no_number_is_refused_and_a_huge_one_does_no_harm() -> None:
    sensor = Sensor(
        FLOODED, Rate(name="r", quantity="level", rise_per_min=1), Deviation(name="d", quantity="level")
    )
    with pytest.raises(ValueError, match="'manhole-7': level"):
        sensor.read(0, float("nan"))
    for n in range(100):
        sensor.read(10 * n, (-1) ** n * 1.7e308 if n > 50 else n % 3)
    for said in sensor.said:
        assert decode_data(encode_data(said.data)) == said.data
    sensor.engine.restore(sensor.engine.snapshot())


# Properties

RULES: list[SensorRule] = [
    Threshold(name="edge", quantity="level", above=10, clear_above=8, below=2),
    Threshold(name="lasting", quantity="level", above=10, clear_above=8, for_s=20, clear_s=15),
    Rate(name="rate", quantity="level", rise_per_min=20, fall_per_min=20, window_s=15, clear_s=10),
    Deviation(name="odd", quantity="level", samples=5, window_s=240, z=3, least_spread=0.5),
    Silence(name="dead", quantity="level", for_s=40),
    Threshold(name="door", quantity="open", above=0.5, for_s=10),
]
READINGS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 5, 11, 20]),
        st.sampled_from(["level", "level", "level", "open"]),
        st.sampled_from([0, 1, 5, 8, 9, 10, 10.5, 11, 15]),
    ),
    min_size=1,
    max_size=25,
)
Fed = tuple[str, float, int]


def timed(drawn: Sequence[tuple[int, str, float]], start: int) -> list[Fed]:
    """Quantity, value and time of measurement in seconds."""
    readings, t = [], start
    for gap, quantity, value in drawn:
        t += gap
        readings.append((quantity, value, t))
    return readings


def engine_of(rules: Sequence[SensorRule] = RULES, late_s: float = 600) -> SensorEngine:
    engine = SensorEngine("town", "manhole-7", rules, late_s=late_s)
    engine.listen(START)
    return engine


def feed(engine: SensorEngine, readings: Sequence[Fed], arrives: int | None = None) -> list[Said]:
    """`arrives`: when all of them do, in seconds."""
    said: list[Said] = []
    for quantity, value, t in readings:
        said += engine.feed(quantity, value, START + t * S, START + (t if arrives is None else arrives) * S)
    return said


def standing(engine: SensorEngine) -> dict[str, str]:
    """Side of what is open, by rule."""
    kept = engine.snapshot()["rules"]
    return {one["rule"]["name"]: one["told"]["side"] for one in kept if one["told"]}


@settings(max_examples=150, deadline=None)
@given(READINGS, READINGS, st.data())
def test_any_order_of_arrival_ends_the_same(before: Any, after: Any, data: st.DataObject) -> None:
    """After a settled past, readings within the window in any order, with ticks in between."""
    past = timed(before, 0)
    window = timed(after, 1000)
    end = window[-1][2]
    ordered, shuffled = engine_of(), engine_of()
    feed(ordered, past)
    feed(shuffled, past)
    feed(ordered, window, end)
    for reading in data.draw(st.permutations(window)):
        feed(shuffled, [reading], end)
        shuffled.tick(START + end * S + data.draw(st.sampled_from([0, 0, 3 * S])))
    later = [("level", 9.0, end + 5), ("level", 9.0, end + 9), ("open", 0.0, end + 9)]
    for engine in (ordered, shuffled):
        engine.tick(START + (end + 4) * S)
    assert standing(shuffled) == standing(ordered)
    feed(ordered, later)
    feed(shuffled, later)
    for engine in (ordered, shuffled):
        engine.tick(START + (end + 20) * S)
    assert standing(shuffled) == standing(ordered)
    assert shuffled.snapshot()["streams"] == ordered.snapshot()["streams"]


@settings(max_examples=100, deadline=None)
@given(READINGS, st.lists(st.integers(0, 29), min_size=25, max_size=25))
def test_what_is_late_by_less_than_the_window_ends_the_same(drawn: Any, late: list[int]) -> None:
    """Much longer than the window: readings are settled on the way."""
    readings = timed([(gap * 2, quantity, value) for gap, quantity, value in drawn], 0)
    arrived = [
        reading for _, reading in sorted((r[2] + by, r) for r, by in zip(readings, late, strict=False))
    ]
    ordered, shuffled = engine_of(late_s=30), engine_of(late_s=30)
    end = readings[-1][2]
    feed(ordered, readings, end)
    feed(shuffled, arrived, end)
    for engine in (ordered, shuffled):
        engine.tick(START + (end + 4) * S)
    assert standing(shuffled) == standing(ordered)
    assert shuffled.snapshot()["streams"] == ordered.snapshot()["streams"]


@settings(max_examples=100, deadline=None)
@given(READINGS, st.data())
def test_what_comes_twice_changes_nothing(drawn: Any, data: st.DataObject) -> None:
    readings = timed(drawn, 0)
    once, twice = engine_of(), engine_of()
    for n, reading in enumerate(readings):
        expected = feed(once, [reading])
        assert feed(twice, [reading]) == expected
        quantity, value, t = data.draw(st.sampled_from(readings[: n + 1]))
        assert feed(twice, [(quantity, value + data.draw(st.sampled_from([0, 3])), t)], reading[2]) == []
        assert twice.snapshot() == once.snapshot()


@settings(max_examples=100, deadline=None)
@given(READINGS, st.data())
def test_going_on_from_a_snapshot_is_the_same(drawn: Any, data: st.DataObject) -> None:
    late_s = data.draw(st.sampled_from([20, 600]))
    readings = data.draw(st.permutations(timed(drawn, 0)))
    cut = data.draw(st.integers(0, len(readings)))
    whole = engine_of(late_s=late_s)
    arrives = max(t for _, _, t in readings)

    def go(engine: SensorEngine, part: Sequence[Fed]) -> list[Said]:
        said: list[Said] = []
        for n, reading in enumerate(part):
            said += feed(engine, [reading], arrives + n)
            said += engine.tick(START + (arrives + n) * S)
        return said + engine.tick(START + (arrives + 100) * S)

    feed(whole, readings[:cut], arrives)
    kept = json.loads(json.dumps(whole.snapshot(), sort_keys=True))
    resumed = SensorEngine("town", "manhole-7", RULES, late_s=late_s)
    resumed.restore(kept)
    assert resumed.snapshot() == kept
    assert go(resumed, readings[cut:]) == go(whole, readings[cut:])
    assert resumed.snapshot() == whole.snapshot()


@settings(max_examples=100, deadline=None)
@given(READINGS, st.data())
def test_ticks_before_the_next_arrival_make_no_difference(drawn: Any, data: st.DataObject) -> None:
    """So a box that feeds the journal's readings again says the same, id for id."""
    rules = [rule for rule in RULES if not isinstance(rule, Silence)]
    live, again = engine_of(rules), engine_of(rules)
    said, repeated = [], []
    last = 0
    for reading in timed(drawn, 0):
        for at in sorted(data.draw(st.lists(st.integers(last, reading[2]), max_size=3))):
            said += live.tick(START + at * S)
        said += feed(live, [reading])
        repeated += feed(again, [reading])
        last = reading[2]
    for rule in rules:  # of several rules, what the time shows comes in the order of the ticks
        assert [one for one in repeated if one.data.rule == rule.name] == [
            one for one in said if one.data.rule == rule.name
        ]
    assert again.snapshot() == live.snapshot()


@settings(max_examples=100, deadline=None)
@given(READINGS, st.data())
def test_ids_are_unique_and_what_is_cleared_was_raised(drawn: Any, data: st.DataObject) -> None:
    readings = timed(drawn, 0)
    engine = engine_of()
    said = feed(engine, data.draw(st.permutations(readings)), readings[-1][2])
    said += engine.tick(START + 1000 * S)
    assert len({one.id for one in said}) == len(said)
    opened: dict[str, str] = {}
    for one in said:
        assert decode_data(encode_data(one.data)) == one.data
        if isinstance(one.data, AlertRaised):
            assert one.data.rule not in opened
            opened[one.data.rule] = one.data.alert
        elif isinstance(one.data, AlertCleared):
            assert opened.pop(one.data.rule) == one.data.alert
        else:
            assert opened[one.data.rule] == one.data.alert
    assert opened == engine.open


# Other rules than before


def test_a_rule_that_was_changed_begins_anew_and_its_alert_is_cleared() -> None:
    sensor = Sensor(FLOODED, Silence(name="dead", quantity="level", for_s=60))
    sensor.read(0, 11)
    other = Sensor(Threshold(name="flooded", quantity="level", above=10.5))
    other.engine.restore(sensor.engine.snapshot())
    other.engine.restore(other.engine.snapshot())
    assert other.tick(1) == ["cleared", "raised"], "what is kept of the readings still shows it"
    cleared, raised = (said.data for said in other.said)
    assert isinstance(cleared, AlertCleared)
    assert isinstance(raised, AlertRaised)
    assert (cleared.reason, cleared.alert) == ("rule-removed", sensor.last(AlertRaised).alert)
    assert raised.alert != cleared.alert, "a second alert since the same moment is another one"
    assert other.tick(2) == []


def test_a_rule_that_is_gone_has_its_alert_cleared_and_its_readings_forgotten() -> None:
    sensor = Sensor(FLOODED)
    sensor.read(0, 11)
    other = Sensor(Silence(name="dead", quantity="other", for_s=60))
    other.engine.restore(sensor.engine.snapshot())
    assert other.read(5, 11) == ["cleared"]
    assert other.engine.snapshot()["streams"] == {"other": {"floor_us": 0, "readings": []}}


def test_a_snapshot_of_another_sensor_is_refused() -> None:
    with pytest.raises(ValueError, match="'door-1'"):
        SensorEngine("town", "manhole-7", []).restore(SensorEngine("town", "door-1", []).snapshot())

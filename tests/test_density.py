"""Densities over what tracks do, and the limits that follow from them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.density import LEAST_HOURS, STEPS, UNIT, Density, DensityState
from events.doings import (
    ATTRIBUTES,
    CELLS,
    MOST_SAMPLES,
    SIZE,
    SPEED,
    STAY,
    WIDTH,
    Doing,
    Passed,
    cell_of,
    group_of,
    note,
    sector_of,
    unpacked,
)
from events.media import TICKS
from events.rarity import DAY, LEAST, Rarity

GROUPS = ("person", "vehicle", "two-wheeler")
WALK = Doing("person", 0.3, 0.5, 1.0, 90.0, 0.1, 2.0, 12.0)
SHARES = st.floats(0, 0.999)
DOINGS = st.builds(
    Doing,
    st.sampled_from(GROUPS),
    SHARES,
    SHARES,
    st.none() | st.floats(0, 50),
    st.none() | st.floats(0, 360),
    st.none() | st.floats(0.001, 1),
    st.floats(0, 1e5),
    st.floats(0, 23.99),
)


def passed(*doings: Doing) -> Passed:
    one = Passed(doings[0].group, int(doings[0].hour))
    for doing in doings:
        note(one, doing)
    return one


PASSES = st.lists(DOINGS, min_size=1, max_size=12).map(lambda many: passed(*many))


@pytest.fixture(scope="module")
def street() -> Density:
    """People walk to the right at 1 body a second in the middle by day; cars go up on the right at 4."""
    density = Density(GROUPS)
    for n in range(400):
        x, jitter = (n % 10) / 16, (n % 7 - 3) / 30
        walk = WALK._replace(x=x, speed=1.0 + jitter, hour=8.0 + n % 12, size=0.1 + jitter / 20)
        density.learn(passed(walk), UNIT)
        drive = Doing("vehicle", 0.9, (n % 10) / 10, 4.0 + jitter, 0.0, 0.2, 2.0, 8.0 + n % 12)
        density.learn(passed(drive), UNIT)
    for hour in range(24):
        density.watch(hour, 30 * 3600 * TICKS)
    return density


@pytest.mark.parametrize(
    ("attribute", "odd"),
    [
        ("speed", WALK._replace(speed=3.0)),
        ("direction", WALK._replace(heading=270.0)),
        ("size", WALK._replace(size=0.4)),
        ("size", WALK._replace(size=0.02)),
        ("dwell", WALK._replace(stay_s=120.0)),
        ("place", WALK._replace(y=0.95)),
        ("class", WALK._replace(group="two-wheeler")),
        ("class", WALK._replace(x=0.9)),
        ("hour", WALK._replace(hour=3.0)),
    ],
)
def test_what_is_odd_scores_high_in_its_attribute_alone(street: Density, attribute: str, odd: Doing) -> None:
    usual = dict(zip(ATTRIBUTES, street.scores(WALK), strict=True))
    scores = dict(zip(ATTRIBUTES, street.scores(odd), strict=True))
    assert max(usual.values()) < 120
    assert scores[attribute] > 200
    assert scores[attribute] > usual[attribute] + 150


def test_the_same_is_rarer_where_it_is_not_done(street: Density) -> None:
    speed = ATTRIBUTES.index("speed")
    on_the_road = Doing("vehicle", 0.9, 0.5, 4.0, 0.0, 0.2, 2.0, 12.0)
    assert street.scores(on_the_road)[speed] < 50
    assert street.scores(WALK._replace(speed=4.0))[speed] > 250


def test_further_beyond_is_rarer(street: Density) -> None:
    speed, dwell = ATTRIBUTES.index("speed"), ATTRIBUTES.index("dwell")
    fast = [street.scores(WALK._replace(speed=v))[speed] for v in (0.5, 1.0, 1.5, 3.0, 6.0, 12.0)]
    long = [street.scores(WALK._replace(stay_s=t))[dwell] for t in (20, 60, 300, 3600)]
    assert fast == sorted(fast)
    assert long == sorted(long)
    assert fast[0] < fast[1] < fast[2]


def test_without_data_nearby_the_whole_picture_answers(street: Density) -> None:
    speed = ATTRIBUTES.index("speed")
    away = WALK._replace(x=0.3, y=0.05)
    assert street.scores(away)[speed] < 60
    assert street.scores(away._replace(speed=6.0))[speed] > 200


def test_with_nothing_learned_nothing_is_rare() -> None:
    assert max(Density(GROUPS).scores(WALK)) < 150


def test_an_hour_that_was_hardly_watched_is_not_unusual() -> None:
    density = Density(GROUPS)
    for _ in range(300):
        density.learn(passed(WALK), UNIT)
    density.watch(12, 50 * 3600 * TICKS)
    density.watch(11, 50 * 3600 * TICKS)
    density.watch(3, round((LEAST_HOURS - 0.1) * 3600 * TICKS))
    hour = ATTRIBUTES.index("hour")
    assert density.scores(WALK._replace(hour=3.5))[hour] == 0
    density.watch(3, 30 * 3600 * TICKS)
    assert density.scores(WALK._replace(hour=3.5))[hour] > 200


def test_usual_values_are_percentiles(street: Density) -> None:
    low, high = street.usual(SPEED, WALK)
    assert 0.7 < low < 1.0 < high < 1.3
    assert street.usual(SIZE, WALK)[0] < 0.1 < street.usual(SIZE, WALK)[1]


@given(st.lists(PASSES, max_size=8), PASSES)
def test_what_is_taken_back_leaves_nothing(before: list[Passed], one: Passed) -> None:
    density, same = Density(GROUPS), Density(GROUPS)
    for other in before:
        density.learn(other, UNIT)
        same.learn(other, UNIT)
    density.learn(one, UNIT)
    density.learn(one, -UNIT)
    assert weights(density) == weights(same)
    assert density.scores(WALK) == same.scores(WALK)


def weights(density: Density) -> dict[str, dict[int, list[int]]]:
    """What is not zero."""
    return {
        group: kept
        for group, tables in density.state.tables.items()
        if (kept := {cell: table for cell, table in sorted(tables.items()) if any(table)})
    }


@given(st.lists(st.tuples(PASSES, st.integers(0, 3)), min_size=1, max_size=10), DOINGS)
@settings(max_examples=60)
def test_what_is_kept_beside_the_state_follows_from_it(steps: list[tuple[Passed, int]], doing: Doing) -> None:
    """A density restored at any time scores and learns as the one that went on."""
    density = Density(GROUPS)
    for one, fades in steps:
        density.learn(one, UNIT)
        for _ in range(fades):
            density.fade()
        restored = Density(GROUPS)
        restored.state = density.state
        assert restored.scores(doing) == density.scores(doing)
        assert all(0 <= score <= 800 for score in density.scores(doing))


@given(PASSES)
def test_a_half_life_halves_and_many_forget(one: Passed) -> None:
    density = Density(GROUPS)
    for _ in range(50):
        density.learn(one, UNIT)
    visits = {cell: table[0] for cell, table in density.state.tables[one.group].items()}
    for _ in range(STEPS):
        density.fade()
    for cell, before in visits.items():
        assert before / 2 - STEPS <= density.state.tables[one.group][cell][0] <= before / 2
    for _ in range(30 * STEPS):
        density.fade()
    assert density.state == DensityState()


@given(st.lists(PASSES, max_size=30))
@settings(max_examples=30)
def test_tables_are_bounded_whatever_passes(many: list[Passed]) -> None:
    density = Density(GROUPS)
    for one in many:
        density.learn(one, UNIT)
        assert len(one.samples) <= MOST_SAMPLES
    assert set(density.state.tables) <= set(GROUPS)
    for tables in density.state.tables.values():
        assert set(tables) <= set(range(CELLS))
        assert all(len(table) == WIDTH and min(table) >= 0 for table in tables.values())


@given(DOINGS)
def test_a_sample_keeps_what_it_was_made_of(doing: Doing) -> None:
    (packed,) = passed(doing).samples
    cell, speed, sector, size = unpacked(packed)
    assert cell == cell_of(doing.x, doing.y)
    assert speed == (-1 if doing.speed is None else int(SPEED.position(doing.speed)))
    assert sector == (-1 if doing.heading is None else sector_of(doing.heading))
    assert size == (-1 if doing.size is None else int(SIZE.position(doing.size)))


@given(st.sampled_from([SPEED, SIZE, STAY]), st.floats(1e-4, 1e6))
def test_positions_of_a_scale_stay_inside_it(scale: object, value: float) -> None:
    assert isinstance(scale, type(SPEED))
    position = scale.position(value)
    assert 0 <= position < scale.bins
    if scale.least < value < scale.value(scale.bins - 1):
        assert scale.value(position) == pytest.approx(value)


def test_sectors_are_counted_clockwise_from_up() -> None:
    assert [sector_of(a) for a in (0, 44, 90, 180, 270, 337.6)] == [0, 1, 2, 4, 6, 0]


def test_detectors_take_cars_for_trucks() -> None:
    assert group_of("car") == group_of("truck") == group_of("bus") != group_of("person")


# --- rarity


def counted(passes: int, days: float, spread: float = 43.0) -> Rarity:
    """Peaks whose chance falls by ten for each whole score (`spread` 43), in even steps."""
    from math import log

    rarity = Rarity()
    rarity.state.watched = round(days * DAY)
    for n in range(passes):
        peak = round(-spread * log((n + 0.5) / passes))
        rarity.add([peak] * len(ATTRIBUTES))
    return rarity


@pytest.mark.parametrize("a_day", [0.01, 0.1, 1.0, 5.0])
def test_a_limit_is_reached_about_so_often(a_day: float) -> None:
    """1000 passes a day: 0.1 a day is one in 10,000, a score of 4."""
    from math import log10

    rarity = counted(3000, 3)
    assert rarity.limit(0, a_day).score == pytest.approx(100 * log10(1000 / a_day), abs=25)


@given(st.floats(0.01, 10), st.floats(1.0, 3.0))
def test_fewer_alerts_a_day_mean_a_higher_limit(a_day: float, more: float) -> None:
    rarity = counted(500, 2)
    assert rarity.limit(0, a_day).score >= rarity.limit(0, a_day * more).score


def test_a_heavier_tail_has_a_higher_limit() -> None:
    light, heavy = counted(1000, 5, 43), counted(1000, 5, 86)
    assert heavy.limit(0, 0.1).score > light.limit(0, 0.1).score + 100


def test_no_limit_is_low() -> None:
    assert Rarity().limit(0, 1.0).score == LEAST
    assert counted(1000, 1).limit(0, 900.0).score == LEAST


def test_percentiles_are_of_the_passes_below() -> None:
    rarity = counted(1000, 1)
    assert rarity.percentile(0, 100) == pytest.approx(90, abs=1)
    assert 99.8 < rarity.percentile(0, 800) < 100
    assert Rarity().percentile(0, 300) == 0


def test_a_pass_can_be_taken_back() -> None:
    rarity, same = counted(50, 1), counted(50, 1)
    rarity.add([412] * len(ATTRIBUTES))
    rarity.add([412] * len(ATTRIBUTES), -UNIT)
    assert rarity.state == same.state

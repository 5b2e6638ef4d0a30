"""Joint alerts: what holds together follows from what is open, not from the order in which that is told."""

import json
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import decode_data, encode_data
from events.events import (
    AlertCleared,
    AlertRaised,
    AlertUpdated,
    Crossing,
    Event,
    Place,
    camera_source,
    sensor_source,
)
from events.joint import MOST_CAUSES, REMEMBER_S, JointEngine, joint_source
from events.joint_rules import Joint, Part, check_joints
from events.noted import Noted

S = 1_000_000
START = 1_700_000_000 * S
MANHOLE = Part(sensor="manhole-7", rule="open")
LANE = Part(camera="lane", rule="roadway")
JOINT = Joint(name="danger", of=(MANHOLE, LANE), within_s=60)


def raised(
    part: Part, alert: str, since: float, *, at: float | None = None, place: Place | None = None
) -> Event:
    """Part's alert since a second; `at`: when it is raised."""
    data = AlertRaised(
        alert=alert,
        rule=part.rule,
        kind="threshold",
        severity="minor",
        label="open" if part.sensor else "person",
        since_us=START + round(since * S),
        place=place,
    )
    return event(part, data, since if at is None else at)


def cleared(part: Part, alert: str, until: float, *, at: float | None = None) -> Event:
    data = AlertCleared(alert=alert, rule=part.rule, reason="left", until_us=START + round(until * S))
    return event(part, data, until if at is None else at)


def event(part: Part, data: Any, at: float) -> Event:
    source = camera_source("town", part.camera) if part.camera else sensor_source("town", part.sensor)
    return Event(id="x", source=source, time_us=START + round(at * S), epoch=1, sequence=0, data=data)


def word(noted: Noted) -> str:
    return type(noted.data).__name__.removeprefix("Alert").lower()


def feed(engine: JointEngine, *events: Event) -> list[Noted]:
    return [noted for one in events for noted in engine.feed(one)]


def words(engine: JointEngine, *events: Event) -> list[str]:
    return [word(noted) for noted in feed(engine, *events)]


# What a joint alert may be


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Part(rule="open"), "part with rule 'open'"),
        (lambda: Part(rule="open", camera="a", sensor="b"), "camera or a sensor"),
        (lambda: Joint(name="x", of=(LANE,)), "joint|rule 'x': of needs two"),
        (lambda: Joint(name="x", of=(LANE, LANE)), "two different parts"),
        (lambda: Joint(name="x", of=(LANE, MANHOLE), within_s=-1), "within_s"),
        (lambda: Joint(name="X!", of=(LANE, MANHOLE)), "'X!'"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_it_is_read_from_toml() -> None:
    text = """
        [[joint]]
        name = "danger"
        of = [{ sensor = "manhole-7", rule = "open" }, { camera = "lane", rule = "roadway" }]
        within_s = 60
    """
    assert msgspec.toml.decode(text, type=dict[str, tuple[Joint, ...]]) == {"joint": (JOINT,)}


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'danger'"):
        JointEngine("town", [JOINT, JOINT])


@pytest.mark.parametrize(
    ("joint", "says"),
    [
        (
            Joint(name="x", of=(MANHOLE, Part(camera="gate", rule="roadway"))),
            "no camera 'gate' .there are lane",
        ),
        (Joint(name="x", of=(LANE, Part(sensor="lane", rule="roadway"))), "no sensor 'lane'"),
        (
            Joint(name="x", of=(MANHOLE, Part(camera="lane", rule="open"))),
            "lane has no rule 'open' that raises alerts .there are road",
        ),
        (Joint(name="x", of=(LANE, Part(sensor="manhole-7", rule="wet"))), "manhole-7 has no rule 'wet'"),
    ],
)
def test_a_part_that_is_not_there_is_named(joint: Joint, says: str) -> None:
    cameras, sensors = {"lane": ["roadway"]}, {"manhole-7": ["open"]}
    check_joints([JOINT], cameras, sensors)
    with pytest.raises(ValueError, match=says):
        check_joints([joint], cameras, sensors)
    with pytest.raises(ValueError, match="twice: danger"):
        check_joints([JOINT, JOINT], cameras, sensors)


# What is said


def test_a_manhole_that_is_open_and_a_person_in_the_roadway_are_one_alert() -> None:
    engine = JointEngine("town", [JOINT])
    assert feed(engine, raised(MANHOLE, "m1", 0, at=5, place=(120.5, 30.1))) == []
    (one,) = feed(engine, raised(LANE, "p1", 12, at=14))
    assert one.source == joint_source("town", "danger") == "/town/joint/danger"
    assert isinstance(one.data, AlertRaised)
    assert one.data.detail == {
        "apart_s": 12.0,
        "part_1": "open of sensor manhole-7",
        "part_2": "roadway of camera lane",
        "why": "open of sensor manhole-7 and roadway of camera lane at the same time, begun 12 s apart",
    }
    assert one.data == AlertRaised(
        alert=one.data.alert,
        rule="danger",
        kind="joint",
        severity="critical",
        label="open + person",
        since_us=START + 12 * S,
        detail=one.data.detail,
        place=(120.5, 30.1),
        causes=("m1", "p1"),
    )
    assert one.time_us == START + 14 * S
    (over,) = feed(engine, cleared(LANE, "p1", 30, at=35))
    assert isinstance(over.data, AlertCleared)
    assert (over.data.alert, over.data.reason) == (one.data.alert, "parted")
    assert (over.data.until_us, over.time_us) == (START + 30 * S, START + 35 * S)
    assert decode_data(encode_data(one.data)) == one.data


def test_parts_that_began_too_far_apart_are_not_together() -> None:
    engine = JointEngine("town", [JOINT])
    assert words(engine, raised(MANHOLE, "m1", 0), raised(LANE, "p1", 61)) == []
    assert words(engine, cleared(LANE, "p1", 90), raised(MANHOLE, "m2", 100), raised(LANE, "p2", 160)) == [
        "raised"
    ]


def test_another_alert_of_a_part_joins_and_keeps_it_open() -> None:
    engine = JointEngine("town", [JOINT])
    feed(engine, raised(MANHOLE, "m1", 0), raised(LANE, "p1", 10))
    (joined,) = feed(engine, raised(LANE, "p2", 20, place=(1.0, 2.0)))
    assert isinstance(joined.data, AlertUpdated)
    assert (joined.data.detail["joined"], joined.data.detail["causes"], joined.data.place) == (
        "p2",
        3,
        (1.0, 2.0),
    )
    assert words(engine, raised(LANE, "p3", 100)) == [], "too long after the manhole"
    assert words(engine, cleared(LANE, "p1", 110)) == []
    assert words(engine, cleared(LANE, "p2", 120)) == ["cleared"]


@pytest.mark.parametrize("ends_after", [1, 1000], ids=["one after the other", "all stay open"])
def test_an_alert_that_stays_open_remembers_so_many_causes_and_counts_on(ends_after: int) -> None:
    """A manhole that is open all day, beside a busy lane."""
    engine = JointEngine("town", [msgspec.structs.replace(JOINT, within_s=3600)])
    feed(engine, raised(MANHOLE, "m1", 0), raised(LANE, "p0", 1))
    said: list[Noted] = []
    for n in range(1, 300):
        said = feed(engine, raised(LANE, f"p{n}", n + 1))
        if n > ends_after:
            feed(engine, cleared(LANE, f"p{n - ends_after}", n + 1.5))
    assert isinstance(said[0].data, AlertUpdated)
    assert said[0].data.detail["causes"] == 301
    assert "301 alerts are part of it" in str(said[0].data.detail["why"])
    (kept,) = engine.snapshot()["joints"]
    causes = kept["told"]["causes"]
    assert len(causes) == MOST_CAUSES
    assert {"m1", "p299"} <= set(causes), "of each part one, and the newest"
    (over,) = feed(engine, cleared(MANHOLE, "m1", 400, at=405))
    assert isinstance(over.data, AlertCleared)
    assert (over.data.until_us, over.time_us) == (START + 400 * S, START + 405 * S)


def test_all_that_is_open_and_near_is_a_cause() -> None:
    engine = JointEngine("town", [JOINT])
    feed(engine, raised(LANE, "old", 0), raised(LANE, "p1", 100), raised(LANE, "p2", 105))
    (one,) = feed(engine, raised(MANHOLE, "m1", 110))
    assert isinstance(one.data, AlertRaised)
    assert one.data.causes == ("m1", "p1", "p2")
    assert words(engine, cleared(LANE, "p1", 120)) == []
    assert words(engine, cleared(LANE, "p2", 125)) == ["cleared"]


def test_the_same_parts_again_are_another_alert() -> None:
    engine = JointEngine("town", [JOINT])
    first = feed(engine, raised(MANHOLE, "m1", 0), raised(LANE, "p1", 10), cleared(LANE, "p1", 15))
    again = feed(engine, raised(LANE, "p2", 20), cleared(MANHOLE, "m1", 25))
    assert [word(n) for n in first + again] == ["raised", "cleared"] * 2
    assert len({n.id for n in first + again}) == 4
    assert first[0].data.alert != again[0].data.alert


def test_what_was_over_when_it_became_known_is_told_once() -> None:
    engine = JointEngine("town", [JOINT])
    late = feed(engine, raised(MANHOLE, "m1", 0), cleared(MANHOLE, "m1", 30), raised(LANE, "p1", 20))
    assert [word(noted) for noted in late] == ["raised", "cleared"]
    assert late[1].data.until_us == START + 30 * S
    assert words(engine, raised(LANE, "p2", 25)) == [], "of the same meeting"
    assert words(engine, raised(LANE, "p3", 31)) == [], "after it"


def test_an_end_may_be_known_before_its_beginning() -> None:
    engine = JointEngine("town", [JOINT])
    assert words(engine, cleared(LANE, "p1", 20), raised(LANE, "p1", 10), raised(MANHOLE, "m1", 30)) == []
    assert words(engine, raised(LANE, "p2", 35)) == ["raised"]


def test_what_is_over_for_long_is_forgotten() -> None:
    engine = JointEngine("town", [JOINT])
    for n in range(100):
        feed(engine, raised(LANE, f"p{n}", n * 60), cleared(LANE, f"p{n}", n * 60 + 1))
        feed(engine, cleared(LANE, f"q{n}", n * 60))
    state = engine.snapshot()
    assert len(state["known"]["/town/camera/lane roadway"]) <= REMEMBER_S / 60 + 1
    assert len(state["ended"]) <= REMEMBER_S / 60 + 1


def test_nothing_else_concerns_it_least_of_all_itself() -> None:
    engine = JointEngine("town", [JOINT])
    said = feed(engine, raised(MANHOLE, "m1", 0), raised(LANE, "p1", 1))
    own = Event(id="x", source=said[0].source, time_us=START, epoch=1, sequence=0, data=said[0].data)
    count = Crossing(rule="roadway", direction="in", label="person", track=1, at=(0.0, 0.0))
    others = [
        own,
        raised(Part(camera="lane", rule="other"), "a", 1),
        raised(Part(camera="gate", rule="roadway"), "a", 1),
        raised(Part(sensor="lane", rule="roadway"), "a", 1),
        event(LANE, count, 1),
        event(LANE, AlertUpdated(alert="p1", rule="roadway"), 1),
    ]
    before = engine.snapshot()
    assert not any(engine.concerns(other) for other in others)
    assert feed(engine, *others) == []
    assert engine.snapshot() == before


def test_of_what_was_before_only_what_holds_is_told() -> None:
    engine = JointEngine("town", [JOINT])
    for past in (
        raised(MANHOLE, "m1", 0),
        raised(LANE, "p1", 1),
        cleared(LANE, "p1", 2),
        raised(LANE, "p2", 30),
    ):
        engine.learn(past)
    (one,) = engine.settle()
    assert isinstance(one.data, AlertRaised)
    assert one.data.causes == ("m1", "p2")
    assert engine.settle() == []


# Properties

THIRD = Part(sensor="gate-2", rule="water")
PARTS = (MANHOLE, LANE, THIRD)
ALERTS = st.lists(
    st.tuples(
        st.sampled_from(PARTS),
        st.integers(0, 100),
        st.integers(1, 60),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
JOINTS = [
    JOINT,
    Joint(name="all", of=PARTS, within_s=40),
    Joint(name="now", of=(LANE, THIRD), within_s=10),
]
Drawn = list[tuple[Part, int, int, bool]]


def events_of(drawn: Drawn) -> list[Event]:
    """Raised and, of those that are over, cleared."""
    events = []
    for n, (part, since, lasts, over) in enumerate(drawn):
        events.append(raised(part, f"a{n}", since))
        if over:
            events.append(cleared(part, f"a{n}", since + lasts))
    return sorted(events, key=lambda e: e.time_us)


def holding(drawn: Drawn, joint: Joint) -> bool:
    """By trying all."""
    opened = [[since for part, since, _, over in drawn if part == of and not over] for of in joint.of]
    return any(max(chosen) - min(chosen) <= joint.within_s for chosen in product(*opened))


def met(drawn: Drawn, joint: Joint) -> bool:
    """Whether it ever held in fact, by trying all."""
    spans = [
        [(since, since + lasts if over else 10_000) for part, since, lasts, over in drawn if part == of]
        for of in joint.of
    ]
    return any(
        max(s for s, _ in chosen) - min(s for s, _ in chosen) <= joint.within_s
        and max(s for s, _ in chosen) <= min(e for _, e in chosen)
        for chosen in product(*spans)
    )


def check_lives(said: Sequence[Noted]) -> dict[str, str]:
    """Each is raised once and cleared at most once; answers what is open, by joint."""
    assert len({noted.id for noted in said}) == len(said)
    opened: dict[str, str] = {}
    for noted in said:
        data = noted.data
        assert isinstance(data, AlertRaised | AlertUpdated | AlertCleared)
        assert noted.source == joint_source("town", data.rule)
        if isinstance(data, AlertRaised):
            assert data.rule not in opened
            opened[data.rule] = data.alert
        elif isinstance(data, AlertCleared):
            assert opened.pop(data.rule) == data.alert
            assert data.until_us <= noted.time_us
        else:
            assert opened[data.rule] == data.alert
    return opened


@settings(max_examples=100, deadline=None)
@given(ALERTS, st.data())
def test_in_any_order_the_end_is_the_same_and_no_meeting_is_missed(drawn: Drawn, data: st.DataObject) -> None:
    events = data.draw(st.permutations(events_of(drawn)))
    said = feed(JointEngine("town", JOINTS), *events)
    assert set(check_lives(said)) == {joint.name for joint in JOINTS if holding(drawn, joint)}
    told = {noted.data.rule for noted in said if isinstance(noted.data, AlertRaised)}
    assert told >= {joint.name for joint in JOINTS if met(drawn, joint)}


@settings(max_examples=100, deadline=None)
@given(ALERTS)
def test_in_the_order_of_time_only_what_met_is_told(drawn: Drawn) -> None:
    said = feed(JointEngine("town", JOINTS), *events_of(drawn))
    told = {noted.data.rule for noted in said if isinstance(noted.data, AlertRaised)}
    assert told == {joint.name for joint in JOINTS if met(drawn, joint)}


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(3)), st.lists(st.integers(0, 40), min_size=3, max_size=3))
def test_one_alert_of_each_part_gives_the_same_event_in_any_order(order: list[int], since: list[int]) -> None:
    events = [raised(part, f"a{n}", since[n], at=since[n] + 1) for n, part in enumerate(PARTS)]
    plain = feed(JointEngine("town", [JOINTS[1]]), *events)
    assert feed(JointEngine("town", [JOINTS[1]]), *(events[n] for n in order)) == plain
    assert len(plain) == 1


@settings(max_examples=100, deadline=None)
@given(ALERTS, st.data())
def test_what_comes_twice_changes_nothing(drawn: Drawn, data: st.DataObject) -> None:
    events = data.draw(st.permutations(events_of(drawn)))
    once, twice = JointEngine("town", JOINTS), JointEngine("town", JOINTS)
    for n, one in enumerate(events):
        assert feed(twice, one) == feed(once, one)
        assert feed(twice, data.draw(st.sampled_from(events[: n + 1]))) == []
        assert twice.snapshot() == once.snapshot()


@settings(max_examples=100, deadline=None)
@given(ALERTS, st.data())
def test_going_on_from_a_snapshot_is_the_same(drawn: Drawn, data: st.DataObject) -> None:
    events = data.draw(st.permutations(events_of(drawn)))
    cut = data.draw(st.integers(0, len(events)))
    whole, resumed = JointEngine("town", JOINTS), JointEngine("town", JOINTS)
    feed(whole, *events[:cut])
    kept = json.loads(json.dumps(whole.snapshot(), sort_keys=True))
    resumed.restore(kept)
    assert resumed.snapshot() == kept
    assert resumed.settle() == []
    assert feed(resumed, *events[cut:]) == feed(whole, *events[cut:])
    assert resumed.snapshot() == whole.snapshot()


# Others than before


def test_one_that_is_gone_or_changed_is_cleared_and_begins_anew() -> None:
    engine = JointEngine("town", [JOINT, Joint(name="other", of=(MANHOLE, LANE))])
    feed(engine, raised(MANHOLE, "m1", 0), raised(LANE, "p1", 1))
    changed = JointEngine("town", [Joint(name="danger", of=(MANHOLE, LANE), within_s=30)])
    changed.restore(engine.snapshot())
    changed.restore(changed.snapshot())
    said = changed.settle()
    assert [(word(noted), noted.data.rule) for noted in said] == [
        ("cleared", "danger"),
        ("cleared", "other"),
        ("raised", "danger"),
    ]
    assert {noted.data.reason for noted in said if isinstance(noted.data, AlertCleared)} == {"rule-removed"}


def test_a_snapshot_of_another_site_is_refused() -> None:
    with pytest.raises(ValueError, match="'town'"):
        JointEngine("city", []).restore(JointEngine("town", []).snapshot())

"""The rule that learns: what it says, what it learns from, and what it forgets."""

import random
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.density import STEPS, UNIT
from events.engine import Engine
from events.events import AlertCleared, AlertRaised
from events.ground import Ground, PointPair
from events.learned import LearnedWatch
from events.media import TICKS
from events.passes import HOLD
from events.rarity import DAY
from events.rules import Anomaly
from events.verdicts import LITTLE, PATIENCE, RECORDS
from events.views import View
from tests.scenes import SIZE, START_US, Camera, person

RULE = Anomaly(name="unusual", warmup_h=1.0, warmup_passes=100, half_life_days=10_000)


class Walks:
    """People walk to the right through the middle, about 0.9 body heights a second, one after the other."""

    def __init__(self, rule: Anomaly = RULE, state: dict[str, Any] | None = None, seed: int = 1) -> None:
        self.camera = Camera(rule)
        self.random = random.Random(seed)
        self.ordinal = 0
        if state is not None:
            self.camera.engine.restore(msgspec.json.decode(msgspec.json.encode(state["engine"])))
            self.camera.t, self.ordinal = state["t"], state["ordinal"]
        self.camera.events = []

    @property
    def watch(self) -> LearnedWatch:
        watch = self.camera.engine._watches[0]
        assert isinstance(watch, LearnedWatch)
        return watch

    def state(self) -> dict[str, Any]:
        return {"engine": self.camera.engine.snapshot(), "t": self.camera.t, "ordinal": self.ordinal}

    def walk(
        self,
        speed: float = 72.0,
        y: float | None = None,
        label: str = "person",
        stop_s: float = 0,
        back: bool = False,
    ) -> list[AlertRaised]:
        """One pass, then nobody for three minutes; answers the alerts."""
        self.ordinal += 1
        before = len(self.camera.of(AlertRaised))
        pace = speed * self.random.gauss(1, 0.08)
        y = self.random.uniform(470, 530) if y is None else y
        x = 20.0
        while x < 980:
            x += pace * 0.2
            stays = round(stop_s / 0.2) if 480 <= x < 480 + pace * 0.2 else 1
            for _ in range(stays):
                at = 1000 - x if back else x
                jitter = self.random.gauss(0, 0.8)
                self.camera.see(person(self.ordinal, at + jitter, y + self.random.gauss(0, 0.8), label=label))
        self.camera.see(ended=[self.ordinal])
        self.rest(180)
        return self.camera.of(AlertRaised)[before:]

    def rest(self, seconds: float) -> None:
        """Nobody is there."""
        for _ in range(round(seconds / 60)):
            self.camera.tick(60)


@pytest.fixture(scope="module")
def learned() -> dict[str, Any]:
    """A day and a half of people who walk."""
    walks = Walks()
    for _ in range(300):
        walks.walk()
        walks.rest(180)
    assert walks.camera.events == []
    return walks.state()


ODD: dict[str, Callable[[Walks], list[AlertRaised]]] = {
    "speed": lambda walks: walks.walk(speed=200),
    "direction": lambda walks: walks.walk(back=True),
    "class": lambda walks: walks.walk(label="car"),
    "dwell": lambda walks: walks.walk(stop_s=60),
    "place": lambda walks: walks.walk(y=900),
}


@pytest.mark.parametrize("attribute", ODD)
def test_what_is_unusual_is_told_once_with_its_reason(learned: dict[str, Any], attribute: str) -> None:
    walks = Walks(state=learned)
    (raised,) = ODD[attribute](walks)
    detail = raised.detail
    assert raised.kind == "anomaly"
    assert detail["attribute"] == attribute
    assert detail["label"] == raised.label
    assert {"value", "unit", "usual_low", "usual_high", "percentile", "days", "group", "why"} <= set(detail)
    assert 99 < float(detail["percentile"]) < 100
    assert float(detail["days"]) == pytest.approx(walks.watch.state.watched / DAY, abs=0.1)
    assert f"{detail['percentile']:g}th percentile of {detail['days']:g} days" in str(detail["why"])
    (cleared,) = walks.camera.of(AlertCleared)
    assert cleared.alert == raised.alert


def test_the_figures_can_be_checked(learned: dict[str, Any]) -> None:
    (fast,) = ODD["speed"](Walks(state=learned))
    assert float(fast.detail["value"]) == pytest.approx(200 / 80, rel=0.2)
    assert fast.detail["unit"] == "bodies/s"
    assert 0.6 < float(fast.detail["usual_low"]) < 0.9 < float(fast.detail["usual_high"]) < 1.3
    (back,) = ODD["direction"](Walks(state=learned))
    assert float(back.detail["value"]) == pytest.approx(270, abs=10)
    assert (back.detail["usual_low"], back.detail["usual_high"]) == (67.5, 112)
    (stopped,) = ODD["dwell"](Walks(state=learned))
    assert 10 <= float(stopped.detail["value"]) < 20
    (car,) = ODD["class"](Walks(state=learned))
    assert (car.detail["group"], car.detail["usual"]) == ("vehicle", "person")
    assert "a car where 0 % are of its kind and person is usual" in str(car.detail["why"])


def test_the_usual_is_not_told(learned: dict[str, Any]) -> None:
    walks = Walks(state=learned, seed=5)
    for _ in range(30):
        assert walks.walk() == []


def test_a_bad_box_or_two_are_nothing(learned: dict[str, Any]) -> None:
    walks = Walks(state=learned)
    for n in range(60):
        y, height = {20: (900.0, 200.0), 40: (540.0, 120.0), 41: (540.0, 120.0)}.get(n, (500.0, 80.0))
        walks.camera.see(person(9000, 20.0 + n * 14, y, height=height))
    walks.rest(60)
    assert walks.camera.of(AlertRaised) == []


def test_it_is_silent_until_it_knows_enough(learned: dict[str, Any]) -> None:
    for rule in (
        Anomaly(name="unusual", warmup_h=48, warmup_passes=100),
        Anomaly(name="unusual", warmup_h=1, warmup_passes=1000),
    ):
        walks = Walks(rule, learned)
        assert [odd(walks) for odd in ODD.values()] == [[]] * len(ODD)


def test_one_target_may_do_two_unusual_things(learned: dict[str, Any]) -> None:
    walks = Walks(state=learned)
    for n in range(30):
        walks.camera.see(person(9000, 20.0 + 40 * n if n < 10 else 420.0 + 14 * (n - 10), 500))
    walks.camera.stay(60, person(9000, 700, 500))
    told = walks.camera.of(AlertRaised)
    assert [alert.detail["attribute"] for alert in told] == ["speed", "dwell"]
    assert len({alert.alert for alert in told}) == 2
    assert told[0].tracks == told[1].tracks == (9000,)


# --- state


@given(st.integers(0, 400), st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_a_restored_one_goes_on_bit_for_bit(learned: dict[str, Any], at: int, seed: int) -> None:
    """Restored after any frame, in the middle of a pass or an alert, judged or not."""
    whole = Walks(state=learned, seed=seed)
    ordinal = whole.ordinal + 1
    frames = []
    x = 20.0
    for n in range(450):
        x += whole.random.choice([0.0, 14.0, 40.0]) if n % 90 else 20 - x
        frames.append(person(ordinal + n // 90, x, 500 + whole.random.gauss(0, 2)))
    judged = {60: "false", 150: "true", 300: "ignore"}

    def drive(walks: Walks, part: range) -> None:
        for n in part:
            walks.camera.see(frames[n])
            for raised in walks.camera.of(AlertRaised)[:1] if n in judged else []:
                walks.camera.engine.judge(raised.alert, judged[n])  # type: ignore[arg-type]

    drive(whole, range(450))
    first = Walks(state=learned)
    drive(first, range(at))
    second = Walks(state=first.state())
    second.camera.events = first.camera.events
    drive(second, range(at, 450))
    assert second.camera.events == whole.camera.events
    assert second.state()["engine"] == whole.state()["engine"]


def test_it_knows_over_the_end_of_a_stream(learned: dict[str, Any]) -> None:
    walks = Walks(state=learned)
    walks.camera.end()
    finished = walks.watch.state.finished
    walks.camera.begin(2, START_US + 10**12)
    assert walks.walk() == []
    (raised,) = walks.walk(back=True)
    assert raised.detail["attribute"] == "direction"
    assert walks.watch.state.finished == finished + 1


@pytest.mark.parametrize(
    "change", [{"severity": "critical"}, {"rate": 5.0}, {"clear_s": 1.0}, {"warmup_passes": 10}]
)
def test_a_changed_threshold_keeps_what_was_learned(learned: dict[str, Any], change: dict[str, Any]) -> None:
    walks = Walks(msgspec.structs.replace(RULE, **change), learned)
    assert walks.watch.state.finished == 300
    assert len(walks.walk(back=True)) == 1


@pytest.mark.parametrize("change", [{"labels": ("person",)}, {"utc_offset_h": 0.0}])
def test_a_rule_about_something_else_begins_anew(learned: dict[str, Any], change: dict[str, Any]) -> None:
    walks = Walks(msgspec.structs.replace(RULE, **change), learned)
    assert walks.watch.state.finished == 0


def test_the_snapshot_stays_small_whatever_passes(learned: dict[str, Any]) -> None:
    """Objects of all kinds everywhere, many at once, for days; every alert kept for a verdict."""
    chance = random.Random(3)
    camera = Walks(msgspec.structs.replace(RULE, rate=1000), learned).camera
    labels = ("person", "car", "bicycle")
    for n in range(1500):
        tracks = [
            person(
                k + 1000 + 100 * (n // 12),
                chance.uniform(50, 950),
                chance.uniform(100, 1000),
                label=labels[k % 3],
            )
            for k in range(1, 80, 3)
        ]
        camera.see(*tracks, dt=chance.choice([0.2, 0.2, 5.0]))
    watch = camera.engine._watches[0]
    assert isinstance(watch, LearnedWatch)
    assert len(camera.of(AlertRaised)) > RECORDS
    assert len(watch.verdicts.state.records) <= RECORDS
    assert len(zlib.compress(msgspec.json.encode(watch.snapshot()))) < 24_000


def test_what_a_camera_learns_in_practice_takes_few_bytes(learned: dict[str, Any]) -> None:
    snapshot = Walks(state=learned).watch.snapshot()
    assert len(zlib.compress(msgspec.json.encode(snapshot))) < 3000


def test_it_forgets_with_its_half_life(learned: dict[str, Any]) -> None:
    walks = Walks(msgspec.structs.replace(RULE, half_life_days=0.5), learned)
    before = sum(walks.watch.density.state.hours["person"])
    walks.camera.tick(1)
    for _ in range(STEPS):
        walks.camera.tick(12 * 3600 / STEPS)
    assert sum(walks.watch.density.state.hours["person"]) == pytest.approx(before / 2, rel=0.03)
    walks.camera.tick(3600 * 24 * 30)
    assert walks.watch.density.state.tables == {}


def test_it_gets_used_to_a_change_that_stays(learned: dict[str, Any]) -> None:
    """From now on people walk to the left as well, and nobody judges the alerts."""
    walks = Walks(state=learned)
    alerts = []
    for _ in range(10):
        for _ in range(15):
            alerts.append(len(walks.walk(back=True)))
        walks.rest(86_400)
    assert sum(alerts[:5]) >= 4
    assert sum(alerts[-15:]) <= 1


# --- verdicts


def odd_walk(state: dict[str, Any]) -> tuple[Walks, str]:
    walks = Walks(state=state)
    (raised,) = walks.walk(back=True)
    return walks, raised.alert


def headings(walks: Walks) -> int:
    """How much of a way to the left was learned."""
    tables = walks.watch.density.state.tables["person"]
    return sum(table[26 + 6] for table in tables.values())


def test_an_incident_is_never_learned(learned: dict[str, Any]) -> None:
    walks, alert = odd_walk(learned)
    before = Walks(state=learned).watch
    assert headings(walks) == 0
    walks.camera.engine.judge(alert, "true")
    walks.rest(2 * PATIENCE / TICKS)
    assert headings(walks) == 0
    assert walks.watch.density.state.tables == before.density.state.tables
    assert walks.watch.rarity.state.peaks == before.rarity.state.peaks
    assert len(walks.walk(back=True)) == 1


def test_what_nobody_judges_is_learned_late_and_a_little(learned: dict[str, Any]) -> None:
    walks, _ = odd_walk(learned)
    before = Walks(state=learned).watch.density.state.hours["person"]
    walks.rest(PATIENCE / TICKS - 600)
    assert walks.watch.density.state.hours["person"] == before
    walks.rest(1200)
    assert sum(walks.watch.density.state.hours["person"]) == sum(before) + LITTLE
    assert 0 < headings(walks) < headings_of_a_whole(learned) / 2


def headings_of_a_whole(learned: dict[str, Any]) -> int:
    walks, alert = odd_walk(learned)
    walks.camera.engine.judge(alert, "false")
    return headings(walks)


def test_a_false_alert_is_learned_and_raises_the_limit_there(learned: dict[str, Any]) -> None:
    walks, alert = odd_walk(learned)
    hours = sum(walks.watch.density.state.hours["person"])
    walks.camera.engine.judge(alert, "false")
    assert sum(walks.watch.density.state.hours["person"]) == hours + UNIT
    ((key, margin),) = walks.watch.verdicts.state.margins.items()
    assert margin > 0
    assert walks.watch.verdicts.margin(1, [key % 48]) == margin
    assert headings(walks) > 0


def test_what_is_to_be_ignored_is_not_told_again_there(learned: dict[str, Any]) -> None:
    walks, alert = odd_walk(learned)
    walks.camera.engine.judge(alert, "ignore")
    assert headings(walks) > 0
    (muted,) = walks.watch.verdicts.state.muted
    assert muted.startswith("direction person ")
    index, cell = 1, int(muted.split()[2])
    assert walks.watch.verdicts.mutes(index, "person", [cell])
    assert not walks.watch.verdicts.mutes(index, "vehicle", [cell])
    assert not walks.watch.verdicts.mutes(0, "person", [cell])
    scores = [0, 800, 0, 0, 0, 0, 0]
    x, y = (cell % 8 + 0.5) / 8, (cell // 8 + 0.5) / 6
    assert walks.watch.excess(scores, (x, y), "person")[1] != index
    assert walks.watch.excess(scores, (x, y), "vehicle")[1] == index


@pytest.mark.parametrize("verdict", ["true", "false", "ignore"])
def test_a_verdict_told_twice_is_one(learned: dict[str, Any], verdict: Any) -> None:
    walks, alert = odd_walk(learned)
    walks.camera.engine.judge(alert, verdict)
    once = walks.camera.engine.snapshot()
    walks.camera.engine.judge(alert, verdict)
    walks.camera.engine.judge("no such alert", verdict)
    assert walks.camera.engine.snapshot() == once


@given(st.lists(st.sampled_from(["true", "false", "ignore"]), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_the_last_verdict_is_what_counts(learned: dict[str, Any], verdicts: list[Any]) -> None:
    walks, alert = odd_walk(learned)
    direct, same = odd_walk(learned)
    for verdict in verdicts:
        walks.camera.engine.judge(alert, verdict)
    direct.camera.engine.judge(same, verdicts[-1])
    assert headings(walks) == headings(direct)
    assert walks.watch.rarity.state == direct.watch.rarity.state
    assert walks.watch.state.limits == direct.watch.state.limits
    assert walks.watch.verdicts.state.muted == direct.watch.verdicts.state.muted
    margins = [{k: m for k, m in w.watch.verdicts.state.margins.items() if m} for w in (walks, direct)]
    assert margins[0] == margins[1]


def test_a_verdict_may_come_before_the_pass_is_over(learned: dict[str, Any]) -> None:
    for verdict, more in (("true", 0), ("false", UNIT)):
        walks = Walks(state=learned)
        hours = sum(walks.watch.density.state.hours["person"])
        n = 0
        while not walks.camera.of(AlertRaised):
            n += 1
            walks.camera.see(person(9000, 980 - 14 * n, 500))
        walks.camera.engine.judge(walks.camera.of(AlertRaised)[0].alert, verdict)  # type: ignore[arg-type]
        walks.camera.see()
        walks.rest(180)
        assert sum(walks.watch.density.state.hours["person"]) == hours + more


# --- elsewhere


def test_on_calibrated_ground_speeds_are_metres_and_bodies_are_forgotten(learned: dict[str, Any]) -> None:
    """1000 px are 0.001 degrees of latitude, 111 m: 72 px/s are 8 m/s."""
    corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    pairs = [PointPair(picture=(x, y), place=(0.001 * x, 0.001 * (1 - y))) for x, y in corners]
    walks = Walks(state=learned)
    walks.camera.engine = Engine("town", "gate", [RULE], grounds={"": Ground(pairs)})
    walks.camera.engine.restore(learned["engine"])
    walks.walk()
    assert walks.watch.state.unit == "m/s"
    walks.camera.engine.restore(walks.camera.engine.snapshot())
    for _ in range(120):
        walks.walk()
    raised = [alert for alert in walks.walk(speed=200) if alert.detail["attribute"] == "speed"]
    assert raised[0].detail["unit"] == "m/s"
    assert float(raised[0].detail["value"]) == pytest.approx(22.2, rel=0.2)
    assert 6 < float(raised[0].detail["usual_low"]) < 8 < float(raised[0].detail["usual_high"]) < 10


def test_a_dome_learns_only_at_its_preset() -> None:
    walks = Walks(msgspec.structs.replace(RULE, preset="north"))
    walks.walk()
    assert (walks.watch.state.finished, walks.watch.state.watched) == (0, 0)
    pts = round(walks.camera.t * TICKS)
    walks.camera.engine.view(
        View(pts=pts, state="settled", preset="north", score=1.0), walks.camera.us(walks.camera.t)
    )
    begun = walks.camera.t
    walks.walk()
    assert walks.watch.state.finished == 1
    assert walks.watch.state.watched == pytest.approx((walks.camera.t - begun) * TICKS, abs=TICKS)


def test_only_what_is_inside_the_polygon_and_of_a_label_is_watched() -> None:
    rule = Anomaly(name="unusual", polygon=((0, 0), (1, 0), (1, 0.4), (0, 0.4)), labels=("person", "car"))
    walks = Walks(rule)
    walks.walk(y=500)
    walks.walk(y=300, label="dog")
    assert walks.watch.state.finished == 0
    walks.walk(y=300, label="car")
    assert walks.watch.state.finished == 1


def test_who_is_cut_off_by_the_pictures_edge_is_watched() -> None:
    walks = Walks()
    walks.walk(y=1000)
    assert walks.watch.state.finished == 1


@pytest.mark.parametrize(
    ("field", "value"), [("rate", 0.0), ("half_life_days", 0.0), ("utc_offset_h", 20.0), ("warmup_h", -1.0)]
)
def test_a_rule_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"rule 'unusual': {field}"):
        Anomaly(name="unusual", **{field: value})


def test_moments_must_agree() -> None:
    assert HOLD >= 3
    assert SIZE == (1000, 1000)

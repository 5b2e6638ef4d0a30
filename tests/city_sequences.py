"""Any legal sequence of case events, and what must be counted of it, counted the plain way."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from city.cases import Case
from city.closure import FACTS, bit, facts
from events.events import Event
from tests.contracts.city_examples import DAY_US, EPOCH, HOUR_US, Life, clock

ZONE = ZoneInfo("Asia/Shanghai")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
areas = st.sampled_from(
    ["", "370481", "370481001", "370481001001", "370481001001G03", "370481002001", "370482001001"]
)
places = st.one_of(
    st.none(),
    st.tuples(st.floats(117.0, 117.01), st.floats(35.0, 35.01)),
    st.sampled_from([(180.0, 90.0), (-180.0, -90.0), (117.0, 35.0)]),
)
orgs = st.sampled_from(["", "water", "roads", "滕州城管"])
marks = st.sets(st.sampled_from(["called-back", "solved", "satisfied", "parked", "odd\t"])).map(
    lambda s: tuple(sorted(s))
)


@st.composite
def clocks(draw: st.DrawFn, at_us: int) -> tuple[Any, ...]:
    made = []
    for name in draw(st.sets(st.sampled_from(["sign", "handle", "total"]), max_size=2)):
        more = draw(
            st.sampled_from(
                [
                    dict[str, Any](),
                    {"met_us": at_us + HOUR_US},
                    {"met_us": at_us + 90 * HOUR_US},
                    {"stopped_us": at_us, "left": -1.0},
                    {"stopped_us": at_us, "left": 1.0},
                    {"warn_us": at_us + HOUR_US},
                    {"warn_us": at_us + HOUR_US, "told": ("warned", "overdue")},
                ]
            )
        )
        made.append(clock(name, at_us, draw(st.sampled_from([1.0, 24.0, 72.5])), **more))
    return tuple(made)


@st.composite
def lives(draw: st.DrawFn, case: str) -> list[Event]:
    """The events of one case."""
    life = Life(
        case,
        EPOCH + draw(st.integers(0, 40 * 24)) * HOUR_US,
        scenario=draw(st.sampled_from(["video", "matter", "appeal"])),
        title=draw(texts),
        category=draw(st.sampled_from(["0203", "0101"])),
        area=draw(areas),
        place=draw(places),
        holder=draw(orgs),
        channel=draw(texts),
        reference=draw(texts),
        public=draw(st.booleans()),
    )
    life.holds["deadlines"] = draw(clocks(life.at_us))
    events = [life.open()]
    for _ in range(draw(st.integers(0, 5))):
        changes: dict[str, Any] = {"state": draw(st.sampled_from(["a", "b", "end"]))}
        changes["final"] = changes["state"] == "end"
        for name, what in (
            ("area", areas),
            ("place", places),
            ("holder", orgs),
            ("marks", marks),
            ("deadlines", clocks(life.at_us)),
            ("helpers", st.sets(orgs.filter(bool), max_size=2).map(lambda s: tuple(sorted(s)))),
            ("category", st.sampled_from(["0203", "0101"])),
            ("level", st.sampled_from(["grid", "community", "town", "city"])),
        ):
            if draw(st.booleans()):
                changes[name] = draw(what)
        action = draw(st.sampled_from(["handle", "verify", "reopen", "park", "dispatch"]))
        step_us = draw(st.sampled_from([1, HOUR_US, 3 * DAY_US, 40 * DAY_US]))
        events.append(life.step(action, step_us, who=draw(st.sampled_from(["zhao", "sun"])), **changes))
    return events


@st.composite
def sequences(draw: st.DrawFn) -> list[Event]:
    """The events of some cases, those of each in their order, otherwise in any."""
    waiting = [draw(lives(f"c{n}")) for n in range(draw(st.integers(1, 4)))]
    order: list[Event] = []
    while waiting := [life for life in waiting if life]:
        order.append(draw(st.sampled_from(waiting)).pop(0))
    return order


def counted(cases: Iterable[Case], by: str, scenario: str, area: str) -> dict[str, tuple[int, ...]]:
    """The figures of `closure`, by key, from the cases themselves."""
    found: dict[str, list[int]] = {}
    for case in cases:
        if (scenario and case.scenario != scenario) or not case.area.startswith(area):
            continue
        day = datetime.fromtimestamp(case.opened_us // 1_000_000, ZONE).date().isoformat()
        keys = {
            "town": case.area[:9],
            "community": case.area[:12],
            "category": case.category,
            "scenario": case.scenario,
            "day": day,
            "month": day[:7],
        }
        figures = found.setdefault(keys[by], [0] * len(FACTS))
        for n, fact in enumerate(FACTS):
            figures[n] += bool(facts(case) & bit(fact))
    return {key: tuple(figures) for key, figures in found.items()}

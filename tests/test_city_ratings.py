"""Ratings of property companies, and days that people change: the sums, what people say, over both stores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city import ratings, ratingsfile
from city.cases import opened
from city.clocks import Calendar, due
from city.estates import Estate, estate_of
from city.features import Feature
from city.packs import Opening, Step, open_case, shipped
from city.ratings import DAY_US, Entry
from city.rights import Actor
from desk.days import FRESH_S, DayDesk, live
from desk.ratings import RatingDesk
from events.civic import DayChanged, Rated, desk_source
from events.clock import ManualClock
from events.errors import (
    AccessDenied,
    ConfigError,
    IllegalTransition,
    MissingValue,
    NoSuchThing,
    VersionConflict,
)
from storage.city.engine import writing
from tests.city_stage import COMMUNITY, FAR, SITE, TOWN, CityStage

RULES = ratingsfile.shipped()
NOW = 1_780_000_000_000_000
ESTATE = Estate(id="e1", name="Garden", area=COMMUNITY, company="water", households=1000)

CLERK = Actor("clerk", "clerk", TOWN)
CITY = Actor("city", "dispatcher", "*")
WATER = Actor("water", "handler", "370481", "water")
ROADS = Actor("roads", "handler", "370481", "roads")
SUPER = Actor("super", "supervisor", "*")
SUPER2 = Actor("super2", "supervisor", "*")
FARAWAY = Actor("far", "supervisor", FAR)


def entry(id: str = "x", points: float = -2.0, **more: Any) -> Entry:
    said: dict[str, Any] = {
        "entry": id,
        "state": "entered",
        "company": "water",
        "estate": "e1",
        "category": "unsolved",
        "points": points,
        "since_us": NOW - DAY_US,
        "expires_us": NOW + DAY_US,
    }
    return Entry(**(said | more))


# -- the sums

ENTRIES = st.lists(
    st.builds(
        entry,
        id=st.uuids().map(str),
        points=st.integers(-80, 80).map(lambda n: n / 8),
        state=st.sampled_from(["entered", "contested", "upheld", "withdrawn"]),
        category=st.sampled_from(["unsolved", "inspection", "praise", "gone"]),
        company=st.sampled_from(["water", "roads"]),
        expires_us=st.integers(NOW - 2, NOW + 2),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(ENTRIES, st.sampled_from([0.0, 20.0, 500.0, 4000.0]))
def test_a_score_is_the_sum_of_the_points_that_it_shows(entries: list[Entry], households: float) -> None:
    estate = msgspec.structs.replace(ESTATE, households=households)
    rating = ratings.rated(RULES, estate, entries, NOW)
    merits = sum(p.points for p in rating.points if p.points > 0)
    demerits = -sum(p.points for p in rating.points if p.points < 0)
    assert rating.score == pytest.approx(80 + min(40, merits) - demerits, abs=0.01)
    assert {p.entry.entry for p in rating.points} == {
        e.entry for e in entries if e.company == "water" and e.expires_us > NOW
    }
    for point in rating.points:
        homes = max(households, 100) if point.entry.category == "unsolved" and households else 500
        counts = 0 if point.entry.state == "withdrawn" else 500 / homes
        assert point.points == pytest.approx(point.entry.points * counts, abs=1e-4)


def test_colours_go_by_the_score_in_the_order_of_the_file(tmp_path: Path) -> None:
    scores = {95: "red", 85: "red", 84.99: "orange", 70: "orange", 60: "yellow", 59.9: "black", -20: "black"}
    assert {score: ratings.colour(RULES, score) for score in scores} == scores
    other = tmp_path / "ratings.toml"
    text = ratingsfile.SHIPPED.read_text()
    text = text.replace('id = "red"', 'id = "x"').replace('id = "black"', 'id = "red"')
    other.write_text(text.replace('id = "x"', 'id = "black"'))
    turned = ratingsfile.load(other)
    assert (ratings.colour(turned, 95), ratings.colour(turned, 0)) == ("black", "red")


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("at-least = 85", "at-least = 65", "must fall"),
        ('id = "redone"', 'id = "overdue"', "'overdue' is there twice"),
        ("points = 0.5", "points = 0", "well-done: needs facts, points"),
        ('facts = ["overdue"]', 'facts = ["so late"]', "facts are of"),
        ("small = 100", "small = 0", "must be above 0"),
        ("least = -10", "least = 10", "least must not be above most"),
        ("base = 80", "bass = 80", "bass"),
    ],
)
def test_a_wrong_file_says_what(tmp_path: Path, was: str, now: str, says: str) -> None:
    file = tmp_path / "ratings.toml"
    text = ratingsfile.SHIPPED.read_text()
    assert was in text
    file.write_text(text.replace(was, now, 1))
    with pytest.raises(ConfigError, match=says) as caught:
        ratingsfile.load(file)
    assert str(file) in str(caught.value)


def test_a_contract_has_a_first_and_a_last_day() -> None:
    said = {
        "company": "water",
        "households": 12,
        "contract_since": "2026-01-01",
        "contract_until": "2026-12-31",
    }
    estate = estate_of(Feature(id="e1", what="estate", parent=COMMUNITY, properties=said))
    new_year = 1_767_196_800_000_000  # 2026-01-01 00:00 in Shanghai
    assert [estate.under_contract(t) for t in (new_year - 1, new_year)] == [False, True]
    assert [estate.under_contract(new_year + 365 * DAY_US + t) for t in (-1, 0)] == [True, False]
    assert estate.households == 12.0


def test_what_happened_before_the_contract_is_not_the_companys() -> None:
    opening = open_case(
        shipped()["matter"], Opening(category="01", role="clerk", estate="e1"), NOW, Calendar()
    )
    case = opened("case-1", NOW, opening)
    case = msgspec.structs.replace(case, holder="water", marks=("overdue",))
    for since, until, count in ((0, 0, 1), (NOW, NOW + 1, 1), (NOW + 1, 0, 0), (0, NOW, 0)):
        estate = msgspec.structs.replace(ESTATE, since_us=since, until_us=until)
        assert len(ratings.derived(RULES, estate, [case])) == count
    others = msgspec.structs.replace(case, holder="roads")
    assert ratings.derived(RULES, ESTATE, [others]) == []
    assert len(ratings.derived(RULES, ESTATE, [msgspec.structs.replace(others, helpers=("water",))])) == 1


# -- over both stores


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = None
    if request.param == "postgis":
        where = request.getfixturevalue("postgis").new_database()
    with CityStage(tmp_path_factory.mktemp("ratings"), where) as stage:
        yield stage


@pytest.fixture
def estate(stage: CityStage, request: pytest.FixtureRequest) -> str:
    """An estate of its own for each test, of the company `water`."""
    id = f"e-{request.node.originalname}"
    said = {"company": "water", "households": 1000}
    stage.put(Feature(id=id, what="estate", name="Garden", parent=COMMUNITY, properties=said))
    stage.settled()
    return id


def desk_of(stage: CityStage) -> RatingDesk:
    return RatingDesk(stage.journal, stage.store, RULES, stage.clock, SITE)


def a_bad_matter(
    stage: CityStage, estate: str, verdict: tuple[str, ...] = ("unsolved", "dissatisfied")
) -> str:
    """A matter that the company handled, and the citizen's word of it."""
    opening = Opening(category="0101", area=COMMUNITY, estate=estate)
    case = stage.desk.open("matter", opening, CITY)
    steps = [
        (CITY, Step(action="accept")),
        (CITY, Step(action="dispatch", holder="water")),
        (WATER, Step(action="sign")),
        (WATER, Step(action="handle", note="done")),
        (SUPER, Step(action="verify")),
        (SUPER, Step(action="close")),
        (SUPER, Step(action="call-back", marks=verdict)),
    ]
    for actor, step in steps:
        case = stage.desk.step(case.case, case.version, step, actor)
    return case.case


def test_each_point_is_traced_to_its_case_and_open_to_contest(stage: CityStage, estate: str) -> None:
    desk = desk_of(stage)
    assert desk.of_estate(estate, SUPER).score == 80
    case = a_bad_matter(stage, estate)
    rating = desk.of_estate(estate, SUPER)
    assert {(p.entry.category, p.entry.cause, p.points) for p in rating.points} == {
        ("unsolved", case, -1.0),  # half, for 1000 households
        ("dissatisfied", case, -0.5),
    }
    assert (rating.score, rating.colour) == (78.5, "orange")
    unsolved = rating.points[0].entry
    with pytest.raises(AccessDenied, match="does not act for water"):
        desk.follow(estate, unsolved.entry, "contested", "not ours", ROADS)
    contested = desk.follow(estate, unsolved.entry, "contested", "it was solved", WATER)
    assert (contested.state, contested.who, contested.points) == ("contested", "water", -2.0)
    assert desk.of_estate(estate, SUPER).score == 78.5  # it counts until it is decided
    with pytest.raises(AccessDenied):
        desk.follow(estate, unsolved.entry, "withdrawn", "please", WATER)
    with pytest.raises(MissingValue, match="say why"):
        desk.follow(estate, unsolved.entry, "withdrawn", " ", SUPER)
    desk.follow(estate, unsolved.entry, "withdrawn", "the photo shows it", SUPER)
    rating = desk.of_estate(estate, SUPER)
    assert (rating.score, [p.points for p in rating.points]) == (79.5, [-0.5, 0.0])
    with pytest.raises(IllegalTransition, match="nothing more"):
        desk.follow(estate, unsolved.entry, "contested", "again", WATER)
    assert [said.state for _, said in desk.history(estate, unsolved.entry, SUPER)] == [
        "contested",
        "withdrawn",
    ]


def test_a_good_matter_is_a_merit_and_an_inspection_is_entered(stage: CityStage, estate: str) -> None:
    desk = desk_of(stage)
    a_bad_matter(stage, estate, ("solved", "satisfied"))
    assert desk.of_estate(estate, SUPER).merit == 0.25
    made = desk.enter(estate, "inspection", -10, "fire lane blocked", SUPER, cause="campaign-3")
    assert (made.state, made.cause, made.expires_us - made.since_us) == (
        "entered",
        "campaign-3",
        180 * DAY_US,
    )
    rating = desk.of_estate(estate, SUPER)
    assert (rating.score, rating.colour, rating.demerit) == (70.25, "orange", 10)
    for category, points, says in (
        ("inspection", 1.0, "-10 to 0"),
        ("inspektion", -1.0, "one of inspection"),
    ):
        with pytest.raises(MissingValue, match=says):
            desk.enter(estate, category, points, "x", SUPER)


def test_who_contests_does_not_decide(stage: CityStage, estate: str) -> None:
    """Even with a grant that could do both."""
    desk = desk_of(stage)
    made = desk.enter(estate, "inspection", -1, "litter", SUPER)
    both = Actor("both", "handler", "370481", "water")
    desk.follow(estate, made.entry, "contested", "cleared", both)
    with pytest.raises(IllegalTransition, match="somebody else has to decide"):
        desk.follow(estate, made.entry, "upheld", "no", Actor("both", "supervisor", "*"))
    assert desk.follow(estate, made.entry, "upheld", "no", SUPER).state == "upheld"


def test_of_two_who_decide_at_once_one_is_told(stage: CityStage, estate: str) -> None:
    made = desk_of(stage).enter(estate, "inspection", -1, "litter", SUPER)
    desk_of(stage).follow(estate, made.entry, "contested", "cleared", WATER)

    def decided(who: Actor) -> str:
        try:
            return desk_of(stage).follow(estate, made.entry, "withdrawn", "so be it", who).who
        except (VersionConflict, IllegalTransition) as e:
            return type(e).__name__

    people = [Actor(f"super{n}", "supervisor", "*") for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(decided, people))
    assert sum(who.startswith("super") for who in said) == 1, said
    assert len(desk_of(stage).history(estate, made.entry, SUPER)) == 3


def test_lists_end_at_the_jurisdiction(stage: CityStage, estate: str) -> None:
    desk = desk_of(stage)
    desk.enter(estate, "inspection", -10, "x", SUPER)
    found = desk.all(SUPER, area=TOWN, company="water")
    assert estate in [rating.estate for rating in found]
    assert [r.score for r in found] == sorted(r.score for r in found)
    assert desk.all(FARAWAY) == []
    with pytest.raises(NoSuchThing):
        desk.of_estate(estate, FARAWAY)
    with pytest.raises(AccessDenied):
        desk.enter(estate, "inspection", -1, "x", WATER)


def test_the_same_events_again_change_nothing(stage: CityStage, estate: str) -> None:
    said = [
        Rated(**{name: getattr(entry(estate=estate, note=state), name) for name in Entry.__struct_fields__})
        for state in ("a", "b")
    ]
    source = desk_source(SITE, "rated:x")
    first, second = (stage.happens(data, source) for data in said)
    stage.settled()
    with writing(stage.store._engine) as connection:
        stage.store.desk.project(connection, [first])
        stage.store.desk.project(connection, [first, second])
    assert [data.note for _, data in stage.store.desk.said("x")] == ["a", "b"]
    known = stage.store.desk.entry(RULES, msgspec.structs.replace(ESTATE, id=estate), "x", NOW)
    assert known is not None
    assert known.note == "b"


# -- days


def test_a_day_that_people_change_holds_at_once_and_back_again(stage: CityStage) -> None:
    desk, clock = DayDesk(stage.journal, stage.clock, SITE), ManualClock()
    calendar = live(stage.calendar, stage.store, clock)
    monday = 1_772_416_800_000_000  # 2026-03-02 10:00 in Shanghai

    def end() -> int:
        clock.advance(FRESH_S)
        return due(monday, "working-days", 1, calendar)

    usual = end()
    admin = Actor("admin", "administrator", "*")
    desk.change("2026-03-03", "holiday", "storm", admin)
    stage.settled()
    assert end() == usual + DAY_US
    assert calendar.names["2026-03-03"] == "storm"
    assert calendar.with_days({}).days == stage.calendar.days
    desk.change("2026-03-03", "usual", "", admin)
    stage.settled()
    assert end() == usual
    assert [(row.day, row.is_, row.who) for row in stage.store.desk.day_rows()] == [
        ("2026-03-03", "usual", "admin")
    ]
    # A festival's day that was made usual again is what the file says: a holiday.
    desk.change("2026-10-01", "workday", "emergency", admin)
    desk.change("2026-10-01", "usual", "", admin)
    stage.settled()
    clock.advance(FRESH_S)
    assert calendar.days["2026-10-01"] is False


def test_who_may_not_and_days_that_are_none(stage: CityStage) -> None:
    desk = DayDesk(stage.journal, stage.clock, SITE)
    with pytest.raises(AccessDenied):
        desk.change("2026-03-04", "holiday", "", SUPER)
    for day in ("2026-02-30", "tomorrow", "20260304"):
        with pytest.raises(MissingValue, match="2026-10-01"):
            desk.change(day, "holiday", "", Actor("admin", "administrator", "*"))


def test_a_changed_day_is_an_event(stage: CityStage) -> None:
    DayDesk(stage.journal, stage.clock, SITE).change(
        "2026-05-09", "usual", "", Actor("a", "administrator", "*")
    )
    (event,) = stage.journal.history(desk_source(SITE, "day:2026-05-09"), "desk")
    assert event.data == DayChanged(day="2026-05-09", is_="usual", who="a")

"""The city's store can be dropped, and is built again from the log, the objects and the vault."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from city.features import Feature
from city.housing import Fact
from city.persons import PersonDoc, check_digit
from city.ratings import Entry
from city.ratingsfile import shipped as shipped_ratings
from city.rights import Actor
from city.scenario import Opening, Step
from city.services import shipped as shipped_services
from desk.days import DayDesk
from desk.hotlinefile import HotlineFile
from desk.hotlineimport import HotlineImport
from desk.mapimport import MapDesk
from desk.ratings import RatingDesk
from desk.registerimport import RegisterImport
from desk.registers import Registers
from desk.words import Words
from events.civic import Rated
from events.events import AlertCleared, AlertRaised, Judged
from events.topics import KEPT
from pipeline.projector import catch_up
from storage.city.casequery import CaseQuery
from storage.city.store import CityStore
from storage.logbus import LogBus
from testbed.city_content import Content, content, differences
from testbed.postgis import PostGIS
from tests.city_stage import CITY, COMMUNITY, COMMUNITY2, GRID, IN_COMMUNITY2, IN_GRID, SITE, CityStage

ADMIN = Actor("importer", "administrator", "*")
TOWN = Actor("town", "dispatcher", "370481001")
WATER = Actor("water", "handler", CITY, "water")
SUPER = Actor("super", "supervisor", "*")
HOTLINE = f"""reference,received,channel,category,words,lon,lat,name,phone,closed,verdict,answer
A1,2026-03-02T09:00:00+08:00,hotline,rubbish,垃圾没人清,{IN_GRID[0]},{IN_GRID[1]},王某,13900000001,2026-03-03,solved,好
A2,2026-03-02T09:30:00+08:00,online,rubbish,又是垃圾,{IN_GRID[0]},{IN_GRID[1]},李某,13900000002,,,
A3,2026-03-04T09:30:00+08:00,hotline,light,路灯不亮,,,,,,,
"""


def number(order: int) -> str:
    """An identity number of nobody."""
    first = f"99048119900101{order:03}"
    return first + check_digit(first)


def the_map(stage: CityStage, folder: Path) -> None:
    """A survey, a second one, and a change by hand."""
    desk = MapDesk(stage.journal, stage.store, stage.objects, stage.clock, SITE, CITY)
    for name in ("First Hall", "First Hall again"):
        survey = folder / "survey.csv"
        survey.write_text(
            f"id,name,lon,lat\no1,{name},{IN_GRID[0]},{IN_GRID[1]}\no2,Second,{IN_COMMUNITY2[0]},35.1\n"
        )
        assert desk.load(survey, "organisation", ADMIN).report.event
        stage.settled()
    stage.put(Feature(id="gone", what="station", geometry={"type": "Point", "coordinates": list(IN_GRID)}))
    stage.settled()
    desk.change("station", "gone", None, desk.version("station", "gone"), ADMIN)
    garden = Feature(
        id="e1", what="estate", name="Garden", parent=COMMUNITY,
        properties={"company": "water", "households": 1000},
    )  # fmt: skip
    stage.put(garden)
    stage.settled()


def the_alerts(stage: CityStage) -> None:
    """Three of a camera, one judged before it is over."""
    for n in range(3):
        now = stage.clock.wall_us()
        raised = AlertRaised(
            alert=f"alert{n}", rule="yard", kind="intrusion", severity="major", label="person",
            since_us=now, place=IN_GRID,
        )  # fmt: skip
        stage.happens(raised)
    stage.happens(Judged(alert="alert1", rule="yard", verdict="true", who="operator"))
    stage.happens(AlertCleared(alert="alert1", rule="yard", reason="left", until_us=stage.clock.wall_us()))


def the_cases(stage: CityStage) -> None:
    """A matter from its report to the citizen's word, with words of people, and others on their way."""
    words = Words(text="说的话", name="王某", phone="13900000003")
    opening = Opening(category="0101", area=GRID, estate="e1", place=IN_GRID)
    case = stage.desk.open("matter", opening, TOWN, words=words)
    stage.desk.open("matter", Opening(category="0101", area=GRID, place=IN_GRID), TOWN)
    for actor, step in (
        (TOWN, Step(action="accept")),
        (TOWN, Step(action="dispatch", holder="water")),
        (WATER, Step(action="sign")),
        (WATER, Step(action="handle", note="done")),
        (SUPER, Step(action="verify")),
        (SUPER, Step(action="close")),
        (SUPER, Step(action="call-back", marks=("unsolved", "dissatisfied"))),
    ):
        case = stage.desk.step(case.case, case.version, step, actor)


def the_registers(stage: CityStage, folder: Path) -> None:
    """A survey of homes and persons; somebody enters, is visited; somebody else is erased."""
    importer = RegisterImport(
        SITE, stage.journal, stage.store.registers, stage.objects, stage.vault, stage.clock,
        {"B1": GRID, "B2": COMMUNITY2}.get,  # type: ignore[arg-type]
    )  # fmt: skip
    homes, people = folder / "homes.csv", folder / "people.csv"
    homes.write_text("home,building,address\nH1,B1,Road 1\nH2,B2,Road 2\n")
    people.write_text(
        "person,name,identity,home,since,care\n"
        f"1,李合成,{number(1)},H1,2010-01-01,living-alone\n2,王合成,{number(2)},H2,2015-06-01,\n"
    )
    assert importer.file(homes, "home", ADMIN).taken == 2
    stage.settled()
    assert importer.file(people, "person", ADMIN).taken == 2
    stage.settled()
    registers = Registers(
        SITE, stage.journal, stage.store.registers, stage.objects, stage.vault, stage.clock, lambda _: None
    )
    facts = (Fact(kind="residence", home="H1", since="2020-01-01"),)
    ref = registers.enter(ADMIN, PersonDoc(name="赵合成", identity=number(3)), facts)
    registers.visit(Actor("clerk", "clerk", "*"), ref, "visit", "", "去看过")
    gone = registers.enter(ADMIN, PersonDoc(name="陈合成", identity=number(4)), facts)
    registers.erase(ADMIN, gone, "asked")


def the_desk(stage: CityStage) -> None:
    """A day of the calendar, twice; points for a company, contested."""
    days = DayDesk(stage.journal, stage.clock, SITE)
    for is_ in ("holiday", "workday"):
        days.change("2026-10-08", is_, "", ADMIN)
    rules = shipped_ratings()
    desk = RatingDesk(stage.journal, stage.store, rules, stage.clock, SITE)
    category = next(c for c in rules.categories if c.least < 0)
    entry: Entry = desk.enter("e1", category.id, -1.0, "seen", SUPER)
    desk.follow("e1", entry.entry, "contested", "not ours", WATER)


def the_hotline(stage: CityStage, folder: Path) -> None:
    """A batch of records, two of one thing, and one of them goes on."""
    path = folder / "hotline.csv"
    path.write_text(HOTLINE)
    importer = HotlineImport(
        stage.journal, stage.store, stage.objects, stage.vault, stage.clock, SITE,
        stage.packs["appeal"], stage.calendar, shipped_services(),
    )  # fmt: skip
    assert importer.run(HotlineFile(path), who="clerk").taken == 3
    stage.settled()
    (case,) = stage.store.cases.page(CaseQuery(scenario="appeal", reference="A3")).cases
    stage.desk.step(case.case, case.version, Step(action="comment", note="asked where"), SUPER)


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def lived(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[CityStage, Path | str]]:
    """A desk at which something of every kind was done; and where its store is."""
    folder, where = tmp_path_factory.mktemp("lived"), None
    if request.param == "postgis":
        where = request.getfixturevalue("postgis").new_database()
    with CityStage(folder, where) as stage:
        the_map(stage, folder)
        the_alerts(stage)
        the_cases(stage)
        the_registers(stage, folder)
        the_desk(stage)
        the_hotline(stage, folder)
        stage.settled()
        yield stage, where or folder / "city.db"


def rebuilt(stage: CityStage, where: Path | str, limit: int) -> Content:
    """What is there after all of the journal was projected into an empty store."""
    store = CityStore(where, stage.objects, stage.vault)
    subscription = LogBus(stage.journal, stage.clock).subscribe(f"rebuild {where}", start=store.offset)
    while catch_up(subscription, store, limit=limit):
        pass
    assert store.offset(stage.journal.id) == stage.journal.last_offset()
    store.close()
    return content(where)


def test_something_of_every_kind_was_done(lived: tuple[CityStage, Path | str]) -> None:
    stage, where = lived
    families = {record.event.family for record in stage.journal.read(0, 100_000)}
    assert families >= {*KEPT, "alert", "judgement"}
    empty = [name for name, rows in content(where).items() if not rows]
    assert set(empty) <= {"case_findings", "case_early"}, "each table has a row, or nothing is compared in it"
    assert any(isinstance(r.event.data, Rated) for r in stage.journal.read(0, 100_000, ("desk",)))


@pytest.mark.parametrize("limit", [1, 4000])
def test_it_is_built_again_from_the_log(
    lived: tuple[CityStage, Path | str], tmp_path: Path, limit: int, request: pytest.FixtureRequest
) -> None:
    stage, where = lived
    again: Path | str = tmp_path / "again.db"
    if isinstance(where, str):
        server: PostGIS = request.getfixturevalue("postgis")
        again = server.new_database()
    assert differences(rebuilt(stage, again, limit), content(where)) == []


def test_it_is_built_again_on_the_other_database(
    lived: tuple[CityStage, Path | str], tmp_path: Path, database: str
) -> None:
    stage, where = lived
    other: Path | str = database if isinstance(where, Path) else tmp_path / "other.db"
    assert differences(rebuilt(stage, other, 500), content(where)) == []


def test_applied_again_from_its_beginning_the_log_changes_nothing(
    lived: tuple[CityStage, Path | str],
) -> None:
    stage, where = lived
    before = content(where)
    stage.store.stand(stage.journal.id, 0)
    stage.store.apply(stage.journal.id, stage.journal.read(0, 100_000))
    assert differences(content(where), before) == []

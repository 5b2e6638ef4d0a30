"""Surveys into population and housing on both stores: what is taken, merged, refused, and how often."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.features import Feature
from city.persons import check_digit
from city.rights import Actor
from desk import registercheck as check
from desk.registercheck import Refusal
from desk.registerimport import RegisterImport, Report, areas_of
from desk.synth import City, make
from desk.synthground import Plan
from events.clock import SystemClock
from events.errors import AccessDenied, ConfigError
from pipeline.projector import catch_up
from storage.city.engine import reading
from storage.city.metadata import METADATA
from storage.city.registerrows import PERSON, entry_of
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.logbus import LogBus
from storage.objects import FolderObjects
from testbed.city_content import content, differences

AREAS = {"B1": "370481001001G01", "B2": "370481002001G01"}
ADMIN = Actor("importer", "administrator", "*")
HOMES = "home,building,address,area_m2\nH1,B1,Road 1,70\nH2,B1,Road 2,\nH3,B2,Road 3,55.5\n"
HEAD = "person,name,identity,phone,born,sex,home,since,registration,tenure,care"


def number(born: str, order: int) -> str:
    first = f"990481{born.replace('-', '')}{order:03}"
    return first + check_digit(first)


LI, WANG, ZHAO = number("1944-03-05", 11), number("1980-01-01", 22), number("1999-09-09", 33)


class Desk:
    """A desk with an importer and a projector."""

    def __init__(self, folder: Path, where: Path | str, areas: Mapping[str, str] | None = None) -> None:
        self.folder, self.clock = folder, SystemClock()
        self.journal = Journal(folder / "journal.db", self.clock)
        self.objects = FolderObjects(folder / "objects")
        self.vault = Vault(where if isinstance(where, str) else folder / "vault.db", bytes(range(32)))
        self.store = CityStore(where, self.objects, self.vault)
        self.tables = self.store.registers
        of = AREAS if areas is None else areas
        self.importer = RegisterImport(
            "site", self.journal, self.tables, self.objects, self.vault, self.clock,
            lambda building: of.get(building, "") if of else building[:15],
        )  # fmt: skip
        self._subscription = LogBus(self.journal, self.clock).subscribe("test", start=self.store.offset)

    def take(self, what: str, text: str | Path, actor: Actor = ADMIN, **more: object) -> Report:
        path = self.folder / f"{what}.csv" if isinstance(text, str) else text
        if isinstance(text, str):
            path.write_text(text)
        report = self.importer.file(path, what, actor, **more)  # type: ignore[arg-type]
        while self.store.offset(self.journal.id) < self.journal.last_offset():
            catch_up(self._subscription, self.store, timeout_s=0.05)
        return report

    def people(self, *rows: str, **more: object) -> Report:
        return self.take(PERSON, "\n".join((HEAD, *rows)) + "\n", **more)  # type: ignore[arg-type]

    def facts(self, identity: str) -> list[tuple[str, str, str, str]]:
        (ref,) = self.tables.by_blind([self.importer.blind(identity)]).values()
        entry = self.tables.person(ref)
        assert entry is not None
        return [(f.kind, f.home, f.since, f.until) for f in entry.facts]

    def close(self) -> None:
        for part in (self.store, self.vault, self.journal):
            part.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("database"))
    return tmp_path / "city.db"


@pytest.fixture
def desk(tmp_path: Path, where: Path | str) -> Iterator[Desk]:
    made = Desk(tmp_path, where)
    assert made.take("home", HOMES).taken == 3
    yield made
    made.close()


def test_the_same_file_again_changes_nothing(desk: Desk) -> None:
    rows = (
        f"1,李合成,{LI},13800000001,,,H1,2010-01-01,H1,owner,living-alone",
        "2,赵合成,,,,,H3,2020-01-01,outside,,",
    )
    first = desk.people(*rows)
    assert (first.taken, first.unchanged, first.rejected, len(first.batches)) == (2, 0, 0, 1)
    before, last = content(desk.store._engine, "reg_"), desk.journal.last_offset()
    again = desk.people(*rows)
    assert (again.taken, again.unchanged, again.batches) == (0, 2, ())
    assert desk.journal.last_offset() == last, "no event"
    assert differences(before, content(desk.store._engine, "reg_")) == []
    assert desk.take("home", HOMES).unchanged == 3


def test_a_later_survey_ends_what_it_takes_the_place_of(desk: Desk) -> None:
    desk.people(f"1,李合成,{LI},,,,H1,2010-01-01,H1,owner,")
    moved = desk.people(f"1,李合成,{LI},13900000000,,,H3,2025-05-01,,tenant,aged-80")
    assert (moved.taken, moved.first) == (1, ())
    assert desk.facts(LI) == [
        ("residence", "H1", "2010-01-01", "2025-05-01"),
        ("residence", "H3", "2025-05-01", "9999-12-31"),
        ("registration", "H1", "1900-01-01", "9999-12-31"),
        ("tenure", "H1", "2010-01-01", "9999-12-31"),
        ("tenure", "H3", "2025-05-01", "9999-12-31"),
    ]
    assert desk.tables.page("370481002") == [
        f"{AREAS['B2']} {desk.importer.known([desk.importer.blind(LI)]).popitem()[1]}"
    ]


def test_a_person_moved_twice_on_one_day_is_asked_about(desk: Desk) -> None:
    twice = desk.people(f"1,李合成,{LI},,,,H1,2010-01-01,,,", f"1,李合成,{LI},,,,H2,2010-01-01,,,")
    assert (twice.taken, twice.rejected) == (1, 1)
    assert "the same person is in row 2 already; a file says it once" in twice.first[0].why
    later = desk.people(f"1,李合成,{LI},,,,H2,2010-01-01,,,")
    assert "two places of residence from the same day 2010-01-01: H1 and H2" in later.first[0].why
    assert desk.facts(LI) == [("residence", "H1", "2010-01-01", "9999-12-31")]


def test_own_numbers_of_two_surveys_are_kept_apart(desk: Desk) -> None:
    row = "1,赵合成,,,,,H1,2020-01-01,,,"
    assert desk.people(row, survey="census").taken == 1
    assert desk.people(row, survey="census").unchanged == 1
    assert desk.people(row, survey="clinic").taken == 1
    assert len(desk.tables.page("")) == 2


def test_who_was_erased_is_not_brought_back(desk: Desk) -> None:
    desk.people(f"1,李合成,{LI},,,,H1,2010-01-01,,,")
    (ref,) = desk.tables.by_blind([desk.importer.blind(LI)]).values()
    desk.vault.erase(entry_of(PERSON, ref))
    report = desk.people(f"1,李合成,{LI},,,,H2,2025-01-01,,,", f"2,王合成,{WANG},,,,H2,2025-01-01,,,")
    assert (report.taken, report.rejected) == (1, 1)
    assert "this person was erased" in report.first[0].why


def test_rows_outside_the_jurisdiction_are_rejected(desk: Desk) -> None:
    town = Actor("town", "administrator", "370481001")
    rows = (f"1,李合成,{LI},,,,H1,2010-01-01,,,", f"2,王合成,{WANG},,,,H3,2010-01-01,,,")
    report = desk.people(*rows, actor=town)
    assert (report.taken, report.rejected) == (1, 1)
    assert "outside town's jurisdiction" in report.first[0].why
    with pytest.raises(AccessDenied):
        desk.people(*rows, actor=Actor("w", "grid worker", "370481001"))
    with pytest.raises(AccessDenied):
        desk.people(*rows, actor=Actor("w", "administrator", ""))


WRONG = [
    (f"1,李合成,{LI[:-1]}{'1' if LI[-1] != '1' else '2'},,,,H1,2010-01-01,,,", "check digit is wrong"),
    ("1,李合成,440305194403051,,,,H1,2010-01-01,,,", "15 digits is the old form"),
    (f"1,,{LI},,,,H1,2010-01-01,,,", "the name is missing"),
    (",李合成,,,,,H1,2010-01-01,,,", "neither an identity number nor"),
    (f"1,李合成,{LI},,1944-03-06,,H1,2010-01-01,,,", "date of birth is another one"),
    (f"1,李合成,{LI},,,female,H1,2010-01-01,,,", "the sex is another one"),
    ("1,李合成,,,2125-01-01,,H1,,,,", "still to come"),
    (f"1,李合成,{LI},call me,,,H1,2010-01-01,,,", "telephone number"),
    (f"1,李合成,{LI},,,,H1,2010-02-30,,,", "is no day"),
    (f"1,李合成,{LI},,,,H1,1940-01-01,,,", "before the date of birth"),
    (f"1,李合成,{LI},,,,H9,2010-01-01,,,", "there is no home 'H9'"),
    (f"1,李合成,{LI},,,,,,,,", "neither a home where the person lives nor a registration"),
    (f"1,赵合成,{ZHAO},,,,,,outside,,", "neither lives nor is registered in this city"),
    (f"1,李合成,{LI},,,,H1,2010-01-01,,squatter,", "is no tenure"),
    (f"1,李合成,{LI},,,,H1,2010-01-01,,,rich", "is no care tag"),
    (f"1,李合成,{LI},H1", "the row has 4 cells, the heading 11"),
]


def test_each_wrong_row_is_told_why_and_the_rest_is_taken(desk: Desk) -> None:
    good = f"2,王合成,{WANG},,,,H2,2010-01-01,,,"
    rows = [*(row for row, _ in WRONG), good]
    dry = desk.people(*rows, dry=True)
    assert desk.tables.page("") == [], "a dry run keeps nothing"
    report = desk.people(*rows)
    assert (report.rows, report.taken, report.rejected) == (len(rows), 1, len(WRONG))
    assert (dry.rows, dry.taken, dry.first) == (report.rows, report.taken, report.first)
    told = {one.row: one.why for one in report.first}
    for n, (row, why) in enumerate(WRONG, 2):
        assert why in told[n], row
    assert len(desk.tables.page("")) == 1


if_sqlite = pytest.mark.parametrize("where", ["sqlite"], indirect=True)


@if_sqlite
def test_a_file_that_cannot_be_used_changes_nothing(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="the mapping names a field 'nom'"):
        desk.people(f"1,李合成,{LI},,,,H1,,,,", mapping={"nom": "name"})
    assert desk.tables.page("") == []


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.dictionaries(st.sampled_from(list(check.PERSON_FIELDS)), texts))
def test_whatever_a_row_says_it_is_a_person_or_told_why(row: dict[str, str]) -> None:
    try:
        draft = check.person(lambda field: row.get(field, ""))
    except Refusal as refusal:
        why = refusal.why
    else:
        assert draft.doc.name
        assert draft.facts
        return
    assert why


@pytest.mark.slow
def test_a_survey_of_many_persons(tmp_path: Path, where: Path | str) -> None:
    """All validated, encrypted and stored, each under a key of its own; sent again, nothing changes."""
    plan = Plan.of(30_000 / 1_600_000)
    make(tmp_path, City(plan, 7), ("homes", "persons"))
    desk = Desk(tmp_path, where, {})
    try:
        assert desk.take("home", tmp_path / "homes.csv").rejected == 0
        report = desk.take(PERSON, tmp_path / "persons.csv")
        assert (report.taken, report.rejected, report.first) == (plan.persons, 0, ())
        assert desk.tables.sums("", "2025-12-31").persons == plan.persons
        with reading(desk.store._engine) as connection:
            table = METADATA.tables["reg_persons"]
            sealed = {bytes(row.sealed) for row in connection.execute(table.select().limit(1000))}
        assert len(sealed) == 1000
        again = desk.take(PERSON, tmp_path / "persons.csv")
        assert (again.taken, again.unchanged) == (0, plan.persons)
    finally:
        desk.close()


def test_many_buildings_are_asked_for_at_once_and_say_the_same() -> None:
    asked: list[str] = []

    class Features:
        def get(self, layer: str, code: str) -> Feature | None:
            asked.append(code)
            return Feature(id=code, what=layer, parent="370481001001") if code != "B3" else None

        def every(self, layer: str) -> Iterator[Feature]:
            asked.append("all")
            yield from (Feature(id=f"B{n}", what=layer, parent="370481001001") for n in range(1000) if n != 3)

    area_of = areas_of(Features())  # type: ignore[arg-type]
    said = [area_of(f"B{n}") for n in (*range(500), *range(500), 2000)]
    assert [n for n, area in enumerate(said) if not area] == [3, 503, 1000]
    assert len(asked) == len(set(asked)) == 201

"""A hotline's records, brought in bulk: mapped, checked row by row, sealed, linked, once each."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import openpyxl
import pytest

from city.rights import Actor
from city.scenario import Step
from city.services import shipped as shipped_services
from desk.appeals import Appeals
from desk.hotlinefile import HotlineFile, HotlineMapping
from desk.hotlineimport import Done, HotlineImport
from desk.registerfiles import Row
from desk.words import WordsBox
from events.civic import RegisterImported
from events.errors import ConfigError
from storage.city.batches import entry_of_batch
from storage.city.casequery import CaseQuery
from storage.city.store import CityStore
from tests.city_stage import COMMUNITY, GRID, IN_FAR, IN_GRID, SITE, CityStage

HEADER = "reference,received,channel,kind,category,words,address,lon,lat,name,phone,closed,verdict,answer"
AT = f"{IN_GRID[0]},{IN_GRID[1]}"


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = None
    if request.param == "postgis":
        where = request.getfixturevalue("postgis").new_database()
    with CityStage(tmp_path_factory.mktemp("hotline"), where) as stage:
        yield stage


def importer(stage: CityStage) -> HotlineImport:
    return HotlineImport(
        stage.journal,
        stage.store,
        stage.objects,
        stage.vault,
        stage.clock,
        SITE,
        stage.packs["appeal"],
        stage.calendar,
        shipped_services(),
    )


def appeals(stage: CityStage) -> Appeals:
    return Appeals(stage.desk, stage.store, WordsBox(stage.objects, stage.vault), stage.vault, stage.clock)


def csv(folder: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8") -> HotlineFile:
    path = folder / "records.csv"
    path.write_bytes("\n".join((header, *rows, "")).encode(encoding))
    return HotlineFile(path)


def brought(stage: CityStage, file: HotlineFile, dry_run: bool = False) -> tuple[Done, list[tuple[int, str]]]:
    rejected: list[tuple[int, str]] = []

    def reject(row: Row, why: str) -> None:
        rejected.append((row.number, why))

    done = importer(stage).run(file, who="clerk1", dry_run=dry_run, reject=reject)
    stage.settled()
    return done, rejected


def row(number: str, **more: str) -> str:
    values = {
        "reference": number,
        "received": "2026-03-02T09:00:00+08:00",
        "category": "rubbish",
        "lon": str(IN_GRID[0]),
        "lat": str(IN_GRID[1]),
    }
    values |= more
    return ",".join(values.get(name, "") for name in HEADER.split(","))


def case_of(stage: CityStage, number: str, channel: str = "hotline"):  # type: ignore[no-untyped-def]
    ticket = appeals(stage).ticket_of(channel, number)
    case = stage.store.cases.case(stage.desk.id_of("appeal", ticket.key))
    assert case is not None
    return case


def test_records_become_appeals(stage: CityStage, tmp_path: Path) -> None:
    file = csv(
        tmp_path,
        row(
            "A1",
            kind="投诉",
            words="垃圾没人清",
            name="王某",
            phone="13900000001",
            closed="2026-03-03 10:00:00",
            verdict="solved;dissatisfied",
            answer="已清运",
        ),
        row("A2", category="噪音扰民", lon=str(IN_FAR[0]), lat=str(IN_FAR[1])),
        row("A3", category="light", lon="", lat="", address=f"community {COMMUNITY}某路"),
        row("A4", category="water", lon="", lat="", address="nobody knows"),
    )
    done, rejected = brought(stage, file)
    assert (done.rows, done.taken, done.rejected, done.unplaced, rejected) == (4, 4, 0, 1, [])
    first = case_of(stage, "A1")
    assert (first.state, first.final, first.area, first.level) == ("closed", True, GRID, "grid")
    assert first.marks == ("called-back", "dissatisfied", "solved")
    assert first.detail["kind"] == "complaint"
    assert (first.closed_us - first.opened_us) // 3_600_000_000 == 25
    words = WordsBox(stage.objects, stage.vault).read(first.case, first.sealed)
    assert words is not None
    assert (words.text, words.name, words.phone) == ("垃圾没人清\n[answer] 已清运", "王某", "13900000001")
    assert case_of(stage, "A2").state == "placed"
    third = case_of(stage, "A3")
    assert (third.place, third.area, third.state) == (None, COMMUNITY, "placed")
    assert case_of(stage, "A4").state == "received"
    counted = stage.store.cases.closure("appeal", "2026-03-02", "2026-03-02", "scenario")[0]
    assert (counted.opened, counted.closed, counted.on_time) == (4, 1, 1)
    assert (counted.called_back, counted.solved, counted.satisfied) == (1, 1, 0)


def test_nothing_of_a_person_is_in_journal_store_or_objects(stage: CityStage, tmp_path: Path) -> None:
    brought(stage, csv(tmp_path, row("S1", words="秘密的话", name="李某某", phone="13912345678")))
    folder = stage.journal.path.parent
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".db-shm":
            body = path.read_bytes()
            assert b"13912345678" not in body, path
            assert "李某某".encode() not in body, path
    case = case_of(stage, "S1")
    dumped = msgspec.json.encode(case)
    assert b"139" not in dumped


def test_the_same_file_again_changes_nothing(stage: CityStage, tmp_path: Path) -> None:
    rows = [row(f"I{n}", lon=str(IN_FAR[0]), category="dog") for n in range(3)]
    brought(stage, csv(tmp_path, *rows))
    before = stage.journal.last_offset()
    done, _ = brought(stage, csv(tmp_path, *rows))
    assert (done.taken, done.known) == (0, 3)
    assert stage.journal.last_offset() == before
    done, _ = brought(stage, csv(tmp_path, *rows, row("I3", category="dog")))
    assert (done.taken, done.known) == (1, 3)


def test_a_dry_run_changes_nothing(stage: CityStage, tmp_path: Path) -> None:
    before = stage.journal.last_offset(), list(stage.objects.keys())
    done, rejected = brought(stage, csv(tmp_path, row("D1"), row("D2", received="")), dry_run=True)
    assert (done.taken, done.rejected) == (1, 1)
    assert rejected == [(3, "received is missing")]
    assert (stage.journal.last_offset(), list(stage.objects.keys())) == before


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"reference": ""}, "reference"),
        ({"received": "soon"}, "no time"),
        ({"received": "1999-01-01 00:00:00"}, "2000"),
        ({"received": "2999-01-01 00:00:00"}, "future"),
        ({"category": "dragons"}, "no category 'dragons'"),
        ({"category": ""}, "merged cells"),
        ({"lon": "35.02", "lat": "117.02"}, "exchanged"),
        ({"lon": "117.02", "lat": ""}, "degrees"),
        ({"kind": "poem"}, "kind"),
        ({"closed": "2026-03-01 00:00:00"}, "earlier"),
        ({"verdict": "solved"}, "closed is missing"),
        ({"closed": "2026-03-03 00:00:00", "verdict": "solved;unsolved"}, "contrary"),
        ({"closed": "2026-03-03 00:00:00", "verdict": "great"}, "none of"),
    ],
)
def test_rows_that_cannot_be(stage: CityStage, tmp_path: Path, more: dict[str, str], why: str) -> None:
    done, rejected = brought(stage, csv(tmp_path, row("R1", **more)), dry_run=True)
    assert done.rejected == 1
    assert why in rejected[0][1]
    assert list(done.reasons.values()) == [1]


def test_a_number_twice_in_one_file(stage: CityStage, tmp_path: Path) -> None:
    done, rejected = brought(stage, csv(tmp_path, row("T1"), row("T1"), row("T1", channel="online")))
    assert done.taken == 2
    assert rejected == [(3, "its number came before in this file")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_encodings(stage: CityStage, tmp_path: Path, encoding: str) -> None:
    header = "工单编号,来电时间,诉求分类,诉求内容"
    file = csv(tmp_path, f"E-{encoding},2026/3/5 8:05,垃圾清运,㐀𠮷堆着", header=header, encoding=encoding)
    done, rejected = brought(stage, file)
    assert (done.taken, rejected) == (1, [])
    case = case_of(stage, f"E-{encoding}")
    words = WordsBox(stage.objects, stage.vault).read(case.case, case.sealed)
    assert words is not None
    assert words.text == "㐀𠮷堆着"


def test_encodings_mixed_in_one_file(stage: CityStage, tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    lines = [
        "工单编号,来电时间,诉求分类,诉求内容".encode(),
        "M1,2026-03-05 08:00:00,垃圾清运,甲".encode(),
        "M2,2026-03-05 08:00:00,供水问题,乙".encode("gb18030"),
        b"M3,2026-03-05 08:00:00,noise,\xff\xff\xff",
    ]
    path.write_bytes(b"\r\n".join(lines))
    done, rejected = brought(stage, HotlineFile(path))
    assert done.taken == 2
    assert [(n, "GB18030" in why) for n, why in rejected] == [(4, True)]


def test_a_sheet_with_a_title_and_merged_cells(stage: CityStage, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["2026年3月诉求清单"])
    sheet.append(["工单编号", "来电时间", "诉求分类", "电话"])
    sheet.append(["X1", "2026-03-06 08:00:00", "路灯照明", 13900000009])
    sheet.append(["X2", "2026-03-06 09:00:00", None, None])
    sheet.merge_cells("A1:D1")
    sheet.merge_cells("C3:C4")
    path = tmp_path / "sheet.xlsx"
    book.save(path)
    done, rejected = brought(stage, HotlineFile(path))
    assert (done.taken, rejected) == (2, [])
    case = case_of(stage, "X2")
    assert case.category == "light"
    words = WordsBox(stage.objects, stage.vault).read(case_of(stage, "X1").case, case_of(stage, "X1").sealed)
    assert words is not None
    assert words.phone == "13900000009"


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for body in (b"", b"a,b,c\n1,2,3\n", b"reference,received\n1,2\n"):
        path.write_bytes(body)
        with pytest.raises(ConfigError, match=r"a\.csv"):
            HotlineFile(path)
    with pytest.raises(ConfigError, match=r"away\.csv"):
        HotlineFile(tmp_path / "away.csv")
    path.write_text("reference,received,category\n1,2,3\n")
    with pytest.raises(ConfigError, match="'No', which the mapping names"):
        HotlineFile(path, HotlineMapping(columns={"reference": "No"}))
    with pytest.raises(ValueError, match="no field 'number'"):
        HotlineMapping(columns={"number": "No"})


def test_a_mapping_names_columns_and_values(stage: CityStage, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("No;When;What\nP1;2026-03-07 00:30:00;bin\nP2;2026-03-07 00:30:00;x\n")
    mapping = HotlineMapping(
        zone="UTC",
        columns={"reference": "No", "received": "When", "category": "What"},
        values={"category": {"bin": "rubbish", "*": "other"}},
    )
    done, _ = brought(stage, HotlineFile(path, mapping))
    assert done.taken == 2
    assert (case_of(stage, "P1").category, case_of(stage, "P2").category) == ("rubbish", "other")
    assert case_of(stage, "P1").opened_us == 1_772_843_400_000_000


def test_the_same_complaint_through_two_channels_is_linked(stage: CityStage, tmp_path: Path) -> None:
    at = {"lon": "117.035", "lat": "35.15", "category": "heating"}
    done, _ = brought(
        stage,
        csv(
            tmp_path,
            row("L1", phone="13911111111", **at),
            row("L2", phone="13911111111", received="2026-03-02T11:00:00+08:00", channel="online", **at),
            row(
                "L3",
                phone="13922222222",
                received="2026-03-09T11:00:00+08:00",
                lon="117.3",
                lat="35.15",
                category="heating",
            ),
            row(
                "L4",
                phone="13911111111",
                received="2026-03-03T11:00:00+08:00",
                lon="",
                lat="",
                category="heating",
            ),
        ),
    )
    assert done.linked == 2
    head, other = case_of(stage, "L1"), case_of(stage, "L2", "online")
    assert (other.state, other.other, other.marks) == ("linked", head.case, ("duplicate",))
    assert "the same caller by another channel" in str(other.detail["why"])
    assert case_of(stage, "L4").other == head.case
    assert case_of(stage, "L3").other == ""
    assert stage.store.appeals.linked(head.case) == sorted([other.case, case_of(stage, "L4").case])
    # Each keeps a token of its own.
    book = appeals(stage)
    for number, channel in (("L1", "hotline"), ("L2", "online")):
        ticket = book.ticket_of(channel, number)
        assert book.look(ticket.token).case.case == case_of(stage, number, channel).case


def test_what_came_in_a_batch_goes_on(stage: CityStage, tmp_path: Path) -> None:
    brought(stage, csv(tmp_path, row("G1", lon=str(IN_FAR[0]), category="road")))
    case = case_of(stage, "G1")
    clerk = Actor("clerk", "clerk", "*")
    done = stage.desk.step(
        case.case, 0, Step(action="answer-at-once", note="filled", marks=("solved",)), clerk
    )
    assert (done.version, done.state, done.reference) == (1, "closed", "G1")


def test_an_erased_batch_or_a_wrong_one(stage: CityStage, tmp_path: Path) -> None:
    brought(stage, csv(tmp_path, row("W1")))
    events = [record.event for record in stage.journal.page(0, 10_000, ("register",))[0]]
    data = [event.data for event in events if isinstance(event.data, RegisterImported)][-1]
    assert data.rows == 1
    sealed = stage.objects.get(data.object)
    assert sealed is not None
    assert stage.vault.open(entry_of_batch(data.object), sealed) is not None
    assert stage.vault.open(entry_of_batch("another"), sealed) is None
    found = stage.store.cases.page(CaseQuery(scenario="appeal", reference="W1")).cases
    assert len(found) == 1


def test_the_store_is_built_again_from_the_log(stage: CityStage, tmp_path: Path) -> None:
    at = {"lon": "117.045", "lat": "35.18", "category": "noise"}
    brought(stage, csv(tmp_path, row("B1", **at), row("B2", channel="online", **at)))
    again = CityStore(tmp_path / "again.db", stage.objects, stage.vault)
    try:
        records, _ = stage.journal.page(0, 100_000)
        again.apply(stage.journal.id, records)
        there, here = (store.cases.page(CaseQuery(), limit=1000).cases for store in (stage.store, again))
        assert here == there
        for case in here:
            assert again.appeals.linked(case.case) == stage.store.appeals.linked(case.case)
        assert again.appeals.linked(case_of(stage, "B1").case) == [case_of(stage, "B2", "online").case]
    finally:
        again.close()

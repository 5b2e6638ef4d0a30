"""The registers' tables on SQLite and PostgreSQL: what comes of batches, entries and erasures, and what is in
clear."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grimp
import msgspec
import pytest
from sqlalchemy import select

from city.housing import Fact, Home
from city.persons import PersonDoc
from events.bus import Record
from events.civic import RegisterChanged, RegisterErased, RegisterImported, register_source
from events.errors import EventRefused, StorageError
from events.events import AnyPayload, Event
from events.ids import event_id
from storage.city.batches import entry_of_batch
from storage.city.engine import reading
from storage.city.keys import Keys
from storage.city.metadata import METADATA
from storage.city.registerrows import (
    HOME,
    PERSON,
    VISIT,
    PersonRow,
    VisitRow,
    entry_of,
    packed,
    sealed_rows,
)
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.objects import FolderObjects
from testbed.city_content import content, differences

Where = Path | str
AREA, AREA2 = "370481001001G01", "370481002001G01"
HOMES = (
    Home(home="H1", building="B1", area=AREA, unit="1", room="0101", address="Synthetic Road 1"),
    Home(home="H2", building="B1", area=AREA, unit="1", room="0102", area_m2=71.5),
    Home(home="H3", building="B2", area=AREA2),
)
SECRETS = ("赵合成", "110105194912310", "13812345678", "Synthetic Mill", "心情低落")
LOG = "log"


class Desk:
    """Makes events as an importer would, and gives them to a store."""

    def __init__(self, where: Where, folder: Path) -> None:
        self.where, self.folder = where, folder
        self.objects = FolderObjects(folder / "objects")
        self.vault = Vault(folder / "vault.db", bytes(range(32)))
        self.store = CityStore(where, self.objects, self.vault)
        self.log: list[Record] = []
        self._versions: dict[str, int] = {}

    def close(self) -> None:
        self.store.close()
        self.vault.close()

    def doc(self, name: str = SECRETS[0]) -> PersonDoc:
        return PersonDoc(
            name=name, sex="male", born="1949-12-31", identity=f"{SECRETS[1]}02X", phone=SECRETS[2],
            workplace=SECRETS[3],
        )  # fmt: skip

    def person(self, ref: str, home: str = "H1", area: str = AREA, care: tuple[str, ...] = ()) -> PersonRow:
        sealed = self.vault.seal(entry_of(PERSON, ref), msgspec.json.encode(self.doc()))
        facts = (
            Fact(kind="residence", home=home, since="2020-01-01", as_="family", household="7"),
            Fact(kind="registration", home="outside", since="1949-12-31"),
            Fact(kind="tenure", home=home, since="2020-01-01", as_="owner"),
        )
        blind = self.vault.blind(ref)
        return PersonRow(ref=ref, blind=blind, area=area, home=home, sealed=sealed, facts=facts, care=care)

    def batch(self, what: str, rows: Sequence[Any], key: str = "registers/b1", **more: str) -> None:
        if isinstance(rows[0], PersonRow):
            rows = sealed_rows(self.keys(rows), rows)
        self.sealed_batch(what, rows, key, **more)

    def keys(self, rows: Sequence[PersonRow]) -> Keys:
        return self.vault.keys([entry_of(PERSON, row.ref) for row in rows])

    def sealed_batch(self, what: str, rows: Sequence[Any], key: str = "registers/b1", **more: str) -> None:
        sealed = self.vault.seal(entry_of_batch(key), packed(rows))
        self.objects.put(key, sealed)
        sha256 = more.get("sha256", hashlib.sha256(sealed).hexdigest())
        self.happens(
            RegisterImported(what=what, object=key, sha256=sha256, rows=len(rows), who="clerk"), what, key
        )

    def change(self, what: str, entry: str, row: Any) -> None:
        key = f"registers/{what}/{entry}/{len(self.log)}"
        self.objects.put(key, self.vault.seal(entry_of(what, entry), msgspec.msgpack.encode(row)))
        self.happens(RegisterChanged(what=what, entry=entry, object=key, who="clerk"), what, entry)

    def erase(self, ref: str) -> None:
        self.vault.erase(entry_of(PERSON, ref))
        self.happens(RegisterErased(what=PERSON, entry=ref, reason="asked", who="officer"), PERSON, ref)

    def happens(self, data: AnyPayload, what: str, entry: str) -> None:
        source = register_source("site", what, entry)
        version = self._versions[source] = self._versions.get(source, -1) + 1
        id_ = event_id(source, "register", 0, version)
        event = Event(
            id=id_, source=source, time_us=1_790_000_000_000_000, epoch=0, sequence=version, data=data
        )
        self.log.append(Record(len(self.log) + 1, event))
        self.store.apply(LOG, self.log[-1:])

    def rebuilt(self, where: Where) -> CityStore:
        """Another store, from the log."""
        store = CityStore(where, self.objects, self.vault)
        store.apply(LOG, self.log)
        return store


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    where: Where = tmp_path / "city.db"
    if request.param == "postgresql":
        where = request.getfixturevalue("database")
    made = Desk(where, tmp_path)
    yield made
    made.close()


def test_batches_become_persons_and_homes(desk: Desk) -> None:
    desk.batch(HOME, HOMES, "registers/homes")
    people = [desk.person("a", care=("living-alone", "aged-80")), desk.person("b", "H3", AREA2)]
    desk.batch(PERSON, people)
    tables = desk.store.registers
    assert tables.homes_in("B1") == list(HOMES[:2])
    assert tables.home("H2") == HOMES[1]
    assert tables.home("H9") is None
    entry = tables.person("a")
    assert entry is not None
    assert (entry.area, entry.home, entry.care, entry.version) == (
        AREA,
        "H1",
        ("living-alone", "aged-80"),
        -1,
    )
    assert entry.facts == people[0].facts
    plain = desk.vault.open(entry_of(PERSON, "a"), entry.sealed)
    assert plain is not None
    assert msgspec.json.decode(plain, type=PersonDoc) == desk.doc()
    assert tables.by_blind([desk.vault.blind("b"), desk.vault.blind("z")]) == {desk.vault.blind("b"): "b"}
    assert {(ref, f.kind) for ref, f in tables.of_home("H1", "2024-05-31")} == {
        ("a", "residence"),
        ("a", "tenure"),
    }
    assert tables.of_home("H1", "2019-12-31") == []
    assert tables.person("z") is None


def test_the_same_batch_again_changes_nothing(desk: Desk) -> None:
    desk.batch(HOME, HOMES, "registers/homes")
    desk.batch(PERSON, [desk.person("a", care=("aged-80",))])
    before = content(desk.where, "reg_")
    desk.store.apply("another log", desk.log)
    assert differences(before, content(desk.where, "reg_")) == []


def test_an_entry_takes_the_place_of_what_was_said_before(desk: Desk) -> None:
    desk.batch(PERSON, [desk.person("a", care=("aged-80",)), desk.person("b")])
    desk.change(PERSON, "a", desk.person("a", "H3", AREA2, care=("disabled",)))
    entry = desk.store.registers.person("a")
    assert entry is not None
    assert (entry.home, entry.area, entry.version, entry.care) == ("H3", AREA2, 0, ("disabled",))
    assert desk.store.registers.page("", "aged-80") == []
    assert desk.store.registers.page("", "disabled") == [f"{AREA2} a"]
    desk.batch(PERSON, [desk.person("a")], "registers/b2")
    entry = desk.store.registers.person("a")
    assert entry is not None
    assert (entry.home, entry.version) == ("H1", 0), "an import is no version of an entry"


def test_pages_by_jurisdiction_and_care(desk: Desk) -> None:
    people = [
        desk.person(f"p{n}", area=AREA2 if n % 3 else AREA, care=("aged-80",) * (n % 2)) for n in range(20)
    ]
    desk.batch(PERSON, people)
    for area, tag in (
        ("", ""),
        ("370481001", ""),
        ("370481002", "aged-80"),
        ("3704810010", ""),
        ("37048100200", ""),
    ):
        expected = sorted(
            f"{p.area} {p.ref}" for p in people if p.area.startswith(area) and (not tag or tag in p.care)
        )
        found: list[str] = []
        while page := desk.store.registers.page(area, tag, found[-1] if found else "", 3):
            found += page
        assert found == expected, (area, tag)
    sums = desk.store.registers.sums("370481002", "2024-05-31")
    assert (sums.persons, sums.lived_in) == (13, 1)
    assert sums.care == {"aged-80": sum(n % 2 for n in range(20) if n % 3)}


def test_visits_belong_to_a_person(desk: Desk) -> None:
    desk.batch(PERSON, [desk.person("a")])
    for n in range(3):
        words = desk.vault.seal(entry_of(PERSON, "a"), SECRETS[4].encode())
        row = VisitRow(
            visit=f"a.{n}", ref="a", area=AREA, kind="visit", org="", who="grid1", time_us=n, sealed=words
        )
        desk.change(VISIT, f"a.{n}", row)
    visits = desk.store.registers.visits("a", 2)
    assert [visit.visit for visit in visits] == ["a.2", "a.1"], "the latest first"
    assert desk.vault.open(entry_of(PERSON, "a"), visits[0].sealed) == SECRETS[4].encode()


def test_what_was_erased_is_gone_and_stays_so(desk: Desk, tmp_path: Path) -> None:
    desk.batch(HOME, HOMES, "registers/homes")
    desk.batch(PERSON, [desk.person("a", care=("aged-80",)), desk.person("b")])
    desk.change(PERSON, "a", desk.person("a", "H2"))
    words = desk.vault.seal(entry_of(PERSON, "a"), b"well")
    row = VisitRow(
        visit="a.1", ref="a", area=AREA, kind="visit", org="", who="grid1", time_us=1, sealed=words
    )
    desk.change(VISIT, "a.1", row)
    kept = desk.store.registers.person("a")
    assert kept is not None
    desk.erase("a")
    tables = desk.store.registers
    assert tables.person("a") is None
    assert (tables.visits("a"), tables.page("", "aged-80"), tables.of_home("H2", "2024-05-31")) == (
        [],
        [],
        [],
    )
    assert tables.by_blind([desk.vault.blind("a")]) == {}
    assert desk.vault.open(entry_of(PERSON, "a"), kept.sealed) is None, "a copy of the store tells nothing"
    again = desk.rebuilt(tmp_path / "again.db")
    try:
        assert again.registers.person("a") is None
        assert again.registers.person("b") is not None
        assert differences(content(desk.where, "reg_"), content(tmp_path / "again.db", "reg_")) == []
    finally:
        again.close()


def test_who_was_erased_before_the_batch_was_told_of_does_not_come_with_it(desk: Desk) -> None:
    gone, stays = desk.person("P1", care=("living-alone",)), desk.person("P2")
    keys = desk.keys([gone, stays])
    desk.erase("P1")
    desk.sealed_batch(PERSON, sealed_rows(keys, [gone, stays]))
    assert [entry.ref for entry in desk.store.registers.persons(["P1", "P2"])] == ["P2"]
    assert desk.store.registers.page("", "living-alone") == []
    assert desk.store.registers.by_blind([gone.blind]) == {}


def test_rebuilt_from_the_log_it_is_the_same(desk: Desk, tmp_path: Path) -> None:
    desk.batch(HOME, HOMES, "registers/homes")
    desk.batch(PERSON, [desk.person(f"p{n}") for n in range(50)])
    for n in range(10):
        desk.change(PERSON, f"p{n}", desk.person(f"p{n}", "H3", AREA2, care=("disabled",)))
    again = desk.rebuilt(tmp_path / "again.db")
    again.close()
    assert differences(content(desk.where, "reg_"), content(tmp_path / "again.db", "reg_")) == []


def test_a_batch_that_is_not_what_was_imported_is_refused_by_name(desk: Desk) -> None:
    with pytest.raises(EventRefused, match="its SHA-256 is another"):
        desk.batch(PERSON, [desk.person("a")], sha256="0" * 64)
    with pytest.raises(EventRefused, match="does not hold entries of person"):
        desk.batch(PERSON, HOMES, "registers/b2")
    missing = RegisterImported(what=PERSON, object="registers/none", sha256="", rows=1, who="clerk")
    with pytest.raises(StorageError, match="registers/none is not among the objects; put it back"):
        desk.happens(missing, PERSON, "none")
    assert desk.store.registers.page("") == [], "nothing half-written"


def test_a_batch_whose_key_was_destroyed_is_passed_over(desk: Desk, tmp_path: Path) -> None:
    desk.batch(PERSON, [desk.person("a")])
    desk.vault.erase(entry_of_batch("registers/b1"))
    again = desk.rebuilt(tmp_path / "again.db")
    assert again.registers.page("") == []
    again.close()


def test_nothing_personal_is_in_clear(desk: Desk, tmp_path: Path) -> None:
    desk.batch(HOME, HOMES, "registers/homes")
    desk.batch(PERSON, [desk.person("a")])
    desk.change(PERSON, "a", desk.person("a", "H2"))
    rows = repr(content(desk.where))
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    events = repr(desk.log)
    for secret in SECRETS:
        assert secret not in rows
        assert secret not in events
        assert secret.encode() not in files
        assert secret.encode().hex() not in rows
    with reading(desk.store.registers._engine) as connection:
        table = METADATA.tables["reg_persons"]
        names = [column.name for column in table.columns]
        assert names == ["ref", "blind", "area", "home", "care", "version", "sealed"]
        assert connection.execute(select(table.c.blind)).scalar() == desk.vault.blind("a")


# -- faces and persons

FACES = (
    *("storage.captures", "detectors.centerface", "detectors.face_decoders", "detectors.face_measures"),
    *("detectors.face_tracking", "console.faces", "pipeline.face_crops", "pipeline.portraits", "cli.faces"),
)


def test_nothing_links_a_face_to_a_person() -> None:
    """No module of faces is reached from one of the registers, nor the other way round; the registers' tables
    have no column for a picture, a capture or a camera; no event of a face has room for an entry."""
    rooms = ("events", "city", "ingest", "detectors", "storage", "desk", "pipeline", "console", "cli")
    graph = grimp.build_graph(*rooms, cache_dir=None)
    faces = set(FACES) & graph.modules
    assert faces == set(FACES), "renamed? the test must know them"
    registers = {name for name in graph.modules if name.rpartition(".")[2].startswith("register")}
    registers |= {"city.persons", "city.housing", "storage.city.vault", "storage.city.keys"}
    assert "storage.city.registers" in registers
    wiring = {"cli.registers"}  # starts the whole site's parts, as every command does
    for register in sorted(registers - wiring):
        for face in sorted(faces - {"cli.faces"}):
            chain = graph.find_shortest_chain(importer=register, imported=face)
            assert chain is None or "console.app" in chain, chain
            back = graph.find_shortest_chain(importer=face, imported=register)
            assert back is None or "console.app" in back, back
    for table in METADATA.tables.values():
        if table.name.startswith("reg_"):
            for column in table.columns:
                words = ("face", "capture", "picture", "camera", "embedding", "template", "track")
                assert not any(word in column.name for word in words), column
            assert not table.foreign_keys
    from events.events import FaceCaptured, FaceDeleted

    for payload in (FaceCaptured, FaceDeleted):
        fields = payload.__struct_fields__
        assert not {"person", "entry", "ref", "identity", "name"} & set(fields)


def test_nothing_of_who_was_erased_is_left_in_a_batch_but_the_reference(desk: Desk) -> None:
    """Not even for who holds the vault and the batch's key."""
    desk.batch(PERSON, [desk.person("P1", "H2", care=("living-alone",)), desk.person("P2")], "registers/b")
    desk.erase("P1")
    plain = desk.vault.open(entry_of_batch("registers/b"), desk.objects.get("registers/b") or b"")
    assert plain is not None
    assert b"P1" in plain
    for word in (b"living-alone", b"H2", b"residence"):
        assert word not in plain
    rows = msgspec.msgpack.decode(plain, type=list[tuple[str, bytes]])
    opened = [desk.vault.open(entry_of(PERSON, ref), body) for ref, body in rows]
    assert [body is None for body in opened] == [True, False]

"""The registers in the store: persons, homes, who lives, is registered and holds a home where, and care.

What is said of a person lies here only as it was sealed (`storage/city/vault.py`). In clear are an opaque
reference, a blind index of the identity number, the codes of homes and jurisdictions, the dates of facts and
the care tags: without them nobody could be found, listed for a visit or counted. An entry comes whole, with
all of its facts; the later one takes the place of the earlier.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    delete,
    func,
    or_,
    select,
)

from city.housing import Fact, Home
from events.civic import RegisterChanged, RegisterErased, RegisterImported
from events.events import Event
from storage.city.batches import fetched, opened_batch
from storage.city.bulk import chunks
from storage.city.engine import among, load, merge, reading
from storage.city.metadata import METADATA
from storage.city.refusal import Refused
from storage.city.vault import Vault
from storage.objects import Objects

PERSONS = Table(
    "reg_persons",
    METADATA,
    Column("ref", String, primary_key=True),
    Column("blind", LargeBinary),
    Column("area", String, nullable=False),
    Column("home", String, nullable=False),
    Column("care", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
Index("reg_persons_by_blind", PERSONS.c.blind)
Index("reg_persons_by_area", PERSONS.c.area, PERSONS.c.ref)

FACTS = Table(
    "reg_facts",
    METADATA,
    Column("ref", String, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("home", String, nullable=False),
    Column("since", String, nullable=False),
    Column("until", String, nullable=False),
    Column("as", String, nullable=False),
    Column("household", String, nullable=False),
    sqlite_with_rowid=False,
)
Index("reg_facts_by_home", FACTS.c.home)

CARE = Table(
    "reg_care",
    METADATA,
    Column("tag", String, primary_key=True),
    Column("area", String, primary_key=True),
    Column("ref", String, primary_key=True),
    sqlite_with_rowid=False,
)
Index("reg_care_by_ref", CARE.c.ref)

HOMES = Table(
    "reg_homes",
    METADATA,
    Column("home", String, primary_key=True),
    Column("building", String, nullable=False),
    Column("area", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("room", String, nullable=False),
    Column("address", String, nullable=False),
    Column("use", String, nullable=False),
    Column("area_m2", Float, nullable=False),
    sqlite_with_rowid=False,
)
Index("reg_homes_by_building", HOMES.c.building)
Index("reg_homes_by_area", HOMES.c.area, HOMES.c.home)

VISITS = Table(
    "reg_visits",
    METADATA,
    Column("visit", String, primary_key=True),
    Column("ref", String, nullable=False),
    Column("area", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("org", String, nullable=False),
    Column("who", String, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
Index("reg_visits_by_ref", VISITS.c.ref, VISITS.c.time_us)

CHUNK = 5000
_END = "\U0010ffff"


class PersonRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A person's entry as it is journaled: all of it encrypted under the person's key."""

    ref: str
    blind: bytes
    """Of the identity number; b"" without one."""
    area: str
    """Of the home that the person lives in, else the one of the registration."""
    home: str
    """Where the person lives; "": nowhere here."""
    sealed: bytes
    """`city.persons.PersonDoc` under the person's key."""
    facts: tuple[Fact, ...]
    care: tuple[str, ...] = ()


class VisitRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A visit to, or a referral of, a person."""

    visit: str
    ref: str
    area: str
    kind: str
    """visit, referral"""
    org: str
    who: str
    time_us: int
    sealed: bytes


class PersonEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A person's entry as the store keeps it."""

    ref: str
    area: str
    home: str
    care: tuple[str, ...]
    version: int
    """Of the last single change; -1: none yet."""
    sealed: bytes
    facts: tuple[Fact, ...] = ()


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Of a jurisdiction, or the whole city."""

    persons: int
    homes: int
    lived_in: int
    """Homes in which somebody lives."""
    care: dict[str, int]
    """Persons by care tag."""


PERSON, HOME, VISIT = "person", "home", "visit"
"""`what` of the events."""
_ROWS: dict[str, msgspec.msgpack.Decoder[Any]] = {
    PERSON: msgspec.msgpack.Decoder(list[tuple[str, bytes]]),
    HOME: msgspec.msgpack.Decoder(list[Home]),
}
_ENTRIES: dict[str, msgspec.msgpack.Decoder[Any]] = {
    PERSON: msgspec.msgpack.Decoder(PersonRow),
    HOME: msgspec.msgpack.Decoder(Home),
    VISIT: msgspec.msgpack.Decoder(VisitRow),
}


def entry_of(what: str, entry: str) -> str:
    """The vault's entry: a person's key seals the person's visits, too."""
    return f"person:{entry.partition('.')[0]}" if what in (PERSON, VISIT) else f"{what}:{entry}"


def reference_of(vault: Vault, key: str) -> str:
    """An opaque reference, the same for the same key (a number, a survey's own number), telling nothing of it
    to whoever has not the master key."""
    return vault.blind(f"ref:{key}").hex()[:24]


def blind_of(vault: Vault, identity: str) -> bytes:
    """The blind index of an identity number; b"" without one."""
    return vault.blind(f"identity:{identity}") if identity else b""


def packed(rows: Sequence[PersonRow | Home], vault: Vault) -> bytes:
    """A batch's bytes, not encrypted as a whole yet: each person's entry is, under the person's own key, so
    that nothing of who was erased is left in it but the reference.

    Raises:
        StorageError: the vault cannot be read, or one of the persons was erased just now.
    """
    persons = [row for row in rows if isinstance(row, PersonRow)]
    if not persons:
        return msgspec.msgpack.encode(rows)
    gone = vault.erased([entry_of(PERSON, row.ref) for row in persons])  # since their words were sealed
    persons = [row for row in persons if entry_of(PERSON, row.ref) not in gone] if gone else persons
    plains = [msgspec.msgpack.encode(row) for row in persons]
    sealed = vault.seal_many([entry_of(PERSON, row.ref) for row in persons], plains)
    return msgspec.msgpack.encode([(row.ref, body) for row, body in zip(persons, sealed, strict=True)])


class RegisterTables:
    """The tables. From any thread."""

    def __init__(self, engine: Engine, objects: Objects, vault: Vault) -> None:
        self._engine = engine
        self._objects = objects
        self._vault = vault

    # -- events

    def project(self, connection: Connection, events: Sequence[Event]) -> None:
        """Batches, entries and erasures, in order; the same again changes nothing.

        Raises:
            Refused: an object is not what its event says.
            StorageError: it is not there.
        """
        for event in events:
            data = event.data
            if isinstance(data, RegisterImported) and data.what in _ROWS:
                self._import(connection, event, data)
            elif isinstance(data, RegisterChanged) and data.what in _ENTRIES:
                self._change(connection, event, data)
            elif isinstance(data, RegisterErased) and data.what == PERSON:
                _erase(connection, [data.entry])

    def _import(self, connection: Connection, event: Event, data: RegisterImported) -> None:
        plain = opened_batch(event, data, self._objects, self._vault)
        if plain is None:  # erased on purpose: what was in it is not to come back
            return
        try:
            rows = _ROWS[data.what].decode(plain)
        except msgspec.MsgspecError as e:
            raise Refused(event, f"the batch {data.object} does not hold entries of {data.what}: {e}") from e
        if data.what == PERSON:
            rows.sort()  # in the order of the table: each page of it is touched once, not by chance
        for some in chunks(rows, CHUNK):
            if data.what == PERSON:
                put_persons(connection, self._opened(event, some))
            else:
                put_homes(connection, some)

    def _opened(self, event: Event, rows: list[tuple[str, bytes]]) -> list[PersonRow]:
        """Without those who were erased: also between the sealing of their row and the batch's event."""
        plains = self._vault.open_many([entry_of(PERSON, ref) for ref, _ in rows], [row for _, row in rows])
        try:
            return [_ENTRIES[PERSON].decode(plain) for plain in plains if plain is not None]
        except msgspec.MsgspecError as e:
            raise Refused(event, f"a batch of persons does not hold their entries: {e}") from e

    def _change(self, connection: Connection, event: Event, data: RegisterChanged) -> None:
        plain = self._vault.open(entry_of(data.what, data.entry), fetched(self._objects, data.object))
        if plain is None:
            return
        try:
            row = _ENTRIES[data.what].decode(plain)
        except msgspec.MsgspecError as e:
            raise Refused(event, f"the object {data.object} does not hold an entry: {e}") from e
        if isinstance(row, PersonRow):
            put_persons(connection, [row], event.sequence)
        elif isinstance(row, Home):
            put_homes(connection, [row])
        else:
            merge(connection, VISITS, VisitRow.__struct_fields__, [msgspec.structs.astuple(row)])

    # -- questions

    def person(self, ref: str) -> PersonEntry | None:
        """One entry with its facts; None: there is none."""
        found = self.persons([ref])
        return found[0] if found else None

    def persons(self, refs: Sequence[str]) -> list[PersonEntry]:
        """Entries with their facts, those that are there, by reference."""
        found: list[PersonEntry] = []
        with reading(self._engine) as connection:
            for some in chunks(refs, CHUNK):
                facts = facts_of(connection, some)
                rows = connection.execute(
                    select(PERSONS).where(among(connection, PERSONS.c.ref, some)).order_by(PERSONS.c.ref)
                )
                found += [_entry(row, facts.get(row.ref, ())) for row in rows]
        return found

    def by_blind(self, blinds: Sequence[bytes]) -> dict[bytes, str]:
        """Blind index of an identity number -> reference, of those that are there."""
        found: dict[bytes, str] = {}
        with reading(self._engine) as connection:
            for some in chunks(blinds, CHUNK):
                rows = connection.execute(
                    select(PERSONS.c.blind, PERSONS.c.ref).where(PERSONS.c.blind.in_(some))
                )
                found |= {bytes(blind): ref for blind, ref in rows}
        return found

    def of_home(self, home: str, day: str) -> list[tuple[str, Fact]]:
        """Who lives in, is registered in or holds a home on a day: references with the fact."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(FACTS)
                .where(FACTS.c.home == home, FACTS.c.since <= day, FACTS.c.until > day)
                .order_by(FACTS.c.kind, FACTS.c.ref)
            ).fetchall()
        return [(row.ref, _fact(row)) for row in rows]

    def page(self, area: str, tag: str = "", after: str = "", limit: int = 100) -> list[str]:
        """References of persons below a jurisdiction (its code; "": all), with a care tag if one is given.

        Args:
            after: the last reference of the page before, as `AREA REF`.
        """
        table = CARE if tag else PERSONS
        query = select(table.c.area, table.c.ref).order_by(table.c.area, table.c.ref).limit(limit)
        if tag:
            query = query.where(CARE.c.tag == tag)
        if area:
            query = query.where(table.c.area >= area, table.c.area < area + _END)
        if after:
            at, _, ref = after.partition(" ")
            query = query.where(or_(table.c.area > at, and_(table.c.area == at, table.c.ref > ref)))
        with reading(self._engine) as connection:
            return [f"{row.area} {row.ref}" for row in connection.execute(query)]

    def home(self, home: str) -> Home | None:
        """One home; None: there is none."""
        return next(iter(self.homes_of([home]).values()), None)

    def homes_of(self, homes: Sequence[str]) -> dict[str, Home]:
        """Homes by their codes, those that are there."""
        found: dict[str, Home] = {}
        with reading(self._engine) as connection:
            for some in chunks(homes, CHUNK):
                for row in connection.execute(select(HOMES).where(among(connection, HOMES.c.home, some))):
                    found[row.home] = Home(**row._mapping)
        return found

    def homes_in(self, building: str) -> list[Home]:
        """The homes of a building."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(HOMES).where(HOMES.c.building == building).order_by(HOMES.c.home)
            )
            return [Home(**row._mapping) for row in rows]

    def visits(self, ref: str, limit: int = 100) -> list[VisitRow]:
        """Visits to a person, the latest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(VISITS).where(VISITS.c.ref == ref).order_by(VISITS.c.time_us.desc()).limit(limit)
            )
            return [VisitRow(**row._mapping) for row in rows]

    def sums(self, area: str, day: str) -> Sums:
        """How many there are below a jurisdiction ("": all) on a day. Figures, nobody in particular."""

        def below(table: Table) -> Any:
            return and_(table.c.area >= area, table.c.area < area + _END) if area else True

        with reading(self._engine) as connection:
            persons = connection.execute(
                select(func.count()).select_from(PERSONS).where(below(PERSONS))
            ).scalar_one()
            homes = connection.execute(
                select(func.count()).select_from(HOMES).where(below(HOMES))
            ).scalar_one()
            lived = connection.execute(
                select(func.count(func.distinct(PERSONS.c.home))).where(below(PERSONS), PERSONS.c.home != "")
            ).scalar_one()
            care = connection.execute(
                select(CARE.c.tag, func.count()).where(below(CARE)).group_by(CARE.c.tag)
            )
            tags = {str(tag): int(n) for tag, n in care}
            return Sums(persons=persons, homes=homes, lived_in=lived, care=tags)


def put_persons(connection: Connection, rows: Sequence[PersonRow], version: int = -1) -> None:
    """Entries, whole: what was there of them goes. Of one that is given twice the last one counts."""
    last = {row.ref: row for row in rows}
    refs = sorted(last)
    wanted = among(connection, PERSONS.c.ref, refs)
    found = connection.execute(select(PERSONS.c.ref, PERSONS.c.version).where(wanted))
    known = {str(ref): int(kept) for ref, kept in found}
    if known:
        for table in (FACTS, CARE):
            connection.execute(delete(table).where(among(connection, table.c.ref, list(known))))
    persons, facts, care = [], [], []
    for ref in refs:
        row = last[ref]
        kept = version if version >= 0 else known.get(ref, -1)
        persons.append((ref, row.blind or None, row.area, row.home, ";".join(row.care), kept, row.sealed))
        for n, f in enumerate(row.facts):
            facts.append((ref, n, f.kind, f.home, f.since, f.until, f.as_, f.household))
        care += [(tag, row.area, ref) for tag in dict.fromkeys(row.care)]
    columns = [column.name for column in PERSONS.columns]
    if known:
        merge(connection, PERSONS, columns, persons)
    else:
        load(connection, PERSONS, columns, persons)
    load(connection, FACTS, [column.name for column in FACTS.columns], facts)
    load(connection, CARE, [column.name for column in CARE.columns], care)


def put_homes(connection: Connection, rows: Sequence[Home]) -> None:
    """Homes, new or changed."""
    last = {row.home: row for row in rows}
    columns = [column.name for column in HOMES.columns]
    merge(
        connection,
        HOMES,
        columns,
        [tuple(getattr(last[home], name) for name in columns) for home in sorted(last)],
    )


def facts_of(connection: Connection, refs: Sequence[str]) -> dict[str, tuple[Fact, ...]]:
    """The facts of persons, in their order."""
    found: dict[str, list[Fact]] = {}
    rows = connection.execute(
        select(FACTS).where(among(connection, FACTS.c.ref, refs)).order_by(FACTS.c.ref, FACTS.c.n)
    )
    for row in rows:
        found.setdefault(row.ref, []).append(_fact(row))
    return {ref: tuple(facts) for ref, facts in found.items()}


def _erase(connection: Connection, refs: list[str]) -> None:
    for table in (PERSONS, FACTS, CARE, VISITS):
        connection.execute(delete(table).where(table.c.ref.in_(refs)))


def _fact(row: Any) -> Fact:
    values = row._mapping
    return Fact(
        kind=values["kind"],
        home=values["home"],
        since=values["since"],
        until=values["until"],
        as_=values["as"],
        household=values["household"],
    )


def _entry(row: Any, facts: tuple[Fact, ...]) -> PersonEntry:
    return PersonEntry(
        ref=row.ref,
        area=row.area,
        home=row.home,
        care=tuple(tag for tag in row.care.split(";") if tag),
        version=row.version,
        sealed=bytes(row.sealed),
        facts=facts,
    )

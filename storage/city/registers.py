"""The registers in the store: persons, homes, who lives, is registered and holds a home where, and care.

What is said of a person lies here only as it was sealed (`storage/city/vault.py`). In clear are an opaque
reference, a blind index of the identity number, the codes of homes and jurisdictions, the dates of facts and
the care tags: without them nobody could be found, listed for a visit or counted. An entry comes whole, with
all of its facts; the later one takes the place of the earlier.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, and_, func, or_, select

from city.housing import Fact, Home
from events.civic import RegisterChanged, RegisterErased, RegisterImported
from events.events import Event
from storage.city.batches import fetched, opened_batch
from storage.city.bulk import among, chunks, found_by_bytes
from storage.city.engine import merge, reading
from storage.city.refusal import Refused
from storage.city.registerrows import ENTRIES, PERSON, ROWS, PersonEntry, PersonRow, Sums, VisitRow, entry_of
from storage.city.registertables import CARE, FACTS, HOMES, PERSONS, VISITS
from storage.city.registerwrites import erase, put_homes, put_persons
from storage.city.vault import Vault
from storage.objects import Objects

CHUNK = 20_000
_END = "\U0010ffff"


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
            if isinstance(data, RegisterImported) and data.what in ROWS:
                self._import(connection, event, data)
            elif isinstance(data, RegisterChanged) and data.what in ENTRIES:
                self._change(connection, event, data)
            elif isinstance(data, RegisterErased) and data.what == PERSON:
                erase(connection, [data.entry])

    def _import(self, connection: Connection, event: Event, data: RegisterImported) -> None:
        plain = opened_batch(event, data, self._objects, self._vault)
        if plain is None:  # erased on purpose: what was in it is not to come back
            return
        try:
            rows = ROWS[data.what].decode(plain)
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
            return [ENTRIES[PERSON].decode(plain) for plain in plains if plain is not None]
        except msgspec.MsgspecError as e:
            raise Refused(event, f"a batch of persons does not hold their entries: {e}") from e

    def _change(self, connection: Connection, event: Event, data: RegisterChanged) -> None:
        plain = self._vault.open(entry_of(data.what, data.entry), fetched(self._objects, data.object))
        if plain is None:
            return
        try:
            row = ENTRIES[data.what].decode(plain)
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
                rows = connection.execute(
                    select(PERSONS).where(among(connection, PERSONS.c.ref, some)).order_by(PERSONS.c.ref)
                ).fetchall()
                facts = facts_of(connection, [row.ref for row in rows]) if rows else {}
                found += [_entry(row, facts.get(row.ref, ())) for row in rows]
        return found

    def by_blind(self, blinds: Sequence[bytes]) -> dict[bytes, str]:
        """Blind index of an identity number -> reference, of those that are there."""
        found: dict[bytes, str] = {}
        with reading(self._engine) as connection:
            for some in chunks(blinds, CHUNK):
                found |= dict(found_by_bytes(connection, PERSONS.c.blind, PERSONS.c.ref, some))
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


def facts_of(connection: Connection, refs: Sequence[str]) -> dict[str, tuple[Fact, ...]]:
    """The facts of persons, in their order."""
    found: dict[str, list[Fact]] = {}
    rows = connection.execute(
        select(FACTS).where(among(connection, FACTS.c.ref, refs)).order_by(FACTS.c.ref, FACTS.c.n)
    )
    for row in rows:
        found.setdefault(row.ref, []).append(_fact(row))
    return {ref: tuple(facts) for ref, facts in found.items()}


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

"""Writes into the registers, in a transaction that is open."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from city.housing import Home
from storage.city.bulk import among, load, merge
from storage.city.registerrows import PersonRow
from storage.city.registertables import CARE, FACTS, HOMES, PERSONS, VISITS


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


def erase(connection: Connection, refs: list[str]) -> None:
    for table in (PERSONS, FACTS, CARE, VISITS):
        connection.execute(delete(table).where(table.c.ref.in_(refs)))

"""Many rows at once, in a transaction of the city's store that is open, as each database does it best."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, any_, cast, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from events.errors import StorageError

Meaning = Callable[[Exception], StorageError]
"""What an error of the driver means for the store."""
MEANING = "city_errors"
"""Option of a connection that has it."""


One = TypeVar("One")


def chunks(things: Iterable[One], size: int) -> Iterator[list[One]]:
    """The things in lists of at most this many."""
    rest = iter(things)
    while chunk := list(islice(rest, size)):
        yield chunk


def is_postgres(connection: Connection | Engine) -> bool:
    """Whether it is PostgreSQL; otherwise SQLite."""
    return connection.dialect.name == "postgresql"


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows, or replace what has their primary key. All rows have the same columns."""
    if not rows:
        return
    make = postgresql.insert if is_postgres(connection) else sqlite.insert
    statement = make(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    if changed:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    else:
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement, [dict(row) for row in rows])


def load(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert many new rows, in the driver's fastest way, in the transaction that is open.

    Args:
        columns: names, in the order of a row's values.

    Raises:
        StorageError: of the database.
    """
    if not rows:
        return
    names = ", ".join(_quoted(columns))
    with driver(connection) as cursor:
        if is_postgres(connection):
            _copy(cursor, table.name, names, rows)
        else:
            marks = ", ".join("?" * len(columns))
            cursor.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', rows)


def merge(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    add: bool = False,
) -> None:
    """Insert many rows or change those that have their primary key, in the driver's fastest way, in the
    transaction that is open. No key twice; in the order of their keys, or two who write at once may wait for
    each other.

    Args:
        columns: names, in the order of a row's values; the key's are among them.
        add: numbers are added to what is there, instead of taking its place.

    Raises:
        StorageError: of the database.
    """
    if not rows:
        return
    names = ", ".join(_quoted(columns))
    keys = [column.name for column in table.primary_key]
    own = f'"{table.name}".' if add else ""
    changes = ", ".join(
        f'"{name}" = {own}"{name}" + excluded."{name}"' if add else f'"{name}" = excluded."{name}"'
        for name in columns
        if name not in keys
    )
    conflict = f"ON CONFLICT ({', '.join(_quoted(keys))}) DO " + (
        f"UPDATE SET {changes}" if changes else "NOTHING"
    )
    with driver(connection) as cursor:
        if is_postgres(connection) and len(rows) >= _MANY:
            source = staged(cursor, table, columns, rows)
            cursor.execute(f'INSERT INTO "{table.name}" ({names}) SELECT {names} FROM {source} {conflict}')
        else:
            marks = ", ".join([mark(connection)] * len(columns))
            cursor.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}) {conflict}', rows)


def change(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Change many rows that are there. As `merge`; the key's columns come last.

    Raises:
        StorageError: of the database.
    """
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    free = [name for name in columns if name not in keys]
    with driver(connection) as cursor:
        if is_postgres(connection) and len(rows) >= _MANY:
            source = staged(cursor, table, columns, rows)
            values = ", ".join(f"{name} = s.{name}" for name in _quoted(free))
            same = " AND ".join(f"t.{name} = s.{name}" for name in _quoted(keys))
            cursor.execute(f'UPDATE "{table.name}" AS t SET {values} FROM {source} AS s WHERE {same}')
        else:
            values = ", ".join(f"{name} = {mark(connection)}" for name in _quoted(free))
            same = " AND ".join(f"{name} = {mark(connection)}" for name in _quoted(keys))
            cursor.executemany(f'UPDATE "{table.name}" SET {values} WHERE {same}', rows)


def remove(connection: Connection, table: Table, keys: Sequence[Sequence[Any]]) -> None:
    """Delete the rows that have these primary keys. Raises StorageError."""
    if not keys:
        return
    same = " AND ".join(f"{name} = {mark(connection)}" for name in _quoted(c.name for c in table.primary_key))
    with driver(connection) as cursor:
        cursor.executemany(f'DELETE FROM "{table.name}" WHERE {same}', keys)


def among(connection: Connection, column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Whether a column of text has one of these values: one parameter, where `in_` would write thousands."""
    text = msgspec.json.encode(values).decode()
    if is_postgres(connection):  # psycopg takes ten times as long to write an array
        listed = func.json_array_elements_text(cast(literal(text), postgresql.JSON)).table_valued("value")
        return column == any_(func.array(select(listed.c.value).scalar_subquery()))
    listed = func.json_each(text).table_valued("value")
    return column.in_(select(listed.c.value))


def found_by_bytes(
    connection: Connection, key: Column[Any], value: Column[str], keys: Sequence[bytes]
) -> list[tuple[bytes, str]]:
    """Of the rows that have one of these keys: the key, and a column of text."""
    names = f'"{key.name}", "{value.name}" FROM "{key.table.name}" WHERE "{key.name}"'
    with driver(connection) as cursor:
        if is_postgres(connection):
            listed = "SELECT decode(value, 'hex') FROM json_array_elements_text(%s)"
            text = msgspec.json.encode([one.hex() for one in keys]).decode()
            cursor.execute(f"SELECT {names} = ANY(ARRAY({listed}))", (text,))
        else:
            cursor.execute(f"SELECT {names} IN ({','.join('?' * len(keys))})", list(keys))
        return [(bytes(found), str(of)) for found, of in cursor.fetchall()]


def mark(connection: Connection) -> str:
    """How the driver writes a value's place."""
    return "%s" if is_postgres(connection) else "?"


_MANY = 64
"""From so many rows on a temporary table is quicker than a statement for each."""


def staged(cursor: Any, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Of PostgreSQL: a temporary table with these rows; answers its name."""
    spare, names = f"spare_{table.name}", ", ".join(_quoted(columns))
    cursor.execute(f"DROP TABLE IF EXISTS {spare}")  # of the same transaction
    cursor.execute(
        f'CREATE TEMP TABLE {spare} ON COMMIT DROP AS SELECT {names} FROM "{table.name}" WITH NO DATA'
    )
    _copy(cursor, spare, names, rows)
    return spare


@contextmanager
def driver(connection: Connection) -> Iterator[Any]:
    """A cursor of the driver, in the transaction that is open. Raises StorageError, of the database."""
    link: Any = connection.connection.driver_connection
    try:
        cursor = link.cursor()
        try:
            yield cursor
        finally:
            cursor.close()
    except connection.dialect.dbapi.Error as e:  # type: ignore[union-attr]
        raise connection.get_execution_options()[MEANING](e) from e


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _copy(cursor: Any, table: str, names: str, rows: Sequence[Sequence[Any]]) -> None:
    with cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
        for row in rows:
            copy.write_row(row)

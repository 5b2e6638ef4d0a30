"""Opens the database of a city's store, makes its transactions and errors, and what SQLAlchemy leaves to the
dialect.

SQLite: one file in WAL mode; one writes at a time (`writing`), whoever reads is not in its way. PostgreSQL:
connections as those of the box's store. Whatever a driver raises here comes out as StorageError.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    Table,
    any_,
    cast,
    create_engine,
    event,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from events.errors import ConfigError, StorageError
from ingest.credentials import Credentials
from storage.city.metadata import METADATA
from storage.database import make_folder, storage_error

if TYPE_CHECKING:  # the driver is not needed where the store is a file
    from storage.pglink import Address

BUSY_S = 30.0
"""How long a transaction of SQLite waits for another process's."""
_CACHE_KIB = 64 << 10
_LINKS, _MORE = 6, 6
_LOCK_KEY = 0x4C6B << 48 | 1
_WRITE, _TURN, _LOCK = "city_write", "city_turn", "city_lock"
_MEANING, _NAME = "city_errors", "city_name"
"""Options of an engine and its connections."""
Meaning = Callable[[Exception], StorageError]
_SETTINGS: Mapping[str, str] = {
    "lock_timeout": "30s",
    "statement_timeout": "120s",
    "idle_in_transaction_session_timeout": "60s",
    "work_mem": "32MB",  # ten thousand features are sorted in memory
    "jit": "off",  # its compiling takes longer than any query here
}


def opened(
    where: "Path | str | Address",
    login: Credentials | None = None,
    metadata: MetaData = METADATA,
    pragmas: Sequence[str] = (),
) -> Engine:
    """An engine for the file or address, its tables there.

    Args:
        pragmas: of SQLite, besides those of every file here.

    Raises:
        ConfigError: the address is none.
        StorageError: it cannot be opened, or is not ours (StoreAway: the server does not answer).
    """
    engine = connected(where, login, pragmas)
    try:
        if metadata is METADATA:
            METADATA.create_all(engine)
        else:
            engine = engine.execution_options(**{_LOCK: _LOCK_KEY + 1})
            with writing(engine) as connection:
                metadata.create_all(connection)
    except SQLAlchemyError as e:
        engine.dispose()
        raise StorageError(f"{name_of(engine)} cannot be opened: {e}") from e
    except StorageError:
        engine.dispose()
        raise
    return engine


def connected(
    where: "Path | str | Address", login: Credentials | None = None, pragmas: Sequence[str] = ()
) -> Engine:
    """An engine for the file or address, whatever tables are there. Raises as `opened`."""
    return _of_file(where, pragmas) if isinstance(where, Path) else _of_server(where, login)


def name_of(engine: Engine | Connection) -> str:
    """What the database is called in messages; without a password."""
    return str(engine.get_execution_options()[_NAME])


def is_postgres(connection: Connection | Engine) -> bool:
    """Whether it is PostgreSQL; otherwise SQLite."""
    return connection.dialect.name == "postgresql"


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes, the only one: numbers are given and sums are changed in it. (A vault in the
    same database on PostgreSQL is written by itself.)

    Raises:
        StorageError: of the database; nothing was written.
    """
    with _turn(engine), engine.connect() as connection:
        connection = connection.execution_options(**{_WRITE: True})
        with connection.begin():
            if is_postgres(connection):
                lock = connection.get_execution_options().get(_LOCK, _LOCK_KEY)
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads: it sees one state throughout. Raises StorageError."""
    with engine.connect() as connection, connection.begin():
        yield connection


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
        raise connection.get_execution_options()[_MEANING](e) from e


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _copy(cursor: Any, table: str, names: str, rows: Sequence[Sequence[Any]]) -> None:
    with cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
        for row in rows:
            copy.write_row(row)


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert new rows, the ordinary way."""
    if rows:
        connection.execute(insert(table), [dict(row) for row in rows])


def _of_file(path: Path, pragmas: Sequence[str] = ()) -> Engine:
    def connect() -> sqlite3.Connection:
        # Without a level the driver begins nothing by itself: `_begin` does.
        link = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (
                *("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"),
                *(f"cache_size = -{_CACHE_KIB}", "temp_store = MEMORY", "journal_size_limit = 67108864"),
                *pragmas,
            ):
                link.execute(f"PRAGMA {pragma}")
        except sqlite3.Error as e:
            link.close()
            raise storage_error(e, path) from e
        return link

    try:
        make_folder(path.parent)
    except OSError as e:
        raise storage_error(e, path) from e
    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=_LINKS, max_overflow=_MORE
    )
    event.listen(engine, "begin", _begin)
    return _with_errors(engine, lambda e: storage_error(e, path), {_TURN: threading.Lock(), _NAME: str(path)})


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _with_errors(engine: Engine, meaning: Meaning, options: Mapping[str, Any]) -> Engine:
    """The engine with errors of its driver as ours, and these options."""
    dbapi: Any = engine.dialect.dbapi

    def failed(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, dbapi.Error):
            raise meaning(context.original_exception) from context.original_exception

    event.listen(engine, "handle_error", failed)
    return engine.execution_options(**{_MEANING: meaning}, **options)


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    """Of SQLite's writers in this process one after the other: they would wait in a busy loop otherwise."""
    lock = engine.get_execution_options().get(_TURN)
    if lock is None:
        yield
        return
    with lock:
        yield


def _of_server(where: "str | Address", login: Credentials | None) -> Engine:
    try:
        from storage.pglink import Address
    except ModuleNotFoundError as e:
        raise ConfigError(f"a store on PostgreSQL needs {e.name}; install linli[city]") from e
    address = Address(where, login) if isinstance(where, str) else where

    def connect() -> Any:
        link = address.connect(**_SETTINGS)
        link.autocommit = False
        return link

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=_LINKS,
        max_overflow=_MORE,
        pool_pre_ping=True,
    )
    return _with_errors(engine, address.error, {_NAME: address.name})

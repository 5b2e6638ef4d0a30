"""Opens the database of a city's store, makes its transactions and its errors.

SQLite: one file in WAL mode; one writes at a time (`writing`), whoever reads is not in its way. PostgreSQL:
connections as those of the box's store. Whatever a driver raises here comes out as StorageError.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from events.errors import ConfigError, StorageError
from ingest.credentials import Credentials
from storage.city.bulk import MEANING, Meaning
from storage.city.bulk import among as among
from storage.city.bulk import change as change
from storage.city.bulk import driver as driver
from storage.city.bulk import is_postgres as is_postgres
from storage.city.bulk import load as load
from storage.city.bulk import mark as mark
from storage.city.bulk import merge as merge
from storage.city.bulk import remove as remove
from storage.city.bulk import staged as staged
from storage.city.bulk import upsert as upsert
from storage.city.metadata import METADATA
from storage.database import make_folder, storage_error

if TYPE_CHECKING:  # the driver is not needed where the store is a file
    from storage.pglink import Address

log = logging.getLogger(__name__)

BUSY_S = 30.0
"""How long a transaction of SQLite waits for another process's."""
_CACHE_KIB, _WRITES_KIB = 16 << 10, 128 << 10
"""What a connection of SQLite holds of the file in memory, and one that writes."""
_MANY = 5000
"""Rows that a transaction changes, from which on the log is copied beside the next one."""
_LOG_PAGES_USUAL, _LOG_PAGES = 1000, 131_072
"""Pages in SQLite's log at which whoever commits copies it: its own default, and (512 MiB) after much was
changed, where the log did not come to rest."""
_LINKS, _MORE = 6, 6
_LOCK_KEY = 0x4C6B << 48 | 1
_WRITE, _TURN, _LOCK = "city_write", "city_turn", "city_lock"
_NAME, _COPIER = "city_name", "city_copier"
"""Options of an engine and its connections."""
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
    """An engine for the file or address, its tables there and of this Linli's form
    (`storage.city.migrating`); those of a vault are made.

    Args:
        pragmas: of SQLite, besides those of every file here.

    Raises:
        ConfigError: the address is none.
        StorageError: it cannot be opened, or is not ours (StoreAway: the server does not answer).
    """
    engine = connected(where, login, pragmas)
    try:
        if metadata is METADATA:
            from storage.city.migrating import ready  # it works with engines, too

            ready(engine)
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


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes, the only one: numbers are given and sums are changed in it. (A vault in the
    same database on PostgreSQL is written by itself.)

    Raises:
        StorageError: of the database; nothing was written.
    """
    with _turn(engine), engine.connect() as connection:
        connection = connection.execution_options(**{_WRITE: True})
        with _room(connection) as room, connection.begin():
            if is_postgres(connection):
                lock = connection.get_execution_options().get(_LOCK, _LOCK_KEY)
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
            yield connection
            room()


@contextmanager
def _room(connection: Connection) -> Iterator[Callable[[], None]]:
    """For a transaction that writes into SQLite more of its cache, or what it changes would be written twice.

    And where it changed much (the value is called before it commits), what it wrote into the log is copied
    into the file beside the next one, not before it: that took a third of the time with millions of cases.
    """
    if is_postgres(connection):
        yield lambda: None
        return
    link: Any = connection.connection.driver_connection
    before, many = link.total_changes, False

    def committing() -> None:
        nonlocal many
        many = link.total_changes - before >= _MANY
        link.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES if many else _LOG_PAGES_USUAL}")

    link.execute(f"PRAGMA cache_size = -{_WRITES_KIB}")
    try:
        yield committing
        if many:
            connection.get_execution_options()[_COPIER].start()
    finally:
        with suppress(sqlite3.Error):
            link.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


class _Copier:
    """Copies SQLite's write-ahead log into its file, in a thread of its own, one at a time. Whoever reads or
    writes goes on. What it leaves is copied by a later commit."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._busy = threading.Lock()

    def start(self) -> None:
        """Unless it is at it."""
        if self._busy.acquire(blocking=False):
            threading.Thread(target=self._copy, name="log-copier", daemon=True).start()

    def _copy(self) -> None:
        try:
            with closing(self._connect()) as link:
                link.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (sqlite3.Error, StorageError) as e:
            log.info("the log is copied later: %s", e)
        finally:
            self._busy.release()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads: it sees one state throughout. Raises StorageError."""
    with engine.connect() as connection:
        if is_postgres(connection):
            connection = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        with connection.begin():
            yield connection


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
        # For its owner alone, and so are the files beside it, which SQLite makes like this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as e:
        raise storage_error(e, path) from e
    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=_LINKS,
        max_overflow=_MORE,
        hide_parameters=True,  # an error's text has no values
    )
    event.listen(engine, "begin", _begin)
    options = {_TURN: threading.Lock(), _NAME: str(path), _COPIER: _Copier(connect)}
    return _with_errors(engine, lambda e: storage_error(e, path), options)


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
    return engine.execution_options(**{MEANING: meaning}, **options)


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
        hide_parameters=True,
    )
    return _with_errors(engine, address.error, {_NAME: address.name})

"""One way to open an SQLite file: its settings, its schema, its named queries, and its errors as ours.

The schema is numbered: `sql/NAME.001.sql`, `sql/NAME.002.sql`, ... are applied in order, each once, and
SQLite's `user_version` says how far a file has come. Queries live in `sql/NAME.queries.sql`, each after a
line `-- name: ...`.
"""

import contextlib
import os
import shutil
import sqlite3
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

from events.errors import DiskFull, LinliError, StorageError

BUSY_S = 5.0
"""How long a statement waits for another process's transaction."""

WAL_PAGES = 1000
"""A commit that leaves at least so many pages (of 4 KiB) in the write-ahead log copies them into the file."""

WAL_KEPT_BYTES = 16 << 20
"""The write-ahead log is cut back to this size when it starts over."""

_SPARE_BYTES = 1 << 20
"""With less free than this, an I/O error is taken for a full disk."""


def connect(path: Path, name: str, *, synchronous: str = "FULL", max_bytes: int = 0) -> sqlite3.Connection:
    """Open (or create) an SQLite file in WAL mode and bring its schema `name` up to date.

    Transactions are explicit. `max_bytes` bounds the file (0: the disk alone does). The connection may be
    used from any thread, by one at a time.

    Raises:
        DiskFull: no room.
        StorageError: the folder or file cannot be opened or written, or is not ours.
    """
    if synchronous not in ("OFF", "NORMAL", "FULL", "EXTRA"):
        raise StorageError(f"synchronous = {synchronous!r} is none of OFF, NORMAL, FULL, EXTRA")
    new = not path.exists()
    try:
        make_folder(path.parent)
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as e:
        raise storage_error(e, path) from e
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
        if max_bytes:
            page = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {max(max_bytes // page, 1)}")
        _migrate(connection, path, name)
        if new:
            sync_folder(path.parent)
    except (OSError, sqlite3.Error) as e:
        connection.close()
        raise storage_error(e, path) from e
    except StorageError:
        connection.close()
        raise
    return connection


class Reader:
    """A connection for short reads, from any thread. Answers are always fetched whole: a read that stays open
    keeps the write-ahead log from starting over, and it grows.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = ON")
        self._path = path
        self._connection = connection
        self._lock = threading.Lock()

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """The rows of a query. Raises StorageError."""
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as e:
                raise storage_error(e, self._path) from e

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def queries(name: str) -> dict[str, str]:
    """The named queries of a schema."""
    found: dict[str, str] = {}
    for block in _sql(f"{name}.queries.sql").split("-- name: ")[1:]:
        title, _, body = block.partition("\n")
        found[title.strip()] = body.strip()
    return found


def storage_error(error: Exception, path: Path) -> StorageError:
    """What an error of SQLite or the operating system means for the file, with its mend."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if (
        code == sqlite3.SQLITE_FULL
        or getattr(error, "errno", 0) in (28, 122)
        or (code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _free(path) < _SPARE_BYTES)
    ):
        return DiskFull(
            f"{path} cannot grow: the disk or the file's size limit is full ({error}); free some space "
            "or raise the limit, writing goes on by itself then"
        )
    if code == sqlite3.SQLITE_READONLY or isinstance(error, PermissionError) or _not_writable(path):
        return StorageError(f"{path} cannot be written ({error}); make its folder writable for this user")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(f"{path} is locked by another process for over {BUSY_S:.0f} s; end that process")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageError(f"{path} is damaged ({error}); move it away and start again, or restore a copy")
    return StorageError(f"{path} cannot be used: {error}")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: files created, renamed or removed in it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, each name durable: a file in a folder whose own name was lost with
    the power is lost with it.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that may already have ended by its own failure."""
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _migrate(connection: sqlite3.Connection, path: Path, name: str) -> None:
    scripts = _scripts(name)
    if _version(connection) == len(scripts):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another process may have been quicker
        if version > len(scripts):
            raise StorageError(f"{path} was written by a newer Linli (form {version}); install that one")
        for script in scripts[version:]:
            _execute_script(connection, script)
        connection.execute(f"PRAGMA user_version = {len(scripts)}")
        connection.execute("COMMIT")
    except (sqlite3.Error, LinliError):
        roll_back(connection)
        raise


def _execute_script(connection: sqlite3.Connection, script: str) -> None:
    """Each statement of the script, in the transaction that is open (`executescript` would end it)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _scripts(name: str) -> list[str]:
    """The numbered scripts of a schema, oldest first."""
    folder = files("storage") / "sql"
    names = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.name.startswith(f"{name}.") and entry.name.split(".")[1].isdigit()
    )
    return [_sql(entry) for entry in names]


def _sql(file: str) -> str:
    return (files("storage") / "sql" / file).read_text(encoding="utf-8")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _free(path: Path) -> int:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return 1 << 62


def _not_writable(path: Path) -> bool:
    folder = path.parent
    return folder.is_dir() and not os.access(folder, os.W_OK)

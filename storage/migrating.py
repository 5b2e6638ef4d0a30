"""Brings a store on PostgreSQL to the form of this Linli (Alembic), while others read and write it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from events.errors import StorageError, StoreDenied
from storage.pgform import FORMS, check_not_newer, form, has_postgis
from storage.pglink import Address, Connection

_LOOK_S = 0.2
_LOCK_KEY = 0x4C6B << 48
_SETTINGS: Mapping[str, str] = {"lock_timeout": "500ms", "client_connection_check_interval": "2s"}
"""A change that waits for a table makes all others wait behind it: not for longer than this. Less than the
server's `deadlock_timeout`, so that it is never a writer that has to give way. And the server ends what was
begun for one who was killed."""

_TRIES = 60
_PAUSE_S = 1.0


def migrate(address: Address, patience_s: float = 600.0, to: str = FORMS[-1]) -> list[str]:
    """Apply the revisions that are missing; answers which. What was cut off before is gone on with.

    Args:
        patience_s: how long to wait for another one who migrates the same database.
        to: the form to end with.

    Raises:
        StorageError: it cannot be done, and why; what was applied stays and is gone on from.
    """
    watch = address.connect()
    try:
        with _alone(watch, address, patience_s):
            before = form(watch)
            if before is not None:
                check_not_newer(before, address)
            _need_postgis(watch, address)
            due = FORMS[FORMS.index(before) + 1 if before else 0 : FORMS.index(to) + 1]
            if due:
                _upgrade(address, to)
            return list(due)
    except psycopg.Error as e:
        raise address.error(e) from e
    finally:
        watch.close()


@contextmanager
def _alone(connection: Connection, address: Address, patience_s: float) -> Iterator[None]:
    """Only one at a time. Asks again and again: CONCURRENTLY would wait for one who waits in a statement."""
    looks = int(patience_s / _LOOK_S)
    while connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK_KEY,)).fetchall() != [(True,)]:
        if looks <= 0:
            raise StorageError(f"{address} is being migrated by another process for over {patience_s:.0f} s")
        looks -= 1
        threading.Event().wait(_LOOK_S)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK_KEY,))


def _need_postgis(connection: Connection, address: Address) -> None:
    if has_postgis(connection):
        return
    if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'postgis'").fetchall():
        raise StorageError(
            f"{address}: the server has no PostGIS; install it there (Debian: postgresql-15-postgis-3)"
        )
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS postgis")
    except psycopg.errors.InsufficientPrivilege:
        raise StoreDenied(
            f"{address}: {address.user or 'this user'} may not add PostGIS to the database; let a superuser "
            f"do it, in the database {address.database}: CREATE EXTENSION postgis"
        ) from None


def _upgrade(address: Address, to: str) -> None:
    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    config.set_main_option("version_path_separator", "os")
    for tries in range(_TRIES):
        try:
            return _run(config, address, to)
        except DBAPIError as e:
            cause = e.orig if isinstance(e.orig, psycopg.Error) else e
            busy = isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected)
            if not busy or tries == _TRIES - 1:
                raise address.error(cause) from e
        threading.Event().wait(_PAUSE_S)


def _run(config: Config, address: Address, to: str) -> None:
    raw = address.connect(**_SETTINGS)
    raw.autocommit = False

    def given() -> Any:
        return raw

    engine = create_engine("postgresql+psycopg://", creator=given, poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, to)
    finally:
        engine.dispose()
        raw.close()

"""Connections to a PostgreSQL server, opened when needed and replaced when they broke; its errors as ours."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader

from events.errors import ConfigError, DiskFull, StorageError, StoreAway, StoreDenied
from ingest.credentials import Credentials, mask

Connection = psycopg.Connection[tuple[Any, ...]]

_CONNECT_S = 5
_PATIENCE = {
    "connect_timeout": str(_CONNECT_S),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",  # ms: what was sent and is not acknowledged
    "application_name": "linli",
}
_AWAY = ("57P01", "57P02", "57P03", "53200", "53300", "57014", "55P03", "40001", "40P01")
"""Shutdown, crash, starting up, no memory, too many connections, timed out, locked, overtaken."""


class Address:
    """Where a database is, and as whom. Its text form has no password."""

    def __init__(self, url: str, login: Credentials | None = None) -> None:
        """
        Args:
            url: `postgresql://[user@]host[:port]/database`, or libpq's `key=value` form.

        Raises:
            ConfigError: it is neither.
        """
        try:
            given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
        except psycopg.Error:
            # It is not shown: it may hold a password.
            raise ConfigError(
                "the store's address is not of the form postgresql://host:port/database"
            ) from None
        if login is not None:
            given |= {"user": login.user, "password": login.password}
        self._given: Mapping[str, str] = given
        self.conninfo = make_conninfo("", **(_PATIENCE | given))
        host = given.get("host") or given.get("hostaddr") or "localhost"
        self.user = given.get("user", "")
        self.database = given.get("dbname", "")
        self.name = f"the store at {host}:{given.get('port', '5432')}/{self.database}"

    def __repr__(self) -> str:
        return self.name

    def connect(self, **settings: str | int) -> Connection:
        """A connection in autocommit mode with these settings of the server.

        Raises:
            StorageError: what `error` makes of it.
        """
        try:
            connection = psycopg.connect(self.conninfo, autocommit=True)
        except psycopg.Error as e:
            raise self.error(e) from None  # libpq's text is in it already, without the password
        try:
            for name, value in settings.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
        except psycopg.Error as e:
            connection.close()
            raise self.error(e) from None
        connection.adapters.register_loader("jsonb", TextLoader)
        return connection

    def error(self, error: Exception) -> StorageError:
        """What an error of PostgreSQL means for the store, with its mend."""
        code = getattr(error, "sqlstate", None) or ""
        raw, text = str(error), self._plain(str(error))
        if code == "53100" or "No space left on device" in raw:
            return DiskFull(
                f"{self.name} cannot grow: no room on the server ({text}); free some space there, writing "
                "goes on by itself then"
            )
        if code == "25006":
            return StorageError(f"{self.name} is read-only ({text}); name the primary server, not a standby")
        if code == "42501":
            return StoreDenied(f"{self.name}: {self.user or 'the user'} may not do that ({text}); grant it")
        if code in ("28P01", "28000") or "authentication failed" in raw or "no password supplied" in raw:
            return StoreDenied(
                f"{self.name} does not take the login of {self.user or 'nobody'} ({text}); mend it"
            )
        if code == "3D000" or ("database" in raw and "does not exist" in raw):
            return StorageError(
                f"{self.name}: there is no such database; create it: createdb {self.database}"
            )
        if "role" in raw and "does not exist" in raw:
            return StoreDenied(f"{self.name} knows no user {self.user}; create the role")
        if code in ("42P01", "42703", "3F000"):
            return StorageError(
                f"{self.name} has not the form that is asked for ({text}); run `linli store migrate`"
            )
        if code[:2] == "08" or code in _AWAY or (not code and isinstance(error, psycopg.OperationalError)):
            return StoreAway(f"{self.name} does not answer ({text}); start it or mend the network")
        return StorageError(f"{self.name} cannot be used: {text}")

    def _plain(self, text: str) -> str:
        """On one line, without what nobody may see; of what the driver tried the last alone."""
        text = mask(" ".join(text.split())).removeprefix("connection failed: ")
        text = text.rpartition("FATAL: ")[2]
        password = self._given.get("password")
        return text.replace(password, "***") if password else text


class Links:
    """At most `most` connections of one kind; any thread borrows one. A broken one is not given out again."""

    def __init__(self, address: Address, most: int, settings: Mapping[str, str | int]) -> None:
        self._address = address
        self._settings = settings
        self._free = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False

    @contextmanager
    def borrow(self, fresh: bool = False) -> Iterator[Connection]:
        """A connection for the block. `fresh`: not one that lay idle, the server may have gone meanwhile.

        Raises:
            StorageError: what was raised in the block by PostgreSQL, or none can be opened.
        """
        with self._free:
            connection = self._take(fresh)
            try:
                yield connection
            except psycopg.Error as e:
                raise self._address.error(e) from e
            finally:
                self._give(connection)

    def drop_idle(self) -> None:
        """Forget connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(psycopg.Error):
                connection.close()

    def close(self) -> None:
        self._closed = True
        self.drop_idle()

    def _take(self, fresh: bool) -> Connection:
        if self._closed:
            raise StorageError(f"{self._address} is closed")
        if fresh:
            self.drop_idle()
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._address.connect(**self._settings)

    def _give(self, connection: Connection) -> None:
        idle = psycopg.pq.TransactionStatus.IDLE
        if connection.closed or connection.info.transaction_status != idle or self._closed:
            with suppress(psycopg.Error):
                connection.close()
            return
        with self._lock:
            self._idle.append(connection)

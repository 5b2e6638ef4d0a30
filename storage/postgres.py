"""The store on PostgreSQL with PostGIS, for many boxes and several projectors.

Records, changes and the log's offset are one transaction, which holds the offset's row: two projectors that
apply the same log do it one after the other, and the later one finds that it is done. Different logs are
applied at the same time. When the server goes away, calls fail with `StoreAway`; when it is back, the next
call connects anew.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
import psycopg

from events import codec
from events.bus import Record
from events.errors import EventRefused, StorageError, StoreAway
from events.events import ClaimTaken
from ingest.credentials import Credentials
from storage.applying import apply
from storage.pgform import check_form
from storage.pglink import Address, Connection, Links
from storage.pgwrites import NUMBERS_SPACE, PgWrites, Q
from storage.projections import (
    AccessRow,
    AlertRow,
    CountRow,
    FaceRow,
    HealthRow,
    ReadingRow,
    SensorRow,
    TotalRow,
    ViewRow,
    merge_counts,
    rows_of,
)
from storage.store import StoreSizes

_FOREVER_US = 1 << 62
_PRUNE_STEP = 5000
_TRIES = 5
_WRITERS, _READERS = 2, 4
_WRITING: Mapping[str, str] = {
    "lock_timeout": "30s",
    "statement_timeout": "120s",
    "idle_in_transaction_session_timeout": "60s",
}
_READING: Mapping[str, str] = {"default_transaction_read_only": "on", "statement_timeout": "20s"}
_NOT_HELD = (psycopg.DataError, psycopg.IntegrityError, OverflowError, TypeError)
"""What is raised for the sake of an event's values."""
_Row = TypeVar("_Row")


class PostgresStore:
    """The store of a site or a city.

    Args:
        url: `postgresql://[user@]host[:port]/database`, or the address made of it.
        login: user and password; without it, those of the url and of libpq's own places.

    Raises:
        ConfigError: the url is none.
        StoreAway: the server does not answer.
        StorageError: it does, and cannot be used: wrong login, no database, or not this Linli's form.
    """

    def __init__(self, url: str | Address, login: Credentials | None = None) -> None:
        self._address = Address(url, login) if isinstance(url, str) else url
        self._writing = Links(self._address, _WRITERS, _WRITING)
        self._reading = Links(self._address, _READERS, _READING)
        try:
            with self._reading.borrow() as connection:
                check_form(connection, self._address)
        except StorageError:
            self.close()
            raise

    def offset(self, log: str) -> int:
        found = self._rows("offset", log=log)
        return int(found[0][0]) if found else 0

    def apply(self, log: str, records: Sequence[Record]) -> int:
        if not records:
            return 0
        try:
            return self._write(lambda connection: _apply(connection, log, records))
        except (StorageError, *_NOT_HELD) as e:
            if not isinstance(e, _NOT_HELD) and not isinstance(e.__cause__, _NOT_HELD):
                raise
            if (refused := self._refusal(log, records)) is not None:
                raise refused from e
            if isinstance(e, StorageError):
                raise
            raise StorageError(f"{self._address} does not take what comes: {e}") from e

    def stand(self, log: str, offset: int) -> None:
        def work(connection: Connection) -> int:
            PgWrites(connection).change("set_offset", [{"log": log, "offset": offset}])
            return 1

        self._write(work)

    def prune(self, before_us: int) -> int:
        values = {"before_us": before_us, "limit": _PRUNE_STEP}
        gone, step = 0, _PRUNE_STEP
        while step == _PRUNE_STEP:  # in small transactions: the projector wants to write too
            step = self._write(lambda connection: _prune_events(connection, values))
            gone += step
        for query in _PRUNED:
            self._write(partial(_prune, query=query, values=values))
        while self._write(partial(_prune, query="prune_readings", values=values)) == _PRUNE_STEP:
            pass
        return gone

    def cameras_health(self, camera: str | None = None) -> list[HealthRow]:
        return self._rows_of(HealthRow, "health", camera=camera)

    def alerts(
        self,
        limit: int = 100,
        open_only: bool = False,
        camera: str | None = None,
        before_us: int | None = None,
    ) -> list[AlertRow]:
        before = _FOREVER_US if before_us is None else before_us
        return self._rows_of(
            AlertRow, "alerts", camera=camera, open_only=open_only, before_us=before, limit=limit
        )

    def alert(self, alert: str) -> AlertRow | None:
        rows = self._rows_of(AlertRow, "alert", alert=alert)
        return rows[0] if rows else None

    def counts(self, camera: str | None = None, from_us: int = 0, to_us: int | None = None) -> list[CountRow]:
        to = _FOREVER_US if to_us is None else to_us
        return merge_counts(self._rows_of(CountRow, "intervals", camera=camera, from_us=from_us, to_us=to))

    def totals(self, camera: str | None = None) -> list[TotalRow]:
        return self._rows_of(TotalRow, "totals", camera=camera)

    def views(self) -> list[ViewRow]:
        return self._rows_of(ViewRow, "views")

    def faces(
        self, camera: str | None = None, before_us: int | None = None, limit: int = 100
    ) -> list[FaceRow]:
        before = _FOREVER_US if before_us is None else before_us
        return self._rows_of(FaceRow, "faces", camera=camera, before_us=before, limit=limit)

    def face(self, capture: str) -> FaceRow | None:
        rows = self._rows_of(FaceRow, "face", capture=capture)
        return rows[0] if rows else None

    def face_counts(self) -> tuple[int, int]:
        pictures, sealed = self._rows("face_counts")[0]
        return int(pictures), int(sealed)

    def sensors(self) -> list[SensorRow]:
        return self._rows_of(SensorRow, "sensors")

    def readings(self, sensor: str, quantity: str, from_us: int, to_us: int, limit: int) -> list[ReadingRow]:
        step = max(1, -(-(to_us - from_us) // limit))
        return self._rows_of(
            ReadingRow, "readings", sensor=sensor, quantity=quantity, from_us=from_us, to_us=to_us, step=step
        )

    def events(self, after: int = 0, limit: int = 500) -> list[Record]:
        found = self._read(lambda connection: _events(connection, after, limit))
        return [Record(n, codec.decode(body.encode())) for n, body in found]

    def access(self, limit: int = 100) -> list[AccessRow]:
        return self._rows_of(AccessRow, "access", limit=limit)

    def sizes(self) -> StoreSizes:
        events, superseded, alerts, open_alerts, judged = self._rows("sizes")[0]
        verdicts = msgspec.json.decode(judged, type=dict[str, int])
        return StoreSizes(
            events=events, superseded=superseded, alerts=alerts, open_alerts=open_alerts, judged=verdicts
        )

    def close(self) -> None:
        self._reading.close()
        self._writing.close()

    def _rows_of(self, kind: type[_Row], query: str, **values: Any) -> list[_Row]:
        return rows_of(kind, self._rows(query, **values))

    def _rows(self, query: str, **values: Any) -> list[Any]:
        return self._read(lambda connection: connection.execute(Q[query], values).fetchall())

    def _read(self, work: Callable[[Connection], list[Any]]) -> list[Any]:
        try:
            with self._reading.borrow() as connection:
                return work(connection)
        except StoreAway as e:
            if not _broken(e):
                raise
        with self._reading.borrow(fresh=True) as connection:  # the server was away meanwhile
            return work(connection)

    def _write(self, work: Callable[[Connection], int]) -> int:
        """Work in a transaction. It is done again where another one was in its way, or the connection broke:
        even if what broke was a commit that succeeded, records that were applied are not applied again.
        """
        fresh = False
        for tries in range(_TRIES):
            try:
                with self._writing.borrow(fresh) as connection, connection.transaction():
                    return work(connection)
            except StoreAway as e:
                fresh = _broken(e)
                overtaken = isinstance(e.__cause__, _OVERTAKEN)
                if tries == _TRIES - 1 or not (overtaken or (fresh and tries == 0)):
                    raise
        raise AssertionError("the last try answers or raises")

    def _refusal(self, log: str, records: Sequence[Record]) -> EventRefused | None:
        """Which of the records it is that the store cannot hold; nothing is kept of the search."""
        with self._writing.borrow() as connection, connection.transaction(force_rollback=True):
            for record in records:
                try:
                    _apply(connection, log, [record])
                except _NOT_HELD as e:
                    event = record.event
                    what = f"event {event.id!r} ({event.type} of {event.source!r})"
                    return EventRefused(f"{self._address} cannot hold {what}: {e}", log, record.offset)
        return None


_OVERTAKEN = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


def _apply(connection: Connection, log: str, records: Sequence[Record]) -> int:
    writes = PgWrites(connection)
    claimed = any(isinstance(record.event.data, ClaimTaken) for record in records)
    return apply(writes, log, writes.begin(log, alone=claimed), records)


def _prune_events(connection: Connection, values: Mapping[str, int]) -> int:
    writes = PgWrites(connection)
    writes.alone()  # an event that comes again just now must be found here, or among what was pruned
    return int(writes.rows("prune_events", dict(values))[0][0])


def _prune(connection: Connection, query: str, values: Mapping[str, int]) -> int:
    return connection.execute(Q[query], values).rowcount


_PRUNED = (
    "prune_intervals",
    "prune_alerts",
    "prune_judgements",
    "prune_faces",
    "prune_access",
    "forget_claims",
)


def _events(connection: Connection, after: int, limit: int) -> list[Any]:
    """The log of events, up to where every number is committed that ever will be: numbers are given before
    they are committed, and who reads on after the highest would never see one that came later.
    """
    last = connection.execute(Q["last_number"]).fetchall()[0][0]
    taken = connection.execute(Q["open_numbers"], {"space": NUMBERS_SPACE}).fetchall()[0][0]
    bound = last if taken is None else min(last, taken)
    return connection.execute(Q["events"], {"after": after, "last": bound, "limit": limit}).fetchall()


def _broken(error: StoreAway) -> bool:
    """The connection is lost, rather than a statement refused."""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None)
    return isinstance(cause, psycopg.OperationalError) and (code is None or code[:2] in ("08", "57"))

"""The store: projections of the events in a second SQLite file, each event exactly once.

A batch of records, the changes they make and the offset up to which they came are one transaction. A record
at or before that offset, or with the (camera, family, epoch, sequence) of an event that is here already, is
passed over. So a store that was killed, or gets everything again, ends the same. Of what was pruned the
numbers are remembered: it does not count again either.
"""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from events import codec
from events.bus import Record
from storage import applying
from storage.applying import NewEvent
from storage.database import Reader, connect, queries, roll_back, storage_error
from storage.projections import (
    AccessRow,
    AlertRow,
    CountRow,
    FaceRow,
    HealthRow,
    ReadingRow,
    SensorRow,
    TotalRow,
    Values,
    ViewRow,
    merge_counts,
    rows_of,
)

_Q = queries("store")
_FOREVER_US = 1 << 62
_PRUNE_STEP = 1000


class StoreSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is in a store."""

    events: int
    superseded: int
    """Of these, how many are one box's word about what another one had to say; they count nowhere."""
    alerts: int
    open_alerts: int
    judged: dict[str, int]
    """Alerts by their last verdict: true, false, ignore."""


class Projected(Protocol):
    """What a projector writes: how far it is, and records in order. From any thread."""

    def offset(self, log: str) -> int:
        """How far the records of a log (a bus, or a partition of one) were applied; 0: not at all."""

    def apply(self, log: str, records: Sequence[Record]) -> int:
        """Apply records of a log in order, all or none; answers how many were new here.

        Raises:
            StorageError: nothing was applied; the same records may be given again.
        """

    def stand(self, log: str, offset: int) -> None:
        """The log counts as applied up to here: what was not applied was set aside. Or the log is not what it
        was, and is to be applied again (0: from its beginning); what is here already is passed over then.

        Raises:
            StorageError: nothing was changed.
        """


class Store(Projected, Protocol):
    """What the projector writes and the page, the command line and the auditor read. From any thread.

    `camera` is a camera's (or box's) id, or its whole source; None: all.
    """

    def prune(self, before_us: int) -> int:
        """Forget events, intervals, readings and looks from before this capture time, and alerts that were
        cleared and faces that were deleted before; answers how many events. Open alerts, kept faces, totals,
        the last states of health, views and sensors, and the newest event stay.

        Raises:
            StorageError: not all was done; the next call goes on.
        """

    def cameras_health(self, camera: str | None = None) -> list[HealthRow]:
        """The last state of everything that was ever said to be wrong, by source."""

    def alerts(
        self,
        limit: int = 100,
        open_only: bool = False,
        camera: str | None = None,
        before_us: int | None = None,
    ) -> list[AlertRow]:
        """Alerts, the last raised first; `before_us`: only those raised before (for the next page)."""

    def alert(self, alert: str) -> AlertRow | None:
        """One alert by its id."""

    def counts(self, camera: str | None = None, from_us: int = 0, to_us: int | None = None) -> list[CountRow]:
        """Per rule and interval, for intervals that start in [from_us, to_us), oldest first."""

    def totals(self, camera: str | None = None) -> list[TotalRow]:
        """All crossings per source, rule, direction and class."""

    def views(self) -> list[ViewRow]:
        """Where each dome looks, as it said last."""

    def faces(
        self, camera: str | None = None, before_us: int | None = None, limit: int = 100
    ) -> list[FaceRow]:
        """Captures of faces, the latest first; `before_us`: only those before (for the next page)."""

    def face(self, capture: str) -> FaceRow | None:
        """One capture by its id."""

    def face_counts(self) -> tuple[int, int]:
        """How many pixelated pictures of faces are kept, and how many sealed originals."""

    def sensors(self) -> list[SensorRow]:
        """The latest reading of each sensor and quantity."""

    def readings(self, sensor: str, quantity: str, from_us: int, to_us: int, limit: int) -> list[ReadingRow]:
        """A chart of a sensor's (its id or source) readings in [from_us, to_us), oldest first: at most
        `limit` steps of equal length; a step without a reading has no row.
        """

    def events(self, after: int = 0, limit: int = 500) -> list[Record]:
        """All events for the auditor, in the order in which they came; offsets are the store's own."""

    def access(self, limit: int = 100) -> list[AccessRow]:
        """Who looked at pictures, the latest first."""

    def sizes(self) -> StoreSizes:
        """How much there is."""

    def close(self) -> None:
        """Release the file or connection."""


class SqliteStore:
    """The store of one box.

    Raises:
        StorageError: the file cannot be opened or created (DiskFull: for lack of room).
    """

    def __init__(self, path: Path, *, synchronous: str = "FULL") -> None:
        self._path = path
        self._connection = connect(path, "store", synchronous=synchronous)
        self._writing = threading.Lock()
        self._reader = Reader(path, connect(path, "store"))

    def offset(self, log: str) -> int:
        found = self._reader.rows(_Q["offset"], (log,))
        return int(found[0][0]) if found else 0

    def apply(self, log: str, records: Sequence[Record]) -> int:
        return self._transaction(lambda: self._apply(log, records)) if records else 0

    def stand(self, log: str, offset: int) -> None:
        self._transaction(
            lambda: self._connection.execute(_Q["set_offset"], {"log": log, "offset": offset}).rowcount
        )

    def prune(self, before_us: int) -> int:
        gone = step = self._transaction(lambda: self._prune(before_us))
        while step == _PRUNE_STEP:  # in small transactions: the projector wants to write too
            step = self._transaction(lambda: self._prune(before_us))
            gone += step
        while self._transaction(lambda: self._prune_readings(before_us)) == _PRUNE_STEP:
            pass
        return gone

    def _transaction(self, work: Callable[[], int]) -> int:
        with self._writing:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                done = work()
                self._connection.execute("COMMIT")
            except sqlite3.Error as e:
                roll_back(self._connection)
                raise storage_error(e, self._path) from e
        return done

    def _prune(self, before_us: int) -> int:
        execute = self._connection.execute
        chosen = execute(_Q["old_events"], (before_us, _PRUNE_STEP)).fetchall()
        numbers = msgspec.json.encode([n for (n,) in chosen]).decode()
        execute(_Q["remember_pruned"], (numbers,))
        execute(_Q["prune_events"], (numbers,))
        execute(_Q["forget_claims"], (before_us,))
        for query in ("intervals", "alerts", "judgements", "faces", "access", "claims"):
            execute(_Q[f"prune_{query}"], (before_us,))
        return len(chosen)

    def _prune_readings(self, before_us: int) -> int:
        return self._connection.execute(_Q["prune_readings"], (before_us, _PRUNE_STEP)).rowcount

    def _apply(self, log: str, records: Sequence[Record]) -> int:
        found = self._connection.execute(_Q["offset"], (log,)).fetchall()
        return applying.apply(_Writes(self._connection), log, found[0][0] if found else 0, records)

    def cameras_health(self, camera: str | None = None) -> list[HealthRow]:
        return rows_of(HealthRow, self._reader.rows(_Q["health"], (camera,)))

    def alerts(
        self,
        limit: int = 100,
        open_only: bool = False,
        camera: str | None = None,
        before_us: int | None = None,
    ) -> list[AlertRow]:
        before = _FOREVER_US if before_us is None else before_us
        return rows_of(AlertRow, self._reader.rows(_Q["alerts"], (camera, open_only, before, limit)))

    def alert(self, alert: str) -> AlertRow | None:
        rows = rows_of(AlertRow, self._reader.rows(_Q["alert"], (alert,)))
        return rows[0] if rows else None

    def counts(self, camera: str | None = None, from_us: int = 0, to_us: int | None = None) -> list[CountRow]:
        to = _FOREVER_US if to_us is None else to_us
        return merge_counts(rows_of(CountRow, self._reader.rows(_Q["intervals"], (camera, from_us, to))))

    def totals(self, camera: str | None = None) -> list[TotalRow]:
        return rows_of(TotalRow, self._reader.rows(_Q["totals"], (camera,)))

    def views(self) -> list[ViewRow]:
        return rows_of(ViewRow, self._reader.rows(_Q["views"]))

    def faces(
        self, camera: str | None = None, before_us: int | None = None, limit: int = 100
    ) -> list[FaceRow]:
        before = _FOREVER_US if before_us is None else before_us
        return rows_of(FaceRow, self._reader.rows(_Q["faces"], (camera, before, limit)))

    def face(self, capture: str) -> FaceRow | None:
        rows = rows_of(FaceRow, self._reader.rows(_Q["face"], (capture,)))
        return rows[0] if rows else None

    def face_counts(self) -> tuple[int, int]:
        pictures, sealed = self._reader.rows(_Q["face_counts"])[0]
        return int(pictures), int(sealed)

    def sensors(self) -> list[SensorRow]:
        return rows_of(SensorRow, self._reader.rows(_Q["sensors"]))

    def readings(self, sensor: str, quantity: str, from_us: int, to_us: int, limit: int) -> list[ReadingRow]:
        step = max(1, -(-(to_us - from_us) // limit))
        found = self._reader.rows(_Q["readings"], (sensor, quantity, from_us, to_us, step))
        return rows_of(ReadingRow, found)

    def events(self, after: int = 0, limit: int = 500) -> list[Record]:
        found = self._reader.rows(_Q["events"], (after, limit))
        return [Record(n, codec.decode(body)) for n, body in found]

    def access(self, limit: int = 100) -> list[AccessRow]:
        return rows_of(AccessRow, self._reader.rows(_Q["access"], (limit,)))

    def sizes(self) -> StoreSizes:
        events, superseded, alerts, open_alerts, judged = self._reader.rows(_Q["sizes"])[0]
        verdicts = msgspec.json.decode(judged, type=dict[str, int])
        return StoreSizes(
            events=events, superseded=superseded, alerts=alerts, open_alerts=open_alerts, judged=verdicts
        )

    def close(self) -> None:
        self._reader.close()
        with self._writing:
            self._connection.close()


class _Writes:
    """`storage.applying.Writes` in the transaction that is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def keep(self, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        new = []
        for item in events:
            e = item.event
            row = (e.id, e.source, e.family, e.epoch, e.sequence, e.time_us, item.body, item.superseded)
            if self._connection.execute(_Q["insert_event"], row).rowcount == 1:
                new.append(item)
        return new

    def change(self, statement: str, rows: Sequence[Values]) -> None:
        self._connection.executemany(_Q[statement], rows)

    def rows(self, statement: str, values: Values) -> list[Any]:
        return self._connection.execute(_Q[statement], values).fetchall()

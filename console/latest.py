"""The latest readings of all sensors, for pages that stay open."""

import threading

import msgspec

from events.clock import Clock
from events.events import sensor_source
from storage.projections import SensorRow
from storage.store import Store

REFRESH_S = 1.0
"""Readings are pushed no more often."""


class Latest:
    """The latest readings, read from the store at most once in `REFRESH_S` however many watch.

    Any thread may call it.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._read_s = float("-inf")
        self._rows: list[SensorRow] = []

    def rows(self) -> list[SensorRow]:
        """One for each sensor and quantity. The same list until it is read again. Raises StorageError."""
        with self._lock:
            now = self._clock.monotonic()
            if now - self._read_s >= REFRESH_S:
                self._rows = self._store.sensors()
                self._read_s = now
            return self._rows


class News:
    """What one watcher was not told yet."""

    def __init__(self, latest: Latest, site: str) -> None:
        self._latest = latest
        self._prefix = sensor_source(site, "")
        self._told: dict[tuple[str, str], int] = {}
        self._rows: list[SensorRow] | None = None

    def poll(self) -> bytes:
        """Readings since the last poll as a JSON list, all of them at first; empty if there are none."""
        rows = self._latest.rows()
        if rows is self._rows:
            return b""
        self._rows = rows
        new = [row for row in rows if self._told.get((row.source, row.quantity)) != row.time_us]
        self._told.update(((row.source, row.quantity), row.time_us) for row in new)
        shown = [
            {"sensor": row.source.removeprefix(self._prefix), **value_json(row)}
            for row in new
            if row.source.startswith(self._prefix)
        ]
        return msgspec.json.encode(shown) if shown else b""


def value_json(row: SensorRow) -> dict[str, object]:
    """A reading as the API shows it."""
    return {
        "quantity": row.quantity,
        "unit": row.unit,
        "value": row.value,
        "time_us": row.time_us,
        "received_us": row.received_us,
    }

"""All that a store holds, whatever database it is in: two stores that got the same events compare equal."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

Content = Mapping[str, list[tuple[Any, ...]]]
"""By table: its rows, sorted."""

TABLES: Mapping[str, str] = {
    "events": "source, family, epoch, sequence, id, time_us, superseded, body",
    "totals": "source, rule, direction, label, count, last_us",
    "intervals": "source, rule, start_us, epoch, sequence, end_us, counts, occupancy, observed_s, preset",
    "alerts": "alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us, "
    "cleared_us, until_us, reason, tracks, box, detail, place, preset, causes",
    "health": "source, what, state, message, detail, since_us, seen_us, event",
    "access": "source, time_us, who, what, object, plain, purpose, allowed",
    "pruned": "source, family, epoch, sequence",
    "judgements": "alert, verdict, judged_by, judged_us, note",
    "views": "source, state, preset, was, score, time_us, epoch, sequence",
    "faces": "capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed, state, "
    "deleted_us, place",
    "sensors": "source, quantity, unit, value, time_us, received_us",
    "readings": "source, quantity, time_us, value",
    "claims": "source, epoch, token, box, since_us",
    "forgotten": "source, epoch",
    "offsets": 'log, "offset"',
}
_JSON = {"counts", "occupancy", "tracks", "box", "detail", "place", "causes", "measures"}
_TRUTH = {"plain", "allowed", "superseded"}


def content(where: Path | str, *, offsets: bool = True) -> Content:
    """The content of the SQLite store at a path, or of the PostgreSQL store at a DSN.

    Numbers that a store gives itself are left out; `offsets`: whether how far each log was applied counts.
    """
    names = [name for name in TABLES if offsets or name != "offsets"]
    if isinstance(where, Path):
        with closing(sqlite3.connect(where)) as files:
            return {name: _rows(files.execute(_query(name)).fetchall(), name) for name in names}
    with psycopg.connect(where) as server:
        return {name: _rows(server.execute(_query(name)).fetchall(), name) for name in names}


def differences(a: Content, b: Content) -> list[str]:
    """What one has and the other has not, a line each; empty: they are equal."""
    found = []
    for name in a.keys() | b.keys():
        left, right = a.get(name, []), b.get(name, [])
        found += [f"{name}: only the first has {row}" for row in left if row not in right]
        found += [f"{name}: only the second has {row}" for row in right if row not in left]
        if not found and len(left) != len(right):
            found.append(f"{name}: {len(left)} rows and {len(right)}")
    return found


def _query(name: str) -> str:
    return f"SELECT {TABLES[name]} FROM {name}"


def _rows(rows: list[tuple[Any, ...]], name: str) -> list[tuple[Any, ...]]:
    columns = [column.strip() for column in TABLES[name].split(",")]
    if name == "claims":
        return sorted(rows)  # its box is a name
    return sorted(
        (tuple(_plain(c, value) for c, value in zip(columns, row, strict=True)) for row in rows), key=repr
    )


def _plain(column: str, value: Any) -> Any:
    if column in _JSON:
        return json.dumps(json.loads(value) if isinstance(value, str) else value, sort_keys=True)
    if column in _TRUTH:
        return bool(value)
    return value.decode() if isinstance(value, bytes) else value

"""Projections: what each event changes in the store, as a table, and the rows that come out of it.

`changes` is pure: an event becomes named statements with their values. A store only has to know what the
statements mean (`sql/store.queries.sql` for SQLite, `sql/postgres.queries.sql` for PostgreSQL).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from events.events import (
    Access,
    AlertCleared,
    AlertKind,
    AlertRaised,
    AlertUpdated,
    Crossing,
    Event,
    FaceCaptured,
    FaceDeleted,
    Health,
    Interval,
    Judged,
    NormBox,
    Place,
    Reading,
    Severity,
    ViewChanged,
)

_Row = TypeVar("_Row")
Values = dict[str, Any]
"""A statement's values by name: numbers and text; lists and objects as JSON text."""


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as it stands. Its picture and clip are found by its id."""

    alert: str
    source: str
    epoch: int
    rule: str
    kind: AlertKind
    severity: Severity
    label: str
    state: str
    """open or cleared"""
    since_us: int
    raised_us: int
    updated_us: int
    cleared_us: int | None
    until_us: int | None
    """Capture time at which the condition was last true, once cleared."""
    reason: str | None
    """Why it was cleared. handed-over: another box has the camera, the one that raised it has not said."""
    tracks: tuple[int, ...]
    box: NormBox | None
    """None where there is no picture."""
    detail: dict[str, float | str]
    place: Place | None
    preset: str
    causes: tuple[str, ...]
    """Alerts of which this one is made."""
    verdict: str | None
    """true, false or ignore, as judged last; None: not judged."""
    judged_by: str | None
    judged_us: int | None
    judged_note: str | None


class HealthRow(msgspec.Struct, frozen=True, kw_only=True):
    """The last state of one thing that can be wrong."""

    source: str
    what: str
    state: str
    """raised, cleared or note"""
    message: str
    detail: dict[str, float | str]
    since_us: int
    """Since when it is in this state."""
    seen_us: int
    event: str
    """Id of the event that raised it last; pictures before and after are named by it."""


class CountRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line or zone over one interval."""

    source: str
    rule: str
    start_us: int
    end_us: int
    counts: dict[str, int]
    occupancy: dict[str, float]
    observed_s: float
    preset: str = ""
    """Where a dome looked; empty for a camera that does not move."""


class TotalRow(msgspec.Struct, frozen=True, kw_only=True):
    """All crossings of one line, direction and class."""

    source: str
    rule: str
    direction: str
    label: str
    count: int
    last_us: int


class AccessRow(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody looked at pictures of people, or was refused."""

    source: str
    time_us: int
    who: str
    what: str
    object: str
    plain: bool
    purpose: str
    allowed: bool


class ViewRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where a dome looks."""

    source: str
    state: str
    """settled, moving or unknown"""
    preset: str
    was: str
    score: float
    time_us: int
    """Since when."""


class FaceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A capture of a face, and what of it is still kept."""

    capture: str
    source: str
    at_us: int
    since_us: int
    until_us: int
    quality: float
    measures: dict[str, float]
    box: NormBox
    picture: str
    """Object key of the pixelated crop, also when it is gone: `state` says that."""
    sealed: str
    """Object key of the encrypted original, likewise; empty where none was ever kept."""
    state: Literal["kept", "unsealed", "deleted"]
    """unsealed: the original is gone; deleted: the crop as well."""


class SensorRow(msgspec.Struct, frozen=True, kw_only=True):
    """The latest reading of one sensor and quantity."""

    source: str
    quantity: str
    unit: str
    value: float
    time_us: int
    """When it was measured."""
    received_us: int


class ReadingRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a sensor said within one step of a chart."""

    time_us: int
    """Of the step's last reading."""
    low: float
    high: float
    mean: float
    count: int


JSON_COLUMNS = frozenset(
    {"counts", "occupancy", "tracks", "box", "detail", "at", "place", "causes", "measures"}
)
_encode = msgspec.json.Encoder(order="sorted").encode

_STATEMENTS: dict[type, Callable[[Any], str]] = {
    Crossing: lambda _: "add_crossing",
    Interval: lambda _: "add_interval",
    AlertRaised: lambda _: "raise_alert",
    AlertUpdated: lambda _: "update_alert",
    AlertCleared: lambda _: "clear_alert",
    Health: lambda health: "note_health" if health.state == "note" else "set_health",
    Judged: lambda _: "judge",
    ViewChanged: lambda _: "set_view",
    FaceCaptured: lambda _: "add_face",
    FaceDeleted: lambda _: "delete_face",
    Reading: lambda _: "add_reading",
    Access: lambda _: "add_access",
}
"""By payload. What is not named here is kept in the log of events and changes nothing else."""


def changes(event: Event) -> tuple[str, Values] | None:
    """The statement that an event executes and its values; None: nothing besides being kept."""
    statement = _STATEMENTS.get(type(event.data))
    if statement is None:
        return None
    values: Values = {
        "id": event.id,
        "source": event.source,
        "epoch": event.epoch,
        "sequence": event.sequence,
        "time_us": event.time_us,
    }
    for name in event.data.__struct_fields__:
        value = getattr(event.data, name)
        values[name] = _encode(value).decode() if name in JSON_COLUMNS else value
    return statement(event.data), values


def rows_of(kind: type[_Row], rows: list[Any]) -> list[_Row]:
    """Rows of a query, whose columns are the fields of `kind` in order, as values."""
    names = kind.__struct_fields__  # type: ignore[attr-defined]
    return [
        msgspec.convert(
            {
                name: msgspec.json.decode(value) if name in JSON_COLUMNS else value
                for name, value in zip(names, row, strict=True)
            },
            kind,
            strict=False,
        )
        for row in rows
    ]


_IN_ORDER: Mapping[str, tuple[str, ...]] = {
    "raise_alert": ("alert",),
    "update_alert": ("alert",),
    "clear_alert": ("alert",),
    "set_health": ("source", "what"),
    "note_health": ("source", "what"),
    "add_face": ("capture",),
    "delete_face": ("capture",),
}
"""Statements whose order counts, and the key of the row within whose events it counts."""


class Batch(msgspec.Struct, frozen=True):
    """What many events change together, as few statements."""

    at_once: Mapping[str, list[Values]]
    """By statement, in a fixed order. A row of the store occurs in one of its values only, and they come in
    the order of the rows' keys: two who write at once wait for each other, but never in a circle."""
    in_order: list[tuple[str, list[Values]]]
    """Alerts, health and faces: first of each the first event, then of each the second, and so on."""


def batch(changed: Iterable[tuple[str, Values]]) -> Batch:
    """Many changes as a batch: crossings added up, of what is replaced anyway the last alone."""
    by_name: dict[str, list[Values]] = {}
    ordered: dict[tuple[int, str], list[Values]] = {}
    seen: dict[tuple[Any, ...], int] = {}
    for name, values in changed:
        if name not in _IN_ORDER:
            by_name.setdefault(name, []).append(values)
            continue
        key = (name.partition("_")[2], *[values[k] for k in _IN_ORDER[name]])
        turn = seen[key] = seen.get(key, -1) + 1
        ordered.setdefault((turn, name), []).append(values)
    readings = by_name.get("add_reading", [])
    at_once = {
        "add_crossings": _added_up(by_name.get("add_crossing", [])),
        "add_interval": by_name.get("add_interval", []),
        "add_reading": _first(readings, "source", "quantity", "time_us"),
        "set_sensor": _by_key(newest(readings), "source", "quantity"),
        "add_access": by_name.get("add_access", []),
        "set_view": _last(by_name.get("set_view", []), ("source",), ("epoch", "sequence")),
        "judge": _last(by_name.get("judge", []), ("alert",), ("time_us",)),
    }
    in_order = [
        (name, _by_key(rows, *_IN_ORDER[name])) for (_, name), rows in sorted(ordered.items(), key=_turn)
    ]
    return Batch(at_once, in_order)


def _turn(item: tuple[tuple[int, str], list[Values]]) -> tuple[int, str]:
    return item[0]


def _by_key(rows: Iterable[Values], *key: str) -> list[Values]:
    return sorted(rows, key=lambda row: [row[name] for name in key])


def _added_up(crossings: Iterable[Values]) -> list[Values]:
    found: dict[tuple[str, str, str, str], Values] = {}
    for c in crossings:
        key = c["source"], c["rule"], c["direction"], c["label"]
        total = found.setdefault(key, {name: c[name] for name in TOTAL_KEY} | {"count": 0, "last_us": 0})
        total["count"] += 1
        total["last_us"] = max(total["last_us"], c["time_us"])
    return [found[key] for key in sorted(found)]


TOTAL_KEY = ("source", "rule", "direction", "label")


def _first(rows: Iterable[Values], *key: str) -> list[Values]:
    found: dict[tuple[Any, ...], Values] = {}
    for row in rows:
        found.setdefault(tuple([row[name] for name in key]), row)
    return [found[k] for k in sorted(found)]


def _last(rows: Iterable[Values], key: tuple[str, ...], by: tuple[str, ...]) -> list[Values]:
    """Of each key the row that is largest by `by`; of equals the later one."""
    found: dict[tuple[Any, ...], Values] = {}
    for row in rows:
        name = tuple(row[k] for k in key)
        old = found.get(name)
        if old is None or tuple(row[b] for b in by) >= tuple(old[b] for b in by):
            found[name] = row
    return [found[k] for k in sorted(found)]


def newest(readings: Iterable[Values]) -> list[Values]:
    """Of readings' values the latest of each source and quantity; of two of one time the first."""
    found: dict[tuple[str, str], Values] = {}
    for reading in readings:
        key = reading["source"], reading["quantity"]
        if key not in found or reading["time_us"] > found[key]["time_us"]:
            found[key] = reading
    return list(found.values())


def merge_counts(rows: Sequence[CountRow]) -> list[CountRow]:
    """One row per source, rule, preset and interval: one that a new epoch cut in two is put together again.

    Numbers add up, but `max.` ones and the end, of which the largest counts; occupancy is the mean over the
    observed time.
    """
    merged: dict[tuple[str, str, str, int], CountRow] = {}
    for row in rows:
        key = row.source, row.rule, row.preset, row.start_us
        merged[key] = _merge(merged[key], row) if key in merged else row
    return list(merged.values())


def _merge(a: CountRow, b: CountRow) -> CountRow:
    counts = dict(a.counts)
    for name, count in b.counts.items():
        old = counts.get(name, 0)
        counts[name] = max(old, count) if name.startswith("max.") else old + count
    seconds = a.observed_s + b.observed_s
    occupancy = {
        label: (a.occupancy.get(label, 0.0) * a.observed_s + b.occupancy.get(label, 0.0) * b.observed_s)
        / seconds
        if seconds
        else 0.0
        for label in sorted(a.occupancy.keys() | b.occupancy.keys())
    }
    return CountRow(
        source=a.source,
        rule=a.rule,
        start_us=a.start_us,
        end_us=max(a.end_us, b.end_us),
        counts=counts,
        occupancy=occupancy,
        observed_s=seconds,
        preset=a.preset,
    )

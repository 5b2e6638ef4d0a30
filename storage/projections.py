"""Projections: what each event changes in the store, as a table, and the rows that come out of it.

`changes` is pure: an event becomes named statements with their values. A store only has to know what the
statements mean (`sql/store.queries.sql` for SQLite).
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from events.events import (
    Access,
    AlertCleared,
    AlertKind,
    AlertRaised,
    AlertUpdated,
    Crossing,
    Event,
    Health,
    Interval,
    NormBox,
    Severity,
)

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
    tracks: tuple[int, ...]
    box: NormBox
    detail: dict[str, float | str]


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


class CountRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line or zone over one interval."""

    source: str
    rule: str
    start_us: int
    end_us: int
    counts: dict[str, int]
    occupancy: dict[str, float]
    observed_s: float


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


_JSON_FIELDS = frozenset({"counts", "occupancy", "tracks", "box", "detail", "at"})
_encode = msgspec.json.Encoder(order="sorted").encode

_STATEMENTS: dict[type, Callable[[Any], str]] = {
    Crossing: lambda _: "add_crossing",
    Interval: lambda _: "add_interval",
    AlertRaised: lambda _: "raise_alert",
    AlertUpdated: lambda _: "update_alert",
    AlertCleared: lambda _: "clear_alert",
    Health: lambda health: "note_health" if health.state == "note" else "set_health",
    Access: lambda _: "add_access",
}
"""By payload. What is not named here is kept in the log of events and changes nothing else."""


def changes(event: Event) -> tuple[str, Values] | None:
    """The statement that an event executes and its values; None: nothing besides being kept."""
    statement = _STATEMENTS.get(type(event.data))
    if statement is None:
        return None
    values: Values = {
        "source": event.source,
        "epoch": event.epoch,
        "sequence": event.sequence,
        "time_us": event.time_us,
    }
    for name in event.data.__struct_fields__:
        value = getattr(event.data, name)
        values[name] = _encode(value).decode() if name in _JSON_FIELDS else value
    return statement(event.data), values


def merge_counts(rows: Sequence[CountRow]) -> list[CountRow]:
    """One row per source, rule and interval: an interval that a new epoch cut in two is put together again.

    Numbers add up, but `max.` ones and the end, of which the largest counts; occupancy is the mean over the
    observed time.
    """
    merged: dict[tuple[str, str, int], CountRow] = {}
    for row in rows:
        key = row.source, row.rule, row.start_us
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
    )

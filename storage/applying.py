"""How records become the content of a store, whatever database it is in: the part that stores share.

A store gives it a transaction (`Writes`); everything here happens in that transaction or not at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from events import codec
from events.bus import Record
from events.events import ClaimTaken, Crossing, Event
from events.topics import KEPT
from storage.claims import ANALYSIS, Claim, Claims, CrossingKey, counts_when_superseded, crossing_key, undone
from storage.projections import TOTAL_KEY, Batch, Values, batch, changes

_LOOKED_AT = 256
"""Counted events that are looked at first for what a total's last crossing is now."""


class NewEvent(msgspec.Struct, frozen=True):
    """An event to be kept if it is new here."""

    event: Event
    body: bytes
    """Canonical JSON."""
    superseded: bool


class Writes(Protocol):
    """A transaction of a store that is open for writing."""

    def keep(self, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        """Insert them, in order; answers those that were not here before."""

    def change(self, statement: str, rows: Sequence[Values]) -> None:
        """Execute a named statement for each of the rows, in order."""

    def rows(self, statement: str, values: Values) -> list[Any]:
        """Execute a named statement; answers its rows."""


def apply(writes: Writes, log: str, done: int, records: Sequence[Record]) -> int:
    """Apply the records of a log that come after the offset `done`; answers how many events were new.

    What is the city's store's alone is passed over (`events.topics.KEPT`).
    """
    new, last = 0, max(done, records[-1].offset if records else 0)
    for part in _parts(records, done):
        done = part[-1].offset
        if isinstance(part[0].event.data, ClaimTaken):
            new += _take(writes, part[0].event, part[0].event.data)
        else:
            new += _add(writes, [record.event for record in part])
    writes.change("set_offset", [{"log": log, "offset": last}])
    return new


def _parts(records: Sequence[Record], done: int) -> Iterator[list[Record]]:
    """The records that are due: each claim alone, what lies between two claims together."""
    part: list[Record] = []
    for record in records:
        if record.offset <= done:
            continue
        done = record.offset
        if record.event.family in KEPT:
            continue
        if not isinstance(record.event.data, ClaimTaken):
            part.append(record)
            continue
        if part:
            yield part
        yield [record]
        part = []
    if part:
        yield part


def _add(writes: Writes, events: Sequence[Event]) -> int:
    ends = _ends(writes, events)
    sent = [NewEvent(e, codec.encode(e), _superseded(e, ends)) for e in events]
    new = writes.keep(sent)
    _project(writes, new, ends)
    return len(new)


Ends = Mapping[tuple[str, int], int]
"""Of a source's epoch, the capture time from which it is superseded."""


def _ends(writes: Writes, events: Sequence[Event]) -> Ends:
    """Of the epochs that these events are of, those that end; `Claims.end_us` says which, for one camera."""
    epochs = {(e.source, e.epoch) for e in events if e.family in ANALYSIS}
    if not epochs:
        return {}
    asked = [{"source": source, "epoch": epoch} for source, epoch in sorted(epochs)]
    found = writes.rows("ends", {"epochs": msgspec.json.encode(asked).decode()})
    return {(source, epoch): end_us for source, epoch, end_us in found if end_us is not None}


def _superseded(event: Event, ends: Ends) -> bool:
    end_us = ends.get((event.source, event.epoch)) if ends else None
    return end_us is not None and end_us <= event.time_us and event.family in ANALYSIS


def _project(writes: Writes, new: Sequence[NewEvent], ends: Ends) -> None:
    """Make the changes of events that were not here before."""
    changed = []
    for item in new:
        if item.superseded and not counts_when_superseded(item.event):
            continue
        plain = _plain(item.body)
        change = changes(item.event if plain is item.body else codec.decode(plain))
        if change is None:
            continue
        name, values = change
        if name == "raise_alert":
            values["handed_us"] = ends.get((item.event.source, item.event.epoch))
        changed.append((name, values))
    _execute(writes, batch(changed))


def _plain(body: bytes) -> bytes:
    """An event as every database can hold what it says: PostgreSQL's text has no NUL characters."""
    return body.replace(b"\\u0000", b"\\ufffd")


def _event(body: bytes) -> Event:
    return codec.decode(_plain(body))


def _execute(writes: Writes, changed: Batch) -> None:
    for name, rows in changed.at_once.items():
        if rows:
            writes.change(name, rows)
    for name, rows in changed.in_order:
        writes.change(name, rows)


def _claims(writes: Writes, source: str) -> Claims:
    known = [Claim(*row) for row in writes.rows("claims", {"source": source})]
    return Claims(known, dict(writes.rows("forgotten", {"source": source})))


def _take(writes: Writes, event: Event, data: ClaimTaken) -> int:
    """A claim: what it covers does not count any more."""
    if not writes.keep([NewEvent(event, codec.encode(event), False)]):
        return 0
    claims = _claims(writes, event.source)
    before = claims.ends(event.source)
    claim = Claim(event.source, data.stream_epoch, data.token, data.box, data.since_us)
    claims.add(claim)
    writes.change("add_claim", [{name: getattr(claim, name) for name in claim.__struct_fields__}])
    ended = [(e, at) for e, at in claims.ends(event.source).items() if before.get(e) != at]
    for epoch, end_us in sorted(ended):
        _end(writes, {"source": event.source, "epoch": epoch, "end_us": end_us})
    return 1


def _end(writes: Writes, end: Values) -> None:
    """Take back what counted of an epoch from `end_us` on, and close what was open."""
    events = [_event(body) for (body,) in writes.rows("supersede", end)]
    gone = undone(events)
    _subtract(writes, end["source"], gone.crossings)
    writes.change(
        "remove_interval",
        [
            {
                "source": e.source,
                "rule": getattr(e.data, "rule", ""),
                "start_us": getattr(e.data, "start_us", 0),
                "epoch": e.epoch,
                "sequence": e.sequence,
            }
            for e in gone.intervals
        ],
    )
    captures = [{"capture": capture} for capture in gone.captures]
    writes.change("forget_face", captures)
    writes.change("blank_face", captures)
    writes.change("remove_alerts", [end])
    writes.change("hand_over_alerts", [end])
    if gone.views:
        _look_again(writes, end)


def _subtract(writes: Writes, source: str, crossings: dict[CrossingKey, tuple[int, int]]) -> None:
    unknown: dict[CrossingKey, Values] = {}
    for key, (count, last_us) in sorted(crossings.items()):
        values = dict(zip(TOTAL_KEY, key, strict=True)) | {"count": count}
        for left, newest in writes.rows("subtract_crossings", values):
            if left > 0 and newest <= last_us:
                unknown[key] = values
    writes.change("remove_empty_totals", [{"source": source}] if crossings else [])
    limit = _LOOKED_AT
    while unknown:
        found = writes.rows("last_counted", {"source": source, "limit": limit})
        for (body,) in found:
            event = _event(body)
            if isinstance(event.data, Crossing) and crossing_key(event) in unknown:
                values = unknown.pop(crossing_key(event))
                writes.change("set_last", [values | {"last_us": event.time_us}])
        if len(found) < limit:
            return  # what is left counts, but was pruned: when it was, nobody knows any more
        limit *= 8


def _look_again(writes: Writes, end: Values) -> None:
    """The dome's view was one of those that do not count: the last one that does."""
    writes.change("remove_view", [end])
    for (body,) in writes.rows("last_view", {"source": end["source"]}):
        change = changes(_event(body))
        if change is not None:
            writes.change(change[0], [change[1]])

"""Does a store hold what journals hold: every event, once, in order, byte for byte?"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from events import codec
from events.bus import Record
from events.events import Crossing, Event
from storage.journal import Journal
from storage.store import Store

Key = tuple[str, str, int]
"""source, family, epoch"""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and what differs. Nothing differs: `whole`."""

    events: int
    """In the journals."""
    runs: int
    """Of one (source, family, epoch) each."""
    lost: int
    """In a journal and not in the store."""
    doubled: int
    """More than once in the store."""
    reordered: int
    """Runs whose order in the store is not that of their sequence."""
    changed: int
    """The same key and other bytes."""
    extra: int
    """In the store and in no journal."""
    miscounted: int
    """Totals of crossings that are not what the journals say."""

    @property
    def whole(self) -> bool:
        """Whether the store equals the journals."""
        return not (
            self.lost or self.doubled or self.reordered or self.changed or self.extra or self.miscounted
        )

    def __str__(self) -> str:
        return (
            f"compared {self.events} events in {self.runs} runs: {self.lost} lost, {self.doubled} doubled, "
            f"{self.reordered} runs reordered, {self.changed} changed, {self.extra} extra, "
            f"{self.miscounted} totals off"
        )


def agree(journals: Iterable[Journal], store: Store, families: Sequence[str] = ()) -> Agreement:
    """Compare a store with all the journals that feed it.

    Args:
        families: compare these alone; empty: all.
    """
    expected: dict[Key, dict[int, bytes]] = {}
    crossings: dict[tuple[str, str, str, str], int] = {}
    for journal in journals:
        for event in _all(journal, families):
            expected.setdefault(_key(event), {})[event.sequence] = codec.encode(event)
            if isinstance(event.data, Crossing):
                total = event.source, event.data.rule, event.data.direction, event.data.label
                crossings[total] = crossings.get(total, 0) + 1
    found: dict[Key, list[tuple[int, bytes]]] = {}
    for event in _stored(store):
        if not families or event.family in families:
            found.setdefault(_key(event), []).append((event.sequence, codec.encode(event)))
    lost = doubled = reordered = changed = 0
    for key, run in expected.items():
        there = found.get(key, [])
        numbers = [number for number, _ in there]
        lost += len(run.keys() - set(numbers))
        doubled += len(numbers) - len(set(numbers))
        reordered += numbers != sorted(numbers)
        changed += sum(1 for number, body in there if number in run and run[number] != body)
    extra = sum(
        1 for key, there in found.items() for number, _ in there if number not in expected.get(key, {})
    )
    totals = {(t.source, t.rule, t.direction, t.label): t.count for t in store.totals()}
    return Agreement(
        events=sum(map(len, expected.values())),
        runs=len(expected),
        lost=lost,
        doubled=doubled,
        reordered=reordered,
        changed=changed,
        extra=extra,
        miscounted=len(crossings.items() ^ totals.items()),
    )


def _key(event: Event) -> Key:
    return event.source, event.family, event.epoch


def _all(journal: Journal, families: Sequence[str]) -> Iterator[Event]:
    offset = 0
    while offset < journal.last_offset():
        records, offset = journal.page(offset, 2000, families)
        yield from (record.event for record in records)


def _stored(store: Store) -> Iterator[Event]:
    records: list[Record] = store.events(0, 2000)
    while records:
        yield from (record.event for record in records)
        records = store.events(records[-1].offset, 2000)

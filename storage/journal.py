"""The journal: what happened on this box, durable when committed, and at the same time the outbox.

One SQLite file in WAL mode with `synchronous=FULL`. Several processes may have it open; in each, one thread
writes (`storage/writer.py`), and reads are short. Beside the events it holds the stream epochs with their
anchors, the segment index, snapshots for resuming, and how far each named consumer has read.

What is appended twice, by a worker that resumes after a kill, is kept once: events are unique by
(source, family, epoch, sequence) and by id.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

import msgspec

from events import codec
from events.bus import Record
from events.clock import Clock
from events.errors import StorageError, VersionConflict
from events.events import AnyPayload, Event, Health
from events.ids import event_id, next_epoch
from events.noted import Noted
from storage.catalog import Catalog
from storage.database import Reader, connect, queries
from storage.quantiles import Histogram, Quantiles
from storage.writer import GroupWriter, Transaction

BOUND = 10_000
"""Events that may wait for the writer."""

SCAN = 50_000
"""Offsets that one read for some families passes over at most: beside many readings it would take long."""

_PRUNE_STEP = 1000
_Q = queries("journal")


class JournalStats(msgspec.Struct, frozen=True, kw_only=True):
    """What this process wrote since it opened the journal."""

    events: int
    """Newly stored."""
    repeats: int
    """Appended again with the same bytes, and ignored."""
    conflicts: int
    """Appended with the key or id of another event and other bytes; the first was kept."""
    commits: int
    queued: int
    problem: str
    """Why nothing can be written at present, with the mend; empty while all is well."""


class Raw(NamedTuple):
    """An event as it lies in the journal, not decoded."""

    offset: int
    family: str
    body: bytes


class KeptState(NamedTuple):
    """What was kept by `Journal.record`, and when."""

    offset: int
    """Of the newest event at that moment, those recorded with it included."""
    body: bytes


class Journal(Catalog):
    """See the module's text. Any thread may call any method. Close it before the process ends: what is
    queued is not written otherwise.

    Args:
        path: the SQLite file; its folder is created.
        clock: gives numbers to epochs, stamps commits, measures the lag.
        group_s: how long the writer waits for company before it commits.
        synchronous: SQLite's; anything below FULL loses committed events when power fails.
        max_bytes: bound on the file (0: the disk's). At the bound, as on a full disk, nothing is dropped:
            events wait in memory up to `BOUND`, then `append` raises DiskFull.

    Attributes:
        id: names this journal file; its offsets mean nothing in another one.
        epoch: of this opening, the epoch of its notes.

    Raises:
        StorageError: the file cannot be opened (DiskFull: for lack of room).
    """

    id: str
    epoch: int

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        group_s: float = 0.05,
        synchronous: str = "FULL",
        max_bytes: int = 0,
    ) -> None:
        self.path = path
        self._clock = clock
        self._lag = Histogram()
        self._only_kept = 0

        def opened() -> sqlite3.Connection:
            return connect(path, "journal", synchronous=synchronous, max_bytes=max_bytes)

        self._writer = GroupWriter(path, opened, group_s=group_s, bound=BOUND)
        try:
            self.id, self.epoch = self._writer.call(self._open)
            reader = Reader(path, opened())
        except StorageError:
            self._writer.close()
            raise
        super().__init__(clock, self._writer, reader)

    # -- events

    def append(self, events: Sequence[Event], decoded_at: float | None = None) -> None:
        """Queue events to be committed together within about `group_s`.

        Waits only while `BOUND` events are queued. `decoded_at`: the clock's monotonic time at which the
        frame was decoded that they come from, for `lag_ms`.

        Raises:
            StorageError: the queue is full and the disk takes nothing (DiskFull: for lack of room), or the
                journal is closed. None of the events was queued.
        """
        if not events:
            return
        rows = [(e.id, e.source, e.family, e.epoch, e.sequence, codec.encode(e)) for e in events]

        def work(tx: Transaction) -> None:
            now = self._clock.wall_us()
            for row in rows:
                _insert(tx, row, now)

        def done() -> None:
            if decoded_at is not None:
                self._lag.add((self._clock.monotonic() - decoded_at) * 1000, len(rows))

        self._writer.post(work, len(rows), done)

    def note(self, source: str, data: AnyPayload, time_us: int) -> None:
        """Queue an event that no stream can number: its epoch is this opening's, its sequence is given in
        the writing transaction. Raises like `append`.
        """
        blank = Event(id="", source=source, time_us=time_us, epoch=self.epoch, sequence=0, data=data)
        family = blank.family
        codec.encode(blank)  # what cannot be written fails here, at its maker

        def work(tx: Transaction) -> None:
            sequence = self._next_sequence(tx, (source, family))
            tx.sequences.give({(source, family): sequence + 1})
            id_ = event_id(source, family, self.epoch, sequence)
            event = msgspec.structs.replace(blank, id=id_, sequence=sequence)
            row = (id_, source, family, self.epoch, sequence, codec.encode(event))
            _insert(tx, row, self._clock.wall_us())

        self._writer.post(work)

    def record(
        self,
        items: Sequence[Noted],
        *,
        state: tuple[str, bytes] | None = None,
        states: Sequence[tuple[str, bytes]] = (),
        done: Callable[[], None] | None = None,
    ) -> None:
        """Queue events that no stream can number, with the state that follows from them, in one transaction.

        Each gets this opening's epoch and the next sequence of its (source, family). One whose id is in the
        journal already is passed over and uses no number; the state is kept all the same.

        Args:
            items: in the order in which they are numbered.
            state: name and bytes of what `state` answers from then on.
            states: more of them.
            done: called by the writer's thread after the commit; it must neither raise nor wait.

        Raises:
            StorageError: as `append`; neither events nor state were queued.
            TypeError: a payload cannot be written.
        """
        for item in items:
            codec.encode_data(item.data)  # what cannot be written fails here, at its maker
        kept = (state, *states) if state else tuple(states)

        def work(tx: Transaction) -> None:
            if items:
                self._record(tx, items)
            if kept:
                tx.connection.executemany(_Q["put_state"], kept)

        self._writer.post(work, len(items), done)

    def append_next(self, events: Sequence[Event]) -> int:
        """Commit events whose numbers are the versions of what they change: all, or none.

        The same events again (same bytes) change nothing and count as done. An event must follow the last
        one of its (source, family, epoch) in this journal, without a hole.

        Returns:
            The offset of the last one.

        Raises:
            VersionConflict: one of the numbers is taken by another event, or one before it is not there.
            StorageError: nothing was committed (DiskFull: for lack of room).
        """
        rows = [(e.id, e.source, e.family, e.epoch, e.sequence, codec.encode(e)) for e in events]

        def work(tx: Transaction) -> int | str:
            now, stored = self._clock.wall_us(), tx.stored
            tx.execute("SAVEPOINT next")
            for row in rows:
                if problem := _next_problem(tx, row):
                    tx.execute("ROLLBACK TO next")  # what others queued is in the same transaction
                    tx.stored = stored
                    return problem
                _insert(tx, row, now)
            tx.execute("RELEASE next")
            return int(tx.execute(_Q["find_offset"], (rows[-1][0],)).fetchone()[0])

        done = self._writer.call(work)
        if isinstance(done, str):
            raise VersionConflict(done)
        return int(done)

    def state(self, name: str) -> bytes | None:
        """What was kept under this name; None if nothing was."""
        found = self._reader.rows(_Q["state"], (name,))
        return found[0][0] if found else None

    def states(self, prefix: str) -> dict[str, KeptState]:
        """All that was kept under names that begin so."""
        rows = self._reader.rows(_Q["states"], (prefix,))
        return {name: KeptState(offset, body) for name, offset, body in rows}

    def forget_state(self, name: str) -> None:
        """Queue the removal of what was kept under this name. Raises like `append`."""
        self._writer.post(lambda tx: tx.execute(_Q["forget_state"], (name,)))

    def flush(self) -> None:
        """All that was queued before is durable when this returns.

        Raises:
            StorageError: it is not, and why (DiskFull: for lack of room). It stays queued.
        """
        self._writer.call(lambda _: None)

    def read(self, after: int, limit: int, families: Sequence[str] = ()) -> list[Record]:
        """Up to `limit` events of the families (none given: all) with offsets above `after`, in order."""
        found: list[Record] = []
        while len(found) < limit and after < self.last_offset():
            records, after = self.page(after, limit - len(found), families)
            found += records
        return found

    def page(self, after: int, limit: int, families: Sequence[str] = ()) -> tuple[list[Record], int]:
        """Some of them, and the offset up to which there is nothing else: where to read on.

        Of some families it is one short read of `SCAN` offsets: no records does not mean that none are left.
        """
        last = self.last_offset()
        if families:
            last = min(last, after + SCAN)
            chosen = msgspec.json.encode(list(families)).decode()
            found = self._reader.rows(_Q["read_families"], (after, last, chosen, limit))
        else:
            found = self._reader.rows(_Q["read_events"], (after, last, limit))
        records = [Record(offset, codec.decode(body), self.id) for offset, body in found]
        return records, records[-1].offset if len(records) == limit and limit else max(last, after)

    def raw(
        self, after: int, limit: int, families: Sequence[str] = (), upto: int | None = None
    ) -> tuple[list[Raw], int]:
        """As `page`, undecoded, with offsets up to `upto`."""
        last = self.last_offset() if upto is None else min(upto, self.last_offset())
        if families:
            last = min(last, after + SCAN)
            chosen = msgspec.json.encode(list(families)).decode()
            found = self._reader.rows(_Q["read_raw_families"], (after, last, chosen, limit))
        else:
            found = self._reader.rows(_Q["read_raw"], (after, last, limit))
        rows = [Raw(*row) for row in found]
        return rows, rows[-1].offset if len(rows) == limit and limit else max(last, after)

    def waiting_since(self, offset: int) -> int | None:
        """When the first event after the offset was committed (microseconds since 1970); None: none is."""
        found = self._reader.rows(_Q["committed_at"], (offset,))
        return int(found[0][0]) if found else None

    def of_epoch(self, source: str, epoch: int) -> list[Event]:
        """What the analysis said of one stream epoch (counts, alerts, views, faces), in order."""
        return [codec.decode(body) for (body,) in self._reader.rows(_Q["epoch_events"], (source, epoch))]

    def history(self, source: str, family: str) -> list[Event]:
        """All versions of a thing that `append_next` made, the first one first; none: it is not there."""
        return [codec.decode(body) for (body,) in self._reader.rows(_Q["versions"], (source, family))]

    def raised(self, source: str) -> dict[str, str]:
        """What the source's health was last said to be troubled by: what -> stream ("" if it is of none)."""
        found: dict[str, str] = {}
        for (body,) in self._reader.rows(_Q["source_health"], (source,)):
            data = codec.decode(body).data
            assert isinstance(data, Health)
            if data.state == "raised":
                found[data.what] = str(data.detail.get("stream", ""))
            elif data.state == "cleared":
                found.pop(data.what, None)
        return found

    def count(self, after: int, families: Sequence[str]) -> int:
        """How many events of these families have offsets above `after`."""
        chosen = msgspec.json.encode(list(families)).decode()
        return int(self._reader.rows(_Q["count_families"], (after, chosen))[0][0])

    def last_offset(self) -> int:
        """Of the newest event; 0 if there is none."""
        return int(self._reader.rows(_Q["last_offset"])[0][0])

    def wait(self, commits: int, timeout_s: float) -> bool:
        """Until this process has committed more than `commits` times (see `stats`), or the time is over."""
        return self._writer.wait(commits, timeout_s)

    # -- consumers

    def add_consumer(self, group: str) -> int:
        """Make the consumer known, so that nothing is pruned before it has it; answers its offset."""
        self._writer.call(lambda tx: tx.execute(_Q["add_consumer"], (group,)))
        return self.committed(group)

    def committed(self, group: str) -> int:
        """The offset up to which the consumer is done; 0 for a new one."""
        found = self._reader.rows(_Q["committed_offset"], (group,))
        return int(found[0][0]) if found else 0

    def commit(self, group: str, offset: int) -> None:
        """The consumer is done up to `offset`; durable when this returns. It never goes back."""
        self._writer.call(lambda tx: tx.execute(_Q["commit_offset"], (group, offset)))

    def rewind(self, group: str, offset: int) -> None:
        """The consumer has to read again from after the offset: what it read has been lost behind it."""
        self._writer.call(lambda tx: tx.execute(_Q["rewind_consumer"], (offset, group)))

    def consumers(self) -> dict[str, int]:
        """The named consumers, each with the offset up to which it is done."""
        return {name: int(offset) for name, offset in self._reader.rows(_Q["consumers"])}

    def behind(self, before_us: int) -> list[str]:
        """Consumers that are not done with what was committed before `before_us`: they keep it from going."""
        return [name for (name,) in self._reader.rows(_Q["consumers_behind"], (before_us,))]

    def forget_consumer(self, group: str) -> None:
        """The consumer will not come back: what it has not read need not be kept for it."""
        self._writer.call(lambda tx: tx.execute(_Q["forget_consumer"], (group,)))

    # -- the journal itself

    def prune(self, before_us: int) -> int:
        """Delete events committed before `before_us` that every named consumer has; answers how many.

        Stream epochs from before go too, once neither footage nor a snapshot needs them; each stream's last
        one stays. Freed pages are used again. Without a named consumer nothing is deleted. What the city is
        built from again (`events.topics.KEPT`) is never deleted.
        """
        delivered = int(self._reader.rows(_Q["delivered_offset"])[0][0] or 0)
        after = self._pass_kept(min(delivered, self.last_offset()))

        def some(tx: Transaction) -> int:
            return tx.execute(_Q["prune_events"], (after, delivered, before_us, _PRUNE_STEP)).rowcount

        def rest(tx: Transaction) -> None:
            tx.execute(_Q["prune_anchors"], (before_us,))
            tx.execute(_Q["prune_epochs"])

        gone = step = int(self._writer.call(some))
        while step == _PRUNE_STEP:  # in small transactions: others want to write too
            step = int(self._writer.call(some))
            gone += step
        self._writer.call(rest)
        return gone

    def _pass_kept(self, upto: int) -> int:
        """The offset up to which there is nothing but what is kept for ever: it is looked through once."""
        while self._only_kept < upto:
            end = min(upto, self._only_kept + SCAN)
            found = self._reader.rows(_Q["first_to_prune"], (self._only_kept, end))
            self._only_kept = found[0][0] - 1 if found else end
            if found:
                break
        return self._only_kept

    def used_bytes(self) -> int:
        """What the file holds, without pages that are free to be used again."""
        return int(self._reader.rows(_Q["used_bytes"])[0][0])

    def drop(self, families: Sequence[str], before_us: int, unread: str, limit: int) -> list[tuple[int, str]]:
        """Delete up to `limit` of the oldest events of these families, though the consumer `unread` has not
        had them; every other one has. For a journal that has come to its bound.

        Returns:
            Offset and family of each that is gone.
        """
        chosen = msgspec.json.encode(list(families)).decode()

        def some(tx: Transaction) -> list[tuple[int, str]]:
            found = tx.execute(_Q["oldest_of"], (before_us, chosen, unread, limit)).fetchall()
            offsets = msgspec.json.encode([offset for offset, _ in found]).decode()
            tx.execute(_Q["delete_events"], (offsets,))
            return found

        gone: list[tuple[int, str]] = self._writer.call(some)
        return gone

    @property
    def healthy(self) -> bool:
        """False while nothing can be written."""
        return self._writer.problem is None

    def stats(self) -> JournalStats:
        """What this process wrote since it opened the journal."""
        writer = self._writer
        return JournalStats(
            events=writer.stored,
            repeats=writer.repeats,
            conflicts=writer.conflicts,
            commits=writer.commits,
            queued=writer.queued,
            problem=str(writer.problem or ""),
        )

    def lag_ms(self) -> Quantiles:
        """Milliseconds from a frame's decoding to the commit of its events, over the run."""
        return self._lag.quantiles()

    def close(self) -> None:
        """Commit what is queued and release the file. May be called twice.

        Raises:
            StorageError: something could not be written, and how many events it was.
        """
        try:
            self._writer.close()
        finally:
            self._reader.close()

    def _record(self, tx: Transaction, items: Sequence[Noted]) -> None:
        asked = msgspec.json.encode([item.id for item in items]).decode()
        seen = {id_ for (id_,) in tx.execute(_Q["known_ids"], (asked,))}
        now = self._clock.wall_us()
        given: dict[tuple[str, str], int] = {}
        values = []
        for item in items:
            if item.id in seen:
                continue
            seen.add(item.id)
            key = item.source, item.family
            sequence = given[key] if key in given else self._next_sequence(tx, key)
            given[key] = sequence + 1
            event = Event(
                id=item.id,
                source=item.source,
                time_us=item.time_us,
                epoch=self.epoch,
                sequence=sequence,
                data=item.data,
            )
            values.append((item.id, *key, self.epoch, sequence, now, codec.encode(event)))
        tx.connection.executemany(_Q["insert_event"], values)
        tx.sequences.give(given)
        tx.stored += len(values)
        tx.repeats += len(items) - len(values)

    def _next_sequence(self, tx: Transaction, key: tuple[str, str]) -> int:
        def ask(key: tuple[str, str]) -> int:
            return int(tx.execute(_Q["next_sequence"], (*key, self.epoch)).fetchone()[0])

        return tx.sequences.next(key, ask)

    def _open(self, tx: Transaction) -> tuple[str, int]:
        tx.execute("INSERT INTO journal VALUES ('id', ?) ON CONFLICT DO NOTHING", (token_hex(8),))
        id_ = tx.execute("SELECT value FROM journal WHERE name = 'id'").fetchone()[0]
        epoch = next_epoch(self._clock.wall_us(), tx.execute(_Q["highest_epoch"]).fetchone()[0])
        tx.execute("INSERT INTO openings VALUES (?)", (epoch,))
        return str(id_), epoch


_Row = tuple[str, str, str, int, int, bytes]


def _next_problem(tx: Transaction, row: _Row) -> str:
    """Why the row cannot be the next version of its source; "" if it can, or is there already."""
    id_, source, family, epoch, sequence, body = row
    kept = tx.execute(_Q["find_event"], (source, family, epoch, sequence, id_)).fetchall()
    if kept:
        return (
            "" if kept == [(body,)] else f"{source} was changed by somebody else: it has version {sequence}"
        )
    following = int(tx.execute(_Q["next_sequence"], (source, family, epoch)).fetchone()[0])
    return "" if sequence == following else f"{source}: version {sequence} cannot follow {following - 1}"


def _insert(tx: Transaction, row: tuple[str, str, str, int, int, bytes], now_us: int) -> None:
    """Store an event once: what is there already stays."""
    id_, source, family, epoch, sequence, body = row
    if tx.execute(_Q["insert_event"], (id_, source, family, epoch, sequence, now_us, body)).rowcount == 1:
        tx.stored += 1
        return
    kept = tx.execute(_Q["find_event"], (source, family, epoch, sequence, id_)).fetchall()
    if kept == [(body,)]:
        tx.repeats += 1
    else:
        tx.conflicts.append(
            f"event {id_} ({source} {family} {epoch}/{sequence}) differs from the one in the journal; "
            "the first was kept. The same footage gave different events: a changed rule, model or program"
        )

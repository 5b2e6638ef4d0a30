"""The spool: what waits to be copied to an object store. One SQLite file in the data folder.

It holds names, not content: the files are the footage and the objects of the box, and go when retention says
so, sent or not. So the spool stays small however long the store is away.

    waiting -> sending -> done
    waiting <- sending              a failure, a kill
    waiting or sending -> lost      its file is gone or damaged; nothing will come of it

A transition that the table does not have raises. With each page of the journal's events the offset up to
which it was read is kept in one transaction, so no segment is passed over and none is in here twice.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from events.errors import IllegalTransition, StorageError
from storage.database import Reader, connect, queries, roll_back, storage_error

State = Literal["waiting", "sending", "done", "lost"]
Kind = Literal["picture", "clip", "footage"]

TRANSITIONS: dict[State, frozenset[State]] = {
    "waiting": frozenset({"sending", "lost"}),
    "sending": frozenset({"waiting", "done", "lost"}),
    "done": frozenset(),
    "lost": frozenset(),
}
"""Besides, what is done or lost waits anew when another file has taken the place of the one that was meant:
by `add` alone."""

_Q = queries("spool")
_FOREVER_US = 1 << 62
_PAGE = 1000


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be copied."""

    key: str
    """In the object store; of footage the segment's, beside which its trace and its papers go."""
    kind: Kind
    path: str
    """Relative to the folder of its kind."""
    sha256: str = ""
    """What the file is to be, by the journal; empty: nobody said."""
    bytes: int = 0
    from_us: int = 0
    """Capture time at which it begins, microseconds since 1970."""
    to_us: int = 0
    state: State = "waiting"
    begun: bool = False
    """It was sent before, and that did not come to its end."""
    why: str = ""
    """Of what is lost."""
    stamp: str = ""
    """Tells a file from the one that was there before under its name."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is of what."""

    waiting: int
    waiting_bytes: int
    oldest_us: int
    """Capture time of the oldest that waits; 0: nothing does."""
    done: int
    done_bytes: int
    """As they are on the box; over all time."""
    lost: int
    lost_bytes: int


class Spool:
    """See the module's text. From any thread; one process writes.

    Raises:
        StorageError: the file cannot be opened or written (DiskFull: for lack of room).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        # Not FULL: what a power cut takes back is the newest moves together with the offset that belongs to
        # them, and doing them again changes nothing.
        self._connection = connect(path, "spool", synchronous="NORMAL")
        self._reader = Reader(path, connect(path, "spool", synchronous="NORMAL"))

    def close(self) -> None:
        self._reader.close()
        with self._lock:
            self._connection.close()

    # -- what comes in

    def position(self, journal: str) -> int | None:
        """The offset up to which this journal's segments are in here; None: nobody looked yet."""
        found = self._reader.rows(_Q["position"], (journal,))
        return int(found[0][0]) if found else None

    def take_in(self, journal: str, offset: int, items: Iterable[Item]) -> None:
        """Add items and remember up to which offset of the journal that was, in one transaction."""
        with self._transaction() as tx:
            self._add(tx, items)
            tx.execute(_Q["set_position"], (journal, offset))

    def add(self, items: Iterable[Item]) -> None:
        """Add items. One that is here already with the same hash and stamp changes nothing."""
        with self._transaction() as tx:
            self._add(tx, items)

    def stamps(self, kind: Kind) -> dict[str, str]:
        """Key -> stamp of all of a kind that are in here."""
        return dict(self._reader.rows(_Q["stamps"], (kind,)))

    def forget(self, keys: Sequence[str]) -> None:
        """Done or lost items whose files are gone need not be known any more."""
        with self._transaction() as tx:
            tx.executemany(_Q["forget"], [(key,) for key in keys])

    def prune(self, before_us: int) -> int:
        """Forget footage that was done or lost before that wall time; answers how much."""
        with self._transaction() as tx:
            return tx.execute(_Q["prune_footage"], (before_us,)).rowcount

    # -- what becomes of it

    def next(self, now_us: int) -> Item | None:
        """What is to be sent: pictures and clips first, of each the oldest; None: nothing waits or all of it
        is put off."""
        return next(self._items("next", (now_us,)), None)

    def of_state(self, state: State, limit: int) -> list[Item]:
        """Some, in the order of their turn."""
        return list(self._items("of_state", (state, limit)))

    def newest_footage(self, since_us: int, limit_bytes: int) -> list[Item]:
        """Footage from that time on that was not sent yet, the newest of it, so much as fits."""
        found: list[Item] = []
        for state in ("sending", "waiting"):
            before, key = _FOREVER_US, ""
            while page := list(self._items("newest", (state, since_us, before, key, _PAGE))):
                for item in page:
                    limit_bytes -= item.bytes
                    if limit_bytes < 0:
                        return found
                    found.append(item)
                before, key = page[-1].from_us, page[-1].key
        return found

    def begin(self, key: str) -> None:
        """waiting -> sending."""
        self._move(key, "sending")

    def done(self, key: str, now_us: int) -> None:
        """sending -> done."""
        self._move(key, "done", now_us=now_us)

    def back(self, key: str, after_us: int = 0) -> None:
        """sending -> waiting, until that wall time at least."""
        self._move(key, "waiting", after_us=after_us)

    def lose(self, key: str, why: str, now_us: int) -> None:
        """waiting or sending -> lost."""
        self._move(key, "lost", why=why, now_us=now_us)

    def put_off(self, key: str, after_us: int) -> None:
        """What waits does so until that wall time at least."""
        with self._transaction() as tx:
            tx.execute(_Q["put_off"], (key, after_us))

    def recover(self) -> int:
        """What a kill left in the middle waits again; answers how much that is."""
        with self._transaction() as tx:
            return tx.execute(_Q["recover"]).rowcount

    def counts(self) -> Counts:
        waiting, waiting_bytes, oldest_us = self._reader.rows(_Q["waiting"])[0]
        totals = {state: (items, size) for state, items, size in self._reader.rows(_Q["totals"])}
        return Counts(
            waiting=waiting,
            waiting_bytes=waiting_bytes,
            oldest_us=oldest_us,
            done=totals["done"][0],
            done_bytes=totals["done"][1],
            lost=totals["lost"][0],
            lost_bytes=totals["lost"][1],
        )

    # -- inside

    def _move(self, key: str, to: State, *, after_us: int = 0, why: str = "", now_us: int = 0) -> None:
        with self._transaction() as tx:
            row = tx.execute(_Q["state"], (key,)).fetchone()
            if row is None:
                raise StorageError(f"{key} is not in the spool {self._path}")
            if to not in TRANSITIONS[row[0]]:
                raise IllegalTransition(f"{key} is {row[0]} and cannot become {to}")
            tx.execute(_Q["move"], (key, to, after_us, why, now_us))
            if to in ("done", "lost"):
                tx.execute(_Q["total"], (row[1], to))

    def _add(self, tx: sqlite3.Connection, items: Iterable[Item]) -> None:
        rows = [
            (i.key, i.kind, int(i.kind == "footage"), i.path, i.sha256, i.stamp, i.bytes, i.from_us, i.to_us)
            for i in items
        ]
        tx.executemany(_Q["add"], rows)

    def _items(self, query: str, values: tuple[Any, ...]) -> Iterator[Item]:
        for key, kind, path, sha256, size, from_us, to_us, state, begun, why in self._reader.rows(
            _Q[query], values
        ):
            yield Item(
                key=key,
                kind=kind,
                path=path,
                sha256=sha256,
                bytes=size,
                from_us=from_us,
                to_us=to_us,
                state=state,
                begun=bool(begun),
                why=why,
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as e:
                raise storage_error(e, self._path) from e
            finally:
                roll_back(self._connection)

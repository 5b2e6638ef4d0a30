"""The one thread of a process that writes to a journal: group commit, and patience while the disk is full.

Work is queued by any thread and done in order. The writer waits a moment for company, then does all that is
queued in one transaction (`BEGIN IMMEDIATE`), so that one fsync serves many events. When the transaction
fails, what was posted stays queued and is tried again until it succeeds; what somebody waits for (`call`) is
withdrawn and its caller gets the error.
"""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from events.errors import LinliError, StorageError
from storage.database import roll_back, storage_error

log = logging.getLogger(__name__)

_GROUP_MAX = 2000
"""Events in one transaction at most: other processes wait for it."""

_RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Waits before trying again, the last for ever."""

_TRIES_AT_CLOSE = 3


@dataclass(slots=True)
class Transaction:
    """What a piece of work is given. The counters become the writer's when the transaction has committed."""

    connection: sqlite3.Connection
    sequences: "Sequences"
    stored: int = 0
    repeats: int = 0
    conflicts: list[str] = field(default_factory=list)

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        return self.connection.execute(sql, values)


class Sequences:
    """The next sequence of each (source, family) in the epoch of this opening.

    Nobody else numbers in that epoch, so they are kept in memory. What a transaction gave counts once it has
    committed. After a failure the file is asked again, for a commit that was reported as failed may be one.
    """

    def __init__(self) -> None:
        self._next: dict[tuple[str, str], int] = {}
        self._given: dict[tuple[str, str], int] = {}
        self._sure: set[tuple[str, str]] = set()

    def next(self, key: tuple[str, str], ask: Callable[[tuple[str, str]], int]) -> int:
        """The next one in this transaction. `ask` tells what follows the highest one in the file."""
        if key not in self._sure:
            self._next[key] = max(self._next.get(key, 0), ask(key))
            self._sure.add(key)
        return self._given.get(key, self._next[key])

    def give(self, given: dict[tuple[str, str], int]) -> None:
        """In this transaction the numbers up to these, exclusive, were given."""
        self._given |= given

    def committed(self) -> None:
        """What was given stands in the file."""
        self._next |= self._given
        self._given = {}

    def failed(self) -> None:
        """What was given was not written."""
        self._given = {}
        self._sure = set()


Work = Callable[[Transaction], Any]


@dataclass(slots=True)
class _Item:
    work: Work
    weight: int
    done: Callable[[], None] | None
    future: Future[Any] | None


class GroupWriter:
    """A queue of work, bounded in weight (events), and the thread that commits it."""

    def __init__(
        self, path: Path, connect: Callable[[], sqlite3.Connection], *, group_s: float, bound: int
    ) -> None:
        self._path = path
        self._connect = connect
        self._connection = connect()
        self._group_s = group_s
        self._bound = bound
        self._queue: deque[_Item] = deque()
        self._state = threading.Condition()
        self._weight = 0  # queued and not yet committed
        self._urgent = False
        self._closing = False
        self._problem: StorageError | None = None
        self._dead: StorageError | None = None
        self._sequences = Sequences()
        self.stored = 0
        self.repeats = 0
        self.conflicts = 0
        self.commits = 0
        self._thread = threading.Thread(target=self._run, name=f"journal {path.name}", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> StorageError | None:
        """Why nothing can be written at present; None while all is well."""
        return self._dead or self._problem

    @property
    def queued(self) -> int:
        """Weight of what is not committed yet."""
        return self._weight

    def post(self, work: Work, weight: int = 1, done: Callable[[], None] | None = None) -> None:
        """Queue work to be done soon. Waits only while the queue is full and being emptied.

        Raises:
            StorageError: the queue is full and cannot be emptied (DiskFull: for lack of room), or the
                writer is closed. The work was not queued.
        """
        with self._state:
            while self._weight and self._weight + weight > self._bound:
                self._check()
                if self._problem:
                    raise self._problem
                self._state.wait()
            self._put(_Item(work, weight, done, None))

    def call(self, work: Work) -> Any:
        """Do the work after all that is queued; answers its result when it is durable.

        Raises:
            StorageError: it could not be done now (DiskFull: for lack of room); nothing of it was.
        """
        future: Future[Any] = Future()
        with self._state:
            self._put(_Item(work, 0, None, future))
            self._urgent = True
            self._state.notify_all()
        return future.result()

    def wait(self, commits: int, timeout_s: float) -> bool:
        """Until more than `commits` transactions were committed here; False if the time was over first."""
        with self._state:
            return self._state.wait_for(lambda: self.commits > commits or self._closing, timeout_s)

    def close(self) -> None:
        """Commit what is queued and end the thread.

        Raises:
            StorageError: something queued could not be written (DiskFull: for lack of room).
        """
        with self._state:
            self._closing = True
            self._state.notify_all()
        self._thread.join()
        self._connection.close()
        if self._weight:
            raise type(self._problem or StorageError())(
                f"{self._weight} events are not in the journal: {self.problem}"
            )

    def _check(self) -> None:
        if self._dead:
            raise self._dead
        if self._closing:
            raise StorageError(f"{self._path} is closed")

    def _put(self, item: _Item) -> None:
        self._check()
        self._queue.append(item)
        self._weight += item.weight
        if len(self._queue) == 1 or self._weight >= _GROUP_MAX:
            self._state.notify_all()

    def _run(self) -> None:
        try:
            while batch := self._gather():
                if not self._commit(batch):
                    break
        except BaseException as e:
            with self._state:
                self._dead = StorageError(f"the writer of {self._path} has died: {e!r}; restart this process")
                self._refuse(self._dead, list(self._queue))
            raise

    def _gather(self) -> list[_Item]:
        """The next group; empty when closing and all is done."""
        with self._state:
            self._state.wait_for(lambda: self._queue or self._closing)
            if self._group_s:
                self._state.wait_for(
                    lambda: self._urgent or self._closing or self._weight >= _GROUP_MAX, self._group_s
                )
            batch: list[_Item] = []
            weight = 0
            while self._queue and weight < _GROUP_MAX:
                batch.append(self._queue.popleft())
                weight += batch[-1].weight
            if not self._queue:
                self._urgent = False
            return batch

    def _commit(self, batch: list[_Item]) -> bool:
        """Write a group, however long it takes. False: given up, because closing."""
        tries = 0
        while True:
            try:
                transaction, answers = self._write(batch)
            except (sqlite3.Error, StorageError) as e:
                problem = e if isinstance(e, StorageError) else storage_error(e, self._path)
                batch = self._failed(problem, batch)
                if not batch:
                    return True
                pause = _RETRY_S[min(tries, len(_RETRY_S) - 1)]
                tries += 1
                with self._state:
                    if self._closing and tries >= _TRIES_AT_CLOSE:
                        return False
                    if self._closing:
                        self._state.wait(pause)
                    else:
                        self._state.wait_for(lambda: self._closing, pause)
            except BaseException as e:
                with self._state:
                    self._refuse(StorageError(f"{self._path} was not written: {e!r}"), batch)
                raise
            else:
                self._committed(batch, transaction, answers)
                return True

    def _write(self, batch: list[_Item]) -> tuple[Transaction, list[Any]]:
        transaction = Transaction(self._connection, self._sequences)
        answers: list[Any] = []
        self._connection.execute("BEGIN IMMEDIATE")
        for item in batch:
            try:
                answers.append(item.work(transaction))
            except LinliError as e:
                if item.future is None:
                    raise
                answers.append(e)  # refused before anything was changed; the others go on
        self._connection.execute("COMMIT")
        return transaction, answers

    def _committed(self, batch: list[_Item], transaction: Transaction, answers: list[Any]) -> None:
        self._sequences.committed()
        with self._state:
            if self._problem:
                log.warning("%s is written again", self._path)
                self._problem = None
            self.commits += 1
            self.stored += transaction.stored
            self.repeats += transaction.repeats
            self.conflicts += len(transaction.conflicts)
            self._weight -= sum(item.weight for item in batch)
            self._state.notify_all()
        for conflict in transaction.conflicts:
            log.warning("%s", conflict)
        for item, answer in zip(batch, answers, strict=True):
            if item.done:
                item.done()
            if item.future and isinstance(answer, LinliError):
                item.future.set_exception(answer)
            elif item.future:
                item.future.set_result(answer)

    def _failed(self, problem: StorageError, batch: list[_Item]) -> list[_Item]:
        """Undo, tell those who wait, start with a fresh connection; answers what is still to be written."""
        roll_back(self._connection)
        self._sequences.failed()
        with self._state:
            if self._problem is None:
                log.error("%s", problem)
            self._problem = problem
            kept = self._refuse(problem, batch)
            self._queue = deque(self._refuse(problem, list(self._queue)))
            self._urgent = False
            self._state.notify_all()
        try:
            fresh = self._connect()
        except StorageError:
            return kept  # the old one may yet do
        self._connection.close()
        self._connection = fresh
        return kept

    def _refuse(self, problem: StorageError, items: list[_Item]) -> list[_Item]:
        """Give the error to those who wait; answers the items for which nobody does."""
        for item in items:
            if item.future and not item.future.done():
                item.future.set_exception(problem)
        self._state.notify_all()
        return [item for item in items if item.future is None]

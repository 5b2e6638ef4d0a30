"""Copies footage, clips and pictures to an object store: the oldest first, what belongs to alerts before the
rest, as fast as the hour allows, again until it is there.

Nothing waits for it. While the store is away the box records on; what retention has to delete before it was
sent is told as lost. Cut off at any point it goes on where it stood: what is there already is not sent again,
and what was there by half is not to be seen.
"""

import logging
import os
from collections.abc import Callable
from datetime import tzinfo
from pathlib import Path
from typing import Literal

import msgspec

from events.clock import Clock
from events.errors import DiskFull, LinliError, StorageError, StoreAway, StoreDenied
from events.events import Health
from events.media import rfc3339
from ingest.backoff import Backoff
from pipeline.gathering import Gatherer
from pipeline.service import Service
from pipeline.shipping_status import ShippingStatus, State, write_status
from storage.journal import Journal
from storage.pacing import Bucket, Interrupted, Schedule, limit_at
from storage.papers import FOOTAGE, papers_key, papers_of, trace_is_final
from storage.rows import SegmentRow
from storage.s3errors import BucketMissing
from storage.s3objects import S3Objects
from storage.s3streams import Damaged
from storage.spool import Counts, Item, Spool

log = logging.getLogger(__name__)

WHAT = "uploads"
"""Of its health events."""

IDLE_S = 1.0
STATUS_S = 2.0
COUNT_S = 10.0
"""How often the spool is counted: with weeks of footage waiting that is work."""

LOST_S = 60.0
"""How often it is told what was lost."""

PATIENCE_S = 600.0
"""So long a segment waits for its trace to be finished; then it goes with what there is."""
_NOT_YET_S = 2.0

PATIENT = 3
"""Failures in a row from which on a store that is merely away is told."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Who ships, where to tell it, and when."""

    site: str
    source: str
    """The box, for its health."""
    status: Path
    schedule: Schedule = Schedule()
    zone: tzinfo | None = None
    """Of the schedule's hours; by default the machine's."""


class Shipper(Service):
    """A thread that empties a spool into an object store."""

    def __init__(
        self,
        gatherer: Gatherer,
        spool: Spool,
        connect: Callable[[Callable[[int], None]], S3Objects],
        journal: Journal,
        place: Place,
        clock: Clock,
    ) -> None:
        """
        Args:
            connect: makes the objects in the store, told what to call before each slice of bytes leaves.
        """
        super().__init__("shipping")
        self._gatherer = gatherer
        self._spool = spool
        self._journal = journal
        self._place = place
        self._clock = clock
        self._bucket = Bucket(clock, self._limit, self._stop.is_set)
        self._objects = connect(self._leave)
        self._backoff = Backoff(place.source)
        self._not_before = 0.0
        self._reached = False
        self._recovered = False
        self._raised = WHAT in journal.raised(place.source)
        self._raised_for: type[LinliError] | None = None
        """What kind of trouble was told; another kind is told anew."""
        self._refused: dict[str, Backoff] = {}
        """Items that the store did not take. One alone may be the reason: the next is tried before it."""
        self._gone: list[Item] = []
        """Lost, and not told yet."""
        self._gone_at = 0.0
        self._first_seen: dict[str, float] = {}
        """Segments whose trace is not finished -> since when they are waited for."""
        self._state: State = "starting"
        self._problem = ""
        self._now: Item | None = None
        self._began = 0
        self._sent = 0
        self._failures = 0
        self._counts: Counts | None = None
        self._count_at = self._status_at = 0.0

    # -- the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                wait_s = self.step()
            except LinliError as e:  # of the journal or the spool: a full disk, perhaps
                log.error("shipping: %s", e)
                self._recovered = False
                wait_s = 5.0
            self._write_status()
            if wait_s:
                self._stop.wait(wait_s)
        self._write_status(now=True)

    def step(self) -> float:
        """One round: look for what is new, send at most one item; answers how long to wait for the next.

        Raises:
            StorageError: the journal or the spool cannot be read or written.
        """
        if not self._recovered:
            self._spool.recover()
            self._recovered = True
        self._gatherer.gather()
        self._gone += self._gatherer.lost()
        self._tell_lost()
        if self._limit() == 0:
            self._state = "paused"
            return IDLE_S
        if (rest := self._not_before - self._clock.monotonic()) > 0:
            self._state = "waiting"
            return min(rest, IDLE_S)
        item = self._spool.next(self._clock.wall_us())
        if item is None:
            self._state = "idle"
            self._count_at = 0.0
            if self._raised and not self._spool.counts().waiting:
                self._look()
            return IDLE_S
        return self._handle(item)

    def _look(self) -> None:
        """Nothing waits, but something was wrong: is it still?"""
        try:
            self._objects.reachable()
        except LinliError as e:
            self._trouble(e)
        else:
            self._well("")

    # -- one item

    def _handle(self, item: Item) -> float:
        now_us = self._clock.wall_us
        path = self._gatherer.file(item)
        row = self._gatherer.row(item) if item.kind == "footage" else None
        if not path.exists() or (item.kind == "footage" and row is None):
            self._spool.lose(item.key, "deleted before it was sent", now_us())
            self._gone.append(item)
            self._first_seen.pop(item.key, None)
            return 0.0
        if row is not None and not self._trace_ready(item, row):
            self._spool.put_off(item.key, now_us() + int(_NOT_YET_S * 1e6))
            return 0.0
        self._state, self._now, self._began = "sending", item, self._bucket.taken
        self._spool.begin(item.key)
        try:
            self._send(item, path, row)
        except Interrupted:
            self._spool.back(item.key)
            return 0.0
        except Damaged as e:
            self._damaged(item, e)
            return 0.0
        except LinliError as e:
            return self._failed(item, e)
        finally:
            self._now = None
        self._spool.done(item.key, now_us())
        self._sent += 1
        self._well(item.key)
        return 0.0

    def _send(self, item: Item, path: Path, row: SegmentRow | None) -> None:
        if not self._reached:  # some stores make a bucket that is missing, without what was set for it
            self._objects.reachable()
            self._reached = True
        if item.begun:
            for key in _keys(item, row):
                self._objects.abort(key)
        self._objects.put_file(item.key, path, item.sha256)
        if row is None:
            return
        trace = self._gatherer.trace(row)
        sha256 = ""
        if trace is not None:
            try:
                sha256 = self._objects.put_file(f"{FOOTAGE}{row.trace_path}", trace).sha256
            except Damaged as e:  # nobody said what it is to be: it was written on
                raise StorageError(f"{row.trace_path} changed while it was sent; it is sent again") from e
        papers = papers_of(self._journal, self._place.site, row, sha256)
        if papers is not None:
            self._objects.put(papers_key(row.path), msgspec.json.encode(papers))

    def _trace_ready(self, item: Item, row: SegmentRow) -> bool:
        now = self._clock.monotonic()
        if trace_is_final(self._journal, row):
            self._first_seen.pop(item.key, None)
            return True
        since = self._first_seen.setdefault(item.key, now)
        if now - since < PATIENCE_S:
            return False
        self._first_seen.pop(item.key, None)
        return True

    def _leave(self, count: int) -> None:
        """Before a slice leaves."""
        self._bucket.take(count)
        self._write_status()

    def _limit(self) -> float | None:
        return limit_at(self._place.schedule, self._clock.wall_us(), self._place.zone)

    # -- what became of it

    def _well(self, key: str) -> None:
        """Something arrived."""
        self._refused.pop(key, None)
        self._backoff = Backoff(self._place.source)
        self._problem = ""
        if self._raised:
            self._raised = False
            self._tell("cleared", "copies to the object store go on")

    def _failed(self, item: Item, error: LinliError) -> float:
        """The store is in trouble, or with this one item: others are tried, and none is given up."""
        log.warning("shipping %s: %s", item.key, error)
        self._trouble(error)
        own = self._refused[item.key] = self._refused.get(item.key, Backoff(item.key)).failed("lost")
        after_us = 0
        if own.attempt >= PATIENT or not isinstance(error, StoreAway | DiskFull | BucketMissing):
            after_us = self._clock.wall_us() + int((self._backoff.delay_s + own.delay_s) * 1e6)
        self._spool.back(item.key, after_us)
        return 0.0

    def _trouble(self, error: LinliError) -> None:
        self._failures += 1
        self._reached = False
        self._backoff = self._backoff.failed("auth" if isinstance(error, StoreDenied) else "lost")
        self._not_before = self._clock.monotonic() + self._backoff.delay_s
        self._problem, self._state = str(error), "waiting"
        lasting = not isinstance(error, StoreAway) or self._backoff.attempt >= PATIENT
        if lasting and not (self._raised and self._raised_for is type(error)):
            self._raised, self._raised_for = True, type(error)
            self._tell("raised", f"nothing is copied at present: {error}")

    def _damaged(self, item: Item, error: Damaged) -> None:
        now_us = self._clock.wall_us()
        if not item.sha256:  # a picture that was replaced while it was read
            self._spool.back(item.key, now_us + int(_NOT_YET_S * 1e6))
            return
        log.error("%s", error)
        self._spool.lose(item.key, "damaged", now_us)
        self._tell("note", f"{error}; the rest goes on. Check the disk (`linli doctor`)")

    def _tell_lost(self) -> None:
        """At most once a minute."""
        items, now = self._gone, self._clock.monotonic()
        if not items or now < self._gone_at:
            return
        self._gone, self._gone_at = [], now + LOST_S
        size = sum(item.bytes for item in items)
        oldest = rfc3339(min(item.from_us for item in items))
        text = (
            f"{len(items)} files ({size / 1e6:.1f} MB, the oldest of {oldest}) were deleted here before they "
            "were copied: the store was away, or the limit is too low for what the cameras give; mend that, "
            "or let more wait with [objects].hold_gb"
        )
        detail: dict[str, float | str] = {"files": len(items), "bytes": size}
        self._tell("note", text, detail)

    def _tell(
        self,
        state: Literal["raised", "cleared", "note"],
        text: str,
        detail: dict[str, float | str] | None = None,
    ) -> None:
        data = Health(what=WHAT, state=state, message=text, detail=detail or {})
        try:
            self._journal.note(self._place.source, data, self._clock.wall_us())
        except StorageError as e:
            log.error("%s; not noted: %s", e, text)

    # -- status

    def status(self) -> ShippingStatus:
        """How it goes now."""
        now = self._clock.monotonic()
        if self._counts is None or now >= self._count_at:
            self._counts, self._count_at = self._spool.counts(), now + COUNT_S
        counts, item, now_us = self._counts, self._now, self._clock.wall_us()
        return ShippingStatus(
            pid=os.getpid(),
            state=self._state,
            problem=self._problem,
            waiting=counts.waiting,
            waiting_bytes=counts.waiting_bytes,
            oldest_us=counts.oldest_us,
            oldest_s=max(0.0, (now_us - counts.oldest_us) / 1e6) if counts.oldest_us else 0.0,
            now=item.key if item else "",
            now_bytes=item.bytes if item else 0,
            now_sent=self._bucket.taken - self._began if item else 0,
            limit_bytes_s=self._limit(),
            sent=self._sent,
            sent_bytes=self._bucket.taken,
            failures=self._failures,
            done=counts.done,
            done_bytes=counts.done_bytes,
            lost=counts.lost,
            lost_bytes=counts.lost_bytes,
            seen_us=now_us,
        )

    def _write_status(self, now: bool = False) -> None:
        if not now and self._clock.monotonic() < self._status_at:
            return
        self._status_at = self._clock.monotonic() + STATUS_S
        if now:
            self._count_at = 0.0
        try:
            write_status(self._place.status, self.status())
        except StorageError as e:
            log.warning("%s", e)


def _keys(item: Item, row: SegmentRow | None) -> list[str]:
    if row is None:
        return [item.key]
    trace = [f"{FOOTAGE}{row.trace_path}"] if row.trace_path else []
    return [item.key, *trace, papers_key(row.path)]

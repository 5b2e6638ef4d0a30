"""The projector: from the bus into the store, each event exactly once."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Protocol

from events.bus import Bus, Record, Subscription
from events.clock import Clock
from events.errors import EventRefused, LinliError, LogTruncated
from pipeline.service import Service
from storage.store import Projected

log = logging.getLogger(__name__)

GROUP = "projector"

AT_ONCE = 4000
"""Records of one poll at most: a transaction of the store for each log among them."""

COMMIT_S = 30.0
"""How often the bus is told how far a store of some families is, where nothing of them comes."""

AGAIN_S = 2.0
"""Pause before bus or store are tried again."""

Aside = Callable[[Record, LinliError], None]
"""Sets an event aside that the store cannot hold; durable when it returns. Raises LinliError."""


class Figures(Protocol):
    """Told what was done (`pipeline/projecting.py`)."""

    def wrote(self, topic: str, records: int, took_s: float, newest_us: int = 0) -> None:
        """A batch of a log is in the store."""

    def dead_letter(self, topic: str, reason: str) -> None:
        """A record was set aside."""

    def failed(self) -> None:
        """Bus or store failed, and is tried again."""

    def holds(self, partitions: int) -> None:
        """So many logs are read now."""


class Projector(Service):
    """Keeps the store up with the bus. At `stop` it projects what is on the bus then.

    The store's own offsets count, not the bus's: what the bus is told is for those who ask how far behind the
    store is, and so that nothing is pruned too early.

    Args:
        group: names the store on the bus: those with one name share the work of one store.
        families: of the events that the store takes; none: all.
        aside: None: an event that the store cannot hold is tried for ever.
        quiet_s: at `stop`, nothing came for so long: there is nothing. 0 where all is there at once.
        seen: told of records once they are in the store, with the wall clock before and after.
    """

    last = True

    def __init__(  # noqa: PLR0913 - what it works with (3), how (2), who is told (3)
        self,
        bus: Bus,
        store: Projected,
        clock: Clock,
        *,
        group: str = GROUP,
        families: Sequence[str] = (),
        quiet_s: float = 0.0,
        aside: Aside | None = None,
        figures: Figures | None = None,
        seen: Callable[[Sequence[Record], int, int], None] | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._group = group
        self._families = tuple(families)
        self._commit_at = 0.0
        self._quiet_s = quiet_s
        self._aside = aside
        self._figures = figures
        self._seen = seen
        self._set_aside = False
        self._dead = 0
        self.problem = "not begun yet"
        """Why the store is not kept up with the bus; empty while it is."""
        self.behind: dict[str, int] = {}
        """Of each log that is held, how many records are to come, as far as is known."""
        super().__init__("projector")

    def _run(self) -> None:
        subscription: Subscription | None = None
        lost = False  # where we stood: the store alone knows
        try:
            while True:
                stopping = self._stop.is_set()
                try:
                    if subscription is None:
                        subscription = self._bus.subscribe(
                            self._group, self._families, start=self._store.offset
                        )
                    elif lost:
                        rewind(subscription, self._store)
                    lost = False
                    got = self.step(subscription, self._quiet_s if stopping else 0.5)
                    self.problem = ""
                except LogTruncated as e:
                    self._truncated(e)
                    lost = True
                    continue
                except LinliError as e:
                    self._failed(e)
                    if stopping:
                        return
                    lost = True
                    self._stop.wait(AGAIN_S)
                    continue
                except Exception as e:  # or an error of the bus's client would end the projector
                    log.exception("the projector begins anew")
                    self.problem = f"{type(e).__name__}: {e}"
                    if stopping:
                        return
                    self._closed(subscription)
                    subscription = None
                    self._stop.wait(AGAIN_S)
                    continue
                if stopping and not got:
                    return
        finally:
            self._closed(subscription)

    @staticmethod
    def _closed(subscription: Subscription | None) -> None:
        if subscription is not None:
            with contextlib.suppress(Exception):  # it is given up in any case
                subscription.close()

    def step(self, subscription: Subscription, timeout_s: float) -> int:
        """Poll, apply, then commit on the bus; answers how many records were polled.

        Raises:
            LinliError: bus or store failed; `rewind` before the next step.
        """
        records = subscription.poll(timeout_s, AT_ONCE)
        for name, some in by_log(records):
            self._apply(name, some)
        if self._set_aside or getattr(subscription, "dead", 0) != self._dead:
            for name, at in subscription.position.items():
                self._store.stand(name, at)  # or what was set aside would come again at the next start
            self._set_aside, self._dead = False, getattr(subscription, "dead", 0)
        if records or (self._families and self._clock.monotonic() >= self._commit_at):
            subscription.commit(subscription.position)  # past what is of others, or it would be kept for ever
            self._commit_at = self._clock.monotonic() + COMMIT_S
        self._look(subscription)
        return len(records)

    def _apply(self, name: str, records: list[Record]) -> None:
        began, began_us = self._clock.monotonic(), self._clock.wall_us()
        while True:
            try:
                self._store.apply(name, records)
                break
            except EventRefused as e:
                refused = next((record for record in records if record.offset == e.offset), None)
                if self._aside is None or refused is None:
                    raise
                self._aside(refused, e)
                self._set_aside = True
                if self._figures is not None:
                    self._figures.dead_letter(topic_of(name), "refused")
                records = [record for record in records if record is not refused]
        if records and self._figures is not None:
            newest = max(record.event.time_us for record in records)
            self._figures.wrote(topic_of(name), len(records), self._clock.monotonic() - began, newest)
        if records and self._seen is not None:
            self._seen(records, began_us, self._clock.wall_us())

    def _look(self, subscription: Subscription) -> None:
        behind = getattr(subscription, "behind", None)
        if behind is not None:
            self.behind = behind()
        if self._figures is not None:
            self._figures.holds(len(subscription.position))

    def _truncated(self, error: LogTruncated) -> None:
        log.error("%s", error)
        try:
            self._store.stand(error.log, 0)
        except LinliError as e:
            self._failed(e)
            self._stop.wait(AGAIN_S)

    def _failed(self, error: LinliError) -> None:
        if str(error) != self.problem:  # not at each attempt
            log.error("the store cannot be kept up with the bus, trying again: %s", error)
        self.problem = str(error)
        if self._figures is not None:
            self._figures.failed()


def rewind(subscription: Subscription, store: Projected) -> None:
    """Read on from where the store stands in each log."""
    subscription.seek({name: store.offset(name) for name in subscription.position})


def catch_up(
    subscription: Subscription, store: Projected, *, timeout_s: float = 0.0, limit: int = 500
) -> int:
    """One bare step of projecting: poll, apply, then commit on the bus; answers how many records were polled.

    The subscription begins where the store stands: `subscribe(group, start=store.offset)`.

    Raises:
        LinliError: bus or store failed; `rewind` before the next step.
    """
    records = subscription.poll(timeout_s, limit)
    for name, some in by_log(records):
        store.apply(name, some)
    if records:
        subscription.commit(subscription.position)
    return len(records)


def by_log(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    """The records of each log together, in their order."""
    in_logs = sorted(records, key=lambda record: record.log)  # stable
    return [(name, list(some)) for name, some in groupby(in_logs, key=lambda record: record.log)]


def topic_of(name: str) -> str:
    """The topic of a log on Kafka, for figures; `journal` of the embedded bus."""
    return name.partition("/")[2].partition(":")[0] if name.startswith("kafka:") else "journal"

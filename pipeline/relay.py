"""The relay: from the journal to Kafka, in order, whatever fails.

It reads the events undecoded, makes records of them (`events/binding.py`) and sends them to the topics of
their families. Nothing counts as sent before the brokers have acknowledged it; the outbox is the journal, on
disk. A failure of any kind ends the producer, and a new one begins after the last acknowledged event of each
family: events may be on a topic twice then, with the same id and sequence, but never in another order.

A family whose topic is in trouble rests; the others go on. What the broker will never take (too large) is set
aside as a dead letter, and what follows goes on.
"""

import logging
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from events import binding
from events.binding import Message
from events.clock import Clock
from events.errors import BusAway, BusError, LinliError, MalformedEvent
from pipeline.outbox import GROUP, Letter, Outbox, relieve
from pipeline.relaycontract import RelaySettings, RelayStatus, Sender
from pipeline.relaynews import News
from pipeline.service import Service
from pipeline.telemetry import Arrived
from storage.journal import Journal, Raw
from storage.kafkaproducer import Failure, TopicsChanged

log = logging.getLogger(__name__)

__all__ = ["GROUP", "Relay", "RelaySettings", "RelayStatus", "Sender"]

CHECK_S = 3.0
"""How often the topics are looked at while something is sent; nothing is sent without."""

PATIENCE_S = 20.0
"""What was not acknowledged for so long is sent again by another producer."""

COMMIT_S = 1.0
STATUS_S = 2.0
MARK_S = 60.0
"""How often it is looked for another box with the same id."""

BOUND_S = 60.0
IDLE_S = 0.02
"""How often the journal is asked while nothing comes."""

LEAST, MOST = 2000, 20_000
"""Events that are under way at most: as many as were acknowledged in a second, between these. Where much
waits, batches grow with it."""

MOST_BYTES = 16 << 20
"""Bytes that are under way at most."""

RUSH = 1000
"""Events a second from which batches are made larger."""

PAGE = 1000
"""Events in one read of the journal."""

SMALL = 4096
"""Bytes that every topic takes."""

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits before the brokers are tried again, the last for ever."""

REST_S = 30.0
"""How long a family rests whose topic refused."""

DRAIN_S = 5.0
"""How long the end goes on, so that what was said last is sent; the rest is sent at the next start."""


class _Reopen(LinliError):
    """The producer has to be another one; nothing is wrong that was not told already."""


class Relay(Service):
    """See the module's text. At `stop` it sends what is in the journal then, for a moment.

    Args:
        connect: opens a sender to these topics.
        status: the file for `RelayStatus`; None: none is written.
        sent: told of events that have arrived (for traces).
    """

    last = True

    def __init__(
        self,
        journal: Journal,
        settings: RelaySettings,
        connect: Callable[[Sequence[str]], Sender],
        clock: Clock,
        status: Path | None = None,
        sent: Callable[[Sequence[Arrived]], None] | None = None,
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._connect = connect
        self._clock = clock
        self._status = status
        self._sent = sent
        self._news = News(journal, settings.source, settings.topics, clock)
        self._resting: dict[str, str] = {}
        self._rest_until: dict[str, float] = {}
        self._woken: dict[str, int] = {}
        """Families that have rested -> their position then."""
        self._connected = False
        self._bytes = self._sessions = self._letters = self._given_up = 0
        self._rate = 0.0
        self._marked = False
        self._due = dict.fromkeys(("check", "commit", "status", "rate", "bound"), 0.0)
        self._counted = (0.0, 0)
        super().__init__("relay")

    def _run(self) -> None:
        outbox: Outbox | None = None
        failures = 0
        while not self._stop.is_set():
            try:
                outbox = outbox or Outbox(self._journal, list(self._settings.topics))
                arrived = outbox.arrived
                self._session(outbox)
            except _Reopen as e:
                log.info("relay: %s", e)
                failures = 0
            except TopicsChanged as e:
                log.warning("relay: %s", e)
                failures = 0
            except LinliError as e:
                log.warning("relay: %s", e)
                failures = 1 if outbox and outbox.arrived > arrived else failures + 1
                if failures > 1 or not self._connected:
                    self._news.bus(str(e))
            except Exception:  # or an error of the library's would end the relay
                log.exception("relay: begins anew")
                failures += 1
            self._connected = False
            self._upkeep(outbox)
            if not self._stop.is_set():
                self._stop.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])

    def _session(self, outbox: Outbox) -> None:
        """One producer's life: until a failure, or the end.

        Raises:
            LinliError: it could not be opened, or why it ended.
        """
        self._connected = False
        sender = self._connect(list(self._settings.topics.values()))
        try:
            self._opened(outbox, sender)
            while not self._stop.is_set():
                self._step(outbox, sender)
            until, goal = self._clock.monotonic() + DRAIN_S, self._journal.last_offset()
            while not self._all_sent(outbox, goal) and self._clock.monotonic() < until:
                self._step(outbox, sender)
        finally:
            sender.close()
            self._collect(outbox)
            outbox.again()

    @staticmethod
    def _all_sent(outbox: Outbox, goal: int) -> bool:
        """All up to this offset has arrived, but for families that rest."""
        return all(at >= goal for f, at in outbox.positions.items() if f not in outbox.resting)

    def _opened(self, outbox: Outbox, sender: Sender) -> None:
        names, now = self._settings.topics, self._clock.monotonic()
        self._sessions += 1
        refused = {f: why for f, why in self._resting.items() if self._rest_until.get(f, 0.0) > now}
        self._resting = refused | {f: sender.missing[n] for f, n in names.items() if n in sender.missing}
        outbox.rest(self._resting)
        ids = {f: sender.topics[n].id for f, n in names.items() if n in sender.topics}
        if lost := outbox.restart(ids):
            self._news.lost(lost)
        self._connected = True
        self._news.bus("")
        self._news.topics(self._resting)
        self._due |= {"check": now + CHECK_S, "rate": now + 1.0, "mark": now}
        self._marked = False
        self._counted = (now, outbox.arrived)

    def _step(self, outbox: Outbox, sender: Sender) -> None:
        """Look what has arrived, send what there is room for, wait a moment if there was nothing."""
        self._collect(outbox)
        if sender.failure is not None:
            self._failed(outbox, sender, sender.failure)
        now = self._clock.monotonic()
        if (outbox.in_flight or self._resting) and now >= self._due["check"]:
            self._check(outbox, sender, now)
        if now >= self._due["rate"]:
            self._count(outbox, now)
            sender.rush(self._rate > RUSH)
        if now >= self._due["mark"]:
            self._mark(sender, now)
        self._upkeep(outbox)
        self._wake(outbox, now)
        limit = int(min(max(self._rate, LEAST), MOST))
        room = limit - outbox.in_flight if outbox.bytes_in_flight < MOST_BYTES else 0
        read = False
        if room >= min(PAGE, limit // 2):
            for row in outbox.take(min(room, PAGE)):
                now = self._clock.monotonic()
                if now >= self._due["check"]:
                    self._check(outbox, sender, now)
                self._hand(outbox, sender, row, now)
            read = outbox.moved
        if not read:
            self._stop.wait(0.003 if outbox.in_flight > limit // 2 else IDLE_S)

    def _hand(self, outbox: Outbox, sender: Sender, row: Raw, now: float) -> None:
        topic = self._settings.topics[row.family]
        try:
            message = binding.message(row.body)
        except MalformedEvent as e:
            self._set_aside(outbox, sender, row, None, str(e))
            return
        _, key, value, headers = message
        if len(row.body) > SMALL and not sender.fits(topic, key, value, headers):
            most = sender.topics[topic].max_bytes
            why = f"larger than the {most} bytes that the topic {topic} takes (max.message.bytes)"
            self._set_aside(outbox, sender, row, message, why)
            return
        ticket = sender.send(row, topic, key, value, headers)
        told = Arrived(row.offset, topic, message, self._clock.wall_us()) if self._sent is not None else None
        outbox.handed(row, ticket, now, told)
        self._bytes += len(row.body)

    def _set_aside(self, outbox: Outbox, sender: Sender, row: Raw, message: Message | None, why: str) -> None:
        """The event is not sent; a dead letter, the journal's state and a health event say so."""
        where = "`linli dlq list` shows it, `linli dlq retry` sends it"
        id_ = ""
        if message is not None:
            id_ = dict(message.headers)["ce_id"].decode()
            topic = self._settings.topics[row.family]
            sender.check()  # brokers that are away are waited for; a missing topic of letters is not
            try:
                sender.set_aside(message, topic, self._journal.id, row.offset, why)
            except BusError as e:
                where = f"there is no dead letter ({e})"
        letter = Letter(family=row.family, id=id_, reason=why, bytes=len(row.body))
        outbox.dead(row.offset, letter)
        self._letters += 1
        self._news.letter(row.offset, letter, where)

    def _collect(self, outbox: Outbox) -> None:
        told: list[Arrived] = []
        last = outbox.collect(told)
        if last is not None:
            self._news.clock(last.ticket, last.at)
        if told and self._sent is not None:
            self._sent(told)

    def _failed(self, outbox: Outbox, sender: Sender, failure: Failure) -> None:
        """The producer has ended.

        Raises:
            LinliError: always; _Reopen if what is to be done about it is done.
        """
        row = failure.mark
        if not isinstance(row, Raw):
            raise failure.told
        if failure.too_large:
            message = binding.message(row.body)
            why = f"the topic {failure.topic} refused it as too large (max.message.bytes)"
            self._set_aside(outbox, sender, row, message, why)
            raise _Reopen(f"event {row.offset} is too large for {failure.topic}")
        if failure.of_topic:
            self._let_rest(row.family, str(failure.told))
        raise failure.told

    def _let_rest(self, family: str, why: str) -> None:
        """Raises _Reopen: without the family."""
        self._resting[family] = why
        self._rest_until[family] = self._clock.monotonic() + REST_S
        raise _Reopen(f"family {family} rests: {why}")

    def _check(self, outbox: Outbox, sender: Sender, now: float) -> None:
        sender.check()
        self._due["check"] = now + CHECK_S
        late = [family for family, at in outbox.oldest().items() if now - at > PATIENCE_S]
        if not late:
            return
        text = (
            f"the brokers answer, but have acknowledged nothing for {PATIENCE_S:.0f} s: a partition without "
            "a leader, too few replicas in sync, or an overload; look at the brokers' log"
        )
        if self._rate and len(late) < len(outbox.oldest()):
            self._let_rest(late[0], f"{self._settings.topics[late[0]]}: {text}")
        raise BusAway(f"Kafka: {text}")

    def _wake(self, outbox: Outbox, now: float) -> None:
        """Families that have rested long enough are sent again."""
        for family, until in list(self._rest_until.items()):
            if now >= until:
                del self._rest_until[family]
                self._woken[family] = outbox.positions[family]
                outbox.wake(family)

    def _mark(self, sender: Sender, now: float) -> None:
        """Is there another box with this one's id? Both leave their mark, and find the other's there."""
        self._due["mark"] = now + MARK_S
        box = self._settings.source.rsplit("/", 1)[1]
        own = f"{self._journal.id} {os.uname().nodename}"
        try:
            found = sender.mark(box, own)
        except BusAway as e:
            log.debug("relay: %s", e)
            return
        except BusError as e:
            self._due["mark"] = math.inf  # until the next session
            log.info("relay: whether another box has this one's id cannot be told: %s", e)
            return
        if self._marked:  # what was there at the beginning may be of a box that this one replaces
            self._news.twin(box, own, found)
        self._marked = True

    def _count(self, outbox: Outbox, now: float) -> None:
        since, arrived = self._counted
        self._rate = (outbox.arrived - arrived) / (now - since) if now > since else 0.0
        self._counted = (now, outbox.arrived)
        self._due["rate"] = now + 1.0
        for family, position in list(self._woken.items()):
            if outbox.positions[family] > position:
                del self._woken[family]
                self._resting.pop(family, None)
                self._news.topics(self._resting)

    def _upkeep(self, outbox: Outbox | None) -> None:
        """What is done every few seconds, connected or not."""
        now = self._clock.monotonic()
        if outbox is None:
            return
        try:
            if now >= self._due["commit"] or self._stop.is_set():
                self._due["commit"] = now + COMMIT_S
                outbox.commit()
            if now >= self._due["bound"]:
                self._due["bound"] = now + BOUND_S
                self._relieve()
            if now >= self._due["status"] or self._stop.is_set():
                self._due["status"] = now + STATUS_S
                self._write(outbox)
        except (LinliError, OSError) as e:
            log.error("relay: %s", e)

    def _relieve(self) -> None:
        """At the journal's bound the oldest go of those that are there for the relay alone."""
        before_us = self._clock.wall_us() - int(self._settings.keep_s * 1e6)
        if gone := relieve(self._journal, self._settings.bound_bytes, before_us):
            self._given_up += len(gone)
            self._news.given_up(gone)

    def _write(self, outbox: Outbox) -> None:
        if self._status is None:
            return
        new = self._status.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(self.status(outbox)))
        new.replace(self._status)

    def status(self, outbox: Outbox) -> RelayStatus:
        """How it stands."""
        last, position = self._journal.last_offset(), outbox.position
        since = self._journal.waiting_since(position) if position < last else None
        return RelayStatus(
            connected=self._connected,
            problem=self._news.problem,
            resting=dict(self._resting),
            offset=last,
            acknowledged_offset=position,
            lag_events=max(last - position, 0),
            lag_s=round(max(self._clock.wall_us() - since, 0) / 1e6, 3) if since is not None else 0.0,
            in_flight=outbox.in_flight,
            sent=outbox.sent,
            acknowledged=outbox.arrived,
            repeats=outbox.repeats,
            bytes=self._bytes,
            sessions=self._sessions,
            letters=self._letters,
            given_up=self._given_up,
            rate=round(self._rate, 1),
            clock_s=round(self._news.clock_s, 3),
        )

"""`linli tail` over Kafka. Needs Kafka's client, which a box without brokers need not have."""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import click

from cli.watching import Wanted
from events import codec
from events.bus import Record
from events.clock import Clock
from events.errors import BusError, UnreadableEvent
from events.topics import FAMILIES
from storage.brokers import Brokers
from storage.kafkabus import KafkaBus, KafkaSubscription
from storage.kafkacontact import Contact
from storage.kafkareader import KafkaReader, rewind

POLL_S = 0.5
AGAIN_S = 2.0
ALONE_S = 20.0
"""A reader of a group that got no partition for so long: others have them all."""


class _Source(Protocol):
    contact: Contact

    def poll(self, timeout_s: float = 0.0, limit: int = 500) -> Sequence[Record]: ...

    def done(self) -> None:
        """What was given is printed."""

    @property
    def at_end(self) -> bool: ...

    def close(self) -> None: ...


class _Alone(KafkaReader):
    def done(self) -> None:
        """Nothing is kept of it."""


class _OfGroup:
    """A named reader, which goes on where it left off."""

    def __init__(self, subscription: KafkaSubscription, clock: Clock) -> None:
        self._subscription = subscription
        self._clock = clock
        self._since = clock.monotonic()
        self._committed: dict[str, int] = {}
        self.poll = subscription.poll
        self.close = subscription.close
        self.contact = subscription.contact

    def done(self) -> None:
        position = dict(self._subscription.position)
        new = {name: at for name, at in position.items() if at and self._committed.get(name) != at}
        if new:
            self._subscription.commit(new)
            self._committed.update(new)

    @property
    def at_end(self) -> bool:
        position: Mapping[str, int] = self._subscription.position
        if not position:
            return self._clock.monotonic() - self._since > ALONE_S
        behind = self._subscription.behind()
        return behind.keys() == position.keys() and not any(behind.values())


def tail(brokers: Brokers, clock: Clock, wanted: Wanted, stop: threading.Event) -> None:
    """Print events until all that is there is printed, or, with `follow`, until `stop` is set.

    Raises:
        BusError: the brokers refuse; or, without `follow`, they do not answer.
    """
    families = wanted.families or FAMILIES
    if wanted.group and wanted.since is not None:
        _patiently(lambda: rewind(brokers, wanted.group or "", families, wanted.since or 0), stop, wanted)

    def opened() -> _Source:
        if wanted.group:
            subscription = KafkaBus(brokers, clock, _unreadable).subscribe(wanted.group, families)
            return _OfGroup(subscription, clock)
        return _Alone(brokers, clock, families, wanted.since, _unreadable)

    source = _patiently(opened, stop, wanted)
    away = False
    try:
        while not stop.is_set():
            try:
                records = source.poll(POLL_S)
                if away and source.contact.there:
                    click.echo("Kafka's brokers answer again", err=True)
                    away = False
                _print(records, wanted.camera)
                source.done()
                if not records and not wanted.follow and source.at_end:
                    return
            except BusError as e:
                away = _bear(e, away, wanted)
                stop.wait(AGAIN_S)
    finally:
        source.close()


def _patiently(attempt: Callable[[], Any], stop: threading.Event, wanted: Wanted) -> Any:
    """Try until it can be done, if what is to come is to be followed."""
    away = False
    while True:
        try:
            return attempt()
        except BusError as e:
            away = _bear(e, away, wanted)
            if stop.wait(AGAIN_S):
                raise KeyboardInterrupt from None


def _bear(error: BusError, away: bool, wanted: Wanted) -> bool:
    """Say once that the brokers are away, and go on; what a person has to mend ends it."""
    if not (wanted.follow and error.retriable):
        raise error
    if not away:
        click.echo(f"{error}; waiting for them", err=True)
    return True


def _print(records: Sequence[Record], camera: str | None) -> None:
    for record in records:
        if camera is None or record.event.key == camera:
            sys.stdout.write(codec.encode(record.event).decode() + "\n")
    if records:
        sys.stdout.flush()


def _unreadable(raw: Any, error: UnreadableEvent) -> None:
    click.echo(f"{raw.topic}/{raw.partition} at {raw.offset}: {error}", err=True)

"""What the tests of the relay share: topics, events to send, the comparison of topics with the journal."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition

from events.binding import event_of
from events.clock import Clock, SystemClock
from events.events import AnyPayload, Event, Health, Reading
from events.ids import event_id
from events.topics import topics
from pipeline.relay import Relay, RelaySettings, Sender
from storage.brokers import Brokers
from storage.deadletters import DeadLetters
from storage.journal import Journal
from storage.kafkaproducer import KafkaSender
from storage.kafkatopics import apply
from testbed.happenings import Street

BOX = "/site/box/test"
FAMILIES = ("count", "alert", "health", "sensor")
EPOCH = 1_700_000_000_000_000

Key = tuple[str, str, int]
"""Source, family, epoch: what is in order."""


def make_topics(
    arguments: Mapping[str, Any],
    prefix: str,
    families: Sequence[str] = FAMILIES,
    max_message_bytes: int | None = None,
) -> dict[str, str]:
    """Family -> topic, made as declared, but for the bound on messages where it is given."""
    wanted = [topic for topic in topics(prefix.rstrip(".")) if topic.what in families]
    if max_message_bytes is not None:
        wanted = [msgspec.structs.replace(topic, max_message_bytes=max_message_bytes) for topic in wanted]
    left = apply(
        Brokers(bootstrap=tuple(arguments["bootstrap_servers"]), prefix=prefix), wanted, replication=1
    )
    assert not left, left
    return {topic.what: topic.name for topic in wanted}


def names_of(prefix: str, families: Sequence[str] = FAMILIES) -> dict[str, str]:
    """Family -> topic."""
    return {topic.what: topic.name for topic in topics(prefix.rstrip(".")) if topic.what in families}


class Source:
    """Cameras and sensors of a street that go on telling."""

    def __init__(self, seed: int | str, cameras: int = 12, sensors: int = 6) -> None:
        self._chance = random.Random(str(seed))
        self._streets = [Street("site", f"cam{n}", EPOCH, seed) for n in range(cameras)]
        self._sensors = [f"/site/sensor/s{n}" for n in range(sensors)]
        self._readings = dict.fromkeys(self._sensors, 0)

    def events(self, count: int) -> list[Event]:
        """The next ones, of all of them mixed."""
        found: list[Event] = []
        while len(found) < count:
            if self._chance.random() < 0.7:
                found += self._chance.choice(self._streets).events(self._chance.randint(1, 5))
            else:
                found += [self._reading() for _ in range(self._chance.randint(1, 5))]
        return found

    def _reading(self) -> Event:
        source = self._chance.choice(self._sensors)
        sequence = self._readings[source]
        self._readings[source] += 1
        data = Reading(quantity="level", value=self._chance.random(), unit="m", received_us=EPOCH + sequence)
        return event(source, "sensor", sequence, data)


def event(source: str, family: str, sequence: int, data: AnyPayload) -> Event:
    """One with a derived id."""
    return Event(
        id=event_id(source, family, EPOCH, sequence),
        source=source,
        time_us=EPOCH + sequence * 1_000_000,
        epoch=EPOCH,
        sequence=sequence,
        data=data,
    )


def large(source: str, sequence: int, size: int) -> Event:
    """A health event that cannot be compressed to less than about three quarters of `size`."""
    text = random.Random(size).randbytes(size // 2).hex()
    return event(source, "health", sequence, Health(what="disk", state="note", message=text))


def opened(bootstrap: str, **more: Any) -> Callable[[Sequence[str]], Sender]:
    """How a relay reaches the broker."""
    prefix = str(more.pop("prefix", "linli")).rstrip(".")
    brokers = Brokers(bootstrap=(bootstrap,), prefix=prefix, **more)
    letters = DeadLetters(brokers, SystemClock(), BOX)
    return lambda names: KafkaSender(brokers, names, letters)


def relay(
    journal: Journal,
    connect: Callable[[Sequence[str]], Sender],
    names: Mapping[str, str],
    *,
    clock: Clock | None = None,
    status: Path | None = None,
) -> Relay:
    """A relay, not started."""
    settings = RelaySettings(topics=names, source=BOX)
    return Relay(journal, settings, connect, clock or SystemClock(), status)


@contextmanager
def running(one: Relay) -> Iterator[Relay]:
    """Between start and stop."""
    one.start()
    try:
        yield one
    finally:
        one.stop()
        assert not one.alive


def until(what: Callable[[], object], within_s: float = 60.0) -> None:
    """Wait for it."""
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.05)


def all_sent(journal: Journal) -> bool:
    """The relay has acknowledgements for all that the journal was given."""
    journal.flush()
    return journal.committed("relay") == journal.last_offset()


def health(journal: Journal) -> list[tuple[str, str, str]]:
    """What the relay said of itself: what, state, message."""
    said = [record.event for record in journal.read(0, 1_000_000, ("health",)) if record.event.source == BOX]
    return [(e.data.what, e.data.state, e.data.message) for e in said if isinstance(e.data, Health)]


class OnTopics:
    """All records of the topics, those of a partition in order."""

    def __init__(self, arguments: Mapping[str, Any], names: Mapping[str, str]) -> None:
        consumer = KafkaConsumer(
            **arguments, enable_auto_commit=False, auto_offset_reset="earliest", consumer_timeout_ms=10_000
        )
        self.events: list[Event] = []
        try:
            parts = [
                TopicPartition(name, part)
                for name in names.values()
                for part in consumer.partitions_for_topic(name) or ()
            ]
            consumer.assign(parts)
            consumer.seek_to_beginning()
            ends = consumer.end_offsets(parts)
            while any(consumer.position(part) < end for part, end in ends.items()):
                for records in consumer.poll(2000, max_records=10_000).values():
                    self.events += [event_of(r.key, r.value, r.headers) for r in records]
        finally:
            consumer.close()

    def agree(self, journal: Journal, families: Sequence[str] = FAMILIES, what: str = "") -> None:
        """Everything of the journal is there, equal, and appears for the first time in order; prints the
        comparison."""
        wanted = {
            (e.source, e.family, e.epoch, e.sequence): e
            for e in (record.event for record in journal.read(0, 10_000_000, families))
        }
        following: dict[Key, int] = {}
        repeats = 0
        for e in self.events:
            key = e.source, e.family, e.epoch
            sequence = following.get(key, 0)
            assert e == wanted[*key, e.sequence], "a record differs from the journal's event"
            assert e.sequence <= sequence, f"{key}: {e.sequence} came before {sequence}"
            if e.sequence == sequence:
                following[key] = sequence + 1
            else:
                repeats += 1
        missing = [key for key in wanted if key[3] >= following.get(key[:3], 0)]
        print(
            f"{what}: {len(wanted)} events in the journal, {len(self.events)} records on the topics, "
            f"{repeats} of them repeats, {len(missing)} missing, {len(following)} sequences in order"
        )
        assert not missing, missing[:5]

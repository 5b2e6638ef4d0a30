"""The bus on a real Kafka passes the bus contract."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from events import codec
from events.binding import message
from events.bus import Bus, Record
from events.clock import SystemClock
from events.errors import BusError
from events.events import Event
from events.topics import topic_name
from storage.brokers import Brokers
from storage.kafka import arguments
from storage.kafkabus import KafkaBus
from testbed.kafka import Kafka
from tests.contracts.bus import CRASHES, BusContract, Crash, Log, crash_anywhere, take
from tests.contracts.examples import crossing
from tests.relayworks import make_topics

FAMILIES = ("count", "alert", "health")
"""Those that the suite's events are of."""


class KafkaLog:
    quiet_s = 2.0
    bus: Bus

    def __init__(self, brokers: Brokers) -> None:
        self.brokers = brokers
        self.restart()
        self._producer: Any = KafkaProducer(**arguments(brokers), acks="all", linger_ms=0)

    def publish(self, events: list[Event]) -> None:
        for event in events:
            m = message(codec.encode(event))
            self._producer.send(topic_name(self.brokers.prefix, m.family), m.value, m.key, m.headers)
        self._producer.flush(30)

    def restart(self) -> None:
        self.bus = KafkaBus(self.brokers, SystemClock(), families=FAMILIES)

    def close(self) -> None:
        self._producer.close(timeout=5)


@pytest.fixture
def brokers(kafka: Kafka, topic_prefix: str) -> Brokers:
    """A broker with the topics of all families."""
    prefix = topic_prefix.rstrip(".")
    found = Brokers(bootstrap=(kafka.bootstrap,), prefix=prefix)
    make_topics(arguments(found), prefix, FAMILIES)
    return found


class TestKafkaBus(BusContract):
    @pytest.fixture
    def log(self, brokers: Brokers) -> Iterator[Log]:
        log = KafkaLog(brokers)
        yield log
        log.close()

    @given(CRASHES)
    @settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_crash_anywhere_gives_each_event_at_least_once_in_order(self, log: Log, crash: Crash) -> None:
        """As often as there is time for: each crash is a rebalance."""
        crash_anywhere(log, crash)


def test_what_others_packed_in_their_way_is_read(brokers: Brokers) -> None:
    for n, way in enumerate(("gzip", "snappy", "lz4", "zstd")):
        producer = KafkaProducer(**arguments(brokers), acks="all", compression_type=way)
        m = message(codec.encode(crossing(n)))
        producer.send(topic_name(brokers.prefix, m.family), m.value, m.key, m.headers)
        producer.flush(30)
        producer.close(timeout=5)
    sub = KafkaBus(brokers, SystemClock(), families=FAMILIES).subscribe("g")
    assert [record.event.sequence for record in take(sub, 4)] == [0, 1, 2, 3]
    sub.close()


def test_what_was_fetched_of_a_topic_that_is_made_anew_is_not_of_the_new_one(brokers: Brokers) -> None:
    log = KafkaLog(brokers)
    log.publish([crossing(n) for n in range(5)])
    sub = log.bus.subscribe("g", ("count",))
    first = take(sub, 2, limit=2)  # the rest is fetched and waits
    name = topic_name(brokers.prefix, "count")
    admin = KafkaAdminClient(**arguments(brokers))
    admin.delete_topics([name])
    make_topics(arguments(brokers), brokers.prefix, ("count",))
    admin.close()
    log.close()
    log = KafkaLog(brokers)
    log.publish([crossing(n) for n in range(3)])
    seen: list[Record] = []
    until = time.monotonic() + 60
    while len([r for r in seen if r.log != first[0].log]) < 3:
        assert time.monotonic() < until, "the new topic is read"
        with contextlib.suppress(BusError):
            seen += sub.poll(1.0, 2)
    new = [(r.offset, r.event.sequence) for r in seen if r.log != first[0].log]
    assert new == [(1, 0), (2, 1), (3, 2)]
    sub.close()
    log.close()

"""Events on a real Kafka, as the ordinary command line client shows and writes them."""

import json
import shutil
import subprocess
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from events import binding, codec
from events.events import Event
from storage.brokers import Brokers
from storage.kafka import arguments
from testbed.kafka import Kafka
from testbed.process import ServerMissing
from tests.relayworks import make_topics
from tests.sampled import engines
from tests.servers import need

PARTITIONS = 12
FEW = list({event.key: event for event in engines()}.values())
"""An event of each key."""


@pytest.fixture
def topic(kafka: Kafka, topic_prefix: str) -> str:
    if shutil.which("kcat") is None:
        need(ServerMissing("kcat is missing: apt-get install kcat"))
    prefix = topic_prefix.rstrip(".")
    return make_topics(at(kafka), prefix, ["count"])["count"]


def at(kafka: Kafka) -> dict[str, Any]:
    return arguments(Brokers(bootstrap=(kafka.bootstrap,), prefix="linli"))


def kcat(kafka: Kafka, *args: str, given: bytes = b"") -> bytes:
    command = ["kcat", "-b", kafka.bootstrap, *args]
    return subprocess.run(command, input=given, capture_output=True, check=True, timeout=60).stdout


def send(kafka: Kafka, topic: str, events: list[Event]) -> None:
    """With Kafka's default partitioner."""
    producer: Any = KafkaProducer(**at(kafka), acks="all")
    for event in events:
        m = binding.message(codec.encode(event))
        producer.send(topic, m.value, m.key, m.headers)
    producer.flush(30)
    producer.close()


def test_kcat_shows_readable_events(kafka: Kafka, topic: str) -> None:
    send(kafka, topic, engines())
    lines = kcat(kafka, "-C", "-t", topic, "-e", "-q", "-f", "%k\t%h\t%s\n").decode().splitlines()
    shown = {}
    for line in lines:
        key, headers, value = line.split("\t")
        attributes = dict(pair.split("=", 1) for pair in headers.split(","))
        shown[attributes["ce_id"]] = (key, attributes, json.loads(value))
    assert set(shown) == {event.id for event in engines()}
    for event in engines():
        key, attributes, payload = shown[event.id]
        assert key == attributes["ce_partitionkey"] == event.key
        assert attributes["ce_type"] == payload["type"] == event.type
        assert attributes["content-type"] == "application/json"
        assert payload == json.loads(codec.encode_data(event.data))


def test_what_kcat_writes_is_read_and_lies_beside_what_we_write(kafka: Kafka, topic: str) -> None:
    """librdkafka puts a key where Kafka's own partitioner does, once it is told to."""
    send(kafka, topic, FEW)
    for event in FEW:
        m = binding.message(codec.encode(event))
        headers = [word for name, value in m.headers for word in ("-H", f"{name}={value.decode()}")]
        partitioner = ["-X", "topic.partitioner=murmur2_random"]
        key = ["-k", m.key.decode()]
        kcat(kafka, "-P", "-t", topic, *partitioner, *key, *headers, given=m.value)
    found = read(kafka, topic, 2 * len(FEW))
    assert {id_: len(partitions) for id_, partitions in found.items()} == {e.id: 2 for e in FEW}
    for id_, partitions in found.items():
        assert len(set(partitions)) == 1, id_


def read(kafka: Kafka, topic: str, count: int) -> dict[str, list[int]]:
    """Event ids, each with the partitions in which it lies; every record is one of our events."""
    consumer: Any = KafkaConsumer(**at(kafka), auto_offset_reset="earliest", consumer_timeout_ms=10_000)
    consumer.assign([TopicPartition(topic, n) for n in range(PARTITIONS)])
    sent = {event.id: event for event in FEW}
    found: dict[str, list[int]] = {}
    for record in consumer:
        event = binding.event_of(record.key, record.value, record.headers)
        assert event == sent[event.id]
        found.setdefault(event.id, []).append(record.partition)
        count -= 1
        if not count:
            break
    consumer.close()
    return found

"""Claims in a real topic: tokens grow, and tell whether another box was there meanwhile."""

from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from events.errors import BusError
from pipeline.claiming import Claims
from storage.brokers import Brokers
from testbed.kafka import Kafka
from testbed.process import free_port
from tests.boxes import make_topics

Made = tuple[Claims, Claims, str]


@pytest.fixture
def books(kafka: Kafka, topic_prefix: str) -> Iterator[Made]:
    """The claims of two boxes, and the prefix."""
    prefix = topic_prefix.rstrip(".")
    make_topics(kafka, prefix, 2)
    brokers = Brokers(bootstrap=(kafka.bootstrap,), prefix=prefix)
    made = Claims(brokers, f"{prefix}.claims"), Claims(brokers, f"{prefix}.claims")
    yield *made, prefix
    for one in made:
        one.close()


def test_every_claim_has_a_larger_token_than_all_before(books: Made) -> None:
    east, west, _ = books
    first = east.take("east", 0, ["gate", "yard"], 1)
    then = west.take("west", 0, ["gate", "yard"], 1)
    again = east.take("east", 0, ["gate"], 1)
    assert first == {"gate": 1, "yard": 2}
    assert then == {"gate": 3, "yard": 4}
    assert again == {"gate": 5}


def test_what_another_claimed_meanwhile_is_told(books: Made) -> None:
    east, west, _ = books
    tokens = east.take("east", 0, ["gate", "yard"], 1)
    assert east.others("east", tokens) == set()
    newer = west.take("west", 0, ["yard"], 2)
    assert east.others("east", tokens) == {"yard"}
    assert west.others("west", newer) == set()


def test_our_own_later_claim_takes_nothing_from_us(books: Made) -> None:
    east, _, _ = books
    tokens = east.take("east", 0, ["gate"], 1)
    east.take("east", 0, ["gate"], 2)
    assert east.others("east", tokens) == set()


def test_garbage_in_the_topic_takes_nothing(books: Made, kafka: Kafka) -> None:
    east, _, prefix = books
    tokens = east.take("east", 0, ["gate"], 1)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    for value in (b"\x00\xff", b"{}", b'{"camera": 7}', None):
        producer.send(f"{prefix}.claims", key=b"gate", value=value).get(5)
    producer.close()
    assert east.others("east", tokens) == set()


def test_without_brokers_nothing_is_claimed() -> None:
    port = free_port()
    away = Claims(Brokers(bootstrap=(f"127.0.0.1:{port}",), prefix="x"), "x.claims")
    with pytest.raises(BusError, match=f"127.0.0.1:{port} cannot be reached"):
        away.take("east", 0, ["gate"], 1)

"""Dead letters on a real Kafka: the record as it was, why, where it was; sent again it is none any more."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from events import codec
from events.binding import message
from events.bus import Record
from events.clock import ManualClock, SystemClock
from events.errors import BusError, EventRefused, MalformedEvent, UnknownEvent
from events.events import Event
from events.topics import DLQ, topic_name
from storage.brokers import Brokers
from storage.deadletters import LONGEST, DeadLetters
from storage.kafka import arguments
from storage.kafkabus import KafkaBus
from testbed.happenings import Street
from testbed.kafka import Kafka
from tests.contracts.bus import take
from tests.relayworks import make_topics

EPOCH = 1_700_000_000_000_000


class Raw(NamedTuple):
    """A record as kafka-python gives it, as far as letters look at it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@pytest.fixture
def brokers(kafka: Kafka, topic_prefix: str) -> Brokers:
    found = Brokers(bootstrap=(kafka.bootstrap,), prefix=topic_prefix.rstrip("."))
    make_topics(arguments(found), found.prefix, ("count", "alert", "health", DLQ))
    return found


@pytest.fixture
def letters(brokers: Brokers) -> Iterator[DeadLetters]:
    with DeadLetters(brokers, SystemClock(), "a test") as opened:
        yield opened


def crossing() -> Event:
    return next(e for e in Street("town", "c", EPOCH).events(50) if e.type == "linli.count.crossing.v1")


def raw(brokers: Brokers, event: Event, offset: int = 7) -> Raw:
    m = message(codec.encode(event))
    return Raw(topic_name(brokers.prefix, "count"), 3, offset, m.key, m.value, m.headers)


def test_a_letter_is_the_record_as_it_was_and_says_why(brokers: Brokers, letters: DeadLetters) -> None:
    record = raw(brokers, crossing())
    letters.keep(record, UnknownEvent("a newer Linli wrote it; upgrade"))
    (letter,) = letters.letters()
    assert (letter.key, letter.value, list(letter.headers)) == (record.key, record.value, record.headers)
    assert letter.id == f"{brokers.prefix}.count/3/7"
    assert (letter.error, letter.reason, letter.by) == (
        "UnknownEvent",
        "a newer Linli wrote it; upgrade",
        "a test",
    )
    assert letter.type == "linli.count.crossing.v1"
    assert letter.topic == f"{brokers.prefix}.count"


def test_a_record_that_is_set_aside_twice_is_one_letter(brokers: Brokers, letters: DeadLetters) -> None:
    """As after a kill between the letter and the offset."""
    for reason in ("first", "second"):
        letters.keep(raw(brokers, crossing()), MalformedEvent(reason))
    letters.keep(raw(brokers, crossing(), offset=8), MalformedEvent("another"))
    assert [letter.reason for letter in letters.letters()] == ["second", "another"]


@pytest.mark.parametrize(("key", "value"), [(None, None), (b"", b""), (None, b"\xff\x00"), (b"k", None)])
def test_whatever_a_record_holds_it_can_be_set_aside(
    brokers: Brokers, letters: DeadLetters, key: bytes | None, value: bytes | None
) -> None:
    odd = [("ce_id", None), ("dlq_topic", b"forged"), ("ce_id", b"twice")]
    letters.keep(Raw(f"{brokers.prefix}.alert", 0, 0, key, value, odd), MalformedEvent("x" * 5000))
    (letter,) = letters.letters()
    assert letter.id == f"{brokers.prefix}.alert/0/0", "a header of the record's own forges nothing"
    assert len(letter.reason) == LONGEST
    assert letter.headers == (("ce_id", b""), ("ce_id", b"twice"))


def test_what_is_sent_again_is_on_its_topic_and_no_letter(brokers: Brokers, letters: DeadLetters) -> None:
    event = crossing()
    letters.keep(raw(brokers, event), UnknownEvent("newer"))
    sub = KafkaBus(brokers, SystemClock(), families=("count",)).subscribe("g")
    sent: list[int] = []
    letters.retry(letters.letters(), sent.append)
    assert sent == [1]
    assert letters.letters() == []
    assert [record.event for record in take(sub, 1)] == [event]
    sub.close()
    letters.keep(raw(brokers, event), UnknownEvent("still newer"))
    assert [letter.reason for letter in letters.letters()] == ["still newer"], "it failed again"


def test_an_event_that_the_store_refuses_is_set_aside_as_it_came(
    brokers: Brokers, letters: DeadLetters
) -> None:
    event = crossing()
    name = f"kafka:cluster/{brokers.prefix}.count:topic-id/5"
    letters.refused(Record(42, event, name), EventRefused("the store cannot hold it", name, 42))
    (letter,) = letters.letters()
    assert letter.id == f"{brokers.prefix}.count/5/41", "Kafka's own offset"
    assert letter.value == message(codec.encode(event)).value
    assert letter.error == "EventRefused"


def test_letters_without_their_topic_are_told(kafka: Kafka, topic_prefix: str) -> None:
    brokers = Brokers(bootstrap=(kafka.bootstrap,), prefix=topic_prefix.rstrip("."))
    with (
        DeadLetters(brokers, ManualClock(), "a test") as letters,
        pytest.raises(BusError, match="topics apply"),
    ):
        letters.letters()

"""Sending to Kafka in order: one producer, from its opening to its first failure.

kafka-python's idempotent producer has one batch of a partition under way at a time. While the broker cannot
take it, it is tried again, and what follows waits. When it fails for good, the library would go on with the
next batch: later events would pass an earlier one. So the first failure ends the producer (`failure` says
why), from within the library's own thread, before that takes another batch. Whoever sends opens a new one and
begins again after the last event that has arrived.

A batch never fails for its age (the library's 120 s): an outage may last for weeks.

Each topic is known by its id: a topic that was made anew, on the same broker or an empty one, has not what
was sent before. `check` says so, and is to be called every few seconds while something is sent.
"""

import contextlib
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import (
    InvalidRecordError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    KafkaStorageError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    NoError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.producer.future import FutureRecordMetadata
from kafka.structs import OffsetAndMetadata, TopicPartition

from events.binding import Message
from events.errors import BusAway, BusError, LinliError
from events.topics import CLAIMS, topic_name
from storage.brokers import Brokers
from storage.deadletters import DeadLetters
from storage.kafka import arguments, opened, trouble
from storage.kafkaparts import Client, Fixed

TIMEOUT_S = 10.0
"""How long a request may take."""

TRIES = 60
"""How often a batch is tried that the broker cannot take just now, a tenth of a second or a time-out apart;
then the failure says why, and all begins anew."""

LINGER_MS, RUSH_MS = 10, 100
"""How long a batch waits for company, while little is sent and while much is."""

BATCH_BYTES = 768 << 10
"""Before compression; less than the 1 MiB that a topic takes. It is that much because the library wakes its
thread, by a call of the system, for each record that finds a second batch of its partition begun."""

_FOR_EVER_MS = 10 * 366 * 86_400_000
_OVERHEAD = 120
"""Bytes that a record and its batch need beside key, value and headers."""
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_OF_TOPIC = (
    InvalidRecordError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaStorageError,
    LeaderNotAvailableError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
_ELSEWHERE = (UnknownTopicOrPartitionError, NotLeaderForPartitionError)

Headers = list[tuple[str, bytes]]


class Topic(NamedTuple):
    """A topic as the brokers have it."""

    name: str
    id: str
    partitions: int
    max_bytes: int
    """Bound on a batch."""


class Failure(NamedTuple):
    """The first record that could not be sent."""

    mark: object
    """As given to `send`; None: no record failed."""
    topic: str
    error: Exception

    @property
    def too_large(self) -> bool:
        """This record is larger than the broker takes: it alone is at fault."""
        return isinstance(self.error, _TOO_LARGE)

    @property
    def of_topic(self) -> bool:
        """Other topics may do."""
        return isinstance(self.error, _OF_TOPIC)

    @property
    def told(self) -> LinliError:
        """As one of ours, with the mend."""
        if isinstance(self.error, LinliError):
            return self.error
        return trouble(self.error)


class TopicsChanged(BusAway):
    """A topic was made anew, or has other partitions: what was known of it is void."""


def _anew(name: str) -> TopicsChanged:
    return TopicsChanged(f"the topic {name} was made anew: what was sent to it before is lost there")


class TooLarge(BusError):
    """A topic never takes this event."""


class KafkaSender:
    """Any thread opens and closes it; one sends.

    Args:
        brokers: where they are, and who we are.
        names: what topics are sent to.
        letters: for what a topic never takes.

    Attributes:
        topics: those that can be written, by name.
        missing: why the others cannot.

    Raises:
        LinliError: the brokers do not answer, or refuse; says how to mend it.
    """

    def __init__(self, brokers: Brokers, names: Sequence[str], letters: DeadLetters | None = None) -> None:
        self.failure: Failure | None = None
        self.ended = threading.Event()
        self._brokers = brokers
        self._names = sorted(names)
        self._letters = letters
        self._producer: KafkaProducer | None = None
        self._admin: KafkaAdminClient | None = None
        timeout = int(TIMEOUT_S * 1000)
        common = {"request_timeout_ms": timeout, "bootstrap_timeout_ms": timeout // 2, **arguments(brokers)}
        try:
            self._admin = opened(KafkaAdminClient, **common)
            self.topics, self.missing = self._look()
            sizes = self._sizes(list(self.topics))
            self.topics = {n: t._replace(max_bytes=sizes.get(n, 1 << 20)) for n, t in self.topics.items()}
            least = min((t.max_bytes for t in self.topics.values()), default=1 << 20)
            self._producer = opened(
                KafkaProducer,
                **common,
                acks="all",
                enable_idempotence=True,
                retries=TRIES,
                delivery_timeout_ms=_FOR_EVER_MS,
                max_block_ms=timeout,
                linger_ms=LINGER_MS,
                batch_size=min(BATCH_BYTES, least),
                max_request_size=max((t.max_bytes for t in self.topics.values()), default=1 << 20),
                compression_type=None if brokers.compression == "none" else brokers.compression,
                partitioner=Fixed({n: t.partitions for n, t in self.topics.items()}),
                allow_auto_create_topics=False,
                kafka_client=lambda **more: Client(self._answered, **more),
                metrics_enabled=False,
            )
            for name in self.topics:  # or the first `send` to each would wait for it
                self._producer.partitions_for(name)
        except (KafkaError, OSError, ValueError) as e:
            self.close()
            raise trouble(e, self._brokers) from e
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """The topics are still those that they were.

        Raises:
            TopicsChanged: they are not.
            LinliError: the brokers do not answer, or refuse.
        """
        assert self._admin is not None
        try:
            now, missing = self._look()
        except (KafkaError, OSError, ValueError) as e:
            raise trouble(e, self._brokers) from e
        for name, topic in self.topics.items():
            found = now.get(name)
            if found is None:
                raise TopicsChanged(f"the topic {name} is gone: {missing[name]}")
            if found.id != topic.id:
                raise _anew(name)
            if found.partitions != topic.partitions:
                raise TopicsChanged(
                    f"the topic {name} has {found.partitions} partitions instead of {topic.partitions}"
                )
        if found_again := now.keys() - self.topics.keys():
            raise TopicsChanged(f"there is a topic {min(found_again)} now")

    def rush(self, much: bool) -> None:
        """Whether much is sent: batches are larger then, for each costs this side and the brokers."""
        assert self._producer is not None
        self._producer._accumulator.config["linger_ms"] = RUSH_MS if much else LINGER_MS

    def fits(self, topic: str, key: bytes, value: bytes, headers: Headers) -> bool:
        """The topic takes a record of this size."""
        size = _OVERHEAD + len(key) + len(value) + sum(len(n) + len(v) + 4 for n, v in headers)
        return size <= self.topics[topic].max_bytes

    def send(
        self, mark: object, topic: str, key: bytes, value: bytes, headers: Headers
    ) -> FutureRecordMetadata:
        """Queue a record. Records with one key arrive in the order of the calls.

        Args:
            mark: what `failure` names the record by.

        Raises:
            LinliError: the producer has ended (`failure`), or the topic is not known any more.
        """
        assert self._producer is not None
        try:
            future = self._producer.send(topic, value, key, headers)
        except (KafkaError, RuntimeError, ValueError) as e:  # Runtime: it has ended meanwhile
            self._end(Failure(mark, topic, e))
            assert self.failure is not None
            raise self.failure.told from e
        future.add_errback(partial(self._failed, mark, topic))
        return future

    def mark(self, box: str, text: str) -> str:
        """Leave a text of this box on the brokers; answers the one before. It is the note to an offset that a
        group of the box's name commits in the topic of claims, so it needs no topic of its own.

        Raises:
            BusError: it is not allowed, or they do not answer (BusAway: just now).
        """
        assert self._admin is not None
        part = TopicPartition(topic_name(self._brokers.prefix, CLAIMS), 0)
        group = f"{self._brokers.prefix}.box.{box}"
        try:
            known = self._admin.list_group_offsets({group: [part]})[group]
            left = self._admin.alter_group_offsets(group, {part: OffsetAndMetadata(0, text, -1)})
            for error in left.values():
                if error is not NoError:
                    raise error(group)
        except (KafkaError, OSError, ValueError) as e:
            raise trouble(e, self._brokers) from e
        return str(known[part].metadata) if part in known else ""

    def set_aside(self, message: Message, topic: str, journal: str, offset: int, why: str) -> None:
        """Write a dead letter; durable when this returns.

        Raises:
            BusError: it cannot be written.
        """
        if self._letters is None:
            raise BusError("nobody keeps dead letters")
        try:
            self._letters.unsent(message, topic, journal, offset, TooLarge(why))
        finally:
            self._letters.close()

    def close(self) -> None:
        """End at once: what is under way may still arrive, and is not told."""
        if self._producer is not None:
            sender = self._producer._sender
            sender.force_close()
            sender.join(TIMEOUT_S)
            with contextlib.suppress(KafkaError):
                self._producer.close(timeout=0)
        if self._admin is not None:
            with contextlib.suppress(KafkaError, OSError):
                self._admin.close()
        self.ended.set()

    def _answered(self, answer: Any) -> None:
        """In the library's thread, before it looks at the answer itself: it would try again until there is
        such a topic, which may be another one by then."""
        for topic in answer.responses if answer else ():
            if any(for_code(p.error_code) in _ELSEWHERE for p in topic.partition_responses):
                why = TopicsChanged(f"the topic {topic.name} is not where it was")
                self._end(Failure(None, topic.name, why))

    def _failed(self, mark: object, topic: str, error: Exception) -> None:
        """In the library's thread, in the middle of handling the answer, before anything else is sent."""
        self._end(Failure(mark, topic, error))

    def _end(self, failure: Failure) -> None:
        if self.failure is None:
            self.failure = failure
            if self._producer is not None:
                self._producer._sender.force_close()
            self.ended.set()

    def _look(self) -> tuple[dict[str, Topic], dict[str, str]]:
        assert self._admin is not None
        found: dict[str, Topic] = {}
        missing: dict[str, str] = {}
        for told in self._admin.describe_topics(self._names):
            error = for_code(told["error_code"])
            if error is NoError:
                name = told["name"]
                found[name] = Topic(name, str(told["topic_id"]), len(told["partitions"]), 0)
            else:
                missing[told["name"]] = str(trouble(error(told["name"])))
        return found, missing

    def _sizes(self, names: list[str]) -> dict[str, int]:
        """The topics' bounds; of those that may not be asked nothing."""
        assert self._admin is not None
        wanted = [
            ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": None}) for name in names
        ]
        if not wanted:
            return {}
        try:
            told = self._admin.describe_configs(wanted, config_filter="all")
        except KafkaError:
            return {}
        sizes = {}
        for name, values in told.get("topic", {}).items():
            with contextlib.suppress(KeyError, TypeError, ValueError):
                sizes[name] = int(values["max.message.bytes"]["value"])
        return sizes

"""Dead letters, in a topic of theirs: records that are no events, or that the store cannot hold.

A letter is the record as it was (key, value, headers), with headers beside that say why, where it was, when
and by whom it was set aside. It is there before the record is passed over, so nothing is lost, and nothing
waits behind it. After a kill a record may be set aside twice; a letter is known by where its record was.

Sent again, a record goes to its topic as it was: with the same id and sequence, it counts once with whoever
had it. A *mark* (a letter without a value) says that it was; if it fails again, there is a new letter.
"""

import contextlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from events import binding, codec
from events.bus import Record
from events.clock import Clock
from events.errors import BusError, LinliError
from events.media import rfc3339
from events.topics import DLQ, topic_name
from storage.brokers import Brokers
from storage.kafka import arguments, opened, told

TIMEOUT_S = 15.0
LONGEST = 600
"""Characters of a reason."""

PREFIX = "dlq_"
"""Of the headers that a letter has beside the record's own."""

RETRIED = f"{PREFIX}retried"
"""Header of a mark: it names the letter."""


class Origin(NamedTuple):
    """Where a record was, in Kafka's own numbers."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was set aside."""

    id: str
    """Where the record was: `topic/partition/offset`."""
    error: str
    """MalformedEvent, UnknownEvent or EventRefused."""
    reason: str
    """What is wrong, and the mend."""
    time: str
    """When it was set aside, RFC 3339."""
    by: str
    """Who did."""
    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    """The record's own."""

    @property
    def type(self) -> str:
        """As the record calls itself; empty: it does not say."""
        return next((v.decode("utf-8", "replace") for n, v in self.headers if n == "ce_type" and v), "")


class DeadLetters:
    """Writes and reads the topic of dead letters. Opens its connection when it is needed."""

    def __init__(self, brokers: Brokers, clock: Clock, by: str) -> None:
        """`by`: who sets aside, for the letters."""
        self._brokers = brokers
        self._clock = clock
        self._by = by
        self._topic = topic_name(brokers.prefix, DLQ)
        self._producer: Any = None

    def keep(self, raw: Any, error: LinliError) -> None:
        """Set a record (kafka-python's) aside; durable when this returns.

        Raises:
            BusError: the brokers do not take it now.
        """
        origin = Origin(raw.topic, raw.partition, raw.offset)
        self._keep(origin, raw.key, raw.value, raw.headers, error)

    def refused(self, record: Record, error: LinliError) -> None:
        """Set an event aside that came from Kafka and that the store cannot hold. As `keep`."""
        message = binding.message(codec.encode(record.event))
        name, _, partition = record.log.partition("/")[2].rpartition("/")
        origin = Origin(name.partition(":")[0], int(partition), record.offset - 1)
        self._keep(origin, message.key, message.value, message.headers, error)

    def unsent(
        self, message: binding.Message, topic: str, journal: str, offset: int, error: LinliError
    ) -> None:
        """Set an event aside that `topic` never takes. As `keep`. Its letter has a negative partition, a
        number of the journal that the event is in; `retry` sends it on like any other.
        """
        origin = Origin(topic, -1 - zlib.crc32(journal.encode()), offset)
        self._keep(origin, message.key, message.value, message.headers, error)

    def letters(self) -> list[Letter]:
        """Those that were not sent again since, the oldest first.

        Raises:
            BusError: the brokers do not answer or refuse.
        """
        found: dict[str, Letter] = {}
        for raw in self._records():
            headers = dict(raw.headers)
            if RETRIED in headers:
                found.pop((headers[RETRIED] or b"").decode("utf-8", "replace"), None)
            elif f"{PREFIX}topic" in headers:
                letter = _letter(raw)
                found[letter.id] = letter
        return list(found.values())

    def retry(self, letters: Sequence[Letter], progress: Callable[[int], None] = lambda done: None) -> None:
        """Send these records to their topics again, in their order, and mark them.

        Raises:
            BusError: the brokers do not take one; those before it were sent.
        """
        for done, letter in enumerate(letters, 1):
            self._send(letter.topic, letter.key, letter.value, list(letter.headers))
            self._send(self._topic, letter.id.encode(), None, [(RETRIED, letter.id.encode())])
            progress(done)

    def close(self) -> None:
        """Release the connection."""
        if self._producer is not None:
            with contextlib.suppress(Exception):
                self._producer.close(timeout=2)
            self._producer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(
        self,
        origin: Origin,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        error: LinliError,
    ) -> None:
        said = {
            "error": type(error).__name__,
            "reason": str(error)[:LONGEST],
            "topic": origin.topic,
            "partition": str(origin.partition),
            "offset": str(origin.offset),
            "time": rfc3339(self._clock.wall_us()),
            "by": self._by,
        }
        own = [(name, text) for name, text in headers if not name.startswith(PREFIX)]
        own += [(f"{PREFIX}{name}", text.encode("utf-8", "replace")) for name, text in said.items()]
        if key is None and value is None:  # the client does not send what has neither
            value = b""
        self._send(self._topic, key, value, own)

    def _send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
    ) -> None:
        try:
            with told(self._brokers):
                if self._producer is None:
                    self._producer = self._opened()
                plain = [(name, text or b"") for name, text in headers]  # the client sends no null
                self._producer.send(topic, value, key, plain).get(timeout=TIMEOUT_S)
        except BusError:
            self.close()  # what is still under way would come twice; another producer begins anew
            raise

    def _opened(self) -> KafkaProducer:
        timeout = int(TIMEOUT_S * 1000)
        return opened(
            KafkaProducer,
            **arguments(self._brokers),
            acks="all",
            enable_idempotence=True,
            delivery_timeout_ms=timeout,
            request_timeout_ms=timeout // 2,
            max_block_ms=timeout,
            max_request_size=3 << 20,
            compression_type=None if self._brokers.compression == "none" else self._brokers.compression,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def _records(self) -> Iterator[Any]:
        """All of the topic, those of a partition in order, the oldest first as the brokers took them."""
        found: list[Any] = []
        with told(self._brokers):
            consumer = opened(
                KafkaConsumer,
                **arguments(self._brokers),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
            try:
                numbers = consumer.partitions_for_topic(self._topic)
                if not numbers:
                    raise BusError(
                        f"the topic {self._topic} is not there; make it with `linli topics apply SITE`"
                    )
                parts = [TopicPartition(self._topic, number) for number in sorted(numbers)]
                consumer.assign(parts)
                ends = consumer.end_offsets(parts)
                consumer.seek_to_beginning(*parts)
                until = self._clock.monotonic() + 60
                while any(consumer.position(part) < ends[part] for part in parts):
                    for raws in consumer.poll(500, max_records=5000).values():
                        found += raws
                    if self._clock.monotonic() > until:
                        raise BusError(f"the topic {self._topic} cannot be read to its end within a minute")
            finally:
                consumer.close(autocommit=False, timeout_ms=1000)
        yield from sorted(found, key=lambda raw: (raw.timestamp, raw.partition, raw.offset))


def _letter(raw: Any) -> Letter:
    said = {n: (v or b"").decode("utf-8", "replace") for n, v in raw.headers if n.startswith(PREFIX)}

    def text(name: str) -> str:
        return said.get(f"{PREFIX}{name}", "")

    return Letter(
        id=f"{text('topic')}/{text('partition')}/{text('offset')}",
        error=text("error"),
        reason=text("reason"),
        time=text("time"),
        by=text("by"),
        topic=text("topic"),
        key=raw.key,
        value=raw.value,
        headers=tuple((n, v) for n, v in raw.headers if not n.startswith(PREFIX)),
    )

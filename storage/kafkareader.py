"""Reading Kafka without taking part: every partition of some families, from the beginning or from a time.

No group, nothing is committed, nothing of the reader is kept on the brokers. `rewind` sets where a group is
to read on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as k

from events import binding
from events.bus import Record
from events.clock import Clock
from events.errors import BusError, UnreadableEvent
from events.topics import topic_name
from storage.brokers import Brokers
from storage.kafka import told
from storage.kafkabus import REQUEST_MS, Dead, check_topics, consumer
from storage.kafkacontact import Contact

_IN_USE = (k.UnknownMemberIdError, k.IllegalGenerationError, k.RebalanceInProgressError, k.CommitFailedError)


class KafkaReader:
    """All of the families' records, in order within each log. Used by one thread.

    Args:
        since_us: begin with what the brokers took from this time on (wall clock, microseconds). None: with
            all that is kept.
        dead: is given each record that is no event; it is passed over then.

    Raises:
        BusError: the brokers do not answer or refuse, or a topic is missing (BusAway: tried again).
    """

    def __init__(
        self, brokers: Brokers, clock: Clock, families: Sequence[str], since_us: int | None, dead: Dead
    ) -> None:
        self._brokers = brokers
        self._clock = clock
        self._dead = dead
        topics = [topic_name(brokers.prefix, family) for family in families]
        with told(brokers):
            self._consumer = consumer(brokers, None, "")
            try:
                check_topics(self._consumer, topics)
                parts = _partitions(self._consumer, topics)
                self._consumer.assign(parts)
                self._ends = self._consumer.end_offsets(parts, timeout_ms=REQUEST_MS)
                for part, offset in _offsets(self._consumer, parts, since_us, self._ends).items():
                    self._consumer.seek(part, offset)
            except BaseException:
                self._consumer.close(autocommit=False, timeout_ms=1000)
                raise
        self.contact = Contact(self._consumer, brokers, clock)

    def poll(self, timeout_s: float = 0.0, limit: int = 500) -> Sequence[Record]:
        """The next records; empty if none came within the time-out.

        Raises:
            BusError: the brokers refuse (BusAway: they do not answer); a later call goes on where this stood.
        """
        with told(self._brokers):
            found = self._consumer.poll(int(timeout_s * 1000), max_records=limit)
        records = []
        for part, raws in found.items():
            for raw in raws:
                try:
                    event = binding.event_of(raw.key, raw.value, raw.headers)
                except UnreadableEvent as e:
                    self._dead(raw, e)
                    continue
                records.append(Record(raw.offset + 1, event, f"{part.topic}/{part.partition}"))
        self.contact.check(bool(found))
        return records

    @property
    def at_end(self) -> bool:
        """What was there when the reader was opened has been given."""
        with told(self._brokers):
            return all(
                self._consumer.position(part, timeout_ms=REQUEST_MS) >= end
                for part, end in self._ends.items()
            )

    def close(self) -> None:
        """Release the connection."""
        self._consumer.close(autocommit=False, timeout_ms=1000)


def rewind(brokers: Brokers, group: str, families: Sequence[str], since_us: int) -> None:
    """Let a group that nobody reads as now begin with what the brokers took from this time on.

    Args:
        group: without the prefix.

    Raises:
        BusError: somebody reads as this group; or the brokers do not answer or refuse.
    """
    topics = [topic_name(brokers.prefix, family) for family in families]
    with told(brokers):
        client = consumer(brokers, f"{brokers.prefix}.{group}", "")
        try:
            check_topics(client, topics)
            parts = _partitions(client, topics)
            client.assign(parts)
            ends = client.end_offsets(parts, timeout_ms=REQUEST_MS)
            offsets = _offsets(client, parts, since_us, ends)
            client.commit({part: OffsetAndMetadata(at, "", -1) for part, at in offsets.items()}, REQUEST_MS)
        except _IN_USE:
            raise BusError(
                f"somebody reads as the group {brokers.prefix}.{group}; stop its readers before it is set to "
                "a time"
            ) from None
        finally:
            client.close(autocommit=False, timeout_ms=1000)


def _partitions(client: KafkaConsumer, topics: Sequence[str]) -> list[TopicPartition]:
    return [
        TopicPartition(topic, number)
        for topic in topics
        for number in sorted(client.partitions_for_topic(topic) or ())
    ]


def _offsets(
    client: KafkaConsumer,
    parts: Sequence[TopicPartition],
    since_us: int | None,
    ends: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Where each partition is to be read from."""
    if since_us is None:
        found: dict[TopicPartition, int] = client.beginning_offsets(parts, timeout_ms=REQUEST_MS)
        return found
    since_ms = max(since_us // 1000, 0)
    times: dict[TopicPartition, Any] = client.offsets_for_times(
        dict.fromkeys(parts, since_ms), timeout_ms=REQUEST_MS
    )
    return {part: at.offset if (at := times.get(part)) is not None else ends[part] for part in parts}

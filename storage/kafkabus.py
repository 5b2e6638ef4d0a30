"""The bus on Kafka (contract: `events/bus.py`): a log for each partition, shared among a group's consumers.

A partition that comes to a consumer is not read before it is known from where: by `start`, which asks the
store, or by what the group has committed. Partitions move one by one (cooperative rebalancing), so those that
stay are read on meanwhile.

A log is named by its cluster, topic, the topic's id and the partition. A topic that was made anew has another
id: its offsets are another log's, and it is read from its beginning.

What is no event becomes a dead letter (`storage/deadletters.py`) before it is passed over.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as k
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError

from events import binding
from events.bus import Record, Start
from events.clock import Clock
from events.errors import BusAway, LinliError, LogTruncated, UnreadableEvent
from events.topics import FAMILIES, topic_name
from storage.brokers import Brokers
from storage.kafka import arguments, opened, told, trouble
from storage.kafkacontact import Contact, finish_joining

log = logging.getLogger(__name__)

SESSION_MS = 10_000
"""A consumer that was silent for so long has gone; its partitions are others' then."""

POLL_MS = 300_000
"""Longest work between two polls: a store may be slow, and its consumer is not to be thrown out for it."""

REQUEST_MS = 15_000
FRESH_MS = 5_000
"""How old what is known of the topics may be: one that was made anew is seen within so long."""

CONNECTED_MS = 10_000
SLICE_S = 0.2
REBALANCE_S = 15.0
"""How long a commit waits for a rebalance to end; who does not get its partitions again need not commit."""

_LOST = (
    k.CommitFailedError,
    k.IllegalGenerationError,
    k.RebalanceInProgressError,
    k.UnknownMemberIdError,
    k.FencedInstanceIdError,
)
"""A commit that is not taken, for the partitions are somebody else's, or about to be."""

Dead = Callable[[Any, UnreadableEvent], None]
"""Keeps a record (kafka-python's) that is no event; durable when it returns. Raises BusError."""


class KafkaBus:
    """Subscriptions to the topics of all families under the brokers' prefix.

    Args:
        dead: None: what is no event is logged, and passed over.
        families: all that there are, for those who ask for all.
        instance: names a consumer of which there is one alone. Killed and started again it takes its
            partitions up at once, where others would wait for its session to end; two of one name throw each
            other out.
    """

    def __init__(
        self,
        brokers: Brokers,
        clock: Clock,
        dead: Dead | None = None,
        families: Sequence[str] = FAMILIES,
        instance: str = "",
    ) -> None:
        self._brokers = brokers
        self._clock = clock
        self._dead = dead
        self._families = families
        self._instance = instance

    def subscribe(
        self, group: str, families: Sequence[str] = (), start: Start | None = None
    ) -> "KafkaSubscription":
        """Read as one of the consumers of `PREFIX.group`.

        Raises:
            BusError: the brokers do not answer or refuse, or a topic is missing (BusAway: tried again).
        """
        return KafkaSubscription(
            self._brokers,
            self._clock,
            group,
            families or self._families,
            start=start,
            dead=self._dead,
            instance=self._instance,
        )


class KafkaSubscription(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer of a group. Used by one thread."""

    def __init__(
        self,
        brokers: Brokers,
        clock: Clock,
        group: str,
        families: Sequence[str],
        *,
        start: Start | None,
        dead: Dead | None,
        instance: str,
    ) -> None:
        self._brokers = brokers
        self._clock = clock
        self._start = start
        self._dead = dead
        self._moves: deque[tuple[bool, tuple[TopicPartition, ...]]] = deque()
        """What came (true) and went, in order, and was not looked at yet."""
        self._new: set[TopicPartition] = set()
        """Assigned, and not yet known where to begin; paused until then."""
        self._held: dict[TopicPartition, str] = {}
        """Partition -> name of its log; those that are read."""
        self._position: dict[TopicPartition, int] = {}
        self.missed = 0
        """Records that were gone before they were read: the topic keeps them for too short a time."""
        self.dead = 0
        """Records that were no events."""
        self.rebalances = 0
        topics = [topic_name(brokers.prefix, family) for family in families]
        with told(brokers):
            self._consumer = consumer(brokers, f"{brokers.prefix}.{group}", instance)
            try:
                check_topics(self._consumer, topics)
                self._consumer.subscribe(topics, listener=self)
            except BaseException:
                self._consumer.close(autocommit=False, timeout_ms=1000)
                raise
        self.contact = Contact(self._consumer, brokers, clock)

    # -- the library's calls, in its own thread, at any moment; ours looks at them between two steps

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._consumer.pause(*assigned)
        self._moves.append((True, tuple(assigned)))

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._moves.append((False, tuple(revoked)))

    on_partitions_lost = on_partitions_revoked

    def _moved(self) -> set[TopicPartition]:
        """Take note of partitions that came and went; answers them."""
        moved: set[TopicPartition] = set()
        while self._moves:
            came, partitions = self._moves.popleft()
            moved.update(partitions)
            self.rebalances += bool(partitions)
            for partition in partitions:
                self._held.pop(partition, None)
                self._position.pop(partition, None)
                self._new.discard(partition)
            if came:
                self._new.update(partitions)
        return moved

    # -- ours

    def poll(self, timeout_s: float = 0.0, limit: int = 500) -> Sequence[Record]:
        """The next records, those of a log oldest first; empty if none came within the time-out.

        Raises:
            BusError: the brokers refuse (BusAway: they do not answer); a later call goes on where this stood.
            LogTruncated: a log ends before the place from which it was to be read.
        """
        until = self._clock.monotonic() + timeout_s
        while True:
            left = until - self._clock.monotonic()
            with told(self._brokers):
                # In slices: partitions that come are paused until it is known where they begin.
                finish_joining(self._consumer)
                found = self._consumer.poll(int(max(min(left, SLICE_S), 0.0) * 1000), max_records=limit)
            stood = {partition: self._position.get(partition) for partition in found}
            try:
                with told(self._brokers):
                    moved = self._moved() | self._made_anew()
                    found = {p: raws for p, raws in found.items() if p not in moved}
                    stood = {p: at for p, at in stood.items() if p not in moved}
                    if self._new:
                        self._begin()
                records = [r for partition, raws in found.items() for r in self._records(partition, raws)]
            except LinliError:
                self._back_to(stood)  # or what was fetched would be passed over
                raise
            if records or left <= 0:
                self.contact.check(bool(found))
                return records

    @property
    def position(self) -> Mapping[str, int]:
        """Of each log that is held, the offset of the last record that was given."""
        return {name: self._position[partition] for partition, name in self._held.items()}

    def seek(self, position: Mapping[str, int]) -> None:
        """Read these logs on from the record after the offset (0: from the beginning)."""
        for partition, name in self._held.items():
            if name in position:
                with _perhaps_gone():
                    self._consumer.seek(partition, position[name])
                self._position[partition] = position[name]

    def commit(self, position: Mapping[str, int]) -> None:
        """Up to here all is done with; durable when this returns."""
        until = self._clock.monotonic() + REBALANCE_S
        self._moved()
        while offsets := {
            partition: OffsetAndMetadata(position[name], "", -1)
            for partition, name in self._held.items()
            if name in position
        }:
            try:
                self._consumer.commit(offsets, timeout_ms=REQUEST_MS)
                return
            except _LOST as e:
                if self._clock.monotonic() > until:
                    log.warning("%s: not committed, the partitions move: %s", self._brokers.client, e)
                    return
            except (KafkaError, OSError) as e:
                raise trouble(e, self._brokers) from e
            self._take_part()

    def behind(self) -> dict[str, int]:
        """Of each log that is held, how many records are to come, as far as the brokers have said so."""
        found = {}
        for partition, name in self._held.items():
            with _perhaps_gone():
                end = self._consumer.highwater(partition)
                if end is not None:
                    found[name] = max(end - self._position[partition], 0)
        return found

    def close(self) -> None:
        """Leave the group."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=3000)
        except (KafkaError, OSError) as e:
            log.info("%s: closed without a word to the brokers: %s", self._brokers.client, e)

    def _back_to(self, stood: Mapping[TopicPartition, int | None]) -> None:
        for partition, at in stood.items():
            if at is not None and partition in self._held:
                self._position[partition] = at
                with _perhaps_gone():
                    self._consumer.seek(partition, at)

    def _take_part(self) -> None:
        """In a rebalance, without reading anything: then it is known which partitions are still held."""
        held = list(self._held)
        self._each(self._consumer.pause, held)
        try:
            with told(self._brokers):
                finish_joining(self._consumer)
                self._consumer.poll(int(SLICE_S * 1000))
        finally:
            self._moved()
            self._each(self._consumer.resume, [partition for partition in held if partition in self._held])

    @staticmethod
    def _each(call: Callable[[TopicPartition], None], partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            with _perhaps_gone():
                call(partition)

    def _made_anew(self) -> set[TopicPartition]:
        """A topic that was made anew while its partitions are held is another log; answers those. What was
        fetched of them is the old log's."""
        anew: set[TopicPartition] = set()
        for partition, name in list(self._held.items()):
            if self._name(partition) not in ("", name):
                log.warning("the topic %s was made anew: read from its beginning", partition.topic)
                self._each(self._consumer.pause, [partition])
                del self._held[partition], self._position[partition]
                self._new.add(partition)
                anew.add(partition)
        return anew

    def _begin(self) -> None:
        """Find out where the partitions that came are to be read from, and read them."""
        new = [partition for partition in self._new if self._name(partition)]
        ends = self._consumer.end_offsets(new, timeout_ms=REQUEST_MS) if new else {}
        for partition in new:
            name = self._name(partition)
            if self._start is not None:
                at = self._start(name)
            else:
                at = self._consumer.committed(partition, timeout_ms=REQUEST_MS) or 0
            if at > ends[partition]:
                if self._start is not None:
                    raise LogTruncated(
                        f"{partition.topic}/{partition.partition} ends at {ends[partition]}, and {at} of its "
                        "records were read: the brokers lost the newest; it is read from the start again",
                        name,
                    )
                at = 0
            with _perhaps_gone():
                self._consumer.seek(partition, at)
                self._consumer.resume(partition)
            self._held[partition] = name
            self._position[partition] = at
            self._new.discard(partition)

    def _name(self, partition: TopicPartition) -> str:
        cluster = self._consumer._cluster
        id_ = cluster.topic_id(partition.topic)
        if id_ is None or cluster.cluster_id is None:
            return ""
        return f"kafka:{cluster.cluster_id}/{partition.topic}:{id_}/{partition.partition}"

    def _records(self, partition: TopicPartition, raws: Sequence[Any]) -> list[Record]:
        name = self._held.get(partition)
        if name is None:
            return []  # it went while it was fetched
        expected = self._position[partition]
        if raws[0].offset > expected:
            self.missed += raws[0].offset - expected
            log.error(
                "%s/%d: %d records were gone before they were read; keep them for longer (retention.ms)",
                partition.topic,
                partition.partition,
                raws[0].offset - expected,
            )
        found = []
        for raw in raws:
            try:
                event = binding.event_of(raw.key, raw.value, raw.headers)
            except UnreadableEvent as e:
                self._bury(partition, raw, e)
                continue
            found.append(Record(raw.offset + 1, event, name))
        self._position[partition] = raws[-1].offset + 1
        return found

    def _bury(self, partition: TopicPartition, raw: Any, error: UnreadableEvent) -> None:
        self.dead += 1
        if self._dead is None:
            log.error("%s/%d at %d: %s", partition.topic, partition.partition, raw.offset, error)
            return
        self._dead(raw, error)


def _perhaps_gone() -> "contextlib.suppress":
    """The library refuses what is asked of a partition that has just gone; `_moved` hears of it next."""
    return contextlib.suppress(KeyError, ValueError, k.IllegalStateError)


def consumer(brokers: Brokers, group: str | None, instance: str) -> KafkaConsumer:
    """The library's, as all who read are to have it: a group's, or nobody's."""
    return opened(
        KafkaConsumer,
        **arguments(brokers),
        group_id=group,
        group_instance_id=instance or None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=(CooperativeStickyAssignor,),
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=SESSION_MS // 3,
        max_poll_interval_ms=POLL_MS,
        request_timeout_ms=REQUEST_MS,
        bootstrap_timeout_ms=CONNECTED_MS,
        metadata_max_age_ms=FRESH_MS,
        fetch_max_wait_ms=200,
        max_partition_fetch_bytes=2 << 20,
        reconnect_backoff_max_ms=2000,
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )


def check_topics(client: KafkaConsumer, topics: Sequence[str]) -> None:
    """
    Raises:
        BusAway: one is not there.
    """
    if missing := sorted(set(topics) - set(client.topics())):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BusAway(
            f"the topic {missing[0]}{more} is not there, or not to be seen by this user; make it with "
            "`linli topics apply SITE`, or add an ACL for Describe"
        )

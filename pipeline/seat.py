"""A box's seat in the consumer group whose partitions are the shares: kafka-python, and nothing of what
follows.

The group's own protocol says who holds what: a member that is silent for the length of a session, or whose
thread does not come back to `poll`, loses its shares. Two places of the library that are not its public face
are used here, and here alone: when a heartbeat was last answered, and its loop, to wait in it without holding
it up.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)
from kafka.future import Future
from kafka.structs import MemberState

from events.clock import Clock
from events.errors import ConfigError
from pipeline.assignor import Reads, ShareAssignor
from storage.brokers import Brokers
from storage.kafka import arguments, opened, told
from storage.kafkacontact import finish_joining

log = logging.getLogger(__name__)

POLL_S = 10.0
"""A thread that does not come back to `poll` for so long loses its shares (max.poll.interval.ms). Giving
shares up has to fit in."""

PATIENCE_S = 4.0
"""How long a request may take."""


class TwinBox(ConfigError):
    """Another box has this one's name."""


class Twin(NamedTuple):
    """Another box of the same name in the group."""

    host: str
    instance: str


class Seat:
    """One thread opens, polls and closes.

    Args:
        topic: the topic of shares; the group has the same name.
        box: this box's name.
        instance: differs between two boxes of one name; the same after a restart.
        session_s: who is silent for so long is put out of the group.
        reads: what is read now (`pipeline.assignor`). Called by the library's thread.
        give_up: called by a thread of its own with the shares that another box will get, within `poll`; they
        are
            given up when it returns.
    """

    def __init__(  # noqa: PLR0913 - the connection (1), who (3), and what it asks back (2), with its clock
        self,
        brokers: Brokers,
        topic: str,
        box: str,
        instance: str,
        session_s: float,
        clock: Clock,
        *,
        reads: Callable[[], Reads],
        give_up: Callable[[set[int]], None],
    ) -> None:
        self._brokers = brokers
        self.topic = topic
        self._box, self._instance = box, instance
        self._session_s = session_s
        self._clock = clock
        self._assignor = ShareAssignor(reads)
        self._give_up = give_up
        self._consumer: KafkaConsumer | None = None
        self._joined_at = 0.0
        self._generation = -1
        self.lost = False
        """The group put this box out since this was last set to False: what it reads may be another's."""

    # --- the connection

    def open(self, shares: int) -> None:
        """Connect, and look whether the topic is as it has to be.

        Raises:
            ConfigError: the topic is missing or has another number of partitions.
            TwinBox: another box of this name is in the group.
            BusError: the brokers do not answer, or refuse.
        """
        with told(self._brokers):
            consumer = opened(
                KafkaConsumer,
                **self._arguments(),
                group_id=self.topic,
                enable_auto_commit=False,
                partition_assignment_strategy=[self._assignor],
                session_timeout_ms=int(self._session_s * 1000),
                heartbeat_interval_ms=int(self._session_s * 1000) // 6,
                max_poll_interval_ms=int(max(POLL_S, self._session_s) * 1000),
                metrics_enabled=False,
            )
            try:
                self._check(consumer.partitions_for_topic(self.topic), shares)
                self._wait_for_twin()
                consumer.subscribe([self.topic], listener=_Listener(self))
            except BaseException:
                consumer.close(autocommit=False, timeout_ms=1000)
                raise
        self._consumer = consumer

    @property
    def opened(self) -> bool:
        return self._consumer is not None

    def close(self) -> None:
        """Leave the group: the others get the shares at once, not after a session."""
        consumer, self._consumer = self._consumer, None
        self._assignor.forget()
        if consumer is not None:
            with contextlib.suppress(Exception):  # the shares are given up in any case
                consumer.close(autocommit=False, timeout_ms=2000)

    # --- the group

    def poll(self, timeout_s: float) -> None:
        """Take part in the group for about so long.

        Raises:
            BusError: the brokers refuse, or cannot be asked. A later call goes on.
        """
        assert self._consumer is not None
        if not self.member:  # a join that ends between two polls would be asked for again
            timeout_s = max(timeout_s, 2.0)
        with told(self._brokers):
            finish_joining(self._consumer)
            self._consumer.poll(timeout_ms=int(timeout_s * 1000))
            self._consumer.pause(*self._consumer.assignment())  # there is nothing to fetch
        if self.member and self.generation != self._generation:
            self._generation, self._joined_at = self.generation, self._clock.monotonic()

    @property
    def joining(self) -> bool:
        """The shares are being dealt."""
        return self._consumer is not None and self._consumer.group_metadata().state is MemberState.REBALANCING

    @property
    def member(self) -> bool:
        """In the group, and told what to hold."""
        return self._consumer is not None and self._consumer.group_metadata().state is MemberState.STABLE

    @property
    def shares(self) -> set[int]:
        """What the group gave to this box, when it last told."""
        assert self._consumer is not None
        return {tp.partition for tp in self._consumer.assignment()}

    @property
    def partitions(self) -> int:
        """How many the topic of shares has; 0: it is not there."""
        return len(self._consumer.partitions_for_topic(self.topic)) if self._consumer is not None else 0

    @property
    def generation(self) -> int:
        """The group's; -1: not in it."""
        return int(self._consumer.group_metadata().generation_id) if self._consumer is not None else -1

    @property
    def heard_at(self) -> float:
        """Monotonic time at which the brokers last confirmed that this box is in the group; 0: never."""
        if self._consumer is None:
            return self._joined_at
        return max(self._joined_at, float(self._consumer._coordinator.heartbeat.last_receive))

    def twin(self) -> Twin | None:
        """Another box of this name in the group.

        Raises:
            BusError: the brokers cannot be asked.
        """
        with told(self._brokers), contextlib.closing(opened(KafkaAdminClient, **self._arguments())) as admin:
            group = self._describe(admin)
        for member in group.get("members", ()):
            name, _, instance = str(member["client_id"]).rpartition(".")
            if name == self._box and instance != self._instance:
                return Twin(str(member["client_host"]).lstrip("/"), instance)
        return None

    def conflict(self, twin: Twin) -> TwinBox:
        """What is said of two boxes with one name."""
        return TwinBox(
            f"two boxes are called {self._box!r}: this one (journal {self._instance}) and the one at "
            f"{twin.host} (journal {twin.instance}); give this one another name, in [cluster] box or by "
            "LINLI_BOX in its environment"
        )

    def yields(self, twin: Twin) -> bool:
        """Of two boxes of one name that came together the same one goes, whichever of them is asked."""
        return self._instance > twin.instance

    def _check(self, partitions: set[int] | None, shares: int) -> None:
        if not partitions:
            raise ConfigError(f"the topic {self.topic} is missing; make it with `linli topics apply`")
        if len(partitions) != shares:
            raise ConfigError(
                f"the topic {self.topic} has {len(partitions)} partitions, and [cluster] shares is {shares}; "
                f"write shares = {len(partitions)}, or delete the topic while no box runs and make it anew "
                "with `linli topics apply`"
            )

    def _wait_for_twin(self) -> None:
        """One that was killed stays in the group for a session."""
        until = self._clock.monotonic() + self._session_s + 2
        while twin := self.twin():
            if self._clock.monotonic() > until:
                raise self.conflict(twin)
            self._clock.sleep(1.0)

    def _describe(self, admin: KafkaAdminClient) -> dict[str, Any]:
        """The group as the brokers see it; ones that have just started need a moment to know."""
        until = self._clock.monotonic() + PATIENCE_S
        while True:
            try:
                found: dict[str, Any] = admin.describe_groups([self.topic]).get(self.topic, {})
                return found
            except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError):
                if self._clock.monotonic() > until:
                    raise
                self._clock.sleep(0.2)

    def _arguments(self) -> dict[str, Any]:
        return {
            **arguments(self._brokers),
            "client_id": f"{self._box}.{self._instance}",
            "request_timeout_ms": int(PATIENCE_S * 1000),
            "bootstrap_timeout_ms": int(PATIENCE_S * 1000),
        }

    async def _revoked(self, partitions: set[TopicPartition]) -> None:
        """Runs in the library's loop, which has to send heartbeats meanwhile: the work is a thread's."""
        if self._consumer is None:  # closing: who closes has given up before
            return
        net, done = self._consumer._net, Future()

        def work() -> None:
            try:
                self._give_up({tp.partition for tp in partitions})
            except Exception:  # whatever it was, the group must not wait for ever
                log.exception("giving up shares failed")
            finally:
                net.call_soon_threadsafe(lambda: done.success(None))

        threading.Thread(target=work, name="give-up", daemon=True).start()
        await done

    def _lost(self) -> None:
        self.lost = True
        self._assignor.forget()


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._seat._revoked(set(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        pass  # `shares` tells

    async def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._seat._lost()

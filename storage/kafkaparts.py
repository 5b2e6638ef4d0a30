"""Parts that kafka-python's producer is given in place of its own."""

from collections.abc import Callable, Mapping
from typing import Any

from kafka.net.compat import KafkaNetClient
from kafka.partitioner import Partitioner
from kafka.partitioner.default import murmur2
from kafka.protocol.producer import ProduceRequest


class Client(KafkaNetClient):  # type: ignore[misc]
    """Shows the answers to what was produced before the library acts on them."""

    def __init__(self, answered: Callable[[Any], None], **more: Any) -> None:
        self._answered = answered
        super().__init__(**more)

    def send(self, node_id: int, request: Any, **more: Any) -> Any:
        """The answer's future."""
        future = super().send(node_id, request, **more)
        return future.add_callback(self._answered) if isinstance(request, ProduceRequest) else future


class Fixed(Partitioner):  # type: ignore[misc]
    """Kafka's default way, murmur2 of the key, by the partitions that the topic had at the opening: within
    one producer a key never moves. Keys are few, and murmur2 in Python is slow: it is remembered."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts
        self._hashes: dict[bytes, int] = {}

    def partition(
        self,
        topic: str,
        key: bytes,
        serialized_key: bytes,
        value: bytes,
        serialized_value: bytes,
        cluster: Any,
    ) -> int:
        """The partition of the key."""
        hashed = self._hashes.get(serialized_key)
        if hashed is None:
            if len(self._hashes) >= 100_000:
                self._hashes.clear()
            hashed = self._hashes[serialized_key] = murmur2(serialized_key) & 0x7FFFFFFF
        return hashed % self._counts[topic]

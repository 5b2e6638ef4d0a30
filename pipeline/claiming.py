"""Claims: before a box reads a camera under a new assignment it writes so into a topic of one partition.

The offset of that record, plus one, is the *token*: of two boxes that read the same camera the one with the
larger token has the word, whatever their clocks say, and however long one of them did not know
(`storage/claims.py`). The number of the group's generation would not do: it begins anew when the group is
forgotten.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from events.errors import BusAway, BusError
from storage.brokers import Brokers
from storage.kafka import arguments, opened, told

PATIENCE_S = 4.0
"""How long the brokers may take."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the topic; its key is the camera."""

    camera: str
    box: str
    share: int
    time_us: int
    """By the box's clock; for people."""


class Claims:
    """The topic of claims, which has one partition. One thread uses it."""

    def __init__(self, brokers: Brokers, topic: str) -> None:
        self._brokers = brokers
        self._partition = TopicPartition(topic, 0)
        self._producer: KafkaProducer | None = None

    def take(self, box: str, share: int, cameras: Sequence[str], now_us: int) -> dict[str, int]:
        """Claim these cameras; answers camera -> token, once all brokers that must have the records have
        them.

        Raises:
            BusError: that is not known. Some may be written all the same: a later claim has a larger token.
        """
        with told(self._brokers), self._closed_on_error() as producer:
            sent = {
                camera: producer.send(
                    self._partition.topic,
                    key=camera.encode(),
                    value=msgspec.json.encode(Claimed(camera=camera, box=box, share=share, time_us=now_us)),
                    partition=0,
                )
                for camera in cameras
            }
            return {camera: future.get(timeout=PATIENCE_S).offset + 1 for camera, future in sent.items()}

    def others(self, box: str, tokens: Mapping[str, int]) -> set[str]:
        """Of these cameras those that another box has claimed since the tokens were given.

        Raises:
            BusError: the topic cannot be read now.
        """
        if not tokens:
            return set()
        found: set[str] = set()
        with told(self._brokers), contextlib.closing(opened(KafkaConsumer, **self._arguments())) as consumer:
            consumer.assign([self._partition])
            end = consumer.end_offsets([self._partition])[self._partition]
            consumer.seek(self._partition, min(min(tokens.values()), end))
            while consumer.position(self._partition) < end:
                polled = consumer.poll(timeout_ms=int(PATIENCE_S * 1000)).get(self._partition, [])
                if not polled and consumer.position(self._partition) < end:
                    raise BusAway(f"{self._partition.topic} cannot be read within {PATIENCE_S:.0f} s")
                found |= {name for r in polled if (name := _other(r, box, tokens))}
        return found

    def close(self) -> None:
        """Release the connection; it is opened again when it is needed."""
        if self._producer is not None:
            with contextlib.suppress(BusError), told():
                self._producer.close(timeout=1)
            self._producer = None

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[KafkaProducer]:
        """The producer; after an error it is another one's turn."""
        if self._producer is None:
            timeout = int(PATIENCE_S * 1000)
            self._producer = opened(
                KafkaProducer,
                **self._arguments(),
                acks="all",
                max_block_ms=timeout,
                delivery_timeout_ms=timeout,
            )
        try:
            yield self._producer
        except BaseException:
            self.close()
            raise

    def _arguments(self) -> dict[str, Any]:
        timeout = int(PATIENCE_S * 1000)
        return {
            **arguments(self._brokers),
            "request_timeout_ms": timeout - 1000,
            "bootstrap_timeout_ms": timeout,
        }


def _other(record: Any, box: str, tokens: Mapping[str, int]) -> str:
    """The camera that the record takes from us; empty if it takes none."""
    try:
        claimed = msgspec.json.decode(record.value or b"", type=Claimed)
    except msgspec.DecodeError:  # not one of ours: it takes nothing
        return ""
    newer = record.offset + 1 > tokens.get(claimed.camera, record.offset + 1)
    return claimed.camera if newer and claimed.box != box else ""

"""Claims: before a box reads a camera under a new assignment it writes so into a topic of one partition.

The offset of that record, plus one, is the *token*: of two boxes that read the same camera the one with the larger
token has the word, whatever their clocks say, and however long one of them did not know (`storage/claims.py`). The
number of the group's generation would not do: it begins anew when the group is forgotten.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from events.errors import LinliError

PATIENCE_S = 4.0
"""How long the brokers may take."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the topic; its key is the camera."""

    camera: str
    box: str
    share: int
    time_us: int
    """By the box's clock; for people."""


class ClaimLost(LinliError):
    """A claim could not be written or read now; it is tried again."""

    retriable = True


class Claims:
    """The topic of claims. One thread uses it.

    Args:
        arguments: of the connection, by kafka-python's names.
        topic: its name; it has one partition.
    """

    def __init__(self, arguments: Mapping[str, Any], topic: str) -> None:
        timeout = int(PATIENCE_S * 1000)
        self._arguments = {
            **arguments,
            "request_timeout_ms": timeout - 1000,
            "bootstrap_timeout_ms": timeout,
        }
        self._partition = TopicPartition(topic, 0)
        self._producer: KafkaProducer | None = None

    def take(self, box: str, share: int, cameras: Sequence[str], now_us: int) -> dict[str, int]:
        """Claim these cameras; answers camera -> token, once all brokers that must have the records have them.

        Raises:
            ClaimLost: that is not known. Some may be written all the same: a later claim has a larger token.
        """
        try:
            producer = self._opened()
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
        except KafkaError as e:
            self.close()
            raise ClaimLost(
                f"the cameras of share {share} cannot be claimed in {self._partition.topic}: {_said(e)}"
            ) from e

    def others(self, box: str, tokens: Mapping[str, int]) -> set[str]:
        """Of these cameras those that another box has claimed since the tokens were given.

        Raises:
            ClaimLost: the topic cannot be read now.
        """
        if not tokens:
            return set()
        found: set[str] = set()
        try:
            with contextlib.closing(KafkaConsumer(**self._arguments, enable_auto_commit=False)) as consumer:
                consumer.assign([self._partition])
                end = consumer.end_offsets([self._partition])[self._partition]
                consumer.seek(self._partition, min(min(tokens.values()), end))
                while consumer.position(self._partition) < end:
                    polled = consumer.poll(timeout_ms=int(PATIENCE_S * 1000)).get(self._partition, [])
                    if not polled and consumer.position(self._partition) < end:
                        raise ClaimLost(f"{self._partition.topic} cannot be read within {PATIENCE_S:.0f} s")
                    found |= {name for r in polled if (name := _other(r, box, tokens))}
        except KafkaError as e:
            raise ClaimLost(f"the claims in {self._partition.topic} cannot be read: {_said(e)}") from e
        return found

    def close(self) -> None:
        """Release the connection; it is opened again when it is needed."""
        if self._producer is not None:
            with contextlib.suppress(KafkaError):
                self._producer.close(timeout=1)
            self._producer = None

    def _opened(self) -> KafkaProducer:
        if self._producer is None:
            timeout = int(PATIENCE_S * 1000)
            self._producer = KafkaProducer(
                **self._arguments, acks="all", max_block_ms=timeout, delivery_timeout_ms=timeout
            )
        return self._producer


def _other(record: Any, box: str, tokens: Mapping[str, int]) -> str:
    """The camera that the record takes from us; empty if it takes none."""
    try:
        claimed = msgspec.json.decode(record.value or b"", type=Claimed)
    except msgspec.DecodeError:  # not one of ours: it takes nothing
        return ""
    newer = record.offset + 1 > tokens.get(claimed.camera, record.offset + 1)
    return claimed.camera if newer and claimed.box != box else ""


def _said(error: KafkaError) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

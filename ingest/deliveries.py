"""What comes in from sensors, whichever way: a payload with what its transport says of it."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from ingest.readings import Refusal


class Origin(Protocol):
    """Where deliveries came from, and where they are settled."""

    def settled(self, deliveries: Sequence["Delivery"]) -> None:
        """What they gave is durable: they need not be kept for us any more. Called by the journal's thread,
        in the order in which they came; it must neither raise nor wait."""


class Delivery(msgspec.Struct, kw_only=True):
    """One payload, on its way in."""

    payload: bytes
    arrived_us: int
    """Microseconds since 1970."""
    origin: Origin
    token: Any = None
    """The origin's own."""
    topic: str = ""
    """MQTT topic."""
    sensor: str = ""
    """The sensor that the transport names."""
    source: str = ""
    """CloudEvents source."""
    time_us: int | None = None
    """When it was measured, if the transport says so."""
    senml: bool = False
    """The transport says that it is SenML."""
    only: frozenset[str] | None = None
    """The sensors that the sender may speak for; None: all."""
    name: bytes = b""
    """What the transport calls it; the same if it comes again. Empty: it has no such name."""
    again: bool = False
    """The transport says that it may have come before."""
    too_large: int = 0
    """So many bytes it had, which were not taken; 0: it is whole."""
    retained: bool = False
    """A broker kept it: nobody knows since when."""
    accepted: int = 0
    """Readings that it gave, those included that were there already."""
    refused: list[Refusal] = []
    """What was refused of it: the first of them."""
    refused_more: int = 0
    """How many more."""


def key_of(delivery: Delivery) -> bytes:
    """Names a delivery among those of the last moments."""
    digest = blake2b(delivery.name, digest_size=12)
    digest.update(delivery.topic.encode())
    digest.update(delivery.payload)
    return digest.digest()

"""What the relay is given, what it sends by, and what it tells of itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from events.binding import Message
from pipeline.outbox import Ticket

if TYPE_CHECKING:  # needs a client that a box without brokers need not have
    from storage.kafkaproducer import Failure, Headers, Topic


class Sender(Protocol):
    """What `storage.kafkaproducer.KafkaSender` is."""

    topics: "dict[str, Topic]"
    missing: dict[str, str]
    failure: "Failure | None"

    def check(self) -> None:
        """Raises LinliError: the topics are not what they were."""

    def rush(self, much: bool) -> None:
        """Whether much is sent."""

    def fits(self, topic: str, key: bytes, value: bytes, headers: "Headers") -> bool:
        """The topic takes a record of this size."""

    def mark(self, box: str, text: str) -> str:
        """Leave a text of this box; answers the one before. Raises BusError."""

    def set_aside(self, message: Message, topic: str, journal: str, offset: int, why: str) -> None:
        """Write a dead letter. Raises BusError."""

    def send(self, mark: object, topic: str, key: bytes, value: bytes, headers: "Headers") -> Ticket:
        """Queue a record."""

    def close(self) -> None:
        """End at once."""


class RelaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Values of the site file."""

    topics: Mapping[str, str]
    """Family -> name of its topic: those that leave the box."""
    source: str
    """The box, for its health."""
    keep_s: float = 30 * 86_400.0
    """Events older than this are in the journal for the relay alone."""
    bound_bytes: int = 0
    """The journal's size from which those go, the least important families first; 0: none ever do."""


class RelayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the relay did since it started; written to a file every other second and at its end."""

    connected: bool
    problem: str
    """Why nothing can be sent at present, with the mend; empty while all is well."""
    resting: dict[str, str]
    """Family -> why it is not sent."""
    offset: int
    """Of the journal's newest event."""
    acknowledged_offset: int
    """All up to here has arrived."""
    lag_events: int
    """At most so many have not arrived: the distance of the two."""
    lag_s: float
    """Age of the oldest event that has not arrived."""
    in_flight: int
    sent: int
    acknowledged: int
    repeats: int
    """Sent again after a failure; what a killed relay had sent is not among them."""
    bytes: int
    """Of what was sent, as the journal has it."""
    sessions: int
    """Producers that were opened."""
    letters: int
    """Events that the broker will never take."""
    given_up: int
    """Events that went unsent, for the journal had come to its bound."""
    rate: float
    """Acknowledged events a second."""
    clock_s: float
    """The brokers' clock less this box's, as far as it is certain."""

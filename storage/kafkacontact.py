"""What kafka-python's consumer does not do by itself: say that the brokers are away, and end each join."""

from typing import Any

from kafka import errors as k

from events.clock import Clock
from storage.brokers import Brokers
from storage.kafka import trouble

AWAY_S = 5.0
"""Without a connection for so long: the brokers are away."""


def finish_joining(consumer: Any) -> None:
    """Before each poll of a consumer of a group: a join that has begun has to be ended.

    kafka-python 3.0 forgets one if a poll's time ends in the moment in which the answer comes, and what the
    join was for is settled by the answer: it neither ends it nor begins another, sends no heartbeat any more,
    and takes no commit.
    """
    coordinator = consumer._coordinator
    if coordinator.rejoining:
        coordinator.rejoin_needed = True


class Contact:
    """Whether a consumer of the library has a connection. When all are lost it tries again for ever, and
    gives nothing, as if nothing came."""

    def __init__(self, consumer: Any, brokers: Brokers, clock: Clock) -> None:
        self._connections = consumer._manager._conns
        self._brokers = brokers
        self._clock = clock
        self._lost: float | None = None

    @property
    def there(self) -> bool:
        """A broker is connected."""
        return any(connection.connected for connection in list(self._connections.values()))

    def check(self, came: bool) -> None:
        """After each poll.

        Args:
            came: it gave something.

        Raises:
            BusError: for a while there has been no connection; says why.
        """
        now = self._clock.monotonic()
        if came or self.there:
            self._lost = None
        elif self._lost is None:
            self._lost = now
        elif now - self._lost > AWAY_S:
            raise trouble(k.KafkaConnectionError(), self._brokers)

"""When to connect again, as a table: fast the first time, slower each time, spread by jitter.

Pure: the same seed, failures and healthy times give the same delays. Seed it with the camera's id, so that
a hundred cameras behind one switch do not all come back in the same second.
"""

from hashlib import blake2b
from typing import Literal

import msgspec

from events.errors import AuthError, StreamChanged, UnsupportedStream
from events.media import Discontinuity

Failure = Literal["lost", "changed", "auth", "unsupported"]

DELAYS_S: dict[Failure, tuple[float, ...]] = {
    "lost": (0.5, 1, 2, 4, 8, 15, 30, 60),
    "changed": (0.1, 0.5, 2, 8, 30, 60),
    "auth": (30, 60, 300, 900),
    "unsupported": (60, 300, 900),
}
"""Seconds before the 1st, 2nd ... attempt after a failure; the last one repeats. Wrong passwords are tried
slowly because cameras lock users out, and people change them; a stream of the wrong kind likewise."""

JITTER = 0.25
"""A delay is spread evenly over plus and minus this share of it."""

HEALTHY_S = 60.0
"""A connection that lasted this long starts the table anew."""


def failure_of(error: BaseException) -> Failure:
    """The row of the table for what ended a source."""
    if isinstance(error, AuthError):
        return "auth"
    if isinstance(error, UnsupportedStream):
        return "unsupported"
    if isinstance(error, StreamChanged | Discontinuity):
        return "changed"
    return "lost"


class Backoff(msgspec.Struct, frozen=True):
    """Where a camera stands in the table."""

    seed: str
    failure: Failure = "lost"
    attempt: int = 0
    """Failures in a row of this kind."""
    delay_s: float = 0.0
    """How long to wait before the next attempt."""

    def failed(self, failure: Failure, connected_s: float = 0.0) -> "Backoff":
        """The state after one more failure, of a connection that had lasted `connected_s`."""
        again = failure == self.failure and connected_s < HEALTHY_S
        attempt = self.attempt + 1 if again else 1
        row = DELAYS_S[failure]
        base = row[min(attempt, len(row)) - 1]
        draw = blake2b(f"{self.seed}\x1f{failure}\x1f{attempt}".encode(), digest_size=4).digest()
        spread = int.from_bytes(draw) / 0xFFFFFFFF * 2 - 1
        return Backoff(self.seed, failure, attempt, base * (1 + JITTER * spread))

"""How fast bytes may leave: a limit by the time of day, kept by a token bucket on the stream.

`limit_at` is pure; the bucket asks it again with every slice, so that a change of the hour holds at once,
also in the middle of an object.
"""

from collections.abc import Callable
from datetime import datetime, time, tzinfo

import msgspec

from events.clock import Clock

SLICE = 16 << 10
"""Bytes that are sent in one go."""

BURST_S = 0.25
"""So much of a second's bytes may follow at once after a pause."""

_WAIT_S = 0.25
"""The longest single sleep: a stop is noticed within it."""


class Interrupted(Exception):
    """Sending was stopped on purpose, in the middle of an object. It is no failure."""


class Hours(msgspec.Struct, frozen=True):
    """A limit for some hours of each day, local time; `end` before `start`: over midnight."""

    start: time
    end: time
    bytes_s: float | None
    """Bytes a second; 0: nothing is sent; None: no limit."""

    def holds(self, at: time) -> bool:
        """Whether the time lies in these hours; the start belongs to them, the end does not. With start
        and end alike it is the whole day."""
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


class Schedule(msgspec.Struct, frozen=True):
    """Limits by the hour. Where several hold, the first counts."""

    usual: float | None = None
    """Bytes a second outside of all hours; 0: nothing; None: no limit."""
    hours: tuple[Hours, ...] = ()


def bytes_a_second(mbit: float | None) -> float | None:
    """Of megabits a second; None stays None."""
    return None if mbit is None else mbit * 125_000


def limit_at(schedule: Schedule, wall_us: int, zone: tzinfo | None = None) -> float | None:
    """Bytes a second at that moment; 0: nothing, None: no limit.

    Hours are those of the clock on the wall: on the day on which the clocks go back the hour that comes
    twice belongs to its span twice, and the one that is left out in spring is in none.

    Args:
        wall_us: microseconds since 1970.
        zone: whose hours they are; by default the machine's.
    """
    at = datetime.fromtimestamp(wall_us / 1e6, zone).time()
    return next((hours.bytes_s for hours in schedule.hours if hours.holds(at)), schedule.usual)


class Bucket:
    """A token bucket that is asked before each slice. One thread takes from it."""

    def __init__(
        self, clock: Clock, limit: Callable[[], float | None], stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """
        Args:
            limit: bytes a second now; 0: nothing, None: no limit.
            stopped: whether sending is to end.
        """
        self._clock = clock
        self._limit = limit
        self._stopped = stopped
        self._at = clock.monotonic()
        self._tokens = 0.0
        self.taken = 0
        """Bytes let through."""

    def take(self, count: int) -> None:
        """Wait until so many bytes may go.

        Raises:
            Interrupted: sending is to end, or the limit fell to nothing.
        """
        while True:
            rate = self._limit()
            if self._stopped() or rate == 0:
                raise Interrupted
            now = self._clock.monotonic()
            if rate is None:
                self._at, self._tokens = now, 0.0
                break
            # A slice larger than the bucket goes when the bucket is full, and leaves a debt.
            room = max(rate * BURST_S, 1.0)
            self._tokens = min(room, self._tokens + (now - self._at) * rate)
            self._at = now
            missing = min(count, room) - self._tokens
            if missing <= 1e-6:
                self._tokens -= count
                break
            self._clock.sleep(min(missing / rate, _WAIT_S))
        self.taken += count

"""The only place that asks what time it is. Everything below works on values it is given.

`monotonic` times durations of the process itself (time-outs, latencies); `wall_us` stamps what has no
media time of its own (arrival of a packet, an operator's look at a picture).
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Source of wall-clock and monotonic time."""

    def wall_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


def thread_cpu_ns() -> int:
    """CPU time of the calling thread in nanoseconds."""
    return time.thread_time_ns()


def process_cpu_ns() -> int:
    """CPU time of this process, all threads, in nanoseconds."""
    return time.process_time_ns()


class SystemClock:
    """The machine's own clocks."""

    def wall_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told, for tests."""

    def __init__(self, wall_us: int = 1_700_000_000_000_000) -> None:
        self._wall_us = wall_us
        self._monotonic = 0.0

    def wall_us(self) -> int:
        return self._wall_us

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._monotonic += seconds
        self._wall_us += int(seconds * 1_000_000)

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP or a person does."""
        self._wall_us += int(seconds * 1_000_000)

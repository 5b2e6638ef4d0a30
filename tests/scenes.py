"""Observations for tests of the engine and its parts: people as boxes that stand at a foot point."""

from collections.abc import Sequence
from typing import Any

from events.engine import Engine
from events.events import Event
from events.media import TICKS
from events.observations import Box, Observation, Track

SIZE = (1000, 1000)
START_US = 1_700_000_040_000_000
"""A multiple of 60 s."""


def person(ordinal: int, x: float, y: float, height: float = 80.0, label: str = "person") -> Track:
    """A box of half its height's width whose foot point is x, y."""
    return Track(ordinal, label, 0.9, Box(x - height / 4, y - height, x + height / 4, y))


def vehicle(ordinal: int, x: float, y: float, label: str = "car") -> Track:
    return Track(ordinal, label, 0.9, Box(x - 60, y - 60, x + 60, y))


def seen(t: float, *tracks: Track, ended: Sequence[int] = (), step_us: int = 0) -> Observation:
    """An observation `t` seconds into the epoch; `step_us`: what the wall clock was stepped by."""
    return Observation(
        pts=round(t * TICKS),
        capture_us=START_US + round(t * 1_000_000) + step_us,
        width=SIZE[0],
        height=SIZE[1],
        tracks=tracks,
        ended=tuple(ended),
    )


class Camera:
    """Drives an engine and keeps its events."""

    def __init__(self, *rules: Any, interval_s: int = 60, epoch: int = 1) -> None:
        self.engine = Engine("town", "gate", rules, interval_s)
        self.t = 0.0
        self.start_us = START_US
        self.events: list[Event] = []
        self.begin(epoch, START_US)

    def begin(self, epoch: int, start_us: int) -> None:
        self.t, self.start_us = 0.0, start_us
        self.events += self.engine.begin(epoch, start_us, SIZE)

    def us(self, t: float) -> int:
        return self.start_us + round(t * 1_000_000)

    def see(self, *tracks: Track, dt: float = 0.2, ended: Sequence[int] = ()) -> list[Event]:
        """An analysed frame `dt` seconds after the last."""
        self.t += dt
        events = self.engine.observe(
            Observation(
                pts=round(self.t * TICKS),
                capture_us=self.us(self.t),
                width=SIZE[0],
                height=SIZE[1],
                tracks=tracks,
                ended=tuple(ended),
            )
        )
        self.events += events
        return events

    def stay(self, seconds: float, *tracks: Track, dt: float = 0.2) -> None:
        """The same frame again and again."""
        for _ in range(round(seconds / dt)):
            self.see(*tracks, dt=dt)

    def tick(self, dt: float) -> list[Event]:
        self.t += dt
        events = self.engine.tick(round(self.t * TICKS), self.us(self.t))
        self.events += events
        return events

    def end(self) -> list[Event]:
        events = self.engine.end(round(self.t * TICKS), self.us(self.t))
        self.events += events
        return events

    def of(self, kind: type) -> list[Any]:
        """Payloads of one type, in order."""
        return [event.data for event in self.events if isinstance(event.data, kind)]

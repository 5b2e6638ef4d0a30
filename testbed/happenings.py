"""Events without cameras: what a street says in a day, drawn by a seed, in any number.

For tests of what comes after the journal (relay, bus, store), where a picture would only cost time.
"""

import random
from collections.abc import Iterator

from events.events import (
    AlertCleared,
    AlertRaised,
    AlertUpdated,
    AnyPayload,
    Crossing,
    Event,
    Health,
    Interval,
    camera_source,
)
from events.ids import event_id

MINUTE_US = 60_000_000


class Street:
    """One camera's epoch: crossings, a count each minute, now and then an alert, seldom trouble.

    Args:
        epoch: its number, which is the wall clock at its beginning, microseconds since 1970.
        seed: the same seed gives the same events.
    """

    def __init__(self, site: str, camera: str, epoch: int, seed: int | str = 0) -> None:
        self.source = camera_source(site, camera)
        self._epoch = epoch
        self._chance = random.Random(f"{site}/{camera}/{epoch}/{seed}")
        self._us = 0
        self._next: dict[str, int] = {}
        self._minute = 0
        self._alert = ""
        self._crossed = 0

    def events(self, count: int) -> list[Event]:
        """The next `count` events, in order."""
        found = self._endless()
        return [next(found) for _ in range(count)]

    def _endless(self) -> Iterator[Event]:
        while True:
            self._us += self._chance.randint(50_000, 4_000_000)
            yield self._event(self._drawn())

    def _drawn(self) -> AnyPayload:
        if self._us - self._minute >= MINUTE_US:
            return self._interval()
        drawn = self._chance.random()
        if drawn < 0.12:
            return self._alerting()
        if drawn < 0.14:
            state = self._chance.choice(["raised", "cleared", "note"])
            return Health(what="defocused", state=state, message=f"the picture is {state}")  # type: ignore[arg-type]
        self._crossed += 1
        return Crossing(
            rule=self._chance.choice(["door", "lane"]),
            direction=self._chance.choice(["in", "out"]),  # type: ignore[arg-type]
            label=self._chance.choice(["person", "car"]),
            track=self._crossed,
            at=(round(self._chance.random(), 4), 0.5),
        )

    def _interval(self) -> Interval:
        start = self._epoch + self._minute
        self._minute = self._us - self._us % MINUTE_US
        return Interval(
            rule="door",
            start_us=start,
            end_us=start + MINUTE_US,
            counts={"in.person": self._chance.randint(0, 9), "out.person": self._chance.randint(0, 9)},
            observed_s=60.0,
        )

    def _alerting(self) -> AnyPayload:
        if not self._alert:
            self._alert = event_id(self.source, self._epoch, "alert", self._us)
            return AlertRaised(
                alert=self._alert,
                rule="yard",
                kind="intrusion",
                severity="major",
                label="person",
                tracks=(self._crossed,),
                box=(0.1, 0.2, 0.3, 0.4),
                since_us=self._epoch + self._us,
                detail={"dwell_s": round(self._chance.random() * 30, 1)},
            )
        if self._chance.random() < 0.5:
            return AlertUpdated(
                alert=self._alert, rule="yard", tracks=(self._crossed,), box=(0.1, 0.2, 0.4, 0.5)
            )
        cleared = AlertCleared(alert=self._alert, rule="yard", reason="left", until_us=self._epoch + self._us)
        self._alert = ""
        return cleared

    def _event(self, data: AnyPayload) -> Event:
        blank = Event(id="", source=self.source, time_us=0, epoch=self._epoch, sequence=0, data=data)
        sequence = self._next.get(blank.family, 0)
        self._next[blank.family] = sequence + 1
        return Event(
            id=event_id(self.source, self._epoch, blank.family, sequence),
            source=self.source,
            time_us=self._epoch + self._us,
            epoch=self._epoch,
            sequence=sequence,
            pts=self._us * 9 // 100,
            data=data,
        )

"""Cases without a desk: what a city's people do with grid matters, drawn by a seed, in any number.

Each matter is moved by the shipped pack's own table, so its deadlines are real ones. Most come to their end,
some are done again, handed up or parked, and some still wait for somebody when the story ends.
"""

import random
from collections.abc import Iterator, Sequence

import msgspec

from city.calendars import shipped as calendar
from city.cases import opened, stepped
from city.packs import Opening, Pack, Step, open_case, shipped, step
from events.civic import CaseOpened, CaseStepped, case_source
from events.events import Event
from events.ids import event_id
from events.payload import Place

HOUR_US = 3_600_000_000
CATEGORIES = ("0101", "0102", "0203", "0301", "0305", "0402", "noise", "rubbish", "parking", "road")
STORIES = 3000
"""That are told anew; deadlines by the working calendar take their time."""

Spot = tuple[str, Place]
"""Code of a grid, and a place in it."""

_PLAIN = ("accept", "dispatch", "sign", "handle", "verify", "close")
_WHO = {
    "accept": ("clerk", "clerk-1"),
    "dispatch": ("dispatcher", "dispatcher-1"),
    "sign": ("handler", "handler-1"),
    "handle": ("handler", "handler-1"),
    "verify": ("checker", "checker-1"),
    "redo": ("checker", "checker-1"),
    "close": ("clerk", "clerk-2"),
    "raise": ("dispatcher", "dispatcher-1"),
    "call-back": ("clerk", "clerk-2"),
}


class Matters:
    """Grid matters of one city.

    Args:
        spots: where they may happen.
        holders: organisations that handle them.
        end_us: nothing happens later.
        days: over which they are opened.
    """

    def __init__(
        self, spots: Sequence[Spot], holders: Sequence[str], end_us: int, *, days: int = 60, seed: int = 0
    ) -> None:
        self._spots = spots
        self._holders = holders
        self._end_us = end_us
        self._days = days
        self._chance = random.Random(f"matters/{seed}")
        self._pack: Pack = shipped()["matter"]
        self._calendar = calendar()

    def events(self, count: int) -> list[Event]:
        """So many events of all cases, in the order of time."""
        stories: list[list[Event]] = []
        found: list[Event] = []
        number = 0
        while len(found) < count:
            if number < STORIES:
                stories.append(list(self._story(f"M{number:08}")))
                found += stories[-1]
            else:
                found += self._again(stories[number % STORIES], f"M{number:08}")
            number += 1
        return sorted(found[:count], key=lambda event: event.time_us)

    def _again(self, story: Sequence[Event], id_: str) -> Iterator[Event]:
        """The same elsewhere and by others."""
        area, place = self._chance.choice(self._spots)
        holder = self._chance.choice(self._holders)
        for event in story:
            data = event.data
            assert isinstance(data, CaseOpened | CaseStepped)
            change = {"area": area, "place": place, "holder": holder if data.holder else ""}
            yield _event(id_, event.sequence, event.time_us, msgspec.structs.replace(data, **change))

    def _story(self, id_: str) -> Iterator[Event]:
        chance = self._chance
        at = self._end_us - int(chance.random() * self._days * 24 * HOUR_US) - HOUR_US
        area, place = chance.choice(self._spots)
        asked = Opening(
            category=chance.choice(CATEGORIES), title="合成事项", area=area, place=place, who="grid-worker-1",
            severity=chance.choice(("minor", "minor", "minor", "major")), role="grid worker", channel="grid",
        )  # fmt: skip
        data = open_case(self._pack, asked, at, self._calendar)
        yield _event(id_, 0, at, data)
        case = opened(id_, at, data)
        # A tenth of the open ones wait for somebody for ever.
        stop = chance.randrange(1, 6) if chance.random() < 0.15 else 99
        for number, action in enumerate(self._actions()):
            at += int((0.2 + chance.expovariate(1 / 6)) * HOUR_US)
            if number >= stop or at > self._end_us:
                return
            done = step(self._pack, case, self._step(action), at, self._calendar)
            yield _event(id_, case.version + 1, at, done)
            case = stepped(case, case.version + 1, at, done)

    def _actions(self) -> Iterator[str]:
        chance = self._chance.random()
        yield "accept"
        if chance < 0.1:
            yield "raise"
        yield from ("dispatch", "sign", "handle")
        if chance > 0.95:
            yield from ("redo", "handle")
        yield from ("verify", "close")
        if chance < 0.6:
            yield "call-back"

    def _step(self, action: str) -> Step:
        role, who = _WHO[action]
        chance = self._chance
        if action == "dispatch":
            return Step(action=action, role=role, who=who, holder=chance.choice(self._holders))
        if action == "call-back":
            marks = (
                chance.choice(("solved", "solved", "unsolved")),
                chance.choice(("satisfied", "dissatisfied")),
            )
            return Step(action=action, role=role, who=who, marks=marks)
        return Step(
            action=action, role=role, who=who, note="合成" if action in ("handle", "redo", "raise") else ""
        )


def _event(id_: str, version: int, at: int, data: CaseOpened | CaseStepped) -> Event:
    source = case_source("bench", id_)
    return Event(
        id=event_id(source, "case", 0, version),
        source=source,
        time_us=at,
        epoch=0,
        sequence=version,
        data=data,
    )

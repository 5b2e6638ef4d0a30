"""Days of the working calendar that people change while the city runs: a storm, a local holiday.

A change holds for deadlines that are given out after it; those that were given out stay as they are.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date
from typing import Literal

from city.clocks import Calendar
from city.rights import Actor, decide
from events.civic import DayChanged, desk_source
from events.clock import Clock
from events.errors import AccessDenied, MissingValue, StorageError
from events.events import Event
from events.ids import event_id
from storage.city.store import CityStore
from storage.journal import Journal

FAMILY = "desk"
FRESH_S = 3.0
"""How old what was read of the store may be."""


class DayDesk:
    """Changes days. From any thread.

    Args:
        site: id of the site, for events' sources.
    """

    def __init__(self, journal: Journal, clock: Clock, site: str) -> None:
        self._journal = journal
        self._clock = clock
        self._site = site

    def change(
        self, day: str, is_: Literal["holiday", "workday", "usual"], name: str, actor: Actor
    ) -> DayChanged:
        """Say what a day is. `usual`: what the calendar's file says.

        Raises:
            AccessDenied: the actor may not.
            MissingValue: there is no such day.
            VersionConflict: somebody else changed it just now.
            StorageError: nothing was changed.
        """
        decision = decide(actor, "calendar.write", "")  # it holds for the whole city
        if not decision.allowed:
            raise AccessDenied(decision.why)
        try:
            known = date.fromisoformat(day).isoformat()
        except ValueError:
            known = ""
        if known != day:
            raise MissingValue(f"{day[:20]!r} is no day; write it like 2026-10-01", "day")
        source, now = desk_source(self._site, f"day:{day}"), self._clock.wall_us()
        sequence = len(self._journal.history(source, FAMILY))
        data = DayChanged(day=day, is_=is_, name=name, who=actor.who)
        id = event_id(source, FAMILY, 0, sequence, now, actor.who)
        self._journal.append_next(
            [Event(id=id, source=source, time_us=now, epoch=0, sequence=sequence, data=data)]
        )
        return data


def live(base: Calendar, store: CityStore, clock: Clock) -> Calendar:
    """The calendar with the store's changed days, as they are whenever it is asked (read again after
    `FRESH_S`; while the store does not answer, as they were)."""
    changed = _Changed(base, store, clock)
    same = {name: getattr(base, name) for name in Calendar.__struct_fields__}
    return _Live(**same | {"days": _Days(changed), "names": _Names(changed)}, base=base)


class _Live(Calendar, frozen=True, kw_only=True):
    """A calendar whose days come and go."""

    base: Calendar

    def with_days(self, changes: Mapping[str, tuple[str, str]]) -> Calendar:
        """The file's calendar with these changes, whatever was read of them before."""
        return self.base.with_days(changes)


class _Changed:
    """The calendar with the days that the store has, read again now and then."""

    def __init__(self, base: Calendar, store: CityStore, clock: Clock) -> None:
        self._base = base
        self._store = store
        self._clock = clock
        self._now = base
        self._read = -FRESH_S

    def calendar(self) -> Calendar:
        now = self._clock.monotonic()
        if now - self._read >= FRESH_S:
            self._read = now
            with suppress(StorageError):  # the deadline that is asked for must not wait for it
                self._now = self._base.with_days(self._store.desk.days())
        return self._now


class _Days(Mapping[str, bool]):
    def __init__(self, changed: _Changed) -> None:
        self._changed = changed

    def __getitem__(self, day: str) -> bool:
        return self._changed.calendar().days[day]

    def __iter__(self) -> Iterator[str]:
        return iter(self._changed.calendar().days)

    def __len__(self) -> int:
        return len(self._changed.calendar().days)


class _Names(Mapping[str, str]):
    def __init__(self, changed: _Changed) -> None:
        self._changed = changed

    def __getitem__(self, day: str) -> str:
        return self._changed.calendar().names[day]

    def __iter__(self) -> Iterator[str]:
        return iter(self._changed.calendar().names)

    def __len__(self) -> int:
        return len(self._changed.calendar().names)

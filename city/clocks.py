"""The three clocks of deadlines: natural hours, working hours, working days.

Natural hours are elapsed time: no clock change touches them. Working hours run while the calendar says that
people work. Working days are counted as the law counts days: the day on which it begins is not counted, and
the last one ends when work ends (Civil Code of the PRC, articles 201 and 203; from memory).

For all three, what is left at one moment and given again at a later one is the same amount of time:
`due(t, kind, left(t, due_us, kind)) == due_us`, as long as it is not overdue and ends within working time.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from events.civic import ClockKind, Deadline

HOUR_US = 3_600_000_000
MAX_AMOUNT = 10_000.0
"""Largest amount of any clock: hours, working hours or working days."""
_MAX_DAYS = 60_000
"""Search bound; a calendar has some work in every year without entries, so it is never reached."""

Span = tuple[int, int]


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """When people work. `city.calendars` reads one from its file."""

    zone: str = "Asia/Shanghai"
    hours: tuple[Span, ...] = ((510, 720), (810, 1050))
    """Of a working day, in minutes since midnight by the wall: 08:30-12:00, 13:30-17:30."""
    weekdays: frozenset[int] = frozenset(range(5))
    """Usual working days: 0 Monday ... 6 Sunday."""
    days: Mapping[str, bool] = {}
    """YYYY-MM-DD -> whether it is a working day, where that is not as usual."""
    names: Mapping[str, str] = {}
    """Of such days."""
    years: frozenset[int] = frozenset()
    """Years whose holidays are known; of others weekdays are counted."""

    def works(self, day: date) -> bool:
        """Whether it is a working day."""
        said = self.days.get(day.isoformat())
        return day.weekday() in self.weekdays if said is None else said

    def day(self, time_us: int) -> date:
        """The day that the moment belongs to, here."""
        return _local(time_us, _zone(self.zone)).date()

    def spans(self, day: date) -> list[Span]:
        """Working time of a day as pairs of microseconds since 1970; empty: none."""
        if not self.works(day):
            return []
        zone = _zone(self.zone)
        spans: list[Span] = []
        last = 0
        for start, end in self.hours:
            # What a clock change leaves out of a span is not worked.
            a = max(last, _moment(day, start, zone))
            b = max(a, _moment(day, end, zone))
            spans.append((a, b))
            last = b
        return spans

    def close_of(self, day: date) -> int:
        """When work ends on a working day."""
        return _moment(day, self.hours[-1][1], _zone(self.zone))

    def unpublished(self, *times_us: int) -> int:
        """The first year between the moments (or of the one) whose holidays nobody has published; 0: none."""
        years = [self.day(t).year for t in times_us if t]
        span = range(min(years), max(years) + 1) if years else range(0)
        return next((year for year in span if year not in self.years), 0)

    def warning(self, *times_us: int) -> str:
        """What to tell people about `unpublished`; '': nothing."""
        year = self.unpublished(*times_us)
        if not year:
            return ""
        return (
            f"the holidays of {year} are not in the working calendar: weekdays are counted as working days; "
            "add them to its file, or day by day, once they are published"
        )

    def with_days(self, changes: Mapping[str, tuple[str, str]]) -> "Calendar":
        """The calendar with days changed: YYYY-MM-DD -> (holiday, workday or usual; name). Usual: as it is
        here, for a change was taken back."""
        said = {day: change for day, change in changes.items() if change[0] != "usual"}
        days = {day: is_ == "workday" for day, (is_, _) in said.items()}
        names = {day: name for day, (_, name) in said.items()}
        return msgspec.structs.replace(self, days={**self.days, **days}, names={**self.names, **names})


def due(start_us: int, kind: ClockKind, amount: float, calendar: Calendar) -> int:
    """When an amount of time that begins now is over.

    Args:
        amount: hours, working hours, or whole working days; below 0: so much before `start_us`.

    Raises:
        ValueError: it is more than `MAX_AMOUNT`, or part of a working day.
    """
    if not abs(amount) <= MAX_AMOUNT:
        raise ValueError(f"{amount:g} {kind} is more than {MAX_AMOUNT:g}")
    if kind == "hours":
        return start_us + round(amount * HOUR_US)
    if kind == "working-hours":
        wanted = round(amount * HOUR_US)
        return _forward(start_us, wanted, calendar) if wanted >= 0 else _back(start_us, -wanted, calendar)
    if amount != int(amount):
        raise ValueError(f"{amount:g} working days: only whole ones are counted; use working hours")
    return calendar.close_of(_shifted(calendar.day(start_us), int(amount), calendar))


def left(now_us: int, due_us: int, kind: ClockKind, calendar: Calendar) -> float:
    """How much of the clock's time is left, in its unit; below 0: it is overdue by so much."""
    if kind == "hours":
        return (due_us - now_us) / HOUR_US
    early, late = min(now_us, due_us), max(now_us, due_us)
    if kind == "working-hours":
        worked = sum(_overlap(early, late, calendar)) / HOUR_US
        return worked if now_us <= due_us else -worked
    first, last = calendar.day(early), calendar.day(late)
    days = sum(calendar.works(day) for day in _after(first, last))
    # Overdue on the very day is overdue: it must not come back to life when the clock runs on.
    return float(days) if now_us <= due_us else -float(max(days, 1))


def started(
    name: str, now_us: int, kind: ClockKind, amount: float, warn: float, calendar: Calendar
) -> Deadline:
    """A clock that begins now."""
    return ending(
        Deadline(name=name, kind=kind, amount=amount, started_us=now_us, due_us=0),
        due(now_us, kind, amount, calendar),
        warn,
        calendar,
    )


def ending(deadline: Deadline, due_us: int, warn: float, calendar: Calendar) -> Deadline:
    """The clock with this end, and its warning before it; none where that would be before it began."""
    warn_us = due(due_us, deadline.kind, -warn, calendar) if warn else 0
    if warn_us <= deadline.started_us or warn_us >= due_us:
        warn_us = 0
    return msgspec.structs.replace(deadline, due_us=due_us, warn_us=warn_us)


def stopped(deadline: Deadline, now_us: int, calendar: Calendar) -> Deadline:
    """The clock stopped, with what is left of it."""
    if not deadline.runs:
        return deadline
    rest = left(now_us, deadline.due_us, deadline.kind, calendar)
    return msgspec.structs.replace(deadline, stopped_us=now_us, left=rest)


def resumed(deadline: Deadline, now_us: int, warn: float, calendar: Calendar) -> Deadline:
    """The clock running again for what was left."""
    if not deadline.stopped_us or deadline.met_us:
        return deadline
    end = due(now_us, deadline.kind, deadline.left, calendar)
    if end < now_us and deadline.left >= 0:
        # It was stopped on its last working day, and today nobody works any more: tomorrow is that day.
        end = due(now_us, deadline.kind, deadline.left + 1, calendar)
    return ending(msgspec.structs.replace(deadline, stopped_us=0, left=0.0), end, warn, calendar)


def extended(deadline: Deadline, amount: float, warn: float, calendar: Calendar) -> Deadline:
    """The clock with so much more; what was said of it is said anew."""
    longer = msgspec.structs.replace(deadline, amount=deadline.amount + amount, told=())
    if deadline.stopped_us:
        return msgspec.structs.replace(longer, left=deadline.left + amount)
    return ending(longer, due(deadline.due_us, deadline.kind, amount, calendar), warn, calendar)


def met(deadline: Deadline, now_us: int) -> Deadline:
    """The clock with what it asks for done."""
    return deadline if deadline.met_us else msgspec.structs.replace(deadline, met_us=now_us)


# -- parts


def _forward(start_us: int, wanted: int, calendar: Calendar) -> int:
    if not wanted:
        return start_us
    day = calendar.day(start_us)
    for _ in range(_MAX_DAYS):
        for a, b in calendar.spans(day):
            begin = max(a, start_us)
            if b <= begin:
                continue
            if wanted <= b - begin:
                return begin + wanted
            wanted -= b - begin
        day += timedelta(days=1)
    raise ValueError("the working calendar has no work to count")


def _back(end_us: int, wanted: int, calendar: Calendar) -> int:
    day = calendar.day(end_us)
    for _ in range(_MAX_DAYS):
        for a, b in reversed(calendar.spans(day)):
            close = min(b, end_us)
            if close <= a:
                continue
            if wanted <= close - a:
                return close - wanted
            wanted -= close - a
        day -= timedelta(days=1)
    raise ValueError("the working calendar has no work to count")


def _overlap(from_us: int, to_us: int, calendar: Calendar) -> Iterable[int]:
    day, last = calendar.day(from_us), calendar.day(to_us)
    while day <= last:
        for a, b in calendar.spans(day):
            yield max(0, min(b, to_us) - max(a, from_us))
        day += timedelta(days=1)


def _shifted(day: date, count: int, calendar: Calendar) -> date:
    """The working day that is `count` after (before) the last one up to `day`."""
    while not calendar.works(day):
        day -= timedelta(days=1)
    step = timedelta(days=1 if count > 0 else -1)
    for _ in range(abs(count)):
        day += step
        while not calendar.works(day):
            day += step
    return day


def _after(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=n) for n in range(1, (last - first).days + 1))


@lru_cache(maxsize=8)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _local(time_us: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).astimezone(zone)


def _moment(day: date, minutes: int, zone: tzinfo) -> int:
    wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)
    return int(wall.replace(tzinfo=zone).timestamp()) * 1_000_000

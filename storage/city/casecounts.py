"""What is counted of cases as they change: figures by day and town, by day and category, by month, town and
category, by month and community; and spots at which the same comes again.

Each case counts in one cell of each table (`city.closure`); a change of the case changes the cells by the
difference, and what is asked for is a sum of few rows however many cases there were.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Column, Connection, Integer, Table

from city.cases import Case
from city.closure import FACTS, STEPS, facts, spot, step_of
from storage.city.casetables import plain_text
from storage.city.engine import merge
from storage.city.metadata import METADATA, WORD

FIGURES = (*FACTS, *(f"s{n}" for n in range(STEPS)))
"""Columns of figures: how many have each fact, and how many were closed within each step of time."""


def _table(name: str, *keys: str) -> Table:
    return Table(
        name,
        METADATA,
        *(Column(key, Integer if key in ("day", "month") else WORD, primary_key=True) for key in keys),
        *(Column(figure, Integer, nullable=False) for figure in FIGURES),
        sqlite_with_rowid=False,
    )


BY_TOWN = _table("case_towns", "scenario", "day", "town")
BY_CATEGORY = _table("case_categories", "scenario", "day", "category")
BY_MONTH = _table("case_months", "scenario", "month", "town", "category")
BY_COMMUNITY = _table("case_communities", "scenario", "month", "community")
SPOTS = Table(
    "case_spots",
    METADATA,
    Column("scenario", WORD, primary_key=True),
    Column("month", Integer, primary_key=True),
    Column("town", WORD, primary_key=True),
    Column("spot", BigInteger, primary_key=True),
    Column("category", WORD, primary_key=True),
    Column("count", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Days are numbered from 1970-01-01, months by their first day."""

_QUARTER_US = 900_000_000
_EPOCH = date(1970, 1, 1)
Cell = tuple[Any, ...]


class Days:
    """The days of a time zone, as numbers."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._of = lru_cache(maxsize=1 << 17)(self._day)

    def of(self, time_us: int) -> int:
        """Number of the day in which a time lies."""
        return self._of(time_us // _QUARTER_US)

    def _day(self, quarter: int) -> int:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=quarter * _QUARTER_US)
        return (moment.astimezone(self._zone).date() - _EPOCH).days

    def start_us(self, day: int) -> int:
        """When a day begins."""
        moment = datetime.combine(day_of(day), datetime.min.time(), self._zone)
        return round(moment.timestamp()) * 1_000_000


def day_of(number: int) -> date:
    """The day of this number."""
    return _EPOCH + timedelta(days=number)


def number_of(day: date) -> int:
    """The day's number."""
    return (day - _EPOCH).days


@lru_cache(maxsize=1 << 14)
def month_of(day: int) -> int:
    """Number of the first day of its month."""
    return number_of(day_of(day).replace(day=1))


class Differences:
    """What changes of cases change in the figures."""

    def __init__(self, days: Days) -> None:
        self._days = days
        self._cells: dict[Table, dict[Cell, list[int]]] = {
            table: {} for table in (BY_TOWN, BY_CATEGORY, BY_MONTH, BY_COMMUNITY)
        }
        self._spots: dict[Cell, int] = {}

    def add(self, before: Case | None, after: Case) -> None:
        """A case is now another one, or new."""
        new = _sort(after)
        if before is not None:
            old = _sort(before)
            if old == new:
                return
            self._count(before, old, -1)
        self._count(after, new, 1)

    def _count(self, case: Case, sort: Cell, sign: int) -> None:
        place, area, category, held, step = sort
        day = self._days.of(case.opened_us)
        month, scenario = month_of(day), plain_text(case.scenario)
        town = area[:9]
        for table, cell in (
            (BY_TOWN, (scenario, day, town)),
            (BY_CATEGORY, (scenario, day, category)),
            (BY_MONTH, (scenario, month, town, category)),
            (BY_COMMUNITY, (scenario, month, area)),
        ):
            figures = self._cells[table].get(cell)
            if figures is None:
                figures = self._cells[table][cell] = [0] * len(FIGURES)
            for n in _BITS[held]:
                figures[n] += sign
            if step >= 0:
                figures[len(FACTS) + step] += sign
        if place is not None:
            key = (scenario, month, town, place, category)
            self._spots[key] = self._spots.get(key, 0) + sign

    def write(self, connection: Connection) -> None:
        """Add them to what is there."""
        for table, cells in self._cells.items():
            rows = [(*cell, *figures) for cell, figures in sorted(cells.items()) if any(figures)]
            merge(connection, table, [column.name for column in table.columns], rows, add=True)
        spots = [(*key, n) for key, n in sorted(self._spots.items()) if n]
        merge(connection, SPOTS, [column.name for column in SPOTS.columns], spots, add=True)


def _sort(case: Case) -> Cell:
    """What of a case decides where and as what it counts: spot, community, category, facts, step."""
    place = spot(case.place) if case.place else None
    return place, plain_text(case.area[:12]), plain_text(case.category), facts(case), step_of(case)


_BITS = tuple(tuple(n for n in range(len(FACTS)) if held >> n & 1) for held in range(1 << len(FACTS)))


def figures_of(cases: Iterable[Case]) -> Mapping[str, int]:
    """The figures of some cases, counted one by one."""
    found = dict.fromkeys(FIGURES, 0)
    for case in cases:
        for n in _BITS[facts(case)]:
            found[FACTS[n]] += 1
        if (step := step_of(case)) >= 0:
            found[f"s{step}"] += 1
    return found

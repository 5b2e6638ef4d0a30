"""What is asked of the sums that `casecounts` keeps, and of few cases where those are too coarse."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, Table, case, func, select

from city.closure import FACTS, STEPS, middle, quantile
from storage.city.casecounts import (
    BY_CATEGORY,
    BY_COMMUNITY,
    BY_MONTH,
    BY_TOWN,
    FIGURES,
    SPOTS,
    Days,
    day_of,
    month_of,
    number_of,
)
from storage.city.casefind import within
from storage.city.casequery import CaseQuery, ClosureRow, Grouping, OverdueRow, SpotRow
from storage.city.casetables import CASES, OPEN

Span = tuple[int, int]
"""Numbers of days: the first, and the one after the last."""


def closure(
    connection: Connection, days: Days, scenario: str, asked: tuple[str, str], by: Grouping, area: str
) -> list[ClosureRow]:
    """`CaseTables.closure`."""
    sums = _Sums(connection, days, scenario, by, area).over(_span(asked))
    return [_row(key, figures) for key, figures in sorted(sums.items()) if figures[0]]


def row_query(
    days: Days, scenario: str, asked: tuple[str, str], by: Grouping, key: str, area: str
) -> CaseQuery:
    """`CaseTables.row`."""
    first, end = _span(asked)
    town = category = community = None
    if by == "town":
        town = key
    elif by == "community":
        community = key
    elif by == "category":
        category = key
    elif by == "scenario":
        scenario = key
    else:
        day = number_of(date.fromisoformat(key if by == "day" else f"{key}-01"))
        last = day + 1 if by == "day" else _next_month(day)
        first, end = max(first, day), min(end, last)
    return CaseQuery(
        scenario=scenario,
        area=area,
        town=town,
        community=community,
        category=category or "",
        since_us=days.start_us(first),
        until_us=days.start_us(end),
    )


def overdue(connection: Connection, now_us: int, area: str) -> list[OverdueRow]:
    """`CaseTables.overdue`."""
    late = func.sum(case(((OPEN.c.due_us > 0) & (OPEN.c.due_us < now_us), 1), else_=0))
    asked = select(OPEN.c.scenario, OPEN.c.level, late, func.count()).where(*within(OPEN, area))
    found = connection.execute(asked.group_by(OPEN.c.scenario, OPEN.c.level))
    return [OverdueRow(*row) for row in sorted((s, level, int(n), int(m)) for s, level, n, m in found)]


def recurring(
    connection: Connection, scenario: str, since_day: str, least: int, area: str, limit: int
) -> list[SpotRow]:
    """`CaseTables.recurring`."""
    c, total = SPOTS.c, func.sum(SPOTS.c.count)
    month = month_of(number_of(date.fromisoformat(since_day)))
    asked = select(c.spot, c.category, total).where(c.scenario == scenario, c.month >= month)
    if area:
        asked = asked.where(func.substr(c.town, 1, min(len(area), 9)) == area[:9])
    asked = (
        asked.group_by(c.spot, c.category).having(total >= least).order_by(total.desc(), c.spot, c.category)
    )
    found = []
    for number, category, n in connection.execute(asked):
        last = _last_at(connection, scenario, number, category)
        if last is not None and last[0].startswith(area):
            found.append(
                SpotRow(
                    spot=number,
                    place=middle(number),
                    category=category,
                    area=last[0],
                    count=int(n),
                    last_us=last[1],
                )
            )
        if len(found) == limit:
            break
    return found


def _last_at(connection: Connection, scenario: str, spot: int, category: str) -> tuple[str, int] | None:
    c = CASES.c
    asked = select(c.area, c.opened_us).where(c.spot == spot, c.category == category, c.scenario == scenario)
    row = connection.execute(asked.order_by(c.opened_us.desc(), c.case.desc()).limit(1)).first()
    return None if row is None else (str(row[0]), int(row[1]))


class _Sums:
    """Figures of cases by key, from the coarsest rows that have what is asked for."""

    def __init__(self, connection: Connection, days: Days, scenario: str, by: Grouping, area: str) -> None:
        self._connection = connection
        self._days = days
        self._scenario = scenario
        self._by: Grouping = by
        self._area = area
        self._found: dict[str, list[int]] = {}

    def over(self, span: Span) -> dict[str, list[int]]:
        """Of the cases opened on these days."""
        below_town = len(self._area) > 9 or self._by == "community"
        if not below_town and not (self._by == "category" and self._area):
            self._add(BY_CATEGORY if self._by == "category" else BY_TOWN, "day", span)
        elif not below_town:
            self._monthly(BY_MONTH, span)
        elif len(self._area) <= 12 and self._by in ("community", "month", "scenario"):
            self._monthly(BY_COMMUNITY, span)
        else:
            self._live(span)
        return self._found

    def _monthly(self, table: Table, span: Span) -> None:
        """Whole months from the sums, what is left at either end from the cases."""
        first, end = span
        begin = first if month_of(first) == first else _next_month(first)
        finish = max(month_of(end), begin)
        self._live((first, min(begin, end)))
        self._add(table, "month", (begin, finish))
        self._live((finish, end))

    def _add(self, table: Table, unit: str, span: Span) -> None:
        """The sums of a table over a span of its days or months."""
        column = table.c[unit if self._by in ("day", "month") else self._by]
        asked = select(column, *(func.sum(table.c[name]) for name in FIGURES))
        asked = asked.where(table.c[unit] >= span[0], table.c[unit] < span[1])
        if self._scenario:
            asked = asked.where(table.c.scenario == self._scenario)
        if self._area:
            place = table.c.community if table is BY_COMMUNITY else table.c.town
            asked = asked.where(func.substr(place, 1, len(self._area)) == self._area)
        for key, *figures in self._connection.execute(asked.group_by(column)):
            self._sum(key, map(int, figures))

    def _live(self, span: Span) -> None:
        """The same counted from the cases themselves."""
        if span[0] >= span[1]:
            return
        c = CASES.c
        column = c.opened_us if self._by in ("day", "month") else c[self._by]
        since, until = map(self._days.start_us, span)
        asked = select(column, c.facts, c.step, func.count()).where(*within(CASES, self._area))
        asked = asked.where(c.opened_us >= since, c.opened_us < until)
        if self._scenario:
            asked = asked.where(c.scenario == self._scenario)
        for key, held, step, n in self._connection.execute(asked.group_by(column, c.facts, c.step)):
            figures = [n * (held >> bit & 1) for bit in range(len(FACTS))]
            figures += [n * (step == at) for at in range(STEPS)]
            self._sum(self._days.of(key) if self._by in ("day", "month") else key, figures)

    def _sum(self, key: Any, figures: Iterable[int]) -> None:
        name = _named(key, self._by)
        have = self._found.get(name)
        self._found[name] = (
            list(figures) if have is None else [a + b for a, b in zip(have, figures, strict=True)]
        )


def _named(key: Any, by: Grouping) -> str:
    if by not in ("day", "month"):
        return str(key)
    text = day_of(int(key)).isoformat()
    return text if by == "day" else text[:7]


def _row(key: str, figures: Sequence[int]) -> ClosureRow:
    facts, steps = figures[: len(FACTS)], figures[len(FACTS) :]
    return ClosureRow(
        key=key,
        **dict(zip(FACTS, facts, strict=True)),
        median_s=quantile(steps, 0.5),
        p90_s=quantile(steps, 0.9),
        p99_s=quantile(steps, 0.99),
    )


def _span(asked: tuple[str, str]) -> Span:
    first, last = (number_of(date.fromisoformat(day)) for day in asked)
    return first, last + 1


def _next_month(day: int) -> int:
    return month_of(month_of(day) + 31)

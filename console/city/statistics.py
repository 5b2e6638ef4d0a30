"""Figures of the cases. Closed is not solved: they are counted apart, and each figure links to its cases."""

from datetime import date
from typing import Annotated, get_args
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from city.rights import OWN
from console.city.auth import permit, reached
from console.city.context import city_of
from console.city.describing import answer, gives
from console.city.forms import CasePage, shown
from console.city.narrowing import After, Code, Narrowed, Word, area_within, narrowed, paging
from console.problems import Problem
from storage.city.casequery import ClosureRow, Figure, Finding, Grouping

router = APIRouter(prefix="/statistics", tags=["statistics"])

MOST = 500
Day = Annotated[str, Query(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-11-28"])]
Limit = Annotated[int, Query(ge=1, le=MOST)]
_FIGURES: tuple[Figure, ...] = get_args(Figure)


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many, its share of what was opened, and where the cases are that it counts."""

    count: int
    share: float | None = None
    """0 to 1; null: of nothing."""
    cases: str
    """Path and query."""


class Closure(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the cases of one town, category, day ... that were opened in the span."""

    key: str
    opened: Count
    closed: Count
    on_time: Count
    called_back: Count
    solved: Count
    satisfied: Count
    reopened: Count
    median_s: float | None
    """Half of the closed ones took no longer; null: none is closed."""
    p90_s: float | None
    p99_s: float | None


class ClosureList(msgspec.Struct, frozen=True, kw_only=True):
    """Closure by key. Times to close are from a histogram and exact to its steps (a quarter to a half)."""

    items: tuple[Closure, ...]


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Open cases within the caller's jurisdiction, counted up to `most`."""

    open: int
    overdue: int
    most: int
    now_us: int


class Overdue(msgspec.Struct, frozen=True, kw_only=True):
    """Open cases of a level, and those of which a clock has run out."""

    scenario: str
    level: str
    open: Count
    overdue: Count


class OverdueList(msgspec.Struct, frozen=True, kw_only=True):
    """Overdue by scenario and level."""

    items: tuple[Overdue, ...]
    now_us: int


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A place, about 100 m wide, at which the same comes again and again."""

    place: tuple[float, float]
    category: str
    area: str
    last_us: int
    count: Count


class SpotList(msgspec.Struct, frozen=True, kw_only=True):
    """Recurring places, those with most cases first."""

    items: tuple[Spot, ...]


@router.get("/open", summary="How many are open, how many overdue", responses=gives(Open, "Two figures."))
def open_cases(request: Request, query: Narrowed) -> Response:
    most, store = 10_000, city_of(request).store.cases
    now = city_of(request).clock.wall_us()
    still = msgspec.structs.replace(narrowed(request, query), open=True)
    late = msgspec.structs.replace(still, overdue_at_us=now)
    return answer(Open(open=store.count(still, most), overdue=store.count(late, most), most=most, now_us=now))


@router.get(
    "/closure",
    summary="Closed, on time, called back, solved, satisfied",
    responses=gives(ClosureList, "By key."),
)
def closure(
    request: Request,
    since: Day,
    until: Day,
    by: Grouping = "town",
    scenario: Code = "",
    area: Code = "",
) -> Response:
    """Of the cases opened from `since` to `until` (days of the city's time zone, both included)."""
    _span(since, until)
    _, prefix = reached(request, "statistics.read")
    inside = area_within(prefix, area)
    found = city_of(request).store.cases.closure(scenario, since, until, by, inside)
    asked = {"since": since, "until": until, "by": by, "scenario": scenario, "area": inside}
    return answer(ClosureList(items=tuple(_closure(row, asked) for row in found)))


@router.get(
    "/closure/cases",
    summary="The cases that a figure of closure counts",
    responses=gives(CasePage, "Some of them."),
)
def closure_cases(  # noqa: PLR0913 - a parameter of the operation each
    request: Request,
    figure: Figure,
    since: Day,
    until: Day,
    by: Grouping,
    key: Word,
    scenario: Code = "",
    area: Code = "",
    limit: Limit = 50,
    after: After = "",
) -> Response:
    """With the parameters of `closure` and the `key` of one of its rows."""
    _span(since, until)
    _, prefix = reached(request, "statistics.read")
    actor, _ = reached(request, "case.read")
    if actor.role in OWN:
        raise Problem(403, f"{actor.who} sees the cases of {actor.org} alone; GET /city/cases lists them")
    inside = area_within(prefix, area)
    with paging():
        page = city_of(request).store.cases.behind(
            figure, scenario, since, until, by, key, inside, after, limit
        )
    return answer(CasePage(items=tuple(map(shown, page.cases)), next=page.after or None))


@router.get("/overdue", summary="Overdue by scenario and level", responses=gives(OverdueList, "As of now."))
def overdue(request: Request, area: Code = "") -> Response:
    _, prefix = reached(request, "statistics.read")
    now, inside = city_of(request).clock.wall_us(), area_within(prefix, area)
    rows = city_of(request).store.cases.overdue(now, inside)
    items = []
    for row in rows:
        asked = {"scenario": row.scenario, "level": row.level, "area": inside, "open": "true"}
        items.append(
            Overdue(
                scenario=row.scenario,
                level=row.level,
                open=Count(count=row.open, cases=_link("/city/cases", asked)),
                overdue=Count(
                    count=row.overdue,
                    share=_share(row.overdue, row.open),
                    cases=_link("/city/cases", asked | {"overdue": "true"}),
                ),
            )
        )
    return answer(OverdueList(items=tuple(items), now_us=now))


@router.get(
    "/recurring", summary="Places at which the same comes again", responses=gives(SpotList, "The most first.")
)
def recurring(
    request: Request,
    since: Day,
    scenario: Code = "",
    area: Code = "",
    least: Annotated[int, Query(ge=2, le=1000)] = 3,
    limit: Limit = 100,
) -> Response:
    """Counted by months: from the first day of the month of `since`."""
    start = city_of(request).midnight(_date(since, "since").replace(day=1))
    _, prefix = reached(request, "statistics.read")
    inside = area_within(prefix, area)
    items = []
    for row in city_of(request).store.cases.recurring(scenario, since, least, inside, limit):
        asked = {"scenario": scenario, "area": inside, "category": row.category, "since": str(start)}
        link = _link("/city/cases", asked | {"bbox": ",".join(f"{x:.5f}" for x in _around(*row.place))})
        items.append(
            Spot(
                place=row.place,
                category=row.category,
                area=row.area,
                last_us=row.last_us,
                count=Count(count=row.count, cases=link),
            )
        )
    return answer(SpotList(items=tuple(items)))


@router.get(
    "/findings",
    summary="Cases for the auditor: re-clocked, self-checked, parked and then closed",
    responses=gives(CasePage, "Some of them, the latest first."),
)
def findings(
    request: Request, what: Finding, area: Code = "", limit: Limit = 50, after: After = ""
) -> Response:
    actor, prefix = reached(request, "audit.read")
    permit(request, "case.read", area or actor.place)
    with paging():
        page = city_of(request).store.cases.findings(what, area_within(prefix, area), after, limit)
    return answer(CasePage(items=tuple(map(shown, page.cases)), next=page.after or None))


def _closure(row: ClosureRow, asked: dict[str, str]) -> Closure:
    counts = {
        name: Count(
            count=getattr(row, name),
            share=None if name == "opened" else _share(getattr(row, name), row.opened),
            cases=_link("/city/statistics/closure/cases", {"figure": name, **asked, "key": row.key}),
        )
        for name in _FIGURES
    }
    return Closure(key=row.key, median_s=row.median_s, p90_s=row.p90_s, p99_s=row.p99_s, **counts)


def _around(lon: float, lat: float) -> tuple[float, float, float, float]:
    """About 50 m to each side."""
    return lon - 0.0005, lat - 0.0005, lon + 0.0005, lat + 0.0005


def _share(count: int, of: int) -> float | None:
    return round(count / of, 6) if of else None


def _link(path: str, asked: dict[str, str]) -> str:
    return f"{path}?{urlencode({name: value for name, value in asked.items() if value or name == 'key'})}"


def _span(since: str, until: str) -> None:
    if _date(until, "until") < _date(since, "since"):
        raise Problem(400, f"until must not be before since ({since})", "until")


def _date(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Problem(400, f"{name} must be a day YYYY-MM-DD that there is, not {text!r}", name) from None

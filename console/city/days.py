"""The working calendar over HTTP: what a day is, and changing it. Deadlines that were given out stay."""

from datetime import date
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from console.city.auth import permit, reached
from console.city.context import City, city_of
from console.city.describing import answer, gives, reads, takes
from console.city.forms import Line
from desk.shown import until_shown

router = APIRouter(prefix="/days", tags=["calendar"])

DayPath = Annotated[str, Path(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-10-01"])]


class DayForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a day is; usual: as the calendar's file says."""

    is_: Literal["holiday", "workday", "usual"] = msgspec.field(name="is")
    name: Line = ""


class DayShown(msgspec.Struct, frozen=True, kw_only=True):
    """A day that is not as its day of the week says, or that people changed."""

    day: str
    works: bool
    name: str = ""
    changed_by: str = ""
    """Who changed it while the city ran; '': the file says so."""


class DayList(msgspec.Struct, frozen=True, kw_only=True):
    """Days of a year that are not usual."""

    items: tuple[DayShown, ...]
    published: bool
    """Whether the holidays of the year are known; if not, weekdays are counted as working days."""
    zone: str
    hours: tuple[tuple[int, int], ...]
    """Of a working day, in minutes since midnight."""


@router.get("", summary="Days of a year that are not usual", responses=gives(DayList, "By day."))
def days(request: Request, year: Annotated[int, Query(ge=1990, le=2200, examples=[2026])]) -> Response:
    reached(request, "map.read")
    city = city_of(request)
    calendar = city.calendar.with_days(city.store.desk.days())
    changed = {row.day: row.who for row in city.store.desk.day_rows()}
    some = sorted(day for day in {*calendar.days, *changed} if day.startswith(f"{year:04}-"))
    return answer(
        DayList(
            items=tuple(_shown(city, day, changed.get(day, "")) for day in some),
            published=year in calendar.years,
            zone=calendar.zone,
            hours=calendar.hours,
        )
    )


@router.put(
    "/{day}",
    summary="Say what a day is",
    responses=gives(DayShown, "The day as it is now."),
    openapi_extra=takes(DayForm, {"is": "holiday", "name": "storm"}),
)
def change(request: Request, day: DayPath, form: Annotated[DayForm, reads(DayForm)]) -> Response:
    """Deadlines that are given out from now on count it so."""
    actor = permit(request, "calendar.write", "")
    city = city_of(request)
    said = city.days.change(day, form.is_, form.name, actor)

    def look() -> DayShown | None:
        rows = {row.day: row for row in city.store.desk.day_rows()}
        row = rows.get(day)
        known = row is not None and (row.is_, row.name, row.who) == (said.is_, said.name, said.who)
        return _shown(city, day, actor.who) if known else None

    return answer(until_shown(city.clock, look, f"the day {day}", 0))


def _shown(city: City, day: str, changed_by: str) -> DayShown:
    calendar = city.calendar.with_days(city.store.desk.days())
    works = calendar.works(date.fromisoformat(day))
    return DayShown(day=day, works=works, name=calendar.names.get(day, ""), changed_by=changed_by)

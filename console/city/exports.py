"""Cases in bulk, for those who may take them away: as a table or as lines of JSON, without words of persons.
Each export is written down with its purpose."""

import csv
import io
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from city.cases import Case
from console.city.auth import known
from console.city.cases import Purpose
from console.city.context import City, city_of
from console.city.forms import shown
from console.city.narrowing import Narrowed, narrowed
from storage.city.casequery import CaseQuery

router = APIRouter(tags=["exports"])

_PAGE = 500
COLUMNS = (
    *(
        "case",
        "version",
        "scenario",
        "state",
        "final",
        "title",
        "category",
        "code_system",
        "severity",
        "level",
    ),
    *("area", "longitude", "latitude", "holder", "marks", "cause", "component", "estate", "channel"),
    *("reference", "other", "opened_us", "closed_us", "due_us", "last_action", "last_by"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_KINDS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


@router.get(
    "/exports/cases",
    summary="Cases in bulk, the newest first",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "CSV with a line of names, or a case on each line as in GET /city/cases/{id}.",
            "content": {"text/csv": {"schema": {"type": "string"}}, "application/jsonl": {}},
        }
    },
)
def export(
    request: Request,
    query: Narrowed,
    purpose: Purpose,
    format: Annotated[Literal["csv", "jsonl"], Query()] = "csv",
) -> Response:
    """What the filters find within the caller's jurisdiction; `order=due` leaves out what has no clock."""
    wanted = narrowed(request, query, "case.export")
    city = city_of(request)
    city.log.deed(known(request).who, "export", f"cases {wanted.area or 'all'}"[:64], purpose)
    city.journal.flush()  # what cannot be written down is not shown
    lines = _table(city, wanted) if format == "csv" else _lines(city, wanted)
    headers = {"content-disposition": f'attachment; filename="cases.{format}"'}
    return StreamingResponse(lines, media_type=_KINDS[format], headers=headers)


def _cases(city: City, query: CaseQuery) -> Iterator[Case]:
    after = ""
    while True:
        page = city.store.cases.page(query, after, _PAGE)
        yield from page.cases
        after = page.after
        if not after:
            return


def _lines(city: City, query: CaseQuery) -> Iterator[bytes]:
    for case in _cases(city, query):
        yield msgspec.json.encode(shown(case)) + b"\n"


def _table(city: City, query: CaseQuery) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for case in _cases(city, query):
        lon, lat = case.place or ("", "")
        more = {"longitude": lon, "latitude": lat, "marks": " ".join(case.marks)}
        writer.writerow([_cell(more.get(name, getattr(case, name, ""))) for name in COLUMNS])
        if buffer.tell() > 1 << 16:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets a mark that it is text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

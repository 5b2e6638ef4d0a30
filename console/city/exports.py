"""In bulk, for those who may take it away: cases as a table or as lines of JSON, without words of persons;
persons in full; the map as a GeoPackage. Each export is written down with its purpose."""

import csv
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from city.cases import Case
from city.rights import WHOLE
from console.city.auth import known, permit
from console.city.cases import Purpose
from console.city.context import City, city_of
from console.city.describing import reads, takes
from console.city.forms import PRINTED, shown
from console.city.narrowing import Narrowed, narrowed
from console.city.registers import registers_of
from console.problems import Problem
from desk.mapexport import export as write_map
from events.errors import ConfigError, MissingValue
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
_GEOPACKAGE = "application/geopackage+sqlite3"
_KINDS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


class PersonsForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which persons are taken away, and what for."""

    area: Annotated[str, msgspec.Meta(max_length=60, pattern=r"^[0-9A-Za-z-]*$")] = ""
    """Jurisdiction; '': all in the caller's own."""
    purpose: Annotated[str, msgspec.Meta(min_length=3, max_length=200, pattern=PRINTED)]


def _file(kind: str, text: str) -> dict[int | str, dict[str, Any]]:
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"description": text, "content": content}}


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


@router.post(
    "/exports/persons",
    summary="Persons in full, in bulk",
    response_class=StreamingResponse,
    responses=_file("text/csv", "CSV with a line of names, for the caller alone."),
    openapi_extra=takes(PersonsForm, {"area": "990481001001", "purpose": "census of 2026"}),
)
def export_persons(request: Request, form: Annotated[PersonsForm, reads(PersonsForm)]) -> Response:
    """The purpose stands in the access log before the first line is written."""
    desk, actor = registers_of(request)

    def write(path: Path) -> None:
        try:
            desk.export(actor, path, form.area, form.purpose)
        except MissingValue as error:
            raise Problem(422, str(error), error.field) from error

    return _written(request, "persons.csv", "text/csv; charset=utf-8", write)


@router.get(
    "/exports/map",
    summary="The map as a GeoPackage",
    response_class=StreamingResponse,
    responses=_file(_GEOPACKAGE, "For QGIS and others, each layer as one or more tables."),
)
def export_map(
    request: Request,
    purpose: Purpose,
    layer: Annotated[list[str], Query(max_length=40, description="Only these; repeated.")] = [],  # noqa: B006
) -> Response:
    """What lies within the caller's jurisdiction. Cases are on it, too: it needs the right to take those."""
    actor = permit(request, "case.export", known(request).actor.place or WHOLE, what="export")
    city = city_of(request)
    names = {one.name for one in city.store.features.layers()}
    if strange := next((name for name in layer if name not in names), ""):
        some = ", ".join(sorted(names))
        raise Problem(400, f"there is no layer {strange[:40]!r}; there are {some}", "layer")
    city.log.deed(actor.who, "export", f"map {actor.place}"[:64], purpose)
    city.journal.flush()  # what cannot be written down is not shown

    def write(path: Path) -> None:
        try:
            write_map(city.store.features, path, actor, list(dict.fromkeys(layer)))
        except ConfigError as error:  # nothing is in reach
            raise Problem(404, str(error)) from error

    return _written(request, "map.gpkg", _GEOPACKAGE, write)


def _written(request: Request, name: str, kind: str, write: Callable[[Path], None]) -> Response:
    """A file that is made first and sent then, one at a time; its name is gone before the first byte is sent,
    and the rest of it with the last, whoever breaks off. Raises Problem 503."""
    with (
        city_of(request).alone(),
        tempfile.TemporaryDirectory(prefix="linli-") as folder,
    ):  # for its owner alone
        path = Path(folder) / name
        write(path)
        file, size = path.open("rb"), path.stat().st_size
    headers = {"content-disposition": f'attachment; filename="{name}"', "content-length": str(size)}
    return StreamingResponse(_blocks(file), media_type=kind, headers=headers)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(1 << 18):
            yield block


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

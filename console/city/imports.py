"""Files over HTTP: a clerk's spreadsheet, a survey of the map, a hotline's table. Each row is looked at; the
answer has those that were not taken, to be mended and sent again.

The whole file is one request (at most 8 MiB, some 50,000 rows); what is larger, and GeoPackages, come by the
commands `linli registers import`, `linli map import` and `linli appeals import`, which do the same.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi import Path as InPath
from starlette.requests import Request
from starlette.responses import Response

from city.layers import KINDS
from city.rights import OWN, WHOLE, Actor
from console.city.auth import known, needs, permit
from console.city.context import City, city_of
from console.city.describing import answer, gives
from console.city.forms import PRINTED
from console.problems import Problem
from desk.appeallinks import SCENARIO
from desk.hotlinefile import HotlineFile, HotlineMapping
from desk.hotlineimport import HotlineImport
from desk.mapbatch import write_rejected
from desk.mapimport import Options
from desk.registerfiles import Rejected, RejectFile, Row
from desk.registerimport import RegisterImport, areas_of
from events.errors import ConfigError

router = APIRouter(prefix="/imports", tags=["imports"])

SHOWN = 20
"""Rejected rows that are told one by one; all of them are in `aside`."""
_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_GEOJSON = "application/geo+json"
_TABLES = {"text/csv": ".csv", _SHEET: ".xlsx"}
_MAPS = {_GEOJSON: ".geojson", "text/csv": ".csv"}
_EXAMPLES = {
    "text/csv": "home,building,address\nH1,B1,1 East Street\n",
    _SHEET: "PK ... (a workbook)",
    _GEOJSON: {"type": "FeatureCollection", "features": []},
}

Name = Annotated[
    str,
    Query(max_length=80, pattern=r"^[^/\\\x00-\x1f\x7f-\x9f]*$", description="Kept as where it came from."),
]
Dry = Annotated[bool, Query(description="Look at every row and keep nothing.")]
Field = Annotated[
    list[str],
    Query(max_length=40, description="field=column, where the file's heading is not a usual one; repeated."),
]
Complete = Annotated[bool, Query(description="The file has all there is: what it lacks is gone.")]
Short = Annotated[str, Query(max_length=80, pattern=PRINTED)]


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file, or (`dry`) would become of it."""

    dry: bool
    rows: int
    taken: int
    """New, or other than before."""
    known: int
    """Here already, word for word."""
    rejected: int
    first: tuple[Rejected, ...]
    """The first rejected rows, with the reason and the mend."""
    aside: str = ""
    """All rejected rows as a file of the kind that came (CSV for a workbook): mend it and send it."""
    removed: int = 0
    """Of a map's layer: gone, because the file has all there is."""
    linked: int = 0
    """Of appeals: the same as an earlier one."""
    unplaced: int = 0
    """Of appeals: somebody has to place them."""


class _File(msgspec.Struct, frozen=True):
    """A file that came."""

    body: bytes
    suffix: str


def _takes(kinds: dict[str, str]) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    content = {
        kind: {"schema": {"type": "object"} if kind == _GEOJSON else file, "example": _EXAMPLES[kind]}
        for kind in kinds
    }
    return {"requestBody": {"required": True, "content": content}}


def _file(kinds: dict[str, str]) -> Any:
    """A dependency whose value is the request's body as a file of one of these kinds."""

    async def read(request: Request) -> _File:
        """Raises Problem: 415, 422."""
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind not in kinds:
            raise Problem(415, f"send a file as {' or '.join(kinds)}, not {kind[:60]!r}", "content-type")
        body = await request.body()
        if not body:
            raise Problem(422, "the body is empty; send the file in it", "body")
        return _File(body, kinds[kind])

    return Depends(read)


def _bringer(request: Request) -> Actor:
    """Who may bring records: they may say that a case was closed, and how. A channel its own, else those who
    administer the whole city. Raises Problem: 401, 403."""
    own = known(request).actor.role in OWN
    return permit(request, "case.open" if own else "administer", city_of(request).code, what="appeal")


@router.post(
    "/registers/{what}",
    summary="A survey's persons or homes",
    responses=gives(Imported, "What was taken, and what was not."),
    openapi_extra=_takes(_TABLES),
    dependencies=[needs("person.write")],  # before the body is read
)
def registers(  # noqa: PLR0913 - one for each parameter
    request: Request,
    what: Annotated[Literal["person", "home"], InPath()],
    file: Annotated[_File, _file(_TABLES)],
    name: Name = "",
    dry: Dry = False,
    field: Field = [],  # noqa: B006 - FastAPI copies it
    purpose: Short = "survey",
    survey: Short = "",
) -> Response:
    """Homes first, then persons. Who is known already by the identity number (or by the survey's own number,
    which `survey` tells from another's) is changed, not doubled; the same file again changes nothing. Rows
    outside the caller's jurisdiction are rejected."""
    actor = permit(request, "person.write", _own(request))
    city = city_of(request)
    with _lying(city, file, name) as (path, aside):
        desk = RegisterImport(
            city.site, city.journal, city.store.registers, city.objects, city.vault, city.clock,
            areas_of(city.store.features),
        )  # fmt: skip
        report = desk.file(
            path, what, actor, mapping=_pairs(field), dry=dry, rejects=aside, purpose=purpose, survey=survey
        )
        done = Imported(
            dry=dry,
            rows=report.rows,
            taken=report.taken,
            known=report.unchanged,
            rejected=report.rejected,
            first=report.first[:SHOWN],
            aside=_text(aside),
        )
    return answer(done)


@router.post(
    "/map/{what}",
    summary="Things of one kind for the map",
    responses=gives(Imported, "What was taken, and what was not."),
    openapi_extra=_takes(_MAPS),
    dependencies=[needs("map.write")],
)
def places(
    request: Request,
    what: Annotated[str, InPath(description=", ".join(KINDS), examples=["unit"])],
    file: Annotated[_File, _file(_MAPS)],
    name: Name = "",
    dry: Dry = False,
    field: Field = [],  # noqa: B006 - FastAPI copies it
    complete: Complete = False,
) -> Response:
    """Jurisdictions first: the rest finds its grid by them. What is in order is taken, whatever is not."""
    if what not in KINDS:
        raise Problem(404, f"there is no kind {what[:40]!r}; there are {', '.join(KINDS)}", "what")
    actor = permit(request, "map.write", _own(request))
    city = city_of(request)
    with _lying(city, file, name) as (path, aside):
        loaded = city.map.load(path, what, actor, Options(fields=_pairs(field), complete=complete), dry=dry)
        if loaded.rows:
            write_rejected(aside, loaded)
        report = loaded.report
        done = Imported(
            dry=dry,
            rows=report.rows,
            taken=report.changed,
            known=report.accepted - report.changed,
            rejected=len(report.rejected),
            first=tuple(Rejected(row=r.row, field=r.field, why=r.why) for r in report.rejected[:SHOWN]),
            aside=_text(aside),
            removed=report.removed,
        )
    return answer(done)


@router.post(
    "/appeals",
    summary="A hotline's records",
    responses=gives(Imported, "What was taken, and what was not."),
    openapi_extra=_takes(_TABLES),
)
def appeals(
    request: Request,
    actor: Annotated[Actor, Depends(_bringer)],
    file: Annotated[_File, _file(_TABLES)],
    name: Name = "",
    dry: Dry = False,
    field: Field = [],  # noqa: B006 - FastAPI copies it
    channel: Annotated[str, Query(max_length=40, pattern=r"^[A-Za-z0-9_.-]*$")] = "hotline",
) -> Response:
    """What is here already, by its channel and number, is passed over. `channel` is of records that name
    none. A channel's token brings its own records alone; any other has to administer the whole city."""
    city, own = city_of(request), actor.role in OWN
    if SCENARIO not in city.packs:
        raise Problem(409, "this city has no scenario of appeals")
    with _lying(city, file, name) as (path, aside):
        records = HotlineFile(path, HotlineMapping(columns=_pairs(field), zone=city.calendar.zone))
        desk = HotlineImport(
            city.journal, city.store, city.objects, city.vault, city.clock, city.site, city.packs[SCENARIO],
            city.calendar, city.services,
        )  # fmt: skip
        rejected, out = list[Rejected](), RejectFile(aside)

        def reject(row: Row, why: str) -> None:
            rejected.append(Rejected(row=row.number, field="", why=why))
            out.add(row, rejected[-1])

        try:
            report = desk.run(
                records,
                who=actor.who,
                channel=actor.org if own else channel,
                alone=own,
                dry_run=dry,
                reject=reject,
            )
        finally:
            out.close()
        done = Imported(
            dry=dry,
            rows=report.rows,
            taken=report.taken,
            known=report.known,
            rejected=report.rejected,
            first=tuple(rejected[:SHOWN]),
            aside=_text(aside),
            linked=report.linked,
            unplaced=report.unplaced,
        )
    return answer(done)


def _own(request: Request) -> str:
    """The caller's jurisdiction: what lies outside it is rejected row by row."""
    return known(request).actor.place or WHOLE


def _pairs(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        field, sign, heading = text.partition("=")
        if not (field and sign and heading):
            raise Problem(400, f"field must be field=column, not {text[:60]!r}", "field")
        found[field] = heading
    return found


@contextmanager
def _lying(city: City, file: _File, name: str) -> Iterator[tuple[Path, Path]]:
    """The file on the disk, for its owner alone and for so long, and where rejected rows go.

    Raises:
        Problem: 422 what a `ConfigError` says, 503 another one is on its way.
    """
    with city.alone(), tempfile.TemporaryDirectory(prefix="linli-") as folder:
        path = Path(folder) / f"{Path(name).stem[:60] or 'file'}{file.suffix}"
        aside = Path(folder) / "aside" / f"rejected{'.csv' if file.suffix == '.xlsx' else file.suffix}"
        aside.parent.mkdir()
        path.write_bytes(file.body)
        try:
            yield path, aside
        except ConfigError as error:
            raise Problem(422, str(error).replace(f"{folder}/", ""), "body") from error


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig") if path.exists() else ""

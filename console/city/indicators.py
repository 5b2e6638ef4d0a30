"""The indicators that scenarios declare, over HTTP: each share, and the cases that it counts."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from city.cases import Case
from city.indicators import counts, shares, within
from city.scenario import Pack
from console.city.context import City, city_of
from console.city.describing import answer, gives
from console.city.forms import CasePage, shown
from console.city.narrowing import After, Narrowed, narrowed, paging
from console.city.packs import PackId
from console.problems import Problem
from storage.city.casequery import CaseQuery

router = APIRouter(prefix="/packs/{id}/indicators", tags=["packs"])

MOST = 20_000
"""Cases that are looked through for shares, the newest ones; for a list, at most so many a request."""
_PAGE = 1000
IndicatorId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,60}$", examples=["on-time"])]


class ShareShown(msgspec.Struct, frozen=True, kw_only=True):
    """An indicator: `count` of `of` cases."""

    id: str
    title: str
    title_zh: str
    count: int
    of: int
    share: float | None
    """0 to 1; null: of nothing."""
    cases: str
    """Path and query of those that are counted."""
    all: str
    """Of all of which the share is."""


class ShareList(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario's indicators, over the cases that were asked for."""

    items: tuple[ShareShown, ...]
    looked_at: int
    complete: bool
    """Whether these were all cases; otherwise the newest ones. Ask for a shorter span."""


@router.get("", summary="What share of the cases is how", responses=gives(ShareList, "Each indicator."))
def indicators(request: Request, id: PackId, query: Narrowed) -> Response:
    wanted, pack = _asked(request, id, query)
    city = city_of(request)
    cases = list(_cases(city, wanted, MOST + 1))
    given = f"&{request.url.query}" if request.url.query else ""
    items = tuple(
        ShareShown(
            id=found.indicator.id,
            title=found.indicator.title,
            title_zh=found.indicator.title_zh,
            count=found.count,
            of=found.of,
            share=found.share,
            cases=f"/city/packs/{id}/indicators/{found.indicator.id}?which=count{given}",
            all=f"/city/packs/{id}/indicators/{found.indicator.id}?which=of{given}",
        )
        for found in shares(pack, cases[:MOST])
    )
    return answer(ShareList(items=items, looked_at=len(cases[:MOST]), complete=len(cases) <= MOST))


@router.get(
    "/{indicator}", summary="The cases behind a share", responses=gives(CasePage, "The newest first.")
)
def cases_of(
    request: Request,
    id: PackId,
    indicator: IndicatorId,
    query: Narrowed,
    which: Literal["count", "of"] = "count",
    after: After = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """A page may hold fewer than `limit`, even none, and still have a `next`."""
    wanted, pack = _asked(request, id, query)
    found = next((i for i in pack.indicators if i.id == indicator), None)
    if found is None:
        known = ", ".join(i.id for i in pack.indicators) or "none"
        raise Problem(404, f"{id} has no indicator {indicator!r}; it has {known}", "indicator")
    fits = counts if which == "count" else within
    items: list[Case] = []
    for _ in range(max(1, MOST // limit)):
        with paging():
            page = city_of(request).store.cases.page(wanted, after, limit)
        items += [case for case in page.cases if fits(found, case)]
        after = page.after
        if items or not after:
            break
    return answer(CasePage(items=tuple(map(shown, items)), next=after or None))


def _asked(request: Request, id: str, query: tuple[CaseQuery, bool]) -> tuple[CaseQuery, Pack]:
    wanted = narrowed(request, query, "statistics.read")
    pack = city_of(request).packs.get(id)
    if pack is None:
        raise Problem(404, f"there is no scenario {id!r}; GET /city/packs lists them", "id")
    if wanted.scenario not in ("", id):
        raise Problem(400, f"scenario must be {id!r} here; leave it out", "scenario")
    return msgspec.structs.replace(wanted, scenario=id), pack


def _cases(city: City, query: CaseQuery, most: int) -> Iterator[Case]:
    after = ""
    while most > 0:
        page = city.store.cases.page(query, after, min(_PAGE, most))
        yield from page.cases
        most -= len(page.cases)
        after = page.after
        if not after:
            return

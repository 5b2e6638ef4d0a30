"""Which cases are asked for: the query parameters that lists and figures of cases share, and what the
caller's jurisdiction leaves of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import msgspec
from fastapi import Depends, Query
from starlette.requests import Request

from city.rights import OWN, Action, within
from console.city.auth import reached
from console.city.context import city_of
from console.city.forms import PRINTED
from console.problems import Problem
from storage.city.casequery import BBox, CaseQuery

_CODE = r"^[A-Za-z0-9_.:/+-]*$"
MOST_US = 1 << 52
Word = Annotated[str, Query(max_length=200, pattern=PRINTED)]
After = Annotated[
    str,
    Query(max_length=400, pattern=PRINTED, description="`next` of the page before, with the same filters."),
]
Code = Annotated[str, Query(max_length=80, pattern=_CODE)]
Moment = Annotated[int, Query(ge=0, le=MOST_US, description="Microseconds since 1970; 0: no bound.")]
Box = Annotated[
    str,
    Query(
        max_length=120,
        pattern=r"^(-?[0-9]{1,3}(\.[0-9]{1,12})?(,-?[0-9]{1,3}(\.[0-9]{1,12})?){3})?$",
        description="west,south,east,north in degrees",
        examples=["117.1,35.0,117.2,35.1"],
    ),
]


def asked(  # noqa: PLR0913 - a parameter of the operation each
    scenario: Code = "",
    state: Word = "",
    area: Code = "",
    holder: Word = "",
    category: Code = "",
    level: Literal["", "grid", "community", "town", "city"] = "",
    severity: Literal["", "info", "minor", "major", "critical"] = "",
    channel: Word = "",
    reference: Word = "",
    cause: Code = "",
    estate: Code = "",
    open: bool | None = None,
    overdue: Annotated[bool, Query(description="Only those of which a clock has run out.")] = False,
    bbox: Box = "",
    since: Moment = 0,
    until: Moment = 0,
    order: Annotated[
        Literal["", "opened", "due"], Query(description="By default due for overdue, else opened.")
    ] = "",
) -> tuple[CaseQuery, bool]:
    """The parameters as a query, and whether only what is overdue is meant."""
    query = CaseQuery(
        scenario=scenario,
        area=area,
        state=state,
        open=open,
        holder=holder,
        category=category,
        level=level,
        severity=severity,
        channel=channel,
        reference=reference,
        cause=cause,
        estate=estate,
        bbox=box_of(bbox),
        since_us=since,
        until_us=until,
        order=order or ("due" if overdue else "opened"),
    )
    return query, overdue


Narrowed = Annotated[tuple[CaseQuery, bool], Depends(asked)]


def narrowed(request: Request, wanted: tuple[CaseQuery, bool], action: Action = "case.read") -> CaseQuery:
    """The query within what the caller may see.

    Raises:
        Problem: 401, 403: not at all, or not there.
    """
    query, overdue = wanted
    actor, prefix = reached(request, action)
    changes: dict[str, object] = {"area": area_within(prefix, query.area)}
    if overdue:
        changes["overdue_at_us"] = city_of(request).clock.wall_us()
    if actor.role in OWN:
        own = "channel" if actor.role == "channel" else "holder"
        if getattr(query, own) not in ("", actor.org):
            raise Problem(403, f"{actor.who} sees the cases of {actor.org} alone", own)
        changes[own] = actor.org
    return msgspec.structs.replace(query, **changes)


def area_within(prefix: str, area: str) -> str:
    """The finer of the jurisdiction and what is asked for. Raises Problem 403: it lies outside."""
    if not area or prefix.startswith(area):
        return prefix
    if prefix and not within(prefix, area):
        raise Problem(403, f"{area} is outside your jurisdiction {prefix}", "area")
    return area


def box_of(text: str) -> BBox | None:
    """A bounding box. Raises Problem 400."""
    if not text:
        return None
    west, south, east, north = map(float, text.split(","))
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise Problem(
            400, "bbox must be west,south,east,north in degrees, west <= east, south <= north", "bbox"
        )
    return west, south, east, north


@contextmanager
def paging() -> Iterator[None]:
    """Around a store's list: what is not the `next` of a page becomes a problem. Raises Problem 400."""
    try:
        yield
    except ValueError as error:
        raise Problem(400, f"after must be the `next` of a page: {error}", "after") from error

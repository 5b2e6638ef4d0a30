"""Who looked at what, for the auditor: the access events of this console's journal, as they were written."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from console.city.auth import permit
from console.city.context import city_of
from console.city.describing import answer, gives
from events.events import Access

router = APIRouter(tags=["audit"])


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look, deed or refusal."""

    offset: int
    time_us: int
    who: str
    what: str
    object: str
    plain: bool
    purpose: str
    allowed: bool


class LookPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some looks in the order in which they were written, and the offset to go on from."""

    items: tuple[Look, ...]
    next: int
    """To be sent as `after`; the same as before where nothing is left."""


@router.get(
    "/audit",
    summary="Looks at persons and pictures, deeds and refusals",
    responses=gives(LookPage, "Some of them, the oldest first."),
)
def audit(
    request: Request,
    after: Annotated[int, Query(ge=0, le=1 << 62)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """For an auditor or administrator of the whole city: a look has no jurisdiction of its own."""
    permit(request, "audit.read", "")
    records, upto = city_of(request).journal.page(after, limit, ("access",))
    looks = [
        Look(offset=record.offset, time_us=record.event.time_us, **msgspec.structs.asdict(record.event.data))
        for record in records
        if isinstance(record.event.data, Access)
    ]
    return answer(LookPage(items=tuple(looks), next=upto))

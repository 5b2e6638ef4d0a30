"""GET /city: what is served here, and who asks."""

from typing import Annotated

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from city.rights import MAY
from console.city.auth import known
from console.city.context import city_of
from console.city.describing import answer, gives

router = APIRouter(tags=["desk"])


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """The caller, and what its role includes (within its jurisdiction)."""

    who: str
    role: str
    place: str
    org: str = ""
    may: tuple[str, ...] = ()


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The city's desk."""

    title: str
    code: str
    site: str
    extent: Annotated[tuple[float, ...], msgspec.Meta(min_length=4, max_length=4)] | None = None
    """West, south, east, north of what is on the map, in degrees; null: nothing is."""
    scenarios: tuple[str, ...]
    now_us: int
    viewer: Who


@router.get("/", summary="What is served here, and who asks", responses=gives(About, "The desk."))
def about(request: Request) -> Response:
    city = city_of(request)
    actor = known(request, "desk").actor
    ground = city.store.features.layer("jurisdiction")
    viewer = Who(
        who=actor.who,
        role=actor.role,
        place=actor.place,
        org=actor.org,
        may=tuple(sorted(MAY.get(actor.role, ()))),
    )
    return answer(
        About(
            title=city.name,
            code=city.code,
            site=city.site,
            extent=None if ground is None else ground.bbox,
            scenarios=tuple(city.packs),
            now_us=city.clock.wall_us(),
            viewer=viewer,
        )
    )

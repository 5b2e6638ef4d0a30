"""The scenarios as they are declared: states, actions, roles, clocks, and the diagram of each."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from city.diagrams import mermaid
from city.scenario import Pack
from console.city.auth import reached
from console.city.context import city_of
from console.city.describing import answer, gives
from console.problems import Problem
from storage.city.casewrites import layer_of

router = APIRouter(tags=["packs"])

PackId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,60}$", examples=["matter"])]


class StateShown(msgspec.Struct, frozen=True, kw_only=True):
    """A state of a scenario."""

    name: str
    title: str
    title_zh: str
    stage: str
    final: bool
    sign: str


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a scenario's table: an action, from where to where, by whom, with what."""

    name: str
    title: str
    title_zh: str
    from_: tuple[str, ...] = msgspec.field(name="from")
    to: str
    """A state; `=`: the same; `<`: the one from which it was set aside."""
    roles: tuple[str, ...]
    needs: tuple[str, ...]
    optional: tuple[str, ...]
    marks: tuple[tuple[str, ...], ...]
    guards: tuple[str, ...]
    level: str


class ClockShown(msgspec.Struct, frozen=True, kw_only=True):
    """A clock of a scenario."""

    name: str
    title: str
    title_zh: str
    kind: str
    amount: float
    warn: float


class PackShown(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario."""

    id: str
    title: str
    title_zh: str
    about: str
    digest: str
    initial: str
    layer: str
    """Of the map, in which its cases lie."""
    opened_by: tuple[str, ...]
    """Roles."""
    opening_needs: tuple[str, ...]
    states: tuple[StateShown, ...]
    actions: tuple[Transition, ...]
    clocks: tuple[ClockShown, ...]
    indicators: tuple[str, ...]


class PackList(msgspec.Struct, frozen=True, kw_only=True):
    """All scenarios."""

    items: tuple[PackShown, ...]


@router.get("/packs", summary="The scenarios", responses=gives(PackList, "Each as it is declared."))
def packs(request: Request) -> Response:
    reached(request, "case.read")
    return answer(PackList(items=tuple(_shown(pack) for pack in city_of(request).packs.values())))


@router.get("/packs/{id}", summary="A scenario", responses=gives(PackShown, "As it is declared."))
def pack(request: Request, id: PackId) -> Response:
    return answer(_shown(_pack(request, id)))


@router.get(
    "/packs/{id}/diagram",
    summary="Its states and actions as a diagram",
    response_class=PlainTextResponse,
    responses={200: {"description": "A Mermaid state diagram.", "content": {"text/plain": {}}}},
)
def diagram(request: Request, id: PackId) -> Response:
    return PlainTextResponse(mermaid(_pack(request, id)))


def _pack(request: Request, id: str) -> Pack:
    reached(request, "case.read")
    found = city_of(request).packs.get(id)
    if found is None:
        raise Problem(404, f"there is no scenario {id!r}; GET /city/packs lists them", "id")
    return found


def _shown(pack: Pack) -> PackShown:
    return PackShown(
        id=pack.id,
        title=pack.title,
        title_zh=pack.title_zh,
        about=pack.about,
        digest=pack.digest,
        initial=pack.initial,
        layer=layer_of(pack.id),
        opened_by=pack.opening.roles,
        opening_needs=pack.opening.needs,
        states=tuple(
            StateShown(name=n, title=s.title, title_zh=s.title_zh, stage=s.stage, final=s.final, sign=s.sign)
            for n, s in pack.states.items()
        ),
        actions=tuple(
            Transition(
                name=a.name,
                title=a.title,
                title_zh=a.title_zh,
                from_=a.from_,
                to=a.to,
                roles=a.roles,
                needs=a.needs,
                optional=a.optional,
                marks=a.choose,
                guards=a.guards,
                level=a.level,
            )
            for a in pack.actions
        ),
        clocks=tuple(
            ClockShown(name=n, title=c.title, title_zh=c.title_zh, kind=c.kind, amount=c.amount, warn=c.warn)
            for n, c in pack.clocks.items()
        ),
        indicators=tuple(i.id for i in pack.indicators),
    )

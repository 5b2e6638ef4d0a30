"""Appeals over HTTP: taken in for any channel, seen by their citizens, linked.

What else is done with an appeal is a step of a case (/cases). A token is shown once, when the appeal is taken
in; who has it needs no sign-in to see its state, and learns nothing about a person by it.
"""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from city.cases import Case
from city.rights import OWN, decide
from city.services import said
from console.city.auth import permit, reached
from console.city.cases import CaseId
from console.city.context import City, city_of
from console.city.describing import answer, gives, reads, takes
from console.city.forms import PRINTED, CasePage, CaseShown, Code, Lat, Line, Lon, WordsForm, shown
from console.city.narrowing import After, paging
from console.problems import Problem
from desk.appeallinks import SCENARIO
from desk.appeals import RECEIVED, Report, Seen
from desk.cases import orgs_of
from desk.neighbours import WISH, WISHES
from desk.words import Words
from storage.city.casequery import CaseQuery

router = APIRouter(tags=["appeals"])

OPEN_TO_ALL: dict[str, Any] = {"security": []}
"""Of an operation that needs no token of the desk."""
MOST = 500
Token = Annotated[
    str, Path(pattern=r"^[a-v0-9]{26}(-[a-v0-9]{20})?$", examples=["0c9tn4g5m1o0v8a6k2q7e3u1s5"])
]
Limit = Annotated[int, Query(ge=1, le=MOST)]
Kind = Literal["help", "enquiry", "report", "complaint", "suggestion", "wish", "council"]


class AppealForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An appeal, as a clerk or a channel brings it."""

    category: Annotated[Code, msgspec.Meta(min_length=1)]
    """Code of a service; a wish has the category `wish`."""
    kind: Kind = "help"
    place: tuple[Lon, Lat] | None = None
    area: Code = ""
    address_id: Line = ""
    channel: Annotated[str, msgspec.Meta(max_length=40, pattern=r"^[A-Za-z0-9_.-]*$")] = ""
    """By which it came: hotline, online ...; of a channel's own token always that channel."""
    reference: Annotated[str, msgspec.Meta(max_length=100, pattern=PRINTED)] = ""
    """Its number there; the same one again is the same appeal."""
    occurred_us: Annotated[int, msgspec.Meta(ge=0, le=1 << 52)] = 0
    severity: Literal["info", "minor", "major", "critical"] = "minor"
    words: WordsForm | None = None


class AppealTaken(msgspec.Struct, frozen=True, kw_only=True):
    """An appeal that was taken in."""

    case: CaseShown
    token: str
    """For the citizen; it is shown now and never again."""
    linked: str = ""
    """The appeal that it is the same as; '': none."""
    why: str = ""


class AppealSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a citizen sees of an appeal."""

    title: str
    state: str
    state_title: str
    opened_us: int
    updated_us: int
    expected_us: int = 0
    """When the answer is due; 0: nothing runs."""
    closed: bool
    called_back: bool
    solved: bool | None = None
    satisfied: bool | None = None
    note: str = ""
    """The answer, in official words."""


class VerdictForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the citizen says of the answer."""

    solved: bool
    satisfied: bool | None = None


class LikeShown(msgspec.Struct, frozen=True, kw_only=True):
    """How much two appeals are the same, and why."""

    case: str
    score: float
    why: tuple[str, ...]


class LikePage(msgspec.Struct, frozen=True, kw_only=True):
    """Appeals, with how much they are like the one that was asked for."""

    items: tuple[LikeShown, ...]


@router.post(
    "/appeals",
    status_code=201,
    summary="Take an appeal in",
    responses=gives(AppealTaken, "The appeal, with the citizen's token.", 201),
    openapi_extra=takes(AppealForm, {"category": "rubbish", "place": [117.1612, 35.0842]}),
)
def take(request: Request, form: Annotated[AppealForm, reads(AppealForm)]) -> Response:
    """It is placed by its place, or by the address in its words; one that cannot be placed waits
    (/appeals/unplaced). What is the same as an open one is linked to it. Words are encrypted before anything
    else is written."""
    actor = permit(request, "case.open", what="appeal")
    if (form.kind == WISH) != (form.category == WISHES):
        raise Problem(422, "a wish has the category wish, and nothing else has", "category")
    words = Words(**msgspec.structs.asdict(form.words)) if form.words else Words()
    place = None if form.place is None else (round(form.place[0], 7), round(form.place[1], 7))
    fields = {name: getattr(form, name) for name in _SAME}
    taken = city_of(request).appeals.take(Report(**fields, place=place, words=words), actor)
    body = AppealTaken(case=shown(taken.case), token=taken.token, linked=taken.linked, why=taken.why)
    return answer(body, 201, {"location": f"/city/cases/{taken.case.case}"})


_SAME = ("category", "kind", "area", "address_id", "channel", "reference", "occurred_us", "severity")


@router.get(
    "/appeals/unplaced",
    summary="Appeals that somebody has to place",
    responses=gives(CasePage, "Some of them, and how to go on."),
)
def unplaced(request: Request, limit: Limit = 50, after: After = "") -> Response:
    """The action `place` (a step of the case) places one."""
    actor, area = reached(request, "case.read")
    query = CaseQuery(
        scenario=SCENARIO,
        state=RECEIVED,
        area=area,
        open=True,
        channel=actor.org if actor.role in OWN else "",
    )
    with paging():
        page = city_of(request).store.cases.page(query, after, limit)
    return answer(CasePage(items=tuple(map(shown, page.cases)), next=page.after or None))


@router.get(
    "/appeals/track/{token}",
    summary="What a citizen sees by their token",
    responses=gives(AppealSeen, "Its state, and the answer."),
    openapi_extra=OPEN_TO_ALL,
)
def track(request: Request, token: Token) -> Response:
    """Needs no sign-in: whoever has the token may see it. Of a linked appeal the other's answer counts."""
    city = city_of(request)
    return answer(_seen(city, city.appeals.look(token)))


@router.post(
    "/appeals/track/{token}/verdict",
    summary="What the citizen says of the answer",
    responses=gives(AppealSeen, "Its state after it."),
    openapi_extra=takes(VerdictForm, {"solved": True, "satisfied": True}) | OPEN_TO_ALL,
)
def verdict(request: Request, token: Token, form: Annotated[VerdictForm, reads(VerdictForm)]) -> Response:
    """Closed is not solved: both are kept apart, and so is satisfied."""
    city = city_of(request)
    return answer(_seen(city, city.appeals.verdict(token, form.solved, form.satisfied)))


@router.get(
    "/appeals/{id}/linked",
    summary="Appeals that are the same",
    responses=gives(CasePage, "Those that are linked to it, as far as the caller may see them."),
)
def linked(request: Request, id: CaseId) -> Response:
    """None of them was deleted: each caller keeps a token, and gets an answer."""
    found = appeal_of(request, id)
    city = city_of(request)
    cases = city.store.cases.cases(city.store.appeals.linked(found.case)[:MOST])
    some = [case for _, case in sorted(cases.items()) if _may_see(request, case)]
    return answer(CasePage(items=tuple(map(shown, some))))


@router.get(
    "/appeals/{id}/like",
    summary="How much other appeals are like it, and why",
    responses=gives(LikePage, "The most alike first."),
)
def like(
    request: Request,
    id: CaseId,
    other: Annotated[str, Query(max_length=80, pattern=r"^[A-Za-z0-9_.:-]*$")] = "",
) -> Response:
    """Open ones nearby, or the one that is named."""
    found = appeal_of(request, id)
    links = city_of(request).appeals.links
    near = [] if other else [case for case in links.near(found) if _may_see(request, case)]
    cases = [appeal_of(request, other)] if other else near
    scored = [(case.case, links.compare(found, case)) for case in cases]
    items = [
        LikeShown(case=case, score=round(one.score, 4), why=tuple(point.text for point in one.why))
        for case, one in scored
    ]
    return answer(LikePage(items=tuple(sorted(items, key=lambda item: (-item.score, item.case))[:50])))


class TokenWanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For what the token is wanted."""

    purpose: Annotated[str, msgspec.Meta(min_length=3, max_length=200, pattern=PRINTED)]


class TokenAgain(msgspec.Struct, frozen=True, kw_only=True):
    """A citizen's token."""

    token: str


@router.post(
    "/appeals/{id}/token",
    summary="The citizen's token once more",
    responses=gives(TokenAgain, "The token, to be given to who called."),
    openapi_extra=takes(TokenWanted, {"purpose": "call back"}),
)
def token_again(request: Request, id: CaseId, form: Annotated[TokenWanted, reads(TokenWanted)]) -> Response:
    """Of an appeal that has a number in its channel, e.g. one that came in a file; who asks, and why, is
    written down. Other tokens are known to nobody but their citizens."""
    found = appeal_of(request, id)
    actor = permit(request, "case.words", found.area, orgs=orgs_of(found), what="token", object=found.case)
    city = city_of(request)
    if not found.reference:
        raise Problem(409, f"appeal {found.case} has no number; its token is its citizen's alone")
    ticket = city.appeals.ticket_of(found.channel, found.reference)
    if city.cases.id_of(SCENARIO, ticket.key) != found.case:
        raise Problem(409, f"the token of appeal {found.case} is its citizen's alone")
    city.log.plain(actor.who, "token", found.case, form.purpose)
    city.journal.flush()  # what cannot be written down is not shown
    return answer(TokenAgain(token=ticket.token))


class ServicesShown(msgspec.Struct, frozen=True, kw_only=True):
    """A category of appeals."""

    code: str
    name: str
    name_zh: str
    group: str
    public: bool


class ServiceList(msgspec.Struct, frozen=True, kw_only=True):
    """All categories, those that are not public among them."""

    code_system: str
    items: tuple[ServicesShown, ...]


@router.get(
    "/appeals/categories",
    summary="Categories of appeals",
    responses=gives(ServiceList, "All of them."),
)
def categories(request: Request) -> Response:
    """The public ones are Open311's services."""
    reached(request, "case.read")
    services = city_of(request).services
    return answer(
        ServiceList(
            code_system=services.code_system,
            items=tuple(
                ServicesShown(code=s.code, name=s.name, name_zh=s.name_zh, group=s.group, public=s.public)
                for s in services.services.values()
            ),
        )
    )


def appeal_of(request: Request, id: str) -> Case:
    """The appeal, if the caller may see it. Raises Problem: 401, 403, 404."""
    reached(request, "case.read")
    found = city_of(request).store.cases.case(id)
    if found is None or found.scenario != SCENARIO or not _may_see(request, found):
        raise Problem(404, f"there is no appeal {id[:80]!r} in your jurisdiction", "id")
    return found


def _may_see(request: Request, case: Case) -> bool:
    actor, _ = reached(request, "case.read")
    return decide(actor, "case.read", case.area, orgs=orgs_of(case)).allowed


def _seen(city: City, seen: Seen) -> AppealSeen:
    case = seen.case
    state = city.packs[SCENARIO].states.get(case.state)
    return AppealSeen(
        title=case.title,
        state=case.state,
        state_title=said(state.title, state.title_zh) if state else case.state,
        opened_us=case.opened_us,
        updated_us=case.updated_us,
        expected_us=case.due_us,
        closed=case.final,
        called_back=seen.called_back,
        solved=seen.solved,
        satisfied=seen.satisfied,
        note=seen.note,
    )

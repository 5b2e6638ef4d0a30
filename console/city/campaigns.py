"""Inspection campaigns over HTTP: made by a supervisor, visited by those who work there."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from city.campaigns import MOST, Answer, Campaign, Code, Line, Question, Target, Visit
from console.city.auth import permit, reached
from console.city.context import city_of
from console.city.describing import answer, gives, reads, takes
from console.city.forms import Version
from console.city.narrowing import After
from console.problems import Problem
from desk.campaigns import Campaigns
from events.errors import StorageError

router = APIRouter(prefix="/campaigns", tags=["campaigns"])

Id = Annotated[str, Path(pattern=r"^[a-z0-9]{1,64}$", examples=["0c9tn4g5m1o0v8a6k2q7e3u1s5"])]
VisitId = Annotated[str, Path(pattern=r"^[a-z0-9]{1,64}-[0-9]{1,6}$", examples=["0c9tn4g5m1o0v8a6k2-1"])]


class CampaignForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign to begin."""

    title: Line
    due_us: Annotated[int, msgspec.Meta(ge=0, le=1 << 52)]
    questions: Annotated[tuple[Question, ...], msgspec.Meta(min_length=1, max_length=50)]
    targets: Annotated[tuple[Target, ...], msgspec.Meta(min_length=1, max_length=MOST)]


class CampaignList(msgspec.Struct, frozen=True, kw_only=True):
    """Campaigns, the newest first."""

    items: tuple[Campaign, ...]


class VisitPage(msgspec.Struct, frozen=True, kw_only=True):
    """Places of a campaign, and what to send as `after` for those that follow."""

    items: tuple[Visit, ...]
    next: str | None = None


class ResultForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found at a place: code of a question -> its answer. No words about persons."""

    version: Version = 0
    answers: dict[Code, Answer]


_EXAMPLE = {
    "title": "Fire lanes before winter",
    "due_us": 2_000_000_000_000_000,
    "questions": [
        {
            "code": "lane",
            "title": "Is the fire lane free?",
            "effects": {"no": {"points": -2, "rating": "inspection", "matter": "010101"}},
        }
    ],
    "targets": [{"name": "Estate 7, gate 2", "place": [117.02, 35.02]}],
}


@router.get("", summary="Inspection campaigns", responses=gives(CampaignList, "All in the caller's reach."))
def campaigns(request: Request) -> Response:
    actor, _ = reached(request, "map.read")
    return answer(CampaignList(items=tuple(_desk(request).all(actor))))


@router.post(
    "",
    status_code=201,
    summary="Begin a campaign",
    responses=gives(Campaign, "The campaign.", 201),
    openapi_extra=takes(CampaignForm, _EXAMPLE),
)
def make(request: Request, form: Annotated[CampaignForm, reads(CampaignForm)]) -> Response:
    """Places to visit, a form with what its answers lead to, and a deadline. An answer may give points to the
    property company of the estate, or open a matter."""
    actor = permit(request, "rating.enter", what="campaign")
    made = _desk(request).make(form.title, form.due_us, form.questions, form.targets, actor)
    return answer(made, 201, {"location": f"/city/campaigns/{made.id}"})


@router.get("/{id}", summary="One campaign", responses=gives(Campaign, "The campaign with its form."))
def campaign(request: Request, id: Id) -> Response:
    actor, _ = reached(request, "map.read")
    return answer(_desk(request).campaign(id, actor))


@router.get(
    "/{id}/visits", summary="Places of a campaign", responses=gives(VisitPage, "Some, and how to go on.")
)
def visits(
    request: Request, id: Id, limit: Annotated[int, Query(ge=1, le=500)] = 100, after: After = ""
) -> Response:
    """Those in the caller's jurisdiction."""
    actor, area = reached(request, "map.read")
    desk = _desk(request)
    known = desk.campaign(id, actor)
    try:
        found, after = desk.visits(known.id, area, after, limit)
    except StorageError as error:
        raise Problem(400, "after must be the `next` of a page", "after") from error
    return answer(VisitPage(items=tuple(found), next=after or None))


@router.post(
    "/visits/{id}/result",
    summary="What was found at a place",
    responses=gives(Visit, "The visit, done."),
    openapi_extra=takes(ResultForm, {"version": 0, "answers": {"lane": False}}),
)
def result(request: Request, id: VisitId, form: Annotated[ResultForm, reads(ResultForm)]) -> Response:
    """The first result of a place counts; the same one may be sent again."""
    actor, _ = reached(request, "case.open")
    return answer(_desk(request).result(id, form.version, form.answers, actor))


def _desk(request: Request) -> Campaigns:
    city = city_of(request)
    return Campaigns(city.journal, city.store, city.cases, city.ratings, city.clock, city.site)

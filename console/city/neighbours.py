"""Wishes and councils over HTTP: what neighbours do with each other."""

from typing import Annotated

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from console.city.appeals import Limit, appeal_of
from console.city.auth import reached
from console.city.cases import CaseId
from console.city.context import city_of
from console.city.describing import answer, gives, reads, takes
from console.city.forms import CasePage, CaseShown, Code, Line, Version, shown
from console.city.narrowing import After, paging
from console.problems import Problem
from desk.neighbours import COUNCIL, Neighbours

router = APIRouter(tags=["neighbours"])

Votes = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class ClaimForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A claim of a wish, from the version that was seen."""

    version: Version
    org: Line = ""
    """The team, where the caller has no organisation of their own."""


class MatterWanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The matter that a resolution opens."""

    category: Annotated[Code, msgspec.Meta(min_length=1)]
    holder: Line = ""


class ResolutionForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a neighbours' council decided of a proposal."""

    version: Version
    passed: bool
    yes: Votes
    no: Votes
    abstained: Votes = 0
    note: Annotated[Line, msgspec.Meta(min_length=1)]
    """In official words."""
    matter: MatterWanted | None = None


@router.get(
    "/wishes",
    summary="Micro-wishes that are open",
    responses=gives(CasePage, "Some of them; `holder` says who claimed one."),
)
def wishes(request: Request, limit: Limit = 50, after: After = "") -> Response:
    """For all who work there, volunteers and party members among them: nobody's wish is everybody's."""
    _, area = reached(request, "case.read")
    with paging():
        page = Neighbours(city_of(request).cases, city_of(request).store).wishes(area, after, limit)
    return answer(CasePage(items=tuple(map(shown, page.cases)), next=page.after or None))


@router.post(
    "/wishes/{id}/claim",
    summary="Claim a wish",
    responses=gives(CaseShown, "The wish, held by the caller's organisation."),
    openapi_extra=takes(ClaimForm, {"version": 1, "org": "volunteers-7"}),
)
def claim(request: Request, id: CaseId, form: Annotated[ClaimForm, reads(ClaimForm)]) -> Response:
    """Of two who claim at once the first one has it; the other is told (409)."""
    actor, _ = reached(request, "case.step")
    city = city_of(request)
    return answer(shown(Neighbours(city.cases, city.store).claim(id, form.version, actor, form.org)))


@router.post(
    "/council/proposals/{id}/resolution",
    summary="What the neighbours' council decided",
    responses=gives(CaseShown, "The proposal; `other` names the matter that was opened."),
    openapi_extra=takes(
        ResolutionForm,
        {"version": 1, "passed": True, "yes": 31, "no": 4, "note": "benches in the yard"},
    ),
)
def resolution(
    request: Request, id: CaseId, form: Annotated[ResolutionForm, reads(ResolutionForm)]
) -> Response:
    """A proposal is an appeal of the kind `council`. One that has passed may open a matter; if that fails
    after the resolution was written down, the step `become-matter` of the case does it again."""
    found = appeal_of(request, id)
    if found.detail.get("kind") != COUNCIL:
        raise Problem(409, f"case {id} is no proposal of a council")
    if form.matter is not None and not form.passed:
        raise Problem(422, "what was rejected opens no matter", "matter")
    actor, _ = reached(request, "case.step")
    city = city_of(request)
    council = Neighbours(city.cases, city.store)
    votes = {"yes": form.yes, "no": form.no, "abstained": form.abstained}
    case = council.resolve(found.case, form.version, form.passed, votes, form.note, actor)
    if form.matter is not None:
        case = council.become(case.case, case.version, form.matter.category, form.matter.holder, actor)
    return answer(shown(case))

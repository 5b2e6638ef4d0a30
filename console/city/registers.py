"""Population and housing over HTTP: masked, decided by role and jurisdiction, each look noted first."""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from city.housing import Fact, FactsDisagree, Home
from city.persons import PersonDoc
from city.rights import Actor
from console.city.auth import known
from console.city.context import city_of
from console.city.describing import answer, gives, reads, takes
from console.city.forms import PRINTED, Line, Text
from console.problems import Problem
from desk.registers import Registers, Shown, VisitShown
from events.errors import MissingValue, NoSuchThing
from storage.city.registerrows import Sums

router = APIRouter(tags=["registers"])

Ref = Annotated[str, Path(pattern=r"^[0-9a-f]{24}$", examples=["0f3a9c51d2b74e68a1c05d3e"])]
HomeCode = Annotated[str, Path(pattern=r"^[!-~]{1,80}$", examples=["990481001001G01B001U1R0101"])]
Purpose = Annotated[str, Query(max_length=200, pattern=PRINTED, examples=["care visit on 12 March"])]
Day = Annotated[
    str,
    Query(pattern=r"^([0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?$", examples=["2026-01-31"]),
]
Area = Annotated[str, Query(max_length=60, pattern=r"^[0-9A-Za-z-]*$", examples=["370481001001"])]


Found = TypeVar("Found")


class PersonPage(msgspec.Struct, frozen=True, kw_only=True):
    """Persons, masked, and what to send as `after` for those that follow; null: these are the last."""

    items: tuple[Shown, ...]
    next: str | None = None


class HomeShown(msgspec.Struct, frozen=True, kw_only=True):
    """A home and whom a fact of the day ties to it."""

    home: Home
    persons: tuple[Shown, ...]


class VisitList(msgspec.Struct, frozen=True, kw_only=True):
    """Visits, the latest first."""

    items: tuple[VisitShown, ...]


class LookUpForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An exact look-up. The number is in the body, so that it is in no log of addresses."""

    identity: Line
    purpose: Annotated[str, msgspec.Meta(min_length=3, max_length=200, pattern=PRINTED)]


class LookUp(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the number is of; null: nobody in the caller's jurisdiction."""

    person: Shown | None


class EntryForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new person, with where they live, are registered or hold a home."""

    doc: PersonDoc
    facts: Annotated[tuple[Fact, ...], msgspec.Meta(min_length=1, max_length=20)]
    care: Annotated[tuple[Line, ...], msgspec.Meta(max_length=20)] = ()


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """Under which reference."""

    ref: str


class ChangeForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes; the rest stays. `version` is the one that the caller saw (-1: as imported)."""

    version: Annotated[int, msgspec.Meta(ge=-1, le=1 << 31)]
    doc: PersonDoc | None = None
    care: tuple[Line, ...] | None = None
    fact: Fact | None = None


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """The version that the change made."""

    version: int


class VisitForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A visit, or a referral to an organisation. The words are encrypted."""

    kind: Literal["visit", "referral"] = "visit"
    org: Line = ""
    words: Text = ""


class Visited(msgspec.Struct, frozen=True, kw_only=True):
    """Under which it is kept."""

    visit: str


class EraseForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why somebody is erased."""

    reason: Literal["asked", "expired", "mistake"]


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """Whose key was destroyed."""

    ref: str


def registers_of(request: Request) -> tuple[Registers, Actor]:
    """The registers' desk, and who asks. Raises Problem 401."""
    city = city_of(request)
    actor = known(request, "registers").actor
    tables = city.store.registers
    desk = Registers(city.site, city.journal, tables, city.objects, city.vault, city.clock, city.log.written)
    return desk, actor


def _told(error: MissingValue) -> Problem:
    return Problem(422, str(error), error.field)


@router.get(
    "/persons",
    summary="Persons of a jurisdiction, masked",
    responses=gives(PersonPage, "A page of persons; `care` narrows it to those to be visited."),
)
def persons(
    request: Request,
    area: Area = "",
    care: Annotated[str, Query(max_length=40, pattern=r"^[a-z0-9-]*$", examples=["living-alone"])] = "",
    after: Annotated[str, Query(max_length=90, pattern=r"^([0-9A-Za-z-]+ [0-9a-f]{24})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    day: Day = "",
) -> Response:
    desk, actor = registers_of(request)
    try:
        items, following = desk.page(actor, area, care, after, limit, day)
    except MissingValue as error:
        raise Problem(400, str(error), error.field) from error
    return answer(PersonPage(items=items, next=following or None))


@router.post(
    "/persons",
    status_code=201,
    summary="Enter a person by hand",
    responses=gives(Entered, "The reference of the new entry.", 201),
    openapi_extra=takes(
        EntryForm,
        {
            "doc": {"name": "合成人", "born": "2026-01-31"},
            "facts": [{"kind": "residence", "home": "990481001001G01B001U1R0101", "since": "2026-01-31"}],
        },
    ),
)
def enter(request: Request, form: Annotated[EntryForm, reads(EntryForm)]) -> Response:
    """A survey brings many at once: POST /imports/registers/person."""
    desk, actor = registers_of(request)
    try:
        ref = desk.enter(actor, form.doc, form.facts, form.care)
    except (MissingValue, FactsDisagree) as error:
        raise Problem(422, str(error), getattr(error, "field", "facts")) from error
    return answer(Entered(ref=ref), 201, {"location": f"/city/persons/{ref}"})


@router.get(
    "/persons/{ref}",
    summary="One person",
    responses=gives(Shown, "Masked, or in full where a purpose was stated and the role includes it."),
)
def person(request: Request, ref: Ref, purpose: Purpose = "", day: Day = "") -> Response:
    desk, actor = registers_of(request)
    if purpose and len(purpose.strip()) < 3:
        raise Problem(400, "state the purpose in words, at least 3 characters", "purpose")
    return answer(_found(lambda: desk.person(actor, ref, purpose.strip(), day)))


@router.post(
    "/persons/look-up",
    summary="The person with an identity number",
    responses=gives(LookUp, "Masked; null where nobody is found in the caller's jurisdiction."),
    openapi_extra=takes(LookUpForm, {"identity": "11010519491231002X", "purpose": "residence certificate"}),
)
def look_up(request: Request, form: Annotated[LookUpForm, reads(LookUpForm)]) -> Response:
    desk, actor = registers_of(request)
    try:
        return answer(LookUp(person=desk.find(actor, form.identity, form.purpose)))
    except MissingValue as error:
        raise _told(error) from error


@router.patch(
    "/persons/{ref}",
    summary="Change a person's entry",
    responses=gives(Changed, "The new version."),
    openapi_extra=takes(ChangeForm, {"version": -1, "care": ["living-alone"]}),
)
def change(request: Request, ref: Ref, form: Annotated[ChangeForm, reads(ChangeForm)]) -> Response:
    """A `fact` says where the person lives, is registered or holds a home from a day on; what it takes the
    place of ends that day."""
    desk, actor = registers_of(request)
    try:
        version = _found(
            lambda: desk.change(actor, ref, form.version, doc=form.doc, care=form.care, fact=form.fact)
        )
    except (MissingValue, FactsDisagree) as error:
        raise Problem(422, str(error), getattr(error, "field", "fact")) from error
    return answer(Changed(version=version))


@router.get(
    "/persons/{ref}/visits", summary="Visits and referrals", responses=gives(VisitList, "The latest first.")
)
def visits(request: Request, ref: Ref) -> Response:
    desk, actor = registers_of(request)
    return answer(VisitList(items=_found(lambda: desk.visits(actor, ref))))


@router.post(
    "/persons/{ref}/visits",
    status_code=201,
    summary="Write down a visit or a referral",
    responses=gives(Visited, "It is kept.", 201),
    openapi_extra=takes(VisitForm, {"kind": "visit", "words": "well; asks for a handrail"}),
)
def visit(request: Request, ref: Ref, form: Annotated[VisitForm, reads(VisitForm)]) -> Response:
    desk, actor = registers_of(request)
    made = _found(lambda: desk.visit(actor, ref, form.kind, form.org, form.words))
    return answer(Visited(visit=made), 201)


@router.post(
    "/persons/{ref}/erasure",
    summary="Erase a person",
    responses=gives(Erased, "The person's key is destroyed; nothing that was sealed under it can be read."),
    openapi_extra=takes(EraseForm, {"reason": "asked"}),
)
def erase(request: Request, ref: Ref, form: Annotated[EraseForm, reads(EraseForm)]) -> Response:
    desk, actor = registers_of(request)
    _found(lambda: desk.erase(actor, ref, form.reason))
    return answer(Erased(ref=ref))


@router.get(
    "/homes/{home}",
    summary="A home and who is tied to it",
    responses=gives(HomeShown, "Who lives there, is registered there or holds it on the day; masked."),
)
def home(request: Request, home: HomeCode, day: Day = "9999-12-30") -> Response:
    desk, actor = registers_of(request)
    found, some = _found(lambda: desk.of_home(actor, home, day or "9999-12-30"))
    return answer(HomeShown(home=found, persons=some))


@router.get(
    "/registers/sums",
    summary="How many there are in a jurisdiction",
    responses=gives(Sums, "Figures; nobody in particular."),
)
def sums(request: Request, area: Area = "") -> Response:
    desk, actor = registers_of(request)
    return answer(desk.sums(actor, area, ""))


def _found(ask: Callable[[], Found]) -> Found:
    try:
        return ask()
    except NoSuchThing as error:
        raise Problem(404, str(error)) from error

"""Cases over HTTP: the inbox, one with its steps, what may be done with it, and doing it.

A change says which version its maker saw, by `If-Match: "7"` or `version`; of two at once one is told 412
(or 409) and nothing of it is kept.
"""

import re
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from city import steps as rules
from city.cases import Case
from city.rights import WHOLE, Actor, decide
from city.scenario import Action, Opening, Step
from console.city.auth import permit, reached, refused
from console.city.context import City, city_of
from console.city.describing import answer, gives, reads, takes
from console.city.forms import (
    PRINTED,
    ActionList,
    ActionShown,
    CaseForm,
    CasePage,
    CaseShown,
    EraseWordsForm,
    StepForm,
    StepList,
    StepShown,
    WordsErased,
    WordsForm,
    WordsList,
    WordsShown,
    place_of,
    shown,
)
from console.city.narrowing import After, Narrowed, narrowed, paging
from console.problems import Problem
from desk.caseretention import CaseKeeper, CaseRetention
from desk.cases import orgs_of
from desk.effects import OPEN
from desk.words import Words
from events.civic import CaseStepped
from events.errors import VersionConflict
from storage.city.casequery import StepRow

router = APIRouter(tags=["cases"])

MOST = 500
_ETAG = re.compile(r'(?:W/)?"([0-9]{1,9})"')

CaseId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,80}$", examples=["0c9tn4g5m1o0v8a6k2q7e3u1s5"])]
Purpose = Annotated[
    str,
    Query(min_length=3, max_length=200, pattern=PRINTED, examples=["call back"]),
]
EXAMPLE = shown(
    Case(
        case="0c9tn4g5m1o0v8a6k2q7e3u1s5",
        version=3,
        scenario="matter",
        pack="5f1c",
        state="handling",
        title="Manhole cover missing",
        category="010101",
        code_system="GB/T 30428.2-2013",
        severity="major",
        level="community",
        area="370481001001",
        place=(117.1612, 35.0842),
        holder="water-company",
        channel="grid",
        opened_us=1_790_000_000_000_000,
        updated_us=1_790_000_600_000_000,
        last_action="sign",
        last_by="water company",
    )
)


@router.get(
    "/cases",
    summary="The inbox: cases within the caller's jurisdiction",
    responses=gives(CasePage, "Some cases, and how to go on.", example=CasePage(items=(EXAMPLE,))),
)
def cases(
    request: Request,
    query: Narrowed,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    after: After = "",
) -> Response:
    """The newest first, or with `order=due` those whose time runs out first (only cases with a running
    clock). A handler and a channel see their organisation's cases."""
    wanted = narrowed(request, query)
    with paging():
        page = city_of(request).store.cases.page(wanted, after, limit)
    return answer(CasePage(items=tuple(map(shown, page.cases)), next=page.after or None))


@router.post(
    "/cases",
    status_code=201,
    summary="Open a case by hand",
    responses=gives(CaseShown, "The case as opened.", 201, EXAMPLE),
    openapi_extra=takes(
        CaseForm,
        {"scenario": "matter", "category": "010101", "place": [117.1612, 35.0842], "severity": "major"},
    ),
)
def open_case(request: Request, form: Annotated[CaseForm, reads(CaseForm)]) -> Response:
    """Where it lies is found by its place. A `key` that was used before opens nothing: the answer is the case
    that it opened."""
    actor = permit(request, "case.open", what="case")
    opening = Opening(
        **{name: getattr(form, name) for name in _OPENING},
        place=place_of(form),
        channel=actor.org if actor.role == "channel" else "desk",
    )
    desk = city_of(request).cases
    case = desk.open(form.scenario, opening, actor, key=form.key, words=_words(form.words))
    return _versioned(case, 201, {"location": f"/city/cases/{case.case}"})


@router.get(
    "/cases/{id}",
    summary="One case",
    responses=gives(CaseShown, "The case; its version is the ETag.", 200, EXAMPLE),
)
def case(request: Request, id: CaseId) -> Response:
    return _versioned(_case(request, id)[0])


@router.get(
    "/cases/{id}/steps",
    summary="Its history: every step, signed",
    responses=gives(StepList, "All steps, the first one first."),
)
def steps(request: Request, id: CaseId) -> Response:
    _case(request, id)
    return answer(StepList(items=tuple(map(_step_shown, city_of(request).store.cases.steps(id)))))


@router.get(
    "/cases/{id}/actions",
    summary="What the caller may do with it now",
    responses=gives(ActionList, "Actions of the pack, by state, role and jurisdiction."),
)
def actions(request: Request, id: CaseId) -> Response:
    found, actor = _case(request, id)
    if not decide(actor, "case.step", found.area, level=found.level, orgs=orgs_of(found)).allowed:
        return answer(ActionList(items=()))
    pack = city_of(request).cases.pack(found.scenario)
    return answer(
        ActionList(items=tuple(map(_action_shown, rules.allowed(pack, found, actor.role, actor.who))))
    )


@router.post(
    "/cases/{id}/steps",
    summary="Take a step",
    responses=gives(CaseShown, "The case after it.", 200, EXAMPLE),
    openapi_extra=takes(StepForm, {"action": "accept", "note": "within our power", "version": 3}),
)
def step(
    request: Request,
    id: CaseId,
    form: Annotated[StepForm, reads(StepForm)],
    if_match: Annotated[str | None, Header(max_length=40, examples=['"3"'])] = None,
) -> Response:
    """Merging is the action `merge` with `other`, the case that stays; both keep their numbers."""
    found, actor = _case(request, id)
    version = _version(if_match, form.version)
    step = Step(**{name: getattr(form, name) for name in _STEP}, place=place_of(form))
    try:
        after = city_of(request).cases.step(found.case, version, step, actor, _words(form.words))
    except VersionConflict as error:
        raise Problem(412 if if_match else 409, str(error), "If-Match" if if_match else "version") from error
    return _versioned(after)


@router.get(
    "/cases/{id}/words",
    summary="Words of a person that belong to it",
    responses=gives(WordsList, "The words, by the version that brought them."),
)
def words(request: Request, id: CaseId, purpose: Purpose) -> Response:
    """Each reading is written down with its purpose."""
    found, _ = _case(request, id)
    actor = permit(request, "case.words", found.area, orgs=orgs_of(found), what="words", object=found.case)
    city = city_of(request)
    keys = [(row.version, row.data.sealed) for row in city.store.cases.steps(id) if row.data.sealed]
    if found.sealed and not any(key == found.sealed for _, key in keys):
        keys.insert(0, (0, found.sealed))
    city.log.plain(actor.who, "words", found.case, purpose)
    city.journal.flush()  # what cannot be written down is not shown
    return answer(WordsList(items=tuple(_words_shown(city, found.case, *key) for key in keys)))


@router.post(
    "/cases/{id}/erasure",
    summary="Erase what a person said in it",
    responses=gives(WordsErased, "The key is destroyed; the case itself stays."),
    openapi_extra=takes(EraseWordsForm, {"reason": "asked"}),
)
def erase_words(
    request: Request, id: CaseId, form: Annotated[EraseWordsForm, reads(EraseWordsForm)]
) -> Response:
    found, _ = _case(request, id)
    actor = permit(request, "person.erase", found.area or WHOLE, what="words-erasure", object=found.case)
    city = city_of(request)
    city.log.deed(actor.who, "words-erasure", found.case, form.reason)
    city.journal.flush()
    parts = city.journal, city.store, city.objects, city.vault, city.clock, city.site
    done = CaseKeeper(*parts, CaseRetention()).erase(found.case, form.reason, actor.who)
    return answer(WordsErased(case=found.case, again=not done))


_OPENING = (
    *("category", "title", "severity", "area", "holder", "component", "estate", "cause", "reference"),
    *("occurred_us", "detail"),
)
_STEP = (
    *("action", "note", "approver", "other", "holder", "helpers", "level", "area", "category", "amount"),
    *("marks", "detail"),
)


def _case(request: Request, id: str) -> tuple[Case, Actor]:
    """The case, and who asks. What lies outside the caller's jurisdiction is not found, so that nobody
    learns by asking what there is.

    Raises:
        Problem: 401, 403, 404.
    """
    actor, _ = reached(request, "case.read")
    found = city_of(request).store.cases.case(id)
    if found is not None and not decide(actor, "case.read", found.area, orgs=orgs_of(found)).allowed:
        refused(city_of(request), request, actor.who, "case.read", id)
        found = None
    if found is None:
        raise Problem(404, f"there is no case {id[:80]!r} in your jurisdiction", "id")
    return found, actor


def _version(if_match: str | None, given: int | None) -> int:
    if if_match is not None:
        matched = _ETAG.fullmatch(if_match.strip())
        if matched is None:
            raise Problem(400, 'If-Match must be the version in quotes, e.g. "3"', "If-Match")
        if given is not None and given != int(matched[1]):
            raise Problem(400, "If-Match and version say different things; send one of them", "version")
        return int(matched[1])
    if given is None:
        raise Problem(428, 'say which version you saw: If-Match: "3", or "version": 3', "If-Match")
    return given


def _versioned(case: Case, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return answer(shown(case), status, {"etag": f'"{case.version}"', **(headers or {})})


def _words(form: WordsForm | None) -> Words | None:
    return None if form is None else Words(**msgspec.structs.asdict(form))


def _words_shown(city: City, case: str, version: int, key: str) -> WordsShown:
    found = city.words.read(case, key)
    if found is None:
        return WordsShown(version=version, erased=True)
    return WordsShown(version=version, **msgspec.structs.asdict(found))


def _step_shown(row: StepRow) -> StepShown:
    data = row.data
    values = {name: getattr(data, name) for name in StepShown.__struct_fields__ if hasattr(data, name)}
    if not isinstance(data, CaseStepped):
        values["action"] = "open"
    return StepShown(**values | {"version": row.version, "time_us": row.time_us, "words": bool(data.sealed)})


def _action_shown(action: Action) -> ActionShown:
    opens = any(effect.startswith(OPEN) for effect in action.effects)
    return ActionShown(
        name=action.name,
        title=action.title,
        title_zh=action.title_zh,
        # What becomes another case links itself to it.
        needs=tuple(need for need in action.needs if need != "other" or not opens),
        optional=action.optional,
        marks=action.choose,
    )

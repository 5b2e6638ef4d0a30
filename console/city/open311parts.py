"""What the calls of Open311 share: who asks, what may be seen, answers and refusals in its form."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from city.cases import Case
from city.rights import OWN, Actor, decide, reach
from city.services import Language
from console.city.auth import refused, viewer_of
from console.city.context import City, city_of
from console.problems import Problem
from desk import open311
from desk.appeallinks import SCENARIO
from desk.cases import orgs_of
from desk.open311 import ErrorShown, Open311Error
from desk.open311form import MAX_REQUESTS, Wanted
from events.errors import AccessDenied, LinliError
from storage.city.casequery import CaseQuery


class Open311Route(APIRoute):
    """Answers every refusal in the specification's form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered_(request: Request) -> Response:
            try:
                return await handle(request)
            except (LinliError, Problem, HTTPException, RequestValidationError) as error:
                return refusal(request, error)

        return answered_


# -- who asks


def reader(request: Request, jurisdiction: str, key: str) -> Actor | None:
    """Who reads; None: everybody, where the site says so. Raises Open311Error."""
    city = city_of(request)
    check_jurisdiction(city, jurisdiction)
    actor = actor_of(request, key)
    if actor is None:
        if city.open311_public:
            return None
        raise Open311Error(403, "api_key was not provided; ask the desk's administrator for one")
    if reach(actor, "case.read") is None:
        raise Open311Error(403, f"this api_key ({actor.who}) may not read requests")
    return actor


def actor_of(request: Request, key: str) -> Actor | None:
    """Whom the key, or else the token or session, stands for; None: there is none. Raises Open311Error."""
    city = city_of(request)
    viewer = city.policy.bearer(key) if key else viewer_of(request)
    if key and viewer is None:
        refused(city, request, "", "open311", request.url.path)
        raise Open311Error(403, "invalid api_key; nothing was done")
    return viewer.actor if viewer else None


def check_jurisdiction(city: City, id: str) -> None:
    if id and id != city.code:
        raise Open311Error(404, f"jurisdiction_id {id[:60]!r} was not found; here is {city.code}")


def check_names(request: Request, names: set[str]) -> None:
    """No parameter is passed over in silence."""
    for name in request.query_params:
        if name not in names:
            raise Open311Error(
                400, f"there is no parameter {name[:40]!r}; it takes {', '.join(sorted(names))}"
            )
        if len(request.query_params.getlist(name)) > 1:
            raise Open311Error(400, f"{name} is given twice; give it once, comma delimited")


# -- what may be seen


def found(city: City, actor: Actor | None, asked: Wanted) -> list[Case]:
    """The requests that are meant and that may be seen, the newest first."""
    if asked.ids:
        cases = city.store.cases.cases(asked.ids)
        return [cases[id_] for id_ in asked.ids if id_ in cases and _may(city, actor, cases[id_])]
    queries: list[CaseQuery] = []
    for code in asked.codes or ("",):
        base = CaseQuery(
            scenario=SCENARIO,
            category=code,
            open=asked.open,
            since_us=asked.since_us,
            until_us=asked.until_us,
        )
        if actor is None or city.open311_public:
            queries.append(msgspec.structs.replace(base, public=True))
        if actor is not None:
            area = reach(actor, "case.read") or ""
            own = {"channel": actor.org} if actor.role in OWN else {}
            queries.append(msgspec.structs.replace(base, area=area, **own))
    cases = {}
    most = min(asked.page * asked.limit, MAX_REQUESTS)
    for query in queries:
        cases |= {case.case: case for case in _all(city, query, most)}
    all_ = sorted(cases.values(), key=lambda case: (-case.opened_us, case.case))
    seen = [case for case in all_ if _may(city, actor, case)]
    return seen[(asked.page - 1) * asked.limit : most]


def _all(city: City, query: CaseQuery, most: int) -> Sequence[Case]:
    found: list[Case] = []
    after = ""
    while len(found) < most:
        page = city.store.cases.page(query, after, min(most - len(found), 500))
        found += page.cases
        after = page.after
        if not after:
            break
    return found


def _may(city: City, actor: Actor | None, case: Case) -> bool:
    if case.scenario != SCENARIO:
        return False
    if case.public and city.open311_public:
        return True
    return actor is not None and decide(actor, "case.read", case.area, orgs=orgs_of(case)).allowed


def shown(city: City, case: Case, language: Language) -> open311.RequestShown:
    address = ""
    if case.area:
        area = city.store.features.get("jurisdiction", case.area)
        address = area.name if area else ""
    return open311.request_shown(case, city.services, city.packs[SCENARIO], language, address)


# -- answers


def language_of(request: Request) -> Language:
    wanted = request.headers.get("accept-language", "").lower()[:200]
    first = min(((wanted.find(name), name) for name in ("zh", "en") if name in wanted), default=(0, ""))[1]
    return "zh" if first == "zh" else "en" if first == "en" else ""


def answered(
    format: str, root: str, shown: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    kind = open311.XML if format == "xml" else open311.JSON
    return Response(open311.written(format, root, shown), status, headers, media_type=kind)


def refusal(request: Request, error: Exception) -> Response:
    """Any refusal as the specification has it."""
    headers: dict[str, str] = {}
    if isinstance(error, Open311Error):
        status, shown = error.status, error.shown
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        status, shown = 400, ErrorShown(400, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}"[:300])
    elif isinstance(error, Problem):
        status, shown, headers = error.status, ErrorShown(error.status, error.detail), error.headers
    elif isinstance(error, HTTPException):
        status, shown = error.status_code, ErrorShown(error.status_code, str(error.detail))
    elif isinstance(error, AccessDenied):
        status, shown = 403, ErrorShown(403, str(error))
    else:
        assert isinstance(error, LinliError)
        code = 503 if error.retriable else 400
        status, shown = 400, ErrorShown(code, str(error))
    status = {401: 403, 403: 403, 404: 404}.get(status, 400)
    format = "json" if request.url.path.endswith(".json") else "xml"
    return answered(format, "errors", [shown], status, headers)

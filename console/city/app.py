"""The city's HTTP API, mounted by the console below /city: one application, a router for each noun.

Everything needs a token or session with a role, except this description and what a site made public.
Refusals are problem documents as everywhere in the console.
"""

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from console.access import AccessPolicy, Sessions
from console.accesslog import AccessLog
from console.city import (
    appeals,
    audit,
    campaigns,
    cases,
    days,
    desk,
    exports,
    imports,
    indicators,
    neighbours,
    ogc,
    open311,
    packs,
    places,
    ratings,
    registers,
    statistics,
    tiles,
)
from console.city.context import City, CityParts
from console.city.describing import schemas
from console.city.parameters import check_query
from console.problems import Problem, on_http_error, on_problem
from events.errors import (
    AccessDenied,
    IllegalTransition,
    LinliError,
    MissingValue,
    NoSuchThing,
    NotShownYet,
    OutsideCity,
    VersionConflict,
)

PARTS = (
    *(desk, cases, packs, indicators, statistics, ratings, days, audit, exports, imports),
    *(registers, appeals, neighbours, campaigns, open311, ogc, tiles, places),
)
"""Each has a router."""
MAX_BODY = 8 << 20
"""Bytes of a request's body: an import comes in one."""
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_WHEN = {
    400: "A parameter or the body cannot be read; `parameter` names it.",
    401: "No token or session, or one that is not known.",
    403: "The role or the jurisdiction does not include this; the attempt was noted.",
    404: "There is no such thing, as far as the caller may see.",
    409: "It cannot be done in this state, or somebody else changed it first. Nothing was changed.",
    412: "The version in If-Match is not the present one. Nothing was changed.",
    413: "The body is too large.",
    415: "The body is of another kind.",
    422: "What the body says cannot be; `parameter` names the field.",
    428: "The change needs a version: If-Match, or `version` in the body.",
    503: "Journal or store cannot work now; the text says what has been kept.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": PROBLEM} for status, text in _WHEN.items()
}
"""Error answers that every operation may give."""
_SCHEMA = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["about:blank"]},
        "title": {"type": "string", "examples": ["Not possible here"]},
        "status": {"type": "integer", "examples": [409]},
        "detail": {"type": "string", "description": "What is wrong, and the mend."},
        "parameter": {"type": "string", "description": "What the caller must change."},
        "thing": {"type": "string", "description": "With 503: what has been kept all the same ..."},
        "version": {"type": "integer", "description": "... and as which version. Do not send it again."},
    },
}
_STATUS: tuple[tuple[tuple[type[LinliError], ...], int], ...] = (
    ((AccessDenied,), 403),
    ((NoSuchThing,), 404),
    ((IllegalTransition, VersionConflict), 409),
    ((OutsideCity,), 422),
)
"""What the house's errors are over HTTP; all others are 503."""
_ABOUT = (
    "One map, two databases, three scenarios. Send a token as `Authorization: Bearer ...`; what it may do, "
    "and where, its grant says. Times are microseconds since 1970 (UTC) unless a name says otherwise; lists "
    "have a `next` to go on with. Open311 and OGC API Features keep to their standards."
)


def create_city(parts: CityParts, *, policy: AccessPolicy, sessions: Sessions, log: AccessLog) -> FastAPI:
    """The application.

    Args:
        policy, sessions, log: the console's.
    """
    city = City(**vars(parts), policy=policy, sessions=sessions, log=log)
    app = FastAPI(
        title="Linli: the city's desk",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(check_query)],
        responses=ERRORS,
        redirect_slashes=False,
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_error,
            RequestValidationError: _on_invalid,
            LinliError: _on_linli_error,
            Exception: _on_bug,
        },
    )
    app.state.city = city
    for part in PARTS:
        app.include_router(part.router)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    if not app.openapi_schema:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schema["servers"] = [{"url": "/city"}]
        parts = schema.setdefault("components", {})
        parts.setdefault("schemas", {}).update(schemas() | {"Problem": _SCHEMA})
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        for path, operations in schema["paths"].items():
            if path.startswith("/open311/"):  # its keys come in its own way, and some of it may be public
                for operation in operations.values():
                    operation["security"] = [{}, {"token": []}]
                    # What is no operation at all is refused in the house's form.
                    operation["responses"]["404"].setdefault("content", {}).update(PROBLEM)
        app.openapi_schema = schema
    return app.openapi_schema


async def _on_invalid(_: Request, error: Exception) -> Response:
    """FastAPI's own checks: 400 for parameters and unreadable bodies, 422 for what a body says."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if where[0] == "path":
        return Problem(
            404, f"there is nothing of the name {str(first['input'])[:60]!r}", where[-1]
        ).response()
    in_body = where[:1] == ["body"] and first["type"] != "json_invalid"
    name = ".".join(where[1:]) or where[0]
    given = str(first.get("input", ""))[:60]
    detail = f"{name}: {first['msg']}" + (f", not {given!r}" if given and len(where) > 1 else "")
    return Problem(422 if in_body else 400, detail, name[:80]).response()


async def _on_linli_error(_: Request, error: Exception) -> Response:
    """The house's own errors; what nobody foresaw is 503, to be tried again."""
    assert isinstance(error, LinliError)
    if isinstance(error, MissingValue):
        return Problem(422, str(error), error.field).response()
    if isinstance(error, NotShownYet):
        more = {"thing": error.thing, "version": error.version}
        return Problem(503, str(error), headers={"retry-after": "5"}, more=more).response()
    for kinds, status in _STATUS:
        if isinstance(error, kinds):
            return Problem(status, str(error)).response()
    return Problem(503, str(error), headers={"retry-after": "5"}).response()


async def _on_bug(_: Request, error: Exception) -> Response:
    """The error goes into the log with its trace; the answer has no inside of ours."""
    return Problem(500, f"a fault in the desk ({type(error).__name__}); the log has more").response()

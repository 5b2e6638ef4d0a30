"""Open311 GeoReport v2 under /city/open311: discovery, and the six calls below v2.

https://wiki.open311.org/GeoReport_v2/. `api_key` (or a bearer's token) is the token of a grant with the role
`channel`; it brings requests and reads its own. Without one nothing is read, unless the site says that
services and public requests are for everybody. Errors are in the specification's own form, whatever goes
wrong, with its three statuses: 404, 403, 400; the code in the body tells more.
"""

from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from anyio import to_thread
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from city.services import said
from console.city.auth import refused
from console.city.context import city_of
from console.city.describing import FORMS
from console.city.open311parts import (
    Open311Route,
    actor_of,
    answered,
    check_jurisdiction,
    check_names,
    found,
    language_of,
    reader,
    shown,
)
from console.city.parameters import free_query
from desk import open311
from desk.appeals import Report
from desk.open311 import ErrorShown, Open311Error
from desk.open311form import Asked, Wanted, report, wanted
from events.errors import AccessDenied, NotShownYet

MAX_BODY = 64 << 10
"""Bytes of a form: 4,000 characters that are escaped, and all the rest."""
_LISTED = {"jurisdiction_id", "api_key"}
_FILTERS = _LISTED | {
    *("service_request_id", "service_code", "start_date", "end_date", "status", "page", "page_size"),
}

Format = Annotated[Literal["xml", "json"], Path(description="xml or json")]
Code = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,60}$", examples=["noise"])]
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_:-]{1,80}$", examples=["0c9tn4g5m1o0v8a6k2q7e3u1s5"])]
Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,80}$", examples=["0c9tn4g5m1o0v8a6k2q7e3u1s5"])]
Jurisdiction = Annotated[
    str, Query(max_length=200, description="The division code; may be left out, there is one.")
]
Key = Annotated[str, Query(max_length=200, description="Token of a grant with the role channel.")]


router = APIRouter(prefix="/open311", tags=["open311"], route_class=Open311Route)


def _answers(root: str, form: type, many: bool = True) -> dict[int | str, dict[str, Any]]:
    """`responses` of an operation: each status in both formats."""
    FORMS.update((form, ErrorShown))
    one = {"$ref": f"#/components/schemas/{form.__name__}"}
    all_: dict[int | str, dict[str, Any]] = {
        200: _both(f"<{root}>", {"type": "array", "items": one} if many else one)
    }
    errors = {"type": "array", "items": {"$ref": "#/components/schemas/ErrorShown"}}
    for status, text in (
        (400, "The request cannot be answered; the description says why. Several kinds have this status."),
        (403, "api_key is missing, unknown, or not enough."),
        (404, "No such service, request, token or jurisdiction."),
    ):
        all_[status] = _both(text, errors)
    return all_


def _both(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = {"text/xml": {"schema": {"type": "string"}}, "application/json": {"schema": schema}}
    return {"description": text, "content": content}


_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["service_code"],
                    "properties": {
                        **{name: {"type": "string", "maxLength": 200} for name in sorted(
                            ("api_key", "jurisdiction_id", "service_code", "address_string", "address_id",
                             "email", "device_id", "account_id", "first_name", "last_name", "phone")
                        )},
                        "lat": {"type": "number", "minimum": -90, "maximum": 90},
                        "long": {"type": "number", "minimum": -180, "maximum": 180},
                        "description": {"type": "string", "maxLength": 4000},
                        "media_url": {"type": "string", "maxLength": 2000},
                    },
                    "additionalProperties": {"type": "string"},
                    "description": "attribute[CODE]=value answers a service's questions; attribute[CODE][] "
                    "one that takes several. lat and long, address_string or address_id is needed.",
                },
                "example": {"service_code": "rubbish", "lat": "35.0842", "long": "117.1612"},
            }
        },
    }
}  # fmt: skip


@router.get(
    "/discovery.{format}",
    summary="Where Open311 is served here",
    responses=_answers("discovery", open311.DiscoveryShown, many=False),
)
@free_query
def discovery(request: Request, format: Format) -> Response:
    """Where the API is, and how to come by a key."""
    city = city_of(request)
    url = str(request.url).split("/open311/")[0] + "/open311/v2"
    file = open311.DiscoveryShown(
        changeset=CHANGESET,
        contact=f"{city.name or city.site}: ask the desk of the city",
        key_service="The desk's administrator gives keys: a grant with the role channel.",
        endpoints=(open311.EndpointShown(url=url, changeset=CHANGESET, type="production"),),
    )
    return answered(format, "discovery", file)


CHANGESET = "2026-11-28 00:00"
"""When services or their questions last changed."""


@router.get(
    "/v2/services.{format}",
    summary="What may be asked for",
    responses=_answers("services", open311.ServiceShown),
)
@free_query
def services(
    request: Request, format: Format, jurisdiction_id: Jurisdiction = "", api_key: Key = ""
) -> Response:
    """Services, by code and group. Those that are not public are left out."""
    check_names(request, _LISTED)
    reader(request, jurisdiction_id, api_key)
    return answered(format, "services", open311.service_list(city_of(request).services, language_of(request)))


@router.get(
    "/v2/services/{service_code}.{format}",
    summary="The questions of a service",
    responses=_answers("service_definition", open311.DefinitionShown, many=False),
)
@free_query
def service(
    request: Request,
    service_code: Code,
    format: Format,
    jurisdiction_id: Jurisdiction = "",
    api_key: Key = "",
) -> Response:
    """Which attributes a request of this service has."""
    check_names(request, _LISTED)
    reader(request, jurisdiction_id, api_key)
    asked = city_of(request).services.services.get(service_code)
    if asked is None or not asked.public:
        raise Open311Error(404, f"service_code {service_code} was not found; GET services lists them")
    return answered(format, "service_definition", open311.definition(asked, language_of(request)))


@router.post(
    "/v2/requests.{format}",
    summary="Ask for a service",
    responses=_answers("service_requests", open311.CreatedShown),
    openapi_extra=_FORM,
)
@free_query
async def create(request: Request, format: Format) -> Response:
    """A new request, as a form. What a person wrote is encrypted before anything of it is kept; media_url is
    kept with it and not fetched. The header `linli-token` has the citizen's token."""
    fields = await _form(request)
    return await to_thread.run_sync(_created, request, format, fields)


@router.get(
    "/v2/requests.{format}",
    summary="Requests of a span",
    responses=_answers("service_requests", open311.RequestShown),
)
@free_query
def requests(  # noqa: PLR0913 - a parameter of the specification each
    request: Request,
    format: Format,
    jurisdiction_id: Jurisdiction = "",
    api_key: Key = "",
    service_request_id: Annotated[str, Query(max_length=9000, description="Comma delimited.")] = "",
    service_code: Annotated[str, Query(max_length=7000, description="Comma delimited.")] = "",
    start_date: Annotated[str, Query(max_length=60, examples=["2026-01-01T00:00:00Z"])] = "",
    end_date: Annotated[str, Query(max_length=60, examples=["2026-03-01T00:00:00Z"])] = "",
    status: Annotated[str, Query(max_length=60, description="open, closed, or both.")] = "",
    page: Annotated[str, Query(max_length=20, description="Of page_size; within the first 1000.")] = "",
    page_size: Annotated[str, Query(max_length=20, description="Requests of a page, up to 1000.")] = "",
) -> Response:
    """The newest first: of 90 days, and 1000 at most."""
    check_names(request, _FILTERS)
    actor = reader(request, jurisdiction_id, api_key)
    city = city_of(request)
    asked = wanted(
        {
            **{"service_request_id": service_request_id, "service_code": service_code, "status": status},
            **{"start_date": start_date, "end_date": end_date, "page": page, "page_size": page_size},
        },
        city.clock.wall_us(),
    )
    rows = [shown(city, case, language_of(request)) for case in found(city, actor, asked)]
    return answered(format, "service_requests", rows)


@router.get(
    "/v2/requests/{service_request_id}.{format}",
    summary="One request",
    responses=_answers("service_requests", open311.RequestShown),
)
@free_query
def one(
    request: Request,
    service_request_id: Id,
    format: Format,
    jurisdiction_id: Jurisdiction = "",
    api_key: Key = "",
) -> Response:
    """The state of a request."""
    check_names(request, _LISTED)
    actor = reader(request, jurisdiction_id, api_key)
    city = city_of(request)
    cases = found(city, actor, Wanted(ids=(service_request_id,)))
    if not cases:
        raise Open311Error(404, f"service_request_id {service_request_id} was not found")
    return answered(format, "service_requests", [shown(city, cases[0], language_of(request))])


@router.get(
    "/v2/tokens/{token}.{format}",
    summary="A token's request",
    responses=_answers("service_requests", open311.TokenShown),
)
@free_query
def token(
    request: Request, token: Token, format: Format, jurisdiction_id: Jurisdiction = "", api_key: Key = ""
) -> Response:
    """The id of the request that a token was given for. Who has the token needs no key."""
    check_names(request, _LISTED)
    city = city_of(request)
    check_jurisdiction(city, jurisdiction_id)
    if api_key:  # one that is wrong is told
        actor_of(request, api_key)
    id_ = city.appeals.id_of(token)
    if city.store.cases.case(id_) is None:
        raise Open311Error(404, "this token was not found; right after a report it may take a moment")
    return answered(format, "service_requests", [open311.TokenShown(id_, token)])


async def _form(request: Request) -> list[tuple[str, str]]:
    """The fields of the body. Raises Open311Error."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Open311Error(400, "send the request as application/x-www-form-urlencoded", 415)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Open311Error(400, f"a request may have at most {MAX_BODY} bytes", 413)
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=200
        ) + list(request.query_params.multi_items())
    except ValueError as error:
        raise Open311Error(400, f"the form cannot be read: {error}") from error


def _created(request: Request, format: str, fields: list[tuple[str, str]]) -> Response:
    city = city_of(request)
    given = dict(fields)
    check_jurisdiction(city, given.get("jurisdiction_id", ""))
    actor = actor_of(request, given.get("api_key", ""))
    if actor is None:
        raise Open311Error(403, "api_key was not provided; ask the desk's administrator for one")
    asked = report(fields, city_of(request).services)
    taken = _report(asked)
    appeals = city.appeals
    ticket = appeals.ticket(taken, actor)
    service = asked.service
    notice = said(service.notice, service.notice_zh, language_of(request)) or None
    try:
        done = appeals.take_as(ticket, taken, actor)
    except AccessDenied as error:
        refused(city, request, actor.who, "open311", request.url.path)
        raise Open311Error(403, str(error)) from error
    except NotShownYet:
        # The case is journaled; its id can be asked for by the token once the store has it.
        later = open311.CreatedShown(token=ticket.token, service_notice=notice, account_id=None)
        return answered(format, "service_requests", [later])
    made = open311.CreatedShown(
        service_request_id=done.case.case, service_notice=notice, account_id=asked.account_id or None
    )
    return answered(format, "service_requests", [made], headers={"linli-token": ticket.token})


def _report(asked: Asked) -> Report:
    return Report(
        category=asked.service.code,
        place=asked.place,
        address_id=asked.address_id,
        channel="open311",
        words=asked.words,
    )

"""Open311 GeoReport v2, without the web: services and cases as its answers, its form as a report, its errors.

After https://wiki.open311.org/GeoReport_v2/ and https://wiki.open311.org/Service_Discovery/. It knows only
open and closed, so that the state as the pack has it is in `status_notes`. Words of a person come in by it
and never go out by it: `description` stays empty, `address` is a jurisdiction's name.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import msgspec

from city.cases import Case
from city.scenario import Pack
from city.services import Attribute, Language, Service, Services, said
from desk.words import Words
from events.errors import LinliError
from events.media import parse_rfc3339
from events.payload import Place

SPECIFICATION = "http://wiki.open311.org/GeoReport_v2"
XML, JSON = "text/xml; charset=utf-8", "application/json; charset=utf-8"
MAX_DESCRIPTION = 4000
"""Characters, as the specification says."""
MAX_REQUESTS = 1000
SPAN_US = 90 * 86_400_000_000
"""Days and number to which an answer is bounded."""
_MAX_FIELD = 200
_MAX_URL = 2000
_MAX_IDS = 100
_LINE = ("address_string", "email", "device_id", "account_id", "first_name", "last_name", "phone")
_KNOWN = {
    "jurisdiction_id",
    "api_key",
    "service_code",
    "lat",
    "long",
    "address_id",
    "description",
    "media_url",
}
_ATTRIBUTE = re.compile(r"attribute\[([A-Za-z0-9_.-]{1,60})\](\[\])?")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
_ITEMS = {
    "services": "service",
    "attributes": "attribute",
    "values": "value",
    "service_requests": "request",
    "errors": "error",
    "endpoints": "endpoint",
    "formats": "format",
}
"""How XML calls what lies in a list; what JSON leaves out (the Spark convention)."""


class ErrorShown(msgspec.Struct, frozen=True):
    """One of the errors of an answer."""

    code: int
    description: str


class Open311Error(LinliError):
    """A request that cannot be answered. `status` is HTTP's, as the specification has it: 404, 403 or 400."""

    def __init__(self, status: int, description: str, code: int = 0) -> None:
        super().__init__(description)
        self.status = status
        self.shown = ErrorShown(code or status, description)


class ServiceShown(msgspec.Struct, frozen=True, kw_only=True):
    """One of GET services."""

    service_code: str
    service_name: str
    description: str
    metadata: bool
    type: str = "realtime"
    keywords: str
    group: str


class ValueShown(msgspec.Struct, frozen=True):
    """One of a list's values."""

    key: str
    name: str


class AttributeShown(msgspec.Struct, frozen=True, kw_only=True):
    """A question of a service."""

    variable: bool
    code: str
    datatype: str
    required: bool
    datatype_description: str | None
    order: int
    description: str
    values: tuple[ValueShown, ...] | None = None


class DefinitionShown(msgspec.Struct, frozen=True, kw_only=True):
    """GET services/CODE."""

    service_code: str
    attributes: tuple[AttributeShown, ...]


class RequestShown(msgspec.Struct, frozen=True, kw_only=True):
    """One of GET requests. What is None may not be returned, or is not known."""

    service_request_id: str
    status: str
    status_notes: str | None
    service_name: str
    service_code: str
    description: None = None
    agency_responsible: str | None = None
    service_notice: str | None = None
    requested_datetime: str
    updated_datetime: str
    expected_datetime: str | None = None
    address: str | None = None
    address_id: str | None = None
    zipcode: None = None
    lat: float | None = None
    long: float | None = None
    media_url: None = None


class CreatedShown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What POST requests answers: the id, or a token while the id cannot be looked up yet."""

    service_request_id: str = ""
    token: str = ""
    service_notice: str | None
    account_id: str | None


class TokenShown(msgspec.Struct, frozen=True):
    """What GET tokens/TOKEN answers."""

    service_request_id: str
    token: str


class EndpointShown(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API is."""

    specification: str = SPECIFICATION
    url: str
    changeset: str
    type: str
    formats: tuple[str, ...] = ("text/xml", "application/json")


class DiscoveryShown(msgspec.Struct, frozen=True, kw_only=True):
    """The discovery file."""

    changeset: str
    contact: str
    key_service: str
    endpoints: tuple[EndpointShown, ...]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as POST brings it."""

    service: Service
    place: Place | None
    address_id: str
    account_id: str
    words: Words
    """Everything that a citizen wrote, the address and the answers to questions among it."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What GET requests asks for."""

    ids: tuple[str, ...] = ()
    """Given: nothing else counts."""
    codes: tuple[str, ...] = ()
    open: bool | None = None
    since_us: int = 0
    until_us: int = 0
    """After the last moment that is meant."""
    limit: int = MAX_REQUESTS
    page: int = 1


# -- answers


def written(format: str, root: str, shown: object) -> bytes:
    """An answer in a format.

    Args:
        format: xml or json.
        root: name of XML's outermost element: services, service_definition, service_requests, errors ...
        shown: one of the structures above, or a sequence of them.
    """
    if format == "json":
        return msgspec.json.encode(shown)
    element = ElementTree.Element(root)
    _fill(element, msgspec.to_builtins(shown))
    # The specification's own examples have this declaration, and no namespace.
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(element, encoding="utf-8")


def _fill(element: ElementTree.Element, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _fill(ElementTree.SubElement(element, name), inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _fill(ElementTree.SubElement(element, _ITEMS[element.tag]), inner)
    elif isinstance(value, bool):
        element.text = "true" if value else "false"
    elif value is not None:
        element.text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


def service_list(services: Services, language: Language, hidden: bool = False) -> list[ServiceShown]:
    """The services. `hidden`: those that are not public as well."""
    return [
        ServiceShown(
            service_code=service.code,
            service_name=said(service.name, service.name_zh, language),
            description=said(service.description, service.description_zh, language),
            metadata=bool(service.attribute),
            keywords=", ".join(service.keywords),
            group=_group(services, service, language),
        )
        for service in services.services.values()
        if service.public or hidden
    ]


def definition(service: Service, language: Language) -> DefinitionShown:
    """The questions of a service."""
    return DefinitionShown(
        service_code=service.code,
        attributes=tuple(
            AttributeShown(
                variable=attribute.variable,
                code=attribute.code,
                datatype=attribute.datatype,
                required=attribute.required,
                datatype_description=attribute.datatype_description or None,
                order=order,
                description=said(attribute.description, attribute.description_zh, language),
                values=tuple(ValueShown(v.key, said(v.name, v.name_zh, language)) for v in attribute.values)
                or None,
            )
            for order, attribute in enumerate(service.attribute, 1)
        ),
    )


def request_shown(
    case: Case, services: Services, pack: Pack, language: Language, address: str = ""
) -> RequestShown:
    """A case as a service request. `address`: the name of its jurisdiction."""
    service = services.services.get(case.category)
    place = case.place or (None, None)
    notes = [_state(pack, case.state, language), *case.marks]
    return RequestShown(
        service_request_id=case.case,
        status="closed" if case.final else "open",
        status_notes="; ".join(notes),
        service_name=said(service.name, service.name_zh, language) if service else case.title,
        service_code=case.category,
        agency_responsible=case.holder or None,
        service_notice=(said(service.notice, service.notice_zh, language) or None) if service else None,
        requested_datetime=moment(case.opened_us),
        updated_datetime=moment(case.closed_us if case.final and case.closed_us else case.updated_us),
        expected_datetime=moment(case.due_us) if case.due_us else None,
        address=address or None,
        address_id=case.area or None,
        lat=place[1],
        long=place[0],
    )


def moment(time_us: int) -> str:
    """A time in the W3C's form, in UTC to the second."""
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).isoformat()[:-6] + "Z"


def _state(pack: Pack, state: str, language: Language) -> str:
    found = pack.states.get(state)
    return said(found.title, found.title_zh, language) if found else state


def _group(services: Services, service: Service, language: Language) -> str:
    group = services.groups.get(service.group)
    return said(group.name, group.name_zh, language) if group else ""


# -- requests


def report(fields: Iterable[tuple[str, str]], services: Services, hidden: bool = False) -> Asked:
    """What a form says.

    Args:
        fields: as they came; an empty one is none.
        hidden: services that are not public may be asked for.

    Raises:
        Open311Error: 404 no such service, 400 what is missing or cannot be; the text names the field.
    """
    given, answers = _given(fields)
    code = given.get("service_code", "")
    if not code:
        raise Open311Error(400, "service_code was not provided; GET services lists them")
    service = services.services.get(code)
    if service is None or not (service.public or hidden):
        raise Open311Error(404, f"service_code {code[:60]!r} was not found; GET services lists them")
    place = _place(given)
    if place is None and not given.get("address_string") and not given.get("address_id"):
        raise Open311Error(
            400, "a location was not provided; send lat and long, or address_string, or address_id"
        )
    said_ = _answered(service, answers)
    text = "\n".join(part for part in (given.get("description", ""), said_) if part)
    name = " ".join(given[part] for part in ("last_name", "first_name") if given.get(part))
    return Asked(
        service=service,
        place=place,
        address_id=given.get("address_id", ""),
        account_id=given.get("account_id", ""),
        words=Words(
            text=text,
            name=name,
            phone=given.get("phone", ""),
            email=given.get("email", ""),
            address=given.get("address_string", ""),
            media=given.get("media_url", ""),
        ),
    )


def _given(fields: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Fields and answers to questions, checked for what text may be. Raises Open311Error."""
    given: dict[str, str] = {}
    answers: dict[str, list[str]] = {}
    for name, value in fields:
        if not value.strip():
            continue
        most = {"description": MAX_DESCRIPTION, "media_url": _MAX_URL}.get(name, _MAX_FIELD)
        if len(value) > most:
            raise Open311Error(400, f"{name[:80]} may have at most {most} characters")
        if _UNPRINTABLE.search(value) or (name != "description" and "\n" in value and "[" not in name):
            raise Open311Error(400, f"{name[:80]} has characters that are no text")
        if found := _ATTRIBUTE.fullmatch(name):
            answers.setdefault(found[1], []).append(value.strip())
        elif name not in _KNOWN and name not in _LINE:
            raise Open311Error(400, f"{name[:80]!r} is no field of a service request")
        elif name in given:
            raise Open311Error(400, f"{name} is given twice; give it once")
        else:
            given[name] = value.strip()
    if (url := given.get("media_url")) and not _is_url(url):
        raise Open311Error(400, "media_url must be an http or https address")
    return given, answers


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in text
    except ValueError:
        return False


def _place(given: Mapping[str, str]) -> Place | None:
    lat, long = given.get("lat", ""), given.get("long", "")
    if not lat and not long:
        return None
    if not lat or not long:
        raise Open311Error(400, "lat and long go together; one of them was not provided")
    values = []
    for name, text, most in (("long", long, 180), ("lat", lat, 90)):
        if not _NUMBER.fullmatch(text) or not abs(float(text)) <= most:
            raise Open311Error(400, f"{name} must be degrees from -{most} to {most}, not {text[:40]!r}")
        values.append(round(float(text), 7))
    return values[0], values[1]


def _answered(service: Service, answers: Mapping[str, Sequence[str]]) -> str:
    """The answers as lines. Raises Open311Error for one that is missing, unknown or of another kind."""
    questions = {attribute.code: attribute for attribute in service.attribute if attribute.variable}
    for code in answers:
        if code not in questions:
            raise Open311Error(400, f"attribute[{code}] is none of the service {service.code}")
    lines = []
    for code, question in questions.items():
        values = answers.get(code, ())
        if question.required and not values:
            raise Open311Error(
                400, f"attribute[{code}] was not provided; the service {service.code} needs it"
            )
        if len(values) > 1 and question.datatype != "multivaluelist":
            raise Open311Error(400, f"attribute[{code}] is given twice; it takes one value")
        if values:
            lines.append(f"[{code}] " + ", ".join(_answer(question, value) for value in values))
    return "\n".join(lines)


def _answer(question: Attribute, value: str) -> str:
    if question.values:
        found = next((v for v in question.values if v.key == value), None)
        if found is None:
            keys = ", ".join(v.key for v in question.values)
            raise Open311Error(400, f"attribute[{question.code}] must be one of {keys}")
        return said(found.name, found.name_zh)
    if question.datatype == "number" and not (_NUMBER.fullmatch(value) and math.isfinite(float(value))):
        raise Open311Error(400, f"attribute[{question.code}] must be a number")
    if question.datatype == "datetime":
        _time(f"attribute[{question.code}]", value)
    return value


def wanted(query: Mapping[str, str], now_us: int) -> Wanted:
    """What the parameters of GET requests ask for.

    Raises:
        Open311Error: 400, naming the parameter.
    """
    if ids := _listed(query.get("service_request_id", ""), "service_request_id"):
        return Wanted(ids=ids)
    since, until = query.get("start_date", ""), query.get("end_date", "")
    first = _time("start_date", since) if since else None
    last = _time("end_date", until) if until else None
    if last is None:
        last = now_us if first is None else first + SPAN_US
    if first is None:
        first = last - SPAN_US
    if first > last:
        raise Open311Error(400, "start_date is later than end_date")
    if last - first > SPAN_US:
        raise Open311Error(400, "start_date and end_date may not span more than 90 days")
    limit = _whole(query, "page_size", MAX_REQUESTS, MAX_REQUESTS)
    return Wanted(
        codes=_listed(query.get("service_code", ""), "service_code"),
        open=_status(query.get("status", "")),
        since_us=max(first, 0),
        until_us=max(last, 0) + 1,
        limit=limit,
        page=_whole(query, "page", 1, max(MAX_REQUESTS // limit, 1)),
    )


def _listed(text: str, name: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if len(found) > _MAX_IDS:
        raise Open311Error(400, f"{name} may have at most {_MAX_IDS} values")
    return found


def _status(text: str) -> bool | None:
    found = set(_listed(text, "status"))
    if not found <= {"open", "closed"}:
        raise Open311Error(400, f"status must be open, closed or both, not {text[:40]!r}")
    return None if len(found) != 1 else found == {"open"}


def _whole(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise Open311Error(400, f"{name} must be a whole number from 1 to {most}, not {text[:40]!r}")
    return int(text)


def _time(name: str, text: str) -> int:
    try:
        # A plus that was not escaped comes as a space.
        time_us = parse_rfc3339(re.sub(r" (?=[0-9]{2}:?[0-9]{2}$)", "+", text))
    except (ValueError, OverflowError):
        raise Open311Error(
            400, f"{name} must be a time like 2010-01-01T00:00:00Z, not {text[:40]!r}"
        ) from None
    if not 0 <= time_us < 1 << 52:
        raise Open311Error(400, f"{name} is too far away: {text[:40]!r}")
    return time_us

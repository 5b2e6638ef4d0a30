"""What Open311 GeoReport v2 is asked: the form of a new request, the filters of a list."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from city.services import Attribute, Service, Services, said
from desk.open311 import UNPRINTABLE, Open311Error
from desk.words import Words
from events.media import parse_rfc3339
from events.payload import Place

MAX_DESCRIPTION = 4000
"""Characters, as the specification says."""
MAX_REQUESTS = 1000
SPAN_US = 90 * 86_400_000_000
"""Number and days to which an answer is bounded."""
_MAX_FIELD = 200
_MAX_URL = 2000
_MAX_IDS = 100
_LINES = ("address_string", "email", "device_id", "account_id", "first_name", "last_name", "phone")
_KNOWN = {
    *_LINES,
    *("jurisdiction_id", "api_key", "service_code", "lat", "long", "address_id", "description", "media_url"),
}
_ATTRIBUTE = re.compile(r"attribute\[([A-Za-z0-9_.-]{1,60})\](\[\])?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")


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
        if UNPRINTABLE.search(value) or (name != "description" and "\n" in value and "[" not in name):
            raise Open311Error(400, f"{name[:80]} has characters that are no text")
        if found := _ATTRIBUTE.fullmatch(name):
            answers.setdefault(found[1], []).append(value.strip())
        elif name not in _KNOWN:
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
        raise Open311Error(400, f"{name} must be like 2010-01-01T00:00:00Z, not {text[:40]!r}") from None
    if not 0 <= time_us < 1 << 52:
        raise Open311Error(400, f"{name} is too far away: {text[:40]!r}")
    return time_us

"""Open311 GeoReport v2, without the web: services and cases as its answers, and its errors. What it is asked
is read in `desk/open311form.py`.

After https://wiki.open311.org/GeoReport_v2/ and https://wiki.open311.org/Service_Discovery/. It knows only
open and closed, so that the state as the pack has it is in `status_notes`. Words of a person come in by it
and never go out by it: `description` stays empty, `address` is a jurisdiction's name.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import msgspec

from city.cases import Case
from city.scenario import Pack
from city.services import Language, Service, Services, said
from events.errors import LinliError

SPECIFICATION = "http://wiki.open311.org/GeoReport_v2"
XML, JSON = "text/xml; charset=utf-8", "application/json; charset=utf-8"
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
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
    text: bytes = ElementTree.tostring(element, encoding="utf-8", xml_declaration=False)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + text


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
        element.text = UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


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

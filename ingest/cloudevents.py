"""CloudEvents 1.0 as they come over HTTP: binary mode, structured mode and batches (HTTP binding 1.0).

Only what readings need is kept: the source, the id, the time and the data.
"""

import base64
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from events.errors import LinliError
from events.media import parse_rfc3339
from ingest import senml

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


class CloudEventError(LinliError):
    """Not a CloudEvent. `field` is which attribute, as a JSON pointer or a header's name."""

    def __init__(self, text: str, field: str) -> None:
        super().__init__(text)
        self.field = field


class CloudEvent(msgspec.Struct, frozen=True):
    """What came."""

    id: str
    source: str
    data: bytes
    time_us: int | None
    """Microseconds since 1970; None: it has no time."""
    senml: bool
    """Its content type says that the data is SenML."""


class _Wire(msgspec.Struct):
    specversion: str = ""
    id: str = ""
    source: str = ""
    type: str = ""
    time: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None


_one = msgspec.json.Decoder(_Wire)
_many = msgspec.json.Decoder(list[_Wire])


def binary(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """Attributes in headers, the data in the body.

    Raises:
        CloudEventError: an attribute is missing or wrong.
    """

    def header(name: str) -> str:
        return unquote(headers.get(f"ce-{name}", ""))

    wire = _Wire(
        specversion=header("specversion"),
        id=header("id"),
        source=header("source"),
        type=header("type"),
        time=header("time") or None,
        datacontenttype=headers.get("content-type"),
    )
    return _checked(wire, "ce-", body)


def structured(body: bytes) -> CloudEvent:
    """The whole event in the body. Raises CloudEventError."""
    try:
        wire = _one.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CloudEventError(f"not a CloudEvent in JSON: {error}", "") from None
    return _checked(wire, "/", _data(wire, "/"))


def batch(body: bytes) -> list[CloudEvent]:
    """Several whole events. Raises CloudEventError."""
    try:
        wires = _many.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CloudEventError(f"not a batch of CloudEvents in JSON: {error}", "") from None
    return [_checked(wire, f"/{n}/", _data(wire, f"/{n}/")) for n, wire in enumerate(wires)]


def _data(wire: _Wire, place: str) -> bytes:
    if wire.data_base64 is None:
        return bytes(wire.data)
    try:
        return base64.b64decode(wire.data_base64, validate=True)
    except ValueError:
        raise CloudEventError("data_base64 is not base 64", f"{place}data_base64") from None


def _checked(wire: _Wire, place: str, data: bytes) -> CloudEvent:
    if wire.specversion != "1.0":
        raise CloudEventError("specversion is not 1.0", f"{place}specversion")
    for name in ("id", "source", "type"):
        if not getattr(wire, name):
            raise CloudEventError(f"the attribute {name} is missing or empty", f"{place}{name}")
    time_us = None
    if wire.time is not None:
        try:
            time_us = parse_rfc3339(wire.time)
        except ValueError:
            raise CloudEventError("time is not RFC 3339 with a zone", f"{place}time") from None
    kind = (wire.datacontenttype or "").partition(";")[0].strip().lower()
    return CloudEvent(wire.id, wire.source, data, time_us, kind == senml.MEDIA_TYPE)

"""Events to and from bytes: CloudEvents 1.0, structured JSON. The same event always gives the same bytes.

`events/binding.py` has the form for Kafka. Both read payloads of old types (`events/upcast.py`).
"""

from typing import Any, get_args

import msgspec

from events.errors import MalformedEvent
from events.events import AnyPayload, Event
from events.media import parse_rfc3339, rfc3339
from events.upcast import upcast

CONTENT_TYPE = "application/cloudevents+json"

TYPES: frozenset[str] = frozenset(str(payload.__struct_config__.tag) for payload in get_args(AnyPayload))
"""The present types."""


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The wire form. Extension names are lower case letters only, as CloudEvents asks."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    partitionkey: str
    sequence: str
    linliepoch: str
    linlipts: str
    data: Any


class _Read(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """As much of the wire form as an event is made of; the rest follows from it."""

    id: str
    source: str
    type: str
    time: str
    sequence: str
    linliepoch: str
    linlipts: str
    data: msgspec.Raw


_encoder = msgspec.json.Encoder(order="sorted")
_payloads: msgspec.json.Decoder[AnyPayload] = msgspec.json.Decoder(AnyPayload)
_envelopes = msgspec.json.Decoder(_Read)

_INT64 = 1 << 63
_FIRST_US = parse_rfc3339("0001-01-01T00:00:00Z")
_LAST_US = parse_rfc3339("9999-12-31T23:59:59.999999Z")


def encode_data(data: AnyPayload) -> bytes:
    """A payload as canonical JSON: keys sorted, no spaces."""
    return _encoder.encode(data)


def decode_data(raw: bytes) -> AnyPayload:
    """The payload in canonical (or any valid) JSON.

    Raises:
        msgspec.ValidationError: not a known payload.
    """
    return _payloads.decode(raw)


def encode(event: Event) -> bytes:
    """The event as a CloudEvents 1.0 JSON document, canonical."""
    return _encoder.encode(
        _Envelope(
            specversion="1.0",
            id=event.id,
            source=event.source,
            type=event.type,
            subject=event.subject,
            time=rfc3339(event.time_us),
            datacontenttype="application/json",
            partitionkey=event.key,
            sequence=f"{event.sequence:012d}",
            linliepoch=str(event.epoch),
            linlipts=str(event.pts),
            data=event.data,
        )
    )


def decode(raw: bytes) -> Event:
    """The event in a CloudEvents JSON document, which this or an older version wrote.

    Raises:
        MalformedEvent: not an event of ours; says what is wrong.
        UnknownEvent: of a type that a newer version made.
    """
    try:
        e = _envelopes.decode(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent(f"not an event's document: {_short(error)}") from None
    return event_of(e.type, e.data, (e.id, e.source, e.time, e.linliepoch, e.sequence, e.linlipts))


def event_of(type_: str, data: bytes | msgspec.Raw, attributes: tuple[str, str, str, str, str, str]) -> Event:
    """An event from its parts as text.

    Args:
        type_: the CloudEvents type.
        data: the payload's JSON.
        attributes: id, source, time, linliepoch, sequence, linlipts.

    Raises:
        MalformedEvent, UnknownEvent: as `decode`.
    """
    typed = payload(type_, data)  # first: of a type from the future nothing else need be as it is
    id_, source, time, epoch, sequence, pts = attributes
    return Event(
        id=id_,
        source=source,
        time_us=_time(time),
        epoch=_whole("linliepoch", epoch),
        sequence=_whole("sequence", sequence),
        pts=-_whole("linlipts", pts[1:]) if pts.startswith("-") else _whole("linlipts", pts),
        data=typed,
    )


def payload(type_: str, data: bytes | msgspec.Raw) -> AnyPayload:
    """The payload of an event of this type, an old one as what it is today.

    Raises:
        MalformedEvent, UnknownEvent: as `decode`.
    """
    try:
        if type_ in TYPES:
            typed = _payloads.decode(data)
            if typed.__struct_config__.tag != type_:
                raise MalformedEvent(f"type {type_} with data of type {typed.__struct_config__.tag}")
            return typed
        plain = msgspec.json.decode(data)
        if not isinstance(plain, dict):
            raise MalformedEvent(f"data of {type_:.80}: not a JSON object")
        old: AnyPayload = msgspec.convert(upcast(type_, plain, TYPES), AnyPayload)
        return old
    except (ValueError, RecursionError) as error:
        raise MalformedEvent(
            f"data of {type_:.80}: {_short(error)}. "
            "If a newer Linli wrote it: upgrade, then run `linli dlq retry`"
        ) from None


def _time(text: str) -> int:
    try:
        time_us = parse_rfc3339(text)
    except ValueError:
        raise MalformedEvent(
            f"time {text!r:.60}: not RFC 3339 with a zone; write 2026-01-31T08:00:00Z or with +08:00"
        ) from None
    if not _FIRST_US <= time_us <= _LAST_US:
        raise MalformedEvent(f"time {text!r:.60}: not within the years 1 to 9999 in UTC")
    return time_us


def _whole(name: str, text: str) -> int:
    """A whole number, digits alone, of 63 bits: what every store can keep."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and (value := int(text)) < _INT64:
        return value
    raise MalformedEvent(f"{name} {text!r:.60}: not a whole number below 2^63")


def _short(error: BaseException) -> str:
    return f"{error!s:.200}"

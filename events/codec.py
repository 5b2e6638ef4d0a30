"""Events to and from bytes: CloudEvents 1.0, structured JSON. The same event always gives the same bytes."""

from typing import Any

import msgspec

from events.events import AnyPayload, Event
from events.media import parse_rfc3339, rfc3339

CONTENT_TYPE = "application/cloudevents+json"


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


_encoder = msgspec.json.Encoder(order="sorted")
_payloads: msgspec.json.Decoder[AnyPayload] = msgspec.json.Decoder(AnyPayload)
_envelopes = msgspec.json.Decoder(_Envelope)


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
    """The event in a CloudEvents JSON document.

    Raises:
        msgspec.ValidationError: not an event of ours.
        ValueError: a number or time in it is malformed.
    """
    e = _envelopes.decode(raw)
    return Event(
        id=e.id,
        source=e.source,
        time_us=parse_rfc3339(e.time),
        epoch=int(e.linliepoch),
        sequence=int(e.sequence),
        pts=int(e.linlipts),
        data=msgspec.convert(e.data, AnyPayload),
    )

"""Events on Kafka: the CloudEvents 1.0 binding. Pure; nothing connects.

Written in *binary mode*: the record's value is the payload's canonical JSON, so that any client shows it as
it is; the attributes are headers `ce_...`, and the key is `partitionkey`. Read in binary mode and in
*structured mode* (the whole event in the value, content type `application/cloudevents+json`), from whoever
wrote it: whatever comes is an event or an `UnreadableEvent` that says why not.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from events import codec, tracing, upcast
from events.errors import MalformedEvent
from events.events import Event

Header = tuple[str, bytes]

CONTENT_TYPE = ("content-type", b"application/json")
SPECVERSION = ("ce_specversion", b"1.0")

HEADERS = (
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_partitionkey",
    "ce_sequence",
    "ce_linliepoch",
    "ce_linlipts",
    "ce_traceparent",
    "content-type",
)
"""As they are written, in this order; `ce_subject` only where there is one."""

LONGEST_NAME = 600
"""Characters that an id, a source or a naming field may have: a database's index takes no more."""

_NEEDED = ("ce_id", "ce_source", "ce_time", "ce_linliepoch", "ce_sequence", "ce_linlipts")
_FREE = frozenset(("message", "note", "purpose", "object"))
"""Fields with text for people, of any length."""
_SOURCE = re.compile(r"/[^/\s]+/[^/\s]+/[^/\s]+")
_DIGITS = bytes(ord("0") if code in b"0123456789" else code for code in range(256))
_GREAT = b"0" * 19
"""So many digits, with `_DIGITS`: perhaps a number beyond 64 bits. A regular expression takes longer."""
_INT64 = 1 << 63


class Message(NamedTuple):
    """An event as a record, for the topic of its family."""

    family: str
    key: bytes
    value: bytes
    headers: list[Header]


class _Written(msgspec.Struct, frozen=True, gc=False):
    """The journal's document; its payload stays the bytes that it is."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    partitionkey: str
    sequence: str
    linliepoch: str
    linlipts: str
    data: msgspec.Raw


class _Thread(msgspec.Struct, frozen=True, gc=False):
    """What of a payload its trace goes by (`tracing.thread`)."""

    alert: str = ""
    capture: str = ""


_written = msgspec.json.Decoder(_Written)
_threads = msgspec.json.Decoder(_Thread)
_THREADED = frozenset(("alert", "face", "judgement"))
"""Families whose payloads can have an alert or a capture."""


def message(body: bytes) -> Message:
    """The record of an event that is given as the journal keeps it (`codec.encode`); not typed on the way.

    Raises:
        MalformedEvent: not such a document.
    """
    try:
        e = _written.decode(body)
        family = e.type.split(".", 2)[1]
        value = bytes(e.data)
        about = _threads.decode(value) if family in _THREADED else None
    except (ValueError, RecursionError, IndexError) as error:
        raise MalformedEvent(f"not an event's document: {error!s:.200}") from None
    thread = (about.alert or about.capture or e.id) if about else e.id
    key = e.partitionkey.encode()
    headers = [
        SPECVERSION,
        ("ce_id", e.id.encode()),
        ("ce_source", e.source.encode()),
        ("ce_type", e.type.encode()),
        ("ce_time", e.time.encode()),
        ("ce_partitionkey", key),
        ("ce_sequence", e.sequence.encode()),
        ("ce_linliepoch", e.linliepoch.encode()),
        ("ce_linlipts", e.linlipts.encode()),
        ("ce_traceparent", tracing.derived(e.id, thread).encode()),
        CONTENT_TYPE,
    ]
    if e.subject:  # an attribute that is there must not be empty
        headers.insert(4, ("ce_subject", e.subject.encode()))
    return Message(family, key, value, headers)


def event_of(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Event:
    """The event in a record, written in binary or in structured mode, by this or an older version.

    Raises:
        MalformedEvent: not an event of ours, or one that a store could not keep; says which header or field.
        UnknownEvent: of a type that a newer version made.
    """
    found = dict(headers)
    if len(found) != len(headers):
        _check_twice(headers)
    if value is None:
        raise MalformedEvent("the record has no value (a tombstone): no event is written so")
    content = _text(found, "content-type") if "content-type" in found else ""
    if content != "application/json":
        content = content.partition(";")[0].strip().lower()
    if content == codec.CONTENT_TYPE:
        event = codec.decode(value)
    elif content in ("application/json", ""):
        event = _binary(found, value)
    else:
        raise MalformedEvent(
            f"header content-type {content!r:.60}: not read here, nor are batches; write one event a record, "
            f"in binary mode with application/json, or as {codec.CONTENT_TYPE}"
        )
    partitionkey = _text(found, "ce_partitionkey") if "ce_partitionkey" in found else None
    _check_names(event, key, partitionkey)
    if len(value) > LONGEST_NAME or b"\\u0000" in value or _GREAT in value.translate(_DIGITS):
        _check_values(event)
    return event


def _check_twice(headers: Sequence[tuple[str, bytes | None]]) -> None:
    """An attribute that is there twice could be either. Headers of others may be."""
    seen: set[str] = set()
    for name, _ in headers:
        if name in seen and (name.startswith("ce_") or name == "content-type"):
            raise MalformedEvent(f"header {name:.60} is there twice")
        seen.add(name)


def _text(found: Mapping[str, bytes | None], name: str) -> str:
    value = found.get(name)
    if value is None:
        raise MalformedEvent(f"header {name} is missing")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise MalformedEvent(f"header {name} is not UTF-8") from None


def _binary(found: Mapping[str, bytes | None], value: bytes) -> Event:
    if "ce_specversion" not in found:
        raise MalformedEvent(
            "no header ce_specversion: not a CloudEvents record; another program writes to this topic"
        )
    if found["ce_specversion"] != b"1.0":
        raise MalformedEvent(f"header ce_specversion {found['ce_specversion']!r:.60}: only 1.0 is read")
    type_ = _text(found, "ce_type")
    if type_ not in codec.TYPES:
        upcast.path(type_, codec.TYPES)  # an event from the future may lack headers of today: say that first
    id_, source, time, epoch, sequence, pts = [_text(found, name) for name in _NEEDED]
    return codec.event_of(type_, value, (id_, source, time, epoch, sequence, pts))


def _check_names(event: Event, key: bytes | None, partitionkey: str | None) -> None:
    """Id and source can be such, and the key is the source's: otherwise a camera's order would not hold."""
    id_, source = event.id, event.source
    if not (0 < len(id_) <= LONGEST_NAME and id_.isprintable()):
        raise MalformedEvent(f"id {id_!r:.60}: give 1 to {LONGEST_NAME} printable characters")
    if len(source) > LONGEST_NAME or not source.isprintable() or not _SOURCE.fullmatch(source):
        raise MalformedEvent(f"source {source!r:.60}: write /SITE/camera/CAMERA or alike")
    own = event.key
    if key is not None and key != own.encode():
        raise MalformedEvent(f"the record's key {key!r:.60} is not the {own!r:.60} of its source")
    if partitionkey is not None and partitionkey != own:
        raise MalformedEvent(f"partitionkey {partitionkey!r:.60} is not the {own!r:.60} of its source")


def _check_values(event: Event) -> None:
    """What a store cannot keep: whole numbers beyond 64 bits, NUL characters, names that are too long."""
    data = msgspec.to_builtins(event.data)
    for name, value in data.items():
        for part in _parts(value):
            if isinstance(part, str) and "\0" in part:
                raise MalformedEvent(f"{name} of {event.type}: holds a NUL character, which no store keeps")
            if isinstance(part, int) and not -_INT64 <= part < _INT64:
                raise MalformedEvent(f"{name} of {event.type}: a whole number beyond 64 bits")
        if isinstance(value, str) and name not in _FREE and len(value) > LONGEST_NAME:
            raise MalformedEvent(f"{name} of {event.type}: {len(value)} characters; at most {LONGEST_NAME}")


def _parts(value: Any) -> Iterable[Any]:
    """The value and all within it."""
    yield value
    if isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _parts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _parts(part)

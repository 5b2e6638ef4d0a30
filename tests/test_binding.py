"""The CloudEvents Kafka binding: there and back, read by another SDK, and hostile records."""

import contextlib
import json
import string
from typing import Any, get_args

import msgspec
import pytest
from cloudevents.core.bindings import kafka as other
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import inspect as kinds

from events import binding, codec, tracing
from events.errors import MalformedEvent, UnknownEvent, UnreadableEvent
from events.events import AnyPayload, Event
from tests.sampled import engines

Headers = list[tuple[str, bytes | None]]

SOUND = binding.message(codec.encode(engines()[0]))
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
ID = st.text(string.ascii_lowercase + string.digits + "-_江", min_size=1, max_size=30)


def values(kind: kinds.Type) -> st.SearchStrategy[Any]:
    """Whatever a field of this type may hold."""
    match kind:
        case kinds.IntType():
            return INT64
        case kinds.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case kinds.StrType():
            return TEXT
        case kinds.BoolType():
            return st.booleans()
        case kinds.NoneType():
            return st.none()
        case kinds.LiteralType():
            return st.sampled_from(kind.values)
        case kinds.UnionType():
            return st.one_of([values(part) for part in kind.types])
        case kinds.TupleType():
            return st.tuples(*[values(part) for part in kind.item_types])
        case kinds.VarTupleType():
            return st.lists(values(kind.item_type), max_size=4).map(tuple)
        case kinds.DictType():
            return st.dictionaries(values(kind.key_type), values(kind.value_type), max_size=4)
        case kinds.StructType():
            return st.builds(kind.cls, **{field.name: values(field.type) for field in kind.fields})
    raise AssertionError(f"no values for {kind}: say here what they are")


def payloads() -> st.SearchStrategy[AnyPayload]:
    """Any payload of any type that there is."""
    made = []
    for payload in get_args(AnyPayload):
        made.append(values(kinds.type_info(payload)))
    return st.one_of(made)


def named(parts: tuple[str, str, str]) -> str:
    return "/" + "/".join(parts)


EVENTS = st.builds(
    Event,
    id=ID,
    source=st.tuples(ID, st.sampled_from(["camera", "sensor", "joint", "box"]), ID).map(
        lambda s: "/" + "/".join(s)
    ),
    time_us=st.integers(-(10**16), 2 * 10**17),
    epoch=st.integers(0, (1 << 63) - 1),
    sequence=st.integers(0, (1 << 63) - 1),
    pts=st.integers(-(1 << 63) + 1, (1 << 63) - 1),
    data=payloads(),
)


def read(changes: dict[str, bytes | None] | None = None, without: str = "", **record: Any) -> Event:
    """What becomes of a sound record with headers changed or left out, or another key or value."""
    headers: Headers = [(n, v) for n, v in SOUND.headers if n != without and n not in (changes or {})]
    headers += list((changes or {}).items())
    return binding.event_of(record.get("key", SOUND.key), record.get("value", SOUND.value), headers)


# --- there and back


@given(EVENTS)
def test_any_event_comes_back_as_it_was_with_the_same_bytes(event: Event) -> None:
    body = codec.encode(event)
    message = binding.message(body)
    back = binding.event_of(message.key, message.value, message.headers)
    assert back == event == codec.decode(body)
    assert codec.encode(back) == body
    assert binding.event_of(message.key, body, [("content-type", codec.CONTENT_TYPE.encode())]) == event


@given(EVENTS)
def test_what_is_written(event: Event) -> None:
    message = binding.message(codec.encode(event))
    assert (message.family, message.key) == (event.family, event.key.encode())
    assert message.value == codec.encode_data(event.data)
    headers = {name: value.decode() for name, value in message.headers}
    assert len(headers) == len(message.headers)
    assert headers["ce_traceparent"] == tracing.traceparent(event)
    expected = [name for name in binding.HEADERS if name != "ce_subject" or event.subject]
    assert list(headers) == expected
    assert all(headers.values()), "an attribute that is there is not empty"


@given(EVENTS)
def test_the_cloudevents_sdk_reads_what_is_written(event: Event) -> None:
    m = binding.message(codec.encode(event))
    record = other.KafkaMessage(headers=dict(m.headers), key=m.key, value=m.value)
    theirs = other.from_binary(record, JSONFormat(), CloudEvent)
    attributes = theirs.get_attributes()
    assert attributes["id"] == event.id
    assert attributes["type"] == event.type
    assert attributes["source"] == event.source
    assert attributes["partitionkey"] == event.key
    assert attributes["sequence"] == f"{event.sequence:012d}"
    assert theirs.get_data() == json.loads(m.value)


@pytest.mark.parametrize("event", engines(), ids=lambda event: event.type)
def test_what_the_cloudevents_sdk_writes_is_read(event: Event) -> None:
    m = binding.message(codec.encode(event))
    record = other.KafkaMessage(headers=dict(m.headers), key=m.key, value=m.value)
    theirs = other.from_binary(record, JSONFormat(), CloudEvent)
    structured = other.to_structured(theirs, JSONFormat())
    assert binding.event_of(m.key, structured.value, list(structured.headers.items())) == event
    binary = other.to_binary(theirs, JSONFormat())
    assert binding.event_of(m.key, binary.value, list(binary.headers.items())) == event


def test_headers_of_others_are_passed_over() -> None:
    more: Headers = [("traceparent", b"\xff"), ("traceparent", None), ("ce_colour", b"red"), ("", b"")]
    assert binding.event_of(SOUND.key, SOUND.value, [*more, *SOUND.headers]) == engines()[0]


def test_what_follows_from_the_rest_need_not_be_there() -> None:
    for name in ("ce_subject", "ce_partitionkey", "ce_traceparent", "content-type"):
        assert read(without=name) == engines()[0]
    assert read(key=None) == engines()[0]
    assert read({"content-type": b"application/json; charset=utf-8"}) == engines()[0]


# --- refused, in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ce_specversion": b"0.3"}, "ce_specversion b'0.3': only 1.0"),
        ({"ce_id": b""}, "id '': give 1 to"),
        ({"ce_id": b"x" * 100_000}, "id 'xxx.*: give 1 to"),
        ({"ce_id": b"a\x00b"}, "printable"),
        ({"ce_id": b"\xff\xfe"}, "header ce_id is not UTF-8"),
        ({"ce_id": None}, "header ce_id is missing"),
        ({"ce_time": b"2026-01-31T08:00:00"}, "with a zone"),
        ({"ce_sequence": b"9223372036854775808"}, "sequence '9223372036854775808': not a whole number below"),
        ({"ce_linliepoch": b"9" * 6000}, "linliepoch"),
        ({"ce_linlipts": b"1.5"}, "linlipts '1.5'"),
        ({"ce_source": b"gate"}, "source 'gate': write /SITE/camera/CAMERA"),
        ({"ce_source": b"/town/camera/yard"}, "the record's key b'gate' is not the 'yard' of its source"),
        ({"ce_source": b"/town/camera/gate\n"}, "source"),
        ({"ce_partitionkey": b"yard"}, "partitionkey 'yard' is not the 'gate'"),
        ({"ce_type": b"linli.count.interval.v1"}, "type linli.count.interval.v1 with data of type"),
        ({"content-type": b"text/xml"}, "content-type 'text/xml': not read here"),
        ({"content-type": b"application/cloudevents-batch+json"}, "content-type .*nor are batches"),
        ({"content-type": b"application/cloudevents+json"}, "not an event's document"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_header_is_named(changes: dict[str, bytes | None], words: str) -> None:
    with pytest.raises(MalformedEvent, match=words) as error:
        read(changes)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("name", ["ce_id", "ce_source", "ce_type", "ce_time", "ce_sequence", "ce_linliepoch"])
def test_a_missing_header_is_named(name: str) -> None:
    with pytest.raises(MalformedEvent, match=f"header {name} is missing"):
        read(without=name)


def test_a_record_of_another_program_is_told_from_an_event() -> None:
    with pytest.raises(MalformedEvent, match="another program writes to this topic"):
        binding.event_of(b"k", b"hello", [])


def test_an_attribute_given_twice_is_refused() -> None:
    with pytest.raises(MalformedEvent, match="header ce_id is there twice"):
        binding.event_of(SOUND.key, SOUND.value, [*SOUND.headers, ("ce_id", b"another")])


def test_a_tombstone_is_refused() -> None:
    with pytest.raises(MalformedEvent, match="tombstone"):
        read(value=None)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"track":7', '"track":9223372036854775808', "track of .* beyond 64 bits"),
        ('"track":7', '"track":' + "9" * 4000, "track of .* beyond 64 bits"),
        ('"track":7', '"track":' + "9" * 5000, "data of .*out of range"),
        ('"rule":"door"', '"rule":"a\\u0000b"', "rule of .* NUL"),
        ('"rule":"door"', '"rule":"' + "x" * 601 + '"', "rule of .*601 characters"),
        ('"rule":"door"', '"rule":"\\ud800"', "data of linli.count.crossing.v1"),
        ('"track":7', '"track":NaN', "data of linli.count.crossing.v1"),
    ],
    ids=["int64", "4000 digits", "5000 digits", "nul", "long", "surrogate", "nan"],
)
def test_what_no_store_can_keep_is_refused(old: str, new: str, words: str) -> None:
    value = SOUND.value.decode()
    assert old in value
    with pytest.raises(MalformedEvent, match=words):
        read(value=value.replace(old, new).encode())


def test_text_for_people_may_be_long_and_speak_of_nul() -> None:
    note = r"\u0000 is written so; 99999999999999999999 " + "很长" * 5000
    event = msgspec.structs.replace(
        engines()[10], data=msgspec.structs.replace(engines()[10].data, note=note)
    )
    m = binding.message(codec.encode(event))
    assert binding.event_of(m.key, m.value, m.headers) == event


def test_an_event_from_the_future_is_no_garbage() -> None:
    with pytest.raises(UnknownEvent, match="newer than this program"):
        read({"ce_type": b"linli.count.crossing.v9"}, without="ce_sequence")
    structured = codec.encode(engines()[0]).replace(b"crossing.v1", b"crossing.v9")
    with pytest.raises(UnknownEvent, match="newer than this program"):
        binding.event_of(None, structured, [("content-type", codec.CONTENT_TYPE.encode())])


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"type":"x"}'])
def test_only_the_journals_documents_are_written(body: bytes) -> None:
    with pytest.raises(MalformedEvent, match="not an event's document"):
        binding.message(body)


# --- whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)
VALUE = st.one_of(
    st.none(),
    st.binary(),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from([*json.loads(SOUND.value), "x"]), JSON).map(
        lambda part: json.dumps(json.loads(SOUND.value) | part).encode()
    ),
    st.dictionaries(st.sampled_from([*json.loads(codec.encode(engines()[0])), "x"]), JSON).map(
        lambda part: json.dumps(json.loads(codec.encode(engines()[0])) | part).encode()
    ),
)
ATTRIBUTE = st.one_of(
    st.none(),
    st.binary(),
    st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.integers().map(lambda number: str(number).encode()),
    st.datetimes().map(lambda moment: moment.isoformat().encode() + b"Z"),
    st.sampled_from([value for _, value in SOUND.headers]),
    st.sampled_from(sorted(codec.TYPES)).map(str.encode),
    st.sampled_from([b"application/cloudevents+json", b"application/cloudevents-batch+json"]),
)
CHANGES = st.dictionaries(
    st.one_of(st.sampled_from(binding.HEADERS), st.text(max_size=8)), ATTRIBUTE, max_size=5
)


@given(key=st.none() | st.just(SOUND.key) | st.binary(), value=st.just(SOUND.value) | VALUE, changes=CHANGES)
@example(key=None, value=b"[" * 100_000, changes={})
@example(key=None, value=b'{"a":' * 100_000, changes={"ce_type": b"linli.count.crossed.v1"})
@example(key=None, value=b'{"data":' * 100_000, changes={"content-type": codec.CONTENT_TYPE.encode()})
@example(key=None, value=SOUND.value, changes={"ce_source": b"///"})
@example(key=None, value=SOUND.value, changes={"ce_time": b"9999-12-31T23:59:59-23:59"})
def test_whatever_comes_is_an_event_or_says_why_not(
    key: bytes | None, value: bytes | None, changes: dict[str, bytes | None]
) -> None:
    headers: Headers = [(n, v) for n, v in SOUND.headers if n not in changes]
    with contextlib.suppress(UnreadableEvent):
        event = binding.event_of(key, value, [*headers, *changes.items()])
        again = binding.message(codec.encode(event))
        assert binding.event_of(again.key, again.value, again.headers) == event
        assert key in (None, event.key.encode())

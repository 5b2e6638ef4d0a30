"""Events as CloudEvents JSON: canonical, typed, and refused in words."""

import json
from typing import Any

import pytest

from events import codec
from events.errors import MalformedEvent, UnknownEvent
from tests.sampled import VERSIONS, engines, stored

DOCUMENT: dict[str, Any] = json.loads(stored("engines")[0])


def changed(**fields: Any) -> bytes:
    """A sound document with fields replaced (None: left out)."""
    return json.dumps({k: v for k, v in (DOCUMENT | fields).items() if v is not None}).encode()


@pytest.mark.parametrize("event", engines(), ids=lambda event: event.type)
def test_an_event_is_the_same_after_the_way_there_and_back(event: Any) -> None:
    raw = codec.encode(event)
    assert codec.decode(raw) == event
    assert codec.encode(codec.decode(raw)) == raw


def test_the_bytes_are_canonical() -> None:
    for raw in stored(list(VERSIONS)[-1]):
        plain = json.loads(raw)
        assert raw == json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "not an event's document"),
        (b"[1]", "not an event's document"),
        (b"\xff", "not an event's document"),
        (b'{"id":' + b"[" * 100_000, "not an event's document"),
        (changed(id=None), "missing required field `id`"),
        (changed(data=None), "missing required field `data`"),
        (changed(data=[]), "data of linli.count.crossing.v1: Expected `object`"),
        (changed(data={}), "missing required field `type`"),
        (changed(data=DOCUMENT["data"] | {"track": "seven"}), r"Expected `int`, got `str` - at `\$.track`"),
        (changed(data=DOCUMENT["data"] | {"direction": "up"}), "If a newer Linli wrote it: upgrade"),
        (changed(type="linli.alert.raised.v1"), "with data of type linli.count.crossing.v1"),
        (changed(time="2026-01-31T08:00:00"), "not RFC 3339 with a zone"),
        (changed(time="soon"), "not RFC 3339 with a zone"),
        (changed(time="0001-01-01T00:00:00+10:00"), "not within the years 1 to 9999"),
        (changed(sequence="-1"), "sequence '-1': not a whole number"),
        (changed(sequence="1_000"), "sequence '1_000': not a whole number"),
        (changed(sequence="١"), "not a whole number"),
        (changed(sequence=""), "sequence '': not a whole number"),
        (changed(linliepoch=str(1 << 63)), "below 2\\^63"),
        (changed(linliepoch="9" * 5000), "below 2\\^63"),
        (changed(linlipts="--1"), "linlipts"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:30],
)
def test_what_is_no_event_is_refused_in_words(raw: bytes, error: str) -> None:
    with pytest.raises(MalformedEvent, match=error) as raised:
        codec.decode(raw)
    assert len(str(raised.value)) < 500


def test_what_is_added_to_a_type_later_is_passed_over() -> None:
    event = codec.decode(changed(colour="red", data=DOCUMENT["data"] | {"colour": "red"}))
    assert event == engines()[0]


def test_a_type_from_the_future_is_told_from_garbage() -> None:
    with pytest.raises(UnknownEvent, match=r"newer than this program.*v1: upgrade.*linli dlq retry"):
        codec.decode(changed(type="linli.count.crossing.v2", data={"type": "linli.count.crossing.v2"}))


def test_media_time_may_be_before_the_epoch() -> None:
    assert codec.decode(changed(linlipts="-90000")).pts == -90_000

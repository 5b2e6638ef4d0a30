"""Old events stay readable for ever: stored samples of each version, and steps from type to type."""

from typing import Any, get_args

import pytest

from events import binding, codec
from events.errors import MalformedEvent, UnknownEvent
from events.events import AnyPayload
from events.upcast import STEPS, Step, upcast
from tests import sampled

KNOWN = {"linli.door.opened.v3", "linli.door.closed.v1"}


def wider(data: dict[str, Any]) -> dict[str, Any]:
    return {"width_mm": data["width_cm"] * 10, **{k: v for k, v in data.items() if k != "width_cm"}}


def named(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "who": data.get("name", "")}


CHAIN: dict[str, Step] = {
    "linli.door.opened.v1": ("linli.door.opened.v2", wider),
    "linli.door.opened.v2": ("linli.door.opened.v3", named),
}


@pytest.mark.parametrize("version", sampled.VERSIONS)
def test_what_each_version_wrote_is_read_as_the_event_it_was(version: str) -> None:
    expected = sampled.VERSIONS[version]()
    assert [codec.decode(raw) for raw in sampled.stored(version)] == expected


@pytest.mark.parametrize("version", sampled.VERSIONS)
def test_what_each_version_wrote_goes_over_kafka(version: str) -> None:
    """A journal that an older version began is relayed by this one."""
    messages = [binding.message(raw) for raw in sampled.stored(version)]
    assert [binding.event_of(m.key, m.value, m.headers) for m in messages] == sampled.VERSIONS[version]()


def test_records_on_kafka_are_read_as_the_events_they_were() -> None:
    for version, events in sampled.VERSIONS.items():
        records = sampled.kafka(version)
        assert [binding.event_of(r.key, r.value, r.headers) for r in records] in ([], events())
    assert sampled.kafka("engines")


def test_every_type_of_today_has_a_sample() -> None:
    have = {event.type for events in sampled.VERSIONS.values() for event in events()}
    for payload in get_args(AnyPayload):
        tag = payload.__struct_config__.tag
        assert tag in have, f"{tag} has no sample: add a version with one to tests/sampled.py"
    on_kafka = {dict(record.headers)["ce_type"].decode() for record in sampled.kafka("city")}
    assert on_kafka == have


def test_every_old_type_has_a_sample_and_leads_to_a_present_one() -> None:
    stored = b"".join(raw for version in sampled.VERSIONS for raw in sampled.stored(version)).decode()
    for old in STEPS:
        assert f'"{old}"' in stored, f"{old} was replaced: its samples must stay"
        assert old not in codec.TYPES


def test_a_chain_of_steps() -> None:
    old = {"type": "linli.door.opened.v1", "width_cm": 90, "name": "gate"}
    new = {"type": "linli.door.opened.v3", "width_mm": 900, "name": "gate", "who": "gate"}
    assert upcast("linli.door.opened.v1", old, KNOWN, CHAIN) == new
    assert old == {"type": "linli.door.opened.v1", "width_cm": 90, "name": "gate"}
    middle = {"type": "linli.door.opened.v2", "width_mm": 900, "name": "gate"}
    assert upcast("linli.door.opened.v2", middle, KNOWN, CHAIN) == new
    assert upcast("linli.door.opened.v3", new, KNOWN, CHAIN) == new


def test_an_old_event_is_typed_as_what_it_is_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the codec and through Kafka, as if crossings had had another form once."""

    def crossing(data: dict[str, Any]) -> dict[str, Any]:
        return {**{k: v for k, v in data.items() if k != "way"}, "direction": data["way"]}

    monkeypatch.setitem(STEPS, "linli.count.crossed.v1", ("linli.count.crossing.v1", crossing))
    raw = sampled.stored("spine")[0].replace(b"linli.count.crossing.v1", b"linli.count.crossed.v1")
    raw = raw.replace(b'"direction"', b'"way"')
    expected = sampled.spine()[0]
    assert codec.decode(raw) == expected
    message = binding.message(raw)
    assert dict(message.headers)["ce_type"] == b"linli.count.crossed.v1"
    assert binding.event_of(message.key, message.value, message.headers) == expected


@pytest.mark.parametrize("data", [{}, {"width_cm": "x"}, {"width_cm": None}], ids=["missing", "text", "null"])
def test_a_step_that_cannot_be_made_is_a_malformed_event(data: dict[str, Any]) -> None:
    steps = {"linli.door.opened.v1": ("linli.door.opened.v3", lambda d: {"w": d["width_cm"] / 10})}
    with pytest.raises(MalformedEvent, match=r"cannot be made into linli.door.opened.v3"):
        upcast("linli.door.opened.v1", data, KNOWN, steps)


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (
            "linli.door.opened.v4",
            r"newer than this program, which reads up to v3: upgrade .*linli dlq retry",
        ),
        ("linli.window.opened.v1", r"not known here; a newer Linli wrote it: upgrade .* `linli dlq retry`"),
        ("linli.door.closed.v0", "not one of Linli's"),
        ("com.example.thing", "not one of Linli's"),
        ("", "not one of Linli's"),
        ("x" * 100_000, "not one of Linli's"),
    ],
)
def test_unknown_types_say_why_and_what_to_do(type_: str, words: str) -> None:
    with pytest.raises(UnknownEvent, match=words) as error:
        upcast(type_, {}, KNOWN, CHAIN)
    assert len(str(error.value)) < 300


def test_a_version_that_was_left_out_is_named() -> None:
    steps = {"linli.door.opened.v2": ("linli.door.opened.v3", named)}
    with pytest.raises(UnknownEvent, match=r"v1 cannot be read; of linli.door.opened v2 to v3 can"):
        upcast("linli.door.opened.v1", {}, KNOWN, steps)

"""The pages of events: their types, and how they go over Kafka."""

import json
from typing import get_args

from docs.structs import NOTE, doc, page, table
from docs.wire import nested, tag
from events import binding, codec, events, topics, tracing, upcast
from events.ids import event_id


def event_types() -> str:
    """The events on the wire."""
    out = [
        "# Events",
        NOTE,
        "Each event is a CloudEvents 1.0 JSON document: keys sorted, no spaces, so that the same event is "
        "always the same bytes. [events.schema.json](events.schema.json) is its JSON Schema, and "
        "[schemas](schemas) has one for the payload of each type. On Kafka the payload is the record's "
        "value, the attributes are headers `ce_...` ([topics](topics.md), [asyncapi.yaml](asyncapi.yaml)).",
        "| attribute | |\n| --- | --- |\n"
        "| `id` | the same footage always gives the same id; consumers may use it to drop repeats |\n"
        "| `source` | `/SITE/camera/CAMERA`, `/SITE/sensor/SENSOR`, `/SITE/joint/RULE`, or `/SITE/box/BOX` "
        "for what concerns a box; `/SITE/case/CASE`, `/SITE/place/WHAT:ID`, `/SITE/register/WHAT:ENTRY`, "
        "`/SITE/desk/THING` for what the city's people do |\n"
        "| `type` | as below; its second word is the family |\n"
        "| `subject` | the alert, rule, segment or part that it is about |\n"
        "| `time` | capture time, RFC 3339 in UTC |\n"
        "| `partitionkey` | the camera's, sensor's, box's or case's id: the source's last word |\n"
        "| `linliepoch` | stream epoch: one run of a camera's stream; 0: the sequence is a version |\n"
        "| `sequence` | counts the events of one (source, family, epoch) from 0 without a hole, 12 digits |\n"
        "| `linlipts` | media time within the epoch, ticks of 1/90000 s |\n"
        "| `data` | the payload |",
        "One event:",
        "```json\n" + json.dumps(json.loads(codec.encode(example())), indent=2, sort_keys=True) + "\n```",
    ]
    for payload in get_args(events.AnyPayload):
        out += [f"## {tag(payload)}", doc(payload), table(payload)]
    parts = {part: None for payload in get_args(events.AnyPayload) for part in nested(payload)}
    for part in parts:
        out += [f"## {part.__name__}", doc(part), table(part)]
    return page(out)


def topics_page() -> str:
    """The topics, and an event as a record."""
    rows = [
        f"| `PREFIX.{topic.what}` | {topic.partitions} | {_kept(topic)} | {topic.about} |"
        for topic in topics.topics()
    ]
    message = binding.message(codec.encode(example()))
    headers = "\n".join(f"{name}: {value.decode()}" for name, value in message.headers)
    return page(
        [
            "# Topics on Kafka",
            NOTE,
            doc(topics),
            "\n".join(["| topic | partitions | kept | |", "| --- | --- | --- | --- |", *rows]),
            f"`{topics.SHARES}` has as many partitions as the site file says; the rest is the same "
            "everywhere. `linli topics apply` makes them, `linli topics check` compares.",
            "## An event as a record",
            doc(binding),
            f"```\nkey: {message.key.decode()}\n{headers}\n\n{message.value.decode()}\n```",
            "## Old and new events",
            doc(upcast),
            "## Traces",
            doc(tracing),
        ]
    )


def _kept(topic: topics.Topic) -> str:
    if topic.cleanup == "compact":
        return "the newest of each key"
    days = topic.retention_ms // 86_400_000
    return f"{days} days" if days > 1 else "a day"


def example() -> events.Event:
    """The event that the page shows."""
    data = events.Crossing(rule="middle", direction="in", label="person", track=7, at=(0.4125, 0.5))
    return events.Event(
        id=event_id("town", "gate", 1_767_225_600_000_000, "middle", 1_767_225_642_250_000, 7, "crossing", 0),
        source=events.camera_source("town", "gate"),
        time_us=1_767_225_642_250_000,
        epoch=1_767_225_600_000_000,
        sequence=3,
        pts=3_802_500,
        data=data,
    )

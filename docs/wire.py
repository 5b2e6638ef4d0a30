"""The events on the wire, for programs of others: a JSON Schema for each type, and AsyncAPI for Kafka.

All is made from the types, the topics and the binding by `python -m docs.generate`.
"""

import inspect
from typing import Any, get_args

import msgspec
import yaml
from msgspec import inspect as kinds

from events import binding, events
from events.structdocs import field_docs
from events.topics import CLAIMS, DLQ, FAMILIES, SHARES, Topic, topics

Schema = dict[str, Any]

_INT64 = {"minimum": -(1 << 63), "maximum": (1 << 63) - 1}
_NAME = {"minLength": 1, "maxLength": binding.LONGEST_NAME}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

ATTRIBUTES: dict[str, Schema] = {
    "id": {
        "type": "string",
        **_NAME,
        "description": "The same footage always gives the same id: a repeat has it, too.",
    },
    "source": {
        "type": "string",
        "maxLength": binding.LONGEST_NAME,
        "pattern": r"^/[^/\s]+/[^/\s]+/[^/\s]+$",
        "description": "What it happened at: /SITE/camera/CAMERA, /SITE/sensor/SENSOR, /SITE/joint/RULE or "
        "/SITE/box/BOX; or what it changes: /SITE/case/CASE, /SITE/place/WHAT:ID, /SITE/register/WHAT:ENTRY "
        "or /SITE/desk/THING.",
    },
    "subject": {"type": "string", "description": "The alert, rule, segment or part that it is about."},
    "time": {"type": "string", "format": "date-time", "description": "Capture time, RFC 3339."},
    "partitionkey": {
        "type": "string",
        **_NAME,
        "description": "Id of the camera, sensor, box, case or other thing: the last word of the source.",
    },
    "sequence": {
        "type": "string",
        "pattern": "^[0-9]{12,19}$",
        "description": "Counts the events of one (source, family, linliepoch) from 0 without a hole.",
    },
    "linliepoch": {
        "type": "string",
        "pattern": "^[0-9]{1,19}$",
        "description": "Stream epoch: one unbroken run of a stream, or of a box's journal. 0: the sequence "
        "is the version of what the source names.",
    },
    "linlipts": {
        "type": "string",
        "pattern": "^-?[0-9]{1,19}$",
        "description": "Media time within the epoch, ticks of 1/90000 s.",
    },
}
"""CloudEvents attributes that all types have alike, and Linli's own."""


def tag(struct: Any) -> str:
    """The type of events that have this payload."""
    return str(struct.__struct_config__.tag or "")


def payload_schema(payload: type) -> Schema:
    """JSON Schema of a type's payload, with the texts that stand in the code; its parts are in place."""
    _, components = msgspec.json.schema_components((payload,), ref_template="#/$defs/{name}")
    schema: Schema = _in_place(_bounded(components[payload.__name__]), components, payload)
    schema["description"] = inspect.cleandoc(payload.__doc__ or "")
    return {
        "$schema": _DIALECT,
        "title": tag(payload),
        **{name: value for name, value in schema.items() if name != "title"},
    }


def nested(payload: type) -> list[type]:
    """The structs that a payload is made of, in the order of its fields."""
    found: dict[type, None] = {}

    def look(kind: Any) -> None:
        if isinstance(kind, kinds.StructType) and kind.cls is not payload:
            found[kind.cls] = None
        for part in (
            getattr(kind, name, None) for name in ("fields", "item_type", "item_types", "types", "type")
        ):
            for each in part if isinstance(part, tuple) else (part,):
                if each is not None and not isinstance(each, type):
                    look(each)

    look(kinds.type_info(payload))
    return list(found)


def _in_place(schema: Schema, components: dict[str, Schema], struct: type) -> Schema:
    """With the texts of the struct's fields, and what `components` has instead of references to it: a schema
    stands in documents of others, too, where those would lead nowhere."""
    texts = field_docs(struct)
    names = {field.encode_name: field.name for field in msgspec.structs.fields(struct)}
    for name, field in schema["properties"].items():
        if names.get(name) in texts:
            field["description"] = texts[names[name]]
    own = {each.__name__: each for each in nested(struct)}

    def put(part: Any) -> Any:
        if isinstance(part, list):
            return [put(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            return _in_place(_bounded(components[name]), components, own[name])
        return {name: put(each) for name, each in part.items()}

    placed: Schema = put(schema)
    return placed


def _bounded(schema: Any) -> Any:
    """A copy in which whole numbers have the bounds that are kept to."""
    if isinstance(schema, list):
        return [_bounded(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: _bounded(part) for name, part in schema.items()}
    return _INT64 | copy if copy.get("type") == "integer" else copy


def event_schema() -> Schema:
    """JSON Schema (2020-12) of an event as one JSON document (structured mode)."""
    (data,), definitions = msgspec.json.schema_components((events.AnyPayload,), ref_template="#/$defs/{name}")
    properties = {
        **ATTRIBUTES,
        "specversion": {"const": "1.0"},
        "type": {"enum": [tag(payload) for payload in get_args(events.AnyPayload)]},
        "datacontenttype": {"const": "application/json"},
        "data": data,
    }
    return {
        "$schema": _DIALECT,
        "title": "Linli event",
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "$defs": _bounded(definitions),
    }


def asyncapi() -> str:
    """The AsyncAPI 3.0 document, YAML."""
    by_family: dict[str, list[type]] = {family: [] for family in FAMILIES}
    for payload in get_args(events.AnyPayload):
        by_family[tag(payload).split(".")[1]].append(payload)
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Linli's events on Kafka",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in the binary mode of its Kafka binding. Delivery is at least "
            "once: drop repeats by (source, family, linliepoch, sequence). Order holds for a camera within "
            "its family, which is the second word of the type.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "kafka.example:9093",
                "protocol": "kafka-secure",
                "description": "Put your own brokers here.",
                "security": [{"$ref": "#/components/securitySchemes/scram"}],
            }
        },
        "channels": {topic.what: _channel(topic, by_family.get(topic.what, [])) for topic in topics("linli")},
        "operations": {
            name: operation for family in FAMILIES for name, operation in _operations(family).items()
        },
        "components": {
            "parameters": {
                "prefix": {
                    "description": "The jurisdiction, the highest tier first, and a word for the product.",
                    "default": "linli",
                    "examples": ["linli", "tengzhou.linli", "tengzhou.beixin.linli"],
                }
            },
            "messages": {
                _name(payload): _message(payload) for part in by_family.values() for payload in part
            },
            "schemas": {"Headers": _headers()}
            | {
                _name(payload): draft_07(payload_schema(payload))
                for part in by_family.values()
                for payload in part
            },
            "securitySchemes": {"scram": {"type": "scramSha512"}},
        },
    }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes everything out: aliases are legal, but hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _name(payload: type) -> str:
    return payload.__name__


_ABOUT = {
    DLQ: "A record that could not be projected, as it came (key, value, headers), and headers that say why.",
    SHARES: "Carries no records: who is given a partition reads the cameras of that share.",
    CLAIMS: "Linli's own: the newest claim of each stream. Not for subscribers; they read `claim`.",
}


def _channel(topic: Topic, payloads: list[type]) -> Schema:
    channel: Schema = {
        "address": f"{{prefix}}.{topic.what}",
        "summary": topic.about,
        "parameters": {"prefix": {"$ref": "#/components/parameters/prefix"}},
    }
    if topic.what in _ABOUT:
        channel["description"] = _ABOUT[topic.what]
    if payloads:
        channel["messages"] = {
            _name(payload): {"$ref": f"#/components/messages/{_name(payload)}"} for payload in payloads
        }
    channel["bindings"] = {
        "kafka": {
            "partitions": topic.partitions,
            "topicConfiguration": {
                "cleanup.policy": topic.cleanup.split(","),
                "retention.ms": topic.retention_ms,
                "max.message.bytes": topic.max_message_bytes,
            },
            "bindingVersion": "0.5.0",
        }
    }
    return channel


def _operations(family: str) -> dict[str, Schema]:
    channel = {"$ref": f"#/channels/{family}"}
    return {
        f"{family}Out": {
            "action": "send",
            "channel": channel,
            "summary": "A box sends what its journal holds.",
        },
        f"{family}In": {
            "action": "receive",
            "channel": channel,
            "summary": "A store, or any other subscriber, reads with a consumer group of its own.",
        },
    }


def _message(payload: type) -> Schema:
    return {
        "name": tag(payload),
        "title": tag(payload),
        "summary": inspect.cleandoc(payload.__doc__ or "").partition("\n\n")[0].replace("\n", " "),
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "allOf": [
                {"$ref": "#/components/schemas/Headers"},
                {"properties": {"ce_type": {"type": "string", "const": tag(payload)}}},
            ],
        },
        "payload": {"$ref": f"#/components/schemas/{_name(payload)}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": "The attribute partitionkey, UTF-8."},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _headers() -> Schema:
    """The headers of every event, UTF-8 text."""
    attributes: dict[str, Schema] = {
        **ATTRIBUTES,
        "specversion": {"type": "string", "const": "1.0"},
        "type": {"type": "string", "pattern": r"^linli\.[a-z]+\.[a-z]+\.v[1-9][0-9]*$"},
        "traceparent": {
            "type": "string",
            "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$",
            "description": "W3C trace context, derived from the event: all events of an alert are one trace.",
        },
    }
    headers = {
        name: {"type": "string", "const": "application/json"}
        if name == "content-type"
        else attributes[name.removeprefix("ce_")]
        for name in binding.HEADERS
    }
    required = [name for name in headers if name != "ce_subject"]
    return {"type": "object", "properties": headers, "required": required}


def draft_07(schema: Any) -> Any:
    """The same schema in the words of draft 7, which AsyncAPI builds on."""
    if isinstance(schema, list):
        return [draft_07(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: draft_07(part) for name, part in schema.items() if name != "$schema"}
    if "prefixItems" in copy:
        copy["additionalItems"] = copy.get("items", True)
        copy["items"] = copy.pop("prefixItems")
    return copy

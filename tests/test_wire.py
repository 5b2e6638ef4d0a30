"""What others are told of the events: schemas that hold for what was written, a valid AsyncAPI document."""

import copy
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from detectors.fetch import npm_pack, sha256
from docs.wire import tag
from events.errors import ModelError
from events.events import AnyPayload
from events.topics import topics
from testbed.process import ServerMissing, cache_folder
from tests import sampled
from tests.conftest import need_server

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
SPECS = "@asyncapi/specs@6.11.1"
"""The npm package in which the AsyncAPI Initiative publishes its schemas."""
SPECS_SHA256 = "abe96881dbfaad495ccbb6bd8d3fb43ca18a13b9d7564849ccb66f39d5e5b20f"


def schema(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text())


@pytest.fixture(scope="module")
def asyncapi() -> Any:
    return yaml.safe_load((REFERENCE / "asyncapi.yaml").read_text())


@pytest.fixture(scope="module")
def official() -> Any:
    """The official JSON Schema of AsyncAPI 3.0, fetched once."""
    path = cache_folder("asyncapi") / "3.0.0.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as work:
            try:
                package = npm_pack(SPECS, Path(work))
            except ModelError as error:
                need_server(ServerMissing(str(error)))
            with tarfile.open(package, "r:gz") as tar:
                member = tar.extractfile("package/schemas/3.0.0-without-$id.json")
                assert member is not None
                path.write_bytes(member.read())
    assert sha256(path) == SPECS_SHA256, f"{path} is not what was published: delete it"
    return json.loads(path.read_text())


def test_the_asyncapi_document_is_one(asyncapi: Any, official: Any) -> None:
    errors = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in Draft7Validator(official).iter_errors(asyncapi)
    ]
    assert errors == []


def test_the_official_schema_finds_faults(asyncapi: Any, official: Any) -> None:
    """Otherwise the test above would say nothing."""

    def broken(*path: str, value: Any) -> Any:
        document = at = copy.deepcopy(asyncapi)
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value
        return document

    for fault in (
        broken("channels", "alert", "adress", value="linli.alert"),
        broken("channels", "alert", "bindings", "kafka", "partitions", value=0),
        broken("operations", "alertOut", "action", value="publish"),
        broken("components", "messages", "Crossing", "bindings", "kafka", "key", value=7),
    ):
        assert not Draft7Validator(official).is_valid(fault)


def test_references_within_the_document_lead_somewhere(asyncapi: Any) -> None:
    def check(part: Any) -> int:
        if isinstance(part, list):
            return sum(check(each) for each in part)
        if not isinstance(part, dict):
            return 0
        if "$ref" in part:
            at = asyncapi
            for name in part["$ref"].removeprefix("#/").split("/"):
                assert name in at, part["$ref"]
                at = at[name]
            return 1
        return sum(check(each) for each in part.values())

    assert check(asyncapi) > 50


def test_its_channels_are_the_topics_and_its_messages_the_types(asyncapi: Any) -> None:
    channels = asyncapi["channels"]
    for topic in topics():
        kafka = channels[topic.what]["bindings"]["kafka"]
        assert channels[topic.what]["address"] == topic.name.replace("linli.", "{prefix}.")
        assert kafka["partitions"] == topic.partitions
        assert kafka["topicConfiguration"]["retention.ms"] == topic.retention_ms
    assert len(channels) == len(topics())
    told = {
        (asyncapi["components"]["messages"][name]["name"], family)
        for family, channel in channels.items()
        for name in channel.get("messages", {})
    }
    assert told == {(tag(payload), tag(payload).split(".")[1]) for payload in get_args(AnyPayload)}


@pytest.mark.parametrize("version", sampled.VERSIONS)
def test_what_each_version_wrote_keeps_to_the_schemas_of_today(version: str) -> None:
    whole = schema("events.schema.json")
    Draft202012Validator.check_schema(whole)
    checker = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for raw in sampled.stored(version):
        event = json.loads(raw)
        checker.validate(event)
        own = schema(f"schemas/{event['type']}.json")
        Draft202012Validator.check_schema(own)
        Draft202012Validator(own).validate(event["data"])


def test_what_is_on_kafka_keeps_to_the_asyncapi_document(asyncapi: Any) -> None:
    messages = {message["name"]: message for message in asyncapi["components"]["messages"].values()}
    resource = Resource(contents=asyncapi, specification=DRAFT7)
    registry = Registry().with_resource("urn:asyncapi", resource)

    def validator(part: str, message: str) -> Draft7Validator:
        name = messages[message]["payload"]["$ref"].rpartition("/")[2]
        return Draft7Validator(
            {"$ref": f"urn:asyncapi#/components/messages/{name}/{part}"}, registry=registry
        )

    records = sampled.kafka("city")
    assert {dict(record.headers)["ce_type"].decode() for record in records} == set(messages)
    for record in records:
        headers = {name: value.decode() for name, value in record.headers}
        validator("headers", headers["ce_type"]).validate(headers)
        validator("payload", headers["ce_type"]).validate(json.loads(record.value))
        assert not validator("headers", headers["ce_type"]).is_valid(headers | {"ce_type": "linli.a.b.v1"})
        assert not validator("headers", headers["ce_type"]).is_valid(headers | {"ce_sequence": "7"})


def test_the_schemas_refuse_what_the_program_refuses() -> None:
    crossing = json.loads(sampled.stored("engines")[0])["data"]
    own = Draft202012Validator(schema("schemas/linli.count.crossing.v1.json"))
    for wrong in (
        {"track": "seven"},
        {"track": 1 << 63},
        {"at": [0.5]},
        {"at": [0.5, 0.5, 0.5]},
        {"direction": "up"},
        {"type": "linli.count.interval.v1"},
    ):
        assert own.is_valid(crossing)
        assert not own.is_valid(crossing | wrong), wrong
    assert own.is_valid(crossing | {"colour": "red"}), "a field of a later version is no fault"


def test_every_type_has_a_file_and_no_other_is_there() -> None:
    names = {path.stem for path in (REFERENCE / "schemas").glob("*.json")}
    assert names == {tag(payload) for payload in get_args(AnyPayload)}

"""Topics as they are declared: names, partitions, retention; and where Kafka's partitioner puts a key."""

import re
from typing import get_args

import pytest
from kafka.partitioner import DefaultPartitioner, murmur2

from events.errors import ConfigError
from events.events import AnyPayload
from events.topics import (
    CLAIMS,
    DLQ,
    FAMILIES,
    KEPT,
    LONGEST_NAME,
    SHARES,
    checked_prefix,
    everywhere,
    family_of,
    topic_name,
    topics,
)


def test_each_family_has_one_topic_and_there_are_three_more() -> None:
    families = {str(payload.__struct_config__.tag).split(".")[1] for payload in get_args(AnyPayload)}
    assert families == set(FAMILIES)
    made = topics("tengzhou.beixin.linli")
    assert [topic.what for topic in made] == [*FAMILIES, DLQ, SHARES, CLAIMS]
    assert [topic.name for topic in made] == [f"tengzhou.beixin.linli.{topic.what}" for topic in made]


def test_what_is_said_of_a_camera_has_the_same_partition_number_everywhere() -> None:
    others = {"access", *KEPT}
    of_cameras = [topic for topic in topics() if topic.what in FAMILIES and topic.what not in others]
    assert len(of_cameras) > 1
    assert len({topic.partitions for topic in of_cameras}) == 1


def test_what_the_city_is_built_from_again_is_kept_for_ever() -> None:
    assert {topic.what: topic.retention_ms for topic in topics() if topic.what in KEPT} == dict.fromkeys(
        KEPT, -1
    )


def test_claims_outlive_what_they_decide_about() -> None:
    kept = {topic.what: topic.retention_ms for topic in topics()}
    assert kept["claim"] >= max(kept[family] for family in ("count", "alert", "view", "face"))


def test_tokens_can_be_compared_and_are_kept() -> None:
    claims = {topic.what: topic for topic in topics()}[CLAIMS]
    assert (claims.partitions, claims.exact, claims.cleanup, claims.retention_ms) == (1, True, "compact", -1)


def test_a_dead_letter_holds_the_greatest_record_and_its_reason() -> None:
    size = {topic.what: topic.max_message_bytes for topic in topics()}
    assert size[DLQ] > max(size[family] for family in FAMILIES)


def test_the_shares_are_as_many_as_asked_for() -> None:
    assert {topic.what: topic.partitions for topic in topics(shares=100)}[SHARES] == 100
    for wrong in (0, -1, 10_001):
        with pytest.raises(ConfigError, match="shares of the cameras"):
            topics(shares=wrong)


def test_settings_by_kafkas_names() -> None:
    alert = {topic.what: topic for topic in topics()}["alert"]
    assert alert.settings(replication=1) == {
        "cleanup.policy": "delete",
        "compression.type": "producer",
        "max.message.bytes": "1048576",
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": "1",
        "retention.ms": "31622400000",
        "unclean.leader.election.enable": "false",
    }
    assert alert.settings(replication=3)["min.insync.replicas"] == "2"
    assert alert.settings(replication=2)["min.insync.replicas"] == "1"


@pytest.mark.parametrize("prefix", ["linli", "tengzhou.linli", "a.b-c.d0", "0"])
def test_prefixes(prefix: str) -> None:
    assert checked_prefix(prefix) == prefix
    for topic in topics(prefix):
        assert re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", topic.name), "what Kafka takes for a name"
        assert family_of(prefix, topic.name) == topic.what


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("", "begins and ends with a letter"),
        (".", "begins and ends with a letter"),
        ("a..b", "begins and ends with a letter"),
        ("a.", "begins and ends with a letter"),
        ("-a", "begins and ends with a letter"),
        ("bei_xin.linli", "write '-' instead of '_'"),
        ("Linli", "'L' is not allowed"),
        ("滕州.linli", "'州' is not allowed"),
        ("linli\n", "is not allowed"),
        ("a b", "' ' is not allowed"),
    ],
)
def test_what_cannot_be_a_prefix_is_refused_in_words(prefix: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        topics(prefix)


def test_a_name_is_no_longer_than_kafka_takes() -> None:
    fits = "a" * (LONGEST_NAME - len(".judgement"))
    assert len(topic_name(fits, "judgement")) == LONGEST_NAME
    with pytest.raises(ConfigError, match="250 characters, and Kafka takes 249"):
        topics(fits + "a")


def test_topics_of_others_are_none_of_ours() -> None:
    assert family_of("linli", "linli.alert") == "alert"
    for name in (
        "tengzhou.linli.alert",
        "linli.other",
        "linli",
        "alert",
        "linli.alert.x",
        "__consumer_offsets",
    ):
        assert family_of("linli", name) is None


def test_a_city_reads_its_streets_by_one_pattern() -> None:
    pattern = re.compile(everywhere("tengzhou.linli", "alert"))
    for name in ("tengzhou.linli.alert", "tengzhou.beixin.linli.alert", "tengzhou.beixin.lu-1.linli.alert"):
        assert pattern.match(name)
    for name in (
        "tengzhou.linli.count",
        "zaozhuang.linli.alert",
        "x.tengzhou.linli.alert",
        "tengzhouXlinli.alert",
        "tengzhou.linli.alert.x",
        "tengzhou.not-linli.alert",
    ):
        assert not pattern.match(name)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_goes_where_kafkas_own_partitioner_puts_it(key: bytes, expected: int) -> None:
    """The hashes are those that Apache Kafka's own tests state for its client."""

    class Cluster:
        def topics(self) -> set[str]:
            return {"linli.alert"}

        def partitions_for_topic(self, _: str) -> set[int]:
            return set(range(12))

        available_partitions_for_topic = partitions_for_topic

    assert murmur2(key) & 0xFFFFFFFF == expected & 0xFFFFFFFF
    chosen = DefaultPartitioner().partition("linli.alert", None, key, None, b"", Cluster())
    assert chosen == (expected & 0x7FFFFFFF) % 12

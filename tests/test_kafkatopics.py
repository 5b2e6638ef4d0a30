"""Topics as declared, on a real broker: made, set right, compared; what is a person's to mend is said."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    NewPartitions,
    ResourcePattern,
    ResourceType,
)

from cli.main import main
from events.errors import BusAway
from events.topics import Topic, topics
from ingest.credentials import Credentials
from storage.brokers import Brokers
from storage.kafkatopics import Wrong, apply, check
from testbed.kafka import Kafka
from tests.relayworks import until
from tests.servers import USERS


@pytest.fixture
def brokers(secure_kafka: Kafka, topic_prefix: str) -> Brokers:
    """As one who may do all."""
    return Brokers(bootstrap=(secure_kafka.bootstrap,), prefix=topic_prefix.rstrip("."))


@pytest.fixture
def admin(secure_kafka: Kafka) -> Iterator[Any]:
    client = KafkaAdminClient(bootstrap_servers=secure_kafka.bootstrap)
    yield client
    client.close()


@pytest.fixture
def wanted(brokers: Brokers) -> list[Topic]:
    """Three of the declared ones, small."""
    some = [topic for topic in topics(brokers.prefix, 3) if topic.what in ("alert", "shares", "claims")]
    return [msgspec.structs.replace(topic, partitions=min(topic.partitions, 3)) for topic in some]


def done(brokers: Brokers, wanted: list[Topic], replication: int = 1) -> list[tuple[str, str]]:
    """What apply says that it did; nothing is left."""
    said: list[tuple[str, str]] = []
    assert apply(brokers, wanted, replication, lambda name, did: said.append((name, did))) == []
    return said


def on_broker(admin: Any, name: str) -> tuple[int, dict[str, str]]:
    """The number of partitions, and the settings that are the topic's own."""
    told = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])["topic"][name]
    (topic,) = admin.describe_topics([name])
    return len(topic["partitions"]), {key: value["value"] for key, value in told.items()}


def test_missing_topics_are_made_as_declared_and_the_second_time_left_alone(
    brokers: Brokers, wanted: list[Topic], admin: Any
) -> None:
    assert [(w.topic, w.what, w.found) for w in check(brokers, wanted, 1)] == [
        (topic.name, "topic", "missing") for topic in wanted
    ]
    assert done(brokers, wanted) == [
        (f"{brokers.prefix}.alert", "made, 3 partitions"),
        (f"{brokers.prefix}.shares", "made, 3 partitions"),
        (f"{brokers.prefix}.claims", "made, 1 partition"),
    ]
    for topic in wanted:
        assert on_broker(admin, topic.name) == (topic.partitions, topic.settings(1))
    assert done(brokers, wanted) == [(topic.name, "is as it has to be") for topic in wanted]
    assert check(brokers, wanted, 1) == []


def test_what_is_set_wrong_is_set_right_and_what_is_not_ours_stays(
    brokers: Brokers, wanted: list[Topic], admin: Any
) -> None:
    done(brokers, wanted)
    claims = f"{brokers.prefix}.claims"
    other = {"cleanup.policy": "delete", "retention.ms": "1000", "segment.bytes": "2000000"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, claims, other)])
    until(lambda: check(brokers, wanted, 1))  # what was set is not shown at once
    wrong = {(w.topic, w.what, w.found, w.wanted) for w in check(brokers, wanted, 1)}
    assert wrong == {
        (claims, "cleanup.policy", "delete", "compact"),
        (claims, "retention.ms", "1000", "-1"),
    }
    said = done(brokers, wanted)
    assert (claims, "retention.ms set from 1000 to -1") in said
    assert (claims, "cleanup.policy set from delete to compact") in said
    assert on_broker(admin, claims)[1]["segment.bytes"] == "2000000"
    assert check(brokers, wanted, 1) == []


def test_partitions_are_never_changed(brokers: Brokers, wanted: list[Topic], admin: Any) -> None:
    """Fewer are wrong, more are wrong where the number has to be exact; the rest is made all the same."""
    alert, shares, claims = wanted
    smaller = [msgspec.structs.replace(topic, partitions=2) for topic in (alert, shares)]
    done(brokers, smaller)
    left = apply(brokers, wanted, 1)
    assert [(w.topic, w.what, w.found, w.wanted) for w in left] == [
        (alert.name, "partitions", "2", "3"),
        (shares.name, "partitions", "2", "3"),
    ]
    assert "begin anew under another [bus] prefix" in left[0].mend
    assert "[cluster] shares = 2" in left[1].mend
    assert on_broker(admin, alert.name)[0] == 2
    assert on_broker(admin, claims.name)[0] == 1
    admin.create_partitions({name: NewPartitions(4) for name in (alert.name, shares.name)})
    until(lambda: [(w.topic, w.found) for w in check(brokers, wanted, 1)] == [(shares.name, "4")])
    admin.create_partitions({claims.name: NewPartitions(2)})
    until(lambda: len(check(brokers, wanted, 1)) == 2)
    assert "tokens of two partitions" in check(brokers, wanted, 1)[-1].mend


def test_more_copies_than_brokers(brokers: Brokers, wanted: list[Topic]) -> None:
    left = apply(brokers, wanted, 3)
    assert {(w.found, w.mend) for w in left} == {
        (
            "missing: 3 copies of it cannot be on 1 broker",
            "set [bus] replication to 1 at most, or start more brokers",
        )
    }
    done(brokers, wanted)
    few = check(brokers, wanted, 3)
    assert {(w.what, w.found, w.wanted) for w in few} == {("replication", "1", "3")}
    assert "kafka-reassign-partitions.sh" in few[0].mend


def test_two_may_apply_at_once(brokers: Brokers, wanted: list[Topic]) -> None:
    left: list[Wrong] = []
    at_once = [threading.Thread(target=lambda: left.extend(apply(brokers, wanted, 1))) for _ in range(3)]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join(60)
    assert left == []
    assert check(brokers, wanted, 1) == []


def test_what_a_user_may_not_do_is_said(
    secure_kafka: Kafka, brokers: Brokers, wanted: list[Topic], admin: Any
) -> None:
    alert = wanted[0]
    user = Brokers(
        bootstrap=(secure_kafka.sasl,),
        prefix=brokers.prefix,
        security="SASL_PLAINTEXT",
        login=Credentials("box", USERS["box"]),
    )

    def allow(operation: ACLOperation) -> None:
        pattern = ResourcePattern(ResourceType.TOPIC, alert.name)
        admin.create_acls([ACL("User:box", "*", operation, ACLPermissionType.ALLOW, pattern)])

    def then(what: Callable[[], list[Wrong]], found: str) -> Wrong:
        """What is wrong next: a new ACL takes a moment."""
        until(lambda: [one.found for one in what()] == [found], 20)
        return what()[0]

    def applied() -> list[Wrong]:
        return apply(user, [alert], 1)

    unseen = then(applied, "not to be seen, or not there")
    assert "ACL for Create and Describe on the topic" in unseen.mend
    allow(ACLOperation.DESCRIBE)
    not_made = then(applied, "missing, and this user may not make it")
    assert "ACL for Create on the topic" in not_made.mend
    done(brokers, [alert])
    closed = then(applied, "not to be seen")
    assert closed.what == "settings"
    assert "DescribeConfigs" in closed.mend
    allow(ACLOperation.DESCRIBE_CONFIGS)
    until(lambda: not applied(), 20)
    shorter = msgspec.structs.replace(alert, retention_ms=5000)
    (not_set,) = apply(user, [shorter], 1)
    assert (not_set.what, not_set.wanted) == ("retention.ms", "5000")
    assert "AlterConfigs" in not_set.mend
    allow(ACLOperation.ALTER_CONFIGS)
    until(lambda: not apply(user, [shorter], 1), 20)
    assert check(brokers, [shorter], 1) == []


def test_brokers_that_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.kafkatopics.CONNECTED_MS", 1000)
    nowhere = Brokers(bootstrap=("127.0.0.1:1",), prefix="a.linli")
    with pytest.raises(BusAway, match=r"127\.0\.0\.1:1 cannot be reached: Connection refused"):
        check(nowhere, topics("a.linli"), 1)


# --- as a person types it


def linli(*words: str | Path) -> tuple[int, str, str]:
    ended = CliRunner().invoke(main, [str(word) for word in words])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout, ended.stderr


def test_the_commands(secure_kafka: Kafka, topic_prefix: str, admin: Any, tmp_path: Path) -> None:
    prefix = topic_prefix.rstrip(".")
    site = tmp_path / "site.toml"
    site.write_text(
        f'[site]\nid = "city"\n[bus]\nbootstrap = ["{secure_kafka.bootstrap}"]\nprefix = "{prefix}"\n'
        '[store]\nurl = "postgresql://localhost/linli"\n[cluster]\nshares = 2\n'
    )
    code, out, _ = linli("topics", "check", site)
    assert code == 1
    assert f"{prefix}.count and 16 more: run `linli topics apply {site}`" in out
    code, out, _ = linli("topics", "apply", site)
    assert code == 0
    assert len(out.splitlines()) == 17
    assert f"{prefix}.shares: made, 2 partitions\n" in out
    assert linli("topics", "check", site) == (0, f"17 topics under {prefix} are as they have to be\n", "")
    admin.create_partitions({f"{prefix}.shares": NewPartitions(5)})
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, f"{prefix}.view", {"retention.ms": "1"})])
    until(lambda: len(linli("topics", "check", site)[1].splitlines()) >= 5)
    code, out, _ = linli("topics", "check", site)
    assert code == 1
    rows = [line.split() for line in out.splitlines()]
    assert [f"{prefix}.shares", "partitions", "5", "2"] in rows
    assert [f"{prefix}.view", "retention.ms", "1", "2592000000"] in rows
    code, out, _ = linli("topics", "apply", site)
    assert code == 1
    assert f"{prefix}.view: retention.ms set from 1 to 2592000000\n" in out
    assert f"{prefix}.shares: set [cluster] shares = 5 in every site file; or" in out


def test_a_site_without_brokers(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[site]\nid = "a"\n[[camera]]\nid = "gate"\nurl = "rtsp://127.0.0.1/x"\n')
    code, _, err = linli("topics", "check", site)
    assert code == 2
    assert "names no brokers; add [bus] with bootstrap" in err

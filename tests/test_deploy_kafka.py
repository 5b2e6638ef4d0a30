"""deploy/kafka on a real broker: what each role may do and may not; a town's topics in its city's cluster."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic, UserScramCredentialUpsertion
from kafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from testbed.certificates import make_certificates
from testbed.kafka import Kafka
from testbed.kafkajars import java, kafka_jars, storage_tool, write_tools
from testbed.process import Server, ServerMissing, free_port, listens
from tests.servers import USERS, need, started

DEPLOY = Path(__file__).parents[1] / "deploy"
TOWN = "tengzhou.beixin.linli"
CITY = "tengzhou.linli"
OTHER = "weishan.linli"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Kafka's own command-line tools."""
    folder = tmp_path_factory.mktemp("tools")
    try:
        write_tools(folder)
    except ServerMissing as error:
        need(error)
    return folder


def script(name: str, *arguments: str, tools: Path, broker: Kafka, **rest: Any) -> str:
    """Run deploy/kafka/NAME against the broker; what it says."""
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "BOOTSTRAP": broker.bootstrap}
    environment |= rest.pop("environment", {})
    command = [str(DEPLOY / "kafka" / name), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **rest)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def topics(broker: Kafka, *names: str, **settings: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic(name, 2, 1, topic_configs=settings) for name in names])
    admin.close()


class As:
    """A user at the broker, over TLS and with a password."""

    def __init__(self, broker: Kafka, user: str, password: str) -> None:
        self.arguments = {
            "bootstrap_servers": broker.sasl_tls,
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(broker.ca),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": user,
            "sasl_plain_password": password,
        }

    def write(self, topic: str) -> None:
        producer = KafkaProducer(**self.arguments, acks="all", enable_idempotence=True, max_block_ms=10_000)
        try:
            producer.send(topic, b"x", key=b"gate").get(10)
        finally:
            producer.close(2)

    def read(self, topic: str) -> int:
        """How many records there are to read."""
        consumer = KafkaConsumer(**self.arguments, auto_offset_reset="earliest")
        try:
            if topic not in consumer.topics():  # not even shown; a read would wait for it without a word
                raise TopicAuthorizationFailedError(topic)
            consumer.assign([TopicPartition(topic, 0), TopicPartition(topic, 1)])
            return _some(consumer)
        finally:
            consumer.close()

    def join(self, group: str, topic: str) -> int:
        """The same, as a member of a group that commits."""
        consumer = KafkaConsumer(topic, **self.arguments, group_id=group, auto_offset_reset="earliest")
        try:
            found = _some(consumer)
            consumer.commit()
            return found
        finally:
            consumer.close(autocommit=False)


def _some(consumer: KafkaConsumer) -> int:
    until = time.monotonic() + 15
    while time.monotonic() < until:
        if found := consumer.poll(500):
            return sum(len(records) for records in found.values())
    return 0


@pytest.fixture(scope="module")
def roles(secure_kafka: Kafka, tools: Path) -> Kafka:
    """A broker with the topics of a town, its city and another, each with a record; a box of the town, the
    centre of the city, and a subscriber of the town have their roles."""
    names = [
        f"{prefix}.{what}"
        for prefix in (TOWN, CITY, OTHER)
        for what in ("alert", "face", "dlq", "claims", "shares")
    ]
    topics(secure_kafka, *names)
    producer = KafkaProducer(bootstrap_servers=secure_kafka.bootstrap)
    for name in names:
        producer.send(name, b"first", key=b"gate")
    producer.flush()
    producer.close()
    for arguments in (("box", "box", TOWN), ("centre", "centre", CITY), ("subscriber", "subscriber", TOWN)):
        script("acls.sh", *arguments, tools=tools, broker=secure_kafka)
    return secure_kafka


def test_a_box_writes_its_events_and_reads_none(roles: Kafka) -> None:
    box = As(roles, "box", USERS["box"])
    box.write(f"{TOWN}.alert")
    box.write(f"{TOWN}.face")
    box.write(f"{TOWN}.claims")
    assert box.read(f"{TOWN}.claims")
    assert box.join(f"{TOWN}.shares", f"{TOWN}.shares")
    for topic in (f"{TOWN}.dlq", f"{CITY}.alert", f"{OTHER}.alert", f"{TOWN}.shares"):
        with pytest.raises(TopicAuthorizationFailedError):
            box.write(topic)
    for topic in (f"{TOWN}.alert", f"{TOWN}.face", f"{CITY}.alert", f"{OTHER}.claims"):
        with pytest.raises(TopicAuthorizationFailedError):
            box.read(topic)
    with pytest.raises(GroupAuthorizationFailedError):
        box.join(f"{CITY}.store", f"{TOWN}.claims")


def test_the_centre_reads_all_below_it_and_writes_dead_letters(roles: Kafka) -> None:
    centre = As(roles, "centre", USERS["centre"])
    for topic in (f"{CITY}.alert", f"{CITY}.dlq", f"{TOWN}.alert", f"{TOWN}.face"):
        assert centre.read(topic)
    assert centre.join(f"{CITY}.store", f"{TOWN}.alert")
    centre.write(f"{CITY}.dlq")
    for topic in (f"{CITY}.alert", f"{TOWN}.alert", f"{TOWN}.dlq"):
        with pytest.raises(TopicAuthorizationFailedError):
            centre.write(topic)
    with pytest.raises(TopicAuthorizationFailedError):
        centre.read(f"{OTHER}.alert")


def test_a_subscriber_reads_what_is_not_about_faces(roles: Kafka) -> None:
    subscriber = As(roles, "subscriber", USERS["subscriber"])
    assert subscriber.read(f"{TOWN}.alert")
    assert subscriber.join("subscriber.page", f"{TOWN}.alert")
    assert subscriber.join(f"{TOWN}.subscriber", f"{TOWN}.alert")
    with pytest.raises(GroupAuthorizationFailedError):
        subscriber.join(f"{TOWN}.store", f"{TOWN}.alert")
    for topic in (f"{TOWN}.face", f"{TOWN}.dlq", f"{CITY}.alert"):
        with pytest.raises(TopicAuthorizationFailedError):
            subscriber.read(topic)
    with pytest.raises(KafkaError, match="AuthorizationFailed"):  # it may write nowhere: not even begin to
        subscriber.write(f"{TOWN}.alert")


def test_a_user_is_made_and_a_role_is_taken_away(roles: Kafka, tools: Path) -> None:
    """user.sh reads the password from standard input, and refuses one that Kafka's tool would take apart."""
    password = "a-new.box_1"
    said = script("user.sh", "box-2", tools=tools, broker=roles, input=password + "\n")
    assert password not in said
    box = As(roles, "box-2", password)
    with pytest.raises(TopicAuthorizationFailedError):
        box.write(f"{TOWN}.alert")
    role = ("dead-letters", "box-2", TOWN)
    script("acls.sh", *role, tools=tools, broker=roles)
    box.write(f"{TOWN}.alert")
    assert box.read(f"{TOWN}.dlq")
    script("acls.sh", *role, tools=tools, broker=roles, environment={"REMOVE": "1"})
    with pytest.raises(TopicAuthorizationFailedError):
        box.write(f"{TOWN}.alert")
    script("user.sh", "box-2", tools=tools, broker=roles, environment={"REMOVE": "1"})
    with pytest.raises(KafkaError):
        KafkaAdminClient(**box.arguments, bootstrap_timeout_ms=5_000)
    with pytest.raises(AssertionError, match="letters, digits"):
        script("user.sh", "box-3", tools=tools, broker=roles, input="a,b]\n")


class Example(Server):
    """One node with deploy/kafka/broker.properties, its addresses and files put in place."""

    kind = "broker.properties"

    def prepare(self) -> None:
        self.libs = kafka_jars()
        make_certificates(self.folder)
        (self.folder / "secrets").write_text("admin.password=pw-admin\n")
        port = self.keep("port", lambda: free_port(2))
        text = (DEPLOY / "kafka/broker.properties").read_text()
        for old, new in {
            "0.0.0.0:9093": f"127.0.0.1:{port}",
            "0.0.0.0:9094": f"127.0.0.1:{port + 1}",
            "kafka-1.example.org:9093": f"localhost:{port}",
            "kafka-1.example.org:9094": f"localhost:{port + 1}",
            "User:kafka-1.example.org": "User:localhost",
            "/var/lib/kafka": str(self.data),
            "/etc/kafka/node.pem": str(self.folder / "server.both.pem"),
            "/etc/kafka/ca.pem": str(self.folder / "ca.pem"),
            "/etc/kafka/secrets": str(self.folder / "secrets"),
            "replication.factor = 3": "replication.factor = 1",
            "isr = 2": "isr = 1",
            "insync.replicas = 2": "insync.replicas = 1",
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        (self.folder / "broker.properties").write_text(text)
        arguments = ("--add-scram", "SCRAM-SHA-512=[name=admin,password=pw-admin]")
        settings = ("-c", str(self.folder / "broker.properties"))
        storage_tool(
            self.libs, "format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg", *settings, *arguments
        )

    def command(self) -> list[str]:
        return [*java(self.libs, "-Xmx256M"), "kafka.Kafka", str(self.folder / "broker.properties")]

    def ready(self) -> bool:
        return listens(self.state["port"])

    def describe(self) -> dict[str, Any]:
        return {"port": self.state["port"]}


def test_the_broker_of_the_example(tmp_path: Path) -> None:
    """It lets its first user do all, a user that this one makes do nothing, and nobody else in."""
    with started(Example(tmp_path / "example")) as server:
        arguments: dict[str, Any] = {
            "bootstrap_servers": f"localhost:{server.state['port']}",
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(server.folder / "ca.pem"),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "admin",
            "sasl_plain_password": "pw-admin",
            "bootstrap_timeout_ms": 30_000,
        }
        admin = KafkaAdminClient(**arguments)
        admin.create_topics([NewTopic(f"{TOWN}.alert", 1, 1)])
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion("box", "SCRAM-SHA-512", "pw-box")])
        assert admin.list_topics() == [f"{TOWN}.alert"]
        admin.close()
        box = KafkaAdminClient(**arguments | {"sasl_plain_username": "box", "sasl_plain_password": "pw-box"})
        assert box.list_topics() == []
        box.close()
        with pytest.raises(KafkaError):
            KafkaAdminClient(**arguments | {"sasl_plain_password": "wrong", "bootstrap_timeout_ms": 4_000})


@pytest.mark.slow
def test_a_town_is_mirrored_into_its_city(tools: Path, tmp_path: Path) -> None:
    """MirrorMaker with deploy/kafka/mirror.properties, its users by acls.sh: keys, headers, partitions and
    order come over; claims and dead letters do not; nothing is written in the town."""
    users = {"town": {"mirror-tengzhou": "pw-town"}, "city": {"mirror-beixin": "pw-city"}}
    with (
        started(Kafka(tmp_path / "town", users=users["town"], acls=True)) as town,
        started(Kafka(tmp_path / "city", users=users["city"], acls=True)) as city,
    ):
        script("acls.sh", "mirror-source", "mirror-tengzhou", TOWN, tools=tools, broker=town)
        script("acls.sh", "mirror-target", "mirror-beixin", TOWN, "beixin", tools=tools, broker=city)
        topics(
            town, f"{TOWN}.alert", **{"message.timestamp.type": "LogAppendTime", "retention.ms": "7776000000"}
        )
        topics(town, f"{TOWN}.claims", f"{TOWN}.dlq")
        before = _write_many(town, f"{TOWN}.alert", 300)
        _write_many(town, f"{TOWN}.dlq", 3)
        settings = _mirror_settings(tmp_path, town, city)
        with (tmp_path / "mirror.log").open("wb") as log:
            command = [str(tools / "connect-mirror-maker.sh"), str(settings), "--clusters", "tengzhou"]
            mirror = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            assert _read_many(city, f"{TOWN}.alert", 300, mirror, tmp_path / "mirror.log") == before
        finally:
            mirror.kill()
            mirror.wait(20)
        admin = KafkaAdminClient(bootstrap_servers=city.bootstrap)
        assert not {f"{TOWN}.claims", f"{TOWN}.dlq"} & set(admin.list_topics())
        admin.close()
        admin = KafkaAdminClient(bootstrap_servers=town.bootstrap)
        assert {name for name in admin.list_topics() if not name.startswith("__")} == {
            f"{TOWN}.alert", f"{TOWN}.claims", f"{TOWN}.dlq"
        }  # fmt: skip
        admin.close()


def _mirror_settings(folder: Path, town: Kafka, city: Kafka) -> Path:
    """deploy/kafka/mirror.properties with these clusters, one copy of each topic."""
    (folder / "mirror.secrets").write_text("beixin.password=pw-town\ntengzhou.password=pw-city\n")
    text = (DEPLOY / "kafka/mirror.properties").read_text()
    for old, new in {
        "kafka.beixin.example.org:9093": town.sasl_tls,
        "kafka.tengzhou.example.org:9093": city.sasl_tls,
        "/etc/linli/beixin-ca.pem": str(town.ca),
        "/etc/linli/tengzhou-ca.pem": str(city.ca),
        "/etc/linli/mirror.secrets": str(folder / "mirror.secrets"),
        "replication.factor = 3": "replication.factor = 1",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "mirror.properties").write_text(text)
    return folder / "mirror.properties"


Rows = dict[int, list[tuple[bytes, bytes, tuple[tuple[str, bytes], ...]]]]
"""Partition to its records in order: key, value, headers."""


def _write_many(broker: Kafka, topic: str, count: int) -> Rows:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all", enable_idempotence=True)
    rows: Rows = {}
    sent = []
    for n in range(count):
        row = (b"camera-%d" % (n % 7), b"%d" % n, (("ce_id", b"%d" % n), ("ce_specversion", b"1.0")))
        sent.append((producer.send(topic, key=row[0], value=row[1], headers=list(row[2])), row))
    for future, row in sent:
        rows.setdefault(future.get(20).partition, []).append(row)
    producer.close()
    return rows


def _read_many(broker: Kafka, topic: str, count: int, mirror: "subprocess.Popen[bytes]", log: Path) -> Rows:
    """What is on the topic once so many records are there; the topic is waited for."""
    until = time.monotonic() + 150
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    while topic not in admin.list_topics():
        assert mirror.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < until, log.read_text()[-3000:]
        time.sleep(1)
    admin.close()
    rows: Rows = {}
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0), TopicPartition(topic, 1)])
    while sum(len(each) for each in rows.values()) < count and time.monotonic() < until:
        for records in consumer.poll(1_000).values():
            for r in records:
                rows.setdefault(r.partition, []).append((r.key, r.value, tuple(r.headers)))
                assert r.timestamp_type == 1, "the time of a record is not when the city took it"
    consumer.close()
    return rows

"""What real brokers refuse: each refusal has its text and class, and no secret is in the text or in a log."""

import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka import errors as k
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    NewTopic,
    ResourcePattern,
    ResourceType,
)

from events.clock import SystemClock
from events.errors import BusAway, BusError
from ingest.credentials import Credentials
from storage.brokers import Brokers
from storage.kafka import arguments, opened, told, trouble
from storage.kafkabus import KafkaBus
from storage.kafkaproducer import KafkaSender
from testbed.cable import Cable
from testbed.kafka import Kafka
from testbed.process import ServerMissing
from tests.relayworks import until
from tests.servers import USERS, apache, need, started

SECRET = "the-s3cret-of-this-test"
BOX = Credentials("box", USERS["box"])


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """As verbose as it gets: the library's own log as well, as far as it is let through."""
    caplog.set_level(logging.DEBUG)
    yield
    for secret in (SECRET, *USERS.values()):
        assert secret not in caplog.text


def refused(brokers: Brokers, kind: type[BusError], *texts: str) -> None:
    """Who reads and who sends are both refused in these words and this way; nothing is left of them."""
    before = threading.active_count()
    for attempt in (
        lambda: KafkaBus(brokers, SystemClock(), families=("count",)).subscribe("store"),
        lambda: KafkaSender(brokers, [f"{brokers.prefix}.count"]),
    ):
        with pytest.MonkeyPatch.context() as quick:  # it does not try for as long as in earnest
            quick.setattr("storage.kafkabus.CONNECTED_MS", 1000)
            quick.setattr("storage.kafkaproducer.TIMEOUT_S", 2.0)
            with pytest.raises(BusError) as e:
                attempt().close()
        assert type(e.value) is kind, e.value
        assert e.value.retriable is (kind is BusAway)
        for text in texts:
            assert text in str(e.value)
        for secret in (SECRET, *USERS.values()):
            assert secret not in str(e.value)
            assert secret not in repr(brokers)
    until(lambda: threading.active_count() <= before, 10)


def at(address: str, **more: Any) -> Brokers:
    return Brokers(bootstrap=(address,), prefix="town.linli", **more)


# --- the login


@pytest.mark.parametrize(
    "login", [Credentials("box", SECRET), Credentials("nobody", SECRET)], ids=("password", "user")
)
@pytest.mark.parametrize("tls", [True, False], ids=("tls", "plain"))
def test_a_wrong_password_or_user(secure_kafka: Kafka, login: Credentials, tls: bool) -> None:
    if tls:
        brokers = at(secure_kafka.sasl_tls, security="SASL_SSL", ca=str(secure_kafka.ca), login=login)
    else:
        brokers = at(secure_kafka.sasl, security="SASL_PLAINTEXT", login=login)
    refused(brokers, BusError, "refuses the user or password of [bus] credentials; mend them")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
def test_a_mechanism_that_the_broker_has_not(secure_kafka: Kafka, mechanism: str) -> None:
    brokers = at(secure_kafka.sasl, security="SASL_PLAINTEXT", login=BOX, mechanism=mechanism)
    refused(brokers, BusError, f"does not take {mechanism}; set [bus] mechanism to one of: SCRAM-SHA-512")


def test_no_login_where_one_is_wanted_and_the_other_way_round(secure_kafka: Kafka) -> None:
    refused(
        at(secure_kafka.sasl),
        BusError,
        'wants a login (SCRAM-SHA-512): set [bus] security = "SASL_PLAINTEXT"',
    )
    brokers = at(secure_kafka.bootstrap, security="SASL_PLAINTEXT", login=BOX)
    refused(brokers, BusError, 'takes no login on this port: set [bus] security = "PLAINTEXT"')


# --- TLS


def test_an_authority_that_is_not_known(secure_kafka: Kafka) -> None:
    other = secure_kafka.ca.with_name("other.pem")
    for ca in (str(other), ""):
        refused(
            at(secure_kafka.tls, security="SSL", ca=ca),
            BusError,
            f"the certificate of Kafka's broker {secure_kafka.tls} is refused: ",
            "name the authority that signed it in [bus] ca",
        )


def test_a_name_that_is_not_in_the_certificate(secure_kafka: Kafka) -> None:
    address = secure_kafka.tls.replace("localhost", "127.1")  # the same machine by another name
    brokers = at(address, security="SSL", ca=str(secure_kafka.ca))
    refused(brokers, BusError, "is refused: Hostname mismatch", "use a name that stands in it")


def test_a_certificate_that_has_expired(tmp_path_factory: pytest.TempPathFactory) -> None:
    own = Kafka(tmp_path_factory.mktemp("expired"), users={"box": SECRET})
    own.use_certificate("expired")
    with apache(started(own)):
        brokers = at(own.sasl_tls, security="SASL_SSL", ca=str(own.ca), login=Credentials("box", SECRET))
        refused(brokers, BusError, "is refused: certificate has expired; renew it")


def test_tls_at_a_port_without_and_the_other_way_round(secure_kafka: Kafka) -> None:
    ca = str(secure_kafka.ca)
    refused(
        at(secure_kafka.bootstrap, security="SSL", ca=ca), BusError, "speaks without TLS", 'set "PLAINTEXT"'
    )
    refused(at(secure_kafka.tls), BusError, "speaks TLS, and [bus] security", 'set it to "SSL"')
    brokers = at(secure_kafka.sasl_tls, security="SASL_PLAINTEXT", login=BOX)
    refused(brokers, BusError, "speaks TLS, and [bus] security", 'set it to "SASL_SSL"')


def test_files_that_cannot_be_used(secure_kafka: Kafka, tmp_path: Any) -> None:
    for ca in (tmp_path / "absent.pem", secure_kafka.ca.with_name("names")):
        with pytest.raises(BusError, match=r"\[bus\] ca, certificate or key .* cannot be used"):
            arguments(at(secure_kafka.tls, security="SSL", ca=str(ca)))


# --- nobody there


def test_nobody_at_the_address() -> None:
    refused(at("127.0.0.1:1"), BusAway, "127.0.0.1:1 cannot be reached: Connection refused; is it running")
    refused(at("nowhere.invalid:9092"), BusAway, "nowhere.invalid:9092 cannot be reached: ")


def test_the_first_that_answers_says_what_is_wrong(secure_kafka: Kafka) -> None:
    brokers = Brokers(bootstrap=("127.0.0.1:1", secure_kafka.tls), prefix="town.linli")
    refused(brokers, BusError, "speaks TLS")


def test_packets_that_vanish() -> None:
    try:
        cable = Cable()
    except ServerMissing as error:
        need(error)
    with cable:
        cable.cut()
        text = str(trouble(k.KafkaTimeoutError(), at(f"{cable.there}:9092")))
    assert f"{cable.there}:9092 cannot be reached: timed out" in text


def test_a_port_that_is_no_broker() -> None:
    """It takes connections: says nothing, or something else."""
    for answer in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as server:
            ended = threading.Event()
            thread = threading.Thread(target=_answering, args=(server, answer, ended))
            thread.start()
            try:
                error = trouble(k.KafkaTimeoutError(), at(f"127.0.0.1:{server.getsockname()[1]}"))
            finally:
                ended.set()
                thread.join(10)
        assert type(error) is BusAway
        assert "takes connections and does not answer" in str(error)
        assert "is it Kafka's port?" in str(error)


def _answering(server: socket.socket, answer: bytes, ended: threading.Event) -> None:
    server.settimeout(0.1)
    while not ended.is_set():
        try:
            link, _ = server.accept()
        except TimeoutError:
            continue
        with link:
            link.settimeout(5)
            link.recv(1000)
            if answer:
                link.sendall(answer)


# --- topics and rights


@pytest.fixture
def admin(secure_kafka: Kafka) -> Iterator[Any]:
    """May do all."""
    client = KafkaAdminClient(bootstrap_servers=secure_kafka.bootstrap)
    yield client
    client.close()


@pytest.fixture
def box(secure_kafka: Kafka, topic_prefix: str) -> Brokers:
    return Brokers(
        bootstrap=(secure_kafka.sasl,),
        prefix=topic_prefix.rstrip("."),
        security="SASL_PLAINTEXT",
        login=Credentials("subscriber", USERS["subscriber"]),
    )


def test_a_topic_that_is_missing(secure_kafka: Kafka, topic_prefix: str) -> None:
    brokers = Brokers(bootstrap=(secure_kafka.bootstrap,), prefix=topic_prefix.rstrip("."))
    text = f"the topic {topic_prefix}count is not there"
    with pytest.raises(BusAway, match=text) as e:
        KafkaBus(brokers, SystemClock(), families=("count",)).subscribe("store")
    assert "linli topics apply SITE" in str(e.value)
    sender = KafkaSender(brokers, [f"{topic_prefix}count"])
    assert text in sender.missing[f"{topic_prefix}count"]
    assert "linli topics apply SITE" in sender.missing[f"{topic_prefix}count"]
    sender.close()


def test_what_a_user_may_not_do(box: Brokers, admin: Any) -> None:
    """Of a topic, a group, the cluster: what is denied is named, and the ACL that it takes."""
    topic = f"{box.prefix}.count"
    admin.create_topics([NewTopic(topic, 1, 1)])
    with pytest.raises(BusAway, match=f"the topic {topic} is not there, or not to be seen by this user") as e:
        KafkaBus(box, SystemClock(), families=("count",)).subscribe("store")
    assert "ACL for Describe" in str(e.value)
    sender = KafkaSender(box, [topic])
    assert f"denies this user the topic {topic}; add an ACL" in sender.missing[topic]
    sender.close()

    def allow(*operations: ACLOperation) -> None:
        pattern = ResourcePattern(ResourceType.TOPIC, topic)
        admin.create_acls(
            [ACL("User:subscriber", "*", one, ACLPermissionType.ALLOW, pattern) for one in operations]
        )

    allow(ACLOperation.READ)  # and with it Describe
    with told(box):
        consumer = opened(KafkaConsumer, **arguments(box))
        until(lambda: topic in consumer.topics(), 20)
        consumer.close()
    subscription = KafkaBus(box, SystemClock(), families=("count",)).subscribe("store")
    with pytest.raises(
        BusError, match=f"denies this user the consumer group {box.prefix}.store; add an ACL"
    ) as denied:
        subscription.poll(10.0)
    assert type(denied.value) is BusError
    subscription.close()
    with told(box):
        producer = opened(KafkaProducer, **arguments(box), acks="all", enable_idempotence=False)
    with pytest.raises(BusError, match=f"denies this user the topic {topic}; add an ACL"), told(box):
        producer.send(topic, b"x", key=b"gate").get(10)
    producer.close()
    with told(box):
        producer = opened(KafkaProducer, **arguments(box), acks="all", enable_idempotence=True)
    with pytest.raises(BusError, match="of the cluster; add an ACL") as of_cluster, told(box):
        producer.send(topic, b"x", key=b"gate").get(10)
    assert type(of_cluster.value) is BusError
    producer.close()

"""The relay over a real Kafka: complete and in order, whatever is killed, cut, refused or lost."""

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    NewPartitions,
    ResourcePattern,
    ResourceType,
)

from events.clock import SystemClock
from events.events import Health
from ingest.credentials import Credentials
from pipeline.relay import Sender
from storage.brokers import Brokers
from storage.deadletters import DeadLetters
from storage.journal import Journal
from testbed.cable import Cable
from testbed.kafka import Kafka
from testbed.lives import Life
from testbed.process import ServerMissing
from tests.relayworks import (
    BOX,
    FAMILIES,
    OnTopics,
    Source,
    all_sent,
    health,
    large,
    make_topics,
    names_of,
    opened,
    relay,
    running,
    until,
)
from tests.servers import USERS, apache, need, started

KILLS = int(os.environ.get("LINLI_RELAY_KILLS", "15"))
SEED = int(os.environ.get("LINLI_SEED", "1"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db", SystemClock(), group_s=0.01)
    yield made
    made.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Kafka]:
    """A broker that this test may kill."""
    server = started(Kafka(tmp_path / "kafka"))
    yield apache(server)
    server.remove()


def at(server: Kafka) -> dict[str, Any]:
    return {"bootstrap_servers": [server.bootstrap]}


class Feeding:
    """Events that keep coming into the journal, until the end of the block."""

    def __init__(self, journal: Journal, seed: int, a_second: int = 300) -> None:
        self._journal = journal
        self._source = Source(seed)
        self._a_second = a_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._journal.flush()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self._journal.append(self._source.events(self._a_second // 20))


def test_everything_arrives_in_order_and_once(
    kafka: Kafka, journal: Journal, topic_prefix: str, tmp_path: Path
) -> None:
    names = make_topics(at(kafka), topic_prefix)
    source = Source(SEED)
    records, events = [], []
    for _ in range(3):  # three lives that end well
        journal.append(source.events(3000))
        journal.flush()
        with running(relay(journal, opened(kafka.bootstrap), names, status=tmp_path / "relay.json")):
            journal.append(source.events(1000))
            until(lambda: all_sent(journal))
        records.append(len(OnTopics(at(kafka), names).events))
        events.append(len(journal.read(0, 100_000, FAMILIES)))
    seen = OnTopics(at(kafka), names)
    seen.agree(journal, what="three ordinary lives")
    # Nothing twice, but for what meets a partition that has not begun yet.
    assert records[2] - records[0] == events[2] - events[0]
    status = json.loads((tmp_path / "relay.json").read_text())
    assert status["lag_events"] == status["in_flight"] == status["repeats"] == 0
    assert status["acknowledged_offset"] == journal.last_offset()
    assert not health(journal)


@pytest.mark.slow
def test_relay_killed_at_random(kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
    names = make_topics(at(kafka), topic_prefix)
    path = tmp_path / "journal.db"
    chance = random.Random(SEED)

    def send(stop: threading.Event) -> None:
        journal = Journal(path, SystemClock(), group_s=0.01)
        with running(relay(journal, opened(kafka.bootstrap), names)):
            stop.wait()
        journal.close()

    def feed(stop: threading.Event) -> None:
        journal = Journal(path, SystemClock(), group_s=0.01)
        with Feeding(journal, SEED, a_second=400):
            stop.wait()
        journal.close()

    feeding = Life(feed)
    for _ in range(KILLS):
        sending = Life(send)
        time.sleep(chance.choice((0.1, 0.4, 0.8)) + chance.random() * 0.6)
        sending.kill()
    feeding.stop()
    sending = Life(send)
    journal = Journal(path, SystemClock())
    until(lambda: all_sent(journal))
    sending.stop()
    OnTopics(at(kafka), names).agree(journal, what=f"relay killed {KILLS} times (seed {SEED})")
    journal.close()


@pytest.mark.slow
def test_broker_killed_and_restarted_on_its_disk(own: Kafka, journal: Journal, topic_prefix: str) -> None:
    names = make_topics(at(own), topic_prefix)
    chance = random.Random(SEED)
    with running(relay(journal, opened(own.bootstrap), names)):
        with Feeding(journal, SEED):
            for _ in range(3):
                time.sleep(0.5 + chance.random())
                own.kill()
                time.sleep(chance.random() * 3)
                own.start()
        until(lambda: all_sent(journal))
    OnTopics(at(own), names).agree(journal, what="broker killed 3 times, restarted on its disk")
    states = [state for what, state, _ in health(journal) if what == "bus"]
    assert states[-1] == "cleared"
    assert states == ["raised", "cleared"] * (len(states) // 2)


@pytest.mark.slow
def test_broker_hangs_for_longer_than_a_request_may_take(
    own: Kafka, journal: Journal, topic_prefix: str
) -> None:
    names = make_topics(at(own), topic_prefix)
    with running(relay(journal, opened(own.bootstrap), names)):
        with Feeding(journal, SEED, a_second=100):
            time.sleep(1.5)
            own.pause()
            until(lambda: ("bus", "raised") in [h[:2] for h in health(journal)], 90)
            own.resume()
        until(lambda: all_sent(journal))
    OnTopics(at(own), names).agree(journal, what="broker hung until the relay said so")
    raised = [text for what, state, text in health(journal) if (what, state) == ("bus", "raised")]
    assert len(raised) == 1
    assert "none is lost" in raised[0]
    assert health(journal)[-1][:2] == ("bus", "cleared")


@pytest.mark.slow
def test_packets_lost_and_the_cable_cut(journal: Journal, tmp_path: Path, topic_prefix: str) -> None:
    try:
        cable = Cable()
    except ServerMissing as error:
        need(error)
    server = Kafka(tmp_path / "kafka", host=cable.there, under=cable.under)
    try:
        apache(started(server))
        names = make_topics(at(server), topic_prefix)
        with running(relay(journal, opened(server.bootstrap), names)):
            with Feeding(journal, SEED, a_second=100):
                time.sleep(1)
                cable.lose(0.3)
                time.sleep(5)
                cable.cut()
                time.sleep(20)
                cable.mend()
            until(lambda: all_sent(journal))
        OnTopics(at(server), names).agree(journal, what="30 % of packets lost for 5 s, all for 20 s")
    finally:
        server.remove()
        cable.close()


@pytest.mark.slow
def test_broker_comes_back_empty(own: Kafka, journal: Journal, topic_prefix: str) -> None:
    names = make_topics(at(own), topic_prefix)
    with running(relay(journal, opened(own.bootstrap), names)):
        with Feeding(journal, SEED, a_second=100):
            time.sleep(2)
            own.wipe()
            own.start()
            make_topics(at(own), topic_prefix)
            time.sleep(1)
        until(lambda: any("lost what was sent" in text for _, _, text in health(journal)))
        until(lambda: all_sent(journal))
    OnTopics(at(own), names).agree(journal, what="broker wiped, topics made anew")


def test_a_topic_made_anew_under_the_relay(kafka: Kafka, journal: Journal, topic_prefix: str) -> None:
    names = make_topics(at(kafka), topic_prefix)
    source = Source(SEED)
    journal.append(source.events(1000))
    with running(relay(journal, opened(kafka.bootstrap), names)):
        until(lambda: all_sent(journal))
        admin = KafkaAdminClient(**at(kafka))
        admin.delete_topics([names["alert"]])
        until(lambda: names["alert"] not in admin.list_topics())
        admin.close()
        make_topics(at(kafka), topic_prefix, ["alert"])
        time.sleep(3.1)  # the topics are looked at before anything is sent after a pause
        journal.append(source.events(1000))
        journal.flush()
        until(lambda: all_sent(journal))
    OnTopics(at(kafka), names).agree(journal, what="the topic of alerts made anew")
    assert sum("lost what was sent" in text for _, _, text in health(journal)) == 1


def test_what_has_a_topic_goes_on_while_another_is_missing(
    kafka: Kafka, journal: Journal, topic_prefix: str
) -> None:
    names = make_topics(at(kafka), topic_prefix, ["count", "health", "sensor"]) | names_of(topic_prefix)
    source = Source(SEED)
    journal.append(source.events(2000))
    journal.flush()
    with running(relay(journal, opened(kafka.bootstrap), names)):
        until(lambda: ("topics", "raised") in [said[:2] for said in health(journal)])
        there = {family: name for family, name in names.items() if family != "alert"}
        others = [family for family in FAMILIES if family != "alert"]
        wanted = len(journal.read(0, 100_000, others))
        until(lambda: len(OnTopics(at(kafka), there).events) >= wanted)
        OnTopics(at(kafka), there).agree(journal, others, what="no topic for alerts")
        [text] = [text for what, state, text in health(journal) if (what, state) == ("topics", "raised")]
        assert names["alert"] in text
        assert journal.committed("relay") < journal.read(0, 1_000_000, ("alert",))[0].offset
        make_topics(at(kafka), topic_prefix, ["alert"])
        journal.append(source.events(500))
        until(lambda: all_sent(journal))
    OnTopics(at(kafka), names).agree(journal, what="the topic came later")
    assert health(journal)[-1][:2] == ("topics", "cleared")


def test_partitions_are_added(kafka: Kafka, journal: Journal, topic_prefix: str) -> None:
    names = make_topics(at(kafka), topic_prefix)
    with running(relay(journal, opened(kafka.bootstrap), names)), Feeding(journal, SEED, a_second=400):
        time.sleep(1)
        admin = KafkaAdminClient(**at(kafka))
        admin.create_partitions({names["count"]: NewPartitions(18)})
        admin.close()
        time.sleep(5)
    with running(relay(journal, opened(kafka.bootstrap), names)):
        until(lambda: all_sent(journal))
    wanted = {(e.source, e.sequence) for e in (r.event for r in journal.read(0, 1_000_000, ("count",)))}
    seen = OnTopics(at(kafka), names)
    assert {(e.source, e.sequence) for e in seen.events if e.family == "count"} == wanted
    # In order by when the broker took them: across partitions no consumer can see more.
    rest = {family: name for family, name in names.items() if family != "count"}
    OnTopics(at(kafka), rest).agree(journal, list(rest), what="partitions added to another topic")


def test_too_large_is_set_aside_and_what_follows_goes_on(
    kafka: Kafka, journal: Journal, topic_prefix: str
) -> None:
    names = make_topics(at(kafka), topic_prefix, max_message_bytes=60_000)
    make_topics(at(kafka), topic_prefix, ["dlq"])
    brokers = Brokers(bootstrap=(kafka.bootstrap,), prefix=topic_prefix.rstrip("."))
    journal.append(Source(SEED).events(500))
    first, second = "/site/camera/large1", "/site/camera/large2"
    journal.append([large(first, 0, 500), large(first, 1, 100_000), large(first, 2, 500)])
    with running(relay(journal, opened(kafka.bootstrap, prefix=topic_prefix), names)):
        until(lambda: all_sent(journal))
        admin = KafkaAdminClient(**at(kafka))
        resource = ConfigResource(ConfigResourceType.TOPIC, names["health"], {"max.message.bytes": "20000"})
        admin.alter_configs([resource])  # now the broker refuses what the relay takes for small enough
        admin.close()
        journal.append([large(second, 0, 500), large(second, 1, 40_000), large(second, 2, 500)])
        journal.append([large(second, n, 3000) for n in range(3, 40)])
        journal.flush()
        until(lambda: all_sent(journal))
    seen = [e.sequence for e in OnTopics(at(kafka), names).events if e.source in (first, second)]
    assert sorted(set(seen)) == [0, 0, *range(2, 40)][1:]
    notes = [text for what, state, text in health(journal) if (what, state) == ("bus", "note")]
    assert len(notes) == 2
    assert "larger than the 60000 bytes" in notes[0]
    assert "too large" in notes[1]
    assert len(journal.states("relay:letter:")) == 2
    with DeadLetters(brokers, SystemClock(), "test") as letters:
        found = letters.letters()
        assert [dict(letter.headers)["ce_sequence"] for letter in found] == [b"000000000001"] * 2
        assert all(letter.by == BOX and letter.topic == names["health"] for letter in found)
        admin = KafkaAdminClient(**at(kafka))
        resource = ConfigResource(ConfigResourceType.TOPIC, names["health"], {"max.message.bytes": "1000000"})
        admin.alter_configs([resource])
        admin.close()
        letters.retry(found)
        assert not letters.letters()
    late = {(e.source, e.sequence) for e in OnTopics(at(kafka), names).events}
    assert {(first, 1), (second, 1)} <= late


def test_without_a_topic_for_dead_letters_what_follows_goes_on(
    kafka: Kafka, journal: Journal, topic_prefix: str
) -> None:
    names = make_topics(at(kafka), topic_prefix, max_message_bytes=60_000)
    journal.append([large("/site/camera/large", n, 100_000 if n == 1 else 500) for n in range(5)])
    with running(relay(journal, opened(kafka.bootstrap, prefix=topic_prefix), names)):
        until(lambda: all_sent(journal))
    seen = [e.sequence for e in OnTopics(at(kafka), names).events if e.source != BOX]
    assert seen == [0, 2, 3, 4]
    [(what, state, text)] = health(journal)
    assert (what, state) == ("bus", "note")
    assert "there is no dead letter" in text


def test_a_wrong_password_is_told_and_mended(
    secure_kafka: Kafka, journal: Journal, topic_prefix: str
) -> None:
    names = make_topics(at(secure_kafka), topic_prefix)
    admin = KafkaAdminClient(**at(secure_kafka))
    allow(admin, topic_prefix)
    admin.close()
    password = "wrong"

    def connect(topics: Sequence[str]) -> Sender:
        login = Credentials("box", password)
        return opened(secure_kafka.sasl_tls, security="SASL_SSL", ca=str(secure_kafka.ca), login=login)(
            topics
        )

    journal.append(Source(SEED).events(500))
    with running(relay(journal, connect, names)):
        until(lambda: health(journal))
        [(what, state, text)] = health(journal)
        assert (what, state) == ("bus", "raised")
        assert "refuses the user or password of [bus] credentials" in text
        password = USERS["box"]
        until(lambda: all_sent(journal))
    OnTopics(at(secure_kafka), names).agree(journal, what="the password was wrong, and was mended")
    assert [said[1] for said in health(journal)] == ["raised", "cleared"]


def allow(admin: KafkaAdminClient, name: str, *, whole: bool = False, write: bool = True) -> None:
    """The box may write to the topic, or to all whose names begin so."""
    kind = ACLResourcePatternType.LITERAL if whole else ACLResourcePatternType.PREFIXED
    pattern = ResourcePattern(ResourceType.TOPIC, name, kind)
    operations = [ACLOperation.DESCRIBE, ACLOperation.WRITE] if write else [ACLOperation.DESCRIBE]
    admin.create_acls([ACL("User:box", "*", each, ACLPermissionType.ALLOW, pattern) for each in operations])


def test_what_may_be_written_goes_on_while_another_topic_is_denied(
    secure_kafka: Kafka, journal: Journal, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.relay.REST_S", 3.0)
    names = make_topics(at(secure_kafka), topic_prefix)
    admin = KafkaAdminClient(**at(secure_kafka))
    allow(admin, topic_prefix, write=False)
    others = [family for family in FAMILIES if family != "alert"]
    for family in others:
        allow(admin, names[family], whole=True)
    login = Credentials("box", USERS["box"])
    connect = opened(secure_kafka.sasl, security="SASL_PLAINTEXT", login=login)
    source = Source(SEED)
    journal.append(source.events(500))
    with running(relay(journal, connect, names)):
        until(lambda: ("topics", "raised") in [said[:2] for said in health(journal)])
        time.sleep(4)  # it is tried again meanwhile
        journal.append(source.events(500))
        journal.flush()
        there = {family: names[family] for family in others}
        wanted = len(journal.read(0, 100_000, others))
        until(lambda: len({e.id for e in OnTopics(at(secure_kafka), there).events}) >= wanted)
        OnTopics(at(secure_kafka), there).agree(journal, others, what="alerts denied")
        allow(admin, names["alert"], whole=True)
        until(lambda: all_sent(journal))
        until(lambda: health(journal)[-1][:2] == ("topics", "cleared"))
        until(lambda: all_sent(journal))
    admin.close()
    OnTopics(at(secure_kafka), names).agree(journal, what="alerts denied, then allowed")
    [first, *_] = [text for what, state, text in health(journal) if (what, state) == ("topics", "raised")]
    assert f"denies this user the topic {names['alert']}" in first


@pytest.mark.slow
def test_an_expired_certificate_is_named(journal: Journal, tmp_path: Path) -> None:
    server = Kafka(tmp_path / "kafka", users=USERS)
    server.use_certificate("expired")
    try:
        started(server)
        with running(relay(journal, opened(server.tls, security="SSL", ca=str(server.ca)), names_of("x"))):
            until(lambda: health(journal))
        [(what, state, text)] = health(journal)
        assert (what, state) == ("bus", "raised")
        assert "expired; renew it" in text
    finally:
        server.remove()


@pytest.mark.slow
def test_the_brokers_disk_is_full(journal: Journal, tmp_path: Path, topic_prefix: str) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        need(ServerMissing(f"a small disk needs root: {mounted.stderr.strip()}"))
    server = Kafka(folder / "kafka")
    try:
        apache(started(server))
        names = make_topics(at(server), topic_prefix)
        source = Source(SEED)
        with running(relay(journal, opened(server.bootstrap), names)):
            journal.append(source.events(500))
            until(lambda: all_sent(journal))
            filler = folder / "filler"
            with filler.open("wb") as file:
                while True:
                    try:
                        file.write(bytes(1 << 16))
                        file.flush()
                    except OSError:
                        break
            journal.append(source.events(3000))
            until(lambda: ("bus", "raised") in [s[:2] for s in health(journal)] or not server.running, 90)
            filler.unlink()
            server.kill()  # Kafka halts by itself once its only disk has failed
            server.start()
            until(lambda: all_sent(journal))
        OnTopics(at(server), names).agree(journal, what="the broker's disk was full")
    finally:
        server.kill()
        subprocess.run(["umount", "-l", str(folder)], check=False)


class Ahead(SystemClock):
    """A wall clock that is five seconds ahead."""

    def wall_us(self) -> int:
        return super().wall_us() + 5_000_000


def test_a_clock_that_differs_from_the_brokers_is_told(
    kafka: Kafka, journal: Journal, topic_prefix: str
) -> None:
    names = make_topics(at(kafka), topic_prefix)
    journal.append(Source(SEED).events(300))
    with running(relay(journal, opened(kafka.bootstrap), names, clock=Ahead())):
        until(lambda: all_sent(journal))
        until(lambda: health(journal))
    [(what, state, text)] = health(journal)
    assert (what, state) == ("clock", "raised")
    assert "ahead of" in text
    with running(relay(journal, opened(kafka.bootstrap), names)):
        journal.note(BOX, Health(what="disk", state="note", message="so that something is sent"), 0)
        until(lambda: health(journal)[-1][:2] == ("clock", "cleared"))


def test_two_boxes_with_one_id_are_told_and_go_on(
    kafka: Kafka, journal: Journal, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.relay.MARK_S", 0.5)
    names = make_topics(at(kafka), topic_prefix)
    make_topics(at(kafka), topic_prefix, ["claims"])
    other = Journal(tmp_path / "other.db", SystemClock(), group_s=0.01)
    connect = opened(kafka.bootstrap, prefix=topic_prefix)
    with running(relay(journal, connect, names)):
        time.sleep(2)
        assert not health(journal)
        with running(relay(other, connect, names)):
            until(lambda: health(journal) and health(other))
            journal.append(Source(SEED).events(100))
            until(lambda: all_sent(journal) and all_sent(other))
        until(lambda: health(journal)[-1][1] == "cleared")
    for each in (journal, other):
        what, state, text = health(each)[0]
        assert (what, state) == ("box-id", "raised")
        assert text.startswith("two boxes with one id: 'test' are hosts")
    other.close()

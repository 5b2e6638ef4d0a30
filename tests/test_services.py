"""scripts/services and the servers that the tests start: really started, killed, paused, started again."""

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError
from minio import Minio
from minio.error import S3Error

from testbed.kafka import Kafka, answers
from testbed.postgis import PostGIS
from testbed.process import ServerMissing, free_port, started_at
from testbed.s3 import S3
from tests.servers import USERS, apache, started

SCRIPT = Path(__file__).parents[1] / "scripts/services"


def services(*arguments: str) -> tuple[int, dict]:
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments, "--json"], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_up_status_down(tmp_path: Path) -> None:
    """One command starts a server, once; the next finds it; what it held is there after down and up."""
    where = ("s3", "--dir", str(tmp_path))
    status, up = services("up", *where)
    if status and "missing" in up["s3"]["error"]:
        started(S3(tmp_path / "x"))
    assert status == 0
    store = up["s3"]
    client = Minio(store["endpoint"].removeprefix("http://"), store["access"], store["secret"], secure=False)
    client.make_bucket("kept")
    assert services("up", *where)[1]["s3"]["pid"] == store["pid"]
    assert services("status", *where) == (0, up)
    status, down = services("down", *where)
    assert status == 0
    assert not down["s3"]["running"]
    assert not started_at(store["pid"])
    assert services("status", *where)[0] == 1
    again = services("up", *where)[1]["s3"]
    try:
        assert again["endpoint"] == store["endpoint"]
        assert client.bucket_exists("kept")
    finally:
        assert services("down", "--wipe", *where)[0] == 0
    assert not (tmp_path / "s3").exists()


def test_a_service_that_is_none() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "up", "rabbit"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'rabbit' is no service; there are: kafka s3 postgis mosquitto" in done.stderr


def test_kafka_survives_kill_and_pause(tmp_path: Path) -> None:
    """What was acknowledged is read after a kill; a paused one answers nothing; a wiped one knows nothing."""
    with started(Kafka(tmp_path / "k")) as broker:
        apache(broker)
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.create_topics([NewTopic("t", num_partitions=1, replication_factor=1)])
        admin.close()
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
        for n in range(200):
            producer.send("t", b"%d" % n)
        producer.flush(30)
        broker.kill()
        assert not answers(broker.host, broker.port)
        broker.start()
        producer.close()
        consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
        consumer.assign([TopicPartition("t", 0)])
        got: list[bytes] = []
        while len(got) < 200:
            for records in consumer.poll(2_000).values():
                got += [record.value for record in records]
        consumer.close()
        assert got == [b"%d" % n for n in range(200)]

        broker.pause()
        # What it was at when it was stopped may still come out of it.
        assert not all(answers(broker.host, broker.port) for _ in range(3))
        broker.resume()
        broker.wait_ready()

        broker.wipe()
        broker.start()
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        assert "t" not in admin.list_topics()
        admin.close()


@pytest.mark.parametrize("way", ["tls", "sasl_tls", "sasl"])
def test_secure_kafka(secure_kafka: Kafka, way: str) -> None:
    """The three other listeners let in who has the CA and the password, and nobody else."""
    tls, sasl = way.endswith("tls"), way.startswith("sasl")
    values = {
        "bootstrap_servers": getattr(secure_kafka, way),
        "security_protocol": {"tls": "SSL", "sasl_tls": "SASL_SSL", "sasl": "SASL_PLAINTEXT"}[way],
        "bootstrap_timeout_ms": 5_000,
    }
    if sasl:
        name = "box"
        values |= {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": name,
                   "sasl_plain_password": USERS[name]}  # fmt: skip
    if tls:
        values["ssl_cafile"] = str(secure_kafka.ca)
    KafkaAdminClient(**values).close()
    wrong = {"ssl_cafile": str(secure_kafka.folder / "other.pem")} if tls else {"sasl_plain_password": "no"}
    with pytest.raises(KafkaError):
        KafkaAdminClient(**values | wrong)


def test_s3_rights_and_kill(tmp_path: Path) -> None:
    with started(S3(tmp_path / "s")) as store:
        bucket = store.new_bucket()
        netloc = store.endpoint.removeprefix("http://")
        owner = Minio(netloc, store.access, store.secret, secure=False)
        owner.put_object(bucket, "a", io.BytesIO(b"x" * 100_000), 100_000)
        store.kill()
        store.start()
        reader = Minio(netloc, store.reader_access, store.reader_secret, secure=False)
        assert reader.get_object(bucket, "a").read() == b"x" * 100_000
        with pytest.raises(S3Error, match="AccessDenied"):
            reader.put_object(bucket, "b", io.BytesIO(b"y"), 1)
        with pytest.raises(S3Error, match="NoSuchBucket"):
            owner.put_object("missing", "b", io.BytesIO(b"y"), 1)


def test_s3_with_tls(tmp_path: Path) -> None:
    with started(S3(tmp_path / "s", tls=True)) as store:
        assert store.endpoint.startswith("https://")  # ready() has verified its certificate


def test_postgis_survives_kill(database: str, postgis: PostGIS) -> None:
    """`database` has PostGIS; a cluster killed with a client in it knows what was committed."""
    with psycopg.connect(database) as link:
        assert link.execute("select st_astext(st_point(1, 2))").fetchone() == ("POINT(1 2)",)
    assert postgis.running
    own = started(PostGIS())
    try:
        with psycopg.connect(own.dsn) as link:
            link.execute("create table kept as select generate_series(1, 1000) n")
            link.commit()
            own.kill()
        own.start()
        assert own.sql("select count(*) from kept", "linli") == "1000"
        own.restart()
        assert own.sql("select count(*) from kept", "linli") == "1000"
    finally:
        own.remove()
    assert not own.folder.exists()


def test_orphans_are_reaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose test run was killed is ended by the next that starts one; one that was put up stays."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = (
        "import sys, os, signal\nfrom pathlib import Path\nfrom testbed.s3 import S3\n"
        "server = S3(Path(sys.argv[1]))\nserver.lasting = sys.argv[2] == 'lasting'\n"
        "server.start()\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    started(S3(tmp_path / "first")).remove()  # or the test is skipped
    left = {}
    for name in ("lasting", "orphan"):
        folder = tmp_path / name
        done = subprocess.run([sys.executable, "-c", program, str(folder), name], cwd=SCRIPT.parents[1])
        assert done.returncode == -9
        left[name] = S3(folder)
        assert left[name].running
    try:
        with started(S3(tmp_path / "next")) as server:
            assert server.running
            assert not left["orphan"].running
            assert left["lasting"].running
        assert not list((tmp_path / "cache/linli/running").iterdir())
    finally:
        for each in left.values():
            each.kill()


def test_a_server_that_ends_says_why() -> None:
    """A taken port is named at the start."""
    server = PostGIS()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        try:
            with pytest.raises(RuntimeError, match="Address already in use"):
                started(server)
        finally:
            server.remove()


def test_free_ports_are_below_those_lent_to_callers() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = {free_port() for _ in range(50)}
    assert max(ports) < first
    assert len(ports) > 25


def test_no_stand_in_where_servers_are_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java the stand-in is refused by LINLI_REQUIRE_SERVERS=1, with the mend."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LINLI_REQUIRE_SERVERS", "1")
    with pytest.raises(ServerMissing, match="apt-get install openjdk-17-jre-headless"):
        Kafka(tmp_path / "k").start()


def test_the_stand_in_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Java another broker answers, and is not taken for Apache Kafka."""
    monkeypatch.delenv("LINLI_REQUIRE_SERVERS", raising=False)
    real = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        broker = Kafka(tmp_path / "k")
        try:
            broker.start()
        except ServerMissing as error:
            pytest.skip(str(error))
        with broker:
            assert broker.stand_in
            assert not broker.describe()["apache"]
            monkeypatch.setenv("LINLI_REQUIRE_SERVERS", "1")
            with pytest.raises(ServerMissing, match="keeps nothing through a kill"):
                apache(broker)
    finally:
        monkeypatch.setenv("PATH", real)

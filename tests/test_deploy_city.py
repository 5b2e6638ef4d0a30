"""The city of deploy/compose.yaml without containers: its commands, in its order, with its site files and its
environment, on a real Kafka, S3 store, PostGIS and Prometheus. Only addresses and ports are others."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka.admin import KafkaAdminClient
from minio import Minio

from testbed.kafka import Kafka
from testbed.kafkajars import write_tools
from testbed.postgis import PostGIS
from testbed.process import ServerMissing, free_port
from testbed.s3 import S3
from tests.brightmodel import bright_model
from tests.servers import need, started

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
TOKENS = {"OFFICE_TOKEN": "office-" + "0" * 40, "METRICS_TOKEN": "metrics-" + "0" * 40}

pytestmark = pytest.mark.slow


class City:
    """The services of the compose file that are Linli's, as processes of this machine."""

    def __init__(self, folder: Path, addresses: dict[str, str], values: dict[str, str]) -> None:
        self.folder = folder
        self.ports: dict[str, int] = {}
        """Where each listens that does."""
        self.running: list[subprocess.Popen[bytes]] = []
        self.services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        self.addresses = addresses
        self.logins: dict[str, str] = {}
        """Of services on Kafka, where they need one."""
        self._values = values

    def site(self, name: str, path: Path) -> Path:
        """A copy of the service's site file with this machine's addresses and a port of its own."""
        text = path.read_text()
        self.ports[name] = free_port()
        listen = {'host = "0.0.0.0"': f'host = "127.0.0.1"\nport = {self.ports[name]}'}
        for old, new in (self.addresses | listen).items():
            text = text.replace(old, new)
        (self.folder / f"{name}.toml").write_text(text)
        return self.folder / f"{name}.toml"

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        service = self.services[name]
        mounted = next(mount for mount in service["volumes"] if mount.endswith("/etc/linli/site.toml:ro"))
        site = self.site(name, DEPLOY / mounted.partition(":")[0])
        assert service["command"][-1] == "/etc/linli/site.toml"
        environment = {key: self._filled(value) for key, value in service["environment"].items()}
        environment |= {
            "LINLI_DATA": str(self.folder / name),
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
        }
        if name in self.logins:
            environment["KAFKA_LOGIN"] = self.logins[name]
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [str(Path(sys.executable).parent / "linli"), *service["command"][:-1], str(site)]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd="/")
        self.running.append(process)
        return process

    def once(self, name: str) -> None:
        """A service that has to end well."""
        assert self.start(name).wait(90) == 0, self.log(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(60)
        self.running.clear()

    def _filled(self, value: str) -> str:
        """As compose puts values in."""
        return re.sub(r"\$\{(\w+)[^}]*\}", lambda found: self._values[found[1]], value)


def get(url: str, token: str = "") -> bytes:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200
        return bytes(answer.read())


def eventually(what: str, check: Callable[[], bool], within_s: float, explain: Callable[[], str]) -> None:
    until = time.monotonic() + within_s
    while True:
        try:
            if check():
                return
        except OSError:
            pass
        assert time.monotonic() < until, f"{what}: not within {within_s:.0f} s\n{explain()[-3000:]}"
        time.sleep(0.5)


@pytest.fixture
def city(kafka: Kafka, s3: S3, postgis: PostGIS, database: str, tmp_path: Path) -> Iterator[City]:
    if not postgis.sql("select 1 from pg_roles where rolname = 'linli'"):
        postgis.sql("create role linli login superuser")
    addresses = {
        '"kafka:9092"': f'"{kafka.bootstrap}"',
        "http://objects:8333": s3.endpoint,
        "postgresql://postgis/linli": f"postgresql://127.0.0.1:{postgis.port}/{database.rpartition('/')[2]}",
        "[telemetry]": f'[model]\nname = "{bright_model(tmp_path)}"\n\n[telemetry]',
        "192.0.2.10": "127.0.0.1:9",  # a camera that is switched off
    }
    values = {
        "S3_ACCESS": s3.access,
        "S3_SECRET": s3.secret,
        "STORE_PASSWORD": "any",
        "GATE_LOGIN": "a:b",
    } | TOKENS
    city = City(tmp_path, addresses, values)
    yield city
    city.stop()


def comes_up(city: City, postgis: PostGIS, database: str) -> None:
    """Start all, in the order of the compose file; ends when an event of the box is in the centre's store."""
    for name in ("topics", "tables", "bucket"):
        city.once(name)
    for name, url in (
        ("serve", city.services["serve"]["environment"]["LINLI_HEALTH"].replace("9464", "{}")),
        ("edge", "http://127.0.0.1:{}/healthz"),  # the image's own
    ):
        city.start(name)
        health = url.format(city.ports[name])
        eventually(
            f"{name} is well", lambda health=health: bool(get(health)), 60, lambda name=name: city.log(name)
        )
    name = database.rpartition("/")[2]
    eventually(
        "an event of the box is in the store",
        lambda: int(postgis.sql("select count(*) from events", name)) > 0,
        60,
        lambda: city.log("edge") + city.log("serve"),
    )


def test_the_city_comes_up(city: City, s3: S3, postgis: PostGIS, database: str) -> None:
    """Topics, tables and bucket are made; centre and box say that they are well; the box's events are in the
    centre's store; Prometheus reads both."""
    comes_up(city, postgis, database)
    client = Minio(s3.endpoint.removeprefix("http://"), s3.access, s3.secret, secure=False)
    assert client.bucket_exists("linli-east-gate")
    _prometheus_sees(city)


def test_the_city_behind_passwords(city: City, postgis: PostGIS, database: str, tmp_path: Path) -> None:
    """The same with TLS, a user each and the rights of deploy/kafka/acls.sh: they are enough, also for a box
    that shares its cameras with others."""
    users = {"maker": "pw-maker", "box": "pw-box", "centre": "pw-centre"}
    roles = {"topics": "maker", "serve": "centre", "edge": "box"}
    city.logins = {service: f"{user}:{users[user]}" for service, user in roles.items()}
    with started(Kafka(tmp_path / "kafka", users=users, acls=True)) as broker:
        try:
            write_tools(tmp_path / "tools")
        except ServerMissing as error:
            need(error)
        environment = os.environ | {
            "BOOTSTRAP": broker.bootstrap,
            "PATH": f"{tmp_path / 'tools'}:{os.environ['PATH']}",
        }
        for role, user in (("topics", "maker"), ("box", "box"), ("centre", "centre")):
            command = [str(DEPLOY / "kafka/acls.sh"), role, user, "tengzhou.linli"]
            subprocess.run(command, env=environment, check=True, capture_output=True)
        city.addresses['"kafka:9092"'] = f'"{broker.sasl_tls}"'
        city.addresses["[bus]\n"] = (
            "[cluster]\nshares = 2\n\n[bus]\n"
            f'security = "SASL_SSL"\nca = "{broker.ca}"\ncredentials = "env:KAFKA_LOGIN"\n'
        )
        city.logins["tables"] = city.logins["bucket"] = "nobody:reads-it"  # named in the site file
        comes_up(city, postgis, database)
        said = city.log("edge") + city.log("serve")
        assert "uthoriz" not in said, said
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        group = admin.describe_groups(["tengzhou.linli.shares"])["tengzhou.linli.shares"]
        assert [member["client_id"].partition(".")[0] for member in group["members"]] == ["edge-1"]
        admin.close()
        city.stop()


def _prometheus_sees(city: City) -> None:
    """The real Prometheus with the city's settings finds all its targets up."""
    program = shutil.which("prometheus")
    if program is None:
        need(ServerMissing("prometheus is missing: apt-get install prometheus"))
    own = free_port()
    (city.folder / "metrics-token").write_text(TOKENS["METRICS_TOKEN"])
    shutil.copytree(DEPLOY / "prometheus/rules", city.folder / "rules")
    settings = (DEPLOY / "city/prometheus.yml").read_text()
    for old, new in {
        "serve:9464": f"127.0.0.1:{city.ports['serve']}",
        "edge:8080": f"127.0.0.1:{city.ports['edge']}",
        "127.0.0.1:9090": f"127.0.0.1:{own}",
        "/run/secrets/metrics-token": str(city.folder / "metrics-token"),
        "scrape_interval: 15s": "scrape_interval: 1s",
    }.items():
        assert old in settings, old
        settings = settings.replace(old, new)
    (city.folder / "prometheus.yml").write_text(settings)
    log = city.folder / "prometheus.log"
    with log.open("wb") as out:
        options = (
            ("config.file", "prometheus.yml"),
            ("storage.tsdb.path", "tsdb"),
            ("web.listen-address", own),
        )
        command = [program, *(f"--{name}={_place(city.folder, value)}" for name, value in options)]
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=city.folder)
    city.running.append(process)

    def up() -> dict[str, str]:
        answer: Any = json.loads(get(f"http://127.0.0.1:{own}/api/v1/query?query=up"))
        return {row["metric"]["job"]: row["value"][1] for row in answer["data"]["result"]}

    wanted = {"linli-serve": "1", "linli-edge": "1", "prometheus": "1"}
    eventually(
        "Prometheus reads all", lambda: up() == wanted, 60, lambda: f"{up()} {log.read_text()[-2000:]}"
    )


def _place(folder: Path, value: str | int) -> str:
    return f"127.0.0.1:{value}" if isinstance(value, int) else str(folder / value)

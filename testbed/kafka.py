"""A real Apache Kafka for tests, benchmarks and the demo: one node in KRaft mode, on loopback.

    with Kafka(folder) as kafka:
        kafka.bootstrap                     # 127.0.0.1:port, no TLS, no password
        kafka.kill(); kafka.start()         # the same disk, the same port
        kafka.pause(); kafka.resume()       # it hangs

`Kafka(folder, users={"box": "password"})` listens in three more ways: `tls` (TLS alone), `sasl_tls`
(SASL/SCRAM-SHA-512 over TLS) and `sasl` (SCRAM without TLS); `ca` is the CA's certificate. With `acls=True`
nobody may do what no ACL allows, except who comes by `bootstrap`. The jars come from Maven Central, once.
Where they or Java 17 cannot be had, a stand-in answers in Kafka's language; `stand_in` says so: it keeps its
data in memory, so it is not for what has to survive a kill.
"""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from testbed.certificates import make_certificates
from testbed.kafkajars import java, kafka_jars, storage_tool
from testbed.process import Server, ServerMissing, find_wheel_program, free_port

STAND_IN = "noida-db==0.2.3"


class Kafka(Server):
    """A broker, and its controller in the same process.

    `settings`: more lines for server.properties. `host`: the address that it listens on and gives to clients.
    `under`: put before the command, for instance to run it in a network namespace.
    """

    kind: ClassVar[str] = "kafka"

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        acls: bool = False,
        settings: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        under: Sequence[str] = (),
    ) -> None:
        super().__init__(folder)
        self.host = host
        self.users = dict(users or {})
        self.heap_mb = 512
        self._acls = acls
        self._settings = dict(settings or {})
        self._under = tuple(under)

    @property
    def port(self) -> int:
        return int(self.keep("port", lambda: free_port(5)))

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def tls(self) -> str:
        return f"localhost:{self.port + 2}"

    @property
    def sasl_tls(self) -> str:
        return f"localhost:{self.port + 3}"

    @property
    def sasl(self) -> str:
        return f"{self.host}:{self.port + 4}"

    @property
    def ca(self) -> Path:
        """The certificate of the CA that signed the broker's."""
        return self.folder / "ca.pem"

    @property
    def stand_in(self) -> bool:
        """Is it not Apache Kafka?"""
        return bool(self.state.get("stand_in"))

    def prepare(self) -> None:
        try:
            self._libs = kafka_jars()
        except ServerMissing as error:
            self._prepare_stand_in(error)
            return
        self.state["stand_in"] = False
        if self.users and not (self.folder / "server.pem").exists():
            make_certificates(self.folder)
        (self.folder / "server.properties").write_text(self._properties())
        if not (self.data / "meta.properties").exists():
            self._format()

    def command(self) -> Sequence[str]:
        if self.stand_in:
            return [str(self._program), "start", "--only", "kafka", "--kafka-port", str(self.port), "--host",
                    self.host, "--data-dir", str(self.data)]  # fmt: skip
        memory = ("-Xms128M", f"-Xmx{self.heap_mb}M")
        return [
            *self._under,
            *java(self._libs, *memory),
            "kafka.Kafka",
            str(self.folder / "server.properties"),
        ]

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(self._program.parents[1])} if self.stand_in else {}

    def ready(self) -> bool:
        if self._under:  # it may be reached from its namespace alone
            probe = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n" + (
                f"from testbed.kafka import answers\nsys.exit(not answers({self.host!r}, {self.port}))"
            )
            command = [*self._under, sys.executable, "-c", probe]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        return answers(self.host, self.port)

    def describe(self) -> dict[str, Any]:
        said: dict[str, Any] = {"bootstrap": self.bootstrap, "apache": not self.stand_in}
        if self.users:
            said |= {"tls": self.tls, "sasl_tls": self.sasl_tls, "sasl": self.sasl, "ca": str(self.ca)}
            said |= {"mechanism": "SCRAM-SHA-512", "users": self.users}
        return said

    def use_certificate(self, name: str) -> None:
        """Show this certificate from the next start on: `server`, or `expired`."""
        self.keep("certificate", lambda: name)
        self.state["certificate"] = name
        self._save()

    def _prepare_stand_in(self, why: ServerMissing) -> None:
        if os.environ.get("LINLI_REQUIRE_SERVERS") == "1":
            raise why
        if self.users or self._under:
            raise ServerMissing(f"Kafka's stand-in has no users and no TLS, and {why}") from why
        self._program = find_wheel_program("noida-db", STAND_IN)
        self.data.mkdir(exist_ok=True)
        if not self.state.get("stand_in"):
            print(f"kafka: {why}; {STAND_IN} stands in, which forgets at a kill", file=sys.stderr)
        self.state["stand_in"] = True

    def _properties(self) -> str:
        port = self.port
        listeners = {"PLAINTEXT": (self.host, port), "CONTROLLER": (self.host, port + 1)}
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"{self.host}:{port + 1}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.data),
            "auto.create.topics.enable": "false",
            "delete.topic.enable": "true",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "2",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "log.cleaner.dedupe.buffer.size": "16777216",
            "controlled.shutdown.enable": "false",  # nobody takes its partitions over
        }
        if self.users:
            listeners |= {"TLS": ("localhost", port + 2), "SASLTLS": ("localhost", port + 3)}
            listeners |= {"SASL": (self.host, port + 4)}
            shown = self.state.get("certificate", "server")
            lines |= {
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.folder / f"{shown}.both.pem"),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.ca),
            } | {
                f"listener.name.{name}.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
                for name in ("sasl", "sasltls")
            }
        if self._acls:
            lines["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            lines["super.users"] = "User:ANONYMOUS"
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", "TLS": "SSL", "SASLTLS": "SASL_SSL",
                     "SASL": "SASL_PLAINTEXT"}  # fmt: skip
        where = {name: f"{name}://{host}:{number}" for name, (host, number) in listeners.items()}
        lines |= {
            "listeners": ",".join(where.values()),
            "advertised.listeners": ",".join(v for name, v in where.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": ",".join(f"{name}:{protocols[name]}" for name in listeners),
        }
        return "".join(f"{name}={value}\n" for name, value in (lines | self._settings).items())

    def _format(self) -> None:
        """Lay the disk out: Kafka refuses one that is not, and one that is another cluster's."""
        cluster = self.keep("cluster", lambda: storage_tool(self._libs, "random-uuid").split()[-1])
        arguments = ["format", "--standalone", "-t", cluster, "-c", str(self.folder / "server.properties")]
        for name, password in self.users.items():
            arguments += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        self.data.mkdir(exist_ok=True)
        storage_tool(self._libs, *arguments)


def answers(host: str, port: int) -> bool:
    """Does the broker know itself and a controller? Asks for metadata (version 4) as a client does."""
    body = struct.pack(">hhih", 3, 4, 1, -1) + struct.pack(">i?", 0, False)
    try:
        with socket.create_connection((host, port), timeout=2) as link:
            link.sendall(struct.pack(">i", len(body)) + body)
            length = struct.unpack(">i", _read(link, 4))[0]
            answer = _read(link, length)
    except (OSError, EOFError):
        return False
    brokers, at = struct.unpack_from(">i", answer, 8)[0], 12
    for _ in range(brokers):
        at += 4
        at += 2 + struct.unpack_from(">h", answer, at)[0] + 4
        at += 2 + max(0, struct.unpack_from(">h", answer, at)[0])
    at += 2 + max(0, struct.unpack_from(">h", answer, at)[0])
    return bool(brokers) and struct.unpack_from(">i", answer, at)[0] >= 0


def _read(link: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        part = link.recv(size - len(got))
        if not part:
            raise EOFError
        got += part
    return got

"""A real Mosquitto for tests and benchmarks: on loopback, with a folder of its own, restarted at will.

    with Mosquitto(folder) as broker:
        broker.url                      # mqtt://127.0.0.1:port
        broker.kill(); broker.start()   # what it had saved is there again

With `users` there are passwords; with `tls` it speaks TLS, with a certificate of a CA made on the spot
(`ca.pem` in the folder).
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

PACKAGES = "mosquitto mosquitto-clients"


class MosquittoMissing(Exception):
    """Mosquitto is not installed."""


class Mosquitto:
    """A broker; a context manager. `settings`: more lines for mosquitto.conf."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        tls: bool = False,
        settings: str = "",
        port: int = 0,
    ) -> None:
        binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if binary is None:
            raise MosquittoMissing(f"mosquitto is missing; install Debian's packages: {PACKAGES}")
        self.binary = binary
        self.folder = folder
        self.tls = tls
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_interval 1",
            "max_queued_messages 0",
            "max_inflight_messages 0",  # 20 by default: too few to wait for a commit with
            "log_type error",
            "log_type warning",
            f"log_dest file {folder}/mosquitto.log",
            "user root",
        ]
        if users is None:
            lines.append("allow_anonymous true")
        else:
            self._write_passwords(users)
            lines += ["allow_anonymous false", f"password_file {folder}/passwords"]
        if tls:
            make_certificates(folder)
            lines += [f"certfile {folder}/server.pem", f"keyfile {folder}/server.key"]
        (folder / "mosquitto.conf").write_text("\n".join([*lines, settings, ""]))

    @property
    def url(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{'localhost' if self.tls else '127.0.0.1'}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = [self.binary, "-c", str(self.folder / "mosquitto.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"mosquitto ended: {(self.folder / 'mosquitto.log').read_text()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("mosquitto does not listen")

    def stop(self) -> None:
        """As at a shutdown: it saves its state."""
        self._end("terminate")

    def kill(self) -> None:
        """As with kill -9: what it saved last is what it knows."""
        self._end("kill")

    def _end(self, how: str) -> None:
        process, self.process = self.process, None
        if process is not None:
            getattr(process, how)()
            process.wait(20)

    def _write_passwords(self, users: Mapping[str, str]) -> None:
        path = self.folder / "passwords"
        path.write_text("".join(f"{user}:{password}\n" for user, password in users.items()))
        path.chmod(0o600)
        tool = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
        subprocess.run([tool, "-U", str(path)], check=True)


def make_certificates(folder: Path) -> None:
    """A CA (ca.pem) and a certificate for localhost signed by it (server.pem, server.key); another CA
    (other.pem) that signed nothing."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for name in ("ca", "other"):
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN=test {name}", *usage)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key",
            "-out", "server.csr", "-subj", "/CN=localhost")  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", "server.pem")  # fmt: skip


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

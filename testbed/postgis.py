"""A real PostgreSQL with PostGIS for tests, benchmarks and the demo: on loopback, its data in a folder.

    with PostGIS() as server:
        dsn = server.new_database()         # an empty database with PostGIS in it
        server.kill(); server.start()       # the same disk, the same port

PostgreSQL refuses to run as root: for root it runs as Debian's user `postgres`, which has to be able to walk
to the folder (a folder that pytest made is closed to it; without one it makes its own).
"""

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from testbed.process import Server, ServerMissing, free_port

PACKAGES = "postgresql-15-postgis-3 postgis"
TEMPLATE = "linli_template"
_BASE = Path("/usr/lib/postgresql")


class PostGIS(Server):
    """A cluster. `settings`: of postgresql.conf. Who is on this machine may come in without a password."""

    kind: ClassVar[str] = "postgis"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # its "fast" shutdown: clients are sent away

    def __init__(self, folder: Path | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(folder or Path(tempfile.mkdtemp(prefix="linli-postgis-")))
        self._settings = dict(settings or {})

    @property
    def port(self) -> int:
        return int(self.keep("port", free_port))

    @property
    def dsn(self) -> str:
        """Of the database `linli`, which has PostGIS in it."""
        return self.dsn_of("linli")

    def dsn_of(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, bare: bool = False) -> str:
        """The DSN of a database of its own; `bare`: without the extension PostGIS."""
        name = f"t_{secrets.token_hex(6)}"
        self.sql(f'create database "{name}" template {"template0" if bare else TEMPLATE}')
        return self.dsn_of(name)

    def drop_database(self, dsn: str) -> None:
        """Drop it, and throw out who is in it."""
        self.sql(f'drop database if exists "{dsn.rpartition("/")[2]}" with (force)')

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql prints for it, bare."""
        command = [str(self._bin / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn_of(database)]
        patience = os.environ | {"PGCONNECT_TIMEOUT": "5"}
        done = subprocess.run(
            [*command, "-c", statement], capture_output=True, text=True, check=False, env=patience
        )
        if done.returncode:
            raise RuntimeError(f"PostgreSQL: {done.stderr.strip()}")
        return done.stdout.strip()

    def prepare(self) -> None:
        _ = self._bin
        if (self.data / "PG_VERSION").exists():
            (self.data / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
            return
        self.data.mkdir(exist_ok=True)
        if self.user():
            self.folder.chmod(0o711)
            subprocess.run(["chown", "postgres:", str(self.data)], check=True)
        command = [str(self._bin / "initdb"), "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E",
                   "UTF8", "--locale=C.UTF-8", "-N"]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", **self._as_user()
        )
        if done.returncode:
            self.data.rmdir()
            reach = " (the user postgres has to be able to walk to it: give another --dir)" * bool(
                self.user()
            )
            raise RuntimeError(f"initdb in {self.data}{reach}: {done.stderr.strip()}")

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "256MB",
        } | self._settings
        return [
            str(self._bin / "postgres"),
            "-D",
            str(self.data),
            *(f"--{k}={v}" for k, v in settings.items()),
        ]

    def user(self) -> str | None:
        return "postgres" if os.geteuid() == 0 else None

    def ready(self) -> bool:
        try:
            known = self.sql("select datname from pg_database").split()
        except RuntimeError:
            return False
        if TEMPLATE not in known:
            self.sql(f"create database {TEMPLATE}")
        self.sql("set client_min_messages = error; create extension if not exists postgis", TEMPLATE)
        if "linli" not in known:
            self.sql(f"create database linli template {TEMPLATE}")
        return True

    def describe(self) -> dict[str, Any]:
        return {"dsn": self.dsn}

    @property
    def _bin(self) -> Path:
        """Of the newest PostgreSQL here that has PostGIS."""
        versions = sorted((int(p.name) for p in _BASE.glob("*") if p.name.isdigit()), reverse=True)
        for version in versions:
            control = Path(f"/usr/share/postgresql/{version}/extension/postgis.control")
            if control.exists() and (_BASE / str(version) / "bin/initdb").exists():
                return _BASE / str(version) / "bin"
        raise ServerMissing(f"PostgreSQL with PostGIS is missing; install Debian's packages: {PACKAGES}")

"""`scripts/services`: the real Kafka, S3 store, PostGIS and Mosquitto on this machine, started and stopped by
one command; what is missing is fetched once. Standard library alone."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from testbed import mosquitto
from testbed.kafka import Kafka
from testbed.postgis import PostGIS
from testbed.process import ROOT, Server, ServerMissing, free_port, listens
from testbed.s3 import S3

_EPILOG = """The servers listen on 127.0.0.1 alone, on free ports that stay the same in one folder; their
passwords are made up on the spot. They need: kafka Java 17, Maven (its jars come from Maven Central, once);
s3 pip (once); postgis and mosquitto Debian's packages, which deploy/test-servers.sh installs with all others.
Only that installation needs root; started as root, PostgreSQL runs as the user postgres and the others as
root. `down` keeps the data; `down --wipe` deletes it."""


class Broker(Server):
    """Mosquitto, in the way of the others."""

    kind: ClassVar[str] = "mosquitto"

    @property
    def port(self) -> int:
        return int(self.keep("port", free_port))

    def prepare(self) -> None:
        self.data.mkdir(exist_ok=True)
        try:
            self._binary = mosquitto.Mosquitto(self.data, port=self.port).binary
        except mosquitto.MosquittoMissing as error:
            raise ServerMissing(str(error)) from error

    def command(self) -> Sequence[str]:
        return [self._binary, "-c", str(self.data / "mosquitto.conf")]

    def ready(self) -> bool:
        return listens(self.port)

    def describe(self) -> dict[str, Any]:
        return {"url": f"mqtt://127.0.0.1:{self.port}"}


KINDS: Mapping[str, type[Server]] = {each.kind: each for each in (Kafka, S3, PostGIS, Broker)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="scripts/services", description=__doc__, epilog=_EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("action", choices=("up", "down", "status"))
    parser.add_argument(
        "names", nargs="*", metavar="SERVICE", help=f"{' '.join(KINDS)}; all of them if none is named"
    )
    parser.add_argument("--dir", type=Path, help="where their data and logs are (default: var/services)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--wipe", action="store_true", help="with down: delete the data too")
    options = parser.parse_intermixed_args(arguments)
    for name in options.names:
        if name not in KINDS:
            parser.error(f"{name!r} is no service; there are: {' '.join(KINDS)}")
    names = options.names or list(KINDS)
    base = (options.dir or ROOT / "var/services").absolute()
    failed = False
    answer: dict[str, dict[str, Any]] = {}
    for name in names:
        server = KINDS[name](base / name) if options.action == "up" or (base / name).exists() else None
        try:
            answer[name] = _do(options.action, server, options.wipe)
        except (ServerMissing, RuntimeError, OSError) as error:
            failed = True
            answer[name] = {"running": False, "error": str(error)}
    _print(answer, options.json)
    return (
        1
        if failed or (options.action == "status" and not all(each["running"] for each in answer.values()))
        else 0
    )


def _do(action: str, server: Server | None, wipe: bool) -> dict[str, Any]:
    if server is None:
        return {"running": False}
    if action == "up":
        server.lasting = True
        server.start()
    elif action == "down":
        server.stop()
        if wipe:
            shutil.rmtree(server.folder)
            return {"running": False}
    pid = server.pid
    said = server.describe() if pid or "port" in server.state else {}
    return {"running": pid is not None, "pid": pid, **said, "log": str(server.log)}


def _print(answer: Mapping[str, Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, indent=1))
        return
    for name, facts in answer.items():
        if "error" in facts:
            print(f"{name}: {facts['error']}", file=sys.stderr)
            continue
        rest = " ".join(f"{key}={value}" for key, value in facts.items() if key != "running")
        print(f"{name}: running {rest}" if facts["running"] else f"{name}: not running")
    if os.geteuid() != 0 and any("error" in facts for facts in answer.values()):
        print("Debian's packages need root once: sudo deploy/test-servers.sh", file=sys.stderr)

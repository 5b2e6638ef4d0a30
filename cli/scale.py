"""The engines of `linli demo --scale`: real Kafka, S3 and PostGIS on this machine, by `scripts/services`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from events.errors import LinliError

SCRIPT = Path(__file__).parents[1] / "scripts" / "services"
NAMES = ("kafka", "s3", "postgis")
LOGIN = "LINLI_DEMO_OBJECTS"
BUCKET = "linli-demo"

TABLES = """
# The engines, started for this run by scripts/services. Events go by Kafka into PostGIS, footage to S3.
[bus]
bootstrap = ["{bootstrap}"]
prefix = "demo.linli"
projector = false

[store]
url = "{dsn}"

[objects]
url = "{endpoint}"
bucket = "{bucket}"
credentials = "env:{login}"

[serve]
port = 0
"""


class Engines:
    """The three servers, from `with` to its end. Their data stays in `folder` for the next run.

    Raises:
        LinliError: one of them cannot be had on this machine, and what is to be done.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        if not SCRIPT.exists():
            raise LinliError("the engines are started by scripts/services of a clone of the repository")
        click.echo("starting Kafka, S3 and PostGIS (the first time they are fetched) ...", err=True)
        done = self._run("up")
        try:
            self._said = json.loads(done.stdout)
        except ValueError:
            raise LinliError("scripts/services failed; it says why above") from None
        missing = [f"{name}: {said['error']}" for name, said in self._said.items() if "error" in said]
        if missing:
            self._run("down")
            raise LinliError("; ".join(missing))
        os.environ[LOGIN] = f"{self._said['s3']['access']}:{self._said['s3']['secret']}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("down")

    @property
    def tables(self) -> str:
        """The site file's tables that name them."""
        said = self._said
        return TABLES.format(
            bootstrap=said["kafka"]["bootstrap"],
            dsn=said["postgis"]["dsn"],
            endpoint=said["s3"]["endpoint"],
            bucket=BUCKET,
            login=LOGIN,
        )

    def prepare(self, site: Path) -> None:
        """Topics, tables and the bucket, as an operator makes them.

        Raises:
            LinliError: one of the commands failed; it has said why.
        """
        for command in (("topics", "apply"), ("store", "migrate"), ("objects", "apply")):
            linli = [sys.executable, "-P", "-m", "cli.main", *command, str(site)]
            if subprocess.run(linli, stdout=sys.stderr, check=False).returncode:
                raise LinliError(f"`linli {' '.join(command)} {site}` failed")

    def _run(self, action: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(SCRIPT), action, *NAMES, "--dir", str(self._folder), "--json"]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=None, text=True, check=False)

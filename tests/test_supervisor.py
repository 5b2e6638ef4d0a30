"""Supervised processes, real ones: restarted with backoff, drained in order, never orphaned."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from events.clock import SystemClock
from pipeline.supervisor import Child, Restart, Supervisor

ROOT = Path(__file__).parents[1]
CHILD = """
import sys, threading, time
from pathlib import Path
from pipeline.supervisor import ends_with_parent
stop = threading.Event()
ends_with_parent(stop)
print("up", flush=True)
Path(sys.argv[1]).touch()
stop.wait()
time.sleep(float(sys.argv[2]))
with open(sys.argv[3], "a") as order:
    order.write(Path(sys.argv[1]).name + "\\n")
"""
HOLDING = """
import os, signal, threading
from pipeline.supervisor import stops_on
stop = threading.Event()
stops_on(stop, signal.SIGTERM)
with stop._cond:  # as within stop.wait
    os.kill(os.getpid(), signal.SIGTERM)
raise SystemExit(0 if stop.wait(10) else "not set")
"""
SUPERVISOR = """
import sys, threading
from events.clock import SystemClock
from pipeline.supervisor import Child, Supervisor
Supervisor([Child("a", sys.argv[1:])], SystemClock()).run(threading.Event())
"""


def sound(folder: Path, name: str, last_s: float = 0.0, stage: int = 0) -> Child:
    """A process that drains for so long, and then writes its name."""
    argv = [sys.executable, "-c", CHILD, str(folder / name), str(last_s), str(folder / "order")]
    return Child(name, argv, stage)


def until(happened: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


class Running:
    """A supervisor in a thread."""

    def __init__(self, *children: Child, restart: Restart | None = None) -> None:
        self.fallen: list[tuple[str, int]] = []
        self.stop = threading.Event()
        self.supervisor = Supervisor(
            list(children),
            SystemClock(),
            restart or Restart(),
            fell=lambda name, code: self.fallen.append((name, code)),
        )
        self.thread = threading.Thread(target=self.supervisor.run, args=(self.stop,))

    def __enter__(self) -> "Running":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_children_drain_in_order(tmp_path: Path) -> None:
    """What produces first, what reads it last, although the first takes longer."""
    first, second = sound(tmp_path, "first", 0.5), sound(tmp_path, "second", stage=1)
    with Running(first, second):
        until(lambda: (tmp_path / "first").exists() and (tmp_path / "second").exists())
    assert (tmp_path / "order").read_text().split() == ["first", "second"]


def test_children_of_a_stage_drain_together(tmp_path: Path) -> None:
    slow = [sound(tmp_path, f"worker-{n}", 1.0) for n in range(3)]
    with Running(*slow) as run:
        until(lambda: all((tmp_path / child.name).exists() for child in slow))
        started = time.monotonic()
        run.stop.set()
        run.thread.join(20)
        took = time.monotonic() - started
    assert len((tmp_path / "order").read_text().split()) == 3
    assert took < 2.5  # one after the other they take three seconds and more


def test_a_child_that_ends_by_itself_ends_with_its_own_status() -> None:
    script = """
import sys, threading, time
from pipeline.supervisor import ends_with_parent
ends_with_parent(threading.Event())
time.sleep(0.2)
sys.exit(3)
"""
    with Running(Child("tired", [sys.executable, "-c", script])) as run:
        until(lambda: run.fallen)
    assert run.fallen[0] == ("tired", 3)


def test_a_killed_child_is_started_again_and_told(tmp_path: Path) -> None:
    child = sound(tmp_path, "worker")
    with Running(child, restart=Restart(first_s=0.1)) as running:
        until(lambda: (tmp_path / "worker").exists())
        (tmp_path / "worker").unlink()
        assert child.process is not None
        before = child.process.pid
        os.kill(before, signal.SIGKILL)
        until(lambda: (tmp_path / "worker").exists())
        assert child.process is not None
        assert child.process.pid != before
    assert running.fallen == [("worker", -signal.SIGKILL)]


def test_what_falls_at_once_is_restarted_ever_more_slowly() -> None:
    child = Child("broken", [sys.executable, "-S", "-c", "raise SystemExit(7)"])
    with Running(child, restart=Restart(first_s=0.2, most_s=5.0)) as running:
        time.sleep(2.6)
        falls = len(running.fallen)
    assert 2 <= falls <= 4  # after 0, 0.2, 0.4 and 0.8 s, and looks every 0.2 s
    assert set(running.fallen) == {("broken", 7)}


def test_the_delay_doubles_up_to_its_limit() -> None:
    restart = Restart(first_s=0.5, most_s=30)
    assert [restart.delay(n) for n in (0, 1, 2, 6, 60)] == [0.5, 1.0, 2.0, 30.0, 30.0]


def test_after_a_sound_run_the_delay_begins_anew() -> None:
    child = Child("short", [sys.executable, "-S", "-c", "import time; time.sleep(0.5)"])
    with Running(child, restart=Restart(first_s=0.1, sound_s=0.3)) as running:
        until(lambda: len(running.fallen) >= 3)
        assert child.restarts == 1


def test_it_ends_by_itself_when_the_time_is_over(tmp_path: Path) -> None:
    clock = SystemClock()
    supervisor = Supervisor([sound(tmp_path, "worker")], clock)
    started = clock.monotonic()
    supervisor.run(threading.Event(), started + 1.5)
    assert 1.4 < clock.monotonic() - started < 8
    assert (tmp_path / "order").read_text() == "worker\n"


def test_what_does_not_drain_is_killed(tmp_path: Path) -> None:
    child = sound(tmp_path, "stuck", 60)
    supervisor = Supervisor([child], SystemClock())
    supervisor._watch(child)
    until(lambda: (tmp_path / "stuck").exists())
    process = child.process
    assert process is not None
    supervisor.drain(timeout_s=0.3)
    assert process.returncode == -signal.SIGKILL


def test_children_of_a_killed_supervisor_end_by_themselves(tmp_path: Path) -> None:
    child = sound(tmp_path, "worker")
    command = [sys.executable, "-c", SUPERVISOR, *child.argv]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as supervisor:
        until(lambda: (tmp_path / "worker").exists())
        orphans = psutil.Process(supervisor.pid).children()
        supervisor.kill()
    assert orphans
    assert not psutil.wait_procs(orphans, 5)[1]
    assert (tmp_path / "order").read_text() == "worker\n"  # they drained, they were not killed


def test_a_child_does_not_hold_its_sisters_open(tmp_path: Path) -> None:
    """Each ends when its own pipe is closed, also while those started after it live on."""
    first, second = sound(tmp_path, "first"), sound(tmp_path, "second")
    supervisor = Supervisor([first, second], SystemClock())
    for child in (first, second):
        supervisor._watch(child)
        until(lambda child=child: (tmp_path / child.name).exists())  # type: ignore[misc]
    assert first.process is not None
    assert first.process.stdin is not None
    first.process.stdin.close()
    assert first.process.wait(5) == 0
    supervisor.drain()


def test_children_come_and_go_while_it_runs(tmp_path: Path) -> None:
    stays, comes = sound(tmp_path, "stays"), sound(tmp_path, "comes")
    with Running(stays) as run:
        until(lambda: (tmp_path / "stays").exists())
        assert stays.process is not None
        before = stays.process.pid
        run.supervisor.add(comes)
        with pytest.raises(ValueError, match="comes is there already"):
            run.supervisor.add(sound(tmp_path, "comes"))
        until(lambda: (tmp_path / "comes").exists())
        assert run.supervisor.remove(["comes", "nobody"], 10) == []
        assert (tmp_path / "order").read_text() == "comes\n"  # it drained
        time.sleep(0.5)
        assert stays.process.pid == before
        assert run.supervisor.falls() == {"stays": 0}
    assert run.fallen == []


def test_a_child_that_does_not_leave_is_killed_and_named(tmp_path: Path) -> None:
    with Running(sound(tmp_path, "stuck", 60), sound(tmp_path, "quick")) as run:
        until(lambda: (tmp_path / "stuck").exists() and (tmp_path / "quick").exists())
        assert run.supervisor.remove(["stuck", "quick"], 0.5) == ["stuck"]
    assert run.fallen == []


def test_a_child_that_is_not_sound_is_killed_and_started_again(tmp_path: Path) -> None:
    child = sound(tmp_path, "worker")
    child.sound = lambda running_s: "hangs" if running_s > 1.0 else ""
    with Running(child, restart=Restart(first_s=0.1)) as run:
        until(lambda: len(run.fallen) >= 2)
        assert run.supervisor.falls()["worker"] >= 2
    assert set(run.fallen) == {("worker", -signal.SIGKILL)}


def test_what_comes_first_comes_before_any_child_drains(tmp_path: Path) -> None:
    """Those who are drained by somebody else, and those who read what they wrote."""
    with Running(sound(tmp_path, "worker"), sound(tmp_path, "reader", stage=1)) as run:
        until(lambda: (tmp_path / "worker").exists() and (tmp_path / "reader").exists())
        removed: list[list[str]] = []
        run.supervisor.first = lambda: removed.append(run.supervisor.remove(["worker"], 10))
    assert removed == [[]]
    assert (tmp_path / "order").read_text().split() == ["worker", "reader"]


def test_a_signal_while_the_event_is_held_is_heard_and_hangs_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLDING], cwd=ROOT, timeout=30, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

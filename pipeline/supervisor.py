"""Supervised processes: started, watched, started again when they fall, drained in order at the end.

Each child holds the read end of a pipe as its standard input. When the supervisor closes it, or dies in any
way, the child sees the end of input and drains. So a killed supervisor leaves no orphan that records on.

Children come and go while it runs (`add` and `remove`, from any thread). One that is not sound any more, by
its own measure, is killed and started again.
"""

import _thread
import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from events.clock import Clock

log = logging.getLogger(__name__)

KILLED_S = 5.0
"""A process that was killed ends within so long, unless a disk holds it."""

STUCK_FALLS = 1000
"""As what one counts that does not."""


@dataclass(slots=True)
class Child:
    """One process to keep alive."""

    name: str
    argv: Sequence[str]
    stage: int = 0
    """Children of a lower stage drain before it, those of the same together."""
    sound: Callable[[float], str] = lambda running_s: ""
    """Asked while it runs, with the seconds since its start: why it must be killed; empty: all is well."""
    process: subprocess.Popen[bytes] | None = None
    killed_at: float = 0.0
    """When it was killed for not being sound; 0: it was not."""
    restarts: int = 0
    next_start: float = 0.0
    started: float = 0.0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """How soon a fallen process is started again: doubling from `first_s` to `most_s`, and from `first_s`
    once more after it ran for `sound_s`."""

    first_s: float = 0.5
    most_s: float = 30.0
    sound_s: float = 60.0

    def delay(self, falls: int) -> float:
        return min(self.most_s, self.first_s * 2.0 ** min(falls, 16))


@dataclass(slots=True)
class Supervisor:
    """Stages are in the order in which children drain: what produces first, what reads it last."""

    children: list[Child]
    clock: Clock
    restart: Restart = field(default_factory=Restart)
    fell: Callable[[str, int], None] = lambda name, code: None
    """Called with a child's name and exit code when it ended unasked."""
    first: Callable[[], None] = lambda: None
    """Called when the end has come, before anything is drained."""
    looked_at: float = 0.0
    """Monotonic time of the last look at the children; 0: it does not run yet."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, stop: threading.Event, until: float | None = None) -> None:
        """Keep the children alive until `stop` is set or monotonic time `until` has come, then drain."""
        try:
            while not stop.is_set() and (until is None or self.clock.monotonic() < until):
                self.looked_at = self.clock.monotonic()
                for child in self._now():
                    self._watch(child)
                stop.wait(0.2)
        finally:
            try:
                self.first()
            finally:
                self.drain()

    def add(self, child: Child) -> None:
        """One more; it is started at the next look, within 0.2 s, unless it has a process already."""
        with self._lock:
            child.started = self.clock.monotonic()
            if any(other.name == child.name for other in self.children):
                raise ValueError(f"{child.name} is there already")
            self.children.append(child)

    def remove(self, names: Iterable[str], timeout_s: float) -> list[str]:
        """Drain these, together, and forget them; answers those that took longer and were killed. Names that
        are not there are passed over."""
        wanted = set(names)
        with self._lock:
            gone = [child for child in self.children if child.name in wanted]
            self.children = [child for child in self.children if child.name not in wanted]
            ending = self._ask(gone)
        return self._await(ending, timeout_s)

    def falls(self) -> dict[str, int]:
        """How often each fell since it last ran soundly (`Restart.sound_s`). One that was killed and does not
        end, for the disk does not let it go, counts as one that fell often."""
        now = self.clock.monotonic()
        with self._lock:
            return {
                child.name: child.restarts
                + (STUCK_FALLS if child.killed_at and now - child.killed_at > KILLED_S else 0)
                for child in self.children
            }

    def drain(self, timeout_s: float = 60.0) -> None:
        """Ask all of a stage to end and wait, then the next stage; who takes too long is killed."""
        for stage in sorted({child.stage for child in self._now()}):
            with self._lock:
                ending = self._ask([child for child in self.children if child.stage == stage])
            self._await(ending, timeout_s)

    def _now(self) -> list[Child]:
        with self._lock:
            return list(self.children)

    @staticmethod
    def _ask(children: Iterable[Child]) -> "list[tuple[Child, subprocess.Popen[bytes]]]":
        """Ask them to end; answers those that have to."""
        ending = [(child, child.process) for child in children if child.process is not None]
        for child, process in ending:
            child.process = None
            assert process.stdin is not None
            process.stdin.close()
        return ending

    def _await(self, ending: "list[tuple[Child, subprocess.Popen[bytes]]]", timeout_s: float) -> list[str]:
        killed = []
        until = self.clock.monotonic() + timeout_s
        for child, process in ending:
            try:
                process.wait(max(until - self.clock.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                log.error("%s did not drain within %.0f s and is killed", child.name, timeout_s)
                process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):  # a disk that hangs holds it
                    process.wait(KILLED_S)
                killed.append(child.name)
        return killed

    def _watch(self, child: Child) -> None:
        with self._lock:
            if not any(child is one for one in self.children):  # it was removed between two looks
                return
            code = self._look(child)
        if code is not None:
            self.fell(child.name, code)

    def _look(self, child: Child) -> int | None:
        """Start it if it is time; answers its exit code if it ended unasked."""
        now = self.clock.monotonic()
        code = None
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                why = child.sound(now - child.started)
                if why and not child.killed_at:
                    log.error("%s %s, and is killed", child.name, why)
                    child.killed_at = now
                    child.process.kill()
                return None
            if now - child.started > self.restart.sound_s:
                child.restarts = 0
            wait = self.restart.delay(child.restarts)
            child.process, child.next_start, child.killed_at = None, now + wait, 0.0
            child.restarts += 1
            log.error("%s ended with code %d; it is started again in %.1f s", child.name, code, wait)
        if now >= child.next_start:
            child.started = now
            child.process = subprocess.Popen(child.argv, stdin=subprocess.PIPE)
        return code


def stops_on(stop: threading.Event, *signals: signal.Signals) -> None:
    """Each of the signals sets `stop`; a second one changes nothing.

    Not from within the handler: that runs wherever the main thread happens to be, and where this is in
    `stop.wait`, with the event's lock held, it would wait for itself for ever. Nor by `threading.Thread`,
    which takes a lock of its own to start.
    """
    for one in signals:
        signal.signal(one, lambda *_: _thread.start_new_thread(stop.set, ()))


def ends_with_parent(stop: threading.Event) -> None:
    """In a child: set `stop` when the supervisor closes our standard input or is gone."""

    def watch() -> None:
        # Not by sys.stdin: its lock, held by this thread, would abort an interpreter that ends itself.
        while os.read(0, 4096):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()

"""Supervised processes: started, watched, started again when they fall, drained in order at the end.

Each child holds the read end of a pipe as its standard input. When the supervisor closes it, or dies in any
way, the child sees the end of input and drains. So a killed supervisor leaves no orphan that records on.
"""

import logging
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from events.clock import Clock

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Child:
    """One process to keep alive."""

    name: str
    argv: Sequence[str]
    stage: int = 0
    """Children of a lower stage drain before it, those of the same together."""
    process: subprocess.Popen[bytes] | None = None
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

    def run(self, stop: threading.Event, until: float | None = None) -> None:
        """Keep the children alive until `stop` is set or monotonic time `until` has come, then drain."""
        try:
            while not stop.is_set() and (until is None or self.clock.monotonic() < until):
                for child in self.children:
                    self._watch(child)
                stop.wait(0.2)
        finally:
            self.drain()

    def drain(self, timeout_s: float = 60.0) -> None:
        """Ask all of a stage to end and wait, then the next stage; who takes too long is killed."""
        for stage in sorted({child.stage for child in self.children}):
            ending = [(c, c.process) for c in self.children if c.stage == stage and c.process is not None]
            for child, process in ending:
                child.process = None
                assert process.stdin is not None
                process.stdin.close()
            until = self.clock.monotonic() + timeout_s
            for child, process in ending:
                try:
                    process.wait(max(until - self.clock.monotonic(), 0.1))
                except subprocess.TimeoutExpired:
                    log.error("%s did not drain within %.0f s and is killed", child.name, timeout_s)
                    process.kill()
                    process.wait()

    def _watch(self, child: Child) -> None:
        now = self.clock.monotonic()
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                return
            if now - child.started > self.restart.sound_s:
                child.restarts = 0
            wait = self.restart.delay(child.restarts)
            child.process, child.next_start = None, now + wait
            child.restarts += 1
            log.error("%s ended with code %d; it is started again in %.1f s", child.name, code, wait)
            self.fell(child.name, code)
        if now >= child.next_start:
            child.started = now
            child.process = subprocess.Popen(child.argv, stdin=subprocess.PIPE)


def ends_with_parent(stop: threading.Event) -> None:
    """In a child: set `stop` when the supervisor closes our standard input or is gone."""

    def watch() -> None:
        # Not by sys.stdin: its lock, held by this thread, would abort an interpreter that ends itself.
        while os.read(0, 4096):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()

"""The workers of one of several boxes: one process for each share that it reads.

So a share that comes or goes touches no stream of another. A worker that says nothing any more, or whose
analysis does not move although packets wait, is killed and started again. A few spare processes, which have
loaded all but the cameras, wait for shares: when another box dies, its cameras are read sooner.
"""

import logging
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from events.clock import Clock
from pipeline.supervisor import Child, Supervisor

log = logging.getLogger(__name__)

STALE_S = 10.0
"""A worker writes its status every other second; one that has not for so long hangs, and so does one whose
analysis has not moved for so long."""

BEGIN_S = 300.0
"""Until its first status a worker loads its model and resumes what a kill left."""

PAUSE_S = 3.0
"""Between two looks at a status; after a longer pause we were held up ourselves, and the worker gets time."""

FALLS = 3
"""So often in a row a worker falls until it is called sick."""

SPARES = 2
"""Processes that wait for a share."""

SPARE_AFTER_S = 10.0
"""Spares are started when no share came for so long: what has to start at once goes first."""

TURN_S = 15.0
"""The supervisor looks after its children five times a second; if not for so long, it hangs."""


class _Pulse(msgspec.Struct, frozen=True):
    """What is asked of a worker's status."""

    stuck_s: float = 0.0


class StatusWatch:
    """Whether a worker is at work, by the status file that it writes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._seen: tuple[int, int] | None = None
        self._running_s = float("inf")
        self._began = False
        """The process that runs now has written its status."""
        self._changed_at = self._looked_at = clock.monotonic()

    def __call__(self, running_s: float) -> str:
        """Why it must be killed, `running_s` after its start; empty: it works, or begins."""
        now, stamp = self._clock.monotonic(), self._stamp()
        if running_s < self._running_s:  # another process than at the last look
            self._seen, self._began, self._changed_at = stamp, False, now
        if stamp != self._seen:
            self._seen, self._began, self._changed_at = stamp, True, now
        if now - self._looked_at > PAUSE_S:
            self._changed_at = now
        self._running_s, self._looked_at = running_s, now
        if self._began and (stuck_s := self._stuck_s()) > STALE_S:
            return f"has not moved for {stuck_s:.0f} s although packets wait"
        silent_s = now - self._changed_at
        if silent_s > (STALE_S if self._began else BEGIN_S):
            return f"has said nothing for {silent_s:.0f} s"
        return ""

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _stuck_s(self) -> float:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Pulse).stuck_s
        except (OSError, msgspec.DecodeError):
            return 0.0


class ShareCrew:
    """Starts and stops workers by a running supervisor.

    Args:
        children: the processes of a share, without a watch: its worker, and what goes with it; none for a
            share without cameras. The worker's name begins with `worker-`.
        spare: the command of a process that reads its share, a line, from its standard input and then is the
            share's worker; at the end of input it ends.
        status: where a share's worker writes its status.
        recover: the command that finishes and resumes what a killed worker of the share left, and ends.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        children: Callable[[int], Sequence[Child]],
        spare: Sequence[str],
        status: Callable[[int], Path],
        recover: Callable[[int], Sequence[str]],
        clock: Clock,
    ) -> None:
        self._supervisor = supervisor
        self._children, self._status, self._recover = children, status, recover
        self._spare = spare
        self._spares: list[subprocess.Popen[bytes]] = []
        self._closed = False
        self._came_at = clock.monotonic()
        self._clock = clock
        self._recovering: dict[int, threading.Thread] = {}
        self._lock = threading.Lock()

    def start(self, share: int) -> None:
        """Start the share's processes."""
        with self._lock:
            recovering = self._recovering.pop(share, None)
        if recovering is not None:  # two must not resume the same
            recovering.join()
        for child in self._children(share):
            if child.name.startswith("worker-"):
                child.sound = StatusWatch(self._status(share), self._clock)
                child.process = self._take_spare(share)
            self._supervisor.add(child)

    def stop(self, shares: Iterable[int], timeout_s: float) -> None:
        """Drain these; who takes longer is killed, and what it left is finished beside."""
        children = {share: [child.name for child in self._children(share)] for share in sorted(shares)}
        killed = set(self._supervisor.remove([n for names in children.values() for n in names], timeout_s))
        for share, names in children.items():
            if not self._closed:  # the last status is part of what a run says at its end
                self._status(share).unlink(missing_ok=True)
            if killed.intersection(names):
                thread = threading.Thread(
                    target=self._finish, args=(share,), name=f"recover-{share}", daemon=True
                )
                with self._lock:
                    self._recovering[share] = thread
                thread.start()

    def turn(self) -> None:
        """Called again and again: starts spares when there is time for it."""
        with self._lock:
            self._spares = [spare for spare in self._spares if spare.poll() is None]
            if len(self._spares) < SPARES and self._clock.monotonic() - self._came_at > SPARE_AFTER_S:
                self._spares.append(subprocess.Popen(self._spare, stdin=subprocess.PIPE))
                self._came_at = self._clock.monotonic()

    def close(self) -> None:
        """End the spares. What is stopped after it leaves its status."""
        with self._lock:
            self._closed = True
            spares, self._spares = self._spares, []
        for spare in spares:
            assert spare.stdin is not None
            spare.stdin.close()
        for spare in spares:
            try:
                spare.wait(5.0)
            except subprocess.TimeoutExpired:
                spare.kill()

    def sick(self) -> str:
        """Why no worker of this box comes up; empty: all is well, or some do."""
        looked_at = self._supervisor.looked_at
        silent_s = self._clock.monotonic() - looked_at
        if looked_at and silent_s > TURN_S:
            return f"the supervisor of the workers has hung for {silent_s:.0f} s"
        falls = [n for name, n in self._supervisor.falls().items() if name.startswith("worker-")]
        if falls and min(falls) >= FALLS:
            return f"no worker of this box comes up (each fell at least {min(falls)} times running)"
        return ""

    def _take_spare(self, share: int) -> "subprocess.Popen[bytes] | None":
        with self._lock:
            self._came_at = self._clock.monotonic()
            while self._spares:
                spare = self._spares.pop(0)
                assert spare.stdin is not None
                try:
                    spare.stdin.write(b"%d\n" % share)
                    spare.stdin.flush()
                except OSError:  # it is gone
                    continue
                if spare.poll() is None:
                    return spare
        return None

    def _finish(self, share: int) -> None:
        done = subprocess.run(self._recover(share), stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            log.error("what share %d left is not finished; it is when it is read here again", share)

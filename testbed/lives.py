"""A process that is killed again and again: each life is a fork, so that it begins within milliseconds.

The caller must have no threads of its own while it forks, and opens neither journal nor broker before.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable

from pipeline.supervisor import stops_on

_FORK = multiprocessing.get_context("fork")

Work = Callable[[threading.Event], None]
"""What a life does: until the event is set, if it is not killed before."""


class Life:
    """A running child. It ends when killed, when asked to stop, or when its work is done."""

    def __init__(self, work: Work) -> None:
        self._process = _FORK.Process(target=_live, args=(work,), daemon=True)
        self._process.start()

    @property
    def alive(self) -> bool:
        """It runs."""
        return self._process.is_alive()

    def kill(self) -> None:
        """SIGKILL: nothing is finished, flushed or said goodbye to."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()

    def pause(self) -> None:
        """SIGSTOP: it hangs."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """After `pause`."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def stop(self, timeout_s: float = 60.0) -> None:
        """Ask it to end, and wait.

        Raises:
            RuntimeError: it failed, or did not end; it is killed then.
        """
        if self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGTERM)
        self.wait(timeout_s)

    def wait(self, timeout_s: float = 60.0) -> None:
        """Until its work is done. Raises like `stop`."""
        self._process.join(timeout_s)
        if self._process.is_alive():
            self.kill()
            raise RuntimeError(f"the process did not end within {timeout_s:.0f} s")
        if self._process.exitcode:
            raise RuntimeError(f"the process failed with exit code {self._process.exitcode}")


def die() -> None:
    """In a life: SIGKILL to oneself, at an exact place of the code."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _live(work: Work) -> None:
    stop = threading.Event()
    stops_on(stop, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work(stop)

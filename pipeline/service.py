"""What runs beside the workers in a thread of its own: projector, evidence, housekeeping."""

import threading
from abc import ABC, abstractmethod


class Service(ABC):
    """A thread from `start` to `stop`. Whoever supervises it looks whether it is still `alive`."""

    stop_s = 30.0
    """How long `stop` waits for what is at hand."""
    last = False
    """Stops when the others have: it hands on what they said."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask(self) -> None:
        """Ask it to finish what is at hand and to end; `stop` waits for it. Several can end together so."""
        self._stop.set()

    def stop(self) -> None:
        """Finish what is at hand and end."""
        self.ask()
        self._thread.join(self.stop_s)

    @property
    def alive(self) -> bool:
        """The thread runs."""
        return self._thread.is_alive()

    @abstractmethod
    def _run(self) -> None:
        """The thread: works until `_stop` is set."""

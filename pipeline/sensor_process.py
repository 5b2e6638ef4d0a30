"""The sensors' process: connections, hub and journal, started and stopped in order."""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from events.errors import LinliError
from ingest.intakeserver import IntakeServer
from ingest.mqtt import Subscriber
from pipeline.sensors import SensorHub
from storage.journal import Journal

log = logging.getLogger(__name__)


class SensorProcess:
    """Runs from `run` until `stop` is set. What came until then is committed and acknowledged."""

    def __init__(
        self,
        hub: SensorHub,
        subscribers: Sequence[Subscriber],
        server: IntakeServer | None,
        journal: Journal,
    ) -> None:
        self.hub, self.subscribers, self.server, self.journal = hub, tuple(subscribers), server, journal

    def start(self) -> None:
        """Begin. Raises ConfigError if the intake's address cannot be had."""
        if self.server is not None:
            self.server.start()
        self.hub.start()
        for subscriber in self.subscribers:
            subscriber.start()

    def stop(self) -> None:
        """Take no more, commit and acknowledge what came."""
        for subscriber in self.subscribers:
            subscriber.stop()
        if self.server is not None:
            self.server.stop()
        self.hub.stop()
        self.journal.close()

    def run(self, stop: threading.Event, status: Path) -> None:
        """Work until `stop` is set.

        Raises:
            LinliError: a part ended unasked; the supervisor starts the process again.
        """
        self.start()
        try:
            while not stop.wait(2.0):
                self._write(status)
                alive = [self.hub.alive, *(subscriber.alive for subscriber in self.subscribers)]
                if not all(alive) or (self.server is not None and not self.server.alive):
                    raise LinliError("a part of the sensors' process ended unasked; the log says why")
        finally:
            self.stop()
            self._write(status)

    def _write(self, status: Path) -> None:
        try:
            self.hub.write(status, sum(subscriber.dropped for subscriber in self.subscribers))
        except OSError as error:  # a full disk; the readings wait, too
            log.error("cannot write %s: %s", status, error.strerror)

"""What the site file's [telemetry] asks for: traces of events, and figures of a box that has no page."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cli.settings import Settings
from console.statusserver import Check, StatusServer
from events.bus import Record
from events.clock import Clock
from pipeline.figures import RunFigures
from pipeline.service import Service
from pipeline.telemetry import Arrived, TelemetrySettings, Tracer, open_tracer
from storage.journal import Journal

Seen = Callable[[Sequence[Record], int, int], None]
"""Told of records that are in the store, with the wall clock (us) before and after."""


def tracer(settings: Settings, clock: Clock) -> Tracer | None:
    """What sends traces; None where the site names no collector.

    Raises:
        ConfigError: the libraries are not there.
    """
    section = settings.file.telemetry
    wanted = TelemetrySettings(
        otlp=section.otlp, sample=section.sample, box=settings.box, site=settings.file.site.id
    )
    return open_tracer(wanted, clock)


class Traces(Service):
    """A box's tracer among its services: the relay and the projector tell it, and it ends after them."""

    last = True

    def __init__(self, tracer: Tracer, journal: Journal, clock: Clock, *, relayed: bool) -> None:
        """`relayed`: the box has a relay, which tells of the journal's commits as well."""
        self._tracer = tracer
        self._journal = journal
        self._clock = clock
        self._relayed = relayed
        super().__init__("traces")

    def sent(self, arrived: Sequence[Arrived]) -> None:
        """For the relay."""
        self._tracer.relayed(arrived, self._clock.wall_us(), self._committed)

    def seen(self, records: Sequence[Record], began_us: int, ended_us: int) -> None:
        """For the box's own projector."""
        if not self._relayed:
            self._tracer.journalled(records, self._committed)
        self._tracer.projected(records, began_us, ended_us, "projector")

    def _committed(self, offset: int) -> int | None:
        return self._journal.waiting_since(offset - 1)  # that of the event itself: nothing lies between

    def start(self) -> None:
        """It has a thread of its own already."""

    def ask(self) -> None:
        """It ends when the others have."""

    def stop(self) -> None:
        """Send what waits."""
        self._tracer.close()

    @property
    def alive(self) -> bool:
        """Traces are no reason to start anything again."""
        return True

    def _run(self) -> None:
        """Nothing: see `start`."""


@contextlib.contextmanager
def status(
    settings: Settings, run: Path, opened: Callable[[], Journal], services: Sequence[Service], clock: Clock
) -> Iterator[None]:
    """Within it a box without a page tells machines how it is, if the site asks for that.

    Args:
        run: the folder of status files.
        opened: opens the journal.
    """
    address = settings.file.telemetry.metrics
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    journal = opened()

    def threads() -> str:
        fallen = sum(not service.alive for service in services)
        return f"{fallen} of {len(services)} services have ended; the log says why" if fallen else ""

    def writes() -> str:
        journal.last_offset()
        return journal.stats().problem

    checks = [Check("services", threads, alive=True), Check("journal", writes, alive=True)]
    figures = [RunFigures(run, journal, clock)]
    server = StatusServer(host.strip("[]"), int(port), figures, checks, table="[telemetry]")
    try:
        server.start()
        yield
    finally:
        server.stop()
        journal.close()

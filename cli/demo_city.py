"""The demo's neighbourhood: synthetic, imported as a city's own files are, for the page's map and inbox.

Tokens for the demo's other roles lie in the data folder (`secrets/`, mode 600), for whoever wants to play
them through the HTTP API; who sits at the machine is the supervisor.
"""

import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from city.rights import WHOLE, Actor
from cli import cityhall
from cli.settings import Settings
from desk import synth
from desk.hotlinefile import HotlineFile
from desk.mapimport import MapDesk
from events.clock import Clock
from events.errors import LinliError
from pipeline.projector import Projector
from storage.logbus import LogBus

DAY_US = 86_400_000_000
ROLES = (
    *("operator", "clerk", "dispatcher", "handler", "checker", "grid-worker", "administrator", "auditor"),
    "hotline",
)
"""Grants of the demo's site file with a token each."""
CLERK = Actor("demo", "administrator", WHOLE)
WAIT_S = 60.0


def make_tokens(data: Path) -> None:
    """A token for each of the demo's roles, where there is none yet."""
    folder = data / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for role in ROLES:
        path = folder / role
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(secrets.token_hex(24) + "\n")


def prepare(settings: Settings, clock: Clock, progress: Callable[[str, float], None]) -> None:
    """Make the neighbourhood and import it, once for a data folder.

    Raises:
        LinliError: something of it was not taken.
    """
    hall = cityhall.opened(settings, clock)
    projector = Projector(
        LogBus(hall.journal, clock), hall.store, clock, group="demo-city", families=cityhall.CITY_FAMILIES
    )
    try:
        if len(hall.store.features.jurisdictions()):
            return
        progress("a synthetic neighbourhood", 0.0)
        folder = settings.data / "synthetic"
        synth.small(folder, end_day=clock.wall_us() // DAY_US)
        projector.start()
        desk = cityhall.map_desk(settings, hall, clock)
        taken = _Taken(hall, clock)
        for file, what in synth.LAYERS.items():
            if what != "camera":  # those of the site file are entered by the desk itself
                _load(desk, folder / f"{file}.geojson", what)
                taken.wait()
        for file, what in (("components", "component"), ("units", "unit")):
            _load(desk, folder / f"{file}.csv", what)
        taken.wait()
        progress("a synthetic neighbourhood", 0.5)
        _registers(settings, hall, clock, folder, taken)
        _appeals(settings, hall, clock, folder)
        taken.wait()
        progress("a synthetic neighbourhood", 1.0)
    finally:
        if projector.alive:
            projector.stop()
        hall.journal.forget_consumer("demo-city")
        hall.close()


class _Taken:
    """Waits until the store has what was journaled."""

    def __init__(self, hall: cityhall.Hall, clock: Clock) -> None:
        self._hall = hall
        self._clock = clock

    def wait(self) -> None:
        """Raises LinliError: it has not in time."""
        hall = self._hall
        hall.journal.flush()
        until = self._clock.monotonic() + WAIT_S
        while hall.journal.count(hall.store.offset(hall.journal.id), cityhall.CITY_FAMILIES):
            if self._clock.monotonic() > until:
                raise LinliError("the city's store does not take what is imported; the log says why")
            threading.Event().wait(0.02)


def _load(desk: MapDesk, path: Path, what: str) -> None:
    report = desk.load(path, what, CLERK).report
    if report.rejected:
        first = report.rejected[0]
        raise LinliError(f"{path.name}: {len(report.rejected)} rows rejected, first {first.row}: {first.why}")


def _registers(settings: Settings, hall: cityhall.Hall, clock: Clock, folder: Path, taken: _Taken) -> None:
    importer = cityhall.register_import(settings, hall, clock)
    for file, what in (("homes", "home"), ("persons", "person")):
        report = importer.file(folder / f"{file}.csv", what, CLERK, purpose="demo")  # type: ignore[arg-type]
        if report.rejected:
            raise LinliError(f"{file}: {report.rejected} rows rejected, first: {report.first[0].why}")
        taken.wait()


def _appeals(settings: Settings, hall: cityhall.Hall, clock: Clock, folder: Path) -> None:
    if "appeal" not in hall.packs:
        return
    done = cityhall.hotline_import(settings, hall, clock).run(HotlineFile(folder / "appeals.csv"), who="demo")
    if done.reasons:
        raise LinliError(f"appeals.csv: {dict(done.reasons)}")

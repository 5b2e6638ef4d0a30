"""A desk without people: the importers over a journal, a store and its vault, and what projects.

with Intake(folder / "city.db", folder / "vault.db", folder, made) as desk:
    desk.layers()
    desk.register("persons.csv", "person")
    desk.projected()
"""

from pathlib import Path
from typing import Literal, Self

from city.calendars import shipped as calendar
from city.packs import shipped as packs
from city.rights import WHOLE, Actor
from city.services import shipped as services
from desk import synth
from desk.hotlinefile import HotlineFile
from desk.hotlineimport import Done, HotlineImport
from desk.mapbatch import Loaded
from desk.mapimport import MapDesk
from desk.registerimport import RegisterImport, Report, areas_of
from desk.synthground import DIVISION
from events.clock import SystemClock
from pipeline.projector import catch_up
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.logbus import LogBus
from storage.objects import FolderObjects

AT_ONCE = 4000
"""Events of a batch, as the projector takes them."""
ACTOR = Actor(who="intake", role="administrator", place=WHOLE)
SITE = "intake"
MASTER = bytes(range(32))


class Intake:
    """See the module's text.

    Args:
        store, vault: a file or `postgresql://...`.
        folder: where objects and journal lie.
        city: folder that `linli synth` made.
    """

    def __init__(self, store: Path | str, vault: Path | str, folder: Path, city: Path) -> None:
        self.city = city
        self.clock = SystemClock()
        self.objects = FolderObjects(folder / "objects")
        self.vault = Vault(vault, MASTER)
        self.store = CityStore(store, self.objects, self.vault)
        self.journal = Journal(folder / "journal.db", self.clock)
        self._bus = LogBus(self.journal, self.clock).subscribe("intake", start=self.store.offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.close()
        self.journal.close()
        self.store.close()
        self.vault.close()

    def projected(self) -> None:
        """All that is in the journal is in the store."""
        self.journal.flush()
        while catch_up(self._bus, self.store, limit=AT_ONCE):
            pass

    def project(self, timeout_s: float) -> int:
        """One step; answers how many records came within the time."""
        return catch_up(self._bus, self.store, timeout_s=timeout_s, limit=AT_ONCE)

    def taken(self) -> None:
        """Wait until another process has projected all that is in the journal."""
        self.journal.flush()
        last = self.journal.last_offset()
        while self.store.offset(self.journal.id) < last:
            self.clock.sleep(0.01)

    def layer(self, file: str, what: str) -> Loaded:
        """A file for the map."""
        desk = MapDesk(self.journal, self.store, self.objects, self.clock, SITE, DIVISION)
        return desk.load(self.city / file, what, ACTOR)

    def layers(self) -> dict[str, Loaded]:
        """All layers of the synthetic city, each projected before the next is read."""
        found = {}
        for part, what in synth.LAYERS.items():
            found[what] = self.layer(f"{part}.geojson", what)
            self.projected()
        return found

    def register(self, file: str, what: Literal["person", "home"]) -> Report:
        """A survey."""
        desk = RegisterImport(
            SITE, self.journal, self.store.registers, self.objects, self.vault, self.clock,
            areas_of(self.store.features),
        )  # fmt: skip
        return desk.file(self.city / file, what, ACTOR)

    def appeals(self, file: str = "appeals.csv") -> Done:
        """A hotline's records."""
        desk = HotlineImport(
            self.journal, self.store, self.objects, self.vault, self.clock, SITE, packs()["appeal"],
            calendar(), services(),
        )  # fmt: skip
        return desk.run(HotlineFile(self.city / file), who=ACTOR.who)

"""How `benchmarks.city` brings a city in: through the importers that everybody uses, then projected."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil

from benchmarks.city_serve import Where, place
from benchmarks.common import say
from city.calendars import shipped as calendar
from city.components import shipped as classes
from city.features import Feature, to_line
from city.packs import shipped as packs
from city.rights import WHOLE, Actor
from city.services import shipped as services
from desk import synth
from desk.hotlinefile import HotlineFile
from desk.hotlineimport import HotlineImport
from desk.mapcheck import Checker
from desk.mapfiles import read
from desk.registerimport import RegisterImport
from desk.synthground import DIVISION, Ground, Plan
from events.bus import Record
from events.civic import PlacesImported, desk_source
from events.clock import SystemClock
from pipeline.projector import catch_up
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.logbus import LogBus
from storage.objects import FolderObjects
from testbed.casestories import Matters

AT_ONCE = 4000
"""Events of a batch, as the projector takes them."""
ACTOR = Actor(who="bench", role="administrator", place=WHOLE)


class Meter:
    """Seconds of the wall and of this process's processor, by what was done."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    @contextmanager
    def of(self, name: str, rows: int) -> Iterator[None]:
        """Within it so many rows are brought in."""
        wall, own = time.perf_counter(), time.process_time()
        yield
        wall, own = time.perf_counter() - wall, time.process_time() - own
        self.found[name] = {
            "rows": rows, "per_s": round(rows / wall), "seconds": round(wall, 1),
            "own_share": round(own / wall, 2),
        }  # fmt: skip
        say(f"  {name}: {self.found[name]}")


class Loader:
    """A desk's parts over an empty store.

    Args:
        where: store, vault, objects; the journal lies beside the objects.
        city: folder of `linli synth`.
    """

    def __init__(self, where: Where, city: Path) -> None:
        self.city = city
        self.clock = SystemClock()
        self.store: CityStore = where.open()
        self.objects = FolderObjects(Path(where.objects))
        self.vault = Vault(place(where.vault), where.master)
        self.journal = Journal(Path(where.objects).parent / "journal.db", self.clock)
        self.bus = LogBus(self.journal, self.clock).subscribe("bench", start=self.store.offset)
        self.meter = Meter()

    def projected(self) -> None:
        """All that is in the journal is in the store."""
        while catch_up(self.bus, self.store, limit=AT_ONCE):
            pass

    def timed(self, name: str, rows: int, work: Callable[[], Any]) -> None:
        """One import, till it is in the store."""
        with self.meter.of(name, rows):
            with self.meter.of(f"{name}_read", rows):
                work()
            self.projected()

    def layer(self, name: str, what: str) -> None:
        """A file for the map."""
        path = self.city / name
        tree = self.store.features.jurisdictions()
        checker = Checker(
            what, fields={}, tree=tree, city=DIVISION, table=classes(), zone=ZoneInfo("Asia/Shanghai"),
            actor=ACTOR,
        )  # fmt: skip
        found: list[Feature] = [one for chunk in read(path) for one, _ in checker.features(chunk)]
        assert not checker.rejected, checker.rejected[:3]
        body = b"".join(map(to_line, sorted(found, key=lambda one: one.id)))
        key = f"places/{what}/{sha256(body).hexdigest()[:32]}"
        self.objects.put(key, body)
        data = PlacesImported(
            what=what, object=key, sha256=sha256(body).hexdigest(), rows=len(found), valid_us=1, who="bench"
        )
        self.journal.note(desk_source("bench"), data, self.clock.wall_us())
        self.journal.flush()

    def register(self, name: str, what: str) -> None:
        """A survey."""
        areas = {one.id: one.area for one in self.store.features.every("building")}
        desk = RegisterImport(
            "bench", self.journal, self.store.registers, self.objects, self.vault, self.clock,
            lambda building: areas.get(building, ""),
        )  # fmt: skip
        report = desk.file(self.city / name, what, ACTOR)  # type: ignore[arg-type]
        assert report.taken == report.rows, report

    def appeals(self) -> None:
        """A hotline's records."""
        desk = HotlineImport(
            self.journal, self.store, self.objects, self.vault, self.clock, "bench", packs()["appeal"],
            calendar(), services(),
        )  # fmt: skip
        done = desk.run(HotlineFile(self.city / "appeals.csv"), who="bench")
        assert done.taken == done.rows, done
        self.meter.found["appeals_linked"] = done.linked

    def matters(self, ground: Ground, holders: list[str], count: int, end_us: int) -> None:
        """Events of grid matters, projected as they come over the bus."""
        spots = [(grid.code, (lon, lat)) for grid in ground.grids for lon, lat in ground.ring(grid.rect)[:1]]
        events = Matters(spots, holders, end_us).events(count)
        records = [Record(n, event, "bench") for n, event in enumerate(events, 1)]
        with self.meter.of("case_events", count):
            for first in range(0, count, AT_ONCE):
                self.store.apply("bench", records[first : first + AT_ONCE])

    def close(self) -> None:
        """Release everything."""
        self.bus.close()
        self.journal.close()
        self.store.close()
        self.vault.close()


def load(where: Where, city: Path, plan: Plan, seed: int, holders: list[str], events: int) -> dict[str, Any]:
    """Everything, in the order in which a city would do it; answers rates by what was brought in."""
    loader = Loader(where, city)
    for part, what in synth.LAYERS.items():
        loader.timed(
            what, _rows(city / f"{part}.geojson") - 2, lambda p=part, w=what: loader.layer(f"{p}.geojson", w)
        )
    loader.timed("component", plan.components, lambda: loader.layer("components.csv", "component"))
    loader.timed("unit", plan.units, lambda: loader.layer("units.csv", "unit"))
    loader.timed("homes", plan.homes, lambda: loader.register("homes.csv", "home"))
    loader.timed("persons", plan.persons, lambda: loader.register("persons.csv", "person"))
    loader.timed("appeals", plan.appeals, loader.appeals)
    end_us = (synth.SURVEY_DAY + 1) * 86_400_000_000
    loader.matters(Ground(plan, seed), holders, events, end_us)
    loader.meter.found["rss_mib"] = round(psutil.Process().memory_info().rss / 2**20)
    loader.close()
    return loader.meter.found


def _rows(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

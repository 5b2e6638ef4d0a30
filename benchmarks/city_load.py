"""How `benchmarks.city` brings a city in: through the importers that everybody uses, projected meanwhile by a
process of its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.city_serve import Where, place
from benchmarks.common import say
from desk import synth
from desk.synthground import Ground, Plan
from events.bus import Record
from events.civic import RegisterImported
from storage.city.appeals import WHAT
from storage.city.batches import entry_of_batch
from storage.city.vault import Vault
from storage.journal import Journal
from storage.objects import FolderObjects
from testbed.casestories import Matters, Spot
from testbed.intake import AT_ONCE, MASTER, Intake


def _project(where: Where, city: Path, stop: Event) -> None:
    """The desk's own process: from the journal into the store, until the end."""
    with Intake(place(where.store), place(where.vault), Path(where.folder), city) as desk:
        while not stop.is_set():
            desk.project(0.2)


@contextmanager
def projecting(where: Where, city: Path) -> Iterator[psutil.Process]:
    """Beside it a process projects, as beside `linli run`; answers it."""
    context = get_context("spawn")
    stop = context.Event()
    child = context.Process(target=_project, args=(where, city, stop))
    child.start()
    try:
        yield psutil.Process(child.pid)
    finally:
        stop.set()
        child.join()


class Meter:
    """Seconds of the wall, and of the processor that this process and the projecting one took, by what was
    done."""

    def __init__(self, other: psutil.Process) -> None:
        self.found: dict[str, Any] = {}
        self._other = other

    def _own(self) -> float:
        times = self._other.cpu_times()
        return time.process_time() + float(times.user + times.system)

    @contextmanager
    def of(self, name: str, rows: int) -> Iterator[None]:
        """Within it so many rows are brought in."""
        wall, own = time.perf_counter(), self._own()
        yield
        wall, own = time.perf_counter() - wall, self._own() - own
        self.found[name] = {
            "rows": rows, "per_s": round(rows / wall), "seconds": round(wall, 1),
            "own_share": round(own / wall, 2),
        }  # fmt: skip
        say(f"  {name}: {self.found[name]}")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be brought in."""

    city: str
    """Folder of `linli synth`."""
    plan: Plan
    seed: int
    holders: list[str]
    """Organisations that handle matters."""
    events: int
    """Of matters."""
    before: Where | None = None
    """A store that has it all: a hotline's records, which take the longest to read, are taken from its
    journal, sealed anew; None: from their file."""


def at_rest(where: Where) -> None:
    """After so much at once PostgreSQL is given what its autovacuum does by itself within some minutes."""
    if not where.store.startswith("postgresql://"):
        return
    import psycopg

    for dsn in (where.store, where.vault):
        with psycopg.connect(dsn, autocommit=True) as link:
            link.execute("VACUUM (ANALYZE)")
            link.execute("CHECKPOINT")


def load(where: Where, order: Order) -> dict[str, Any]:
    """Everything, in the order in which a city would do it; answers rates by what was brought in."""
    city, plan, events = Path(order.city), order.plan, order.events
    with (
        Intake(place(where.store), place(where.vault), Path(where.folder), city) as desk,
        projecting(where, city) as other,
    ):
        meter = Meter(other)

        def timed(name: str, rows: int, work: Callable[[], int]) -> None:
            """One import, till it is in the store; beside it, how much of that was reading and checking."""
            with meter.of(name, rows):
                with meter.of(f"{name}_read", rows):
                    rejected = work()
                desk.taken()
            if rejected:
                raise RuntimeError(f"{rejected} rows of {name} were rejected")

        for name, what in _LAYERS.items():
            rows = _lines(city / name)
            timed(what, rows, lambda n=name, w=what: len(desk.layer(n, w).report.rejected))
        timed("homes", plan.homes, lambda: desk.register("homes.csv", "home").rejected)
        timed("persons", plan.persons, lambda: desk.register("persons.csv", "person").rejected)
        appeals = partial(_again, desk, order.before) if order.before else lambda: desk.appeals().rejected
        timed("appeals", plan.appeals, appeals)
        matters = Matters(
            list(_spots(Ground(plan, order.seed))), order.holders, (synth.SURVEY_DAY + 1) * 86_400_000_000
        ).events(events)
        records = [Record(n, event, "bench") for n, event in enumerate(matters, 1)]
        at_rest(where)
        with meter.of("case_events", events):
            for first in range(0, events, AT_ONCE):
                desk.store.apply("bench", records[first : first + AT_ONCE])
    meter.found["rss_mib"] = round(psutil.Process().memory_info().rss / 2**20)
    return meter.found


_LAYERS = {f"{part}.geojson": what for part, what in synth.LAYERS.items()} | {
    "components.csv": "component",
    "units.csv": "unit",
}


def _again(desk: Intake, before: Where) -> int:
    """Batches of appeals of another store's journal, in this one's."""
    objects = FolderObjects(Path(before.folder) / "objects")
    vault = Vault(place(before.vault), MASTER)
    journal = Journal(Path(before.folder) / "journal.db", desk.clock)
    for record in journal.read(0, 1_000_000, ["register"]):
        data = record.event.data
        if isinstance(data, RegisterImported) and data.what == WHAT:
            plain = vault.open(entry_of_batch(data.object), objects.get(data.object) or b"")
            sealed = desk.vault.seal(entry_of_batch(data.object), plain or b"")
            desk.objects.put(data.object, sealed)
            data = msgspec.structs.replace(data, sha256=sha256(sealed).hexdigest())
            desk.journal.append_next([msgspec.structs.replace(record.event, data=data)])
    journal.close()
    vault.close()
    return 0


def _spots(ground: Ground) -> Iterator[Spot]:
    """A corner of each grid."""
    for grid in ground.grids:
        lon, lat = ground.ring(grid.rect)[0]
        yield grid.code, (lon, lat)


def _lines(path: Path) -> int:
    """Rows of a file: its lines but for what surrounds them."""
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return lines - (2 if path.suffix == ".geojson" else 1)

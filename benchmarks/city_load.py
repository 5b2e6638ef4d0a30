"""How `benchmarks.city` brings a city in: through the importers that everybody uses, then projected."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.city_serve import Where, place
from benchmarks.common import say
from desk import synth
from desk.synthground import Ground, Plan
from events.bus import Record
from testbed.casestories import Matters, Spot
from testbed.intake import AT_ONCE, Intake


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


def load(where: Where, city: Path, plan: Plan, seed: int, holders: list[str], events: int) -> dict[str, Any]:
    """Everything, in the order in which a city would do it; answers rates by what was brought in."""
    meter = Meter()
    with Intake(place(where.store), place(where.vault), Path(where.folder), city) as desk:

        def timed(name: str, rows: int, work: Callable[[], int]) -> None:
            """One import, till it is in the store; beside it, how much of that was reading and checking."""
            with meter.of(name, rows):
                with meter.of(f"{name}_read", rows):
                    rejected = work()
                desk.projected()
            if rejected:
                raise RuntimeError(f"{rejected} rows of {name} were rejected")

        for name, what in _LAYERS.items():
            rows = _lines(city / name)
            timed(what, rows, lambda n=name, w=what: len(desk.layer(n, w).report.rejected))
        timed("homes", plan.homes, lambda: desk.register("homes.csv", "home").rejected)
        timed("persons", plan.persons, lambda: desk.register("persons.csv", "person").rejected)
        timed("appeals", plan.appeals, lambda: desk.appeals().rejected)
        matters = Matters(
            list(_spots(Ground(plan, seed))), holders, (synth.SURVEY_DAY + 1) * 86_400_000_000
        ).events(events)
        records = [Record(n, event, "bench") for n, event in enumerate(matters, 1)]
        with meter.of("case_events", events):
            for first in range(0, events, AT_ONCE):
                desk.store.apply("bench", records[first : first + AT_ONCE])
    meter.found["rss_mib"] = round(psutil.Process().memory_info().rss / 2**20)
    return meter.found


_LAYERS = {f"{part}.geojson": what for part, what in synth.LAYERS.items()} | {
    "components.csv": "component",
    "units.csv": "unit",
}


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

"""A city of this shape by seed, clearly synthetic: files in the forms that the importers read.

    make(folder, Plan.of(0.01), seed=7)          # a hundredth of the city
    small(folder, seed=7, centre=(lon, lat))     # a neighbourhood for a demo

The same plan and seed give the same bytes. Each part has random numbers of its own, so parts can be made
apart and still fit each other.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from desk import synthappeals, synthbad, synthpeople, synthplaces
from desk.synthappeals import Appeals
from desk.synthground import CENTRE, DIVISION, Ground, Plan
from desk.synthhomes import Buildings
from desk.synthpeople import SURVEY_DAY, People
from desk.synthtable import Columns, Tick, write_csv, write_geojson
from desk.synthwords import README
from events.errors import ConfigError

SMALL = Plan(
    towns=1, sub_districts=1, communities=3, grids=3, cells=9, homes=120, persons=320, components=150,
    teams=3, organisations=22, estates=3, units=12, appeals=60, days=30, cameras=6, camera_days=7,
    cell_m=120.0, stairs=2, floors=3,
)  # fmt: skip
"""A few streets around a demo's cameras."""


class City:
    """What a plan and a seed make; each part is made when it is first needed.

    Args:
        plan: how much of everything.
        seed: which one of all such cities.
        centre: longitude and latitude of its middle.
        end_day: appeals and counts come before this day, in days since 1970.
    """

    def __init__(
        self, plan: Plan, seed: int, centre: tuple[float, float] = CENTRE, end_day: int = SURVEY_DAY + 1
    ) -> None:
        self.plan, self.seed, self.centre, self.end_day = plan, seed, centre, end_day

    @cached_property
    def ground(self) -> Ground:
        """Lattice, towns, communities, grids."""
        return Ground(self.plan, self.seed, self.centre)

    @cached_property
    def buildings(self) -> Buildings:
        """Where homes are."""
        return Buildings(self.ground, self.seed)

    @cached_property
    def people(self) -> People:
        """Who lives in them."""
        return People(self.ground, self.buildings, self.seed)

    @cached_property
    def appeals(self) -> Appeals:
        """What they ask for."""
        return Appeals(self.ground, self.buildings, self.seed, self.end_day)

    def table(self, name: str) -> Iterator[Columns]:
        """Chunks of a table's columns."""
        makers: dict[str, Callable[[], Iterator[Columns]]] = {
            "homes": lambda: synthpeople.homes(self.ground, self.buildings, self.seed),
            "persons": lambda: synthpeople.persons(self.buildings, self.people),
            "units": lambda: synthplaces.units(self.ground, self.buildings, self.seed),
            "components": lambda: synthplaces.components(self.ground, self.seed),
            "counts": lambda: synthplaces.counts(self.ground, self.seed, self.end_day),
            "appeals": lambda: synthappeals.appeals(self.buildings, self.appeals),
            "duplicates": lambda: synthappeals.truth(self.appeals),
        }
        return makers[name]()

    def features(self, name: str) -> Iterator[synthplaces.Feature]:
        """Features of a layer."""
        makers: dict[str, Callable[[], Iterator[synthplaces.Feature]]] = {
            "jurisdictions": lambda: synthplaces.jurisdictions(self.ground),
            "buildings": lambda: synthplaces.buildings(self.ground, self.buildings),
            "organisations": lambda: synthplaces.organisations(self.ground, self.seed),
            "stations": lambda: synthplaces.stations(self.ground, self.seed),
            "estates": lambda: synthplaces.estates(self.ground, self.buildings, self.seed),
            "duties": lambda: synthplaces.duties(self.ground),
            "cameras": lambda: synthplaces.cameras(self.ground, self.seed),
        }
        return makers[name]()


LAYERS = {
    "jurisdictions": "jurisdiction",
    "buildings": "building",
    "organisations": "organisation",
    "stations": "station",
    "estates": "estate",
    "duties": "duty",
    "cameras": "camera",
}
"""File -> what it has, as the map's importer calls it."""
TABLES = ("components", "units", "homes", "persons", "appeals", "duplicates", "counts")
PARTS = (*LAYERS, *TABLES)
"""What can be made, in the order in which it is imported."""


def length(plan: Plan, parts: Sequence[str] = PARTS) -> int:
    """About how many rows the parts have, for a progress bar."""
    rows = {
        "components": plan.components, "units": plan.units, "homes": plan.homes, "persons": plan.persons,
        "appeals": plan.appeals, "counts": plan.cameras * plan.camera_days * 24,
        "duplicates": plan.appeals // 10, "buildings": plan.homes // 26, "organisations": plan.organisations,
    }  # fmt: skip
    return max(1, sum(rows.get(part, 0) for part in parts))


def make(
    folder: Path,
    city: City,
    parts: Sequence[str] = PARTS,
    *,
    bad: bool = False,
    tick: Tick = lambda _: None,
) -> dict[str, int]:
    """Write the parts and a README into a folder; answers the rows of each file.

    Args:
        bad: beside the good ones, files with rows that an importer must refuse, and why.
        tick: told how many rows were written.

    Raises:
        ConfigError: there is no such part, or no room, or the folder cannot be written.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ConfigError(f"no part {unknown[0]!r}: there are {', '.join(PARTS)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows: dict[str, int] = {}
        for name in parts:
            if name in LAYERS:
                rows[f"{name}.geojson"] = write_geojson(folder / f"{name}.geojson", city.features(name), tick)
            else:
                rows[f"{name}.csv"] = write_csv(folder / f"{name}.csv", city.table(name), tick)
        if bad:
            rows |= synthbad.make(folder / "bad", city.table, city.features)
        _write_readme(folder, city, rows, bad)
    except OSError as e:
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        raise ConfigError(
            f"{folder}: {e.strerror or e} ({free / 1e9:.1f} GB free); name another folder or make room"
        ) from None
    return rows


def small(
    folder: Path,
    seed: int = 7,
    centre: tuple[float, float] = CENTRE,
    end_day: int = SURVEY_DAY + 1,
) -> dict[str, int]:
    """Write a neighbourhood for a demo: one town, three communities, nine grids, 320 persons, 60 appeals.

    Args:
        centre: longitude and latitude of its middle, e.g. of the demo's cameras.
        end_day: appeals come in the month before this day (days since 1970).
    """
    return make(folder, City(SMALL, seed, centre, end_day))


def _write_readme(folder: Path, city: City, rows: dict[str, int], bad: bool) -> None:
    lon, lat = city.centre
    text = README.format(
        seed=city.seed,
        division=DIVISION,
        lon=lon,
        lat=lat,
        bad="The files below `bad/` hold rows that an importer must refuse." if bad else "",
        files="\n".join(f"| {name} | {count} |" for name, count in rows.items()),
    )
    (folder / "README.md").write_text(text.replace("bytes. \n", "bytes.\n"), encoding="utf-8")

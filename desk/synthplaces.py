"""What stands on a synthetic city's ground: jurisdictions, buildings, components, organisations, cameras."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from city.components import shipped
from desk.synthground import DIVISION, Floats, Ground, Ints, Jurisdiction, generator
from desk.synthhomes import Buildings, community_name, town_name
from desk.synthtable import Columns, pick, spans, texts
from desk.synthwords import DEPARTMENTS, KINDS, STATES, UNIT_KINDS

Feature = Mapping[str, Any]


def feature(geometry: Mapping[str, Any] | None, **properties: Any) -> Feature:
    """A GeoJSON feature; its id is the property `code`."""
    return {"type": "Feature", "id": properties["code"], "properties": properties, "geometry": geometry}


def polygon(ring: list[list[float]]) -> Feature:
    """A GeoJSON polygon without holes."""
    return {"type": "Polygon", "coordinates": [ring]}


def point(at: list[float]) -> Feature:
    """A GeoJSON point."""
    return {"type": "Point", "coordinates": at}


def jurisdictions(ground: Ground) -> Iterator[Feature]:
    """City, towns, communities, grids, then dedicated grids that lie inside others."""
    yield _area(ground, ground.city, "合成市 / Synthetic City")
    for town in ground.towns:
        urban = town.number <= ground.plan.sub_districts
        latin = f"Synthetic Street {town.number}" if urban else ""
        name = town_name(ground, town.number)
        latin = latin or f"Synthetic Town {town.number - ground.plan.sub_districts}"
        yield _area(ground, town, f"{name} / {latin}")
    for community in ground.communities:
        yield _area(ground, community, community_name(community.code, community.number))
    for grid in ground.grids:
        yield _area(ground, grid, f"合成网格{grid.number}")
    for community in ground.communities[::10]:
        yield feature(
            polygon(_inner(ground, community)),
            code=f"{community.code}S01",
            name="合成学校 / Synthetic School",
            level="dedicated",
            parent=community.code,
        )


def _area(ground: Ground, one: Jurisdiction, name: str) -> Feature:
    return feature(
        polygon(ground.ring(one.rect)), code=one.code, name=name, level=one.level, parent=one.parent
    )


def _inner(ground: Ground, one: Jurisdiction) -> list[list[float]]:
    """A square within the rectangle's first cell."""
    cell = np.full(4, one.rect.y0 * ground.nx + one.rect.x0)
    u, v = np.array([0.35, 0.65, 0.65, 0.35]), np.array([0.35, 0.35, 0.65, 0.65])
    ring: list[list[float]] = ground.inside(cell, u, v).tolist()
    return [*ring, ring[0]]


def buildings(ground: Ground, built: Buildings) -> Iterator[Feature]:
    """Footprints, each in its grid."""
    for n, (code, corners) in enumerate(zip(built.codes, built.corners.tolist(), strict=True)):
        estate = int(built.estate[n])
        yield feature(
            polygon([*corners, corners[0]]),
            code=code,
            name=f"{int(built.nth[n])}号楼",
            parent=ground.grids[int(built.grid[n])].code,
            address=built.addresses[n],
            floors=int(built.floors[n]),
            homes=int(built.homes[n]),
            estate=estate_code(estate) if estate >= 0 else "",
        )


def estate_code(number: int) -> str:
    """Of an estate, counted from 0."""
    return f"E{number + 1:05}"


class Spread:
    """So many points, evenly over the ground, each in its grid."""

    def __init__(self, ground: Ground, count: int, rng: np.random.Generator) -> None:
        cells: Ints = rng.integers(0, ground.nx * ground.ny, count)
        self.places: Floats = ground.inside(cells, _within(rng, count), _within(rng, count))
        self.other: Floats = ground.inside(cells, _within(rng, count), _within(rng, count))
        self.grid: Ints = ground.grid_of.ravel()[cells]


def _within(rng: np.random.Generator, count: int) -> Floats:
    """Fractions of a cell that stay off its border, which seven digits could round beyond."""
    return np.asarray(0.002 + 0.996 * rng.random(count))


def components(ground: Ground, seed: int) -> Iterator[Columns]:
    """Chunks of the table of components; of a line, both ends."""
    plan = ground.plan
    rng = generator(seed, "components")
    shares = np.array([kind.share for kind in KINDS])
    kinds = np.sort(rng.choice(len(KINDS), plan.components, p=shares / shares.sum()))
    spread = Spread(ground, plan.components, rng)
    serial = np.arange(plan.components) - np.searchsorted(kinds, kinds, side="left") + 1
    state = rng.choice(3, plan.components, p=(0.96, 0.03, 0.01))
    day = rng.integers(0, 1500, plan.components)
    grids = [grid.code for grid in ground.grids]
    lines = np.array([kind.line for kind in KINDS])
    classes = shipped().classes
    names = [classes[kind.code].name_zh for kind in KINDS]
    for span in spans(plan.components):
        kind = kinds[span]
        owners = [DEPARTMENTS[k.owner] for k in KINDS]
        places, other = spread.places[span].tolist(), spread.other[span].tolist()
        yield {
            "code": [
                f"{DIVISION}{c}{s:06}"
                for c, s in zip(pick([k.code for k in KINDS], kind), serial[span].tolist(),
                                strict=True)
            ],
            "name": pick(names, kind),
            "lon": [str(p[0]) for p in places],
            "lat": [str(p[1]) for p in places],
            "wkt": [
                f'"LINESTRING({a[0]} {a[1]}, {b[0]} {b[1]})"' if line else ""
                for a, b, line in zip(places, other, lines[kind].tolist(), strict=True)
            ],
            "accuracy": pick(("A", "B", "C"), serial[span] % 3),
            "grid": pick(grids, spread.grid[span]),
            "authority": pick([f"合成{d}管理处" for d in owners], kind),
            "owner": pick([f"合成{d}公司" for d in owners], kind),
            "maintainer": pick([f"合成{d}养护队" for d in owners], kind),
            "state": pick(STATES, state[span]),
            "since": (np.datetime64("2020-01-01") + day[span]).astype(str).tolist(),
        }  # fmt: skip


def units(ground: Ground, built: Buildings, seed: int) -> Iterator[Columns]:
    """Chunks of the table of shops, firms, schools."""
    plan = ground.plan
    rng = generator(seed, "units")
    building = np.sort(rng.integers(0, len(built), plan.units))
    kind = rng.integers(0, len(UNIT_KINDS), plan.units)
    middle = np.round(built.corners.mean(axis=1), 7)
    for span in spans(plan.units):
        of = building[span]
        serial = np.arange(span.start + 1, span.stop + 1)
        yield {
            "code": [f"{DIVISION}U{n:06}" for n in serial.tolist()],
            "name": [
                f"合成{k}{n}"
                for k, n in zip(pick([k[1] for k in UNIT_KINDS], kind[span]), serial.tolist(), strict=True)
            ],
            "kind": pick([k[0] for k in UNIT_KINDS], kind[span]),
            "building": pick(built.codes, of),
            "address": pick(built.addresses, of),
            "lon": texts(middle[of, 0]),
            "lat": texts(middle[of, 1]),
        }


def organisations(ground: Ground, seed: int) -> Iterator[Feature]:
    """Departments, town offices, committees, volunteer teams, property companies."""
    plan = ground.plan
    rng = generator(seed, "organisations")
    place = iter(Spread(ground, plan.organisations, rng).places.tolist())
    for n, name in enumerate(DEPARTMENTS):
        yield _organisation(f"D{n + 1:03}", f"合成{name}部门", "department", DIVISION, next(place))
    for town in ground.towns:
        name = town_name(ground, town.number)
        yield _organisation(f"T{town.number:03}", f"{name}办事处", "town office", town.code, next(place))
    for n, one in enumerate(ground.communities):
        name = community_name(one.code, one.number)
        yield _organisation(f"C{n + 1:05}", f"{name}委员会", "committee", one.code, next(place))
    for n in range(plan.teams):
        grid = ground.grids[n * 7 % len(ground.grids)]
        yield _organisation(f"V{n + 1:05}", f"合成志愿队{n + 1}", "volunteer team", grid.parent, next(place))
    for n in range(companies(ground)):
        yield _organisation(f"P{n + 1:05}", f"合成物业公司{n + 1}", "property company", DIVISION, next(place))


def stations(ground: Ground, seed: int) -> Iterator[Feature]:
    """A service station in each community."""
    rng = generator(seed, "stations")
    for n, one in enumerate(ground.communities):
        cell = np.array([one.rect.y0 * ground.nx + one.rect.x0])
        (at,) = ground.inside(cell, _within(rng, 1), _within(rng, 1)).tolist()
        name = community_name(one.code, one.number)
        yield _organisation(f"S{n + 1:05}", f"{name}服务站", "service station", one.code, at)


def companies(ground: Ground) -> int:
    """How many property companies there are: what the other organisations leave."""
    plan = ground.plan
    others = len(DEPARTMENTS) + plan.towns + plan.communities + plan.teams
    return max(plan.organisations - others, min(3, plan.estates))


def _organisation(code: str, name: str, kind: str, serves: str, at: list[float]) -> Feature:
    return feature(point(at), code=code, name=name, kind=kind, serves=serves)


def estates(ground: Ground, built: Buildings, seed: int) -> Iterator[Feature]:
    """Each is a grid with one company under a contract from and to a date."""
    rng = generator(seed, "estates")
    firms = companies(ground)
    for n, (number, homes) in enumerate(
        zip(built.estate_grids.tolist(), built.estate_homes.tolist(), strict=True)
    ):
        grid = ground.grids[number]
        since = np.datetime64("2021-01-01") + rng.integers(0, 1500)
        yield feature(
            polygon(ground.ring(grid.rect)),
            code=estate_code(n),
            name=f"合成第{n + 1}小区",
            parent=grid.code,
            company=f"P{n % firms + 1:05}",
            households=homes,
            contract_since=str(since),
            contract_until=str(since + 365 * int(rng.integers(2, 6))),
        )


def duties(ground: Ground) -> Iterator[Feature]:
    """Who is head and member of each grid; roles, not people."""
    for n, grid in enumerate(ground.grids):
        for role in ("head", "member"):
            yield feature(
                None,
                code=f"{grid.code}-{role}",
                name=f"合成网格{'长' if role == 'head' else '员'}{n + 1}",
                parent=grid.code,
                role=f"grid {role}",
                staff=f"SYN-{n + 1:05}-{role[0].upper()}",
                days="mon,tue,wed,thu,fri" if role == "head" else "",
                hours="08:00-18:00" if role == "head" else "",
                since="2025-01-01",
            )


def cameras(ground: Ground, seed: int) -> Iterator[Feature]:
    """Five that look one way, one dome, the rest for faces; as in the first phase of such a city."""
    rng = generator(seed, "cameras")
    spread = Spread(ground, ground.plan.cameras, rng)
    for n, at in enumerate(spread.places.tolist()):
        kind = "gun" if n < 5 else "dome" if n == 5 else "face"
        yield feature(
            point(at),
            code=f"cam-{n + 1:04}",
            name=f"合成相机{n + 1} / Synthetic camera {n + 1}",
            kind=kind,
            parent=ground.grids[int(spread.grid[n])].code,
        )


def counts(ground: Ground, seed: int, last_day: int) -> Iterator[Columns]:
    """Chunks of the cameras' counts: people in and out of each camera's line, hour by hour."""
    plan = ground.plan
    rng = generator(seed, "counts")
    hours = plan.camera_days * 24
    start = (last_day - plan.camera_days) * 86_400
    # Two peaks a day, a quiet night.
    day = np.array([1, 1, 0, 0, 0, 2, 8, 20, 18, 10, 9, 12, 14, 10, 9, 10, 14, 22, 20, 15, 10, 6, 4, 2])
    profile = np.tile(day, plan.camera_days)
    at = np.datetime64(start, "s") + np.arange(hours) * 3600
    times = [f"{text}+08:00" for text in at.astype(str).tolist()]
    for n in range(plan.cameras):
        size = 1 + n % 7
        moved = rng.random((2, hours)) * 2 * profile * size
        yield {
            "camera": [f"cam-{n + 1:04}"] * hours,
            "line": ["gate"] * hours,
            "hour": times,
            "in": texts(moved[0].astype(np.int64)),
            "out": texts(moved[1].astype(np.int64)),
        }

"""The ground of a synthetic city: a lattice of bent streets, cut into towns, communities and grids that tile.

Every border runs over the lattice's points and both sides use the same ones, so neighbours share each
corner: no gaps, no overlaps, whatever the seed. Rectangles of the lattice are halved again and again until
there are as many as wanted (a k-d partition); bending the points makes the borders crooked, and since none
moves by more than a quarter of a cell every cell stays a simple quadrilateral.
"""

import math
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

DIVISION = "990481"
"""Administrative code of the synthetic city: codes that begin with 99 are given to nobody."""

CENTRE = (122.5, 35.0)
"""In the Yellow Sea, where nobody lives."""

CELL_M = 240.0
_BEND = 0.25
_METRES_PER_DEGREE = 111_320.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything a city has; the defaults are the full size."""

    towns: int = 21
    sub_districts: int = 5
    communities: int = 1_180
    grids: int = 4
    """In each community."""
    cells: int = 23
    """Of the lattice, for each community, about."""
    homes: int = 600_000
    persons: int = 1_600_000
    components: int = 400_000
    teams: int = 1_200
    organisations: int = 3_800
    estates: int = 1_200
    units: int = 60_000
    appeals: int = 2_467_000
    days: int = 1_096
    """That the appeals are spread over; what is not given by number is 600 a day."""
    cameras: int = 105
    camera_days: int = 365
    cell_m: float = CELL_M
    stairs: int = 4
    floors: int = 11
    """Of a building, at most; half as many outside the sub-districts."""

    @classmethod
    def of(cls, scale: float) -> "Plan":
        """A city of this shape and `scale` of its size, 1 being the full one; never without anything."""
        full = cls()

        def part(count: int, least: int = 1) -> int:
            return max(least, round(count * scale))

        communities = part(full.communities, 3)
        towns = min(full.towns, max(1, math.ceil(communities / 10)))
        teams, estates = part(full.teams), part(full.estates, 2)
        return cls(
            towns=towns,
            sub_districts=max(1, round(towns * full.sub_districts / full.towns)),
            communities=communities,
            homes=part(full.homes, 30),
            persons=part(full.persons, 80),
            components=part(full.components, 50),
            teams=teams,
            organisations=max(part(full.organisations), teams + communities + towns + 15),
            estates=estates,
            units=part(full.units, 10),
            appeals=part(full.appeals, 40),
            cameras=part(full.cameras, 3),
            camera_days=part(full.camera_days, 7),
        )


class Rect(NamedTuple):
    """Cells x0 <= x < x1, y0 <= y < y1 of the lattice."""

    x0: int
    y0: int
    x1: int
    y1: int


class Jurisdiction(NamedTuple):
    """A town, community or grid: its rectangle of the lattice, and how it is called."""

    code: str
    parent: str
    level: str
    number: int
    """Of its kind in what contains it, from 1."""
    rect: Rect


def generator(seed: int, part: str) -> np.random.Generator:
    """A stream of random numbers of its own for each part, so that parts can be made apart."""
    return np.random.Generator(np.random.PCG64([seed, *part.encode()]))


def cut(rect: Rect, parts: int) -> list[Rect]:
    """`parts` rectangles that tile this one, each of one cell or more."""
    width, height = rect.x1 - rect.x0, rect.y1 - rect.y0
    if parts > width * height:
        raise ValueError(f"{width} x {height} cells are no {parts} parts")
    if parts == 1:
        return [rect]
    lines, across = max(width, height), min(width, height)
    at = min(max(round(lines * (parts // 2) / parts), 1), lines - 1)
    # By their areas, but no more than there are cells for on either side.
    first = min(max(round(parts * at / lines), 1, parts - (lines - at) * across), parts - 1, at * across)
    if width >= height:
        halves = rect._replace(x1=rect.x0 + at), rect._replace(x0=rect.x0 + at)
    else:
        halves = rect._replace(y1=rect.y0 + at), rect._replace(y0=rect.y0 + at)
    return cut(halves[0], first) + cut(halves[1], parts - first)


class Ground:
    """The lattice and what it is cut into.

    Attributes:
        points: longitude and latitude of the lattice's corners, (ny + 1, nx + 1, 2), rounded to 7 digits.
        city, towns, communities, grids: each kind in the order of its codes.
        grid_of: number of the grid of each cell, (ny, nx).
    """

    def __init__(self, plan: Plan, seed: int, centre: tuple[float, float] = CENTRE) -> None:
        self.plan = plan
        each = math.ceil(plan.communities / plan.towns)
        across = max(1, round(math.sqrt(plan.towns * 2.0)))
        down = math.ceil(plan.towns / across)
        side = math.ceil(math.sqrt(each * max(plan.cells, plan.grids)))
        self.nx, self.ny = across * side, down * side
        self._lay(seed, centre)
        self.city = Jurisdiction(DIVISION, "", "city", 1, Rect(0, 0, self.nx, self.ny))
        self.towns: list[Jurisdiction] = []
        self.communities: list[Jurisdiction] = []
        self.grids: list[Jurisdiction] = []
        self._cut()
        self.grid_of = np.zeros((self.ny, self.nx), np.int64)
        for number, grid in enumerate(self.grids):
            r = grid.rect
            self.grid_of[r.y0 : r.y1, r.x0 : r.x1] = number

    def _lay(self, seed: int, centre: tuple[float, float]) -> None:
        lon, lat = centre
        dy = self.plan.cell_m / _METRES_PER_DEGREE
        dx = dy / math.cos(math.radians(lat))
        bend = generator(seed, "ground").random((self.ny + 1, self.nx + 1, 2)) * 2 * _BEND - _BEND
        steps = np.empty_like(bend)
        steps[..., 0] = np.arange(self.nx + 1)[None, :] - self.nx / 2
        steps[..., 1] = np.arange(self.ny + 1)[:, None] - self.ny / 2
        self.points: Floats = np.round(np.array([lon, lat]) + (steps + bend) * np.array([dx, dy]), 7)

    def _cut(self) -> None:
        plan = self.plan
        for number, town in enumerate(cut(self.city.rect, plan.towns)):
            urban = number < plan.sub_districts
            code = DIVISION + (f"{number + 1:03}" if urban else f"{100 + number - plan.sub_districts:03}")
            self.towns.append(Jurisdiction(code, DIVISION, "town", number + 1, town))
            count = plan.communities // plan.towns + (number < plan.communities % plan.towns)
            for place, community in enumerate(cut(town, count)):
                # Sub-districts have residents' committees (001-199), towns villagers' ones (200-399).
                one = f"{code}{place + 1 if urban else 200 + place:03}"
                self.communities.append(Jurisdiction(one, code, "community", place + 1, community))
                area = (community.x1 - community.x0) * (community.y1 - community.y0)
                for nth, grid in enumerate(cut(community, min(plan.grids, area))):
                    self.grids.append(Jurisdiction(f"{one}G{nth + 1:02}", one, "grid", nth + 1, grid))

    def ring(self, rect: Rect) -> list[list[float]]:
        """The closed ring around a rectangle, counter-clockwise, through every point of its border."""
        x0, y0, x1, y1 = rect
        p = self.points
        parts = (p[y0, x0:x1], p[y0:y1, x1], p[y1, x0 + 1 : x1 + 1][::-1], p[y0 + 1 : y1 + 1, x0][::-1])
        ring: list[list[float]] = np.concatenate(parts).tolist()
        return [*ring, ring[0]]

    def inside(self, cells: Ints, u: Floats, v: Floats) -> Floats:
        """Points at fractions (u, v) of the cells, numbered row by row: (n, 2), 7 digits.

        Bilinear, so what is apart in the square is apart in the cell."""
        y, x = np.divmod(cells, self.nx)
        p = self.points
        a, b = u[:, None], v[:, None]
        low = p[y, x] * (1 - a) + p[y, x + 1] * a
        high = p[y + 1, x] * (1 - a) + p[y + 1, x + 1] * a
        places: Floats = np.round(low * (1 - b) + high * b, 7)
        return places

    @property
    def urban(self) -> NDArray[np.bool_]:
        """Of each grid: whether it lies in a sub-district."""
        towns = {town.code for town in self.towns[: self.plan.sub_districts]}
        return np.array([grid.parent[:9] in towns for grid in self.grids])

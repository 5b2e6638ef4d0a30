"""Buildings and homes of a synthetic city: which stands where, and who could live in it.

A cell of the lattice holds up to nine plots with a building each. Sub-districts are built more densely and
higher. Buildings are added in a drawn order until they hold the homes that the plan wants.
"""

import numpy as np

from desk.synthground import Floats, Ground, Ints, generator
from desk.synthwords import ROADS

_SIDE = 3
_FREE = 0.12
"""Of a plot that stays free on each side of its building."""


class Buildings:
    """All buildings, in the order of their codes.

    Attributes:
        grid: number of the grid of each.
        nth: its number in its grid, from 1.
        stairs, floors: each stair has two homes on each floor.
        homes: how many homes it has; `first`: number of its first one. Homes are numbered through.
        estate: number of its estate, -1: in none.
        corners: (n, 4, 2) longitude and latitude, counter-clockwise.
    """

    def __init__(self, ground: Ground, seed: int) -> None:
        plan = ground.plan
        rng = generator(seed, "homes")
        plots = ground.nx * ground.ny * _SIDE * _SIDE
        cell = np.repeat(np.arange(ground.nx * ground.ny), _SIDE * _SIDE)
        grid = ground.grid_of.ravel()[cell]
        urban = ground.urban[grid]
        # Plots of a sub-district come three times sooner.
        order = np.argsort(rng.random(plots) * np.where(urban, 1.0, 3.0), kind="stable")
        stairs = rng.integers(1, plan.stairs + 1, plots)
        floors = rng.integers(1, np.where(urban, plan.floors, plan.floors // 2) + 1)
        holds = np.cumsum((stairs * floors * 2)[order])
        count = int(np.searchsorted(holds, plan.homes)) + 1
        if count > plots:
            raise ValueError(f"{plan.homes} homes do not fit into {plots} plots")
        chosen = order[:count]
        homes = stairs[chosen] * floors[chosen] * 2
        homes[-1] -= int(holds[count - 1]) - plan.homes
        by_grid = np.lexsort((chosen, grid[chosen]))
        chosen, self.homes = chosen[by_grid], homes[by_grid]
        self.grid: Ints = grid[chosen]
        self.stairs, self.floors = stairs[chosen], floors[chosen]
        self.first: Ints = np.cumsum(self.homes) - self.homes
        starts = np.searchsorted(self.grid, self.grid, side="left")
        self.nth: Ints = np.arange(count) - starts + 1
        self.corners = self._corners(ground, cell[chosen], chosen % (_SIDE * _SIDE))
        self.estate = self._estates(ground)
        self._name(ground)

    def __len__(self) -> int:
        return len(self.grid)

    @staticmethod
    def _corners(ground: Ground, cells: Ints, plots: Ints) -> Floats:
        row, column = np.divmod(plots, _SIDE)
        low, high = _FREE, 1 - _FREE
        at = [
            ground.inside(cells, (column + u) / _SIDE, (row + v) / _SIDE)
            for u, v in ((low, low), (high, low), (high, high), (low, high))
        ]
        return np.stack(at, axis=1)

    def _estates(self, ground: Ground) -> Ints:
        """The grids with the most homes are estates, one each."""
        per_grid = np.bincount(self.grid, weights=self.homes, minlength=len(ground.grids))
        most = np.argsort(-per_grid, kind="stable")[: ground.plan.estates]
        self.estate_grids: Ints = np.sort(most[per_grid[most] > 0])
        self.estate_homes: Ints = per_grid[self.estate_grids].astype(np.int64)
        estate = np.full(len(ground.grids), -1)
        estate[self.estate_grids] = np.arange(len(self.estate_grids))
        return np.asarray(estate[self.grid])

    def _name(self, ground: Ground) -> None:
        towns = {town.code: town.number for town in ground.towns}
        communities = {c.code: c.number for c in ground.communities}
        roads: list[str] = []
        for number, grid in enumerate(ground.grids):
            town, community = towns[grid.parent[:9]], communities[grid.parent]
            roads.append(
                f"{town_name(ground, town)}{community_name(grid.parent, community)}"
                f"合成{ROADS[number % len(ROADS)]}路"
            )
        self.codes = [
            f"{ground.grids[g].code}B{n:03}"
            for g, n in zip(self.grid.tolist(), self.nth.tolist(), strict=True)
        ]
        self.addresses = [
            f"{roads[g]}{n}号" + (f"合成第{e + 1}小区" if e >= 0 else "") + f"{n}号楼"
            for g, n, e in zip(self.grid.tolist(), self.nth.tolist(), self.estate.tolist(), strict=True)
        ]

    def of_homes(self) -> Ints:
        """Number of the building of each home."""
        return np.repeat(np.arange(len(self)), self.homes)


def town_name(ground: Ground, number: int) -> str:
    """Of the town of this number, from 1."""
    if number <= ground.plan.sub_districts:
        return f"合成街道{number}"
    return f"合成镇{number - ground.plan.sub_districts}"


def community_name(code: str, number: int) -> str:
    """By its code: residents' or villagers' committee."""
    return f"合成社区{number}" if int(code[9:12]) < 200 else f"合成村{number}"

"""The jurisdiction tree: city, towns, communities, grids. Codes, who contains whom, where a place lies.

A code begins with that of what contains it: 6 digits the city, 9 a town or sub-district, 12 a community or
village (GB/T 2260 and GB/T 10114 as the statistics office writes them, from memory). A grid's code is its
community's and what the province appends: provinces differ, so only the 12 digits are checked. A dedicated
grid (a school, a mall) lies inside another one; any other overlap is a mistake.
"""

import itertools
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from city.features import Feature

LEVELS: Mapping[str, int] = {"city": 6, "town": 9, "community": 12, "grid": 12, "dedicated": 12}
"""Level -> digits that its code begins with, coarsest first."""

_FINENESS = {level: n for n, level in enumerate(LEVELS)}
_GRID = re.compile(r"[0-9]{12}[A-Za-z0-9-]{1,20}")

SLACK_M = 0.5
"""So far may borders that were drawn twice differ: the best class of position accuracy in a survey of city
components (GB/T 30428.2-2013, from memory)."""

_METRES_PER_DEGREE = 111_320.0

Shapes = NDArray[np.object_]


class Flaw(NamedTuple):
    """What is wrong with a jurisdiction, and the mend."""

    code: str
    text: str
    other: str = ""
    """With which it does not go together; '': it is wrong by itself."""


def code_flaw(level: str, code: str, parent: str, city: str = "") -> str:
    """What is wrong with a jurisdiction's code; "" if nothing is.

    Args:
        parent: code of what contains it.
        city: the code that all have to begin with; '': any.
    """
    if level not in LEVELS:
        return f"level {level!r} is none of {', '.join(LEVELS)}"
    digits = LEVELS[level]
    if city and not code.startswith(city[:digits]):
        return f"code {code!r} is not of the city {city}"
    if level in ("grid", "dedicated"):
        if not _GRID.fullmatch(code):
            return (
                f"code {code!r} of a {level} must be its community's 12 digits and 1 to 20 letters or digits"
            )
        if not (parent and parent[:12] == code[:12]):
            return f"{code!r} lies in the community {code[:12]}, its parent is {parent or 'not given'}"
        return ""
    if not (len(code) == digits and code.isascii() and code.isdigit()):
        return f"code {code!r} of a {level} must have {digits} digits"
    if level != "city" and parent != code[: digits - 3]:
        return f"{code!r} lies in {code[: digits - 3]}, its parent is {parent or 'not given'}"
    return ""


def level_of(code: str) -> str:
    """The level of a code by its length; a dedicated grid's is `grid`."""
    return {6: "city", 9: "town", 12: "community"}.get(len(code), "grid" if len(code) > 12 else "")


def shape_flaw(shape: Any) -> str:
    """What is wrong with a geometry as such; "" if nothing is. It says where."""
    if shape is None or shapely.is_empty(shape):
        return "it has no geometry"
    if not shapely.is_valid(shape):
        return f"it crosses itself or is otherwise no figure: {shapely.is_valid_reason(shape)}"
    return ""


class Jurisdiction(NamedTuple):
    """One node."""

    code: str
    level: str
    parent: str
    name: str


class Jurisdictions:
    """The tree as it is now. It never changes; from any thread.

    Args:
        features: of `what = jurisdiction`; those without a polygon are in the tree and contain no place.
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        found = sorted(features, key=lambda feature: feature.id)
        self.nodes: dict[str, Jurisdiction] = {
            f.id: Jurisdiction(f.id, f.level, f.parent, f.name) for f in found
        }
        self.shapes: dict[str, Any] = {}
        for feature in found:
            if feature.geometry is not None:
                self.shapes[feature.id] = shapely.from_geojson(json.dumps(feature.geometry))
        self._codes = list(self.shapes)
        self._array: Shapes = np.array(list(self.shapes.values()), dtype=object)
        shapely.prepare(self._array)
        self._fineness = [_FINENESS.get(self.nodes[code].level, 0) for code in self._codes]
        self._index = shapely.STRtree(self._array)

    def __len__(self) -> int:
        return len(self.nodes)

    def chain(self, code: str) -> list[str]:
        """Codes from the city down to this one; only itself where nobody knows more."""
        found: list[str] = []
        while code and code not in found:
            found.append(code)
            code = self.nodes[code].parent if code in self.nodes else ""
        return found[::-1]

    def locate(self, lon: float, lat: float) -> list[str]:
        """Codes at a place, from the city down; a dedicated grid instead of the one around it; on a border
        the lower code. Empty: outside."""
        hits = self._index.query(shapely.Point(lon, lat), predicate="intersects").tolist()
        if not hits:
            return []
        return self.chain(self._codes[min(hits, key=lambda n: (-self._fineness[n], n))])

    def locate_all(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> list[str]:
        """As `locate` for many places: the finest code of each, '' outside."""
        best = np.full(len(lon), -1, np.int64)
        which, hits = self._index.query(shapely.points(lon, lat), predicate="intersects")
        # Of each place the finest comes last, and of equals the lowest code.
        rank = np.asarray(self._fineness, np.int64)[hits] if len(hits) else np.zeros(0, np.int64)
        order = np.lexsort((-hits, rank))
        best[which[order]] = hits[order]
        return [self._codes[n] if n >= 0 else "" for n in best.tolist()]

    def flaws(self) -> Iterator[Flaw]:
        """What is wrong with the tree as a whole: parents that are not there, children that leave their
        parents, overlaps that are none of a dedicated grid."""
        for node in self.nodes.values():
            if node.parent and node.parent not in self.nodes:
                yield Flaw(node.code, f"its parent {node.parent} is not there", node.parent)
        yield from self._beginnings()
        if not len(self._array):
            return
        flat = dict(zip(self._codes, _metres(self._array), strict=True))
        yield from self._outside(flat)
        by_level: dict[str, list[str]] = defaultdict(list)
        for code in self._codes:
            by_level[self.nodes[code].level].append(code)
        for codes in by_level.values():
            yield from _overlaps(codes, flat)

    def _beginnings(self) -> Iterator[Flaw]:
        """Who has the right to a grid has it to every code that begins with the grid's (`city.rights`)."""
        grids = sorted(code for code in self.nodes if level_of(code) == "grid")
        for one, next_ in itertools.pairwise(grids):
            if next_.startswith(one) and self.nodes[next_].parent != one:
                yield Flaw(next_, f"its code begins with that of {one}, which does not contain it", one)

    def _outside(self, flat: Mapping[str, Any]) -> Iterator[Flaw]:
        pairs = [(c, self.nodes[c].parent) for c in self._codes if self.nodes[c].parent in flat]
        if not pairs:
            return
        child = np.array([flat[c] for c, _ in pairs], dtype=object)
        parent = np.array([flat[p] for _, p in pairs], dtype=object)
        loose = np.flatnonzero(~shapely.covered_by(child, parent))
        rest = shapely.buffer(shapely.difference(child[loose], parent[loose]), -SLACK_M / 2)
        for n, left in zip(loose.tolist(), rest.tolist(), strict=True):
            if not shapely.is_empty(left):
                code, above = pairs[n]
                yield Flaw(
                    code, f"{shapely.area(left):.0f} square metres of it lie outside its parent {above}"
                )


def _metres(shapes: Shapes) -> Shapes:
    """The shapes in metres, near enough for a city: degrees stretched at the middle's latitude."""
    _, south, _, north = shapely.total_bounds(shapes)
    scale = np.array([math.cos(math.radians((south + north) / 2)), 1.0]) * _METRES_PER_DEGREE
    flat: Shapes = shapely.transform(shapes, lambda points: points * scale)
    return flat


def _overlaps(codes: list[str], flat: Mapping[str, Any]) -> Iterator[Flaw]:
    shapes = np.array([flat[code] for code in codes], dtype=object)
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    once = a < b
    a, b = a[once], b[once]
    common = shapely.buffer(shapely.intersection(shapes[a], shapes[b]), -SLACK_M / 2)
    for n in np.flatnonzero(~shapely.is_empty(common)).tolist():
        one, other = codes[int(a[n])], codes[int(b[n])]
        yield Flaw(
            other,
            f"it overlaps {one} by {shapely.area(common[n]):.0f} square metres; if it is meant to lie inside "
            "another grid, its level is `dedicated`",
            one,
        )

"""What the map is asked: features in a box and a time, one feature, what was, points for a tile."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import shapely
from sqlalchemy import Connection

from city.features import Box
from events.errors import StorageError
from storage.city.engine import driver, is_postgres
from storage.city.featuretables import BOXES, CELL_BITS, NO_PLACE, NOT_BY_CELL
from storage.city.hilbert import runs


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Which features of a layer."""

    bbox: Box | None = None
    """West above east: across the antimeridian."""
    from_us: int | None = None
    to_us: int | None = None
    """Those whose time touches [from_us, to_us]; None: open."""
    filters: Mapping[str, str] = {}
    """Property -> value as text."""
    area: str = ""
    """How the code of their jurisdiction begins; '': anywhere."""


class Page(NamedTuple):
    """Features in the order of the layer."""

    texts: list[str]
    """GeoJSON text of each."""
    next: str
    """Where to go on; '': there are no more."""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that has, or had, features."""

    name: str
    number: int
    count: int
    changes: int
    """Grows with each change."""
    bbox: Box | None
    """Around everything that was ever in it."""
    properties: Mapping[str, str]
    """Name -> kind of value: string, number, boolean, array."""


class Cluster(NamedTuple):
    """About how many features there are near a place."""

    lon: float
    lat: float
    features: int


class Query:
    """A window as SQL, for the one or the other database."""

    def __init__(self, connection: Connection, layer: Layer, window: Window) -> None:
        self._connection = connection
        self._postgres = postgres = is_postgres(connection)
        self._layer = layer.number
        self._runs: list[tuple[int, int]] | None = None
        """Numbers that the rows have, where these say where they are."""
        # With a box, SQLite is kept from the layer's other indexes: it thinks too well of them.
        self._parts = [f"{'+' * (window.bbox is not None and not postgres)}f.layer = {layer.number}"]
        self._values: list[Any] = []
        if window.area:
            self._below(window.area)
        if window.from_us is not None:
            self._add("(f.until_us = 0 OR f.until_us >= ?)", window.from_us)
        if window.to_us is not None:
            self._add("f.since_us <= ?", window.to_us)
        for name, value in window.filters.items():
            self._filter(name, value, layer)
        if window.bbox is not None:
            self._inside(window.bbox)

    def page(self, after: int, limit: int, what: str) -> list[tuple[Any, ...]]:
        """Columns of at most so many rows with numbers above `after`, in order."""
        sql = f"SELECT {what} FROM city_features f WHERE {' AND '.join(self._parts)} AND f.seq > ?"
        if self._runs is None:
            return self._rows(f"{sql} ORDER BY f.seq LIMIT ?", [*self._values, after, limit])
        sql, found = f"{sql} AND f.seq < ? ORDER BY f.seq LIMIT ?", list[tuple[Any, ...]]()
        for first, end in self._runs:
            if end > after and len(found) < limit:
                start = max(first - 1, after)
                found += self._rows(sql, [*self._values, start, end, limit - len(found)])
        return found

    def count(self) -> int:
        """How many boxes touch it."""
        sql = f"SELECT count(*) FROM city_features f WHERE {' AND '.join(self._parts)}"
        if self._runs is None:
            return int(self._rows(sql, self._values)[0][0])
        sql = f"{sql} AND f.seq >= ? AND f.seq < ?"
        return sum(int(self._rows(sql, [*self._values, *run])[0][0]) for run in self._runs)

    def thin(self, every: int = 1, least: tuple[float, float] = (0.0, 0.0)) -> "Query":
        """Of the features only each so manieth, and none smaller than this in both directions (degrees)."""
        if every > 1:
            self._add("f.seq % ? = 0", every)
        if least > (0.0, 0.0):
            self._add("(f.x1 - f.x0 >= ? OR f.y1 - f.y0 >= ?)", *least)
        return self

    def rim(self, box: Box) -> list[tuple[int, str]]:
        """Number and text of what is neither a point nor wholly in the box: its box touches, it may not."""
        if self._runs is not None:  # all are points
            return []
        sql = (
            f"SELECT f.seq, f.body FROM city_features f WHERE {' AND '.join(self._parts)} "
            "AND NOT (f.x0 = f.x1 AND f.y0 = f.y1) "
            "AND NOT (f.x0 >= ? AND f.y0 >= ? AND f.x1 <= ? AND f.y1 <= ?)"
        )
        return [(seq, body) for seq, body in self._rows(sql, [*self._values, *box])]

    def _rows(self, sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
        if self._postgres:
            sql = sql.replace("%", "%%").replace("?", "%s")
        with driver(self._connection) as cursor:
            cursor.execute(sql, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def _add(self, condition: str, *values: Any) -> None:
        self._parts.append(condition)
        self._values += values

    def _below(self, area: str) -> None:
        """What lies in a jurisdiction or below it: a code that begins so."""
        if self._postgres:
            self._add(
                "f.area LIKE ?", area.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
            )
        else:
            self._add("f.area >= ? AND f.area < ?", area, area + "\U0010ffff")

    def _filter(self, name: str, value: str, layer: Layer) -> None:
        first = next((one for one in ("kind", "class") if one in layer.properties), "level")
        if name == "area":
            self._below(value)
        elif name == first and name != "class":
            self._add("f.kind = ?", value)
        elif self._postgres:
            self._add("(f.body::json -> 'properties') ->> ? = ?", name, value)
        else:
            path = "$.properties." + msgspec.json.encode(name).decode()
            self._add(
                "CASE json_type(f.body, ?) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "
                "ELSE CAST(json_extract(f.body, ?) AS TEXT) END = ?",
                path,
                path,
                value,
            )
        if name == first == "class":
            self._add("f.kind = ?", value)

    def _inside(self, box: Box) -> None:
        west, south, east, north = box
        halves = [box] if west <= east else [(west, south, 180.0, north), (-180.0, south, east, north)]
        if self._postgres:
            env = "f.geom && ST_MakeEnvelope(?, ?, ?, ?, 4326)"
            self._add(f"({' OR '.join([env] * len(halves))})", *(v for half in halves for v in half))
        elif self._by_cell():
            base = self._layer << 54
            self._runs = [(base | a << CELL_BITS, base | b << CELL_BITS) for a, b in runs(halves)]
        else:
            one = f"SELECT id FROM {BOXES} WHERE x1 >= ? AND x0 <= ? AND y1 >= ? AND y0 <= ? AND l0 = ?"
            self._add(
                f"f.seq IN ({' UNION '.join([one] * len(halves))})",
                *(v for w, s, e, n in halves for v in (w, e, s, n, self._layer)),
            )
        # All indexes work with rounded boxes, a little larger than they are.
        touches = "f.x0 <= ? AND f.x1 >= ? AND f.y0 <= ? AND f.y1 >= ?"
        self._add(
            f"({' OR '.join([f'({touches})'] * len(halves))})",
            *(v for w, s, e, n in halves for v in (e, w, n, s)),
        )

    def _by_cell(self) -> bool:
        """Whether everything in the layer is a point in the cell that its number begins with: then runs of
        numbers are read, which lie together, instead of one row here and one there (half the time)."""
        sql = f"SELECT 1 FROM city_features WHERE layer = ? AND {NOT_BY_CELL} LIMIT 1"
        return not self._rows(sql, [self._layer])


def clusters(connection: Connection, layer: Layer) -> list[Cluster]:
    """What a layer has, cell by cell of the Hilbert curve: a step from cell to cell, not a scan. Numbers
    within a cell are given one after the other, so the last one says about how many there are."""
    low, high = layer.number << 54, (layer.number << 54) + NO_PLACE
    following = f"((c.s >> {CELL_BITS}) + 1) << {CELL_BITS}"
    sql = (
        "WITH RECURSIVE c(s) AS ("
        f"SELECT min(seq) FROM city_features WHERE seq >= {low} AND seq < {high} UNION ALL "
        f"SELECT (SELECT min(seq) FROM city_features WHERE seq >= {following} AND seq < {high}) "
        "FROM c WHERE c.s IS NOT NULL) "
        "SELECT (f.x0 + f.x1) / 2, (f.y0 + f.y1) / 2, 1 + "
        f"(SELECT max(seq) FROM city_features WHERE seq >= c.s AND seq < {following}) - c.s "
        "FROM c JOIN city_features f ON f.seq = c.s"
    )
    with driver(connection) as cursor:
        cursor.execute(sql)
        return [Cluster(*row) for row in cursor.fetchall()]


def outside(rim: list[tuple[int, str]], box: Box) -> set[int]:
    """Of features whose boxes touch the box: numbers of those that do not."""
    if not rim:
        return set()
    west, south, east, north = box
    frame = shapely.box(west, south, east, north)
    if west > east:
        frame = shapely.union(shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north))
    shapes = shapely.from_geojson([body for _, body in rim])
    touch = shapely.intersects(shapes, frame)
    return {seq for (seq, _), yes in zip(rim, touch.tolist(), strict=True) if not yes}


def token(text: str) -> int:
    """The number that a page's `next` stands for.

    Raises:
        StorageError: it is none.
    """
    if not text:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise StorageError(f"{text[:40]!r} is no `next` of a page")
    return int(text)

"""How features get into their table: in bulk, the database's quickest way, in the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import numpy as np
from sqlalchemy import Connection, select, update

from city.features import Box, Feature, bounds, to_geojson
from storage.city.bulk import chunks
from storage.city.engine import change, driver, is_postgres, load
from storage.city.featuretables import BOXES, CELL_BITS, FEATURES, LAYERS, NO_PLACE, layer_index
from storage.city.hilbert import cells

CHUNK = 20_000
_SMALL = 10
_KINDS = {str: "string", bool: "boolean", int: "number", float: "number", tuple: "array", list: "array"}


class Row(NamedTuple):
    """A row of `city_features`."""

    seq: int
    layer: int
    id: str
    area: str
    kind: str
    x0: float | None
    y0: float | None
    x1: float | None
    y1: float | None
    since_us: int
    until_us: int
    valid_us: int
    mark: int
    body: str

    @property
    def box(self) -> tuple[float | None, ...]:
        """The columns of its box."""
        return self[5:9]


class Known(NamedTuple):
    """What is there already of a feature."""

    seq: int
    mark: int
    box: tuple[float | None, ...]


def mark_of(body: str) -> int:
    """The mark of a row with this text."""
    return int.from_bytes(blake2b(body.encode(), digest_size=8).digest(), "big", signed=True)


class Driver:
    """The statements that the two databases say differently. A list among parameters is JSON in SQLite, an
    array in PostgreSQL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.postgres = is_postgres(connection)

    def rows(self, sqlite: str, postgres: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What a query answers. Raises StorageError."""
        with driver(self._connection) as cursor:
            cursor.execute(postgres if self.postgres else sqlite, self._plain(parameters))
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def run(self, sqlite: str, postgres: str, parameters: Sequence[Any]) -> None:
        """Run a statement. Raises StorageError."""
        with driver(self._connection) as cursor:
            cursor.execute(postgres if self.postgres else sqlite, self._plain(parameters))

    def _plain(self, parameters: Sequence[Any]) -> Sequence[Any]:
        if self.postgres:
            return parameters
        return [msgspec.json.encode(p).decode() if isinstance(p, list) else p for p in parameters]

    def insert(self, rows: Sequence[Row]) -> None:
        """New rows, and their places."""
        load(self._connection, FEATURES, Row._fields, rows)
        if not self.postgres:
            boxes = [(r.seq, r.x0, r.x1, r.y0, r.y1, r.layer, r.layer) for r in rows if r.x0 is not None]
            with driver(self._connection) as cursor:
                cursor.executemany(f"INSERT INTO {BOXES} VALUES (?, ?, ?, ?, ?, ?, ?)", boxes)

    def replace(self, rows: Sequence[Row]) -> None:
        """Rows whose `seq` is there already, and whose place is the same."""
        columns = ("area", "kind", "since_us", "until_us", "valid_us", "mark", "body", "seq")
        change(self._connection, FEATURES, columns, [tuple(getattr(r, c) for c in columns) for r in rows])

    def delete(self, seqs: list[int]) -> None:
        """Rows and their places."""
        one = "IN (SELECT value FROM json_each(?))"
        self.run(
            f"DELETE FROM city_features WHERE seq {one}",
            "DELETE FROM city_features WHERE seq = ANY(%s)",
            [seqs],
        )
        if not self.postgres:
            self.run(f"DELETE FROM {BOXES} WHERE id {one}", "", [seqs])

    def known(self, layer: int, ids: list[str]) -> dict[str, Known]:
        """What there is of these."""
        what = "SELECT id, seq, mark, x0, y0, x1, y1 FROM city_features WHERE layer = "
        found = self.rows(
            f"{what} ? AND id IN (SELECT value FROM json_each(?))",
            f"{what} %s AND id = ANY(%s)",
            [layer, ids],
        )
        return {id: Known(seq, mark, tuple(box)) for id, seq, mark, *box in found}

    def remember(self, seqs: list[int], to_us: int) -> None:
        """Keep what rows say now as what was."""
        into = "INSERT INTO city_features_before (layer, id, area, from_us, to_us, body) "
        self.run(
            f"{into} SELECT layer, id, area, valid_us, ?, body FROM city_features WHERE seq IN "
            "(SELECT value FROM json_each(?)) ORDER BY seq",
            f"{into} SELECT layer, id, area, valid_us, %s, body FROM city_features WHERE seq = ANY(%s) "
            "ORDER BY seq",
            [to_us, seqs],
        )

    def last_in(self, firsts: list[int]) -> dict[int, int]:
        """Of cells, given by their first number: the last number that is taken."""
        size = 1 << CELL_BITS
        last = "(SELECT max(seq) FROM city_features f WHERE f.seq >= {0} AND f.seq < {0} + {1})"
        found = self.rows(
            f"SELECT c.value, {last.format('c.value', size)} FROM json_each(?) c",
            f"SELECT c.value, {last.format('c.value', size)} FROM unnest(%s::bigint[]) c(value)",
            [firsts],
        )
        return {first: seq for first, seq in found if seq is not None}


class LayerWriter:
    """Writes into one layer within one transaction; `close` writes down what became of it.

    Args:
        valid_us: from when on what is written holds.
        history: what is replaced or removed is kept.
    """

    def __init__(
        self, connection: Connection, layer: str, *, valid_us: int = 0, history: bool = False
    ) -> None:
        self._connection = connection
        self._driver = Driver(connection)
        self._valid_us = valid_us
        self._history = history
        self._number, self._count, self._box, self._properties = self._layer(layer)
        self._was = self._count
        self._changed = False

    def _layer(self, name: str) -> tuple[int, int, Box | None, dict[str, str]]:
        row = self._connection.execute(select(LAYERS).where(LAYERS.c.name == name)).first()
        if row is not None:
            number, _, count, _, properties, x0, y0, x1, y1 = row
            box = None if x0 is None else (x0, y0, x1, y1)
            return number, count, box, msgspec.json.decode(properties, type=dict[str, str])
        taken = self._connection.execute(select(LAYERS.c.number)).scalars().all()
        number = max(taken, default=0) + 1
        if number >= 1 << 9:
            raise OverflowError(f"layer {name!r} is one too many; the map has room for 511")
        self._connection.execute(
            LAYERS.insert().values(number=number, name=name, count=0, changes=0, properties="{}")
        )
        if self._driver.postgres:
            self._connection.exec_driver_sql(layer_index(number))
        return number, 0, None, {}

    def put(self, features: Iterable[Feature]) -> int:
        """Make or replace features; answers how many are others than before. The last of an id counts."""
        changed = 0
        for chunk in chunks(features, CHUNK):
            changed += self._put({feature.id: feature for feature in chunk})
        self._changed |= changed > 0
        return changed

    def remove(self, ids: Iterable[str]) -> int:
        """Take features out; answers how many there were."""
        gone = 0
        for chunk in chunks(ids, CHUNK):
            seqs = sorted(known.seq for known in self._driver.known(self._number, chunk).values())
            if seqs and self._history:
                self._driver.remember(seqs, self._valid_us)
            if seqs:
                self._driver.delete(seqs)
            gone += len(seqs)
        self._count -= gone
        self._changed |= gone > 0
        return gone

    def ids(self) -> list[str]:
        """Of everything in the layer."""
        found = self._connection.execute(select(FEATURES.c.id).where(FEATURES.c.layer == self._number))
        return list(found.scalars())

    def close(self) -> None:
        """Write down the layer's count, box and properties."""
        if not self._changed:
            return
        x0, y0, x1, y1 = self._box or (None, None, None, None)
        self._connection.execute(
            update(LAYERS)
            .where(LAYERS.c.number == self._number)
            .values(
                count=self._count,
                changes=LAYERS.c.changes + 1,
                properties=msgspec.json.encode(self._properties).decode(),
                x0=x0,
                y0=y0,
                x1=x1,
                y1=y1,
            )
        )
        if self._driver.postgres and self._count.bit_length() > max(_SMALL, self._was.bit_length()):
            # At each doubling: till the database looks by itself it takes the layer for as small as it was,
            # and searches a box through an index of all of it (130 ms among 123,000 instead of 45).
            self._connection.exec_driver_sql("ANALYZE city_features")

    def _put(self, features: Mapping[str, Feature]) -> int:
        rows = [self._row(feature) for feature in features.values()]
        known = self._driver.known(self._number, list(features)) if self._count else {}
        rows = [row for row in rows if row.id not in known or known[row.id].mark != row.mark]
        if not rows:
            return 0
        new = [row for row in rows if row.id not in known]
        old = [(row, known[row.id]) for row in rows if row.id in known]
        stay = [row._replace(seq=was.seq) for row, was in old if row.box == was.box]
        move = [(row, was.seq) for row, was in old if row.box != was.box]
        if old and self._history:
            self._driver.remember(sorted(was.seq for _, was in old), self._valid_us)
        if stay:
            self._driver.replace(stay)
        if move:
            self._driver.delete([seq for _, seq in move])
        if new or move:
            self._driver.insert(self._numbered([*new, *(row for row, _ in move)]))
        self._count += len(new)
        self._note(rows, features)
        return len(rows)

    def _row(self, feature: Feature) -> Row:
        body = to_geojson(feature)
        mark = mark_of(body)
        x0, y0, x1, y1 = bounds(feature.geometry) or (None, None, None, None)
        return Row(
            0,
            self._number,
            feature.id,
            feature.area,
            feature.kind,
            x0,
            y0,
            x1,
            y1,
            feature.since_us,
            feature.until_us,
            self._valid_us,
            mark,
            body,
        )

    def _numbered(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with numbers, in their order: the next ones of their cells."""
        placed = [row for row in rows if row.x0 is not None]
        first: dict[str, int] = {row.id: self._anywhere(row.id) for row in rows if row.x0 is None}
        found = cells(np.array([row.box for row in placed], np.float64)).tolist()
        first |= {
            row.id: self._number << 54 | cell << CELL_BITS for row, cell in zip(placed, found, strict=True)
        }
        return self._next(rows, first)

    def _anywhere(self, id: str) -> int:
        """First number of a cell for what has no place, or none in its cell."""
        cell = int.from_bytes(blake2b(id.encode(), digest_size=4).digest(), "big")
        return self._number << 54 | NO_PLACE | cell << CELL_BITS

    def _next(self, rows: Sequence[Row], first: Mapping[str, int]) -> list[Row]:
        last = self._driver.last_in(sorted(set(first.values()))) if self._count else {}
        numbered: list[Row] = []
        late: list[Row] = []
        for row in rows:
            start = first[row.id]
            seq = last.get(start, start - 1) + 1
            if seq >= start + (1 << CELL_BITS):  # two million in one cell: an address that stands for many
                late.append(row)
                continue
            last[start] = seq
            numbered.append(row._replace(seq=seq))
        if late:
            numbered += self._next(late, {row.id: self._anywhere(row.id) for row in late})
        return sorted(numbered)

    def _note(self, rows: Sequence[Row], features: Mapping[str, Feature]) -> None:
        boxes = [row.box for row in rows if row.x0 is not None]
        if self._box is not None:
            boxes.append(self._box)
        if boxes:
            box = np.array(boxes, np.float64)
            low, high = box.min(axis=0), box.max(axis=0)
            self._box = (float(low[0]), float(low[1]), float(high[2]), float(high[3]))
        for row in rows:
            for key, value in features[row.id].properties.items():
                if key not in self._properties and value is not None:
                    self._properties[key] = _KINDS[type(value)]

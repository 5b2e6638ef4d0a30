"""Everything that a city's store holds, to compare two of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, select, true

from storage.city.casecounts import BY_CATEGORY, BY_COMMUNITY, BY_MONTH, BY_TOWN, SPOTS
from storage.city.engine import opened, reading
from storage.city.featuretables import LAYERS
from storage.city.metadata import METADATA

_NOT_CONTENT = ("city_offsets", "city_form")
_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "city_features": ("seq",),
    "city_features_before": ("number",),
    "city_layers": ("number", "changes"),
}
"""Columns that say in how many batches it came; `layer` is one of them, and stands for its name."""
_SUMS = {table.name: table.c.opened for table in (BY_TOWN, BY_CATEGORY, BY_MONTH, BY_COMMUNITY)}
_SUMS |= {SPOTS.name: SPOTS.c["count"]}
Content = dict[str, list[tuple[Any, ...]]]


def content(where: Path | str | Engine, prefix: str = "") -> Content:
    """The rows of each table whose name begins so, in the order of their text. Figures that have come back to
    nothing are left out: they say the same as no row.
    """
    engine = where if isinstance(where, Engine) else opened(where)
    try:
        with reading(engine) as connection:
            layers = dict(connection.execute(select(LAYERS.c.number, LAYERS.c.name)).all())
            return {
                table.name: sorted(_rows(connection, table, layers), key=repr)
                for table in METADATA.sorted_tables
                if table.name.startswith(prefix) and table.name not in _NOT_CONTENT
            }
    finally:
        if engine is not where:
            engine.dispose()


def differences(one: Content, other: Content) -> list[str]:
    """What one has and the other has not, at most three rows of a table."""
    found = []
    for table in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(table, []), other.get(table, [])
        if mine == theirs:
            continue
        left = [row for row in mine if row not in theirs][:3]
        right = [row for row in theirs if row not in mine][:3]
        found.append(f"{table}: {len(mine)} and {len(theirs)} rows; only here {left}; only there {right}")
    return found


def _rows(connection: Connection, table: Table, layers: Mapping[int, str]) -> list[tuple[Any, ...]]:
    left_out = _NUMBERS.get(table.name, ())
    names = [column.name for column in table.columns if column.name not in left_out]
    held = _SUMS[table.name] != 0 if table.name in _SUMS else true()
    found = connection.execute(select(*(table.c[name] for name in names)).where(held))
    return [
        tuple(_plain(name, value, layers) for name, value in zip(names, row, strict=True)) for row in found
    ]


def _plain(column: str, value: Any, layers: Mapping[int, str]) -> Any:
    if column == "layer":
        return layers[value]
    if column == "properties":
        return json.dumps(json.loads(value), sort_keys=True)
    return bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else value

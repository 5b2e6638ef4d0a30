"""Everything that a city's store holds, to compare two of them."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select, true

from storage.city.casecounts import BY_CATEGORY, BY_COMMUNITY, BY_MONTH, BY_TOWN, SPOTS
from storage.city.engine import opened, reading
from storage.city.metadata import METADATA

_NOT_CONTENT = ("city_offsets", "city_form")
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
            return {
                table.name: sorted(
                    (
                        tuple(map(_plain, row))
                        for row in connection.execute(
                            select(table).where(_SUMS[table.name] != 0 if table.name in _SUMS else true())
                        )
                    ),
                    key=repr,
                )
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


def _plain(value: Any) -> Any:
    return bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else value

"""A transaction of the store on PostgreSQL: many events with few statements.

Values travel as arrays, one for each column, which the server turns into rows: a statement for thousands of
events instead of one for each.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from storage.applying import NewEvent
from storage.database import queries
from storage.pglink import Connection
from storage.projections import Values

Q = queries("postgres")

_STORE_KEY = 0x4C6A << 48
NUMBERS_SPACE = 0x4C69 << 48
"""Advisory locks from here on, plus a number of the log of events."""


class PgWrites:
    """`storage.applying.Writes` in the transaction that is open on the connection."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = connection.cursor()

    def begin(self, log: str, alone: bool) -> int:
        """Lock the log; answers its offset.

        Args:
            alone: nobody else may write to the store meanwhile: a claim looks at all that came before it, and
                what comes at the same time must see the claim.
        """
        self._cursor.execute(Q["lock" if alone else "lock_shared"], {"key": _STORE_KEY})
        found = self.rows("lock_offset", {"log": log})
        if not found:
            self._cursor.execute(Q["first_offset"], {"log": log})
            found = self.rows("lock_offset", {"log": log})
        self._cursor.execute(Q["lock_numbers"], {"space": NUMBERS_SPACE})
        return int(found[0][0])

    def alone(self) -> None:
        """Nobody else may write to the store until the transaction ends."""
        self._cursor.execute(Q["lock"], {"key": _STORE_KEY})

    def keep(self, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        values = {
            "id": array([item.event.id for item in events]),
            "source": array([item.event.source for item in events]),
            "family": array([item.event.family for item in events]),
            "epoch": array([item.event.epoch for item in events]),
            "sequence": array([item.event.sequence for item in events]),
            "time_us": array([item.event.time_us for item in events]),
            "body": array([item.body.decode() for item in events]),
            "superseded": array([item.superseded for item in events]),
        }
        new = set(self._cursor.execute(Q["insert_events"], values).fetchall())
        kept = []
        for item in events:
            e = item.event
            key = e.source, e.family, e.epoch, e.sequence
            if key in new:
                new.remove(key)  # given twice in one batch, it is new once
                kept.append(item)
        return kept

    def change(self, statement: str, rows: Sequence[Values]) -> None:
        sql = Q[statement]
        if not rows:
            return
        if "[]" in sql:
            names = _names(sql)
            self._cursor.execute(sql, {name: array([row[name] for row in rows]) for name in names})
        else:
            self._cursor.executemany(sql, rows)

    def rows(self, statement: str, values: Values) -> list[Any]:
        return self._cursor.execute(Q[statement], values).fetchall()


def array(values: Iterable[Any]) -> str:
    """An array of one dimension as PostgreSQL writes it: text, numbers, booleans or nulls."""
    return "{" + ",".join([_item(value) for value in values]) + "}"


def _item(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "NULL" if value is None else str(value)


def _names(sql: str) -> list[str]:
    """The parameters of a statement."""
    return [part.partition(")")[0] for part in sql.split("%(")[1:]]

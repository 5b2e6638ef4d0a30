"""The city's store: everything that its people work with, projected from events, each exactly once.

    store = CityStore("postgresql://...", objects, vault)        # or a Path: an SQLite file

It is a consumer of its own beside the box's store: the projector gives it records of all families. A batch of
records, the changes they make and the log's offset are one transaction. It can be dropped and built again
from the log, the objects that its events name, and the vault.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Engine, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from events.bus import Record
from events.errors import EventRefused, StorageError, StoreAway
from events.events import Event
from ingest.credentials import Credentials
from storage.city.appeals import AppealTables
from storage.city.cases import CaseTables
from storage.city.desk import DeskTables
from storage.city.engine import opened, upsert, writing
from storage.city.features import FeatureTables
from storage.city.metadata import METADATA, WORD
from storage.city.refusal import Refused
from storage.city.registers import RegisterTables
from storage.city.vault import Vault
from storage.objects import Objects

if TYPE_CHECKING:  # the driver is not needed where the store is a file
    from storage.pglink import Address

OFFSETS = Table(
    "city_offsets",
    METADATA,
    Column("log", WORD, primary_key=True),
    Column("offset", BigInteger, nullable=False),
)

Projection = Callable[[Connection, Sequence[Event]], None]
"""Makes the changes of events, in order, in the open transaction. The same events again change nothing.
Raises `storage.city.refusal.Refused` for an event that it will never hold."""

FREE = frozenset(("case", "alert", "judgement"))
"""Families of which none asks for what another one of them does. All others stay in order with everything."""

_TRIES = 5
_NOT_HELD: tuple[type[Exception], ...] = (
    *(sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
    *(OverflowError, TypeError, ValueError),
)
"""What is raised for the sake of an event's values; psycopg's beside them."""
_FAILED: tuple[type[Exception], ...] = (StorageError, *_NOT_HELD)


class CityStore:
    """See the module's text. From any thread.

    Args:
        where: the SQLite file, or `postgresql://[user@]host[:port]/database`, or the address made of it.
        objects: where the batches lie that events name.
        vault: keys of what is said of persons.
        login: user and password for PostgreSQL; without it, those of the address and of libpq's own places.
        zone: of the days by which statistics count. Another one needs the store to be built anew.

    Raises:
        ConfigError: the address is none.
        StorageError: it cannot be opened (StoreAway: the server does not answer).
    """

    def __init__(
        self,
        where: "Path | str | Address",
        objects: Objects,
        vault: Vault,
        *,
        login: Credentials | None = None,
        zone: str = "Asia/Shanghai",
    ) -> None:
        self._engine: Engine = opened(where, login)
        self.name = str(where) if isinstance(where, Path) else "the city's store"
        self.features = FeatureTables(self._engine, objects)
        self.registers = RegisterTables(self._engine, objects, vault)
        self.cases = CaseTables(self._engine, self.features, zone)
        self.appeals = AppealTables(self._engine, objects, vault, self.cases)
        self.desk = DeskTables(self._engine)
        # By family, in the order in which they are asked.
        self._projections: Mapping[str, Sequence[Projection]] = {
            "place": (self.features.project,),
            "register": (self.registers.project, self.appeals.project_imports),
            "case": (self.cases.project, self.appeals.project),
            "desk": (self.desk.project,),
            "alert": (self.features.project_alerts,),
            "judgement": (self.features.project_alerts,),
        }

    def offset(self, log: str) -> int:
        """How far the records of a log were applied; 0: not at all."""
        with self._engine.connect() as connection:
            found = connection.execute(select(OFFSETS.c.offset).where(OFFSETS.c.log == log)).scalar()
        return int(found or 0)

    def apply(self, log: str, records: Sequence[Record]) -> int:
        """Apply records of a log in order, all or none; answers how many were not passed over.

        Raises:
            StorageError: nothing was applied; the same records may be given again.
            EventRefused: it never will be, for the sake of one record.
        """
        if not records:
            return 0
        try:
            return self._write(log, records)
        except Refused as e:
            raise _refusal(e, log, records) from e.__cause__
        except _FAILED as e:
            if not _of_values(e) and not isinstance(e, EventRefused):
                raise
            if (refused := self._search(log, records)) is not None:
                raise refused from e
            if isinstance(e, StorageError):
                raise
            raise StorageError(f"{self.name} does not take what comes: {e}") from e

    def stand(self, log: str, offset: int) -> None:
        """The log counts as applied up to here (0: it is to be applied again from its beginning)."""
        with writing(self._engine) as connection:
            upsert(connection, OFFSETS, [{"log": log, "offset": offset}])

    def close(self) -> None:
        """Release the file or connections."""
        self._engine.dispose()

    def _write(self, log: str, records: Sequence[Record]) -> int:
        """In a transaction, again where another one was in its way or the connection broke: even if what
        broke was a commit that succeeded, records that were applied are not applied again.
        """
        for tries in range(_TRIES):
            try:
                with writing(self._engine) as connection:
                    return self._apply(connection, log, records)
            except StoreAway as e:
                if tries == _TRIES - 1 or not (_overtaken(e) or tries == 0):
                    raise
        raise AssertionError("the last try answers or raises")

    def _apply(self, connection: Connection, log: str, records: Sequence[Record]) -> int:
        done, events = _hold(connection, log), []
        for record in records:
            if record.offset > done:
                done = record.offset
                if record.event.family in self._projections:
                    events.append(record.event)
        for family, some in _runs(events):
            for project in self._projections[family]:
                project(connection, some)
        upsert(connection, OFFSETS, [{"log": log, "offset": done}])
        return len(events)

    def _search(self, log: str, records: Sequence[Record]) -> EventRefused | None:
        """Which of the records it is that the store cannot hold; nothing is kept of the search."""

        class Done(Exception):
            pass

        found: EventRefused | None = None
        try:
            with writing(self._engine) as connection:
                for record in records:
                    try:
                        self._apply(connection, log, [record])
                    except _FAILED as e:
                        if not _of_values(e) and not isinstance(e, EventRefused):
                            raise
                        event = record.event
                        what = f"event {event.id!r} ({event.type} of {event.source!r})"
                        text = (
                            str(e) if isinstance(e, EventRefused) else f"{self.name} cannot hold {what}: {e}"
                        )
                        found = EventRefused(text, log, record.offset)
                        raise Done from None
                raise Done
        except Done:
            return found


def _hold(connection: Connection, log: str) -> int:
    """The log's offset; its row is held, so that of two projectors the later one finds what is done."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = make(OFFSETS).values(log=log, offset=0)
    statement = statement.on_conflict_do_update(index_elements=["log"], set_={"log": log})
    return int(connection.execute(statement.returning(OFFSETS.c.offset)).scalar_one())


def _runs(events: Sequence[Event]) -> Iterator[tuple[str, list[Event]]]:
    """Events of a family together, in order with all that they may ask for."""
    held: dict[str, list[Event]] = {}
    for event in events:
        family = event.family
        some = held.get(family)
        if some is None:
            if family not in FREE or not FREE.issuperset(held):
                yield from held.items()
                held = {}
            some = held[family] = []
        some.append(event)
    yield from held.items()


def _refusal(error: Refused, log: str, records: Sequence[Record]) -> EventRefused:
    offset = next((record.offset for record in records if record.event is error.event), 0)
    return EventRefused(str(error), log, offset)


def _of_values(error: BaseException) -> bool:
    """Whether it was raised for the sake of an event's values, by Python, the driver, or the server."""
    causes = (error, error.__cause__)
    return any(isinstance(cause, _NOT_HELD) or _pg(cause, ("22", "23")) for cause in causes)


def _overtaken(error: BaseException) -> bool:
    return _pg(error.__cause__, ("40",))


def _pg(error: BaseException | None, classes: tuple[str, ...]) -> bool:
    return str(getattr(error, "sqlstate", None) or "").startswith(classes)

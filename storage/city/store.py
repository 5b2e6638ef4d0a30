"""The city's store: everything that its people work with, projected from events, each exactly once.

    store = CityStore("postgresql://...", objects, vault)        # or a Path: an SQLite file

It is a consumer of its own beside the box's store: the projector gives it records of all families. A batch of
records, the changes they make and the log's offset are one transaction. It can be dropped and built again
from the log, the objects that its events name, and the vault.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import BigInteger, Column, Connection, Engine, String, Table, select

from events.bus import Record
from events.events import Event
from storage.city.cases import CaseTables
from storage.city.desk import DeskTables
from storage.city.engine import opened, upsert
from storage.city.features import FeatureTables
from storage.city.metadata import METADATA
from storage.city.registers import RegisterTables
from storage.city.vault import Vault
from storage.objects import Objects

OFFSETS = Table(
    "city_offsets",
    METADATA,
    Column("log", String, primary_key=True),
    Column("offset", BigInteger, nullable=False),
)

Projection = Callable[[Connection, Sequence[Event]], None]
"""Makes the changes of events, in order, in the open transaction. The same events again change nothing."""


class CityStore:
    """See the module's text. From any thread.

    Args:
        where: the SQLite file, or `postgresql://[user@]host[:port]/database`.
        objects: where the batches lie that events name.
        vault: keys of what is said of persons.

    Raises:
        ConfigError: the address is none.
        StorageError: it cannot be opened (StoreAway: the server does not answer).
    """

    def __init__(self, where: Path | str, objects: Objects, vault: Vault) -> None:
        self._engine: Engine = opened(where)
        self.features = FeatureTables(self._engine, objects)
        self.registers = RegisterTables(self._engine, objects, vault)
        self.cases = CaseTables(self._engine, self.features)
        self.desk = DeskTables(self._engine)
        # By family, in the order in which they are asked.
        self._projections: Mapping[str, Sequence[Projection]] = {
            "place": (self.features.project,),
            "register": (self.registers.project, self.cases.project_imports),
            "case": (self.cases.project,),
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
        raise NotImplementedError

    def stand(self, log: str, offset: int) -> None:
        """The log counts as applied up to here (0: it is to be applied again from its beginning)."""
        with self._engine.begin() as connection:
            upsert(connection, OFFSETS, [{"log": log, "offset": offset}])

    def close(self) -> None:
        """Release the file or connections."""
        self._engine.dispose()

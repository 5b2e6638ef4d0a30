"""Opens a store by its address: a file of this box, or a database on the network."""

from pathlib import Path

from events.errors import ConfigError
from ingest.credentials import Credentials
from storage.store import SqliteStore, Store


def open_store(where: Path | str, login: Credentials | None = None) -> Store:
    """The store at a path (SQLite) or at `postgresql://[user@]host[:port]/database`.

    Raises:
        ConfigError: PostgreSQL's driver is not installed, or the address is none.
        StorageError: the store cannot be opened (StoreAway: the server does not answer).
    """
    if isinstance(where, Path) or not where.startswith(("postgresql://", "postgres://")):
        return SqliteStore(Path(where))
    try:
        from storage.postgres import PostgresStore
    except ModuleNotFoundError as e:
        raise ConfigError(f"a store on PostgreSQL needs {e.name}; install linli[city]") from e
    return PostgresStore(where, login)

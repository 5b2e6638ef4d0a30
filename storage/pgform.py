"""Which form the tables of a store on PostgreSQL have, and whether this Linli can work with it."""

from events.errors import StorageError
from storage.pglink import Address, Connection

FORMS = ("0001", "0002", "0003")
"""The revisions in `storage/migrations/versions`, oldest first; this Linli works with the last."""

_BROKEN = (
    "SELECT c.relname FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid "
    "WHERE NOT indisvalid AND c.relnamespace = current_schema()::regnamespace ORDER BY 1"
)


def form(connection: Connection) -> str | None:
    """The revision that the tables have; None: there are none."""
    if connection.execute("SELECT to_regclass('linli_form')").fetchall() == [(None,)]:
        return None
    found = connection.execute("SELECT version_num FROM linli_form").fetchall()
    return str(found[0][0]) if found else None


def has_postgis(connection: Connection) -> bool:
    """Whether the database has the extension."""
    return bool(connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'postgis'").fetchall())


def check_form(connection: Connection, address: Address) -> None:
    """
    Raises:
        StorageError: the tables are missing, or have another form than this Linli works with.
    """
    present = form(connection)
    if present is None and not has_postgis(connection):
        raise StorageError(
            f"{address}: the database has neither PostGIS nor Linli's tables; run `linli store migrate`"
        )
    if present is None:
        raise StorageError(f"{address} has no tables yet; run `linli store migrate`")
    check_not_newer(present, address)
    broken = [name for (name,) in connection.execute(_BROKEN).fetchall()]
    if present != FORMS[-1]:
        following = FORMS[FORMS.index(present) + 1]
        half = f"; {following} is half applied, index {', '.join(broken)} is not whole" if broken else ""
        raise StorageError(
            f"{address} has form {present}, this Linli needs {FORMS[-1]}{half}; run `linli store migrate`, "
            "what writes to the store may go on meanwhile"
        )
    if broken:
        raise StorageError(
            f"{address}: index {', '.join(broken)} is not whole; drop it and run `linli store migrate`"
        )
    if not has_postgis(connection):
        raise StorageError(f"{address} has lost PostGIS; in the database: CREATE EXTENSION postgis")


def check_not_newer(present: str, address: Address) -> None:
    """
    Raises:
        StorageError: a newer Linli made the tables.
    """
    if present not in FORMS:
        raise StorageError(
            f"{address} was made by a newer Linli (form {present}, this one knows {FORMS[-1]}); "
            "install that one"
        )

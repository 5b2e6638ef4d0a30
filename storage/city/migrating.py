"""Brings the city's tables to the form that this Linli works with (Alembic), on SQLite and PostgreSQL.

A file is brought up to date when it is opened. On PostgreSQL an empty database gets its tables then; one of
an older form is brought up to date by `linli store migrate`, while others may go on reading and writing it.
"""

import logging
from importlib.resources import files

from sqlalchemy import Connection, Engine, inspect, text

from events.errors import StorageError
from storage.city.engine import is_postgres, name_of, reading, writing

log = logging.getLogger(__name__)

FORMS = ("0001",)
"""The revisions in `storage/city/migrations/versions`, oldest first; this Linli works with the last."""
TABLE = "city_form"


def form(connection: Connection) -> str | None:
    """The revision that the tables have; None: there are none."""
    if not inspect(connection).has_table(TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {TABLE}")).scalar()


def check(engine: Engine) -> str | None:
    """The form that there is, if this Linli can work with it or make of it what it can work with.

    Raises:
        StorageError: a newer Linli made the tables.
    """
    with reading(engine) as connection:
        present = form(connection)
    if present is not None and present not in FORMS:
        raise StorageError(
            f"{name_of(engine)} was made by a newer Linli (the city's form {present}, this one knows "
            f"{FORMS[-1]}); install that one"
        )
    return present


def ready(engine: Engine) -> None:
    """Make the tables where there are none; bring those of a file up to date.

    Raises:
        StorageError: they cannot be made, or are of another form than this Linli works with.
    """
    present = check(engine)
    if present is not None and is_postgres(engine):
        expect(engine)
    elif present != FORMS[-1]:
        migrate(engine)


def expect(engine: Engine) -> None:
    """
    Raises:
        StorageError: there are no tables, or they are of another form than this Linli works with.
    """
    present = check(engine)
    if present is None:
        raise StorageError(f"{name_of(engine)} has no tables of the city yet; run `linli store migrate`")
    if present != FORMS[-1]:
        raise StorageError(
            f"{name_of(engine)} has the city's form {present}, this Linli needs {FORMS[-1]}; run `linli "
            "store migrate`, what writes to the store may go on meanwhile"
        )


def migrate(engine: Engine) -> list[str]:
    """Apply the revisions that are missing, all or none; answers which.

    Raises:
        StorageError: it cannot be done, and why.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "storage.city:migrations")
    config.set_main_option("version_path_separator", "os")
    check(engine)
    with writing(engine) as connection:  # one at a time: the next one finds it done
        before = form(connection)
        due = list(FORMS[FORMS.index(before) + 1 if before else 0 :])
        if due:
            _need_postgis(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, FORMS[-1])
    return due


def statements(revision: str, dialect: str) -> list[str]:
    """A revision's statements for a database."""
    path = files("storage") / "city" / "migrations" / "sql" / f"{revision}.{dialect}.sql"
    return [part.strip() for part in path.read_text(encoding="utf-8").split(";\n") if part.strip()]


def _need_postgis(connection: Connection) -> None:
    if not is_postgres(connection):
        return
    if connection.execute(text("SELECT 1 FROM pg_extension WHERE extname = 'postgis'")).scalar() is None:
        raise StorageError(f"{name_of(connection)}: the database has no PostGIS; run `linli store migrate`")

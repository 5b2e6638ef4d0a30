"""`linli store`: the form of a store on PostgreSQL, looked at and brought up to date."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import settings as site_settings
from cli import wiring
from events.errors import ConfigError

if TYPE_CHECKING:  # the driver is not needed where the store is a file
    from storage.pglink import Address

WHERE = click.argument("where", metavar="SITE|DSN")


def address(where: str) -> "Address":
    """The database that a site file names, or that is named itself.

    Raises:
        ConfigError: it names none, or the driver is not installed.
    """
    try:
        from storage.pglink import Address
    except ModuleNotFoundError as e:
        raise ConfigError(f"a store on PostgreSQL needs {e.name}; install linli[city]") from e
    if where.startswith(("postgresql://", "postgres://")):
        return Address(where)
    loaded = site_settings.load(Path(where))
    section = loaded.file.store
    if not section.url:
        raise ConfigError(
            f"{where} keeps its store in a file, which is brought up to date when it is opened: nothing "
            "to do here (a store on PostgreSQL: url in [store])"
        )
    return Address(section.url, wiring.secret(section.credentials, loaded.path.parent))


@click.group()
def store() -> None:
    """The store on PostgreSQL with PostGIS: `[store]` of the site file, or a DSN."""


@store.command()
@WHERE
@click.option("--wait", default=600.0, help="Seconds to wait for another migration of the same store.")
@click.option("--city", is_flag=True, help="Create the city's tables, too (with a DSN; a site file says it).")
def migrate(where: str, wait: float, city: bool) -> None:
    """Create the store's tables, or bring them to the form that this Linli needs. The city's as well, if the
    site file has a [city] or they are there.

    What reads and writes the store goes on meanwhile. What was cut off is gone on with by the next call.
    """
    place = address(where)
    from storage.migrating import migrate as bring_up_to_date

    done = bring_up_to_date(place, wait)
    click.echo(f"{place}: {_said(done)}")
    if city or _has_city(where, place):
        with wiring.city("the city's store"):
            from storage.city import migrating
            from storage.city.engine import connected
        engine = connected(place)
        try:
            click.echo(f"{place}, the city's tables: {_said(migrating.migrate(engine))}")
        finally:
            engine.dispose()


@store.command("check")
@WHERE
def check_store(where: str) -> None:
    """Say whether the store can be used by this Linli, and what it holds; otherwise what to do."""
    place = address(where)
    from storage.pgform import FORMS
    from storage.postgres import PostgresStore

    opened = PostgresStore(place)
    try:
        sizes = opened.sizes()
    finally:
        opened.close()
    click.echo(
        f"{place}: form {FORMS[-1]}, {sizes.events} events ({sizes.superseded} superseded), "
        f"{sizes.alerts} alerts ({sizes.open_alerts} open)"
    )
    if _has_city(where, place):
        click.echo(f"{place}, the city's tables: {_city_stands(place)}")


def _said(done: list[str]) -> str:
    return f"applied {', '.join(done)}" if done else "is up to date"


def _has_city(where: str, place: "Address") -> bool:
    """Whether the site has a city, or the database its tables."""
    if not where.startswith(("postgresql://", "postgres://")):
        return bool(site_settings.load(Path(where)).file.city.code)
    connection = place.connect()
    try:
        return connection.execute("SELECT to_regclass('city_form') IS NOT NULL").fetchall() == [(True,)]
    finally:
        connection.close()


def _city_stands(place: "Address") -> str:
    """The form of the city's tables and what is in them.

    Raises:
        StorageError: this Linli cannot use them, with the mend.
    """
    with wiring.city("the city's store"):
        from storage.city import migrating
        from storage.city.casefind import sizes
        from storage.city.engine import connected, reading
    engine = connected(place)
    try:
        migrating.expect(engine)
        with reading(engine) as connection:
            cases, still = sizes(connection)
        return f"form {migrating.FORMS[-1]}, {cases} cases ({still} open)"
    finally:
        engine.dispose()


COMMANDS = (store,)

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
def migrate(where: str, wait: float) -> None:
    """Create the store's tables, or bring them to the form that this Linli needs.

    What reads and writes the store goes on meanwhile. What was cut off is gone on with by the next call.
    """
    place = address(where)
    from storage.migrating import migrate as bring_up_to_date

    done = bring_up_to_date(place, wait)
    click.echo(f"{place}: {'applied ' + ', '.join(done) if done else 'is up to date'}")


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


COMMANDS = (store,)

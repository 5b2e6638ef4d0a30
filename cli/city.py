"""`linli city`: the desk's process, started by `linli run`."""

import threading
from pathlib import Path

import click

from cli import running, wiring
from cli import settings as site_settings
from events.clock import SystemClock


@click.command(hidden=True)
@click.argument("site", type=click.Path(path_type=Path, dir_okay=False))
def city(site: Path) -> None:
    """Bring events into the city's store and move cases by themselves (started by `run`)."""
    with wiring.city("the city's desk"):
        from cli import cityhall
    stop = threading.Event()
    running.as_child(stop)
    loaded = site_settings.load(site)
    running.of_site(loaded, "city")
    cityhall.run(loaded, SystemClock(), stop)


COMMANDS = (city,)

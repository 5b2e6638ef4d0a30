"""`linli serve`: the command centre's process, from Kafka into the store."""

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import logs, running, wiring
from cli import settings as site_settings
from events.clock import SystemClock
from events.errors import LinliError

if TYPE_CHECKING:
    from cli.centre import Centre

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@SITE
@click.option("--for", "for_s", type=click.FloatRange(min=1), help="End by itself after so many seconds.")
@click.option("--supervised", is_flag=True, hidden=True, help="End with the parent's pipe.")
def serve(site: Path, for_s: float | None, supervised: bool) -> None:
    """Bring the events on Kafka into the store until SIGTERM; figures on [serve] host:port.

    The last line is a JSON object of what was done.
    """
    stop = threading.Event()
    if supervised:
        running.as_child(stop)
    else:
        running.stop_on_signals(stop)
    with wiring.city("linli serve"):
        from cli.centre import Centre
    clock = SystemClock()
    loaded = site_settings.load(site)
    running.of_site(loaded, "serve")
    centre = Centre(loaded, clock)
    centre.server.start()
    logs.told(f"figures: {centre.server.url}/metrics")
    for service in centre.services:
        service.start()
    until = clock.monotonic() + for_s if for_s is not None else None
    fallen = False
    while not stop.wait(0.5) and not fallen and (until is None or clock.monotonic() < until):
        fallen = not all(service.alive for service in centre.services)
    for service in centre.services:
        service.ask()
    for service in centre.services:
        service.stop()
    centre.server.stop()
    done = _done(centre)
    centre.close()
    if fallen:
        raise LinliError("a projector ended unasked; the log says why")
    if not supervised:
        click.echo(json.dumps(done))
        sys.stdout.flush()


def _done(centre: "Centre") -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in centre.figures.collect():
        if metric.name in ("linli_projector_records", "linli_projector_dead_letters"):
            found[metric.name.removeprefix("linli_projector_")] = sum(s.value for s in metric.samples)
    return found


COMMANDS = (serve,)

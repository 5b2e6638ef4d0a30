"""`linli run` and the processes it supervises: workers, services, console."""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click

from cli import logs, observing, whole, wiring
from cli import settings as site_settings
from cli.settings import Settings
from events.clock import Clock, SystemClock
from events.errors import ConfigError, LinliError
from pipeline.supervisor import Child, Supervisor, ends_with_parent, stops_on

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))


def stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and SIGINT ask for a drain."""
    stops_on(stop, signal.SIGTERM, signal.SIGINT)


def as_child(stop: threading.Event) -> None:
    """A supervised process drains when its parent says so or is gone, not at the terminal's Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stops_on(stop, signal.SIGTERM)
    ends_with_parent(stop)


def of_site(loaded: Settings, process: str) -> None:
    """The process's log lines are as the site file wants them."""
    logs.of_site(loaded.file.telemetry.logs, process, loaded.file.site.id)


def supervise(
    loaded: Settings,
    *,
    for_s: float | None = None,
    ready: Callable[[], None] = lambda: None,
    serve: bool = False,
) -> dict[str, object]:
    """Run the site until SIGTERM, SIGINT or `for_s`; drain; answer what was done.

    `serve`: `linli serve` runs with it.
    """
    of_site(loaded, "run")
    clock = SystemClock()
    paths = wiring.Paths(loaded.data).make()
    with whole.alone(paths, clock):
        whole.check(loaded, clock)
        for old in paths.run.glob("worker-*.json"):
            old.unlink()
        before = whole.totals(loaded, clock)
        stop = threading.Event()
        stop_on_signals(stop)
        running = children(loaded)
        if serve:
            running.append(_child("serve", "serve", str(loaded.path), "--supervised", stage=3))
        supervisor = Supervisor(running, clock, fell=whole.tell_fallen(loaded, clock))
        with _among_boxes(loaded, supervisor, stop, clock):
            ready()
            until = clock.monotonic() + for_s if for_s is not None else None
            supervisor.run(stop, until)
        return whole.summary(loaded, before, whole.totals(loaded, clock, before))


def _among_boxes(
    loaded: Settings, supervisor: Supervisor, stop: threading.Event, clock: Clock
) -> contextlib.AbstractContextManager[object]:
    """Where several boxes share the cameras: workers come and go with this box's shares."""
    if not loaded.file.cluster.shares:
        return contextlib.nullcontext()
    from cli import cluster  # needs a client that a box by itself need not have

    return cluster.member(loaded, supervisor, stop, clock)


def children(loaded: Settings) -> list[Child]:
    """The processes, by stages: who writes the journal, moves cases, hands it on, projects it, shows it."""
    site = str(loaded.path)
    alone = not loaded.file.cluster.shares
    shards = loaded.processes if alone else 0
    children = [_child(f"worker-{i}", "worker", site, "--shard", f"{i}/{shards}") for i in range(shards)]
    if loaded.file.sensor and alone:
        children.append(_child("sensors", "sensors", "run", site))
    if loaded.file.city.code:
        children.append(_child("city", "city", site, stage=1))
    children.append(_child("services", "services", site, stage=2))
    if loaded.file.console.enabled:
        children.append(_child("console", "console", site, stage=4))
    return children


def _child(name: str, *command: str, stage: int = 0) -> Child:
    # -P: the folder it is started in is not searched
    return Child(name, [sys.executable, "-P", "-m", "cli.main", *command], stage=stage)


@click.command()
@SITE
@click.option("--for", "for_s", type=click.FloatRange(min=1), help="End by itself after so many seconds.")
def run(site: Path, for_s: float | None) -> None:
    """Read the site's cameras until SIGTERM. The last line is a JSON object of what was done."""
    click.echo(json.dumps(supervise(site_settings.load(site), for_s=for_s)))


@click.command(hidden=True)
@SITE
@click.option("--shard", help="Which part of the cameras, as i/n, on a box that reads all.")
@click.option("--share", help="Which share of the cameras, as i/n, on one of several boxes.")
@click.option("--spare", type=int, help="Wait for a share of so many: its number comes by standard input.")
@click.option("--left", is_flag=True, help="Only finish what a kill left, of this share or of all cameras.")
def worker(site: Path, shard: str | None, share: str | None, spare: int | None, left: bool) -> None:
    """One worker process (started by `run`)."""
    if spare is not None:
        from cli import cluster  # all that a worker needs is loaded before it waits

        share = cluster.wait_for_share(spare)
        if share is None:
            return
    stop = threading.Event()
    if not left:
        as_child(stop)
    loaded = site_settings.load(site)
    paths = wiring.Paths(loaded.data).make()
    with whole.among_workers(paths):
        part = _part(loaded, shard, share)
        of_site(loaded, f"worker-{part.number}")
        built = wiring.worker(loaded, part, SystemClock())
        if left:
            built.leave()
        else:
            built.run(stop, paths.run / f"worker-{part.number}.json")


def _part(loaded: Settings, shard: str | None, share: str | None) -> wiring.Part:
    if shard is not None:
        return wiring.shard(loaded, *_of("--shard", shard))
    from cli import cluster  # needs a client that a box by itself need not have

    if share is not None:
        return cluster.part(loaded, *_of("--share", share))
    journal = wiring.open_journal(loaded, SystemClock())
    try:
        return cluster.left(loaded, journal)
    finally:
        journal.close()


def _of(option: str, text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdigit() and of.isdigit() and int(number) < int(of)):
        raise ConfigError(f"{option} {text!r} is not i/n with i below n, for example 0/2")
    return int(number), int(of)


@click.command(hidden=True)
@SITE
def services(site: Path) -> None:
    """Projector, evidence and housekeeping (started by `run`)."""
    stop = threading.Event()
    as_child(stop)
    loaded = site_settings.load(site)
    of_site(loaded, "services")
    clock = SystemClock()
    built = wiring.services(loaded, clock)
    run = wiring.Paths(loaded.data).run
    failed = False
    with observing.status(loaded, run, lambda: wiring.open_journal(loaded, clock), built, clock):
        for service in built:
            service.start()
        while not stop.wait(1.0) and not failed:
            failed = not all(service.alive for service in built)
    for last in (False, True):  # together, then those that hand on what they said
        ending = [service for service in built if service.last == last]
        for service in ending:
            service.ask()
        for service in ending:
            service.stop()
    if failed:
        raise LinliError("a service ended unasked; the log says why")


@click.command(hidden=True)
@SITE
def console(site: Path) -> None:
    """The page and its API (started by `run`)."""
    stop = threading.Event()
    as_child(stop)
    loaded = site_settings.load(site)
    of_site(loaded, "console")
    server = wiring.console(loaded, SystemClock(), os.environ)
    server.start()
    stop.wait()
    server.stop()


COMMANDS = (run, worker, services, console)

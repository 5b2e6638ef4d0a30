"""`linli objects`: the object store that a site copies to, looked at, set up, listed and read back."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cli import settings as site_settings
from cli import wiring
from cli.orders import span
from cli.settings import Settings
from events.clock import SystemClock
from events.errors import ConfigError, StorageError
from events.media import rfc3339
from pipeline.shipping_status import read_status
from storage import agefiles
from storage.journal import Journal

if TYPE_CHECKING:  # the client is not needed where nothing is copied
    from storage.s3objects import S3Objects

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))
IDENTITY = click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the age identity that opens what was encrypted; its passphrase is asked for.",
)
STALE_S = 120.0
"""A status older than this is of a site that does not run: even a store that does not answer takes less."""

JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


def connected(settings: Settings, identity: Path | None = None) -> "S3Objects":
    """The site's objects in the store. Raises ConfigError."""
    from cli import shipping
    from storage.s3objects import S3Objects

    keys = []
    if identity is not None:
        passphrase = ""
        if identity.is_file() and agefiles.locked(identity.read_bytes()):
            passphrase = click.prompt("Passphrase of the identity", hide_input=True, err=True)
        keys = agefiles.read_identities(identity, passphrase)
    return S3Objects(shipping.s3_place(settings, os.environ), identities=keys)


@click.group()
def objects() -> None:
    """Footage, clips and pictures in an S3 store: `[objects]` of the site file."""


@objects.command("check")
@SITE
@JSON
def check_store(site: Path, as_json: bool) -> None:
    """Ask the store what it has and lets us do, and say how to mend what is wrong. Writes, reads and deletes
    a small object.

    Exit status 1: something failed.
    """
    from cli import shipping
    from storage import s3setup

    loaded = site_settings.load(site)
    failed = False
    place = shipping.s3_place(loaded, os.environ)
    for seen in s3setup.check(place, shipping.wanted(loaded)):
        failed |= seen.state == "fail"
        if as_json:
            click.echo(msgspec.json.encode(seen).decode())
        else:
            colour = {"ok": "green", "warn": "yellow", "fail": "red"}[seen.state]
            click.echo(f"{click.style(seen.state.ljust(5), fg=colour)} {seen.what}: {seen.text}")
    sys.exit(1 if failed else 0)


@objects.command("apply")
@SITE
def apply_settings(site: Path) -> None:
    """Make the bucket if there is none, and set its lock and lifecycle as the site file says. Doing it again
    changes nothing."""
    from cli import shipping
    from storage import s3setup

    loaded = site_settings.load(site)
    for line in s3setup.apply(shipping.s3_place(loaded, os.environ), shipping.wanted(loaded)):
        click.echo(line)


@objects.command("list")
@SITE
@click.argument("prefix", default="")
@JSON
def list_objects(site: Path, prefix: str, as_json: bool) -> None:
    """What the store has of this site: bytes, time, key. PREFIX: of keys that begin so, e.g. clips/."""
    for found in connected(site_settings.load(site)).found(prefix):
        if as_json:
            click.echo(msgspec.json.encode(found).decode())
        else:
            sealed = "  (age)" if found.encrypted else ""
            click.echo(f"{found.bytes:>12}  {rfc3339(found.modified_us)[:19]}Z  {found.key}{sealed}")


@objects.command("get")
@SITE
@click.argument("key")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@IDENTITY
@click.option("--force", is_flag=True, help="Overwrite the file.")
def get_object(site: Path, key: str, file: Path, identity: Path | None, force: bool) -> None:
    """Fetch an object into a file, decrypted, and compare its SHA-256 with what was put there."""
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already; give another name, or --force to overwrite it")
    store = connected(site_settings.load(site), identity)
    found = store.get_file(key, file)
    if found is None:
        raise StorageError(f"the store has no {key}; see `linli objects list SITE`")
    checked = f"SHA-256 {found.sha256}, as it was put there" if found.sha256 else "nobody left its SHA-256"
    click.echo(f"{file}: {file.stat().st_size} bytes, {checked}")


@objects.command("restore")
@SITE
@click.option("--camera", required=True)
@click.option("--from", "from_", required=True, help="Begin here, e.g. 2026-01-31T08:00:00.")
@click.option("--to", required=True, help="End here.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="A data folder to fill, made if there is none; by default the site's own.",
)
@IDENTITY
@JSON
def restore_footage(
    site: Path,
    camera: str,
    from_: str,
    to: str,
    into: Path | None,
    identity: Path | None,
    as_json: bool,
) -> None:
    """Fetch a camera's footage and traces of a span, each compared with its papers, so that `linli replay`
    and `linli export` find them.

    With --into DIR, use it by LINLI_DATA=DIR. What is older than recording.keep_days can only go there: in
    the site's own folder it would be deleted again. Exit status 1: something was left out.
    """
    from pipeline import restoring

    loaded = site_settings.load(site)
    start, end = span(from_, to)
    clock = SystemClock()
    own = into is None
    if own and start < clock.wall_us() - int(loaded.file.recording.keep_days * 86_400e6):
        raise ConfigError(
            f"--from {from_} is older than recording.keep_days, so the site's own folder would not keep it; "
            "name another with --into DIR"
        )
    paths = wiring.Paths(loaded.data if into is None else into.resolve()).make()
    store = connected(loaded, identity)
    found = list(restoring.find(store, camera, start, end))
    if not found:
        raise StorageError(f"the store has no footage of {camera} from {rfc3339(start)} to {rfc3339(end)}")
    journal = Journal(paths.journal, clock)
    try:
        total = sum(papers.row.bytes for papers in found)
        with click.progressbar(length=max(total, 1), label=f"fetching {camera}", file=sys.stderr) as bar:
            done = restoring.restore(store, found, paths.footage, journal, bar.update)
    finally:
        journal.close()
    if as_json:
        click.echo(msgspec.json.encode(done).decode())
    else:
        click.echo(
            f"{done.segments} segments fetched and compared ({done.bytes / 1e6:.1f} MB), {done.here} were "
            f"here already; into {paths.footage}"
        )
    for path, why in done.failed.items():
        click.echo(f"linli: left out {path}: {why}", err=True)
    sys.exit(1 if done.failed else 0)


@objects.command("status")
@SITE
@JSON
def show_status(site: Path, as_json: bool) -> None:
    """What waits to be copied, what is on its way, and what went wrong: as the running site last said."""
    loaded = site_settings.load(site)
    status = read_status(wiring.Paths(loaded.data).run / "shipping.json")
    if status is None:
        raise ConfigError(f"{loaded.path}: nothing was copied yet; set [objects] and start `linli run`")
    if as_json:
        click.echo(msgspec.json.encode(status).decode())
        return
    ago = (SystemClock().wall_us() - status.seen_us) / 1e6
    limit = "no limit" if status.limit_bytes_s is None else f"limit {status.limit_bytes_s / 125_000:g} Mbit/s"
    click.echo(f"{status.state}, {limit}; said {ago:.0f} s ago")
    if ago > STALE_S:
        click.echo(click.style("problem: the site does not run; start it with `linli run`", fg="red"))
    if status.problem:
        click.echo(click.style(f"problem: {status.problem}", fg="red"))
    if status.now:
        part = f"{status.now_sent / 1e6:.1f} of {status.now_bytes / 1e6:.1f} MB"
        click.echo(f"now      {status.now}: {part}")
    oldest = ""
    if status.oldest_us:
        day = datetime.fromtimestamp(status.oldest_us / 1e6, UTC).isoformat(timespec="seconds")
        oldest = f", the oldest of {day}"
    click.echo(f"waiting  {status.waiting} ({status.waiting_bytes / 1e6:.1f} MB{oldest})")
    click.echo(f"done     {status.done} ({status.done_bytes / 1e6:.1f} MB)")
    click.echo(f"lost     {status.lost} ({status.lost_bytes / 1e6:.1f} MB)")


COMMANDS = (objects,)

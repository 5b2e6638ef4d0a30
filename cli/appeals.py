"""`linli appeals`: a hotline's records brought in, as many as there are."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cli import settings as site_settings
from cli import wiring
from events.clock import SystemClock
from events.errors import ConfigError

if TYPE_CHECKING:
    from desk.hotlinefile import HotlineMapping


@click.group()
def appeals() -> None:
    """Citizens' appeals: a hotline's records in bulk."""


@appeals.command("import")
@click.argument("site", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--mapping",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file that says what the file's columns and values mean (docs/appeals.md).",
)
@click.option("--channel", default="hotline", show_default=True, help="Of records that name none.")
@click.option("--dry-run", is_flag=True, help="Only look: nothing is taken.")
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where rows go that cannot be taken, to be mended and sent again; by default beside FILE.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def import_records(
    site: Path,
    file: Path,
    mapping: Path | None,
    channel: str,
    dry_run: bool,
    rejects: Path | None,
    as_json: bool,
) -> None:
    """Take a hotline's records: CSV (UTF-8 or GB18030) or Excel. What is here already (by its channel and
    number) is passed over, so that the same file may be sent again.

    Exit status 1: some rows were rejected.
    """
    with wiring.city("appeals"):
        from cli import cityhall
        from cli.exporting import user
        from desk.hotlinefile import HotlineFile
        from desk.registerfiles import Rejected, RejectFile, Row, length
    loaded = site_settings.load(site)
    records = HotlineFile(file, _mapping(mapping))
    clock = SystemClock()
    hall = cityhall.opened(loaded, clock)
    out = RejectFile(rejects or file.with_name(f"{file.stem}.rejected.csv"))

    def reject(row: Row, why: str) -> None:
        out.add(row, Rejected(row=row.number, field="", why=why))

    try:
        desk = cityhall.hotline_import(loaded, hall, clock)
        rows = max(length(file), 1)
        with click.progressbar(length=rows, label=f"taking {file.name}", file=sys.stderr) as bar:
            done = desk.run(
                records,
                who=f"cli {user()}",
                channel=channel,
                dry_run=dry_run,
                reject=reject,
                tick=bar.update,
            )
    finally:
        out.close()
        hall.close()
    if as_json:
        click.echo(msgspec.json.encode(done).decode())
    else:
        would = "would be " if dry_run else ""
        click.echo(
            f"{done.rows} records: {done.taken} {would}taken, {done.known} here already, "
            f"{done.rejected} rejected; {done.linked} the same as another, {done.unplaced} to be placed"
        )
        for why, count in list(done.reasons.items())[:10]:
            click.echo(f"  {count} x {why}")
        if out.count:
            click.echo(f"rejected rows: {out.path}")
    sys.exit(1 if done.rejected else 0)


def _mapping(path: Path | None) -> "HotlineMapping | None":
    from desk.hotlinefile import HotlineMapping

    if path is None:
        return None
    try:
        return msgspec.toml.decode(path.read_bytes(), type=HotlineMapping)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ConfigError(f"the mapping {path} cannot be used: {e}") from e


COMMANDS = (appeals,)

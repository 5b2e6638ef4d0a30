"""`linli registers`: the vault's key, surveys into population and housing; persons shown, exported, erased.

Whoever has the site's files can do it: everything is written down under the name by which the system knows
them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from city.rights import WHOLE, Actor
from cli import settings as site_settings
from cli import wiring
from events.clock import SystemClock
from events.errors import ConfigError, NoSuchThing

if TYPE_CHECKING:
    from cli.cityhall import Hall
    from cli.settings import Settings
    from desk.registerimport import Report
    from desk.registers import Registers

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))
FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
REF = click.argument("ref")
JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
PURPOSE = click.option("--purpose", default="", help="What it is for; kept in the access log.")


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A TOML file that says what a survey's columns mean."""

    columns: dict[str, str] = {}
    """Field -> the file's heading."""
    survey: str = ""
    """Whose own numbers of persons the file has."""


@click.group()
def registers() -> None:
    """Population and housing: `[city]` of the site file."""


@registers.group("key")
def key() -> None:
    """The master key of what is said of persons."""


@key.command("new")
@FILE
def new_key(file: Path) -> None:
    """Make a master key in a new file of mode 600.

    Keep a copy where the backups are not: without it nothing that is said of a person can be read again, and
    with it and a backup everything can.
    """
    with wiring.city("linli registers"):
        from storage.city.master import fingerprint, make_master, read_master
    make_master(file)
    click.echo(f"{file}: a new master key, {fingerprint(read_master(file))}")


@registers.command("import")
@SITE
@click.argument("what", type=click.Choice(("person", "home")))
@FILE
@click.option(
    "--mapping",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file: [columns] field = heading; survey = whose numbers they are (docs/registers.md).",
)
@click.option("--dry-run", is_flag=True, help="Look at every row and keep nothing.")
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where rejected rows go, to be mended and sent again; by default beside FILE.",
)
@click.option("--purpose", default="survey", show_default=True, help="Kept in the event.")
@JSON
def import_file(  # noqa: PLR0913 - one for each option
    site: Path,
    what: str,
    file: Path,
    mapping: Path | None,
    dry_run: bool,
    rejects: Path | None,
    purpose: str,
    as_json: bool,
) -> None:
    """Take a survey: CSV (UTF-8, GB18030, UTF-16) or Excel. Homes first, then persons. What is known already
    changes nothing, so that the same file may be sent again.

    Exit status 1: some rows were rejected.
    """
    with wiring.city("linli registers"):
        from desk.registerfiles import length
    chosen, loaded = _mapping(mapping), site_settings.load(site)
    aside = rejects or file.with_name(f"{file.stem}.rejected.csv")
    with _hall(loaded) as hall:
        from cli import cityhall

        importer = cityhall.register_import(loaded, hall, SystemClock())
        rows = max(length(file), 1) if file.is_file() else 1
        with click.progressbar(length=rows, label=f"taking {file.name}", file=sys.stderr) as bar:
            report = importer.file(
                file,
                what,  # type: ignore[arg-type]
                _actor(),
                mapping=chosen.columns,
                survey=chosen.survey,
                dry=dry_run,
                rejects=aside,
                purpose=purpose,
                progress=bar.update,
            )
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        _tell(report, dry_run, aside)
    sys.exit(1 if report.rejected else 0)


def _tell(report: "Report", dry_run: bool, aside: Path) -> None:
    would = "would be " if dry_run else ""
    click.echo(
        f"{report.rows} rows: {report.taken} {would}taken, {report.unchanged} known already, "
        f"{report.rejected} rejected"
    )
    for one in report.first:
        click.echo(f"  row {one.row}{f', {one.field}' if one.field else ''}: {one.why}")
    if report.rejected and not dry_run:
        click.echo(f"rejected rows: {aside} (mode 600); mend them and send that file")


@registers.command("export")
@SITE
@FILE
@click.option("--area", default=WHOLE, show_default=True, help="Jurisdiction: its code, or * for all.")
@click.option("--purpose", required=True, help="What it is for; kept in the access log.")
def export_file(site: Path, file: Path, area: str, purpose: str) -> None:
    """Write persons in full into a new CSV file of mode 600. Cells that a spreadsheet would take for formulas
    begin with an apostrophe."""
    with _desk(site) as desk:
        rows = desk.export(_actor(), file, area, purpose)
    click.echo(f"{file}: {rows} persons")


@registers.command("show")
@SITE
@click.argument("ref", default="")
@PURPOSE
def show(site: Path, ref: str, purpose: str) -> None:
    """Show a person: masked, or in full with --purpose. Without REF the identity number is asked for (so
    that it is not in the shell's history), which needs a purpose and shows the person masked."""
    with _desk(site) as desk:
        if ref:
            found = desk.person(_actor(), ref, purpose)
        else:
            number = click.prompt("Identity number", hide_input=True, err=True)
            known = desk.find(_actor(), number, purpose)
            if known is None:
                raise NoSuchThing("nobody here has this identity number")
            found = known
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


@registers.command("erase")
@SITE
@REF
@click.option("--reason", required=True, type=click.Choice(("asked", "expired", "mistake")))
@click.confirmation_option(prompt="The person's key is destroyed: nobody can undo it. Go on?")
def erase(site: Path, ref: str, reason: str) -> None:
    """Destroy a person's key: what was sealed under it cannot be read again, wherever copies of it are."""
    with _desk(site) as desk:
        desk.erase(_actor(), ref, reason)  # type: ignore[arg-type]
    click.echo(f"{ref}: erased")


def _actor() -> Actor:
    from cli.exporting import user

    return Actor(f"cli {user()}", "administrator", WHOLE)


@contextmanager
def _hall(loaded: "Settings") -> Iterator["Hall"]:
    with wiring.city("linli registers"):
        from cli import cityhall
    hall = cityhall.opened(loaded, SystemClock())
    try:
        yield hall
    finally:
        hall.close()


@contextmanager
def _desk(site: Path) -> Iterator["Registers"]:
    loaded = site_settings.load(site)
    with _hall(loaded) as hall:
        from cli import cityhall

        yield cityhall.register_desk(loaded, hall, SystemClock())


def _mapping(path: Path | None) -> Mapping:
    if path is None:
        return Mapping()
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Mapping)
    except OSError as e:
        raise ConfigError(f"the mapping {path} cannot be read: {e.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as e:
        raise ConfigError(f"the mapping {path} cannot be used: {e}") from None


COMMANDS = (registers,)

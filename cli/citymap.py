"""`linli map`: the city's map filled from files, looked at, and written as a GeoPackage."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from city.layers import KINDS
from city.rights import WHOLE, Actor
from cli import settings as site_settings
from cli import wiring
from events.clock import SystemClock
from events.errors import ConfigError

if TYPE_CHECKING:
    from cli.cityhall import Hall
    from cli.settings import Settings
    from desk.mapbatch import Report

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))
FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
WHAT = click.argument("what", type=click.Choice(tuple(KINDS)))
JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
Command = TypeVar("Command", bound=Callable[..., object])
SHOWN = 20
"""Rejected rows that are told on the screen."""


def takes_file(command: Command) -> Command:
    """The options of what reads a file."""
    path = click.Path(path_type=Path, dir_okay=False)
    options = (
        click.option("--layer", default="", help="Of a GeoPackage with several."),
        click.option("--field", "fields", multiple=True, help="FIELD=COLUMN, e.g. id=OBJCODE; repeated."),
        click.option("--complete", is_flag=True, help="The file has all there is: what it lacks is gone."),
        click.option("--classes", type=path, help="A table of component classes of your own (TOML)."),
        click.option("--rejected", type=path, help="Rejected rows: .csv or .geojson, to be mended and sent."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("map")
def city_map() -> None:
    """One map: jurisdictions, buildings, components, organisations ...; `[city]` of the site file."""


@city_map.command("import")
@SITE
@WHAT
@FILE
@takes_file
@click.option("--wait", default=300.0, show_default=True, help="Seconds to wait for the store to show it.")
@JSON
def import_file(site: Path, what: str, file: Path, wait: float, as_json: bool, **how: object) -> None:
    """Put a file on the map: GeoJSON, GeoPackage or CSV. Jurisdictions first: the rest finds its grid by
    them. The same file again changes nothing.

    Exit status 1: some rows were rejected.
    """
    _run(site, what, file, how, as_json, wait=wait)


@city_map.command("check")
@SITE
@WHAT
@FILE
@takes_file
@JSON
def check_file(site: Path, what: str, file: Path, as_json: bool, **how: object) -> None:
    """Look at every row of a file and say what an import would do. Changes nothing."""
    _run(site, what, file, how, as_json, dry=True)


@city_map.command("export")
@SITE
@FILE
@click.option("--layer", "layers", multiple=True, help="Only this one; may be repeated.")
def export_file(site: Path, file: Path, layers: tuple[str, ...]) -> None:
    """Write the map into a GeoPackage, for QGIS and others."""
    with _hall(site_settings.load(site)) as hall:
        from desk.mapexport import export

        features = hall.store.features
        total = sum(layer.count for layer in features.layers() if not layers or layer.name in layers)
        with click.progressbar(length=max(total, 1), label=f"writing {file.name}", file=sys.stderr) as bar:
            written = export(features, file, _actor(), layers, bar.update)
    for table, count in written.items():
        click.echo(f"{count:>10,}  {table}")


@city_map.command("layers")
@SITE
@JSON
def show_layers(site: Path, as_json: bool) -> None:
    """What is on the map."""
    with _hall(site_settings.load(site)) as hall:
        found = hall.store.features.layers()
    for layer in found:
        if as_json:
            click.echo(msgspec.json.encode(layer).decode())
        else:
            box = "" if layer.bbox is None else "  " + ", ".join(f"{number:.4f}" for number in layer.bbox)
            click.echo(f"{layer.count:>10,}  {layer.name:<14}{box}")


def _run(
    site: Path, what: str, file: Path, how: dict[str, object], as_json: bool, *, dry: bool = False,
    wait: float = 0.0,
) -> None:  # fmt: skip
    loaded = site_settings.load(site)
    with _hall(loaded) as hall:
        from city import components
        from desk.mapbatch import write_rejected
        from desk.mapfiles import length
        from desk.mapimport import MapDesk, Options

        classes, rejected, layer = how["classes"], how["rejected"], str(how["layer"])
        assert isinstance(classes, Path | None)
        assert isinstance(rejected, Path | None)
        desk = MapDesk(
            hall.journal, hall.store, hall.objects, SystemClock(), loaded.file.site.id, loaded.file.city.code,
            table=components.load(classes) if classes else None, zone=loaded.file.city.zone,
        )  # fmt: skip
        options = Options(layer=layer, fields=_fields(how["fields"]), complete=bool(how["complete"]))
        rows = max(length(file, layer), 1) if file.is_file() else 1
        with click.progressbar(length=rows, label=f"looking at {file.name}", file=sys.stderr) as bar:
            done = desk.load(file, what, _actor(), options, dry=dry, tick=bar.update)
        if rejected is not None and done.rows:
            try:
                write_rejected(rejected, done)
            except OSError as error:
                raise ConfigError(f"{rejected} cannot be written: {error.strerror}") from error
        late = bool(done.report.event) and not desk.arrived(wait)
    if as_json:
        click.echo(msgspec.json.encode(done.report).decode())
    else:
        _tell(done.report, dry)
    if late:
        click.echo("linli: it is journaled; the map shows it once `linli run` is up", err=True)
    sys.exit(1 if done.report.rejected else 0)


def _tell(report: "Report", dry: bool) -> None:
    would = "would change" if dry else "changed"
    click.echo(
        f"{report.rows} rows: {report.accepted} in order, {report.changed} {would}, {report.removed} gone, "
        f"{len(report.rejected)} rejected"
    )
    if report.left_out:
        click.echo(f"left out, because they look as if they were about persons: {', '.join(report.left_out)}")
    for one in report.rejected[:SHOWN]:
        click.echo(f"  row {one.row} ({one.id}), {one.field}: {one.why}")
    if len(report.rejected) > SHOWN:
        click.echo(f"  and {len(report.rejected) - SHOWN} more; --rejected FILE has all of them")


def _fields(given: object) -> dict[str, str]:
    assert isinstance(given, tuple)
    found: dict[str, str] = {}
    for text in given:
        field, sign, column = str(text).partition("=")
        if not (field and sign and column):
            raise ConfigError(f"--field {text!r} must be FIELD=COLUMN, e.g. id=OBJCODE")
        found[field] = column
    return found


def _actor() -> Actor:
    from cli.exporting import user

    return Actor(f"cli {user()}", "administrator", WHOLE)


@contextmanager
def _hall(loaded: "Settings") -> Iterator["Hall"]:
    with wiring.city("linli map"):
        from cli import cityhall
    hall = cityhall.opened(loaded, SystemClock())
    try:
        yield hall
    finally:
        hall.close()


COMMANDS = (city_map,)

"""`linli models`: which there are, getting one, measuring one."""

import click
import msgspec

from cli.footage import print_progress
from detectors import models as library
from detectors.onnx_detector import DEFAULT
from events.clock import SystemClock


@click.group()
def models() -> None:
    """The models that turn pictures into detections."""


@models.command("list")
def list_() -> None:
    """Bundled manifests, and which files are on this machine."""
    for entry in library.catalogue():
        mark = "*" if entry.default else " "
        here = entry.path or "not pulled yet: linli models pull " + entry.name
        click.echo(f"{mark} {entry.name:22} {entry.licence:12} {entry.description}\n    {here}")


@models.command()
@click.argument("name", default=DEFAULT)
def pull(name: str) -> None:
    """Get a model by name; its checksum is verified."""
    click.echo(library.pull(name, lambda what, done: print_progress(what, done or 0.0)))


@models.command()
@click.argument("name", default=DEFAULT)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--provider", "providers", multiple=True, default=("CPUExecutionProvider",), show_default=True)
def bench(name: str, threads: int, providers: tuple[str, ...]) -> None:
    """Milliseconds per inference on this machine, as one JSON object."""
    speed = library.bench(name, SystemClock(), threads=threads, providers=providers)
    click.echo(msgspec.json.encode(speed).decode())


COMMANDS = (models,)

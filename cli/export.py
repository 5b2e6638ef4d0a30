"""`linli export`: footage as a file to give away, masked unless it is said that it must not be, and why."""

import sys
from pathlib import Path

import click
import msgspec

from cli import exporting, orders
from cli import settings as site_settings
from cli.exporting import Done
from cli.running import SITE


@click.command()
@SITE
@click.option("--camera", required=True)
@click.option("--from", "from_", required=True, help="First moment, e.g. 2026-01-31T08:00:00.")
@click.option("--to", required=True, help="Last moment.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The MP4 to write.")
@click.option("--stream", type=click.Choice(["main", "sub"]), default="main", show_default=True)
@click.option(
    "--mask", "masks", type=click.Choice(orders.KINDS), multiple=True, help="Default: people and faces."
)
@click.option(
    "--region", "regions", multiple=True, help='Also hide this polygon: "x1,y1 x2,y2 x3,y3", 0 to 1.'
)
@click.option("--plain", is_flag=True, help="Hide nobody; needs a purpose.")
@click.option("--purpose", default="", help="What the export is for; it goes into the journal.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option("--json", "as_json", is_flag=True, help="What was done, as one JSON object.")
def export(  # noqa: PLR0913  a command's options
    site: Path,
    camera: str,
    from_: str,
    to: str,
    out: Path,
    stream: str,
    masks: tuple[str, ...],
    regions: tuple[str, ...],
    plain: bool,
    purpose: str,
    force: bool,
    as_json: bool,
) -> None:
    """Write recorded footage into a file, people and faces masked.

    Every export is an access event in the journal before it begins. Segments that are damaged, and those
    whose SHA-256 is not the journal's any more, are passed over and told; so are gaps.
    """
    loaded = site_settings.load(site)
    chosen = loaded.camera(camera)
    order = orders.Order(
        camera=camera,
        stream=stream,
        span=orders.span(from_, to),
        out=orders.target(out, force),
        masks=orders.masks(loaded, chosen, masks, plain),
        regions=tuple(orders.region(text) for text in regions),
        purpose=orders.purpose(purpose, plain),
    )
    with click.progressbar(
        length=max((order.span[1] - order.span[0]) // 1_000_000, 1),
        label=f"exporting {camera}",
        file=sys.stderr,
    ) as bar:
        done = exporting.run(loaded, chosen, order, lambda s: bar.update(max(int(s) - bar.pos, 0)))
        bar.update(max((bar.length or 0) - bar.pos, 0))
    _tell(done, as_json)


def _tell(done: Done, as_json: bool) -> None:
    for path, problem in done.passed_over.items():
        click.echo(f"linli: footage {path} was passed over: {problem}", err=True)
    for start, end in done.gaps:
        click.echo(f"linli: no footage from {start} to {end}; the last picture stands there", err=True)
    if done.hidden_whole:
        click.echo(
            f"linli: {done.hidden_whole} of {done.pictures} pictures are hidden whole: no trace tells "
            "what was in them",
            err=True,
        )
    if as_json:
        click.echo(msgspec.json.encode(done).decode())
        return
    click.echo(f"{done.camera}/{done.stream} {done.start} to {done.end}: {done.pictures} pictures")
    click.echo(f"hidden: {done.hidden}")
    for path, sha256 in done.segments.items():
        click.echo(f"{sha256}  {path}")
    click.echo(f"{done.sha256}  {done.file}")


COMMANDS = (export,)

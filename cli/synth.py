"""`linli synth`: a synthetic city by seed, for trying the importers and for measuring."""

import sys
from pathlib import Path

import click
import msgspec

from cli import wiring
from events.errors import ConfigError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--seed", type=int, required=True, help="The same seed and size give the same bytes.")
@click.option("--scale", type=float, help="Share of the full size (1.6 million persons); by default 0.01.")
@click.option("--small", is_flag=True, help="A neighbourhood: a town, three communities, 320 persons.")
@click.option("--part", "parts", multiple=True, help="Only this part, e.g. persons; may be repeated.")
@click.option("--daily", type=int, help="So many appeals a day for three years, e.g. 600.")
@click.option("--bad", is_flag=True, help="Also files with rows that an importer must refuse.")
def synth(
    folder: Path,
    seed: int,
    scale: float | None,
    small: bool,
    parts: tuple[str, ...],
    daily: int | None,
    bad: bool,
) -> None:
    """Make a city by seed in FOLDER: jurisdictions, buildings, components, organisations, homes, persons,
    units, appeals, cameras with their counts. Nobody and nothing in it is real, and its README says so.

    At --scale 1: 21 towns, 1,180 communities, 600,000 homes, 1.6 million persons, 400,000 components, 3,800
    organisations, 2,467,000 appeals over three years, 105 cameras.
    """
    with wiring.city("linli synth"):
        from desk import synth as making
        from desk.synthground import Plan

    if small and scale is not None:
        raise ConfigError("--small and --scale exclude each other; give one of them")
    if scale is not None and not 0 < scale <= 2:
        raise ConfigError(f"--scale {scale:g} is not above 0 and at most 2, 1 being the full size")
    plan = making.SMALL if small else Plan.of(0.01 if scale is None else scale)
    if daily is not None:
        plan = msgspec.structs.replace(plan, appeals=max(1, daily) * plan.days)
    city = making.City(plan, seed)
    chosen = parts or making.PARTS
    with click.progressbar(length=making.length(plan, chosen), label="making", file=sys.stderr) as bar:
        rows = making.make(folder, city, chosen, bad=bad, tick=bar.update)
    for name, count in rows.items():
        click.echo(f"{count:>10,}  {name}")


COMMANDS = (synth,)

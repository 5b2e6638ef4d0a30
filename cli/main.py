"""The command `linli`."""

import logging
import sys

import click

from cli import demo, doctor, faces, ground, measuring, models, presets, running, sensors, watching
from events.errors import LinliError


class Commands(click.Group):
    """Errors raised on purpose are one line for a person; anything else is a bug and shows itself."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LinliError as e:
            click.echo(f"linli: {e}", err=True)
            sys.exit(2)


@click.group(cls=Commands)
@click.version_option(package_name="linli")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def main(verbose: bool) -> None:
    """Cameras into events that people can act on and auditors can replay."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("libav").setLevel(logging.CRITICAL)


for room in (demo, running, doctor, watching, measuring, models, ground, faces, sensors, presets):
    for command in room.COMMANDS:
        main.add_command(command)


if __name__ == "__main__":
    main()

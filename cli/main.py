"""The command `linli`."""

import logging
import sys
from pathlib import Path

import click

from cli import demo, inspect, models, running, watching
from events.errors import LinliError

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))


class Commands(click.Group):
    """Errors that Linli raises on purpose are one line for a person; anything else is a bug and shows itself."""

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


for command in (*demo.COMMANDS, *running.COMMANDS, *watching.COMMANDS, *inspect.COMMANDS, *models.COMMANDS):
    main.add_command(command)


if __name__ == "__main__":
    main()

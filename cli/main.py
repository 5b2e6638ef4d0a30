"""The command `linli`."""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable

import click

from cli import (
    appeals,
    cases,
    city,
    citymap,
    deadletters,
    demo,
    doctor,
    export,
    faces,
    ground,
    logs,
    maplibrary,
    measuring,
    models,
    objects,
    presets,
    registers,
    running,
    sensors,
    serving,
    store,
    synth,
    topics,
    watching,
)
from events.errors import LinliError


class Commands(click.Group):
    """Errors raised on purpose are one line for a person; anything else is a bug and shows itself."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LinliError as e:
            logs.refused(str(e))
            sys.exit(2)


@click.group(cls=Commands)
@click.version_option(package_name="linli")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def main(verbose: bool) -> None:
    """Cameras into events that people can act on and auditors can replay."""
    logs.begin(verbose)


ROOMS = (
    demo,
    running,
    city,
    cases,
    appeals,
    doctor,
    watching,
    measuring,
    models,
    maplibrary,
    ground,
    faces,
    export,
    sensors,
    presets,
    objects,
    store,
    serving,
    deadletters,
    topics,
    synth,
    registers,
    citymap,
)
for room in ROOMS:
    for command in room.COMMANDS:
        main.add_command(command)


def leave(command: Callable[[], object]) -> None:
    """Run a command to its end and end the process with its exit status, whoever is still at work.

    A thread that comes back from ONNX Runtime or OpenCV while the interpreter ends is unwound through their
    C++, which aborts the process ("terminate called without an active exception"). What such a thread had not
    finished is finished at the next start, as after a kill.
    """
    code = 0
    try:
        command()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException as e:  # noqa: BLE001 - it is shown, as the interpreter would
        if logs.structured():
            logs.fell(e)
        else:
            traceback.print_exc()
        code = 1
    if any(thread.daemon for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":  # a supervised process
    leave(main)

"""`linli faces`: the key for originals of faces."""

import os
from pathlib import Path

import click

from cli.wiring import refused
from events.errors import ConfigError
from storage.sealing import LEAST_PASSPHRASE, new_identity


@click.group()
def faces() -> None:
    """What is kept of captured faces."""


@faces.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where to write the identity.")
def keygen(out: Path) -> None:
    """Make a key for originals: the identity into a file that a passphrase protects, the recipient to
    standard output. The passphrase is asked for, twice.

    Do this on a machine that is not the box, where you can. Without the file and its passphrase nobody can
    open what is sealed: keep a copy of both, apart from each other.
    """
    if out.exists():
        raise ConfigError(f"{out} is there already; an identity is never overwritten: give another name")
    # Never an option: the list of processes and the shell's history would have it.
    passphrase = click.prompt(
        f"Passphrase, at least {LEAST_PASSPHRASE} characters",
        hide_input=True,
        confirmation_prompt=True,
        err=True,
    )
    recipient, identity = new_identity(passphrase)
    try:
        fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(identity)
            file.flush()
            os.fsync(file.fileno())
    except OSError as e:
        raise refused(out, e) from None
    click.echo(recipient)
    click.echo(f'For the site file:\n\n[faces]\noriginals = "sealed"\nrecipient = "{recipient}"', err=True)


COMMANDS = (faces,)

"""`linli dlq`: what was set aside on the way to the store, and sending it again."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cli import settings as site_settings
from cli import wiring
from events.clock import SystemClock
from events.errors import ConfigError

if TYPE_CHECKING:
    from storage.deadletters import DeadLetters, Letter

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A letter in a list."""

    id: str
    time: str
    error: str
    reason: str
    type: str
    bytes: int
    by: str


@click.group()
def dlq() -> None:
    """Dead letters: records that are no events, or that the store cannot hold, each with the reason."""


@dlq.command("list")
@SITE
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_letters(site: Path, as_json: bool) -> None:
    """Letters that were not sent again since, the oldest first."""
    with _opened(site) as letters:
        for letter in letters.letters():
            row = _row(letter)
            if as_json:
                click.echo(msgspec.json.encode(row).decode())
            else:
                click.echo(f"{row.id}  {row.time}  {row.error}  {row.type or '?'}  {row.bytes} bytes")
                click.echo(f"    {row.reason}")


@dlq.command()
@SITE
@click.argument("id")
def show(site: Path, id: str) -> None:
    """One letter: why, the record's headers, and its value as it is (last, on standard output)."""
    with _opened(site) as letters:
        (letter,) = _chosen(letters.letters(), (id,))
    click.echo(f"{letter.id}: {letter.error}: {letter.reason}", err=True)
    click.echo(f"set aside {letter.time} by {letter.by}; key {letter.key!r}", err=True)
    for name, value in letter.headers:
        click.echo(f"  {name}: {(value or b'').decode('utf-8', 'replace')}", err=True)
    sys.stdout.buffer.write(letter.value or b"")
    sys.stdout.buffer.write(b"\n")


@dlq.command()
@SITE
@click.option("--id", "ids", multiple=True, help="This letter; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
def retry(site: Path, ids: tuple[str, ...], everything: bool) -> None:
    """Send records to their topics again, as they were: after an upgrade, or once the store was mended.

    What fails again becomes a letter again. What a consumer has had already counts once.
    """
    if bool(ids) == everything:
        raise ConfigError("say which: --id ID (as `linli dlq list` shows it), or --all")
    with _opened(site) as letters:
        found = letters.letters()
        chosen = found if everything else _chosen(found, ids)
        with click.progressbar(length=max(len(chosen), 1), label="sending", file=sys.stderr) as bar:
            letters.retry(chosen, lambda done: bar.update(1))
    click.echo(f"{len(chosen)} sent again")


def _opened(site: Path) -> "DeadLetters":
    with wiring.city("linli dlq"):
        from storage.deadletters import DeadLetters
    return DeadLetters(wiring.brokers(site_settings.load(site)), SystemClock(), "linli dlq")


def _chosen(letters: "Sequence[Letter]", ids: Sequence[str]) -> "list[Letter]":
    by_id = {letter.id: letter for letter in letters}
    for id_ in ids:
        if id_ not in by_id:
            raise ConfigError(f"there is no dead letter {id_!r}; `linli dlq list` shows those that there are")
    return [by_id[id_] for id_ in ids]


def _row(letter: "Letter") -> Row:
    return Row(
        id=letter.id,
        time=letter.time,
        error=letter.error,
        reason=letter.reason,
        type=letter.type,
        bytes=len(letter.value or b""),
        by=letter.by,
    )


COMMANDS = (dlq,)

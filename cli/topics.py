"""`linli topics`: the topics on Kafka, made and looked at."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import settings as site_settings
from cli import wiring
from cli.settings import Settings
from events.topics import DEFAULT_SHARES, Topic
from events.topics import topics as declared

if TYPE_CHECKING:  # Kafka's client is not needed where there are no brokers
    from storage.kafkatopics import Wrong

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def topics() -> None:
    """The topics on Kafka that `[bus]` and `[cluster]` ask for (docs/reference/topics.md)."""


@topics.command("apply")
@SITE
def apply_topics(site: Path) -> None:
    """Make the topics that are missing, and set right what is set wrong; may be run again at any time.

    Partitions are never added, and nothing is deleted. Exit status 1: something is left for a person to mend.
    """
    loaded = site_settings.load(site)
    brokers = wiring.brokers(loaded)
    with wiring.city("linli topics"):
        from storage.kafkatopics import apply
    left = apply(
        brokers,
        wanted(loaded),
        loaded.file.bus.replication,
        lambda topic, did: click.echo(f"{topic}: {did}"),
    )
    _end(left, site)


@topics.command("check")
@SITE
def check_topics(site: Path) -> None:
    """Compare the topics with what they have to be; changes nothing. Exit status 1: something is wrong."""
    loaded = site_settings.load(site)
    brokers = wiring.brokers(loaded)
    with wiring.city("linli topics"):
        from storage.kafkatopics import check
    needed = wanted(loaded)
    wrong = check(brokers, needed, loaded.file.bus.replication)
    if not wrong:
        click.echo(f"{len(needed)} topics under {loaded.file.bus.prefix} are as they have to be")
    _end(wrong, site)


def wanted(settings: Settings) -> tuple[Topic, ...]:
    """The topics that a site needs."""
    return declared(settings.file.bus.prefix, settings.file.cluster.shares or DEFAULT_SHARES)


def _end(wrong: "Sequence[Wrong]", site: Path) -> None:
    if not wrong:
        return
    rows = [("TOPIC", "WHAT", "IS", "HAS TO BE")]
    rows += [(one.topic, one.what, one.found, one.wanted) for one in wrong]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for mend in dict.fromkeys(one.mend for one in wrong):
        names = list(dict.fromkeys(one.topic for one in wrong if one.mend == mend))
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        click.echo(f"{names[0]}{more}: {mend.replace('SITE', str(site))}")
    sys.exit(1)


COMMANDS = (topics,)

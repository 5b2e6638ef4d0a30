"""A writer to kill: appends events to a journal and says which are acknowledged.

    python -m testbed.journal_load JOURNAL --events 1000 --group 5

After each group it flushes and then writes the number of events that are durable, one line, to stdout or to
the file given with `--acknowledge`.
"""

import os
from pathlib import Path

import click

from events.clock import SystemClock
from events.events import Crossing, Event
from events.ids import event_id
from storage.journal import Journal

EPOCH = 1_700_000_000_000_000


def crossing(source: str, sequence: int) -> Event:
    """Always the same for the same arguments."""
    return Event(
        id=event_id(source, EPOCH, sequence),
        source=source,
        time_us=EPOCH + sequence * 1_000_000,
        epoch=EPOCH,
        sequence=sequence,
        pts=sequence * 90_000,
        data=Crossing(rule="door", direction="in", label="person", track=sequence, at=(0.5, 0.5)),
    )


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--events", default=1000, help="How many to write.")
@click.option("--start", default=0, help="Sequence number of the first.")
@click.option("--group", default=10, help="Events between two flushes.")
@click.option("--source", default="/site/camera/gate")
@click.option("--synchronous", default="FULL", help="SQLite's.")
@click.option("--ballast", default=0, help="Bytes of a snapshot saved with each group.")
@click.option("--acknowledge", type=click.Path(path_type=Path), help="File to write instead of stdout.")
def main(
    path: Path,
    events: int,
    start: int,
    group: int,
    acknowledge: Path | None,
    **more: str | int,
) -> None:
    """Append, flush, acknowledge, over and over."""
    fd = os.open(acknowledge, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if acknowledge else 1
    source = str(more["source"])
    journal = Journal(path, SystemClock(), group_s=0.0, synchronous=str(more["synchronous"]))
    for first in range(start, start + events, group):
        last = min(first + group, start + events)
        journal.append([crossing(source, n) for n in range(first, last)])
        if more["ballast"]:
            journal.save_snapshot("gate", "sub", EPOCH, "", first, os.urandom(int(more["ballast"])))
        journal.flush()
        os.write(fd, b"%d\n" % last)
    journal.close()


if __name__ == "__main__":
    main()

"""`linli tail` and `linli replay`: what happened, and what would have."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from cli import analysing, wiring
from cli import settings as site_settings
from cli.settings import Settings
from events import codec
from events.clock import Clock, SystemClock
from events.errors import ConfigError
from events.events import Event
from events.media import parse_rfc3339, rfc3339
from events.topics import FAMILIES, SHARES
from pipeline.housekeeping import OURS
from pipeline.replay import Difference, Replayer
from pipeline.supervisor import stops_on
from storage.journal import Journal
from storage.logbus import LogBus

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))
PASSED_OVER = 1000
"""Events of other types after which a consumer that follows says that it needs none of them."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are to be printed."""

    families: tuple[str, ...]
    """Empty: all."""
    camera: str | None
    since: int | None
    """Journal: after this offset. Kafka: what the brokers took from this time on, microseconds."""
    group: str | None
    follow: bool


@click.command()
@SITE
@click.option(
    "--type",
    "families",
    type=click.Choice(FAMILIES),
    multiple=True,
    help="Only this family; may be repeated.",
)
@click.option("--camera", help="Only this camera.")
@click.option("--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option(
    "--since",
    help="Begin after this offset of the journal; on Kafka with what the brokers took from this time on "
    "(2026-01-31T08:00:00Z).",
)
@click.option("--group", help="Read as this named consumer: begin where it left off, and commit.")
@click.option("--forget", help="Read nothing: this named consumer will not come back, keep nothing for it.")
@click.option(
    "--bus",
    type=click.Choice(("journal", "kafka")),
    help="What to read: this box's journal, or Kafka with the events of all boxes. Default: the journal "
    "where the site has cameras or sensors, else Kafka.",
)
def tail(site: Path, forget: str | None, bus: str | None, since: str | None, **wanted: Any) -> None:
    """Subscribe to events: one CloudEvents JSON document a line.

    Over Kafka, what is no event is named on standard error, and with --follow brokers that are away are
    waited for.
    """
    loaded = site_settings.load(site)
    clock = SystemClock()
    if (bus or ("journal" if loaded.file.camera or loaded.file.sensor else "kafka")) == "kafka":
        if forget is not None:
            raise ConfigError(
                "Kafka keeps nothing back for a consumer, and forgets one that is away for long: there is "
                "nothing to do"
            )
        _tail_kafka(loaded, clock, Wanted(since=moment(since), **wanted))
        return
    journal = wiring.open_journal(loaded, clock)
    if forget is not None:
        _forget(journal, forget)
        return
    _tail_journal(journal, clock, Wanted(since=_offset(since), **wanted))


def _tail_kafka(loaded: Settings, clock: Clock, wanted: Wanted) -> None:
    """
    Raises:
        ConfigError: the group is one of Linli's own, or the site names no brokers.
        BusError: the brokers refuse, or do not answer.
    """
    if wanted.group in (loaded.file.serve.group, SHARES):
        raise ConfigError(
            f"the group {wanted.group} is Linli's own: a reader would take its events; choose another"
        )
    brokers = wiring.brokers(loaded)
    with wiring.city("linli tail over Kafka"):
        from cli import tailing
    # Raised inside Kafka's client an interrupt can be lost: it is looked for between two polls.
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    stops_on(stop, signal.SIGINT)
    try:
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            tailing.tail(brokers, clock, wanted, stop)
    finally:
        signal.signal(signal.SIGINT, before)


def _offset(since: str | None) -> int | None:
    """
    Raises:
        ConfigError: it is no offset.
    """
    if since is None or (since.isascii() and since.isdigit()):
        return None if since is None else int(since)
    raise ConfigError(
        f"--since {since!r}: in the journal it is an offset, a whole number; a time is for --bus kafka"
    )


def _tail_journal(journal: Journal, clock: Clock, wanted: Wanted) -> None:
    group, families, since, follow = wanted.group, wanted.families, wanted.since, wanted.follow
    subscription = LogBus(journal, clock).subscribe(group, families) if group else None
    if subscription is not None and since is not None:
        subscription.seek({journal.id: since})
    offset = since or 0
    try:
        while True:
            if subscription is not None:
                records = subscription.poll(0.5 if follow else 0.0)
            else:
                records = journal.read(offset, 500, families)
            for record in records:
                offset = record.offset
                if wanted.camera is None or record.event.key == wanted.camera:
                    sys.stdout.write(codec.encode(record.event).decode() + "\n")
            if records:
                sys.stdout.flush()
                if subscription is not None:
                    subscription.commit({journal.id: offset})
            elif subscription is not None:
                passed = subscription.position[journal.id]
                if passed > offset + PASSED_OVER or not follow:
                    offset = passed  # what is of other types is done with, too
                    subscription.commit(subscription.position)
            elif follow:
                clock.sleep(0.2)
            if not records and not follow:
                return
    except (KeyboardInterrupt, BrokenPipeError):
        return
    finally:
        if subscription is not None:
            subscription.close()
        journal.close()


def _forget(journal: Journal, group: str) -> None:
    """
    Raises:
        ConfigError: there is no such consumer, or it is one of Linli's own.
    """
    try:
        others = [name for name in journal.consumers() if name not in OURS]
        if group not in others:
            known = ", ".join(others) or "none"
            raise ConfigError(f"there is no consumer {group!r} to forget; there is: {known}")
        journal.forget_consumer(group)
    finally:
        journal.close()
    click.echo(f"{group} is forgotten", err=True)


def moment(text: str | None) -> int | None:
    """Capture time of what a person wrote: RFC 3339, or in this machine's zone.

    Raises:
        ConfigError: it is no time.
    """
    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except ValueError:
        try:
            return int(datetime.fromisoformat(text).astimezone().timestamp() * 1e6)
        except ValueError:
            raise ConfigError(f"{text!r} is not a time; write it as 2026-01-31T08:00:00") from None


@click.command()
@SITE
@click.option("--camera", required=True)
@click.option(
    "--from", "from_", help="Begin here, e.g. 2026-01-31T08:00:00 (this machine's zone unless given)."
)
@click.option("--to", help="End here.")
@click.option(
    "--as-seen/--every-frame", "as_seen", default=True, help="Follow what was done, or look at everything."
)
@click.option("--json", "as_json", is_flag=True, help="Only the figures, as one JSON object.")
def replay(site: Path, camera: str, from_: str | None, to: str | None, as_seen: bool, as_json: bool) -> None:
    """Run stored footage through the same loop again and print the difference to the journal.

    Exit status 1: with --as-seen, something differs.
    """
    loaded = site_settings.load(site)
    chosen = loaded.camera(camera)
    clock = SystemClock()
    journal = wiring.open_journal(loaded, clock)
    footage = wiring.Paths(loaded.data).footage
    model = analysing.detectors(loaded, [chosen])[chosen.id]
    used = analysing.digest(loaded, chosen)
    replayer = Replayer(loaded.file.site.id, camera, chosen.analysed, journal, footage, model, used)
    span = (moment(from_), moment(to))
    length = sum(
        (run.last_pts - run.first_pts) / 90_000 for run, _ in replayer.runs(*span, whole=not as_seen)
    )
    make = analysing.lane_maker(loaded, chosen, model, clock, full=not as_seen)
    started = clock.monotonic()
    with click.progressbar(length=max(int(length), 1), label=f"replaying {camera}", file=sys.stderr) as bar:
        run = replayer.as_seen if as_seen else replayer.every_frame
        found = run(make, *span, progress=_moving(bar))
    took = clock.monotonic() - started
    journal.close()
    figures = {
        "camera": camera,
        "way": "as-seen" if as_seen else "every-frame",
        "same": found.same,
        "missing": len(found.missing),
        "extra": len(found.extra),
        "seconds": round(found.seconds, 1),
        "times_real_time": round(found.seconds / took, 1) if took else 0.0,
    }
    if not as_json:
        _show(found)
    click.echo(msgspec.json.encode(figures).decode())
    if as_seen and (found.missing or found.extra):
        sys.exit(1)


def _moving(bar: "click._termui_impl.ProgressBar[int]") -> Callable[[float], None]:
    def move(seconds: float) -> None:
        step = int(seconds) - bar.pos
        if step > 0:
            bar.update(step)

    return move


def _show(found: Difference) -> None:
    for note in found.notes:
        click.echo(f"note: {note}")
    for sign, events in (("-", found.missing), ("+", found.extra)):
        for event in events:
            click.echo(f"{sign} {_line(event)}")


def _line(event: Event) -> str:
    return f"{rfc3339(event.time_us)} {event.type} {event.subject} {codec.encode_data(event.data).decode()}"


COMMANDS = (tail, replay)

"""A run as a whole: alone on its data folder, checked before it starts, summed up when it ends."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import msgspec

from cli import wiring
from cli.analysing import detectors, learned
from cli.settings import Settings
from cli.wiring import Paths, box_source, open_journal, refused
from events.clock import Clock
from events.errors import ConfigError, StorageError
from events.events import Health
from events.topics import KEPT
from ingest import onvif
from pipeline.sink import unpack
from pipeline.worker import WorkerStatus
from storage.journal import Journal

log = logging.getLogger(__name__)

DRAIN_S = 60.0
"""How long the workers of an earlier run are waited for."""


@contextlib.contextmanager
def alone(paths: Paths, clock: Clock) -> Iterator[None]:
    """Hold the data folder: two runs on one folder would record every camera twice.

    Workers of a run that was killed may still be draining: they are waited for.

    Raises:
        ConfigError: another run holds it.
        StorageError: the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        try:
            lock = held.enter_context(open(paths.run / "lock", "w"))
            workers = held.enter_context(open(paths.run / "workers", "w"))
        except OSError as e:
            raise refused(paths.run, e) from None
        if not _locked(lock, fcntl.LOCK_EX):
            raise ConfigError(
                f"another `linli run` uses {paths.data}; stop it, or set LINLI_DATA to another folder"
            )
        until = clock.monotonic() + DRAIN_S
        while not _locked(workers, fcntl.LOCK_EX):
            if clock.monotonic() > until:
                raise ConfigError(f"workers of an earlier run still use {paths.data}; end them by hand")
            clock.sleep(0.2)
        fcntl.flock(workers, fcntl.LOCK_UN)
        yield


@contextlib.contextmanager
def among_workers(paths: Paths) -> Iterator[None]:
    """Held by each worker while it runs, so that the next run does not begin before it ended."""
    with open(paths.run / "workers", "w") as workers:
        fcntl.flock(workers, fcntl.LOCK_SH)
        yield


def _locked(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def check(settings: Settings, clock: Clock) -> None:
    """What no restart would mend is said before anything starts.

    Raises:
        ConfigError: the data folder is another site's, a client for ONVIF or S3 is not installed, or the
            object store's credentials are not there; or what the city's desk needs is not in order.
        ModelError: the model is missing or does not fit.
    """
    detectors(settings, settings.file.camera)
    for camera in settings.file.camera:
        for text in learned(settings, camera).damaged:
            log.error("%s", text)
        if camera.onvif:
            onvif.Dome(camera.onvif, None)
    if settings.file.objects.url:
        from cli import shipping  # needs a client that a box without an object store need not have

        shipping.s3_place(settings, os.environ)
    if settings.file.city.code:
        with wiring.city("the city's desk"):
            from cli import cityhall  # needs packages that a box without a desk need not have

        cityhall.opened(settings, clock).close()
    journal = open_journal(settings, clock)
    try:
        for camera in settings.file.camera:
            kept = journal.snapshot(camera.id, camera.analysed)
            site = unpack(kept.blob)["engine"]["site"] if kept is not None else settings.file.site.id
            if site != settings.file.site.id:
                raise ConfigError(
                    f"{settings.data} holds what site {site!r} recorded, and site.id is "
                    f"{settings.file.site.id!r}; give the old id, or another folder in site.data"
                )
    finally:
        journal.close()


def tell_fallen(settings: Settings, clock: Clock) -> Callable[[str, int], None]:
    """What the supervisor does when a process ended unasked: a health event of the box."""

    def tell(name: str, code: int) -> None:
        text = f"{name} ended with code {code} and is started again; its log says why"
        note = Health(what="worker", state="note", message=text, detail={"name": name, "code": code})
        try:
            journal = open_journal(settings, clock)
            try:
                journal.note(box_source(settings), note, clock.wall_us())
            finally:
                journal.close()
        except (StorageError, OSError) as e:  # what it tells must not end those who still run
            log.error("%s (not journaled: %s)", text, e)

    return tell


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Where the logs stood."""

    offset: int = 0
    stored: int = 0
    city: int = 0
    """Events since the run began that are the city's alone."""
    alerts: int = 0
    counts: dict[str, int] = {}


def totals(settings: Settings, clock: Clock, since: Totals | None = None) -> Totals:
    """Where journal and store stand now. `since`: where they stood when the run began."""
    paths = Paths(settings.data).make()
    journal, store = Journal(paths.journal, clock), wiring.store(settings)
    sizes = store.sizes()
    counts: dict[str, int] = {}
    for row in store.totals():
        key = f"{row.source.rsplit('/', 1)[1]}.{row.rule}.{row.direction}.{row.label}"
        counts[key] = counts.get(key, 0) + row.count
    try:
        return Totals(
            offset=journal.last_offset(),
            stored=sizes.events,
            city=journal.count(since.offset, KEPT) if since is not None else 0,
            alerts=sizes.alerts,
            counts=counts,
        )
    finally:
        store.close()
        journal.close()


def statuses(paths: Paths) -> list[WorkerStatus]:
    """What the workers last said of themselves."""
    return [
        msgspec.json.decode(path.read_bytes(), type=WorkerStatus)
        for path in sorted(paths.run.glob("worker-*.json"))
    ]


def _handed_on(settings: Settings) -> dict[str, object]:
    """What left the box, where the site names engines."""
    run, found = Paths(settings.data).run, dict[str, object]()
    for wanted, name, keys in (
        (settings.file.bus.bootstrap, "relay", ("acknowledged", "lag_events")),
        (settings.file.objects.url, "shipping", ("sent", "waiting")),
    ):
        path = run / f"{name}.json"
        if wanted and path.exists():
            told = msgspec.json.decode(path.read_bytes())
            found |= {f"{name}_{key}": told.get(key) for key in keys}
    return found


def summary(settings: Settings, before: Totals, after: Totals) -> dict[str, object]:
    """What a run did: the last line of `linli run`."""
    workers: Sequence[WorkerStatus] = statuses(Paths(settings.data))
    cameras = [camera for worker in workers for camera in worker.cameras]
    stream_s = sum(worker.stream_s for worker in workers)
    counts = {key: n - before.counts.get(key, 0) for key, n in after.counts.items()}
    return {
        **_handed_on(settings),
        "cameras": len(cameras),
        "packets": sum(c.packets for c in cameras),
        "frames_decoded": sum(c.decoded for c in cameras),
        "frames_inferred": sum(c.inferred for c in cameras),
        "tracks": sum(c.tracks for c in cameras),
        "counts": {key: n for key, n in sorted(counts.items()) if n},
        "alerts": after.alerts - before.alerts,
        "events_journaled": after.offset - before.offset - after.city,
        "events_stored": after.stored - before.stored,
        **({"city_events": after.city} if settings.file.city.code else {}),
        "segments": sum(c.segments for c in cameras),
        "segments_bytes": sum(c.segment_bytes for c in cameras),
        "lag_ms_p99": max((w.lag_ms_p99 for w in workers), default=0.0),
        "wake_ms_p99": max((w.wake_ms_p99 for w in workers), default=0.0),
        "cpu_ms_per_stream_s": round(sum(w.cpu_ms for w in workers) / stream_s, 2) if stream_s else 0.0,
    }

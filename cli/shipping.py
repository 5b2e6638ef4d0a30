"""[objects] of the site file becomes a connection to an object store, and the service that copies to it."""

import os
import stat
from collections.abc import Callable, Mapping
from datetime import time
from pathlib import Path

from cli import wiring
from cli.engines import ObjectsSection, Window
from cli.settings import Settings
from events.clock import Clock
from events.errors import ConfigError
from pipeline.gathering import Gatherer
from storage.journal import Journal
from storage.pacing import Hours, Schedule, bytes_a_second
from storage.retention import Hold
from storage.spool import Spool

try:
    from pipeline.shipping import Place, Shipper
    from storage.s3client import S3Place
    from storage.s3objects import S3Objects
    from storage.s3setup import Wanted
except ModuleNotFoundError as e:
    raise ConfigError(
        f"copying to an object store needs {e.name}, which is not installed: pip install 'linli[city]'"
    ) from None

STATUS = "shipping.json"
"""In the data folder's `run`: what the shipper last said of itself."""


def s3_place(settings: Settings, environ: Mapping[str, str]) -> S3Place:
    """Where the site copies to.

    Raises:
        ConfigError: there is no [objects].url, or a secret is not where the site file says.
    """
    section, base = settings.file.objects, settings.path.parent
    if not section.url:
        raise ConfigError(
            f"{settings.path} has no [objects].url: write url, bucket and credentials of an S3 store"
        )
    access, colon, secret = secret_text(section.credentials, base, environ, "access:secret").partition(":")
    if not colon or not access or not secret:
        raise ConfigError("what [objects].credentials names does not hold access:secret; put both in")
    return S3Place(
        url=section.url.rstrip("/"),
        bucket=section.bucket,
        prefix=section.prefix or settings.file.site.id,
        access=access,
        secret=secret,
        region=section.region,
        ca=base / section.ca if section.ca else None,
        part_bytes=section.part_mb << 20,
        sse=section.sse,
        sse_key=_sse_key(section, base, environ),
        recipients=section.age,
    )


def secret_text(named: str, base: Path, environ: Mapping[str, str], what: str) -> str:
    """What `env:NAME` or `file:PATH` holds, in one line.

    Raises:
        ConfigError: it is not there, or others may read the file. The secret is not shown.
    """
    way, _, name = named.partition(":")
    if way == "env":
        if not environ.get(name):
            raise ConfigError(f"environment variable {name} is not set; set it to {what}")
        return environ[name].strip()
    path = base / name
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(f"{path} has mode {mode:o}, others may read it; run: chmod 600 '{path}'")
        return path.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"cannot read {path}, which is to hold {what}: {reason}") from None


def _sse_key(section: ObjectsSection, base: Path, environ: Mapping[str, str]) -> bytes:
    if section.sse != "customer":
        return b""
    try:
        key = bytes.fromhex(secret_text(section.sse_key, base, environ, "64 hexadecimal digits"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ConfigError(
            "what [objects].sse_key names is not 64 hexadecimal digits; make some with: openssl rand -hex 32"
        )
    return key


def schedule(section: ObjectsSection) -> Schedule:
    """The limits by the hour."""

    def hours(window: Window) -> Hours:
        start, end = (time.fromisoformat(text) for text in (window.start, window.end))
        return Hours(start, end, bytes_a_second(window.limit_mbit))

    return Schedule(bytes_a_second(section.limit_mbit), tuple(hours(window) for window in section.schedule))


def shipper(settings: Settings, journal: Journal, spool: Spool, clock: Clock) -> Shipper:
    """The service.

    Raises:
        ConfigError: as `s3_place`.
    """
    paths = wiring.Paths(settings.data).make()
    section = settings.file.objects
    there = s3_place(settings, os.environ)

    def connect(pace: Callable[[int], None]) -> S3Objects:
        return S3Objects(there, pace=pace)

    gatherer = Gatherer(spool, journal, paths.footage, paths.objects, section.ship, clock)
    place = Place(
        site=settings.file.site.id,
        source=wiring.box_source(settings),
        status=paths.run / STATUS,
        schedule=schedule(section),
    )
    return Shipper(gatherer, spool, connect, journal, place, clock)


def wanted(settings: Settings) -> Wanted:
    """What the site asks of its bucket."""
    section = settings.file.objects
    return Wanted(expire_days=section.expire_days, lock_days=section.lock_days)


def open_spool(settings: Settings) -> Spool:
    """The box's spool, created if there is none."""
    return Spool(wiring.Paths(settings.data).make().data / "spool.db")


def holds(settings: Settings, spool: Spool, now_us: int) -> list[Hold]:
    """Spans of footage that wait to be copied, the newest [objects].hold_gb of them: they may go beyond
    recording.max_gb. What is older than recording.keep_days is not held: that is a promise, too.
    """
    keep_us = int(settings.file.recording.keep_days * 86_400e6)
    limit = int(settings.file.objects.hold_gb * 1e9)
    found = spool.newest_footage(now_us - keep_us, limit) if limit else []
    return [Hold(item.path.split("/", 1)[0], item.from_us, item.to_us) for item in found]

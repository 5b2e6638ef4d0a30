"""`linli doctor`: is everything that the site file names there and sound, and if not, what to do about it."""

import contextlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal

import click
import msgspec

from cli import analysing, findings, wiring
from cli import settings as site_settings
from cli.findings import Finding
from cli.settings import Camera, Settings
from console.access import check_bind, read_policy
from detectors import models
from events.clock import Clock, SystemClock
from events.errors import LinliError
from events.media import Discontinuity, seconds
from ingest.decode import LazyDecoder
from ingest.packets import Packet

WATCH_S = 8.0
"""How long each stream is watched at most."""

TOGETHER = 16
"""Streams watched at the same time."""

CLOCK_WARN_US = 1_000_000
FSYNC_WARN_MS = 50.0


def examine(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """All findings, one by one as they come."""
    yield from _guarded("console", lambda: _console(settings))
    yield from _guarded("disk", lambda: _disk(settings, clock))
    yield from _guarded("journal", lambda: _journal(settings, clock))
    kinds = {camera.kind for camera in settings.file.camera}
    if kinds - {"face"}:
        yield from _guarded("model", lambda: _model(settings, clock))
    if "face" in kinds:
        yield from _guarded("faces", lambda: findings.faces(settings, clock))
    if settings.file.sensor:
        yield from _guarded("sensors", lambda: findings.sensors(settings, os.environ))
    if settings.file.objects.url:
        yield from _guarded("objects", lambda: findings.copies(settings, os.environ))
    streams: list[tuple[Camera, Literal["main", "sub"]]] = []
    for camera in settings.file.camera:
        yield from findings.grounds(camera)
        if camera.kind == "dome":
            yield from _guarded(f"camera {camera.id}/presets", partial(findings.presets, settings, camera))
        if camera.onvif:
            yield from _guarded(f"camera {camera.id}/onvif", partial(findings.position, settings, camera))
        streams += [(camera, "main"), (camera, "sub")] if camera.sub_url else [(camera, "main")]

    def look(camera: Camera, stream: Literal["main", "sub"]) -> list[Finding]:
        watch = partial(_camera, settings, camera, stream, clock)
        return list(_guarded(f"camera {camera.id}/{stream}", watch))

    with ThreadPoolExecutor(TOGETHER) as pool:  # each stream is watched for seconds
        for found in pool.map(look, *zip(*streams, strict=True)):
            yield from found


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except (LinliError, Discontinuity) as e:
        yield Finding(what=what, state="fail", text=str(e))
    except OSError as e:
        text = f"{e.filename or 'the data folder'}: {e.strerror}; mend its rights or its mount, or free space"
        yield Finding(what=what, state="fail", text=text)


def _console(settings: Settings) -> Iterator[Finding]:
    console = settings.file.console
    policy = read_policy(settings.file.privacy, os.environ, settings.path.parent)
    check_bind(console.host, policy)
    grants = ", ".join(f"{g.who}: {'+'.join(g.rights)}" for g in settings.file.privacy.grant) or "nobody"
    yield Finding(what="console", state="ok", text=f"{console.host}:{console.port}; may look: {grants}")


def _disk(settings: Settings, clock: Clock) -> Iterator[Finding]:
    data = settings.data
    data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(data).free
    reserve = int(settings.file.recording.reserve_gb * 1e9)
    text = f"{free / 1e9:.1f} GB free in {data}"
    if free < reserve:
        text += f", less than the reserve of {reserve / 1e9:.1f} GB: free some, or lower recording.reserve_gb"
    yield Finding(what="disk", state="ok" if free >= reserve else "fail", text=text, figures={"free": free})
    times = _fsync_ms(data / ".doctor", clock)
    middle, worst = median(times), max(times)
    slow = middle > FSYNC_WARN_MS
    text = f"an fsync takes {middle:.2f} ms (median), {worst:.2f} ms (worst of {len(times)})"
    if slow:
        text += "; events wait for it: put the data folder on an SSD or eMMC instead of an SD card"
    yield Finding(
        what="fsync",
        state="warn" if slow else "ok",
        text=text,
        figures={"p50_ms": round(middle, 3), "max_ms": round(worst, 3)},
    )


def _fsync_ms(path: Path, clock: Clock, rounds: int = 30) -> list[float]:
    times = []
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(rounds):
                file.write(b"x" * 4096)
                start = clock.monotonic()
                os.fsync(file.fileno())
                times.append((clock.monotonic() - start) * 1000)
    finally:
        path.unlink(missing_ok=True)
    return times


def _journal(settings: Settings, clock: Clock) -> Iterator[Finding]:
    paths = wiring.Paths(settings.data).make()
    journal = wiring.open_journal(settings, clock)
    rows = journal.segments()
    size = sum(row.bytes for row in rows)
    journal.close()
    for path in (paths.journal, paths.store):
        if path.exists():
            said = _quick_check(path)
            if said != "ok":
                yield Finding(
                    what=path.name, state="fail", text=f"{path} is damaged ({said}); restore a copy"
                )
    text = f"{len(rows)} segments of footage, {size / 1e9:.2f} GB"
    yield Finding(what="journal", state="ok", text=text)


def _quick_check(path: Path) -> str:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return str(connection.execute("PRAGMA quick_check").fetchone()[0])
    except sqlite3.Error as e:
        return str(e)


def _model(settings: Settings, clock: Clock) -> Iterator[Finding]:
    model = analysing.detector(settings)
    name = settings.file.model.name
    if name.endswith(".toml"):
        name = str(settings.path.parent / name)
    speed = models.bench(
        model.manifest.name if name == "default" else name,
        clock,
        rounds=8,
        threads=settings.threads,
        providers=settings.file.model.providers,
    )
    yield Finding(
        what="model",
        state="ok",
        text=f"{model.manifest.name} ({model.manifest.licence}), its checksum fits, {speed.total_ms:.1f} ms",
        figures={"ms": round(speed.total_ms, 2), "threads": settings.threads},
    )


def _camera(
    settings: Settings, camera: Camera, stream: Literal["main", "sub"], clock: Clock
) -> Iterator[Finding]:
    what = f"camera {camera.id}/{stream}"
    source = wiring.source(settings, camera, stream, clock)
    packets: list[Packet] = []
    try:
        info = source.open().info
        until = clock.monotonic() + WATCH_S
        for packet in source.packets():
            packets.append(packet)
            if clock.monotonic() > until or sum(p.keyframe for p in packets) >= 4:
                break
    finally:
        source.close()
    keys = [p.pts for p in packets if p.keyframe]
    span = seconds(packets[-1].pts - packets[0].pts) if len(packets) > 1 else 0.0
    fps = (len(packets) - 1) / span if span else 0.0
    gop = max((seconds(b - a) for a, b in pairwise(keys)), default=0.0)
    rate = sum(p.size for p in packets) / span / 1e6 if span else 0.0
    figures: dict[str, float | str] = {
        "codec": info.codec,
        "size": f"{info.width}x{info.height}",
        "fps": round(fps, 1),
        "gop_s": round(gop, 2),
        "mbit_s": round(rate * 8, 2),
    }
    text = f"{info.codec} {info.width}x{info.height}, {fps:.1f} fps, GOP {gop:.1f} s, {rate * 8:.1f} Mbit/s"
    yield Finding(what=what, state="ok", text=text, figures=figures)
    if stream == camera.analysed:
        yield from _analysable(settings, what, gop, LazyDecoder(info), packets)
    yield from _clock(what, source.clock_error_us)


def _analysable(
    settings: Settings, what: str, gop: float, decoder: LazyDecoder, packets: list[Packet]
) -> Iterator[Finding]:
    limit = settings.file.analysis.gop_limit_s
    if not gop:
        text = (
            f"fewer than two keyframes in {WATCH_S:.0f} s: set the camera's GOP (I-frame interval) to 1-2 s"
        )
        yield Finding(what=what, state="warn", text=text)
    elif gop > limit * 1.25:
        text = (
            f"the GOP of {gop:.1f} s is longer than {limit:.1f} s, so everything is decoded; set it to 1-2 s"
        )
        yield Finding(what=what, state="warn", text=text)
    else:
        text = f"blind time while asleep: up to {gop:.1f} s (what happens wholly between two keyframes)"
        yield Finding(what=what, state="ok", text=text)
    # The first keyframe after a connection is often a whole one, whatever follows.
    if any(decoder.probe(p) is None for p in packets if p.keyframe):
        text = "a keyframe alone gives no picture (open GOP, intra refresh): all is decoded; close the GOP"
        yield Finding(what=what, state="warn", text=text)


def _clock(what: str, error_us: int | None) -> Iterator[Finding]:
    if error_us is None:
        text = "no RTCP sender report yet: times are those of arrival here"
        yield Finding(what=what, state="ok", text=text)
    elif abs(error_us) > CLOCK_WARN_US:
        text = f"the camera's clock is {error_us / 1e6:+.1f} s off this box's; set its NTP server"
        yield Finding(what=what, state="warn", text=text, figures={"clock_error_s": error_us / 1e6})
    else:
        text = f"clock within {abs(error_us) / 1e3:.0f} ms of this box's"
        yield Finding(what=what, state="ok", text=text)


@click.command()
@click.argument("site", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def doctor(site: Path, as_json: bool) -> None:
    """Check cameras, model, disk and store, and say how to mend what is wrong.

    Exit status 1: something failed.
    """
    failed = False
    for finding in examine(site_settings.load(site), SystemClock()):
        failed |= finding.state == "fail"
        if as_json:
            click.echo(msgspec.json.encode(finding).decode())
        else:
            colour = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.state]
            click.echo(f"{click.style(finding.state.ljust(5), fg=colour)} {finding.what}: {finding.text}")
    sys.exit(1 if failed else 0)


COMMANDS = (doctor,)

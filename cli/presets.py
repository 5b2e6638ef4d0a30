"""`linli presets`: teach a dome's presets by example, and show what was taught."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from cli import settings as site_settings
from cli import wiring
from cli.exporting import user
from cli.running import SITE
from cli.settings import Camera, Settings
from cli.watching import moment
from events.clock import Clock, SystemClock
from events.errors import ConfigError, SourceError, StorageError
from events.events import Access
from events.media import rfc3339, ticks
from ingest import onvif
from ingest.decode import LazyDecoder
from ingest.gate import Luma, luma
from ingest.packets import Packet
from ingest.presets import same_view, structured
from ingest.views import PtzPosition
from storage.footage import read_info, read_packets
from storage.references import MOST, Learned, References, small
from storage.trace import Position, read_trace

SPAN_S = 1.0
"""Length of what a reference is the median of: noise and who walks by go out of it."""
PICTURES = 12
"""Pictures of it that are used, at most."""
STARTS_S = 5.0
"""So much of a live stream may pass until the first picture."""


@click.group()
def presets() -> None:
    """The views of a dome: its lines and zones hold for one of them each."""


@presets.command()
@SITE
@click.option("--camera", required=True)
@click.option(
    "--preset", required=True, help="A [[camera.preset]] of the site file; turn the dome there first."
)
@click.option("--at", help="Learn from the footage of this moment instead of now, e.g. 2026-01-31T08:00:00.")
@click.option("--replace", is_flag=True, help="Forget the preset's earlier pictures.")
def learn(site: Path, camera: str, preset: str, at: str | None, replace: bool) -> None:
    """Keep a picture of what the camera sees as a reference of the preset.

    One by day and one by night make a preset known at all hours. A running worker takes them up when it is
    started again.
    """
    loaded = site_settings.load(site)
    chosen = dome(loaded, camera, preset)
    clock = SystemClock()
    references = References(loaded.data / "presets")
    at_us = moment(at)
    if at_us is None:
        views, taken_us, position = now(loaded, chosen, clock)
    else:
        views, taken_us, position = recorded(loaded, chosen, at_us, clock)
    picture = reference(views)
    check(picture, references.load(camera).pictures, preset)
    _note(loaded, camera, preset, clock)
    path = references.add(camera, preset, picture, taken_us, position, replace)
    count = len(references.files(camera, preset))
    click.echo(f"{camera}: {preset} has {count} of at most {MOST} pictures now; the newest is {path}")
    if position is not None:
        click.echo(f"{camera}: {preset} lies at {_place(position)}")
    click.echo("running workers take it up when they are started again")


@presets.command("list")
@SITE
@click.option("--camera", help="Only this dome.")
@click.option("--now", "look", is_flag=True, help="Also say where each camera looks at this moment.")
def list_(site: Path, camera: str | None, look: bool) -> None:
    """The presets of each dome, what was learned of them, and where it looks."""
    loaded = site_settings.load(site)
    domes = [dome(loaded, camera)] if camera else [c for c in loaded.file.camera if c.kind == "dome"]
    if not domes:
        raise ConfigError(f'{loaded.path}: no camera is a dome; write kind = "dome" where one is')
    references = References(loaded.data / "presets")
    for one in domes:
        learned = references.load(one.id)
        here = _whereabouts(loaded, one, learned) if look else None
        click.echo(one.id + (f": {here}" if here else ""))
        for preset in one.preset:
            click.echo(f"  {preset.id:20} {_told(learned, preset.id)}")
        for left in sorted(set(learned.pictures) - {preset.id for preset in one.preset}):
            click.echo(f"  {left:20} learned, but no [[camera.preset]] of the site file")


def _note(loaded: Settings, camera: str, preset: str, clock: Clock) -> None:
    """The access event, durable: a reference shows whoever was there. Else nothing is kept.

    Raises:
        StorageError: the journal cannot take it.
    """
    access = Access(
        who=f"cli {user()}",
        what="preset",
        object=f"{camera}/{preset}",
        plain=True,
        purpose="learn preset",
        allowed=True,
    )
    journal = wiring.open_journal(loaded, clock)
    try:
        journal.note(f"/{loaded.file.site.id}/box/cli", access, clock.wall_us())
        journal.flush()
    finally:
        journal.close()


def dome(loaded: Settings, camera: str, preset: str = "") -> Camera:
    """The camera, which has to be a dome and to have the preset.

    Raises:
        ConfigError: it is not, or has not.
    """
    chosen = loaded.camera(camera)
    if chosen.kind != "dome":
        raise ConfigError(f'camera {camera} is no dome; write kind = "dome" in {loaded.path}')
    known = [one.id for one in chosen.preset]
    if preset and preset not in known:
        raise ConfigError(
            f"camera {camera} has no preset {preset!r}; the site file has {', '.join(known) or 'none'}; "
            "add it as [[camera.preset]]"
        )
    return chosen


def reference(views: Sequence[Luma]) -> Luma:
    """The picture to keep of about a second of video.

    Raises:
        ConfigError: the camera moves, or shows nothing that could be recognised again.
    """
    first, last = (small(view) for view in (views[0], views[-1]))
    if not structured(last):
        raise ConfigError(
            "there is too little to see to recognise the place again (a bare surface, fog, or dark); choose "
            "a view with edges and corners in it, or better light"
        )
    still = same_view(first, last)
    if still is None or still.off > 1:
        raise ConfigError("the camera moved while it was looked at; try again when it rests")
    return np.asarray(np.median(np.stack(views), axis=0), np.uint8)


def check(picture: Luma, pictures: Mapping[str, Sequence[Luma]], preset: str) -> None:
    """Refuse a picture that another preset could be taken for.

    Raises:
        ConfigError: it shows another preset's view.
    """
    for other, score in looks_like(picture, pictures):
        if other != preset:
            raise ConfigError(
                f"the camera looks at preset {other!r} now (they agree by {score:.0%}); turn it to "
                f"{preset!r} first, or, if the view was renamed, delete what was learned of {other!r}"
            )


def looks_like(picture: Luma, pictures: Mapping[str, Sequence[Luma]]) -> list[tuple[str, float]]:
    """The presets whose view the picture shows, best first, with how well they agree, 0 to 1."""
    found: dict[str, float] = {}
    for preset, kept in pictures.items():
        for one in kept:
            fit = same_view(one, picture)
            if fit is not None:
                found[preset] = max(found.get(preset, 0.0), fit.agree)
    return sorted(found.items(), key=lambda item: -item[1])


def now(loaded: Settings, camera: Camera, clock: Clock) -> tuple[list[Luma], int, PtzPosition | None]:
    """About a second of what the camera sends; when it was; where it says that it looks.

    Raises:
        SourceError: it does not answer or sends no picture.
    """
    source = wiring.source(loaded, camera, "sub" if camera.sub_url else "main", clock)
    try:
        decoder = LazyDecoder(source.open().info)
        views = list(_views(_waited(source.packets()), decoder))
    finally:
        source.close()
    if not views:
        raise SourceError(f"{source.name} sent no keyframe within {STARTS_S:g} s; set its GOP to 1-2 s")
    position = None
    if camera.onvif:
        position = onvif.ask(camera.onvif, wiring.secret(camera.credentials, loaded.path.parent))
        if position.moving:
            raise ConfigError(f"camera {camera.id} says that it moves; try again when it rests")
    return views, clock.wall_us(), position


def _waited(packets: Iterable[Packet]) -> Iterator[Packet]:
    """As long as a first picture may take, and the span."""
    first: int | None = None
    for packet in packets:
        first = packet.dts if first is None else first
        yield packet
        if packet.dts - first > ticks(STARTS_S + SPAN_S):
            return


def recorded(
    loaded: Settings, camera: Camera, at_us: int, clock: Clock
) -> tuple[list[Luma], int, PtzPosition | None]:
    """About a second of footage from that moment on; when it was; where the camera said that it looked.

    Raises:
        StorageError: there is no footage of it.
    """
    journal = wiring.open_journal(loaded, clock)
    root = wiring.Paths(loaded.data).footage
    try:
        rows = journal.segments(camera.id, camera.analysed, at_us, at_us + 1_000_000)
        epochs = {row.epoch: row.capture for row in journal.epochs(camera.id, camera.analysed)}
    finally:
        journal.close()
    if not rows:
        raise StorageError(f"there is no footage of {camera.id} at {rfc3339(at_us)}; choose another moment")
    row = rows[0]
    held: list[Packet] = []
    for packet in read_packets(root, row, epochs.get(row.epoch)):
        if packet.keyframe and packet.capture_us <= at_us:
            held.clear()
        held.append(packet)
        if packet.capture_us > at_us + SPAN_S * 1e6:
            break
    after = [p.pts for p in held if p.capture_us >= at_us]
    start = min(after, default=0)
    views = list(_views(held, LazyDecoder(read_info(root, row)), start))
    if not views:
        raise StorageError(f"no picture can be decoded from {row.path} at {rfc3339(at_us)}")
    said: PtzPosition | None = None
    for line in read_trace(root / row.trace_path) if row.trace_path else ():
        if isinstance(line, Position) and line.pts <= start:
            said = PtzPosition(pan=line.pan, tilt=line.tilt, zoom=line.zoom, moving=line.moving)
    return views, at_us, None if said is None or said.moving else said


def _views(packets: Iterable[Packet], decoder: LazyDecoder, start: int | None = None) -> Iterator[Luma]:
    """Copies of the luma of the first pictures from media time `start` on, over a second of them."""
    first, begun, given = start, False, 0
    for packet in packets:
        begun = begun or packet.keyframe
        for frame in decoder.decode(packet) if begun else ():
            if frame.pts is None or (start is not None and frame.pts < start):
                continue
            first = frame.pts if first is None else first
            if frame.pts - first > ticks(SPAN_S) or given >= PICTURES:
                return
            given += 1
            yield luma(frame).copy()


def _whereabouts(loaded: Settings, camera: Camera, learned: Learned) -> str:
    """Where the camera looks now, in words."""
    try:
        views, _, position = now(loaded, camera, SystemClock())
    except (SourceError, ConfigError) as e:
        return f"nobody knows where it looks: {e}"
    found = looks_like(small(views[-1]), learned.pictures)
    far = learned.positions.get(found[0][0]) if found else None
    if not found or (position is not None and far is not None and not position.agrees(far)):
        return "it looks at no preset that was learned" + (f" ({_place(position)})" if position else "")
    return f"it looks at {found[0][0]} (agrees by {found[0][1]:.0%})"


def _told(learned: Learned, preset: str) -> str:
    count = len(learned.pictures.get(preset, ()))
    if not count:
        return "not learned yet: linli presets learn"
    position = learned.positions.get(preset)
    where = f", {_place(position)}" if position else ""
    return f"{count} picture{'s' if count > 1 else ''}{where}"


def _place(position: PtzPosition) -> str:
    return f"pan {position.pan:+.3f}, tilt {position.tilt:+.3f}, zoom {position.zoom:.3f}"


COMMANDS = (presets,)

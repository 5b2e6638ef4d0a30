"""An export: the segments checked, the access event journaled, the file written. Behind `linli export`."""

import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec

from cli import analysing, wiring
from cli.orders import EVERYTHING, FACES, PEOPLE, Order
from cli.settings import Camera, Settings
from events.clock import SystemClock
from events.errors import StorageError
from events.events import Access
from events.media import CaptureMap, rfc3339
from ingest.packets import Packet
from storage.checking import GAP_US, Checked, check, file_sha256, formats, gaps
from storage.cutting import Clip, Output, Picture, decoded, encoded, packets_of, remuxed
from storage.footage import read_info
from storage.fragments import PART
from storage.journal import Journal
from storage.masking import HOLD_US, Marking, Masks, Tally, Traced, heads, masked
from storage.rows import SegmentRow
from storage.whereabouts import PERSONAL

FACE_SCORE = 0.2
"""Least confidence of a face that is hidden: one too many does no harm."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    file: str
    sha256: str
    camera: str
    stream: str
    start: str
    end: str
    """Of the first and the last picture, RFC 3339."""
    pictures: int
    hidden: str
    hidden_whole: int
    """Pictures of which nobody knows what was in them."""
    with_faces: int
    """Pictures in which the face model found a face."""
    segments: dict[str, str]
    """Path of each segment that was used -> its SHA-256."""
    passed_over: dict[str, str]
    """Path of each segment that was not -> why."""
    gaps: tuple[tuple[str, str], ...]
    """Without footage, from and to."""


def run(loaded: Settings, camera: Camera, order: Order, progress: Callable[[float], None]) -> Done:
    """Do what was ordered; `progress` is called with the seconds of the span that are done.

    Raises:
        StorageError: no sound footage there, the journal cannot take the access event, or the file cannot be
            written. No file appears then.
        ModelError: the face model is not here.
    """
    clock = SystemClock()
    journal = wiring.open_journal(loaded, clock)
    try:
        footage = wiring.Paths(loaded.data).footage
        checked = [check(footage, row) for row in _rows(journal, order)]
        rows = [one.row for one in checked if not one.problem]
        if not rows:
            told = "; ".join(f"{one.row.path}: {one.problem}" for one in checked)
            raise StorageError(f"none of the footage of that span can be used: {told}")
        known = journal.epochs(order.camera, order.stream)
        maps = {epoch.epoch: epoch.capture for epoch in known if epoch.epoch in {row.epoch for row in rows}}
        find = _traces(journal, footage, camera)
        tracked, masks = _hiding(loaded, camera, order, find, list(maps.values()))
        if order.plain and not order.regions:
            _check_alike(footage, rows, order)
        _note(journal, loaded, order, clock.wall_us())
        clip, tally = _write(loaded, footage, rows, maps, order, masks, progress)
    finally:
        journal.close()
    for text in sorted({text for traced in tracked for text in traced.unread}):
        click.echo(f"linli: {text}; what it knew is hidden whole", err=True)
    return _done(order, checked, clip, tally)


def _rows(journal: Journal, order: Order) -> list[SegmentRow]:
    """
    Raises:
        StorageError: there is no footage in the span.
    """
    start, end = order.span
    rows = journal.segments(order.camera, order.stream, start, end)
    if rows:
        return sorted(rows, key=lambda row: (row.start_us, row.epoch, row.n))
    others = journal.segments(order.camera, order.stream)
    there = "there is none at all"
    if others:
        there = f"there is some between {rfc3339(others[0].start_us)} and {rfc3339(others[-1].end_us)}"
    raise StorageError(
        f"there is no footage of {order.camera}/{order.stream} from {rfc3339(start)} to {rfc3339(end)}; "
        f"{there}; choose another span or --stream"
    )


def _check_alike(footage: Path, rows: Sequence[SegmentRow], order: Order) -> None:
    odd = formats(footage, rows)
    if odd is not None:
        raise StorageError(
            f"{order.camera}/{order.stream} changed its picture format at {rfc3339(odd.start_us)}, and "
            "--plain keeps it as it was recorded: export up to there, and from there on into a second file"
        )


def _traces(journal: Journal, footage: Path, camera: Camera) -> Callable[[int, int], list[Path]]:
    """The traces of the stream that is analysed."""

    def find(from_us: int, to_us: int) -> list[Path]:
        rows = journal.segments(camera.id, camera.analysed, from_us, to_us)
        return [footage / row.trace_path for row in rows if row.trace_path]

    return find


def _hiding(
    loaded: Settings,
    camera: Camera,
    order: Order,
    find: Callable[[int, int], list[Path]],
    maps: Sequence[CaptureMap],
) -> tuple[list[Traced], Masks]:
    """The masks of the order, and the traces behind them."""
    shown = None if order.stream == camera.analysed else maps
    people = Traced(find, PERSONAL | set(loaded.file.privacy.hidden), shown)
    if EVERYTHING in order.masks:
        people = Traced(find, None, shown)
    hidden = people.at if PEOPLE in order.masks or EVERYTHING in order.masks else None
    if FACES not in order.masks:
        return [people], Masks(tracked=hidden, regions=order.regions)
    model = analysing.face_detector(loaded, FACE_SCORE)
    if hidden is not None:
        return [people], Masks(tracked=hidden, faces=model, regions=order.regions)
    faces, bodies = Traced(find, frozenset({"face"}), shown), Traced(find, frozenset({"person"}), shown)
    known = (faces.at, lambda at: heads(bodies.at(at)))
    return [faces, bodies], Masks(faces=model, known_faces=known, regions=order.regions)


def _note(journal: Journal, loaded: Settings, order: Order, at_us: int) -> None:
    """The access event, durable: else there is no export."""
    start, end = (rfc3339(at) for at in order.span)
    access = Access(
        who=f"cli {user()}",
        what="footage",
        object=f"{order.camera}/{order.stream} {start}/{end} hidden: {order.hides}",
        plain=order.plain,
        purpose=order.purpose,
        allowed=True,
    )
    journal.note(f"/{loaded.file.site.id}/box/cli", access, at_us)
    journal.flush()


def user() -> str:
    """Who runs this process, by the system: the environment may say anything."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _write(
    loaded: Settings,
    footage: Path,
    rows: Sequence[SegmentRow],
    maps: dict[int, CaptureMap],
    order: Order,
    masks: Masks,
    progress: Callable[[float], None],
) -> tuple[Clip, Tally]:
    tally = Tally()
    start, end = order.span
    output = Output(order.out, PART, msgspec.json.encode(_marking(loaded, order)).decode())
    _private(Path(f"{order.out}{PART}"))
    if order.plain and not order.regions:
        packets = packets_of(footage, rows, start, end, maps)

        def passing(one: tuple[SegmentRow, Packet]) -> tuple[SegmentRow, Packet]:
            progress((one[1].capture_us - start) / 1e6)
            return one

        return remuxed(map(passing, packets), read_info(footage, rows[0]), output), tally
    around = HOLD_US if masks.faces else 0
    pictures = decoded(footage, packets_of(footage, rows, start - around, end + around, maps))

    def shown(picture: Picture) -> Picture:
        progress((picture.capture_us - start) / 1e6)
        return picture

    return encoded(map(shown, masked(pictures, masks, order.span, tally)), output), tally


def _private(partial: Path) -> None:
    """People are in it: it is its owner's alone until they give it away."""
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as e:
        raise wiring.refused(partial, e) from None


def _marking(loaded: Settings, order: Order) -> Marking:
    ways = {
        FACES: f"faces: {loaded.file.faces.model} in every picture, and the traces; one colour each",
        PEOPLE: "people: where the traces say that they were, in blocks; all of the picture where none tells",
        EVERYTHING: "all that was tracked, in blocks; all of the picture where no trace tells",
    }
    hidden = [ways[kind] for kind in order.masks] + (["drawn regions: black"] if order.regions else [])
    return Marking(
        site=loaded.file.site.id,
        camera=order.camera,
        stream=order.stream,
        start=rfc3339(order.span[0]),
        end=rfc3339(order.span[1]),
        masked=not order.plain,
        hidden=tuple(hidden),
        regions=order.regions,
        purpose=order.purpose,
    )


def _done(order: Order, checked: Sequence[Checked], clip: Clip, tally: Tally) -> Done:
    start, end = order.span
    missing = gaps([one.row for one in checked if not one.problem], start, end)
    if end - clip.end_us > GAP_US and (not missing or missing[-1][1] < end):
        missing.append((clip.end_us, end))  # a segment that is still being written
    return Done(
        file=str(order.out),
        sha256=file_sha256(order.out),
        camera=order.camera,
        stream=order.stream,
        start=rfc3339(clip.start_us),
        end=rfc3339(clip.end_us),
        pictures=clip.pictures,
        hidden=order.hides,
        hidden_whole=tally.whole,
        with_faces=tally.found,
        segments={one.row.path: one.sha256 for one in checked if not one.problem},
        passed_over={one.row.path: one.problem for one in checked if one.problem},
        gaps=tuple((rfc3339(a), rfc3339(b)) for a, b in missing),
    )

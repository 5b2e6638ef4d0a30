"""Footage back from an object store: a camera's segments of a span, with their traces, each compared with its
papers, and indexed so that replay and export find them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from events.errors import StorageError
from storage.checking import file_sha256
from storage.journal import Journal
from storage.papers import FOOTAGE, Papers, inside, read_papers
from storage.s3objects import S3Objects

STREAMS = ("main", "sub")


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    segments: int
    """Fetched and compared."""
    here: int
    """Were here already, the same."""
    bytes: int
    """Fetched."""
    failed: dict[str, str]
    """Path -> why it was not taken."""


def find(objects: S3Objects, camera: str, from_us: int, to_us: int) -> Iterator[Papers]:
    """The papers of a camera's segments that overlap the span, by stream and time.

    Raises:
        StorageError: papers cannot be read, or the store not be asked.
    """
    for stream in STREAMS:
        for day in _days(from_us, to_us):
            prefix = f"{FOOTAGE}{camera}/{stream}/{day}/"
            for key in [key for key in objects.keys(prefix) if key.endswith(".json")]:
                papers = read_papers(objects.get(key) or b"", key)
                if papers.row.end_us >= from_us and papers.row.start_us <= to_us:
                    yield papers


def restore(
    objects: S3Objects,
    found: list[Papers],
    footage: Path,
    journal: Journal,
    progress: Callable[[int], None] = lambda _: None,
) -> Restored:
    """Fetch the segments into a footage folder. One that is not what it should be is left out and named; the
    others are taken.

    Args:
        journal: is told of them; see `Catalog.take_back`.
        progress: called with the bytes of each segment that is dealt with.

    Raises:
        StorageError: the folder or journal cannot be written (DiskFull: for lack of room), or the store is
            away: asked again it goes on where it stood.
    """
    fetched = here = size = 0
    failed: dict[str, str] = {}
    for papers in found:
        row = papers.row
        try:
            got = _one(objects, papers, footage)
        except StorageError as e:
            if e.retriable:
                raise
            failed[row.path] = str(e)
        else:
            journal.take_back(row, papers.epoch, papers.snapshot)
            fetched, here, size = fetched + bool(got), here + (not got), size + got
        progress(row.bytes)
    return Restored(segments=fetched, here=here, bytes=size, failed=failed)


def _one(objects: S3Objects, papers: Papers, footage: Path) -> int:
    row = papers.row
    wanted = [(row.path, row.sha256)]
    if papers.trace_sha256:
        wanted.append((row.trace_path, papers.trace_sha256))
    got = 0
    for path, sha256 in reversed(wanted):  # the footage last: with it the segment is there
        file = inside(footage, path)
        if file.exists() and file_sha256(file) == sha256:
            continue
        part = file.with_name(f".{file.name}.restored")
        try:
            stored = objects.get_file(f"{FOOTAGE}{path}", part)
            if stored is None:
                raise StorageError(f"{path} is not in the object store, though its papers are")
            found = file_sha256(part)
            if found != sha256:
                raise StorageError(f"{path}: its SHA-256 is {found}, its papers have {sha256}")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        got += stored.bytes
    return got


def _days(from_us: int, to_us: int) -> Iterator[str]:
    """Days (UTC) in which segments may begin that reach into the span."""
    day = datetime.fromtimestamp(from_us / 1e6, UTC).date() - timedelta(days=1)
    last = datetime.fromtimestamp(to_us / 1e6, UTC).date()
    while day <= last:
        yield day.isoformat()
        day += timedelta(days=1)

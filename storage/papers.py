"""A segment's papers: what an object store keeps beside its footage, so that it can be used again without the
box that recorded it. They go last: a segment whose papers are there is there as a whole.
"""

from pathlib import Path

import msgspec

from events.errors import StorageError
from storage.catalog import EpochRow, SnapshotRow
from storage.journal import Journal
from storage.rows import SegmentRow

FOOTAGE = "footage/"
"""Keys of footage begin so; the rest is the path below the footage folder."""


class Papers(msgspec.Struct, frozen=True, kw_only=True):
    """One segment."""

    site: str
    row: SegmentRow
    """Its index row: where its files lie, what they hold, and the footage's SHA-256."""
    trace_sha256: str = ""
    """Empty: it was not analysed, or its trace is gone."""
    epoch: EpochRow
    """Its stream epoch with the anchors that were known."""
    snapshot: SnapshotRow | None = None
    """What gate, tracker and rules knew at its beginning; None: it begins its epoch, or nobody knows."""


def papers_key(path: str) -> str:
    """Key of the papers of the segment at this path below the footage folder."""
    return f"{FOOTAGE}{path.removesuffix('.mp4')}.json"


def read_papers(data: bytes, key: str) -> Papers:
    """
    Raises:
        StorageError: they are not papers.
    """
    try:
        return msgspec.json.decode(data, type=Papers)
    except msgspec.MsgspecError as e:
        raise StorageError(f"{key} in the object store is not what this version of Linli wrote: {e}") from e


def papers_of(journal: Journal, site: str, row: SegmentRow, trace_sha256: str) -> Papers | None:
    """The segment's papers, as far as the journal knows; None: it does not know the stream's epoch."""
    epoch = journal.one_epoch(row.camera, row.stream, row.epoch)
    if epoch is None:
        return None
    snapshot = journal.snapshot(row.camera, row.stream, row.id)
    return Papers(site=site, row=row, trace_sha256=trace_sha256, epoch=epoch, snapshot=snapshot)


def trace_is_final(journal: Journal, row: SegmentRow) -> bool:
    """Whether nothing will be added to the segment's trace: its epoch has ended, or the analysis has passed
    on to a later one and would resume behind it after a kill."""
    epoch = journal.one_epoch(row.camera, row.stream, row.epoch)
    if not row.model or epoch is None or epoch.end_pts is not None:
        return True
    last = journal.snapshot(row.camera, row.stream)
    if last is None or last.segment == row.id:
        return False
    return last.epoch > row.epoch or (last.epoch == row.epoch and last.pts > row.first_pts)


def inside(root: Path, path: str) -> Path:
    """The path below the root. Raises StorageError if it leads out: papers come from elsewhere."""
    whole = root / path
    if ".." in Path(path).parts or Path(path).is_absolute():
        raise StorageError(f"{path!r} leads out of {root}; these papers are not Linli's")
    return whole

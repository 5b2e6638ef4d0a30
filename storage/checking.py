"""Whether segments are what the journal says, before something is made of them; where footage is missing."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from events.errors import StorageError
from storage.footage import read_info, read_packets
from storage.fragments import locate, whole_length
from storage.rows import SegmentRow

GAP_US = 1_000_000
"""Segments further apart than this have a gap between them."""

_CHUNK = 1 << 20


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A segment, and what its file was found to be."""

    row: SegmentRow
    sha256: str
    """Of the file now; of an open one as far as it is whole. Empty: it cannot be read."""
    problem: str = ""
    """Why it must not be used; empty: it is sound."""


def file_sha256(path: Path, length: int | None = None) -> str:
    """Of the file, or of its first `length` bytes. Raises OSError."""
    digest, left = hashlib.sha256(), length
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK if left is None else min(_CHUNK, left)):
            digest.update(chunk)
            left = None if left is None else left - len(chunk)
    return digest.hexdigest()


def check(root: Path, row: SegmentRow) -> Checked:
    """Read the file and compare it with its row; where the row has no hash its packets are walked through."""
    digest = ""
    try:
        path = locate(root / row.path)
        whole = whole_length(path)
        if row.state == "open" and not whole:
            return Checked(row=row, sha256="", problem="it was only just begun and holds no picture yet")
        digest = file_sha256(path, whole if row.state == "open" else None)
        if row.sha256 and digest != row.sha256:
            problem = f"its SHA-256 is {digest}, the journal has {row.sha256}: damaged, or changed"
            return Checked(row=row, sha256=digest, problem=problem)
        read_info(root, row)
        if not row.sha256:
            for _ in read_packets(root, row):
                pass
    except (StorageError, OSError) as error:
        return Checked(row=row, sha256=digest, problem=str(error))
    return Checked(row=row, sha256=digest)


def gaps(rows: Sequence[SegmentRow], from_us: int, to_us: int) -> list[tuple[int, int]]:
    """Parts of [from_us, to_us] without footage, longer than `GAP_US`, in order.

    Args:
        rows: in order of their start. One that is open is taken to reach over the span's end.
    """
    ends = [from_us, *(to_us if row.state == "open" else row.end_us for row in rows)]
    reached = [max(ends[: n + 1]) for n in range(len(ends))]
    starts = [*(row.start_us for row in rows), to_us]
    found = [(end, min(start, to_us)) for end, start in zip(reached, starts, strict=True)]
    return [(end, start) for end, start in found if start - end > GAP_US]


def formats(root: Path, rows: Sequence[SegmentRow]) -> SegmentRow | None:
    """The first row whose stream has other parameters than the one before; None: all are alike.

    Raises:
        StorageError: a file cannot be read.
    """
    for (_, before), (row, after) in pairwise([(row, read_info(root, row)) for row in rows]):
        if (before.codec, before.extradata) != (after.codec, after.extradata):
            return row
    return None

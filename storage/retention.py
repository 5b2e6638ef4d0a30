"""Which footage goes when: by age, by bytes, and so that the disk keeps a reserve; never what is held.

`plan` decides and touches nothing; `sweep` deletes what was decided.
"""

import bisect
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from events.errors import StorageError
from storage.fragments import PART
from storage.rows import SegmentIndex, SegmentRow


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may be kept. None: no limit of that kind."""

    max_age_s: float | None = None
    """Footage that ended longer ago goes."""
    max_bytes: int | None = None
    """Of all cameras together."""
    reserve_bytes: int = 0
    """Free bytes that the disk is to keep."""

    def __post_init__(self) -> None:
        if self.max_age_s is not None and self.max_age_s <= 0:
            raise ValueError("max_age_s must be above 0")
        if (self.max_bytes is not None and self.max_bytes < 0) or self.reserve_bytes < 0:
            raise ValueError("max_bytes and reserve_bytes must not be negative")


class Hold(msgspec.Struct, frozen=True):
    """A span of a camera's footage that an open alert (or a person) needs; both ends belong to it."""

    camera: str
    from_us: int
    to_us: int


class Plan(msgspec.Struct, frozen=True):
    """What to delete, oldest first."""

    delete: tuple[SegmentRow, ...]
    missing_bytes: int = 0
    """So many more would have to go to keep within the limits, but are open or held: tell a person."""


def plan(
    rows: Iterable[SegmentRow], now_us: int, free_bytes: int, limits: Limits, held: Sequence[Hold] = ()
) -> Plan:
    """Choose the segments to delete: the oldest across all cameras, as few as the limits ask for.

    Open segments count with the bytes that their rows say (see `sized`), but are never chosen.

    Args:
        rows: the whole index.
        now_us: wall clock, microseconds since 1970.
        free_bytes: free on the footage's disk.
    """
    ordered = sorted(rows, key=lambda row: (row.end_us, row.start_us, row.id))
    total = sum(row.bytes for row in ordered)
    excess = total - limits.max_bytes if limits.max_bytes is not None else 0
    needed = max(excess, limits.reserve_bytes - free_bytes, 0)
    oldest_us = now_us - int(limits.max_age_s * 1_000_000) if limits.max_age_s is not None else None
    holds = _Holds(held)
    delete: list[SegmentRow] = []
    freed = 0
    for row in ordered:
        too_old = oldest_us is not None and row.end_us < oldest_us
        if not too_old and freed >= needed:
            break  # the rest is younger still
        if row.state == "open" or holds.needs(row):
            continue
        delete.append(row)
        freed += row.bytes
    return Plan(tuple(delete), max(needed - freed, 0))


def sized(root: Path, rows: Iterable[SegmentRow]) -> list[SegmentRow]:
    """The rows, open ones with the bytes that their files have now: the index learns them at the end."""
    return [
        msgspec.structs.replace(row, bytes=_size(root, row)) if row.state == "open" else row for row in rows
    ]


def _size(root: Path, row: SegmentRow) -> int:
    try:
        return (root / f"{row.path}{PART}").stat().st_size
    except OSError:
        return row.bytes


class _Holds:
    """Holds by camera, merged to disjoint spans in order of time, so that each look-up is a bisection."""

    def __init__(self, held: Iterable[Hold]) -> None:
        self._starts: dict[str, list[int]] = {}
        self._ends: dict[str, list[int]] = {}
        for hold in sorted(held, key=lambda h: h.from_us):
            if hold.to_us < hold.from_us:
                continue
            starts = self._starts.setdefault(hold.camera, [])
            ends = self._ends.setdefault(hold.camera, [])
            if ends and hold.from_us <= ends[-1]:
                ends[-1] = max(ends[-1], hold.to_us)
            else:
                starts.append(hold.from_us)
                ends.append(hold.to_us)

    def needs(self, row: SegmentRow) -> bool:
        starts = self._starts.get(row.camera, [])
        at = bisect.bisect_right(starts, row.end_us) - 1
        return at >= 0 and self._ends[row.camera][at] >= row.start_us


def sweep(root: Path, index: SegmentIndex, rows: Iterable[SegmentRow]) -> int:
    """Delete these segments; answers the bytes freed.

    The row goes last: cut off at any point, the next plan finds it again and finishes.

    Raises:
        StorageError: a file cannot be deleted.
    """
    freed = 0
    for row in rows:
        for path in (row.path, row.trace_path):
            if not path:
                continue
            try:
                (root / path).unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{path} cannot be deleted: {error.strerror}; mend its rights") from error
        index.delete_segment(row.id)
        freed += row.bytes
    return freed

"""What a kill or a power cut left open, mended at start without a hand.

Every step may be cut off and done again: cut to the last whole fragment, fsync, rename, fsync, index.
"""

import os
from collections.abc import Collection
from hashlib import file_digest
from pathlib import Path

import msgspec

from events.errors import StorageError
from storage.footage import read_packets, row_of_file, sync_folder
from storage.fragments import PART, whole_length
from storage.rows import SegmentIndex, SegmentRow


def recover(root: Path, index: SegmentIndex, cameras: Collection[str] | None = None) -> list[SegmentRow]:
    """Finish every segment that its writer did not; answers the rows of those that hold footage.

    To be called before any writer starts on `root` (or, where several processes share it, on `cameras`).

    Args:
        cameras: only segments of these; None for all.

    Raises:
        StorageError: the footage folder cannot be read or written.
    """
    if not root.exists():
        return []
    left = [row for row in index.segments(state="open") if cameras is None or row.camera in cameras]
    known = {row.path for row in left}
    for part in sorted(root.rglob(f"*.mp4{PART}")):
        path = str(part.relative_to(root)).removesuffix(PART)
        if path in known or (cameras is not None and path.split("/")[0] not in cameras):
            continue
        row = _orphan(part)
        if row is not None and row.path == path:
            left.append(row)
    recovered = (recover_segment(root, index, row) for row in left)
    return [row for row in recovered if row is not None]


def cameras_of(root: Path, index: SegmentIndex) -> set[str]:
    """Ids of the cameras that have a footage folder or an unfinished segment, also of ones no longer used.

    Raises:
        StorageError: the footage folder cannot be read.
    """
    try:
        folders = {path.name for path in root.iterdir() if path.is_dir()} if root.exists() else set()
    except OSError as error:
        raise StorageError(f"{root} cannot be read: {error.strerror}; mend its rights") from error
    return folders | {row.camera for row in index.segments(state="open")}


def recover_segment(root: Path, index: SegmentIndex, row: SegmentRow) -> SegmentRow | None:
    """Finish one segment; None, and its row forgotten, if it holds no whole fragment."""
    final = root / row.path
    part = Path(f"{final}{PART}")
    try:
        if part.exists():
            length = whole_length(part)
            if length == 0:
                part.unlink()
                index.delete_segment(row.id)
                return None
            with open(part, "r+b") as file:
                file.truncate(length)
                os.fsync(file.fileno())
            os.rename(part, final)
            sync_folder(final.parent)
        elif not final.exists():
            index.delete_segment(row.id)
            return None
        done = _measured(root, row)
    except OSError as error:
        raise StorageError(
            f"footage {row.path} cannot be recovered: {error.strerror}; check the disk"
        ) from error
    index.put_segment(done)
    return done


def _orphan(part: Path) -> SegmentRow | None:
    """The row of a file that the index does not know (it was lost or replaced); None if it has no footage."""
    try:
        return row_of_file(part)
    except StorageError:
        return None


def _measured(root: Path, row: SegmentRow) -> SegmentRow:
    """The row with the figures counted from the file. Capture time runs with media time from its start."""
    packets = keyframes = 0
    last_pts, end_us = row.first_pts, row.start_us
    for packet in read_packets(root, row):
        packets += 1
        keyframes += packet.keyframe
        if packet.pts > last_pts:
            last_pts, end_us = packet.pts, packet.capture_us
    with open(root / row.path, "rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
    return msgspec.structs.replace(
        row,
        state="recovered",
        last_pts=last_pts,
        end_us=end_us,
        packets=packets,
        keyframes=keyframes,
        bytes=size,
        sha256=digest,
    )

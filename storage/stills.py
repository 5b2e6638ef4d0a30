"""One picture out of the footage: what a camera showed at a moment."""

from collections.abc import Sequence
from pathlib import Path

import av

from events.errors import StorageError
from events.media import CaptureMap, rfc3339
from events.observations import Box
from ingest.decode import LazyDecoder
from ingest.packets import Packet
from storage.footage import read_info, read_packets
from storage.pictures import snapshot
from storage.rows import SegmentRow
from storage.whereabouts import Whereabouts

SHOWN_US = 1_000_000
"""How long a segment's last picture stands for what follows: until the next one's first, and no longer."""


def frame_at(
    root: Path, row: SegmentRow, capture_us: int, capture: CaptureMap | None = None
) -> av.VideoFrame:
    """The picture of the segment that was captured last at or before `capture_us`; its first, if none was.

    Args:
        capture: of the segment's epoch; without it time runs on from the segment's start.

    Raises:
        StorageError: the segment is gone, or nothing in it can be decoded.
    """
    return _frame_at(root, row, capture_us, capture)[0]


def _frame_at(
    root: Path, row: SegmentRow, capture_us: int, capture: CaptureMap | None
) -> tuple[av.VideoFrame, int]:
    """With the time at which it was captured."""
    held: list[Packet] = []
    times: dict[int, int] = {}
    for packet in read_packets(root, row, capture):
        if packet.keyframe and packet.capture_us <= capture_us:
            held.clear()
        if held and packet.capture_us > capture_us + 1_000_000:
            break
        held.append(packet)
        times[packet.pts] = packet.capture_us
    decoder = LazyDecoder(read_info(root, row))
    best: av.VideoFrame | None = None
    for waiting in [*held, None]:
        for frame in decoder.decode(waiting) if waiting else decoder.drain():
            if best is None or (frame.pts is not None and times.get(frame.pts, 0) <= capture_us):
                best = frame
    if best is None:
        raise StorageError(f"no picture can be decoded from {row.path} at {rfc3339(capture_us)}")
    return best, times.get(best.pts or 0, capture_us)


def picture_at(
    root: Path,
    rows: Sequence[SegmentRow],
    capture_us: int,
    hidden: Whereabouts | None = None,
    capture: CaptureMap | None = None,
    skew_us: int = 0,
) -> bytes:
    """JPEG of what the stream of `rows` showed at `capture_us`.

    Args:
        hidden: where people were; they are pixelated. None: plain, for those who may see it.
        capture: of the epoch of that moment's segment.
        skew_us: of `Whereabouts.skew_us` if `hidden` is of another stream than `rows`.

    Raises:
        StorageError: no footage of that moment.
    """
    frame, taken_us = still_at(root, rows, capture_us, capture)
    if hidden is None:
        return snapshot(frame, [], plain=True)
    boxes = hidden.at(taken_us, skew_us)  # where they were when it was taken
    if boxes is not None:
        w, h = frame.width, frame.height
        boxes = [Box(b.x1 * w, b.y1 * h, b.x2 * w, b.y2 * h) for b in boxes]
    return snapshot(frame, boxes)


def still_at(
    root: Path, rows: Sequence[SegmentRow], capture_us: int, capture: CaptureMap | None = None
) -> tuple[av.VideoFrame, int]:
    """What the stream of `rows` showed at `capture_us`, and when that was captured.

    Args:
        capture: of the epoch of that moment's segment.

    Raises:
        StorageError: no footage of that moment.
    """
    near = [
        r
        for r in rows
        if r.start_us <= capture_us and (r.end_us + SHOWN_US >= capture_us or r.state == "open")
    ]
    row = max(near, key=lambda r: r.start_us, default=None)
    if row is None:
        raise StorageError(
            f"there is no footage of {rfc3339(capture_us)}: not recorded, or deleted by retention"
        )
    return _frame_at(root, row, capture_us, capture)

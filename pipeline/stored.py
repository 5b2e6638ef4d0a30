"""Stored footage through the same lane: what resume after a kill and replay have in common."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from detectors.detections import Detector
from events.errors import StorageError
from ingest.packets import Packet
from pipeline.lane import Arrived, Begin, End, Lane
from pipeline.sink import unpack
from storage import trace
from storage.catalog import EpochRow, SnapshotRow
from storage.journal import Journal
from storage.rows import SegmentRow
from storage.segments import read_info, read_packets


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive segments of one epoch, and where the loop starts in them."""

    epoch: EpochRow
    segments: tuple[SegmentRow, ...]
    snapshot: SnapshotRow | None
    """Taken after the first segment's first packet; None: the epoch's own beginning."""

    @property
    def first_pts(self) -> int:
        return self.segments[0].first_pts

    @property
    def last_pts(self) -> int:
        return self.segments[-1].last_pts


def plan(journal: Journal, epoch: EpochRow, segments: Sequence[SegmentRow]) -> Run | None:
    """The run from the first of `segments` that the loop can start at; None if there is none.

    A hole in the numbering (a segment deleted or lost) ends the run.
    """
    rows = sorted(segments, key=lambda row: row.n)
    for i, row in enumerate(rows):
        snapshot = journal.snapshot(epoch.camera, epoch.stream, row.id)
        if snapshot is None and row.n > 0:
            continue
        end = next((j for j, (a, b) in enumerate(pairwise(rows[i:]), i + 1) if b.n != a.n + 1), len(rows))
        return Run(epoch=epoch, segments=tuple(rows[i:end]), snapshot=snapshot)
    return None


def traced(root: Path, segments: Sequence[SegmentRow]) -> list[trace.Line]:
    """The traces of the segments, one after the other."""
    lines: list[trace.Line] = []
    for row in segments:
        path = root / row.trace_path
        if row.trace_path and path.exists():
            lines += trace.read_trace(path)
    return lines


def drive(
    lane: Lane,
    detector: Detector,
    root: Path,
    run: Run,
    *,
    end: str | None = None,
    after: SegmentRow | None = None,
    progress: Callable[[int], None] = lambda pts: None,
) -> int:
    """Feed the run's packets through the lane, as fast as it goes; answers the last media time fed.

    Args:
        end: reason to end the epoch with when the packets are used up; None leaves it open.
        after: the segment that follows the run: its first packet is fed too, because it settles what was
            held or still in the decoder.
        progress: called with the media time after each packet.
    """
    packets = _packets(root, run, after)
    last = 0
    rest = tuple(run.epoch.capture.anchors)
    if run.snapshot is None:
        info = read_info(root, run.segments[0])
        lane.put(Begin(run.epoch.epoch, info, rest[0]))
        rest = rest[1:]
    else:
        row, first = next(packets, (None, None))
        if row is None or first is None:
            raise StorageError(f"{run.segments[0].path} has no packet to resume from")
        state, info = unpack(run.snapshot.blob), read_info(root, row)
        try:
            lane.restore(row, state, first, info)
        except (KeyError, TypeError, ValueError) as e:
            raise StorageError(
                f"{row.path}: what was known at its start was written by another version of Linli, and this "
                f"one cannot go on from it ({e!r}); use that version, or choose later footage"
            ) from e
        rest = rest[len(lane.loop.anchors) :]
        last = first.pts
    for anchor in rest:
        lane.put(anchor)
    for row, packet in packets:
        lane.put(Arrived(packet, row))
        work(lane, detector)
        last = max(last, packet.pts)
        progress(last)
    if end is not None:
        lane.put(End(end))
        work(lane, detector)
    return last


def work(lane: Lane, detector: Detector) -> None:
    """Run the lane until it is empty."""
    while (look := lane.advance()) is not None:
        lane.answer(detector.detect(look.frame, look.crops) if lane.granted() else None)


def _packets(root: Path, run: Run, after: SegmentRow | None) -> Iterator[tuple[SegmentRow, Packet]]:
    for row in run.segments:
        for packet in read_packets(root, row, run.epoch.capture):
            yield row, packet
    if after is not None:
        for packet in read_packets(root, after, run.epoch.capture):
            yield after, packet
            return

"""What the journal knows of streams: their epochs and anchors, snapshots to resume from, and the segments of
footage. The part of `storage.journal.Journal` that holds no events.
"""

from typing import Any

import msgspec

from events.clock import Clock
from events.errors import StorageError
from events.ids import next_epoch
from events.media import Anchor, CaptureMap
from ingest.packets import StreamInfo
from storage.database import Reader, queries
from storage.rows import SegmentRow, SegmentState
from storage.writer import GroupWriter, Transaction

SNAPSHOTS_KEPT = 3
"""The newest snapshots of a stream that are kept, besides the first one of each segment."""

_Q = queries("journal")


class EpochRow(msgspec.Struct, frozen=True, kw_only=True):
    """One unbroken run of a stream."""

    camera: str
    stream: str
    epoch: int
    info: StreamInfo
    capture: CaptureMap
    """All anchors journaled for it."""
    end_pts: int | None
    """Media time at which it ended; None while it runs, or if its worker was killed."""
    reason: str | None


class SnapshotRow(msgspec.Struct, frozen=True, kw_only=True):
    """The state of gate, tracker and rules at a moment of a stream."""

    camera: str
    stream: str
    epoch: int
    segment: str
    pts: int
    blob: bytes


class Catalog:
    """Methods may be called from any thread. `add_anchor`, `end_epoch`, `save_snapshot` are queued and raise
    like `Journal.append`; what is durable on return raises StorageError if it could not be done now.
    """

    def __init__(self, clock: Clock, writer: GroupWriter, reader: Reader) -> None:
        self._clock = clock
        self._writer = writer
        self._reader = reader
        self._anchors: dict[tuple[str, str, int], int] = {}

    # -- stream epochs

    def open_epoch(self, camera: str, stream: str, info: StreamInfo, anchor: Anchor) -> int:
        """Begin a stream epoch; answers its number, durable. Raises StorageError."""

        def work(tx: Transaction) -> int:
            last = tx.execute(_Q["last_epoch"], (camera, stream)).fetchone()[0]
            epoch = next_epoch(self._clock.wall_us(), last)
            tx.execute(_Q["insert_epoch"], (camera, stream, epoch, msgspec.json.encode(info)))
            tx.execute(_Q["insert_anchor"], (camera, stream, epoch, msgspec.json.encode(anchor)))
            return epoch

        epoch = int(self._writer.call(work))
        self._anchors[camera, stream, epoch] = anchor.pts
        return epoch

    def add_anchor(self, camera: str, stream: str, epoch: int, anchor: Anchor) -> None:
        """Queue an anchor; it is committed before, or together with, any event appended later.

        Raises:
            StorageError: the epoch is not known, the anchor lies before its last one, or as `append`.
        """
        key = camera, stream, epoch
        if key not in self._anchors:
            row = self._row("last_anchor", key)
            if row is None:
                raise StorageError(f"{camera}/{stream} has no epoch {epoch}; open it first")
            self._anchors[key] = msgspec.json.decode(row[0], type=Anchor).pts
        if anchor.pts < self._anchors[key]:
            raise StorageError(f"{camera}/{stream}: an anchor at {anchor.pts} lies before the last one")
        self._anchors[key] = anchor.pts
        body = msgspec.json.encode(anchor)
        self._writer.post(lambda tx: tx.execute(_Q["insert_anchor"], (*key, body)))

    def end_epoch(self, camera: str, stream: str, epoch: int, pts: int, reason: str) -> None:
        """Queue the epoch's end; the first one given counts."""
        self._anchors.pop((camera, stream, epoch), None)
        self._writer.post(lambda tx: tx.execute(_Q["end_epoch"], (pts, reason, camera, stream, epoch)))

    def epochs(self, camera: str, stream: str) -> list[EpochRow]:
        """All epochs of a stream, oldest first."""
        return self._epochs("epochs", camera, stream)

    def one_epoch(self, camera: str, stream: str, epoch: int) -> EpochRow | None:
        """One epoch; None: it is not known, or not any more."""
        return next(iter(self._epochs("epoch", camera, stream, epoch)), None)

    def _epochs(self, query: str, camera: str, stream: str, *more: int) -> list[EpochRow]:
        rows: dict[int, EpochRow] = {}
        for epoch, info, end_pts, reason, body in self._rows(query, (camera, stream, *more)):
            anchor = msgspec.json.decode(body, type=Anchor)
            if epoch in rows:
                capture = rows[epoch].capture.extend(anchor)
                rows[epoch] = msgspec.structs.replace(rows[epoch], capture=capture)
            else:
                rows[epoch] = EpochRow(
                    camera=camera,
                    stream=stream,
                    epoch=epoch,
                    info=msgspec.json.decode(info, type=StreamInfo),
                    capture=CaptureMap((anchor,)),
                    end_pts=end_pts,
                    reason=reason,
                )
        return list(rows.values())

    def open_epochs(self) -> list[tuple[str, str, int]]:
        """Camera, stream and number of each epoch that nobody ended: it runs, or its worker was killed. The
        number is the wall clock's time of its beginning, microseconds since 1970.
        """
        return [(camera, stream, epoch) for camera, stream, epoch in self._rows("open_epochs", ())]

    # -- snapshots

    def save_snapshot(
        self, camera: str, stream: str, epoch: int, segment: str, pts: int, blob: bytes
    ) -> None:
        """Queue a snapshot; it is never durable before the events appended before it.

        Kept are the newest few of each stream, and the first of each segment until `delete_segment`.
        """

        def work(tx: Transaction) -> None:
            tx.execute(_Q["insert_snapshot"], (camera, stream, epoch, segment, pts, blob))
            tx.execute(_Q["thin_snapshots"], (camera, stream, SNAPSHOTS_KEPT))

        self._writer.post(work)

    def snapshot(self, camera: str, stream: str, segment: str | None = None) -> SnapshotRow | None:
        """The newest snapshot of the stream, or the first of a segment; None if there is none."""
        if segment is None:
            row = self._row("last_snapshot", (camera, stream))
        else:
            row = self._row("segment_snapshot", (camera, stream, segment))
        if row is None:
            return None
        return SnapshotRow(
            camera=row[0], stream=row[1], epoch=row[2], segment=row[3], pts=row[4], blob=row[5]
        )

    # -- the segment index (storage.rows.SegmentIndex)

    def put_segment(self, row: SegmentRow) -> None:
        """Insert the row, or replace the one with the same id; durable when this returns."""
        r = row
        values = (r.id, r.camera, r.stream, r.epoch, r.n, r.state, r.start_us, r.end_us)
        body = msgspec.json.encode(row)
        self._writer.call(lambda tx: tx.execute(_Q["put_segment"], (*values, body)))

    def segments(
        self,
        camera: str | None = None,
        stream: str | None = None,
        from_us: int | None = None,
        to_us: int | None = None,
        state: SegmentState | None = None,
    ) -> list[SegmentRow]:
        """Rows that match all that is given and overlap [from_us, to_us], oldest start first."""
        query = "segments" if camera is None or stream is None else "segments_of"
        found = self._rows(query, (camera, stream, from_us, to_us, state))
        return [msgspec.json.decode(body, type=SegmentRow) for (body,) in found]

    def delete_segment(self, id: str) -> None:
        """Forget the row and its snapshots; durable. Nothing happens if there is none."""

        def work(tx: Transaction) -> None:
            tx.execute(_Q["delete_segment"], (id,))
            tx.execute(_Q["forget_segment_snapshots"], (id, SNAPSHOTS_KEPT))

        self._writer.call(work)

    def take_back(self, row: SegmentRow, epoch: EpochRow, snapshot: SnapshotRow | None) -> None:
        """Index a segment again that was deleted here, or recorded on another box, with its epoch and the
        snapshot that a replay begins at; durable. What is here already stays as it is: nothing is resumed
        from what was taken back.
        """
        key = epoch.camera, epoch.stream, epoch.epoch
        r = row
        values = (r.id, r.camera, r.stream, r.epoch, r.n, r.state, r.start_us, r.end_us)

        def work(tx: Transaction) -> None:
            if tx.execute(_Q["add_epoch"], (*key, msgspec.json.encode(epoch.info))).rowcount:
                tx.execute(_Q["end_epoch"], (epoch.end_pts or 0, epoch.reason or "restored", *key))
                for anchor in epoch.capture.anchors:
                    tx.execute(_Q["insert_anchor"], (*key, msgspec.json.encode(anchor)))
            tx.execute(_Q["put_segment"], (*values, msgspec.json.encode(row)))
            if snapshot is not None:
                s = snapshot
                tx.execute(_Q["add_old_snapshot"], (s.camera, s.stream, s.epoch, s.segment, s.pts, s.blob))

        self._writer.call(work)

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        return self._reader.rows(_Q[query], values)

    def _row(self, query: str, values: tuple[Any, ...]) -> Any:
        rows = self._rows(query, values)
        return rows[0] if rows else None

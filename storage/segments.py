"""Footage on disk: packets as they were received, remuxed into segments, and read back as packets.

    writer = SegmentWriter(root, "gate", "sub", epoch, info, index)
    segment = writer.write(packet)      # in the camera's reader thread, for every packet
    writer.close()

    for packet in read_packets(root, row): ...   # also of a segment that is still being written

A segment is one file (layout: `storage/fragments.py`), `.part` while it is open. Closing it is: last
fragment, fsync of the file, rename, fsync of its folder, row. What a kill leaves is mended by
`storage/recovery.py`. Times come from the row; those in the container count from the file's first packet.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

import av
import msgspec

from events.errors import StorageError
from events.media import ticks
from ingest.packets import Packet, StreamInfo
from storage.database import make_folder
from storage.footage import Label, label_row, read_info, read_packets, refusal, sync_folder
from storage.fragments import PART
from storage.muxer import FragmentMuxer, HashingFile, annexb_parameter_sets
from storage.recovery import recover_segment
from storage.rows import SegmentIndex, SegmentRow

__all__ = ["SegmentWriter", "read_info", "read_packets"]

_NAME = re.compile(r"[^\W_][\w.-]*")
"""Camera and stream names become folders: letters (of any script), digits, `_`, `-`, `.`; no leading dot."""


class _Open:
    """The segment being written."""

    def __init__(self, row: SegmentRow, file: HashingFile, muxer: FragmentMuxer, first_dts: int) -> None:
        self.row = row
        self.file = file
        self.muxer = muxer
        self.first_dts = first_dts
        self.last_pts = row.first_pts
        self.end_us = row.start_us
        self.packets = 0
        self.keyframes = 0

    def mux(self, packet: Packet) -> None:
        self.muxer.mux(packet)
        self.packets += 1
        self.keyframes += packet.keyframe
        if packet.pts > self.last_pts:
            self.last_pts = packet.pts
            self.end_us = packet.capture_us

    def closed_row(self, digest: str) -> SegmentRow:
        return msgspec.structs.replace(
            self.row,
            state="closed",
            last_pts=self.last_pts,
            end_us=self.end_us,
            packets=self.packets,
            keyframes=self.keyframes,
            bytes=self.file.bytes,
            sha256=digest,
        )


def _with_parameter_sets(info: StreamInfo, keyframe: Packet, name: str) -> StreamInfo:
    """Cameras that announce no (or broken) parameter sets in their SDP have them before each keyframe.

    Raises:
        StorageError: neither has them.
    """
    if info.extradata[:1] == b"\1" or annexb_parameter_sets(info.codec, info.extradata):
        return info
    sets = annexb_parameter_sets(info.codec, bytes(keyframe.av))
    if not sets:
        raise StorageError(
            f"{name} sends no sound parameter sets; restart the camera or set another codec profile"
        )
    return msgspec.structs.replace(info, extradata=sets)


class SegmentWriter:
    """Records one stream epoch. Not thread safe: it belongs to the camera's reader thread."""

    def __init__(  # noqa: PLR0913  what is recorded (4), where to (2), and how: no two belong together
        self,
        root: Path,
        camera: str,
        stream: str,
        epoch: int,
        info: StreamInfo,
        index: SegmentIndex,
        *,
        segment_s: float = 60.0,
        fragment_s: float = 1.0,
        model: str = "",
    ) -> None:
        for name in (camera, stream):
            if not _NAME.fullmatch(name):
                raise StorageError(f"{name!r} cannot name a folder; use letters, digits, '_', '-' and '.'")
        self.bytes_written = 0
        """Bytes of finished segments and of the open one so far."""
        self.segments = 0
        """Segments begun."""
        self._root = root
        self._label = Label(camera=camera, stream=stream, epoch=epoch, n=0, first_pts=0, start_us=0)
        self._info = info
        self._index = index
        self._segment_ticks = ticks(segment_s)
        self._fragment_s = fragment_s
        self._model = model
        self._open: _Open | None = None
        self._finished_bytes = 0

    @property
    def row(self) -> SegmentRow | None:
        """The open segment as it was indexed at its start; None before the first keyframe."""
        return self._open.row if self._open else None

    def write(self, packet: Packet) -> str:
        """Record a packet; answers the id of the segment it went to, or "" before the first keyframe.

        Raises:
            DiskFull: no room. What was written stays and is indexed; the next keyframe tries again.
            StorageError: the folder refuses, or the stream's parameter sets are damaged. Likewise.
        """
        current = self._open
        if packet.size == 0:
            return current.row.id if current else ""
        if packet.keyframe and (current is None or packet.dts - current.first_dts >= self._segment_ticks):
            self.close()
            current = self._begin(packet)
        if current is None:
            return ""
        try:
            current.mux(packet)
        except (OSError, ValueError, av.FFmpegError) as error:
            self._abandon(current)
            raise refusal(f"footage {current.row.path}", error) from error
        self.bytes_written = self._finished_bytes + current.file.bytes
        return current.row.id

    def close(self) -> None:
        """Finish the open segment, if any: durable and indexed when this returns. May be called twice.

        Raises:
            DiskFull, StorageError: as `write`.
        """
        current, self._open = self._open, None
        if current is None:
            return
        final = self._root / current.row.path
        try:
            current.muxer.close()
            digest = current.file.sync()
            os.rename(f"{final}{PART}", final)
            sync_folder(final.parent)
        except (OSError, ValueError, av.FFmpegError) as error:
            self._abandon(current)
            raise refusal(f"footage {current.row.path}", error) from error
        self._finished_bytes += current.file.bytes
        self.bytes_written = self._finished_bytes
        self._index.put_segment(current.closed_row(digest))

    def _begin(self, packet: Packet) -> _Open:
        label = msgspec.structs.replace(
            self._label, n=self.segments, first_pts=packet.pts, start_us=packet.capture_us
        )
        info = self._info = _with_parameter_sets(self._info, packet, f"{label.camera}/{label.stream}")
        row = label_row(label, info, self._model)
        final = self._root / row.path
        file = None
        try:
            make_folder(final.parent)
            # The row goes first: a file without one would be footage that nothing knows of.
            self._index.put_segment(row)
            self.segments += 1
            file = HashingFile(f"{final}{PART}")
            muxer = FragmentMuxer(file, info, self._fragment_s, msgspec.json.encode(label).decode())
        except (OSError, ValueError, av.FFmpegError) as error:
            if file is not None:
                file.abandon()
                os.unlink(file.name)
            self._index.delete_segment(row.id)
            raise refusal(f"footage {row.path}", error) from error
        self._open = _Open(row, file, muxer, packet.dts)
        return self._open

    def _abandon(self, broken: _Open) -> None:
        """Keep the whole fragments of a segment that could not be finished."""
        self._open = None
        broken.file.abandon()
        self._finished_bytes += broken.file.bytes
        with suppress(StorageError):  # the next start tries again
            recover_segment(self._root, self._index, broken.row)

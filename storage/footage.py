"""Stored footage: where segments lie, what their files say of themselves, and their packets read back."""

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
import msgspec

from events.errors import DiskFull, StorageError
from events.media import TICKS, CaptureMap, rfc3339
from ingest.packets import Packet, StreamInfo
from storage.fragments import PART, locate, whole_length
from storage.rows import SegmentRow

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of itself (its MP4 comment), so that it can be indexed again without the journal."""

    camera: str
    stream: str
    epoch: int
    n: int
    first_pts: int
    start_us: int


def segment_id(camera: str, stream: str, epoch: int, n: int) -> str:
    """The id of the n-th segment of an epoch; no two segments of a site have the same."""
    return f"{camera}:{stream}:{epoch}:{n}"


def footage_path(label: Label) -> str:
    """Where a segment lies, relative to the footage root: camera/stream/day/epoch-n.mp4."""
    day = rfc3339(label.start_us)[:10]
    return f"{label.camera}/{label.stream}/{day}/{label.epoch}-{label.n:06d}.mp4"


def trace_path(path: str) -> str:
    """Where the trace of the segment at `path` lies."""
    return path.removesuffix(".mp4") + ".trace.jsonl"


def sync_folder(folder: Path) -> None:
    """Make names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def refusal(what: str, error: Exception) -> StorageError:
    """The error of our tree for what the disk or libav said."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return DiskFull(f"no room to write {what}: free some space, or keep footage for a shorter time")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return StorageError(
            f"{what} cannot be written: the folder is read-only for this user; mend its rights"
        )
    return StorageError(f"{what} cannot be written: {error}")


def label_row(label: Label, info: StreamInfo, model: str = "") -> SegmentRow:
    """The row of a segment that begins: state open."""
    path = footage_path(label)
    return SegmentRow(
        id=segment_id(label.camera, label.stream, label.epoch, label.n),
        camera=label.camera,
        stream=label.stream,
        epoch=label.epoch,
        n=label.n,
        path=path,
        state="open",
        codec=info.codec,
        width=info.width,
        height=info.height,
        first_pts=label.first_pts,
        last_pts=label.first_pts,
        start_us=label.start_us,
        end_us=label.start_us,
        model=model,
        trace_path=trace_path(path),
    )


def row_of_file(path: Path) -> SegmentRow:
    """The row of a segment that no index knows, from what the file says of itself; state open.

    Raises:
        StorageError: not a segment of ours.
    """
    try:
        with _container(path) as container:
            label = msgspec.json.decode(container.metadata.get("comment", ""), type=Label)
            return label_row(label, _info(container))
    except (av.FFmpegError, msgspec.MsgspecError, LookupError) as error:
        raise StorageError(f"{path} is not a segment of footage: {error}") from error


class _Whole(io.RawIOBase):
    """A growing file, as far as its fragments are whole."""

    def __init__(self, path: Path) -> None:
        self._length = whole_length(path)
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115  closed with this object

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset if whence != 2 else self._length + offset, whence % 2)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        left = max(self._length - self._file.tell(), 0)
        return self._file.read(left if size < 0 else min(size, left))

    def close(self) -> None:
        self._file.close()
        super().close()


def _container(path: Path) -> av.container.InputContainer:
    source = _Whole(path) if path.suffix == PART else str(path)
    return av.open(source, "r", format="mp4")


def _info(container: av.container.InputContainer) -> StreamInfo:
    context = container.streams.video[0].codec_context
    rate = container.streams.video[0].average_rate
    return StreamInfo(
        codec="hevc" if context.name == "hevc" else "h264",
        width=context.width,
        height=context.height,
        extradata=context.extradata or b"",
        fps=float(rate or 0),
    )


def read_info(root: Path, row: SegmentRow) -> StreamInfo:
    """What the stream in the segment is; its parameter sets in MP4's form (avcC, hvcC).

    Raises:
        StorageError: the file is gone or damaged.
    """
    path = locate(root / row.path)
    try:
        with _container(path) as container:
            return _info(container)
    except (av.FFmpegError, LookupError) as error:
        raise StorageError(f"footage {row.path} cannot be read: {error}") from error


def read_packets(root: Path, row: SegmentRow, capture: CaptureMap | None = None) -> Iterator[Packet]:
    """The segment's packets with the times they were written with, in decoding order.

    Payloads have length prefixes, as MP4 wants them, not Annex B's start codes; decode them with
    `read_info`'s parameter sets. The times of `Packet.av` are media time too. Of an open segment, the whole
    fragments that were there at the start are read.

    Args:
        capture: the epoch's capture times; without, capture time runs with media time from the row's start.

    Raises:
        StorageError: the file is gone or damaged.
    """
    path = locate(root / row.path)
    try:
        with _container(path) as container:
            stream = container.streams.video[0]
            offset: int | None = None
            for p in container.demux(stream):
                if p.pts is None or p.dts is None or not p.size:
                    continue  # the demuxer's last, empty packet
                if offset is None:
                    offset = row.first_pts - p.pts
                p.pts = pts = p.pts + offset
                p.dts = dts = p.dts + offset
                at = row.start_us + (pts - row.first_pts) * 1_000_000 // TICKS
                yield Packet(
                    pts, dts, capture.at(pts) if capture else at, p.is_keyframe, p.is_corrupt, p.size, p
                )
    except (av.FFmpegError, LookupError) as error:
        raise StorageError(f"footage {row.path} cannot be read: {error}") from error

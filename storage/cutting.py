"""From stored packets to a playable file: the packets of a span, over segments and epochs, are remuxed as
they are, or decoded, changed and encoded again. What clips (`storage/clips.py`) and masked exports share.

The output is an MP4 with its index in front, whole or not at all. Where nothing was recorded the last picture
stands.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import msgspec
from av.container import OutputContainer
from av.video.frame import PictureType

from events.errors import StorageError
from events.media import TICKS, CaptureMap, rfc3339
from events.observations import Box
from ingest.packets import Packet, StreamInfo
from storage.database import make_folder
from storage.footage import read_info, read_packets, refusal
from storage.muxer import add_video, share
from storage.rows import SegmentRow

_TIME_BASE = Fraction(1, TICKS)

Captures = Mapping[int, CaptureMap]
"""Capture times by epoch; an epoch that is missing runs on from its segments' start."""


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """What was cut."""

    path: Path
    start_us: int
    """Capture time of its first picture: at or (when not decoded) up to a GOP before what was asked for."""
    end_us: int
    """Capture time of its last picture."""
    pictures: int
    hidden_whole: int = 0
    """Pictures that were hidden as a whole, because it is not known where people are in them."""


class Picture(NamedTuple):
    """A decoded picture of the span."""

    frame: av.VideoFrame
    capture_us: int
    pts: int
    """Ticks from the first packet's picture on."""


class Output(NamedTuple):
    """Where a file is written, and what it says of itself."""

    path: Path
    suffix: str = ".tmp"
    """Of the name until it is complete."""
    comment: str = ""


def chosen(rows: Sequence[SegmentRow], from_us: int, to_us: int) -> list[SegmentRow]:
    """The rows that overlap the span, in order.

    Raises:
        StorageError: there is none.
        ValueError: they are of several streams.
    """
    found = [row for row in rows if row.start_us <= to_us and (row.end_us >= from_us or row.state == "open")]
    if not found:
        span = f"{rfc3339(from_us)} and {rfc3339(to_us)}"
        raise StorageError(f"there is no footage between {span}: not recorded, or deleted by retention")
    streams = {(row.camera, row.stream) for row in found}
    if len(streams) > 1:
        raise ValueError(f"a clip is cut from one stream, not from {sorted(streams)}")
    return sorted(found, key=lambda row: (row.start_us, row.epoch, row.n))


def packets_of(
    root: Path, rows: Sequence[SegmentRow], from_us: int, to_us: int, captures: Captures
) -> Iterator[tuple[SegmentRow, Packet]]:
    """Packets from the keyframe at or before `from_us` to the last one decoded by `to_us`."""
    held: list[tuple[SegmentRow, Packet]] = []
    started = False
    for row in rows:
        for packet in read_packets(root, row, captures.get(row.epoch)):
            if started:
                if packet.capture_us - (packet.pts - packet.dts) * 1_000_000 // TICKS > to_us:
                    return
                yield row, packet
                continue
            if packet.keyframe and packet.capture_us <= from_us:
                held.clear()
            held.append((row, packet))
            if packet.capture_us >= from_us:
                started = True
                yield from held
    if not started:
        yield from held


class _Shift:
    """Media time of one or more epochs to the clip's own time, in which its first picture is shown at 0."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._offset = 0
        self._start_us = 0
        self._last = 0
        self.step = 0
        """Ticks between the last two packets."""

    def offset(self, epoch: int, packet: Packet) -> int:
        """What to add to the packet's times, in ticks."""
        if self._epoch is None:
            self._offset = -packet.pts
            self._start_us = packet.capture_us
            self._last = packet.dts - packet.pts - 1
        elif epoch != self._epoch:
            passed = (packet.capture_us - self._start_us) * TICKS // 1_000_000
            self._offset = max(passed - packet.pts, self._last + 1 - packet.dts)
        self._epoch = epoch
        self.step = packet.dts + self._offset - self._last
        self._last += self.step
        return self._offset


@contextmanager
def _opened(out: Output) -> Iterator[OutputContainer]:
    """An MP4 that appears under its name only when it is complete."""
    partial = Path(f"{out.path}{out.suffix}")
    make_folder(out.path.parent)
    options = {"movflags": "faststart", "video_track_timescale": str(TICKS)}
    try:
        with av.open(str(partial), "w", format="mp4", options=options) as container:
            if out.comment:
                container.metadata["comment"] = out.comment
            yield container
        os.replace(partial, out.path)
    finally:
        partial.unlink(missing_ok=True)


def remuxed(packets: Iterable[tuple[SegmentRow, Packet]], info: StreamInfo, out: Output) -> Clip:
    """The packets as they are, each at its own time; `info` holds for all of them.

    Raises:
        StorageError: footage cannot be read, or the file not be written.
    """
    shift, times = _Shift(), []
    try:
        with _opened(out) as container:
            stream = add_video(container, info)
            for row, packet in packets:
                offset, step = shift.offset(row.epoch, packet), shift.step
                shared = share(packet, stream, packet.pts + offset, packet.dts + offset)
                shared.duration = step  # else the last picture has none, and players leave it out
                container.mux(shared)
                times.append(packet.capture_us)
    except (OSError, ValueError, av.FFmpegError) as error:
        raise refusal(f"clip {out.path.name}", error) from error
    return Clip(path=out.path, start_us=min(times), end_us=max(times), pictures=len(times))


def decoded(root: Path, packets: Iterator[tuple[SegmentRow, Packet]]) -> Iterator[Picture]:
    """The pictures of the packets, in the order in which they are shown.

    Raises:
        StorageError: footage cannot be read.
    """
    shift = _Shift()
    epoch: int | None = None
    context: Any = None
    times: dict[int, tuple[int, int]] = {}

    def pictures(packet: Packet | None) -> Iterator[Picture]:
        try:
            frames = context.decode(packet.av if packet else None)
        except av.InvalidDataError:
            return  # a damaged packet: the pictures after it are still worth showing
        for frame in frames:
            if frame.pts in times:
                yield Picture(frame, *times.pop(frame.pts))

    for row, packet in packets:
        if row.epoch != epoch:
            if context is not None:
                yield from pictures(None)
            epoch = row.epoch
            info = read_info(root, row)
            context = av.CodecContext.create(info.codec, "r")
            context.extradata = info.extradata
            context.thread_count = 1
            times.clear()
        times[packet.pts] = (packet.capture_us, packet.pts + shift.offset(row.epoch, packet))
        yield from pictures(packet)
    if context is not None:
        yield from pictures(None)


def within(pictures: Iterable[Picture], from_us: int, to_us: int) -> Iterator[Picture]:
    """Those of the span."""
    return (picture for picture in pictures if from_us <= picture.capture_us <= to_us)


def encoded(pictures: Iterable[Picture], out: Output) -> Clip:
    """The pictures as H.264; the first of them is shown at 0.

    Raises:
        StorageError: there is no picture, footage cannot be read, or the file not be written.
    """
    times: list[int] = []
    first = 0
    stream: Any = None
    try:
        with _opened(out) as container:
            for frame, capture_us, pts in pictures:
                if stream is None:
                    stream, first = _h264(container, frame), pts
                container.mux(stream.encode(_fitted(frame, stream, pts - first)))
                times.append(capture_us)
            if stream is None:
                raise StorageError(
                    f"the footage for clip {out.path.name} holds no picture that can be decoded"
                )
            container.mux(stream.encode(None))
    except (OSError, ValueError, av.FFmpegError) as error:
        raise refusal(f"clip {out.path.name}", error) from error
    return Clip(path=out.path, start_us=min(times), end_us=max(times), pictures=len(times))


def _h264(container: OutputContainer, frame: av.VideoFrame) -> Any:
    """An encoder for what any browser plays. One thread: the cameras go first."""
    stream = container.add_stream("libx264", options={"preset": "veryfast", "crf": "23"})
    stream.width, stream.height = frame.width // 2 * 2, frame.height // 2 * 2
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = _TIME_BASE
    stream.codec_context.thread_count = 1
    return stream


def _fitted(frame: av.VideoFrame, stream: Any, pts: int) -> av.VideoFrame:
    """The frame as the encoder takes it."""
    fitted = frame.reformat(stream.width, stream.height, "yuv420p")
    fitted.pts, fitted.time_base = pts, _TIME_BASE
    fitted.pict_type = PictureType.NONE  # the camera's choice of keyframes is not the encoder's
    return fitted


def scaled(boxes: Sequence[Box] | None, width: int, height: int) -> list[Box] | None:
    """Fractions of the picture into pixels."""
    if boxes is None:
        return None
    return [Box(b.x1 * width, b.y1 * height, b.x2 * width, b.y2 * height) for b in boxes]

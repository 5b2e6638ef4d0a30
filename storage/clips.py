"""Clips cut from segments, for a person to watch in a browser.

    cut_clip(...)        the packets as they are, from the keyframe before the span: milliseconds
    cut_pixelated(...)   decoded, people hidden where the traces say they were, encoded again

Both give an MP4 with its index in front, whole or not at all. Several segments, also of several stream
epochs, make one clip; where nothing was recorded the last picture stands.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

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
from storage.pictures import hide
from storage.rows import SegmentRow
from storage.trace import read_trace
from storage.whereabouts import PERSONAL, Whereabouts

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


def cut_clip(
    root: Path,
    rows: Sequence[SegmentRow],
    from_us: int,
    to_us: int,
    out: Path,
    *,
    transcode: bool = False,
    captures: Captures | None = None,
) -> Clip:
    """Cut the span [from_us, to_us] of one stream into the MP4 `out`, plain.

    Args:
        rows: segments of one stream that overlap the span, in any order; others are passed over.
        transcode: encode as H.264, whatever was recorded; slow (a core does some tens of 1080p pictures a
            second).

    Raises:
        StorageError: no footage there, or it cannot be played by browsers without `transcode`.
    """
    chosen = _chosen(rows, from_us, to_us)
    packets = _packets(root, chosen, from_us, to_us, captures or {})
    if transcode:
        return _encoded(root, packets, (from_us, to_us), out, None)
    info = _playable_info(root, chosen)
    return _remuxed(packets, info, out)


def cut_pixelated(  # noqa: PLR0913  what is shown, and by what it is hidden
    root: Path,
    rows: Sequence[SegmentRow],
    from_us: int,
    to_us: int,
    out: Path,
    *,
    traces: Sequence[Path] | None = None,
    labels: Collection[str] = PERSONAL,
    captures: Captures | None = None,
) -> Clip:
    """As `cut_clip` with `transcode`, people hidden as `storage/whereabouts.py` has it.

    Args:
        traces: of the segments that were analysed, at their absolute paths, if those are not `rows` (a main
            stream is recorded, the sub-stream analysed). Give a segment before and after the span, too.
            Where they are of another stream, people are hidden with room for the two streams' clocks.
        captures: of the stream of `rows`, where its own traces do not tell.

    Raises:
        StorageError: no footage there, or a trace is damaged.
    """
    paths = [root / row.trace_path for row in rows if row.trace_path] if traces is None else traces
    known = Whereabouts((read_trace(path) for path in paths), labels)
    chosen = _chosen(rows, from_us, to_us)
    own = {root / row.trace_path for row in chosen} <= set(paths)
    packets = _packets(root, chosen, from_us, to_us, {**(known.captures if own else {}), **(captures or {})})
    maps = list((captures or {}).values())

    def hidden(at: int) -> list[Box] | None:
        return known.at(at, 0 if own else known.skew_us(at, maps))

    return _encoded(root, packets, (from_us, to_us), out, hidden)


def _chosen(rows: Sequence[SegmentRow], from_us: int, to_us: int) -> list[SegmentRow]:
    chosen = [row for row in rows if row.start_us <= to_us and (row.end_us >= from_us or row.state == "open")]
    if not chosen:
        span = f"{rfc3339(from_us)} and {rfc3339(to_us)}"
        raise StorageError(f"there is no footage between {span}: not recorded, or deleted by retention")
    streams = {(row.camera, row.stream) for row in chosen}
    if len(streams) > 1:
        raise ValueError(f"a clip is cut from one stream, not from {sorted(streams)}")
    return sorted(chosen, key=lambda row: (row.start_us, row.epoch, row.n))


def _packets(
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


def _playable_info(root: Path, rows: Sequence[SegmentRow]) -> StreamInfo:
    """The parameters that all the rows share.

    Raises:
        StorageError: a browser could not play it.
    """
    name = f"{rows[0].camera}/{rows[0].stream}"
    if any(row.codec == "hevc" for row in rows):
        raise StorageError(
            f"{name} records H.265, which many browsers cannot play: ask for the clip transcoded, "
            "or set the camera's stream to H.264"
        )
    infos = [read_info(root, row) for row in rows]
    if any(info.extradata != infos[0].extradata for info in infos):
        raise StorageError(f"{name} changed its picture format within the clip: ask for it transcoded")
    return infos[0]


@contextmanager
def _output(path: Path) -> Iterator[OutputContainer]:
    """An MP4 that appears under its name only when it is complete."""
    partial = Path(f"{path}.tmp")
    make_folder(path.parent)
    options = {"movflags": "faststart", "video_track_timescale": str(TICKS)}
    try:
        with av.open(str(partial), "w", format="mp4", options=options) as container:
            yield container
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _remuxed(packets: Iterator[tuple[SegmentRow, Packet]], info: StreamInfo, out: Path) -> Clip:
    shift, times = _Shift(), []
    try:
        with _output(out) as container:
            stream = add_video(container, info)
            for row, packet in packets:
                offset, step = shift.offset(row.epoch, packet), shift.step
                shared = share(packet, stream, packet.pts + offset, packet.dts + offset)
                shared.duration = step  # else the last picture has none, and players leave it out
                container.mux(shared)
                times.append(packet.capture_us)
    except (OSError, ValueError, av.FFmpegError) as error:
        raise refusal(f"clip {out.name}", error) from error
    return Clip(path=out, start_us=min(times), end_us=max(times), pictures=len(times))


def _decoded(
    root: Path, packets: Iterator[tuple[SegmentRow, Packet]]
) -> Iterator[tuple[av.VideoFrame, int, int]]:
    """Pictures with their capture time and clip time."""
    shift = _Shift()
    epoch: int | None = None
    context: Any = None
    times: dict[int, tuple[int, int]] = {}

    def pictures(packet: Packet | None) -> Iterator[tuple[av.VideoFrame, int, int]]:
        try:
            frames = context.decode(packet.av if packet else None)
        except av.InvalidDataError:
            return  # a damaged packet: the pictures after it are still worth showing
        for frame in frames:
            if frame.pts in times:
                yield (frame, *times.pop(frame.pts))

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


def _encoded(
    root: Path,
    packets: Iterator[tuple[SegmentRow, Packet]],
    span: tuple[int, int],
    out: Path,
    hidden: Callable[[int], Sequence[Box] | None] | None,
) -> Clip:
    times: list[int] = []
    whole, first = 0, 0
    stream: Any = None
    try:
        with _output(out) as container:
            for frame, capture_us, pts in _decoded(root, packets):
                if not span[0] <= capture_us <= span[1]:
                    continue
                if stream is None:
                    stream, first = _h264(container, frame), pts
                if hidden is not None:
                    boxes = hidden(capture_us)
                    whole += boxes is None
                    frame = hide(frame, _scaled(boxes, frame.width, frame.height))
                container.mux(stream.encode(_fitted(frame, stream, pts - first)))
                times.append(capture_us)
            if stream is None:
                raise StorageError(f"the footage for clip {out.name} holds no picture that can be decoded")
            container.mux(stream.encode(None))
    except (OSError, ValueError, av.FFmpegError) as error:
        raise refusal(f"clip {out.name}", error) from error
    return Clip(path=out, start_us=min(times), end_us=max(times), pictures=len(times), hidden_whole=whole)


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


def _scaled(boxes: Sequence[Box] | None, width: int, height: int) -> list[Box] | None:
    if boxes is None:
        return None
    return [Box(b.x1 * width, b.y1 * height, b.x2 * width, b.y2 * height) for b in boxes]

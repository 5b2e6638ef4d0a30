"""A plain video file as a source, for demonstrations, evaluation and tests. (Footage that Linli recorded is
read by `storage/segments.py`, with the capture times that were journaled.)"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import av
from av.error import FFmpegError

from events.clock import Clock
from events.errors import SourceError, UnsupportedStream
from events.media import TICKS, Anchor, Unwrapper, seconds
from ingest.packets import Codec, Packet, StreamInfo
from ingest.source import Opened


class FootageSource:
    """One run of a file, or of several as one stream; a `Source`."""

    def __init__(
        self,
        files: Path | Sequence[Path],
        *,
        start_us: int = 0,
        clock: Clock | None = None,
        speed: float = 0.0,
        any_codec: bool = False,
    ) -> None:
        """
        Args:
            files: played one after the other; they must agree in codec and size.
            start_us: capture time of the first picture.
            clock: needed for pacing.
            speed: 1 is real time; 0 is as fast as it is read.
            any_codec: take what libav can decode, not H.264 and H.265 alone (to evaluate old clips).
        """
        self._files = (files,) if isinstance(files, Path) else tuple(files)
        if not self._files:
            raise SourceError("no footage given; name at least one file")
        if speed and clock is None:
            raise ValueError("pacing needs a clock")
        self._start_us = start_us
        self._clock = clock
        self._speed = speed
        self._any_codec = any_codec
        self._info: StreamInfo | None = None
        self.pace_s = 0.0
        self._stopped = threading.Event()

    def open(self) -> Opened:
        """See `Source.open`. All files are looked at."""
        infos = [self._look(path) for path in self._files]
        first = infos[0]
        for path, info in zip(self._files, infos, strict=True):
            if (info.codec, info.width, info.height) != (first.codec, first.width, first.height):
                raise UnsupportedStream(f"{path} has another codec or size than {self._files[0]}")
        self._info = first
        anchor = Anchor(pts=0, capture_us=self._start_us, source="file", uncertainty_us=0)
        return Opened(info=first, anchor=anchor)

    def packets(self) -> Iterator[Packet]:
        """See `Source.packets`."""
        if self._info is None:
            raise SourceError(f"{self._files[0]} is not open; open the source before reading packets")
        frame = round(TICKS / self._info.fps) if self._info.fps else TICKS // 25
        offset = 0
        started = self._clock.monotonic() if self._clock else 0.0
        for path in self._files:
            end = offset
            for packet in self._read(path, offset):
                if self._stopped.is_set():
                    return
                if self._speed and self._clock:
                    due = started + seconds(packet.dts) / self._speed
                    self._clock.sleep(max(0.0, due - self._clock.monotonic()))
                yield packet
                end = max(end, packet.dts)
            offset = end + frame

    def anchors(self) -> list[Anchor]:
        """See `Source.anchors`: a file has only its first."""
        return []

    def clock_errors(self) -> list[int]:
        """See `Source.clock_errors`: a file has no clock."""
        return []

    def close(self) -> None:
        """See `Source.close`."""
        self._stopped.set()

    def _open(self, path: Path) -> Any:
        try:
            container = av.open(str(path))
        except FFmpegError as error:
            reason = error.strerror or type(error).__name__
            raise SourceError(f"{path} cannot be read: {reason}; is it a video file?") from None
        if not container.streams.video:
            container.close()
            raise UnsupportedStream(f"{path} has no video in it")
        return container

    def _look(self, path: Path) -> StreamInfo:
        with self._open(path) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            codec = context.name if context is not None else "an unknown codec"
            if context is None or (codec not in ("h264", "hevc") and not self._any_codec):
                raise UnsupportedStream(f"{path} holds {codec}; only H.264 and H.265 are analysed")
            return StreamInfo(
                codec=cast(Codec, codec),
                width=context.width,
                height=context.height,
                extradata=context.extradata or b"",
                fps=float(stream.average_rate or 0),
            )

    def _read(self, path: Path, offset: int) -> Iterator[Packet]:
        unwrap = Unwrapper(max_gap_s=3600.0)
        with self._open(path) as container:
            stream = container.streams.video[0]
            base = stream.time_base
            scale, unit = TICKS * base.numerator, base.denominator
            last = -1
            try:
                for packet in container.demux(stream):
                    if not packet.size:
                        continue
                    raw = packet.dts if packet.dts is not None else packet.pts
                    raw = last + 1 if raw is None else raw
                    last = raw
                    shown = raw if packet.pts is None else packet.pts
                    dts = offset + unwrap.feed(raw * scale // unit)
                    pts = dts + shown * scale // unit - raw * scale // unit
                    capture_us = self._start_us + pts * 1_000_000 // TICKS
                    keyframe, corrupt = packet.is_keyframe, packet.is_corrupt
                    yield Packet(pts, dts, capture_us, keyframe, corrupt, packet.size, packet)
            except FFmpegError as error:
                reason = error.strerror or type(error).__name__
                raise SourceError(f"{path} is damaged: {reason}; play it to see how far it goes") from None

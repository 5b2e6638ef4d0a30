"""Decoding on demand, single-threaded: with slice or frame threads, damaged packets give other pictures from
run to run, and a replay could not be compared with what was seen.

A decoder is *fresh* (holds no reference pictures) or *running*. `probe` and `reset` leave it fresh, `decode`
leaves it running, `drain` empties it and leaves it fresh. To a fresh decoder only a keyframe means something:
waking a camera is `reset()`, then `decode` of the held packets from their keyframe on.

Frames carry media time: `frame.pts` is in ticks of 1/90000 s whatever the container's time base was, because
the packet's own `pts` is set just before it is decoded (the cheapest way: libav carries it through the
reordering). `frame.time` is therefore not to be used.
"""

from typing import Any, cast

import av
from av.codec.context import ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from events.errors import UnsupportedStream
from ingest.packets import Packet, StreamInfo


class LazyDecoder:
    """The decoder of one stream. Used by one thread at a time."""

    def __init__(self, info: StreamInfo, strict: bool = False) -> None:
        """
        Args:
            strict: damaged pictures are errors; otherwise libav conceals the damage as well as it can.

        Raises:
            UnsupportedStream: libav here has no decoder for the codec.
        """
        try:
            context: Any = av.CodecContext.create(cast(Any, info.codec), "r")
        except (FFmpegError, ValueError):
            raise UnsupportedStream(
                f"no decoder for {info.codec}; set the camera to H.264 or H.265"
            ) from None
        context.thread_type = ThreadType.NONE
        context.thread_count = 1
        if strict:
            context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        if info.extradata:
            context.extradata = info.extradata
        if info.codec not in ("h264", "hevc"):
            context.width, context.height = info.width, info.height
        self._context = cast(VideoCodecContext, context)
        self.errors = 0
        """Packets that could not be decoded, so far."""
        self.frames = 0
        """Pictures given out, so far."""
        self._running = False

    def probe(self, packet: Packet) -> av.VideoFrame | None:
        """The picture of one keyframe alone; None if it gives none (damaged, or not a real keyframe).

        What was in the decoder is given up. Afterwards it is fresh.
        """
        if self._running:
            self.reset()
        # With B-frames a lone picture waits in the decoder for its neighbours: drain it out.
        frames = self._feed(packet)
        frames += self._feed(None)
        self.reset()
        self.frames += bool(frames)
        return frames[0] if frames else None

    def decode(self, packet: Packet) -> list[av.VideoFrame]:
        """The pictures that this packet completes, in order of presentation: none, one or more.

        A damaged packet is counted in `errors`, never raised. Afterwards the decoder is running.
        """
        self._running = True
        frames = self._feed(packet)
        self.frames += len(frames)
        return frames

    def drain(self) -> list[av.VideoFrame]:
        """The pictures still waiting in the decoder. Afterwards it is fresh."""
        frames = self._feed(None)
        self.frames += len(frames)
        self.reset()
        return frames

    def reset(self) -> None:
        """Forget all pictures; the stream's parameter sets stay. Afterwards the decoder is fresh."""
        if self._context.is_open:
            self._context.flush_buffers()
        self._running = False

    def _feed(self, packet: Packet | None) -> list[av.VideoFrame]:
        try:
            if packet is None:
                return self._context.decode(None)
            compressed = packet.av
            compressed.pts, compressed.dts = packet.pts, packet.dts
            return self._context.decode(compressed)
        except FFmpegError:
            self.errors += packet is not None
            return []

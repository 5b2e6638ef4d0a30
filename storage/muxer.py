"""Packets into fragmented MP4 by libav, without re-encoding, hashed on the way to the disk."""

import io
import os
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from typing import Any

import av
from av.video.stream import VideoStream

from events.media import TICKS
from ingest.packets import Codec, Packet, StreamInfo

_TIME_BASE = Fraction(1, TICKS)

_BUFFER = 256 << 10
"""Bytes libav collects before it writes: most fragments become one write."""


_SHORTEST_SET = 3
"""Bytes; a shorter NAL unit cannot be a parameter set."""


class HashingFile:
    """The write-only file libav writes through. No `seek`: fragmented MP4 never goes back."""

    def __init__(self, path: str) -> None:
        self.name = path
        self.closed = False
        self.bytes = 0
        self._hash = sha256()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def write(self, data: bytes) -> int:
        """Write all of `data`; after `abandon`, nothing at all (libav still writes when it is freed)."""
        if self.closed:
            return len(data)
        view = memoryview(data)
        while view:
            n = os.write(self._fd, view)
            view = view[n:]
        self._hash.update(data)
        self.bytes += len(data)
        return len(data)

    def sync(self) -> str:
        """To the disk, durably; closes the file and answers its SHA-256 in hexadecimal."""
        os.fsync(self._fd)
        self.abandon()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Close without asking for durability. May be called twice."""
        if not self.closed:
            self.closed = True
            os.close(self._fd)


@lru_cache(maxsize=2)
def _template(codec: Codec) -> tuple[Any, VideoStream]:
    """A stream of that codec to copy from: PyAV has no other way to mux with given parameter sets.

    Made from the first bytes of an elementary stream; size and parameter sets are set on the copy.
    """
    first = b"\0\0\0\1\x67" if codec == "h264" else b"\0\0\0\1\x40\x01"
    container = av.open(io.BytesIO(first + bytes(8)), format=codec, options={"probesize": "32"})
    return container, container.streams.video[0]  # the container must outlive its stream


class FragmentMuxer:
    """One fragmented MP4 file being written.

    libav keeps at most one fragment in memory and hands it over whole when the next one begins, so a kill
    loses no more than that. Times in the file start at 0 with the first packet's `dts`.
    """

    def __init__(self, file: HashingFile, info: StreamInfo, fragment_s: float, comment: str) -> None:
        """Write ftyp and moov.

        Raises:
            av.FFmpegError: the parameter sets are damaged.
            OSError: the disk refuses.
        """
        self._container = av.open(
            file,
            "w",
            format="mp4",
            buffer_size=_BUFFER,
            options={
                # skip_trailer: the same layout whether a file was closed or cut after a kill.
                "movflags": "empty_moov+frag_keyframe+default_base_moof+skip_trailer",
                "frag_duration": str(int(fragment_s * 1_000_000)),
                "flush_packets": "1",
            },
        )
        self._container.metadata["comment"] = comment
        self._stream = add_video(self._container, info)
        self._origin: int | None = None
        self._last = -1
        self._container.start_encoding()

    def mux(self, packet: Packet) -> None:
        """Add a packet, in decoding order."""
        if self._origin is None:
            self._origin = packet.dts
        # libav refuses a time that does not rise; a tick is better than a lost picture.
        dts = max(packet.dts - self._origin, self._last + 1)
        self._last = dts
        pts = max(packet.pts - self._origin, dts)
        self._container.mux_one(share(packet, self._stream, pts, dts))

    def close(self) -> None:
        """Write the last fragment."""
        self._container.close()


def add_video(container: av.container.OutputContainer, info: StreamInfo) -> VideoStream:
    """A stream for packets of that kind, with media ticks as its time base."""
    stream = container.add_stream_from_template(_template(info.codec)[1], opaque=True)
    stream.codec_context.width = info.width
    stream.codec_context.height = info.height
    stream.codec_context.extradata = info.extradata
    if info.codec == "hevc":
        stream.codec_context.codec_tag = "hvc1"  # the only tag that Safari plays
    stream.time_base = _TIME_BASE
    return stream


def share(packet: Packet, stream: VideoStream, pts: int, dts: int) -> "av.Packet[VideoStream]":
    """A packet for the muxer around the same buffer: no byte is copied.

    The loop decodes from the packet it was given; setting times or a stream on that one would change it under
    the decoder's hands.
    """
    shared: Any = av.Packet(packet.av)  # type: ignore[arg-type]  # any buffer will do
    shared.pts = pts
    shared.dts = dts
    shared.time_base = _TIME_BASE
    shared.stream = stream
    shared.is_keyframe = packet.keyframe
    return shared  # type: ignore[no-any-return]


def annexb_parameter_sets(codec: Codec, data: bytes) -> bytes:
    """The parameter sets (SPS and PPS, for H.265 also VPS) among the NAL units of Annex B `data`.

    Empty if one of them is missing, or `data` is not Annex B.
    """
    wanted = {7, 8} if codec == "h264" else {32, 33, 34}
    if not data.startswith((b"\0\0\1", b"\0\0\0\1")):
        return b""
    found = b""
    kinds = set()
    for unit in data.split(b"\0\0\1")[1:]:
        nal = unit.rstrip(b"\0")
        if len(nal) < _SHORTEST_SET:
            continue
        kind = nal[0] & 0x1F if codec == "h264" else nal[0] >> 1 & 0x3F
        if kind in wanted:
            kinds.add(kind)
            found += b"\0\0\0\1" + nal
    return found if kinds == wanted else b""

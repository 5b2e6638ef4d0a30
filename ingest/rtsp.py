"""A camera over RTSP, by libav: one connection, one stream epoch.

TCP unless told otherwise; sound is not asked for. A connection that sends no video for `stall_s` is given up.
`close` from another thread lets the reading thread stop at the next packet, or when the stall time-out is
over: libav cannot be woken in between without losing its place in the stream, and its connection must not be
closed under the reader's feet; the reader closes it.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, Literal, cast

import av
from av.container import InputContainer
from av.error import FFmpegError

from events.clock import Clock
from events.errors import SourceError, StreamChanged, UnsupportedStream
from events.media import TICKS, Anchor, Unwrapper
from ingest.anchoring import CaptureClock
from ingest.credentials import Credentials, mask, split_login, with_login
from ingest.decode import LazyDecoder
from ingest.packets import Codec, Packet, StreamInfo
from ingest.refusals import explain
from ingest.source import Opened

REPORT_EVERY = 2 * TICKS
"""How often the camera's clock is compared with the anchor in force, and with this box's clock."""

_LEAD = 256
"""Packets read ahead when a stream is opened, at most."""

_LIVE_S = 0.005
"""A read that took this long waited for the camera: what libav had buffered is used up."""

_HEAD = 2048
"""Bytes at a keyframe's beginning in which its parameter sets are looked for."""

_MICROSECONDS = struct.Struct("<q")


class RtspSource:
    """One connection to a camera; a `Source`."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        credentials: Credentials | None = None,
        transport: Literal["tcp", "udp"] = "tcp",
        connect_s: float = 8.0,
        stall_s: float = 4.5,
    ) -> None:
        """
        Args:
            url: `rtsp://host[:port]/path`; a login in it is used if `credentials` is None.
            clock: for arrival times.
            connect_s: how long connecting, and then reading the parameters, may each take.
            stall_s: silence after which the connection is given up. Noticed at most 0.1 s later.
        """
        bare, login = split_login(url)
        self._url = with_login(bare, credentials or login)
        self._bare = bare
        self.name = mask(bare)
        """The URL as it may be shown."""
        self._clock = clock
        self._transport = transport
        self._connect_s = connect_s
        self._stall_s = stall_s
        self._container: InputContainer | None = None
        self._reader: Generator[av.Packet[Any], None, None] | None = None
        self._lead: deque[tuple[av.Packet[Any], int]] = deque()
        self._unwrap = Unwrapper()
        self._frame = TICKS // 25
        self._sets = b""
        self._captures: CaptureClock | None = None
        self.pace_s = 0.0
        self._late_us = 0
        self._stopped = threading.Event()
        self._lock = threading.Lock()  # held while libav is at work on the connection

    def open(self) -> Opened:
        """Connect, read the parameters and the first packets. See `Source.open`."""
        if not self.name.lower().startswith(("rtsp://", "rtsps://")):
            raise UnsupportedStream(f"{self.name} is not an RTSP address; write rtsp://host:port/path")
        with self._lock:
            self._container = self._connect()
            try:
                info = self._describe(self._container)
                self._info = info
                self._read_lead(self._container)
                if self._stopped.is_set():  # perhaps too early to judge what came
                    raise SourceError(f"{self.name} was closed while it was being opened")
                captures = self._begin()
            except BaseException:
                self._release()
                raise
        return Opened(info=info, anchor=captures.first)

    def packets(self) -> Iterator[Packet]:
        """See `Source.packets`. The thread that iterates is the one that closes the connection."""
        if self._captures is None or self._reader is None:
            raise SourceError(f"{self.name} is not open; open the source before reading packets")
        try:
            yield from self._run(self._captures)
        finally:
            with self._lock:
                self._release()

    def anchors(self) -> list[Anchor]:
        """See `Source.anchors`."""
        return self._captures.taken() if self._captures else []

    def clock_errors(self) -> list[int]:
        """See `Source.clock_errors`."""
        return self._captures.errors() if self._captures else []

    @property
    def clock_error_us(self) -> int | None:
        """How far the camera's clock is ahead of this box's; None before its first report."""
        return self._captures.clock_error_us if self._captures else None

    def close(self) -> None:
        """See `Source.close`. Returns at once; a thread blocked in `packets` ends within `stall_s`."""
        self._stopped.set()
        if self._lock.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._lock.release()

    def _release(self) -> None:
        reader, self._reader = self._reader, None
        container, self._container = self._container, None
        if reader is not None:
            reader.close()
        self._lead.clear()
        if container is not None:
            container.close()

    # Opening

    def _connect(self, video_only: bool = True) -> InputContainer:
        options = {"rtsp_transport": self._transport, "fpsprobesize": "0"}
        if video_only:
            options["allowed_media_types"] = "video"
        try:
            return av.open(
                self._url, format="rtsp", options=options, timeout=(self._connect_s, self._stall_s)
            )
        except FFmpegError as error:
            if video_only and isinstance(error, av.error.HTTPOtherClientError):
                self._look_for_video()
            raise explain(error, self._bare, self._connect_s) from None

    def _look_for_video(self) -> None:
        """A stream with nothing but sound answers a request for its video alone with an odd refusal."""
        with self._connect(video_only=False) as container:
            if not container.streams.video:
                raise UnsupportedStream(f"{self.name} carries no video; give the camera's video stream")

    def _describe(self, container: InputContainer) -> StreamInfo:
        if not container.streams.video:
            raise UnsupportedStream(f"{self.name} carries no video; give the camera's video stream")
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None or context.name not in ("h264", "hevc"):
            codec = context.name if context is not None else "an unknown codec"
            raise UnsupportedStream(f"{self.name} sends {codec}; set the camera to H.264 or H.265")
        if not context.width or not context.height:
            raise SourceError(f"{self.name} sent no usable picture parameters; restart the camera")
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate else 0.0
        if fps > 0:
            self._frame = max(1, round(TICKS / fps))
        return StreamInfo(
            codec=cast(Codec, context.name),
            width=context.width,
            height=context.height,
            extradata=context.extradata or b"",
            fps=fps,
        )

    def _read_lead(self, container: InputContainer) -> None:
        """Read until the stream is live and a packet has both times."""
        stream = container.streams.video[0]
        self._reader = cast(Any, container.demux(stream))
        before = self._clock.monotonic()
        while len(self._lead) < _LEAD and not self._stopped.is_set():
            packet = self._next(self._reader)
            self._lead.append((packet, self._clock.wall_us()))
            now = self._clock.monotonic()
            live, before = now - before > _LIVE_S, now
            if live and packet.dts is not None and packet.pts is not None and len(self._lead) > 1:
                return

    def _begin(self) -> CaptureClock:
        """Give the first packets the times that libav left out, and make the first anchor."""
        packets = [p for p, _ in self._lead]
        dated = [n for n, p in enumerate(packets) if p.pts is not None and p.dts is not None]
        if not dated:
            raise SourceError(f"{self.name} sends packets without timestamps; restart the camera")
        first = packets[dated[0]]
        known = [p.pts for p in packets if p.pts is not None]
        for n, packet in enumerate(packets[: dated[0]]):
            packet.dts = cast(int, first.dts) - (dated[0] - n) * self._frame
            if packet.pts is None:
                # libav counts from the first packet, so this one is at 0 unless packets were lost.
                lowest = min(known) - (dated[0] - n) * self._frame
                packet.pts = 0 if 0 < min(known) <= 2 * TICKS and n == 0 else lowest
        zero = cast(int, packets[0].dts)
        offsets = [wall - (p.pts - zero) * 1_000_000 // TICKS for p, wall in self._lead if p.pts is not None]
        self._captures = CaptureClock(min(offsets))
        return self._captures

    # Reading

    def _next(self, reader: Iterator[av.Packet[Any]]) -> av.Packet[Any]:
        try:
            packet = next(reader)
        except StopIteration:
            raise SourceError(f"{self.name} closed the stream; it will be opened again") from None
        except (av.error.ExitError, av.error.TimeoutError):
            raise self._stalled() from None
        except FFmpegError as error:
            reason = mask(error.strerror or type(error).__name__)
            raise SourceError(f"{self.name} broke off: {reason}; it will be opened again") from None
        if packet.size == 0:  # libav's way to say that the camera ended the stream
            raise SourceError(f"{self.name} closed the stream; it will be opened again")
        return packet

    def _stalled(self) -> SourceError:
        return SourceError(
            f"{self.name} sent nothing for {self._stall_s:g} s; check the network and the camera"
        )

    def _arrivals(self) -> Iterator[tuple[av.Packet[Any], int]]:
        stopped, wall_us, monotonic = self._stopped.is_set, self._clock.wall_us, self._clock.monotonic
        while self._lead and not stopped():
            yield self._lead.popleft()
        while not stopped():
            with self._lock:
                if self._reader is None:
                    return
                before = monotonic()
                packet = self._next(self._reader)
                silent_s = monotonic() - before
            yield packet, wall_us()
            if silent_s >= self._stall_s:  # libav gave out its last packet instead of saying so
                raise self._stalled()
            if self._may_rest():
                self._stopped.wait(self.pace_s)

    def _may_rest(self) -> bool:
        """All that has come is read, and several packets are to come in the pause. UDP would lose them."""
        several = self.pace_s * TICKS > 1.5 * self._frame
        return several and self._transport == "tcp" and self._late_us * TICKS < self._frame * 1_000_000

    def _run(self, captures: CaptureClock) -> Iterator[Packet]:
        unwrap = self._unwrap.feed
        last, last_dts, next_report = 0, -1, 0
        for packet, wall_us in self._arrivals():
            raw_dts, raw_pts = packet.dts, packet.pts
            if raw_dts is None:
                raw_dts = last + 1 if raw_pts is None or raw_pts > last else raw_pts
            last = raw_dts
            dts = unwrap(raw_dts)
            pts = dts + (raw_pts - raw_dts if raw_pts is not None else 0)
            if dts <= last_dts:  # an access unit in two parts: files want times that grow
                dts = last_dts + 1
                pts = max(pts, dts)
            last_dts = dts
            self._late_us = captures.arrived(pts, wall_us)
            # The first picture after a report may still carry its neighbour's time: take a later one.
            if pts >= next_report and packet.has_sidedata("prft") and not packet.has_sidedata("rtcp_sr"):
                report = bytes(packet.get_sidedata("prft"))
                captures.reported(pts, _MICROSECONDS.unpack_from(report)[0])
                next_report = pts + REPORT_EVERY
            keyframe = packet.is_keyframe
            corrupt = packet.is_corrupt
            result = Packet(pts, dts, captures.at(pts), keyframe, corrupt, packet.size, packet)
            if keyframe and not self._sound(result):
                result = Packet(pts, dts, result.capture_us, True, True, packet.size, packet)
            yield result

    def _sound(self, packet: Packet) -> bool:
        """Whether a keyframe with other parameter sets than those before can be decoded.

        Raises:
            StreamChanged: it can, and its size is another.
        """
        found = parameter_sets(bytes(memoryview(cast(Any, packet.av))[:_HEAD]), self._info.codec)
        if not found or found == self._sets:
            return True
        if not self._sets:
            self._sets = found
            return True
        # Noise in a parameter set can by chance describe some picture: only a sound one is a new stream.
        decoder = LazyDecoder(self._info, strict=True)
        frame = decoder.probe(packet)
        if frame is None or frame.is_corrupt or decoder.errors:
            return False
        was, now = (self._info.width, self._info.height), (frame.width, frame.height)
        if was != now:
            raise StreamChanged(
                f"{self.name} changed from {was[0]}x{was[1]} to {now[0]}x{now[1]}; it will be opened again"
            )
        self._sets = found
        return True


def parameter_sets(head: bytes, codec: Codec) -> bytes:
    """The sequence parameter set (H.264: type 7; H.265: type 33) in the beginning of an Annex B access unit.

    Empty if there is none. A set cut off by the end of `head` is given as far as it goes.
    """
    at = head.find(b"\x00\x00\x01")
    while 0 <= at < len(head) - 4:
        kind = head[at + 3] & 0x1F if codec == "h264" else (head[at + 3] >> 1) & 0x3F
        end = head.find(b"\x00\x00\x01", at + 3)
        if kind == (7 if codec == "h264" else 33):
            return head[at + 3 : end if end > 0 else len(head)].rstrip(b"\x00")
        at = end
    return b""

"""Small real clips for tests: a box that walks over a noisy floor, encoded as cameras do, and its packets."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from events.media import TICKS
from ingest.packets import Packet, StreamInfo
from storage.rows import SegmentRow, SegmentState

START_US = 1_750_000_000_000_000
WIDTH, HEIGHT, FPS = 320, 180, 10


def walker(n: int) -> tuple[int, int, int, int]:
    """Where the box is in picture n, x1 y1 x2 y2."""
    x = 20 + (n * 4) % 240
    return x, 60, x + 30, 140


def picture(n: int, rng: np.random.Generator) -> av.VideoFrame:
    """Picture n: yuv420p, a checked box before light noise, so that pixelation can be told."""
    planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    planes[:HEIGHT] = 110 + rng.integers(0, 6, (HEIGHT, WIDTH), dtype=np.uint8)
    planes[:30] += np.arange(WIDTH, dtype=np.uint8) // 3 % 2 * 90  # a striped wall behind
    x1, y1, x2, y2 = walker(n)
    rows, columns = np.mgrid[y1:y2, x1:x2]
    planes[y1:y2, x1:x2] = np.where((rows // 3 + columns // 3) % 2, 235, 20)
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def make_clip(
    path: Path, seconds: float = 4, gop: int = 10, codec: str = "libx264", b_frames: int = 0
) -> Path:
    """An MP4 of 320x180 at 10 pictures a second."""
    rng = np.random.default_rng(7)
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        x264 = {"preset": "superfast", "crf": "18", "sc_threshold": "0"}
        x265 = {"preset": "superfast", "x265-params": f"log-level=none:keyint={gop}:open-gop=0"}
        stream.options = x264 if codec == "libx264" else x265
        for n in range(round(seconds * FPS)):
            frame = picture(n, rng)
            frame.pts, frame.time_base = n, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def packets_of(path: Path, annexb: bool = False, offset: int = 0) -> tuple[StreamInfo, list[Packet]]:
    """The clip as a source would give it: media time begins at `offset`, capture time at START_US.

    Args:
        annexb: as RTSP has it, with start codes, in payloads and parameter sets.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = "hevc" if stream.codec_context.name == "hevc" else "h264"
        raw = [p for p in container.demux(stream) if p.size]
        context = stream.codec_context
        extradata = context.extradata or b""
        per_tick = Fraction(stream.time_base) * TICKS
        if annexb:
            filtered = BitStreamFilterContext(f"{codec}_mp4toannexb", in_stream=stream, out_stream=stream)
            raw = [q for p in raw for q in filtered.filter(p)]
            extradata = b""
        first = raw[0].dts or 0
        packets = []
        for p in raw:
            pts = int(((p.pts or 0) - first) * per_tick) + offset
            dts = int(((p.dts or 0) - first) * per_tick) + offset
            capture_us = START_US + (pts - offset) * 1_000_000 // TICKS
            packets.append(Packet(pts, dts, capture_us, p.is_keyframe, False, p.size, p))
        info = StreamInfo(
            codec=codec, width=context.width, height=context.height, extradata=extradata, fps=FPS
        )
        return info, packets


class MemoryIndex:
    """The segment index in memory, under the same tests as the journal's."""

    def __init__(self) -> None:
        self.rows: dict[str, SegmentRow] = {}

    def put_segment(self, row: SegmentRow) -> None:
        self.rows[row.id] = row

    def segments(
        self,
        camera: str | None = None,
        stream: str | None = None,
        from_us: int | None = None,
        to_us: int | None = None,
        state: SegmentState | None = None,
    ) -> list[SegmentRow]:
        found = [
            row
            for row in self.rows.values()
            if (camera is None or row.camera == camera)
            and (stream is None or row.stream == stream)
            and (from_us is None or row.state == "open" or row.end_us >= from_us)
            and (to_us is None or row.start_us <= to_us)
            and (state is None or row.state == state)
        ]
        return sorted(found, key=lambda row: (row.start_us, row.id))

    def delete_segment(self, id: str) -> None:
        self.rows.pop(id, None)

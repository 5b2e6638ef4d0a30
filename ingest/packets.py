"""A compressed packet and what is known of the stream it belongs to."""

from dataclasses import dataclass
from typing import Any, Literal

import av
import msgspec

Codec = Literal["h264", "hevc"]


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream says of itself when it is opened."""

    codec: Codec
    width: int
    height: int
    extradata: bytes
    """Parameter sets as libav gives them (Annex B from RTSP, avcC/hvcC from MP4)."""
    fps: float = 0.0
    """Nominal frame rate; 0 if the stream does not say."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One access unit. Not a msgspec struct: it carries libav's packet by reference, nothing is copied."""

    pts: int
    """Presentation time, media ticks within the epoch."""
    dts: int
    """Decoding time, media ticks within the epoch."""
    capture_us: int
    keyframe: bool
    corrupt: bool
    """libav marked it as damaged or incomplete."""
    size: int
    av: "av.Packet[Any]"

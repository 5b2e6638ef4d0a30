"""The source contract: a camera and stored footage are the same to everything above.

    source = RtspSource(...)             # or FootageSource
    opened = source.open()               # connects; one stream epoch begins
    for packet in source.packets(): ...  # until Discontinuity, SourceError or the end
    source.close()

A source knows nothing of reconnecting: the worker opens a new one after the backoff (`ingest/backoff.py`).
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from events.media import Anchor
from ingest.packets import Packet, StreamInfo


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A stream epoch's beginning."""

    info: StreamInfo
    anchor: Anchor
    """The first anchor. Later ones come with `Source.anchors`."""


class Source(Protocol):
    """One connection to a camera, or one run of stored footage."""

    pace_s: float
    """A live source may let packets gather for so long before it reads on. Set it while nobody waits for
    them: reading in bursts costs a third of reading one by one (`docs/design.md`, Lazy decoding)."""

    def open(self) -> Opened:
        """Connect and read the stream's parameters.

        Raises:
            AuthError: 401 or 403.
            UnsupportedStream: not RTSP, no video, or a codec that is not H.264 or H.265.
            SourceError: unreachable, timed out, closed.
        """

    def packets(self) -> Iterator[Packet]:
        """Packets in decoding order until the stored footage ends.

        Raises:
            events.media.Discontinuity: timestamps jumped; open a new source.
            StreamChanged: codec or size changed; open a new source.
            SourceError: the camera closed the stream or sent nothing for the stall time-out.
        """

    def anchors(self) -> list[Anchor]:
        """Anchors made since the last call (an RTCP sender report came, or clocks drifted apart)."""

    def clock_errors(self) -> list[int]:
        """By how many microseconds the camera's clock was ahead of this box's (see `ingest/clockwatch.py`),
        for each comparison since the last call."""

    def close(self) -> None:
        """Stop a blocked `packets` from another thread, and release the connection. May be called twice."""

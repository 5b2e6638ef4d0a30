"""One row of the segment index: what a file of footage holds, and where in time it lies."""

from typing import Literal, Protocol

import msgspec

from ingest.packets import Codec

SegmentState = Literal["open", "closed", "recovered"]
"""open: being written, its file ends in `.part`; closed: complete, hash final; recovered: its writer was
killed, the file was cut to its last whole fragment."""


class SegmentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A segment: one file of one stream epoch of one camera, beginning at a keyframe."""

    id: str
    camera: str
    stream: str
    """Which of the camera's streams, e.g. main, sub."""
    epoch: int
    n: int
    """Counts the segments of the epoch from 0."""
    path: str
    """Of the finished file, relative to the footage root; while `state` is open, `.part` follows it."""
    state: SegmentState
    codec: Codec
    width: int
    height: int
    first_pts: int
    """Of the first packet, the keyframe it begins with; media ticks within the epoch."""
    last_pts: int
    """The largest of the file; media ticks within the epoch."""
    start_us: int
    """Capture time of `first_pts`, microseconds since 1970."""
    end_us: int
    """Capture time of `last_pts`."""
    packets: int = 0
    keyframes: int = 0
    bytes: int = 0
    sha256: str = ""
    """Of the whole file, in hexadecimal; empty while open."""
    model: str = ""
    """Digest of the model that analysed the stream, empty if none did."""
    trace_path: str = ""
    """Of the trace, relative to the footage root; empty if there is none."""


class SegmentIndex(Protocol):
    """Where segments are found again. The journal is one; rows are durable when `put_segment` returns."""

    def put_segment(self, row: SegmentRow) -> None:
        """Insert the row, or replace the one with the same id."""

    def segments(
        self,
        camera: str | None = None,
        stream: str | None = None,
        from_us: int | None = None,
        to_us: int | None = None,
        state: SegmentState | None = None,
    ) -> list[SegmentRow]:
        """Rows that match all that is given and overlap [from_us, to_us], oldest start first.

        An open segment has no end yet: it overlaps with every later time.
        """

    def delete_segment(self, id: str) -> None:
        """Forget the row; nothing happens if there is none."""

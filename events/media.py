"""Media time and capture time: the two times of a frame, specified before anything uses them.

* **Media time** (`pts`): ticks of 1/90000 s within a *stream epoch*. It orders everything and drives every
  timer. An epoch is one unbroken run of a stream: a new one begins at each connection and at each
  discontinuity of the stream's own timestamps.
* **Capture time** (`capture_us`): the wall clock when the picture was taken, microseconds since 1970 UTC.
  It is mapped from media time by *anchors*, each journaled when it is made and never derived again.
  Capture time labels; it never orders and never drives a timer.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

TICKS = 90_000
"""Ticks of media time in a second (the RTP clock of video, RFC 3551)."""

WRAP = 1 << 32
"""RTP timestamps are 32 bits wide (RFC 3550)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ticks(seconds: float) -> int:
    """Seconds as media ticks, rounded to the nearest."""
    return round(seconds * TICKS)


def seconds(pts: int) -> float:
    """Media ticks as seconds."""
    return pts / TICKS


def rfc3339(capture_us: int) -> str:
    """Capture time as RFC 3339 in UTC with microseconds; the same number always gives the same text."""
    return (_EPOCH + timedelta(microseconds=capture_us)).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_rfc3339(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 text with a zone.

    Raises:
        ValueError: not RFC 3339, or no zone given.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it as 2026-01-31T08:00:00Z or with +08:00")
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """From `pts` on, capture time is `capture_us` plus the media time that passed since."""

    pts: int
    capture_us: int
    source: Literal["rtcp", "arrival", "file"]
    """rtcp: the camera's own clock by RTCP sender reports; arrival: this box's clock when the packet came;
    file: the start time given for a recording."""
    uncertainty_us: int


class CaptureMap(msgspec.Struct, frozen=True):
    """The anchors of one epoch in order of their `pts`."""

    anchors: tuple[Anchor, ...]

    def __post_init__(self) -> None:
        if not self.anchors:
            raise ValueError("a capture map needs at least one anchor")
        if any(b.pts < a.pts for a, b in zip(self.anchors, self.anchors[1:], strict=False)):
            raise ValueError("anchors must be in order of media time")

    def at(self, pts: int) -> int:
        """Capture time at media time `pts`, in microseconds since 1970.

        The latest anchor at or before `pts` counts; before the first one, the first is extended backwards.
        """
        anchor = self.anchor(pts)
        return anchor.capture_us + (pts - anchor.pts) * 1_000_000 // TICKS

    def anchor(self, pts: int) -> Anchor:
        """The anchor in force at `pts`."""
        index = bisect_right(self.anchors, pts, key=lambda a: a.pts) - 1
        return self.anchors[max(index, 0)]

    def extend(self, anchor: Anchor) -> "CaptureMap":
        """The same map with one more anchor at its end."""
        return CaptureMap((*self.anchors, anchor))


class Discontinuity(Exception):
    """The stream's timestamps jumped: the epoch is over and the next packet begins a new one."""

    def __init__(self, jump_s: float) -> None:
        super().__init__(f"stream timestamps jumped by {jump_s:+.3f} s")
        self.jump_s = jump_s


class Unwrapper:
    """Turns a stream's raw timestamps into media time that starts near 0 and never wraps.

    Feed it decoding timestamps (they never decrease in a sound stream). A step of about -2^32 ticks is RTP's
    wrap and is undone. A step back, or forward by more than `max_gap_s`, raises `Discontinuity`.
    """

    def __init__(self, max_gap_s: float = 10.0, max_back_s: float = 0.0) -> None:
        self._max_gap = ticks(max_gap_s)
        self._max_back = ticks(max_back_s)
        self._origin: int | None = None
        self._last = 0
        self._wraps = 0

    def feed(self, raw: int) -> int:
        """Media time of a raw timestamp in ticks of 1/90000 s.

        Raises:
            Discontinuity: the timestamp does not follow the one before; the unwrapper must be replaced.
        """
        if self._origin is None:
            self._origin = self._last = raw
            return 0
        value = raw + self._wraps * WRAP
        if value - self._last < -WRAP // 2:
            value += WRAP
            wrapped = 1
        else:
            wrapped = 0
        step = value - self._last
        if step < -self._max_back or step > self._max_gap:
            raise Discontinuity(step / TICKS)
        self._wraps += wrapped
        self._last = max(value, self._last)
        return value - self._origin

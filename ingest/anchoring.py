"""Capture time for a live stream: which wall-clock time belongs to a media time. Pure.

* **By arrival**: the wall clock minus the media time is the stream's offset plus the packet's delay; the
  least of it over a window is the best estimate (delays only add). Bursts therefore do no harm.
* **By RTCP sender reports**: the camera's own clock, taken as soon as the first report is there, unless it
  is further from arrival than `TRUST_US`: a camera whose clock is wrong would misdate everything.

An anchor counts from its media time on, and a new one is made only when the last is off by more than the
clock's tolerance; what was mapped before stays.
"""

from events.media import TICKS, Anchor, CaptureMap

RTCP_TOLERANCE_US = 40_000
ARRIVAL_TOLERANCE_US = 100_000
TRUST_US = 5_000_000
"""A camera's clock that is further off than this is not used."""

WINDOW = 30 * TICKS
"""Over which the least delay is sought."""

FIRST_WINDOW = 3 * TICKS


def _us(ticks: int) -> int:
    return ticks * 1_000_000 // TICKS


class CaptureClock:
    """The anchors of one stream epoch as they are made."""

    def __init__(self, offset_us: int) -> None:
        """`offset_us`: the least of wall clock minus media time over the first packets."""
        first = Anchor(pts=0, capture_us=offset_us, source="arrival", uncertainty_us=500_000)
        self._map = CaptureMap((first,))
        self._current = first
        self._new: list[Anchor] = []
        self._least: int | None = None
        self._arrival_us = offset_us
        self._window_end = FIRST_WINDOW
        self.clock_error_us: int | None = None
        """How far the camera's clock is ahead of this box's by the last report; None before the first.
        Includes the network's delay, as a lag."""
        self._errors: list[int] = []

    @property
    def first(self) -> Anchor:
        """The anchor of media time 0."""
        return self._map.anchors[0]

    @property
    def by_rtcp(self) -> bool:
        """Whether the camera's own clock is in use."""
        return self._current.source == "rtcp"

    def at(self, pts: int) -> int:
        """Capture time of a media time, microseconds since 1970."""
        anchor = self._current
        if pts >= anchor.pts:
            return anchor.capture_us + (pts - anchor.pts) * 1_000_000 // TICKS
        return self._map.at(pts)

    def arrived(self, pts: int, wall_us: int) -> int:
        """A packet of media time `pts` came at `wall_us`; answers how late that was, in microseconds."""
        offset = wall_us - _us(pts)
        if self._least is None or offset < self._least:
            self._least = offset
        late = wall_us - _us(pts) - self._arrival_us
        if pts < self._window_end:
            return late
        self._arrival_us = self._least
        self._least, self._window_end = None, pts + WINDOW
        if not self.by_rtcp and abs(self._arrival_us + _us(pts) - self.at(pts)) > ARRIVAL_TOLERANCE_US:
            self._add(pts, self._arrival_us + _us(pts), "arrival")
        return late

    def reported(self, pts: int, capture_us: int) -> None:
        """By the camera's last sender report, media time `pts` was taken at `capture_us`."""
        self.clock_error_us = capture_us - (self._arrival_us + _us(pts))
        self._errors.append(self.clock_error_us)
        if abs(self.clock_error_us) > TRUST_US:
            if self.by_rtcp:
                self._add(pts, self._arrival_us + _us(pts), "arrival")
            return
        if not self.by_rtcp or abs(capture_us - self.at(pts)) > RTCP_TOLERANCE_US:
            self._add(pts, capture_us, "rtcp")

    def taken(self) -> list[Anchor]:
        """The anchors made since the last call, without the first one."""
        new, self._new = self._new, []
        return new

    def errors(self) -> list[int]:
        """`clock_error_us` of each report since the last call."""
        found, self._errors = self._errors, []
        return found

    def _add(self, pts: int, capture_us: int, source: str) -> None:
        if pts < self._current.pts:  # a reordered picture: wait for a later one
            return
        anchor = (
            Anchor(pts=pts, capture_us=capture_us, source="rtcp", uncertainty_us=RTCP_TOLERANCE_US)
            if source == "rtcp"
            else Anchor(pts=pts, capture_us=capture_us, source="arrival", uncertainty_us=500_000)
        )
        self._map = self._map.extend(anchor)
        self._current = anchor
        self._new.append(anchor)

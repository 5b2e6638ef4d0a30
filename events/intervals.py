"""Media time as the engine lives it: analysed time, and the intervals of capture time that it fills.

Intervals begin at multiples of `interval_s` of *capture* time, so those of all cameras fall together. They
are *driven* by media time: capture time given with each step is expected to advance as media time does.
Where it does not, an anchor has changed:

* by up to half an interval: the difference is taken up by the current interval, which lasts a little longer
  or shorter; no interval is doubled or left out;
* by more: the clock was set. The current interval is closed as it is and a new one begins at the new time.
  After a clock was set back two intervals can bear the same start; each has its own id, its own observed time
  and its own counts, so sums stay right.
"""

from typing import NamedTuple

import msgspec

from events.media import TICKS


class Closed(NamedTuple):
    """An interval that is over."""

    number: int
    """Counts the intervals of the epoch from 0."""
    start_us: int
    end_us: int
    observed_s: float
    """Seconds of analysed media time in it."""
    pts: int
    """When it was closed, media time."""
    time_us: int
    """When it was closed, capture time."""


class Piece(NamedTuple):
    """A stretch of time within one interval; `closed` if it ends the interval."""

    ticks: int
    """Analysed media time in it."""
    watched: int
    """All analysed time up to its end."""
    closed: Closed | None


class TimelineState(msgspec.Struct):
    """All that a timeline remembers. Times without unit are media ticks."""

    pts: int = 0
    capture_us: int = 0
    watched: int = 0
    number: int = 0
    start_us: int = 0
    end_us: int = 0
    observed: int = 0
    shed: list[tuple[int, int]] = []
    """Spans that were not analysed, in part still to come."""


class Timeline:
    """Advances through an epoch and cuts it at the intervals' bounds."""

    def __init__(self, interval_s: int) -> None:
        if interval_s < 1:
            raise ValueError(f"an interval lasts at least 1 s, not {interval_s}")
        self.state = TimelineState()
        self._interval_us = interval_s * 1_000_000

    def begin(self, capture_us: int) -> None:
        """A new epoch at media time 0. Analysed time goes on from where it was."""
        self.state = TimelineState(capture_us=capture_us, watched=self.state.watched)
        self._open(capture_us)

    def shed(self, from_pts: int, to_pts: int) -> None:
        """This span is not analysed. Tell it before time has passed it; of what has passed, only the current
        interval's observed time is corrected."""
        state = self.state
        past = min(to_pts, state.pts) - from_pts
        if past > 0:
            state.observed = max(state.observed - past, 0)
        if to_pts > state.pts:
            state.shed.append((max(from_pts, state.pts), to_pts))

    def advance(self, pts: int, capture_us: int) -> list[Piece]:
        """Time is now there; answers the pieces passed, in order. Time never goes back."""
        state = self.state
        if pts <= state.pts:
            return []
        expected = state.capture_us + (pts - state.pts) * 1_000_000 // TICKS
        half = self._interval_us // 2
        stepped = abs(capture_us - expected) > half or capture_us < state.start_us - half
        pieces: list[Piece] = []
        self._run(pts, expected if stepped else capture_us, pieces)
        if stepped:
            pieces.append(self.close())
            self._open(capture_us)
            state.capture_us = capture_us
        return pieces

    def close(self) -> Piece:
        """Close the current interval here and now."""
        state = self.state
        closed = Closed(
            state.number,
            state.start_us,
            state.end_us,
            round(state.observed / TICKS, 3),
            state.pts,
            state.capture_us,
        )
        state.number += 1
        state.observed = 0
        return Piece(0, state.watched, closed)

    def _open(self, capture_us: int) -> None:
        state = self.state
        state.start_us = capture_us // self._interval_us * self._interval_us
        state.end_us = state.start_us + self._interval_us

    def _run(self, pts: int, capture_us: int, pieces: list[Piece]) -> None:
        """Advance without a step of the clock."""
        state = self.state
        while capture_us >= state.end_us:
            ahead = capture_us - state.capture_us
            part = (state.end_us - state.capture_us) * (pts - state.pts) // ahead
            passed = self._pass(state.pts + part)
            state.capture_us = state.end_us
            pieces.append(self.close()._replace(ticks=passed))
            state.start_us = state.end_us
            state.end_us += self._interval_us
        pieces.append(Piece(self._pass(pts), state.watched, None))
        state.capture_us = capture_us

    def _pass(self, pts: int) -> int:
        """Move to `pts`; answers how much of the way was analysed."""
        state = self.state
        passed = pts - state.pts
        if state.shed:
            passed -= _covered(state.shed, state.pts, pts)
            state.shed = [span for span in state.shed if span[1] > pts]
        state.pts = pts
        state.observed += passed
        state.watched += passed
        return passed


def _covered(spans: list[tuple[int, int]], start: int, end: int) -> int:
    """How much of start..end the spans cover, where they overlap once."""
    covered, reached = 0, start
    for a, b in sorted(spans):
        a, b = max(a, reached), min(b, end)
        if b > a:
            covered += b - a
            reached = b
    return covered

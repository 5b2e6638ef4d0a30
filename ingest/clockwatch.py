"""Is a camera's clock off? Its RTCP sender reports against the times at which its packets came. Pure.

A report says when, by the camera's clock, a picture was taken. Packets come a little later than that, by the
least delay of the network; so a sound camera seems some milliseconds behind this box. Nothing tells a clock
that is a second behind from a stream that is a second late: both make the event's times wrong by as much.
Which of the two clocks is wrong nobody can tell here either; with a time server (NTP) at both, neither is.
"""

from typing import Literal

import msgspec

OFF_US = 1_000_000
"""A clock that is off by more is told."""

RIGHT_US = 800_000
"""It is right again when it is off by less."""

REPORTS = 2
"""Comparisons in a row that have to agree."""

STEADY_US = 500_000
"""By how much they may differ among themselves."""


class ClockChange(msgspec.Struct, frozen=True):
    """A camera's clock went wrong or right."""

    state: Literal["raised", "cleared"]
    offset_s: float
    """How far it is ahead of this box's clock; negative: behind. Rounded to milliseconds."""
    message: str


class ClockWatch:
    """One stream's clock, through its epochs."""

    def __init__(self, raised: bool = False) -> None:
        """`raised`: it was told to be off before."""
        self.raised = raised
        self._last_us: int | None = None
        self._agreed = 0

    def begin(self) -> None:
        """A new epoch: what was compared before does not count."""
        self._last_us, self._agreed = None, 0

    def compare(self, sent_us: int, arrived_us: int) -> ClockChange | None:
        """A picture of `sent_us` by the camera's clock came, with the least delay seen so far, at
        `arrived_us` by this box's; both in microseconds since 1970."""
        return self.error(sent_us - arrived_us)

    def error(self, off_us: int) -> ClockChange | None:
        """The same, the two subtracted already."""
        wrong = abs(off_us) > (RIGHT_US if self.raised else OFF_US)
        steady = self._last_us is not None and abs(off_us - self._last_us) <= STEADY_US
        self._last_us = off_us
        if wrong == self.raised:
            self._agreed = 0
            return None
        # The first of them has none before it to be steady against.
        self._agreed = self._agreed + 1 if steady and self._agreed else 1
        if self._agreed < REPORTS:
            return None
        self._agreed, self.raised = 0, wrong
        return _told(off_us, wrong)


def _told(off_us: int, wrong: bool) -> ClockChange:
    offset_s = round(off_us / 1e6, 3)
    if not wrong:
        return ClockChange("cleared", offset_s, f"the camera's clock is right to {abs(offset_s):.1f} s again")
    side = "ahead of" if off_us > 0 else "behind"
    text = (
        f"the camera's clock is {_span(abs(offset_s))} {side} this box's; set a time server (NTP) at both, "
        "and look whether the stream is delayed"
    )
    return ClockChange("raised", offset_s, text)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.0f} days"

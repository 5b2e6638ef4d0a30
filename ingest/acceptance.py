"""Which readings are taken by their time: late and out of order within a window, not from the future."""

from typing import Literal

FUTURE_US = 5_000_000
"""Clocks differ; a reading may be so far ahead of its arrival."""

Verdict = Literal["", "late", "old", "future"]


class Acceptance:
    """Knows the newest time of each sensor's quantity.

    A reading may be `window_s` older than the newest one of its kind: so what a broker kept during an outage
    is taken however long that was, up to `backlog_s`, because it comes in its order.
    """

    def __init__(self, window_s: float, backlog_s: float) -> None:
        self._window_us = round(window_s * 1e6)
        self._backlog_us = round(backlog_s * 1e6)
        self._newest: dict[tuple[str, str], int] = {}

    def judge(self, sensor: str, quantity: str, time_us: int, arrived_us: int) -> Verdict:
        """Empty: it is taken, and remembered if it is the newest."""
        if time_us > arrived_us + FUTURE_US:
            return "future"
        if time_us < arrived_us - self._backlog_us:
            return "old"
        key = sensor, quantity
        newest = self._newest.get(key)
        if newest is None or time_us > newest:
            self._newest[key] = time_us
        elif time_us < newest - self._window_us:
            return "late"
        return ""

"""What was recorded around a moment, where people were then, and whether all there is to know is known."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from events.clock import Clock
from events.media import CaptureMap
from storage.journal import Journal
from storage.rows import SegmentRow
from storage.stills import picture_at
from storage.trace import Line, read_trace
from storage.whereabouts import Whereabouts

SURE_US = 1_500_000
"""The trace has to be so far beyond a moment: until then a track may still be found that was there."""

_AROUND_US = 2_000_000
"""Traces of so long before and after a moment say where people were in it."""


_KEPT = 16
"""Traces that are kept parsed: who waits for a moment asks twice a second, and a trace is some 100 kB."""


class Moments:
    """The footage and traces of all cameras, by time."""

    def __init__(
        self,
        journal: Journal,
        footage: Path,
        streams: Callable[[str], str],
        labels: Collection[str],
        clock: Clock,
    ) -> None:
        """
        Args:
            streams: which stream of a camera is analysed.
            labels: who is hidden.
        """
        self._journal = journal
        self._footage = footage
        self.streams = streams
        self._labels = labels
        self._clock = clock
        self._parsed: dict[tuple[Path, int, int], list[Line]] = {}
        """By path, size in bytes and time of the last change, the last asked for at the end."""

    def rows(self, camera: str, stream: str, start_us: int, end_us: int) -> list[SegmentRow]:
        """Segments that overlap the span; the open one counts as reaching to now."""
        return self._journal.segments(camera, stream, start_us, end_us)

    def analysed(self, camera: str, start_us: int, end_us: int) -> list[SegmentRow]:
        """As `rows`, of the stream that is analysed."""
        return self.rows(camera, self.streams(camera), start_us, end_us)

    def best(self, camera: str, start_us: int, end_us: int) -> list[SegmentRow]:
        """The main stream's footage if it covers the span, else the analysed one's."""
        main = self.rows(camera, "main", start_us, end_us)
        if main and main[0].start_us <= start_us:
            return main
        return self.analysed(camera, start_us, end_us)

    def captures(self, rows: Sequence[SegmentRow]) -> dict[int, CaptureMap]:
        """Capture times by epoch, with all anchors."""
        if not rows:
            return {}
        asked = {row.epoch for row in rows}
        epochs = self._journal.epochs(rows[0].camera, rows[0].stream)
        return {epoch.epoch: epoch.capture for epoch in epochs if epoch.epoch in asked}

    def hidden(self, camera: str, at_us: int) -> Whereabouts:
        """Where people were around that moment."""
        return self._whereabouts(self.analysed(camera, at_us - _AROUND_US, at_us + _AROUND_US))

    def reached(self, camera: str, at_us: int, waits: bool) -> bool:
        """All there is to know of that moment is known: the trace has passed it, or (where the stream ended
        before) no epoch is open that may yet come there.

        `waits`: a moment that is still to come is waited for; else what was open at the stop decides.
        """
        later = at_us + SURE_US
        if waits and self._clock.wall_us() < later:
            return False
        running = [
            stream
            for of, stream, begun_us in self._journal.open_epochs()
            if of == camera and begun_us < later
        ]
        if self.streams(camera) not in running and (waits or not running):
            return True
        return self._whereabouts(self.analysed(camera, at_us, later + 5_000_000)).passed(later)

    def picture(self, camera: str, at_us: int) -> bytes:
        """JPEG of what the camera showed then, from the best stream; people are pixelated.

        Raises:
            StorageError: no footage of that moment.
        """
        hidden = self.hidden(camera, at_us)
        shown = self.best(
            camera, at_us - 1_000_000, at_us
        )  # between two segments the first one's last counts
        captures = self.captures(shown)
        capture = captures.get(shown[-1].epoch) if shown else None
        other = bool(shown) and shown[-1].stream != self.streams(camera)
        skew_us = hidden.skew_us(at_us, captures.values()) if other else 0
        return picture_at(self._footage, shown, at_us, hidden, capture, skew_us)

    def _whereabouts(self, rows: Sequence[SegmentRow]) -> Whereabouts:
        traces = [self._trace(self._footage / row.trace_path) for row in rows if row.trace_path]
        return Whereabouts(traces, self._labels)

    def _trace(self, path: Path) -> list[Line]:
        """Its lines, read again if it has changed since it was read last."""
        try:
            found = path.stat()
        except OSError:
            return read_trace(path)  # which says what is wrong
        key = path, found.st_size, found.st_mtime_ns
        lines = self._parsed.pop(key, None)
        if lines is None:
            for old in [old for old in self._parsed if old[0] == path]:
                del self._parsed[old]
            lines = read_trace(path)
        self._parsed[key] = lines
        while len(self._parsed) > _KEPT:
            del self._parsed[next(iter(self._parsed))]
        return lines

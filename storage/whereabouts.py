"""Where people were at any moment, from the traces: what a clip has to hide.

It fails closed: for a moment that no trace covers, or at which the box had no time to look, the answer is
"unknown" and not "nobody".
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence

from events.media import CaptureMap
from events.observations import Box
from storage import trace
from storage.pictures import pad

PERSONAL = frozenset({"person", "face"})
"""Labels that are hidden."""

_PAD = 0.1
_LOOSE_PAD = 0.5
"""Where a box is not interpolated but taken from up to a second away."""

_NEAR_US = 1_000_000
"""Looks this close together have nothing unseen between them; a track is hidden for as long before it was
found and after it was lost."""

_Track = tuple[list[int], list[Box]]
"""Times and boxes, in order."""


class Whereabouts:
    """The hidden boxes of one camera over time, as fractions of the picture, so that they fit any stream."""

    def __init__(self, traces: Iterable[Sequence[trace.Line]], labels: Collection[str] = PERSONAL) -> None:
        """`traces`: of the segments around the span, each as `storage.trace.read_trace` gives it."""
        self._labels = labels
        self._covered: list[tuple[int, int]] = []
        self._shed: list[tuple[int, int]] = []
        self._refused: list[int] = []
        self._samples: dict[tuple[int, int], dict[int, Box]] = {}
        self._looks: list[int] = []
        self.captures: dict[int, CaptureMap] = {}
        """Capture times by epoch, as the traces have them."""
        for lines in traces:
            self._read(lines)
        self._covered = _merged(self._covered, _NEAR_US)
        self._shed.sort()
        self._refused.sort()
        self._looks = sorted(set(self._looks))
        self._tracks: list[_Track] = [
            (sorted(by_time), [by_time[t] for t in sorted(by_time)]) for by_time in self._samples.values()
        ]

    def at(self, capture_us: int) -> list[Box] | None:
        """Boxes to hide at this capture time, each 0 to 1 in both directions; None: unknown, hide everything.

        Between two looks a track's box is interpolated; over more than a second, or if it jumped, the hull of
        both is hidden. Where the looks themselves are further apart, all that either of them saw is hidden.
        """
        covered = _within(self._covered, capture_us)
        if covered is None or _within(self._shed, capture_us):
            return None
        n = bisect_right(self._looks, capture_us)
        before = self._looks[n - 1] if n and self._looks[n - 1] >= covered[0] else None
        after = self._looks[n] if n < len(self._looks) and self._looks[n] <= covered[1] else None
        far = before is None or after is None or after - before > _NEAR_US
        if far and self._was_refused(before, after):
            return None
        boxes = [box for track in self._tracks if (box := _track_at(track, capture_us)) is not None]
        if far:
            boxes += self._seen_at(before) + self._seen_at(after)
        return boxes

    def passed(self, capture_us: int) -> bool:
        """Whether the traces reach beyond this capture time."""
        return any(end >= capture_us for _, end in self._covered)

    def _read(self, lines: Sequence[trace.Line]) -> None:
        opening: trace.Open | None = None
        for capture, opening, part in _runs(lines):
            self.captures[opening.epoch] = capture
            last = opening.pts
            for line in part:
                match line:
                    case trace.Frame(pts=pts, tracks=tracks):
                        self._frame(opening, capture.at(pts), tracks)
                    case trace.Shed(from_pts=pts, to_pts=end) if end > pts:
                        self._shed.append((capture.at(pts), capture.at(end) - 1))
                    case trace.Shed(from_pts=pts):
                        self._refused.append(capture.at(pts))
                    case _:
                        pass
                last = max(last, _reached(line))
            self._covered.append((capture.at(opening.pts), capture.at(last)))

    def _frame(self, opening: trace.Open, at: int, tracks: Iterable[trace.TraceTrack]) -> None:
        self._looks.append(at)
        for ordinal, label, _, x1, y1, x2, y2, _ in tracks:
            if label in self._labels:
                w, h = opening.width, opening.height
                box = Box(x1 / w, y1 / h, x2 / w, y2 / h)
                self._samples.setdefault((opening.epoch, ordinal), {})[at] = box

    def _was_refused(self, before: int | None, after: int | None) -> bool:
        start = bisect_right(self._refused, before) if before is not None else 0
        end = bisect_left(self._refused, after) if after is not None else len(self._refused)
        return start < end

    def _seen_at(self, look: int | None) -> list[Box]:
        if look is None:
            return []
        return [pad(by_time[look], _LOOSE_PAD) for by_time in self._samples.values() if look in by_time]


def _runs(lines: Sequence[trace.Line]) -> list[tuple[CaptureMap, trace.Open, Sequence[trace.Line]]]:
    """The trace cut at its opening lines, each part with its capture times."""
    starts = [n for n, line in enumerate(lines) if isinstance(line, trace.Open)]
    runs = []
    for start, end in zip(starts, [*starts, len(lines)][1:], strict=True):
        opening = lines[start]
        assert isinstance(opening, trace.Open)
        part = lines[start + 1 : end]
        later = [line.anchor for line in part if isinstance(line, trace.AnchorLine)]
        anchors = sorted({*opening.anchors, *later}, key=lambda a: a.pts)
        runs.append((CaptureMap(tuple(anchors)), opening, part))
    return runs


def _reached(line: trace.Line) -> int:
    """Up to where the analysis had come when it wrote the line."""
    match line:
        case trace.Shed(to_pts=pts):
            return pts
        case trace.AnchorLine():
            return -(1 << 63)
        case _:
            return line.pts


def _track_at(track: _Track, t: int) -> Box | None:
    """The track's padded box at time t; None when it was not there."""
    times, boxes = track
    if not times[0] - _NEAR_US <= t <= times[-1] + _NEAR_US:
        return None
    n = bisect_left(times, t)
    if n < len(times) and times[n] == t:
        return pad(boxes[n], _PAD)
    if n in (0, len(times)):
        return pad(boxes[0 if n == 0 else -1], _LOOSE_PAD)
    a, b, span = boxes[n - 1], boxes[n], times[n] - times[n - 1]
    if span > _NEAR_US or a.iou(b) == 0:  # too long or too far to say where between
        union = Box(min(a.x1, b.x1), min(a.y1, b.y1), max(a.x2, b.x2), max(a.y2, b.y2))
        return pad(union, _PAD)
    f = (t - times[n - 1]) / span
    mixed = Box(
        a.x1 + f * (b.x1 - a.x1), a.y1 + f * (b.y1 - a.y1), a.x2 + f * (b.x2 - a.x2), a.y2 + f * (b.y2 - a.y2)
    )
    return pad(mixed, _PAD)


def _merged(spans: Iterable[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Spans in order, those at most `gap` apart joined."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _within(spans: Sequence[tuple[int, int]], t: int) -> tuple[int, int] | None:
    """The span that holds t. They are few: a scan does."""
    return next((span for span in spans if span[0] <= t <= span[1]), None)

"""Where people were at any moment, from the traces: what a clip has to hide.

It fails closed: for a moment that no trace covers, or at which the box had no time to look, the answer is
"unknown" and not "nobody".
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

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

_FAINT_US = 500_000
"""What was detected without being tracked is hidden for so long before and after."""

SKEW_US = 1_000_000
"""What two streams of a camera may be apart in capture time: each has its own anchors, and by arrival each is
uncertain by half a second."""

_CLOCKED_SKEW_US = 250_000
"""The same where both are dated by the camera's own clock (RTCP sender reports)."""

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
        self._faint: dict[int, list[Box]] = {}
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

    def at(self, capture_us: int, skew_us: int = 0) -> list[Box] | None:
        """Boxes to hide at this capture time, each 0 to 1 in both directions; None: unknown, hide everything.

        Between two looks a track's box is interpolated; over more than a second, or if it jumped, the hull of
        both is hidden. Where the looks themselves are further apart, all that either of them saw is hidden.

        Args:
            skew_us: for another stream than the analysed one (`SKEW_US`): each box covers all of its track's
                way so long before and after, and what is unknown in that time is unknown here.
        """
        start, end = capture_us - skew_us, capture_us + skew_us
        covered = next((span for span in self._covered if span[0] <= start and end <= span[1]), None)
        if covered is None or any(a <= end and start <= b for a, b in self._shed):
            return None
        first, last = bisect_right(self._looks, start) - 1, bisect_right(self._looks, end)
        inside = self._looks[first + 1 : last]
        before = self._looks[first] if first >= 0 and self._looks[first] >= covered[0] else None
        after = self._looks[last] if last < len(self._looks) and self._looks[last] <= covered[1] else None
        boxes = [box for track in self._tracks if (box := _way(track, start, inside, end)) is not None]
        boxes += self._faint_near(start, end)
        for a, b in pairwise([before, *inside, after]):
            if a is None or b is None or b - a > _NEAR_US:
                if self._was_refused(a, b):
                    return None
                boxes += self._seen_at(a) + self._seen_at(b)
        return boxes

    def skew_us(self, capture_us: int, shown: Iterable[CaptureMap]) -> int:
        """For `at`: what another stream of this camera, with these capture times, may be apart by then."""
        clocked = all(_by_rtcp(maps, capture_us) for maps in (list(shown), list(self.captures.values())))
        return _CLOCKED_SKEW_US if clocked else SKEW_US

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
                    case trace.Frame(pts=pts):
                        self._frame(opening, capture.at(pts), line)
                    case trace.Shed(from_pts=pts, to_pts=end) if end > pts:
                        self._shed.append((capture.at(pts), capture.at(end) - 1))
                    case trace.Shed(from_pts=pts):
                        self._refused.append(capture.at(pts))
                    case _:
                        pass
                last = max(last, _reached(line))
            self._covered.append((capture.at(opening.pts), capture.at(last)))

    def _frame(self, opening: trace.Open, at: int, frame: trace.Frame) -> None:
        self._looks.append(at)
        w, h = opening.width, opening.height
        for ordinal, label, _, x1, y1, x2, y2, _ in frame.tracks:
            if label in self._labels:
                box = Box(x1 / w, y1 / h, x2 / w, y2 / h)
                self._samples.setdefault((opening.epoch, ordinal), {})[at] = box
        for label, x1, y1, x2, y2 in frame.faint:
            if label in self._labels:
                self._faint.setdefault(at, []).append(Box(x1 / w, y1 / h, x2 / w, y2 / h))

    def _was_refused(self, before: int | None, after: int | None) -> bool:
        start = bisect_right(self._refused, before) if before is not None else 0
        end = bisect_left(self._refused, after) if after is not None else len(self._refused)
        return start < end

    def _seen_at(self, look: int | None) -> list[Box]:
        if look is None:
            return []
        tracked = [by_time[look] for by_time in self._samples.values() if look in by_time]
        return [pad(box, _LOOSE_PAD) for box in (*tracked, *self._faint.get(look, ()))]

    def _faint_near(self, start: int, end: int) -> list[Box]:
        first, last = bisect_left(self._looks, start - _FAINT_US), bisect_right(self._looks, end + _FAINT_US)
        near = [box for look in self._looks[first:last] for box in self._faint.get(look, ())]
        return [pad(box, _LOOSE_PAD) for box in near]


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


def _way(track: _Track, start: int, looks: Sequence[int], end: int) -> Box | None:
    """The hull of the track's padded boxes from start to end; None when it was not there."""
    if start == end:
        return _track_at(track, start)
    boxes = [box for t in (start, *looks, end) if (box := _track_at(track, t)) is not None]
    return _hull(boxes) if boxes else None


def _hull(boxes: Sequence[Box]) -> Box:
    return Box(
        min(b.x1 for b in boxes), min(b.y1 for b in boxes), max(b.x2 for b in boxes), max(b.y2 for b in boxes)
    )


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
        return pad(_hull((a, b)), _PAD)
    f = (t - times[n - 1]) / span
    mixed = Box(
        a.x1 + f * (b.x1 - a.x1), a.y1 + f * (b.y1 - a.y1), a.x2 + f * (b.x2 - a.x2), a.y2 + f * (b.y2 - a.y2)
    )
    return pad(mixed, _PAD)


def _by_rtcp(maps: Sequence[CaptureMap], capture_us: int) -> bool:
    """Whether the anchor in force at that time is the camera's own clock."""
    anchors = [anchor for m in maps for anchor in m.anchors if anchor.capture_us <= capture_us]
    return bool(anchors) and max(anchors, key=lambda a: a.capture_us).source == "rtcp"


def _merged(spans: Iterable[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Spans in order, those at most `gap` apart joined."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged

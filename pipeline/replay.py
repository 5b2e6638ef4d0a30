"""Replay: stored footage through the same loop, and the difference to the journal.

`as_seen` follows the trace of what was done and must give the very same bytes. `every_frame` shows what a box
without limits would have seen; its events are matched by rule, class and a window of time.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from detectors.detections import Detector
from events import codec
from events.errors import LinliError
from events.events import Event, camera_source
from pipeline.contract import Note
from pipeline.lane import Lane, Sink
from pipeline.loop import CameraLoop
from pipeline.policy import AsSeen, Policy, Unlimited
from pipeline.sink import unpack
from pipeline.stored import Run, drive, plan, traced
from storage import trace
from storage.catalog import SnapshotRow
from storage.journal import Journal
from storage.rows import SegmentRow

WINDOW_S = 2.0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found. `same` counts; the others are listed, oldest first."""

    same: int
    missing: tuple[Event, ...]
    """In the journal, but not in the replay."""
    extra: tuple[Event, ...]
    """In the replay, but not in the journal."""
    seconds: float
    """Media time that was replayed."""
    notes: tuple[str, ...] = ()
    """Why a difference is to be expected: another model, other settings, a segment that is gone."""


class Collector(Sink):
    """A sink that keeps events in memory."""

    def __init__(self) -> None:
        self.got: list[Event] = []
        self.lines: list[trace.Line] = []

    def events(self, events: Sequence[Event], decoded_at: float) -> None:
        self.got += events

    def trace(self, lines: Sequence[trace.Line]) -> None:
        self.lines += lines

    def notes(self, notes: Sequence[Note], capture_us: int) -> None:
        pass

    def segment(self, segment: SegmentRow, loop: CameraLoop, pts: int) -> None:
        pass

    def snapshot(self, segment: SegmentRow, loop: CameraLoop, pts: int) -> None:
        loop.snapshot_due = False

    def ended(self, loop: CameraLoop, pts: int, reason: str) -> None:
        pass

    def gave_up(self, loop: CameraLoop, pts: int, reason: str) -> None:
        pass


MakeLane = Callable[[Sink, Policy], Lane]


class Replayer:
    """Replays one camera's analysed stream from this journal and footage folder."""

    def __init__(
        self,
        site: str,
        camera: str,
        stream: str,
        journal: Journal,
        footage: Path,
        detector: Detector,
        settings: str = "",
    ) -> None:
        """`settings`: digest of what the camera is analysed with now; empty: it is not compared."""
        self._source = camera_source(site, camera)
        self._camera, self._stream = camera, stream
        self._journal = journal
        self._footage = footage
        self._detector = detector
        self._settings = settings

    def runs(self, from_us: int | None, to_us: int | None, whole: bool = False) -> list[tuple[Run, bool]]:
        """The runs that cover the span, each with whether it reaches its epoch's end.

        `whole`: start at the first segment even without a snapshot (for a loop that starts afresh).
        """
        found: list[tuple[Run, bool]] = []
        for epoch in self._journal.epochs(self._camera, self._stream):
            rows = [
                row
                for row in self._journal.segments(self._camera, self._stream, from_us, to_us)
                if row.epoch == epoch.epoch and row.state != "open"
            ]
            while rows:
                rows.sort(key=lambda row: row.n)
                run = Run(epoch=epoch, segments=tuple(rows), snapshot=None) if whole else None
                run = run or plan(self._journal, epoch, rows)
                if run is None:
                    break
                done = {row.id for row in run.segments}
                rows = [row for row in rows if row.id not in done and row.n > run.segments[-1].n]
                last = epoch.end_pts is not None and epoch.end_pts <= run.last_pts
                found.append((run, last))
        return found

    def as_seen(
        self,
        make_lane: MakeLane,
        from_us: int | None = None,
        to_us: int | None = None,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> Difference:
        """Run again what was run, and compare byte for byte.

        Raises:
            LinliError: there is no footage in the span that a replay can start at.
        """
        same, seconds = 0, 0.0
        missing: list[Event] = []
        extra: list[Event] = []
        notes: list[str] = []
        for run, last in self._some(from_us, to_us):
            after = self._following(run)
            seen = [*run.segments, after] if after else list(run.segments)
            lines = traced(self._footage, seen)
            notes += self._doubts(run, lines)
            sink = Collector()
            lane = make_lane(sink, AsSeen(lines))
            base = seconds
            end = (run.epoch.reason or "stopped") if last else None
            drive(
                lane,
                self._detector,
                self._footage,
                run,
                end=end,
                after=after,
                progress=lambda pts, base=base, run=run: progress(base + (pts - run.first_pts) / 90_000),  # type: ignore[misc]
            )
            stop = self._numbers(after)
            # Without the next segment's snapshot nobody knows what was given later: time has to do.
            until = None if last or stop is not None else run.last_pts
            got = {e.id: e for e in sink.got if until is None or e.pts < until}
            had = {e.id: e for e in self._journaled(run, until, stop)}
            if end == "killed":
                notes += _without_lost(run, had, got)
            for id, event in had.items():
                if id in got and codec.encode(got[id]) == codec.encode(event):
                    same += 1
                else:
                    missing.append(event)
            extra += [e for id, e in got.items() if id not in had or codec.encode(had[id]) != codec.encode(e)]
            seconds += (run.last_pts - run.first_pts) / 90_000
        return Difference(
            same=same,
            missing=tuple(missing),
            extra=tuple(extra),
            seconds=seconds,
            notes=tuple(dict.fromkeys(notes)),
        )

    def every_frame(
        self,
        make_lane: MakeLane,
        from_us: int | None = None,
        to_us: int | None = None,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> Difference:
        """Decode everything, refuse nothing; match by rule, class and time."""
        same, seconds = 0, 0.0
        missing: list[Event] = []
        extra: list[Event] = []
        notes: list[str] = []
        for run, last in self._some(from_us, to_us, whole=True):
            notes += self._doubts(run, traced(self._footage, run.segments))
            sink = Collector()
            lane = make_lane(sink, Unlimited())
            base = seconds
            drive(
                lane,
                self._detector,
                self._footage,
                run,
                end="stopped" if last else None,
                progress=lambda pts, base=base, run=run: progress(base + (pts - run.first_pts) / 90_000),  # type: ignore[misc]
            )
            had = self._journaled(run, None if last else run.last_pts)
            matched, lost, new = match(had, sink.got)
            same += matched
            missing += lost
            extra += new
            seconds += (run.last_pts - run.first_pts) / 90_000
        return Difference(
            same=same,
            missing=tuple(missing),
            extra=tuple(extra),
            seconds=seconds,
            notes=tuple(dict.fromkeys(notes)),
        )

    def _some(self, from_us: int | None, to_us: int | None, whole: bool = False) -> list[tuple[Run, bool]]:
        runs = self.runs(from_us, to_us, whole)
        if not runs:
            raise LinliError(
                f"no footage of {self._camera}/{self._stream} in that span that a replay can start at; "
                "without --from and --to all that is kept is replayed"
            )
        return runs

    def _following(self, run: Run) -> SegmentRow | None:
        wanted = run.segments[-1].n + 1
        for row in self._journal.segments(self._camera, self._stream):
            if row.epoch == run.epoch.epoch and row.n == wanted:
                return row
        return None

    def _numbers(self, segment: SegmentRow | None) -> dict[str, int] | None:
        """The sequence numbers, by family, that come next at the segment's snapshot."""
        kept = segment and self._journal.snapshot(self._camera, self._stream, segment.id)
        return _sequences(kept) if kept else None

    def _journaled(self, run: Run, until: int | None, stop: dict[str, int] | None = None) -> list[Event]:
        """The journal's events of the run: after its snapshot, before `until`, with numbers below `stop`."""
        # Numbers, not times: with B-frames a picture before the snapshot's packet can come out after it.
        first: dict[str, int] = {}
        if run.snapshot is not None:
            first = _sequences(run.snapshot)
        return [
            event
            for event in self._journal.of_epoch(self._source, run.epoch.epoch)
            if event.sequence >= first.get(event.family, 0)
            and (until is None or event.pts < until)
            and (stop is None or event.sequence < stop.get(event.family, 0))
        ]

    def _doubts(self, run: Run, lines: Sequence[trace.Line]) -> list[str]:
        """Why this run may differ from what was done."""
        doubts = []
        opened = [line for line in lines if isinstance(line, trace.Open)]
        if {line.model for line in opened} - {self._detector.digest}:
            doubts.append("the footage was analysed with another model than the one loaded now")
        if self._settings and {line.settings for line in opened} - {self._settings}:
            doubts.append("the footage was analysed with other rules or settings than those of now")
        damaged = sum(isinstance(line, trace.Shed) and line.why == trace.DAMAGED for line in lines)
        if damaged:
            doubts.append(f"the trace is damaged in {damaged} places: what was decided there is not known")
        if (run.epoch.reason or "").startswith("not resumed"):
            doubts.append(f"epoch {run.epoch.epoch} was not analysed to its end: {run.epoch.reason}")
        return doubts


def _sequences(snapshot: SnapshotRow) -> dict[str, int]:
    found: dict[str, int] = unpack(snapshot.blob)["engine"]["run"]["sequences"]
    return found


def _without_lost(run: Run, had: dict[str, Event], got: dict[str, Event]) -> list[str]:
    """Leave out events of pictures that a kill took, and the numbers that followed them; answers a note."""
    lost = [id for id, event in had.items() if event.pts > run.last_pts]
    for id in lost:
        del had[id]
        got.pop(id, None)
    for id, event in had.items():
        if lost and id in got:
            got[id] = msgspec.structs.replace(got[id], sequence=event.sequence)
    return [f"{len(lost)} events of pictures that a kill took are not compared"] if lost else []


def match(had: Sequence[Event], got: Sequence[Event]) -> tuple[int, list[Event], list[Event]]:
    """Pair events of two runs by rule, type, class and a window of capture time, nearest first."""
    left = list(got)
    same = 0
    missing: list[Event] = []
    for event in had:
        near = [
            e for e in left if _kind(e) == _kind(event) and abs(e.time_us - event.time_us) <= WINDOW_S * 1e6
        ]
        if near:
            left.remove(min(near, key=lambda e: abs(e.time_us - event.time_us)))
            same += 1
        else:
            missing.append(event)
    return same, missing, left


def _kind(event: Event) -> tuple[str, ...]:
    data = event.data
    names = ("rule", "label", "direction", "kind")
    return (event.type, *(str(getattr(data, name, "")) for name in names))

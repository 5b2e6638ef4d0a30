"""Where the live loop speaks to: the trace beside the segment, then the journal."""

import logging
import os
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from events.clock import Clock
from events.errors import StorageError
from events.events import Event, Health, camera_source
from ingest.conditions import RULES
from pipeline.committed import Committed
from pipeline.contract import Note
from pipeline.loop import CameraLoop
from storage import trace
from storage.journal import Journal
from storage.rows import SegmentRow

log = logging.getLogger(__name__)

WAITING = 20_000
"""Lines of a trace that may wait for a disk that is full."""

OF_EPOCH = frozenset({"analysis", "corrupt", "decode-mode"})
"""Troubles that end with their stream epoch; the next one raises them anew if they are still there."""

OF_PICTURE: frozenset[str] = frozenset(RULES)
"""Troubles that outlive epoch and process: the loop remembers the scene, and sees when they are mended."""

OF_PROCESS = frozenset({"analysis", "onvif", "shedding"})
"""Troubles that end with their process, whether the camera comes back or not."""

RESUMED = ".resumed"
"""Ending of a trace that is being written anew; it replaces the old one when it is complete."""


def pack(state: dict[str, Any]) -> bytes:
    """A loop's snapshot as it is kept."""
    return zlib.compress(msgspec.json.encode(state), 1)


def unpack(blob: bytes) -> dict[str, Any]:
    """What was packed."""
    state: dict[str, Any] = msgspec.json.decode(zlib.decompress(blob))
    return state


class JournalSink:
    """Keeps what one camera's loop says. Used by the live worker and by the resume after a kill."""

    def __init__(  # noqa: PLR0913 - what (3), where to (2), and how
        self,
        site: str,
        camera: str,
        stream: str,
        journal: Journal,
        footage: Path,
        *,
        model: str,
        settings: str,
        clock: Clock,
        resume_pts: int | None = None,
        raised: Collection[str] = (),
    ) -> None:
        """`model`, `settings`: digests that tell a replay what this was run with.

        `resume_pts`: media time of the snapshot that a killed worker's epoch is resumed from. Traces are then
        written anew (what was traced up to the snapshot is kept), and health notes are not given again.
        `raised`: what the journal still calls wrong from before; it is cleared with the first epoch.
        """
        self._source = camera_source(site, camera)
        self._camera, self._stream = camera, stream
        self._journal = journal
        self._footage = footage
        self._model, self._settings = model, settings
        self._clock = clock
        self._resume_pts = resume_pts
        self._committed: Committed | None = None
        self._open: _Trace | None = None
        self._before: _Trace | None = None
        self._first_pts = 0
        self._segment = ""
        self._raised = (OF_EPOCH | OF_PROCESS).intersection(raised)
        self._pictured = OF_PICTURE.intersection(raised)
        self._epoch = -1

    def events(self, events: Sequence[Event], decoded_at: float) -> None:
        if self._resume_pts is not None and events:
            events = self._known(events[0].epoch).new(events)
        self._journal.append(events, decoded_at)

    def _known(self, epoch: int) -> Committed:
        if self._committed is None:
            self._committed = Committed(self._journal.of_epoch(self._source, epoch))
        return self._committed

    def trace(self, lines: Sequence[trace.Line]) -> None:
        if self._before is not None:
            # Pictures that were still in the decoder at a border belong to the segment before it.
            early = [line for line in lines if line_pts(line) < self._first_pts]
            if early:
                self._before.append(*early)
            lines = [line for line in lines if line_pts(line) >= self._first_pts]
        if lines and self._open is not None:
            self._open.append(*lines)

    def notes(self, notes: Sequence[Note], capture_us: int) -> None:
        if self._resume_pts is not None:
            return
        for note in notes:
            data = Health(
                what=note.what,
                state=note.state,
                message=note.message,
                detail=note.detail,
                since_us=note.since_us,
            )
            self._journal.note(self._source, data, capture_us)
            if note.state == "cleared":
                self._raised -= {note.what}
            elif note.state == "raised" and note.what in OF_EPOCH:
                self._raised |= {note.what}

    def restarted(self, wrong: Mapping[str, str]) -> None:
        """The process is new: what ended with the one before it is over. `wrong`: what the loop, resumed,
        calls wrong with the picture; a kill may have come between its seeing that and its saying so."""
        over = self._raised & OF_PROCESS | self._pictured - set(wrong)
        notes = [Note(what, "cleared", "started again") for what in sorted(over)]
        notes += [Note(what, "raised", wrong[what]) for what in sorted(set(wrong) - self._pictured)]
        self.notes(notes, self._clock.wall_us())

    def _begun(self, segment: SegmentRow, loop: CameraLoop, pts: int) -> None:
        """What an earlier epoch left raised is over: its loop is not there any more to clear it."""
        if segment.epoch != self._epoch:
            self._epoch = segment.epoch
            over = [Note(what, "cleared", "the stream begins anew") for what in sorted(self._raised)]
            self.notes(over, loop.capture_us(pts))

    def segment(self, segment: SegmentRow, loop: CameraLoop, pts: int) -> None:
        self._begun(segment, loop, pts)
        self._finish(self._before)
        self._before, self._first_pts, self._segment = self._open, pts, segment.id
        path = self._footage / segment.trace_path
        kept: list[trace.Line] = []
        if self._resume_pts is not None:
            if pts == self._resume_pts:
                kept = [line for line in trace.read_trace(path) if line_pts(line) <= pts]
            self._open = _Trace(path, path.with_suffix(RESUMED))
        else:
            self._open = _Trace(path, path)
        opened = trace.Open(
            epoch=segment.epoch,
            pts=pts,
            model=self._model,
            settings=self._settings,
            width=segment.width,
            height=segment.height,
            anchors=loop.anchors,
        )
        if not any(isinstance(line, trace.Open) for line in kept):
            kept.insert(0, opened)
        self._open.append(*kept)

    def snapshot(self, segment: SegmentRow, loop: CameraLoop, pts: int) -> None:
        blob = pack(loop.snapshot())
        self._journal.save_snapshot(self._camera, self._stream, segment.epoch, segment.id, pts, blob)
        self._before = self._finish(self._before)

    def ended(self, loop: CameraLoop, pts: int, reason: str) -> None:
        if self._resume_pts is not None:
            self._journal.append(self._known(loop.epoch).orphans(pts))
        # What stands still is remembered over the end of an epoch, and so over a restart.
        blob = pack(loop.snapshot())
        self._journal.save_snapshot(self._camera, self._stream, loop.epoch, self._segment, pts, blob)
        self._journal.end_epoch(self._camera, self._stream, loop.epoch, pts, reason)
        self.close()

    def abandoned(self, loop: CameraLoop, epoch: int) -> int:
        """The epoch's analysis cannot go on: end it where the loop stands, after all that is journaled, and
        clear the alerts that the loop knows nothing of. Answers the media time reached; 0 if nobody knows.

        Raises:
            StorageError: the journal cannot be written.
        """
        self._journal.flush()
        committed = Committed(self._journal.of_epoch(self._source, epoch))
        events: list[Event] = []
        reached = -1
        if loop.running is not None and loop.running[0] == epoch:
            reached = loop.running[1]
            try:
                events = committed.new(loop.abandon())
            except Exception:  # the rules themselves may be what failed
                log.exception("%s: the rules cannot be ended", self._camera)
                reached = -1
        self._journal.append([*events, *committed.orphans(reached)])
        return max(reached, 0)

    def gave_up(self, loop: CameraLoop, pts: int, reason: str) -> None:
        self._journal.end_epoch(self._camera, self._stream, loop.epoch, pts, reason)
        self.close()

    def close(self) -> None:
        """Close the traces."""
        self._before = self._finish(self._before)
        self._open = self._finish(self._open)

    @staticmethod
    def _finish(open_: "_Trace | None") -> None:
        if open_ is not None:
            open_.close()
            if open_.written != open_.final:
                os.replace(open_.written, open_.final)


class _Trace:
    """A trace being written, under its own name or (resuming) under one that replaces it at the end."""

    def __init__(self, final: Path, written: Path) -> None:
        self.final, self.written = final, written
        if written != final:
            written.unlink(missing_ok=True)
        self._writer = trace.TraceWriter(written)
        self._waiting: list[trace.Line] = []

    def append(self, *lines: trace.Line) -> None:
        """Write the lines. While the disk refuses they wait: a full disk does not end the analysis."""
        self._waiting += lines
        try:
            self._writer.append(*self._waiting)
        except StorageError as e:
            if len(self._waiting) > WAITING:
                raise
            if len(self._waiting) == len(lines):
                log.error("%s", e)
            return
        self._waiting.clear()

    def close(self) -> None:
        if self._waiting:
            self.append()
        if self._waiting:
            log.error("%d lines are missing in the trace %s", len(self._waiting), self.written)
        self._writer.close()


def line_pts(line: trace.Line) -> int:
    """Media time at which a trace's line begins to hold."""
    match line:
        case trace.Shed():
            return line.from_pts
        case trace.AnchorLine():
            return line.anchor.pts
        case _:
            return line.pts

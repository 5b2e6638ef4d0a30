"""Following a trace while it is written: what the page draws, and whom stills have to hide."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from storage.trace import AnchorLine, Frame, Gate, Line, Mode, Open, Reached, Shed

TRACE_POLLS = 100
"""Polls for which the trace of a finished segment is still read: the analysis runs behind the recorder."""
BACKLOG_LINES = 100
"""Trace lines from before the join that are sent: boxes for the first picture, and the mode."""
KEPT_LINES = 300
"""Trace lines kept to tell where people are: more than a minute's."""

_line = msgspec.json.Decoder(Line)
_json = msgspec.json.Encoder()


def text(**fields: object) -> str:
    """A message of the live view."""
    return _json.encode(fields).decode()


class TraceTail:
    """New whole lines of a trace that is being written. `keeps`: the lines are wanted later, too."""

    def __init__(self, path: Path, epoch: int, keeps: bool = False) -> None:
        self._path = path
        self._epoch = epoch
        self._offset = 0
        self._keeps = keeps
        self.kept: list[Line] = []
        """The opening lines and the last ones; none any more after damage: nothing is sure then."""
        self.polls_left = TRACE_POLLS
        """Counted down by the owner once the segment is finished."""

    def poll(self) -> list[str]:
        """Messages for the lines that have come; of the first answer's, the last ones and the last mode."""
        try:
            if os.stat(self._path).st_size <= self._offset:
                return []
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        joined = self._offset == 0
        self._offset += whole
        lines = data[:whole].splitlines()
        if self._keeps:
            self._keep(lines)
        if joined and len(lines) > BACKLOG_LINES:
            early = [raw for raw in lines[:-BACKLOG_LINES] if b'"mode"' in raw or b'"gate"' in raw]
            lines = early[-8:] + lines[-BACKLOG_LINES:]
        return [message for raw in lines if (message := self._message(raw))]

    def _keep(self, lines: Sequence[bytes]) -> None:
        try:
            self.kept += [_line.decode(raw) for raw in lines]
        except msgspec.MsgspecError:
            self.kept, self._keeps = [], False
        if len(self.kept) <= 2 * KEPT_LINES:
            return
        early, late = self.kept[:-KEPT_LINES], self.kept[-KEPT_LINES:]
        openings = [line for line in early if isinstance(line, Open)]
        anchors = [line for line in early if isinstance(line, AnchorLine)]
        if openings:
            # What was dropped is not known any more, and must not pass for "nobody was there".
            first = min((line.pts for line in late if isinstance(line, Frame | Reached)), default=1 << 62)
            openings = [replace(openings[-1], pts=first)]
        self.kept = [*openings, *anchors, *late]

    def _message(self, raw: bytes) -> str:
        try:
            line = _line.decode(raw)
        except msgspec.MsgspecError:
            return ""  # the live view can do without a damaged line; a replay says so
        if isinstance(line, Frame):
            tracks = [
                {"ordinal": t[0], "label": t[1], "score": t[2], "box": t[3:7], "seen": t[7]}
                for t in line.tracks
            ]
            faint = [{"label": label, "box": box} for label, *box in line.faint]
            return text(type="frame", epoch=self._epoch, pts=line.pts, tracks=tracks, faint=faint)
        if isinstance(line, Gate):
            return text(type="gate", epoch=self._epoch, pts=line.pts, state=line.state)
        if isinstance(line, Mode):
            return text(type="mode", epoch=self._epoch, pts=line.pts, mode=line.mode)
        if isinstance(line, Shed):
            return text(type="shed", epoch=self._epoch, pts=line.from_pts, to_pts=line.to_pts)
        return ""

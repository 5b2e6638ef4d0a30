"""Following a stream's footage while it is written: what the live view is made of.

The recorder appends whole fragments of MP4 to the open segment, and the analysis appends lines to its trace.
`LiveTail.poll` answers what has come since the last poll, as messages for a browser, in order:

* text, JSON: `segment` (codec, size; media time is the time in the file plus `offset`), `waiting`, and
  of the trace `frame`, `gate`, `mode`, `shed`, each with the epoch it belongs to;
* bytes: the init segment after each `segment` message, then fragments (or, for a browser without the
  codec, JPEG pictures of keyframes).

Nothing is decoded for video, nothing is written, and nobody polls while nobody watches.
"""

import io
import os
import struct
from collections import deque
from pathlib import Path

import av
import cv2
import msgspec

from events.errors import StorageError
from events.media import TICKS
from storage.fragments import PART, codec_string, find_box, fragments, init_segment, live_offset
from storage.rows import SegmentIndex, SegmentRow
from storage.trace import Frame, Gate, Line, Mode, Shed

STALE_POLLS = 25
"""Polls without a byte after which a newer segment is looked for: the writer may have been killed."""
TRACE_POLLS = 100
"""Polls for which the trace of a finished segment is still read: the analysis runs behind the recorder."""
BACKLOG_LINES = 100
"""Trace lines from before the join that are sent: boxes for the first picture, and the mode."""
MAX_STEP = 4 << 20
"""Bytes of video in one poll's answer."""
STILL_TICKS = TICKS
"""Still pictures come no closer than this."""

_line = msgspec.json.Decoder(Line)
_json = msgspec.json.Encoder()


def first_composition_offset(fragment: bytes) -> int:
    """Ticks from decoding to presentation of the first sample in a moof (0 without B-frames).

    ISO/IEC 14496-12, 8.8.8: a trun box with flag 0x800 has the offset in each sample's entry, after
    duration (0x100), size (0x200) and flags (0x400).
    """
    trun = find_box(fragment, b"moof", b"traf", b"trun")
    flags = struct.unpack_from(">I", trun)[0] & 0xFFFFFF
    if not flags & 0x800:
        return 0
    at = 8 + 4 * sum(bool(flags & bit) for bit in (0x1, 0x4, 0x100, 0x200, 0x400))
    return int(struct.unpack_from(">i", trun, at)[0])


class TraceTail:
    """New whole lines of a trace that is being written."""

    def __init__(self, path: Path, epoch: int) -> None:
        self._path = path
        self._epoch = epoch
        self._offset = 0
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
        if joined and len(lines) > BACKLOG_LINES:
            early = [raw for raw in lines[:-BACKLOG_LINES] if b'"mode"' in raw or b'"gate"' in raw]
            lines = early[-8:] + lines[-BACKLOG_LINES:]
        return [message for raw in lines if (message := self._message(raw))]

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
            return _text(type="frame", epoch=self._epoch, pts=line.pts, tracks=tracks)
        if isinstance(line, Gate):
            return _text(type="gate", epoch=self._epoch, pts=line.pts, state=line.state)
        if isinstance(line, Mode):
            return _text(type="mode", epoch=self._epoch, pts=line.pts, mode=line.mode)
        if isinstance(line, Shed):
            return _text(type="shed", epoch=self._epoch, pts=line.from_pts, to_pts=line.to_pts)
        return ""


class _Current:
    """The segment that is followed."""

    def __init__(self, row: SegmentRow, path: Path) -> None:
        self.row = row
        self.path = path
        """Of the file when it is finished."""
        self.announced = False
        self.offset = 0
        self.length = 0
        self.init = b""
        self.map = 0
        """Media time less the time in the file."""

    def stat(self) -> tuple[Path, int, bool]:
        """Where the file is now, its length, and whether it is finished. Raises FileNotFoundError."""
        part = Path(f"{self.path}{PART}")
        try:
            return part, os.stat(part).st_size, False
        except FileNotFoundError:
            return self.path, os.stat(self.path).st_size, True


class LiveTail:
    """See the module's text. Blocking; one per watcher, called from one thread at a time.

    Args:
        stills: pictures of keyframes instead of video.
    """

    def __init__(
        self, index: SegmentIndex, root: Path, camera: str, stream: str, *, stills: bool = False
    ) -> None:
        self._index = index
        self._root = root
        self._camera = camera
        self._stream = stream
        self._stills = stills
        self._current: _Current | None = None
        self._last: tuple[int, int] = (0, -1)
        self._traces: deque[TraceTail] = deque()
        self._idle = 0
        self._waiting = False
        self._next_still = 0

    def poll(self) -> list[str | bytes]:
        """What has come since the last poll; empty if nothing has.

        Raises:
            StorageError: the index cannot be read, or the footage is not what it should be.
        """
        messages: list[str | bytes] = []
        if self._current is None or self._idle >= STALE_POLLS:
            self._idle = 0
            self._join(messages)
        finished = False
        if self._current is not None:
            try:
                finished = self._video(self._current, messages)
            except FileNotFoundError:
                finished = True  # deleted by retention while it was watched
        for trace in self._traces:
            messages += trace.poll()
        for trace in list(self._traces)[:-1]:
            trace.polls_left -= 1
        while self._traces and self._traces[0].polls_left <= 0:
            self._traces.popleft()
        if finished:
            self._current = None
        return messages

    def _join(self, messages: list[str | bytes]) -> None:
        """Go to the next segment in order, or, at first or after a gap, to the one now being written."""
        rows = self._index.segments(self._camera, self._stream, state="open")
        newer = sorted((row for row in rows if (row.epoch, row.n) > self._last), key=lambda r: (r.epoch, r.n))
        if not newer:
            if self._current is None and self._last == (0, -1) and not self._waiting:
                self._waiting = True
                messages.append(_text(type="waiting"))
            return
        row = newer[-1]
        epoch, n = self._last
        current = _Current(row, self._root / row.path)
        # The next one of the same epoch is followed from its beginning, another from where it is now.
        if not (row.epoch == epoch and row.n == n + 1):
            try:
                current.offset = live_offset(current.stat()[0])
            except FileNotFoundError:
                return
        self._last = (row.epoch, row.n)
        self._current = current
        self._waiting = False
        if row.trace_path:
            self._traces.append(TraceTail(self._root / row.trace_path, row.epoch))

    def _video(self, current: _Current, messages: list[str | bytes]) -> bool:
        """Append the segment's new fragments; True if it is finished and all of it was sent."""
        path, length, finished = current.stat()
        if length == current.length and current.announced:
            self._idle += 1
            return finished
        self._idle = 0
        if not current.announced and not self._announce(current, path, messages):
            return finished
        try:
            current.offset, data = fragments(path, current.offset, MAX_STEP)
        except FileNotFoundError:
            return False  # renamed just now: next time
        if data:
            messages += self._still(current, data) if self._stills else [data]
        else:
            # Nothing whole is left: wait until the file grows.
            current.length = length
        return finished and not data

    def _announce(self, current: _Current, path: Path, messages: list[str | bytes]) -> bool:
        """Say what comes, once the file has its first fragment."""
        init = init_segment(path)
        _, first = fragments(path, 0, 1) if init else (0, b"")
        if not first:
            return False
        row = current.row
        current.init = init
        current.map = row.first_pts - first_composition_offset(first)
        current.announced = True
        messages.append(
            _text(
                type="segment",
                segment=row.id,
                epoch=row.epoch,
                codec=codec_string(init),
                width=row.width,
                height=row.height,
                start_pts=row.first_pts,
                start_us=row.start_us,
                offset=current.map,
            )
        )
        if not self._stills:
            messages.append(init)
        return True

    def _still(self, current: _Current, data: bytes) -> list[str | bytes]:
        """The newest keyframe in the fragments as JPEG; nothing if one was sent a moment ago."""
        newest: av.VideoFrame | None = None
        try:
            with av.open(io.BytesIO(current.init + data), "r", format="mp4") as container:
                stream = container.streams.video[0]
                stream.codec_context.skip_frame = "NONKEY"
                for frame in container.decode(stream):
                    newest = frame
        except av.FFmpegError:
            return []
        if newest is None or newest.pts is None:
            return []
        pts = current.map + newest.pts
        if pts < self._next_still and pts > self._next_still - 10 * STILL_TICKS:
            return []
        self._next_still = pts + STILL_TICKS
        done, jpeg = cv2.imencode(".jpg", newest.to_ndarray(format="bgr24"), [cv2.IMWRITE_JPEG_QUALITY, 80])
        if not done:
            raise StorageError(f"a picture of {current.row.id} could not be made")
        still = _text(type="still", epoch=current.row.epoch, pts=pts)
        return [still, jpeg.tobytes()]


def _text(**fields: object) -> str:
    return _json.encode(fields).decode()

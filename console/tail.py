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
from collections.abc import Collection
from pathlib import Path

import av

from console.tracetail import TraceTail, text
from events.media import TICKS
from events.observations import Box
from storage.fragments import PART, codec_string, find_box, fragments, init_segment, live_offset
from storage.pictures import snapshot
from storage.rows import SegmentIndex, SegmentRow
from storage.whereabouts import Whereabouts

STALE_POLLS = 25
"""Polls without a byte after which a newer segment is looked for: the writer may have been killed."""
MAX_STEP = 4 << 20
"""Bytes of video in one poll's answer."""
STILL_TICKS = TICKS
"""Still pictures come no closer than this."""
QUALITY = 80
"""Of their JPEG."""
SURE_US = 1_000_000
"""The analysis has to be so far beyond a still: until then somebody may yet be found who was there."""
HELD_POLLS = 40
"""Polls that a still waits for that; five seconds or so."""


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
        hidden: labels to pixelate in stills, which then wait a moment for the analysis; where it does not
            come, all of the picture is hidden. None: plain. Video is as the camera sent it.
    """

    def __init__(
        self,
        index: SegmentIndex,
        root: Path,
        camera: str,
        stream: str,
        *,
        stills: bool = False,
        hidden: Collection[str] | None = None,
    ) -> None:
        self._index = index
        self._root = root
        self._camera = camera
        self._stream = stream
        self._stills = stills
        self._hidden = hidden
        self._held: tuple[av.VideoFrame, int, int] | None = None
        """A still that waits for its trace, with its epoch and media time."""
        self._held_polls = 0
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
        if self._held is not None:
            messages += self._ripe(*self._held)
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
                messages.append(text(type="waiting"))
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
            self._traces.append(TraceTail(self._root / row.trace_path, row.epoch, self._hidden is not None))

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
            text(
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
        """The newest keyframe in the fragments as JPEG; nothing if one was just sent or has to wait."""
        if self._held is not None:
            return []  # one after the other
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
        if self._hidden is None:
            return _still_of(current.row.epoch, pts, snapshot(newest, [], plain=True, quality=QUALITY))
        self._held, self._held_polls = (newest, current.row.epoch, pts), 0
        return []

    def _ripe(self, frame: av.VideoFrame, epoch: int, pts: int) -> list[str | bytes]:
        """The held still, people pixelated, if the analysis has come so far or is not waited for any more."""
        self._held_polls += 1
        known = Whereabouts([trace.kept for trace in self._traces], self._hidden or ())
        capture = known.captures.get(epoch)
        sure = capture is not None and known.passed(capture.at(pts) + SURE_US)
        if not sure and self._held_polls < HELD_POLLS:
            return []
        boxes = known.at(capture.at(pts)) if sure and capture else None
        self._held = None
        if boxes is not None:
            w, h = frame.width, frame.height
            boxes = [Box(b.x1 * w, b.y1 * h, b.x2 * w, b.y2 * h) for b in boxes]
        return _still_of(epoch, pts, snapshot(frame, boxes, quality=QUALITY))


def _still_of(epoch: int, pts: int, jpeg: bytes) -> list[str | bytes]:
    return [text(type="still", epoch=epoch, pts=pts), jpeg]

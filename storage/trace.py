"""What the loop did with a segment, line by line beside its footage: what a replay follows.

One JSON object a line, the kind in `type`. Written by the analysis thread, behind the recorder; a line that a
kill tore is dropped by the reader and cut off by the next writer.

    {"type":"open","epoch":1,"pts":0,...}
    {"type":"frame","pts":7500,"tracks":[[1,"person",0.81,10.0,20.0,60.5,180.0,true]],"crops":[]}
"""

import logging
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self, cast

import msgspec

from events.errors import StorageError
from events.media import TICKS, Anchor
from events.observations import Observation
from storage.database import make_folder

log = logging.getLogger(__name__)

TraceTrack = tuple[int, str, float, float, float, float, float, bool]
"""ordinal, label, score, x1, y1, x2, y2, seen; pixels of the analysed picture, to a tenth."""

Faint = tuple[str, float, float, float, float]
"""label, x1, y1, x2, y2 of what was detected and is no track (yet); pixels as above."""


class _Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


class Open(_Line, frozen=True, kw_only=True, tag="open"):
    """The segment's analysis begins. A resumed worker writes another one."""

    epoch: int
    pts: int
    model: str
    """Digest of the model file."""
    settings: str
    """Digest of the camera's settings: a replay with others is not the same run."""
    width: int
    height: int
    """Of the analysed picture: what boxes are measured in."""
    anchors: tuple[Anchor, ...]
    """The epoch's capture times so far."""


class Gate(_Line, frozen=True, kw_only=True, tag="gate"):
    """From `pts` on more, or less, of the stream is decoded."""

    pts: int
    state: str
    why: str


class Frame(_Line, frozen=True, kw_only=True, tag="frame"):
    """A picture was inferred."""

    pts: int
    tracks: tuple[TraceTrack, ...] = ()
    crops: tuple[tuple[int, int, int, int], ...] = ()
    faint: tuple[Faint, ...] = ()
    """So that people who are seen but not tracked can be hidden; no rule knows of them."""

    @classmethod
    def of(
        cls,
        observation: Observation,
        crops: Sequence[tuple[int, int, int, int]] = (),
        faint: Sequence[Faint] = (),
    ) -> Self:
        """The line for what the tracker made of a picture."""
        tracks = tuple(
            (
                t.ordinal,
                t.label,
                round(t.score, 3),
                round(t.box.x1, 1),
                round(t.box.y1, 1),
                round(t.box.x2, 1),
                round(t.box.y2, 1),
                t.seen,
            )
            for t in observation.tracks
        )
        return cls(pts=observation.pts, tracks=tracks, crops=tuple(crops), faint=tuple(faint))


class Shed(_Line, frozen=True, kw_only=True, tag="shed"):
    """The box was too slow: packets from `from_pts` to before `to_pts` were passed over, or (the two are the
    same) the look at one picture was refused. Or its lines are damaged."""

    from_pts: int
    to_pts: int
    why: str


class Mode(_Line, frozen=True, kw_only=True, tag="mode"):
    """From `pts` on decoding is lazy, or of everything."""

    pts: int
    mode: Literal["lazy", "full"]
    forced: bool = False
    """The stream cannot be decoded lazily; nobody asked for it, and a replay finds out for itself."""


class AnchorLine(_Line, frozen=True, kw_only=True, tag="anchor"):
    """From the anchor's `pts` on capture time is mapped by it."""

    anchor: Anchor


class Reached(_Line, frozen=True, kw_only=True, tag="reached"):
    """Everything up to `pts` was analysed, also where no line says so: nothing was there to be said."""

    pts: int


class Verdict(_Line, frozen=True, kw_only=True, tag="verdict"):
    """Before the packet at `pts` was fed, the rules were told an operator's judgement."""

    pts: int
    alert: str
    verdict: Literal["true", "false", "ignore"]


class Position(_Line, frozen=True, kw_only=True, tag="position"):
    """Before the packet at `pts` was fed, a dome said where it looks (ONVIF PTZ status)."""

    pts: int
    pan: float
    """-1 to 1, as ONVIF's generic space has it."""
    tilt: float
    zoom: float
    """0 to 1."""
    moving: bool


Told = Verdict | Position
"""What came to the loop from outside, at a packet: a replay tells it again."""

DAMAGED = "damaged"
"""`Shed.why` of a span whose lines cannot be read any more."""

_TAIL = 2 * TICKS
"""How far a span reaches that no readable line ends: past all gaps that are taken for covered."""

Line = Open | Gate | Frame | Shed | Mode | AnchorLine | Reached | Verdict | Position

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


class TraceWriter:
    """Appends lines; each is with the operating system when `append` returns, so a kill cannot take it."""

    def __init__(self, path: Path) -> None:
        """Open or continue the trace at `path`.

        Raises:
            StorageError: the folder cannot be written.
        """
        self._path = path
        try:
            make_folder(path.parent)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            _cut_torn_line(self._fd)
        except OSError as error:
            raise StorageError(f"trace {path} cannot be written: {error.strerror}") from error

    def append(self, *lines: Line) -> None:
        """Add lines, in one write.

        Raises:
            StorageError: the disk refuses.
        """
        data = b"".join(_encoder.encode(line) + b"\n" for line in lines)
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise StorageError(f"trace {self._path} cannot be written: {error.strerror}") from error
        if written != len(data):
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)  # all or nothing
            raise StorageError(f"trace {self._path} cannot be written: no room; free some space")

    def close(self) -> None:
        """May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _cut_torn_line(fd: int) -> None:
    size = os.fstat(fd).st_size
    if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
        return
    data = os.pread(fd, size, 0)
    os.ftruncate(fd, data.rfind(b"\n") + 1)


def read_trace(path: Path) -> list[Line]:
    """The trace's lines; none if there is no trace. A torn last line is left out.

    In place of damaged lines stands a `Shed` (why: DAMAGED) that reaches from what is known before to what is
    known after: what was seen and decided there nobody knows. The log names the lines.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"trace {path} cannot be read: {error.strerror}") from error
    whole = data[: data.rfind(b"\n") + 1]
    lines: list[Line | None] = []
    for raw in whole.splitlines():
        try:
            lines.append(_decoder.decode(raw))
        except msgspec.MsgspecError:
            lines.append(None)
    if None not in lines:
        return cast(list[Line], lines)
    bad = [n for n, line in enumerate(lines, 1) if line is None]
    _report(path, len(bad), bad[0])
    return _bridged(lines)


@lru_cache(maxsize=256)  # traces are read again and again: once is enough
def _report(path: Path, count: int, first: int) -> None:
    log.warning("trace %s: %d damaged lines, the first is number %d", path, count, first)


def _bridged(lines: Sequence[Line | None]) -> list[Line]:
    """Damaged lines (None) become spans of which nothing is known."""
    found: list[Line] = []
    for n, line in enumerate(lines):
        if line is not None:
            found.append(line)
        elif n == 0 or lines[n - 1] is not None:
            # A keyframe's line may come before those of pictures shown before it: two lines back is safe.
            before = [pts for known in found if (pts := _passed(known)) is not None][-2:]
            after = (pts for known in lines[n:] if known is not None and (pts := _passed(known)) is not None)
            then = next(after, None)
            start = min(before) if before else then or 0
            end = start + _TAIL if then is None else max(then, *before, start)
            found.append(Shed(from_pts=start, to_pts=end, why=DAMAGED))
    return found


def _passed(line: Line) -> int | None:
    """Media time that the analysis had passed at this line; None if the line does not say."""
    match line:
        case Open() | Frame() | Reached():
            return line.pts
        case Shed():
            return line.to_pts
        case _:
            return None

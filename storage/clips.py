"""Clips cut from segments, for a person to watch in a browser.

    cut_clip(...)        the packets as they are, from the keyframe before the span: milliseconds
    cut_pixelated(...)   decoded, people hidden where the traces say they were, encoded again

Both give an MP4 with its index in front, whole or not at all. Several segments, also of several stream
epochs, make one clip; where nothing was recorded the last picture stands.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from events.errors import StorageError
from ingest.packets import StreamInfo
from storage.cutting import (
    Captures,
    Clip,
    Output,
    Picture,
    chosen,
    decoded,
    encoded,
    packets_of,
    remuxed,
    scaled,
    within,
)
from storage.footage import read_info
from storage.pictures import hide
from storage.rows import SegmentRow
from storage.trace import read_trace
from storage.whereabouts import PERSONAL, Whereabouts

__all__ = ["Captures", "Clip", "cut_clip", "cut_pixelated"]


def cut_clip(
    root: Path,
    rows: Sequence[SegmentRow],
    from_us: int,
    to_us: int,
    out: Path,
    *,
    transcode: bool = False,
    captures: Captures | None = None,
) -> Clip:
    """Cut the span [from_us, to_us] of one stream into the MP4 `out`, plain.

    Args:
        rows: segments of one stream that overlap the span, in any order; others are passed over.
        transcode: encode as H.264, whatever was recorded; slow (a core does some tens of 1080p pictures a
            second).

    Raises:
        StorageError: no footage there, or it cannot be played by browsers without `transcode`.
    """
    rows = chosen(rows, from_us, to_us)
    packets = packets_of(root, rows, from_us, to_us, captures or {})
    if transcode:
        return encoded(within(decoded(root, packets), from_us, to_us), Output(out))
    info = _playable_info(root, rows)
    return remuxed(packets, info, Output(out))


def cut_pixelated(  # noqa: PLR0913  what is shown, and by what it is hidden
    root: Path,
    rows: Sequence[SegmentRow],
    from_us: int,
    to_us: int,
    out: Path,
    *,
    traces: Sequence[Path] | None = None,
    labels: Collection[str] = PERSONAL,
    captures: Captures | None = None,
) -> Clip:
    """As `cut_clip` with `transcode`, people hidden as `storage/whereabouts.py` has it.

    Args:
        traces: of the segments that were analysed, at their absolute paths, if those are not `rows` (a main
            stream is recorded, the sub-stream analysed). Give a segment before and after the span, too.
            Where they are of another stream, people are hidden with room for the two streams' clocks.
        captures: of the stream of `rows`, where its own traces do not tell.

    Raises:
        StorageError: no footage there, or a trace is damaged.
    """
    paths = [root / row.trace_path for row in rows if row.trace_path] if traces is None else traces
    known = Whereabouts((read_trace(path) for path in paths), labels)
    shown = chosen(rows, from_us, to_us)
    own = {root / row.trace_path for row in shown} <= set(paths)
    packets = packets_of(root, shown, from_us, to_us, {**(known.captures if own else {}), **(captures or {})})
    maps = list((captures or {}).values())
    whole = 0

    def pictures() -> Iterator[Picture]:
        nonlocal whole
        for frame, at, pts in within(decoded(root, packets), from_us, to_us):
            boxes = known.at(at, 0 if own else known.skew_us(at, maps))
            whole += boxes is None
            yield Picture(hide(frame, scaled(boxes, frame.width, frame.height)), at, pts)

    clip = encoded(pictures(), Output(out))
    return msgspec.structs.replace(clip, hidden_whole=whole)


def _playable_info(root: Path, rows: Sequence[SegmentRow]) -> StreamInfo:
    """The parameters that all the rows share.

    Raises:
        StorageError: a browser could not play it.
    """
    name = f"{rows[0].camera}/{rows[0].stream}"
    if any(row.codec == "hevc" for row in rows):
        raise StorageError(
            f"{name} records H.265, which many browsers cannot play: ask for the clip transcoded, "
            "or set the camera's stream to H.264"
        )
    infos = [read_info(root, row) for row in rows]
    if any(info.extradata != infos[0].extradata for info in infos):
        raise StorageError(f"{name} changed its picture format within the clip: ask for it transcoded")
    return infos[0]

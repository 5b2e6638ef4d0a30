"""The live view's tail: what a watcher gets can be decoded, is complete, and carries its times."""

import io
import json
import os
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from console.tail import HELD_POLLS, STALE_POLLS, LiveTail
from console.tracetail import KEPT_LINES, TraceTail
from events.media import TICKS, Anchor
from ingest.packets import Packet, StreamInfo
from storage.fragments import PART
from storage.segments import SegmentWriter
from storage.trace import Frame, Mode, Open, Reached, TraceWriter
from storage.whereabouts import Whereabouts
from tests.clipmaker import FPS, MemoryIndex, make_clip, packets_of, walker
from tests.test_pictures import fine

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "b-frames": {"b_frames": 3},
    "h265": {"codec": "libx265", "b_frames": 2},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[StreamInfo, list[Packet]]]:
    folder = tmp_path_factory.mktemp("clips")
    return {
        name: packets_of(make_clip(folder / f"{name}.mp4", seconds=6, **kind), offset=900_000)
        for name, kind in KINDS.items()
    }


class Watcher:
    """What a browser would have: per segment its announcement and its bytes; and everything else."""

    def __init__(self, root: Path, index: MemoryIndex, **how: Any) -> None:
        self.tail = LiveTail(index, root, "gate", "sub", **how)
        self.segments: list[tuple[dict[str, Any], bytearray]] = []
        self.others: list[dict[str, Any]] = []
        self.pictures: list[bytes] = []
        self.stills = how.get("stills", False)

    def look(self, polls: int = 1) -> None:
        for _ in range(polls):
            for message in self.tail.poll():
                if isinstance(message, str):
                    text = json.loads(message)
                    if text["type"] == "segment":
                        self.segments.append((text, bytearray()))
                    else:
                        self.others.append(text)
                elif self.stills:
                    self.pictures.append(message)
                else:
                    self.segments[-1][1].extend(message)

    def times(self) -> list[int]:
        """Media times of all pictures that can be decoded from what came, in order."""
        found = []
        for text, data in self.segments:
            with av.open(io.BytesIO(bytes(data)), format="mp4") as container:
                stream = container.streams.video[0]
                found += [(f.pts or 0) + text["offset"] for f in container.decode(stream)]
        return found


def writer_of(root: Path, info: StreamInfo, index: MemoryIndex, epoch: int = 7) -> SegmentWriter:
    return SegmentWriter(root, "gate", "sub", epoch, info, index, segment_s=2.0, fragment_s=0.5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_picture_comes_with_its_time_over_segment_borders(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], kind: str, tmp_path: Path
) -> None:
    info, packets = clips[kind]
    index = MemoryIndex()
    watcher = Watcher(tmp_path, index)
    writer = writer_of(tmp_path, info, index)
    for packet in packets:
        writer.write(packet)
        watcher.look()
    writer.close()
    watcher.look(4)
    assert watcher.times() == sorted(p.pts for p in packets)
    assert len(watcher.segments) == 3
    first = watcher.segments[0][0]
    assert (first["epoch"], first["width"], first["height"]) == (7, 320, 180)
    assert first["start_pts"] == packets[0].pts
    assert first["codec"].startswith("hvc1" if kind == "h265" else "avc1")


def test_one_who_comes_later_starts_at_the_last_keyframe(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], tmp_path: Path
) -> None:
    info, packets = clips["plain"]
    index = MemoryIndex()
    writer = SegmentWriter(tmp_path, "gate", "sub", 7, info, index, fragment_s=0.5)
    for packet in packets[:44]:
        writer.write(packet)
    watcher = Watcher(tmp_path, index)
    watcher.look(2)
    for packet in packets[44:]:
        writer.write(packet)
    writer.close()
    watcher.look(3)
    times = watcher.times()
    expected = [p.pts for p in packets]
    assert times == expected[-len(times) :]
    assert packets[-len(times)].keyframe
    assert 16 <= len(times) <= 30


def test_waiting_is_said_once_and_ends_with_the_first_segment(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], tmp_path: Path
) -> None:
    info, packets = clips["plain"]
    index = MemoryIndex()
    watcher = Watcher(tmp_path, index)
    watcher.look(5)
    assert watcher.others == [{"type": "waiting"}]
    writer = writer_of(tmp_path, info, index)
    for packet in packets[:15]:
        writer.write(packet)
        watcher.look()
    assert watcher.times()[0] == packets[0].pts


def test_after_a_kill_the_next_epoch_is_followed(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], tmp_path: Path
) -> None:
    info, packets = clips["plain"]
    index = MemoryIndex()
    watcher = Watcher(tmp_path, index)
    killed = writer_of(tmp_path, info, index)
    for packet in packets[:15]:
        killed.write(packet)
    watcher.look(2)
    restarted = writer_of(tmp_path, info, index, epoch=8)
    for packet in packets[:18]:
        restarted.write(packet)
    watcher.look(STALE_POLLS + 3)
    assert [text["epoch"] for text, _ in watcher.segments] == [7, 8]
    assert os.path.exists(f"{tmp_path / index.segments()[0].path}{PART}")


def test_footage_deleted_while_it_is_watched_is_no_error(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], tmp_path: Path
) -> None:
    info, packets = clips["plain"]
    index = MemoryIndex()
    watcher = Watcher(tmp_path, index)
    writer = writer_of(tmp_path, info, index)
    for packet in packets[:15]:
        writer.write(packet)
    watcher.look(2)
    row = index.segments()[0]
    os.unlink(f"{tmp_path / row.path}{PART}")
    index.delete_segment(row.id)
    watcher.look(5)
    assert len(watcher.segments) == 1


def test_the_trace_comes_along_also_behind_the_recorder(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], tmp_path: Path
) -> None:
    info, packets = clips["plain"]
    index = MemoryIndex()
    watcher = Watcher(tmp_path, index)
    writer = writer_of(tmp_path, info, index)
    for packet in packets[:5]:
        writer.write(packet)
    assert writer.row is not None
    trace = TraceWriter(tmp_path / writer.row.trace_path)
    trace.append(Mode(pts=packets[0].pts, mode="lazy"))
    for packet in packets[5:30]:
        writer.write(packet)
        watcher.look()
    box = (1, "person", 0.75, 10.0, 20.0, 30.0, 40.0, True)
    trace.append(Frame(pts=packets[12].pts, tracks=(box,), faint=(("person", 50, 20, 70, 40),)))
    with open(tmp_path / index.segments()[0].trace_path, "ab") as torn:
        torn.write(b'{"type":"frame","pts":')
    watcher.look(2)
    assert watcher.others == [
        {"type": "mode", "epoch": 7, "pts": packets[0].pts, "mode": "lazy"},
        {
            "type": "frame",
            "epoch": 7,
            "pts": packets[12].pts,
            "tracks": [
                {"ordinal": 1, "label": "person", "score": 0.75, "box": [10, 20, 30, 40], "seen": True}
            ],
            "faint": [{"label": "person", "box": [50, 20, 70, 40]}],
        },
    ]


def test_a_long_trace_begins_with_its_end_and_the_last_mode(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], tmp_path: Path
) -> None:
    info, packets = clips["plain"]
    index = MemoryIndex()
    writer = writer_of(tmp_path, info, index)
    writer.write(packets[0])
    assert writer.row is not None
    trace = TraceWriter(tmp_path / writer.row.trace_path)
    trace.append(Mode(pts=0, mode="full"), *(Frame(pts=n * TICKS) for n in range(500)))
    watcher = Watcher(tmp_path, index)
    watcher.look()
    assert watcher.others[0]["mode"] == "full"
    assert [m["pts"] for m in watcher.others[1:]] == [n * TICKS for n in range(400, 500)]


def test_stills_are_keyframes_as_jpeg_about_one_a_second(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], tmp_path: Path
) -> None:
    info, packets = clips["h265"]
    index = MemoryIndex()
    watcher = Watcher(tmp_path, index, stills=True)
    writer = writer_of(tmp_path, info, index)
    for packet in packets:
        writer.write(packet)
        watcher.look()
    writer.close()
    watcher.look(3)
    assert 4 <= len(watcher.pictures) <= 7
    assert all(picture[:2] == b"\xff\xd8" for picture in watcher.pictures)
    keyframes = {p.pts for p in packets if p.keyframe}
    stills = [m["pts"] for m in watcher.others if m["type"] == "still"]
    assert set(stills) <= keyframes
    assert len(stills) == len(watcher.pictures)


def opening(packets: list[Packet]) -> Open:
    anchor = Anchor(
        pts=packets[0].pts, capture_us=packets[0].capture_us, source="arrival", uncertainty_us=500_000
    )
    return Open(epoch=7, pts=packets[0].pts, model="", settings="", width=320, height=180, anchors=(anchor,))


def detail(picture: bytes, box: tuple[int, int, int, int]) -> float:
    """How fine the picture is in the box."""
    return fine(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE), box)


def test_stills_for_who_may_not_see_people_plain_hide_them(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], tmp_path: Path
) -> None:
    """The analysis runs ten pictures behind the recorder."""
    info, packets = clips["plain"]
    index = MemoryIndex()
    watcher = Watcher(tmp_path, index, stills=True, hidden=("person",))
    writer = SegmentWriter(tmp_path, "gate", "sub", 7, info, index, segment_s=60, fragment_s=0.2)
    trace: TraceWriter | None = None
    for n, packet in enumerate(packets):
        writer.write(packet)
        if trace is None:
            assert writer.row is not None
            trace = TraceWriter(tmp_path / writer.row.trace_path)
            trace.append(opening(packets))
        if n >= 10:
            track = (1, "person", 0.9, *(float(v) for v in walker(n - 10)), True)
            trace.append(Frame(pts=packets[n - 10].pts, tracks=(track,)))
        watcher.look()
    assert len(watcher.pictures) >= 2
    stills = [m["pts"] for m in watcher.others if m["type"] == "still"]
    for pts, picture in zip(stills, watcher.pictures, strict=True):
        assert detail(picture, walker((pts - packets[0].pts) * FPS // TICKS)) < 10
        assert detail(picture, (0, 5, 320, 25)) > 20  # and only them


def test_stills_that_no_analysis_comes_for_are_hidden_whole(
    clips: dict[str, tuple[StreamInfo, list[Packet]]], tmp_path: Path
) -> None:
    info, packets = clips["plain"]
    index = MemoryIndex()
    watcher = Watcher(tmp_path, index, stills=True, hidden=("person",))
    writer = writer_of(tmp_path, info, index)
    for packet in packets[:18]:
        writer.write(packet)
    watcher.look(HELD_POLLS - 2)
    assert not watcher.pictures
    watcher.look(3)
    (picture,) = watcher.pictures
    assert detail(picture, (0, 5, 320, 25)) < 10


def test_a_long_trace_keeps_its_end_and_claims_nothing_of_before(tmp_path: Path) -> None:
    trace = TraceWriter(tmp_path / "a")
    anchor = Anchor(pts=0, capture_us=1_000_000_000, source="arrival", uncertainty_us=0)
    trace.append(Open(epoch=1, pts=0, model="", settings="", width=1, height=1, anchors=(anchor,)))
    tail = TraceTail(tmp_path / "a", 1, keeps=True)
    for n in range(5 * KEPT_LINES):
        trace.append(Reached(pts=n * TICKS))
        if n % 100 == 0:
            tail.poll()
    tail.poll()
    assert len(tail.kept) <= 2 * KEPT_LINES + 2
    known = Whereabouts([tail.kept])
    assert known.at(1_000_000_000 + 5 * KEPT_LINES * 1_000_000 - 1_500_000) == []
    assert known.at(1_000_000_000 + 10_000_000) is None
    (tmp_path / "a").open("ab").write(b"damaged\n")
    tail.poll()
    assert Whereabouts([tail.kept]).at(1_000_000_000 + 5 * KEPT_LINES * 1_000_000 - 1_500_000) is None

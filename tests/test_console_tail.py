"""The live view's tail: what a watcher gets can be decoded, is complete, and carries its times."""

import io
import json
import os
from pathlib import Path
from typing import Any

import av
import pytest

from console.tail import STALE_POLLS, LiveTail
from events.media import TICKS
from ingest.packets import Packet, StreamInfo
from storage.fragments import PART
from storage.segments import SegmentWriter
from storage.trace import Frame, Mode, TraceWriter
from tests.clipmaker import MemoryIndex, make_clip, packets_of

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
    trace.append(Frame(pts=packets[12].pts, tracks=(box,)))
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

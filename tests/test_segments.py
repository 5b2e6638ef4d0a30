"""Segments: what goes in comes out, in files that stand by themselves."""

import errno
import os
import shutil
from hashlib import sha256
from pathlib import Path

import av
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.errors import DiskFull, StorageError
from events.media import TICKS, Anchor, CaptureMap
from ingest.packets import Packet, StreamInfo
from storage.fragments import PART, fragments, init_segment
from storage.segments import SegmentWriter, read_info, read_packets
from tests.clipmaker import START_US, MemoryIndex, make_clip, packets_of

KINDS = {
    "h264": {},
    "h264-b": {"b_frames": 3},
    "h264-long-gop": {"gop": 35},
    "h265": {"codec": "libx265"},
    "h265-b": {"codec": "libx265", "b_frames": 2},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {name: make_clip(folder / f"{name}.mp4", **kind) for name, kind in KINDS.items()}


def record(
    root: Path, info: StreamInfo, packets: list[Packet], segment_s: float = 1.0
) -> tuple[MemoryIndex, list[str]]:
    index = MemoryIndex()
    writer = SegmentWriter(root, "gate", "sub", 7, info, index, segment_s=segment_s)
    ids = [writer.write(packet) for packet in packets]
    writer.close()
    return index, ids


def times(packets: list[Packet]) -> list[tuple[int, int, int, bool]]:
    return [(p.pts, p.dts, p.capture_us, p.keyframe) for p in packets]


def pictures(info: StreamInfo, packets: list[Packet]) -> list[tuple[int | None, bytes]]:
    """Decoded pictures with their times, as a stranger to the writer's container would decode them."""
    context = av.CodecContext.create(info.codec, "r")
    context.thread_count = 1
    if info.extradata:
        context.extradata = info.extradata
    decoded = []
    for p in packets:
        copy = av.Packet(bytes(p.av))
        copy.pts, copy.dts = p.pts, p.dts
        decoded += context.decode(copy)
    decoded += context.decode(None)
    return [(frame.pts, frame.to_ndarray().tobytes()) for frame in decoded]


@pytest.mark.parametrize("annexb", [False, True], ids=["mp4", "annexb"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_packets_and_pictures_come_back_as_they_were(
    clips: dict[str, Path], kind: str, annexb: bool, tmp_path: Path
) -> None:
    info, packets = packets_of(clips[kind], annexb, offset=123_456)
    index, ids = record(tmp_path, info, packets)
    rows = index.segments()
    back = [p for row in rows for p in read_packets(tmp_path, row)]
    assert times(back) == times(packets)
    assert ids == [row.id for row in rows for _ in range(row.packets)]
    assert pictures(read_info(tmp_path, rows[0]), back) == pictures(info, packets)
    assert [(row.first_pts, row.last_pts, row.end_us) for row in rows] == [
        (part[0].pts, max(p.pts for p in part), max(p.capture_us for p in part))
        for part in ([p for p, i in zip(packets, ids, strict=True) if i == row.id] for row in rows)
    ]


def test_sizes_of_rtsp_packets_come_back_too(clips: dict[str, Path], tmp_path: Path) -> None:
    """The gate looks at sizes; libav's RTSP has start codes of 4 bytes, as long as MP4's length prefixes."""
    info, packets = packets_of(clips["h264"], annexb=True)
    fours = []
    for p in packets:
        payload = bytes(p.av).replace(b"\0\0\0\1", b"\0\0\1").replace(b"\0\0\1", b"\0\0\0\1")
        fours.append(Packet(p.pts, p.dts, p.capture_us, p.keyframe, False, len(payload), av.Packet(payload)))
    index, _ = record(tmp_path, info, fours)
    back = [p.size for row in index.segments() for p in read_packets(tmp_path, row)]
    assert back == [p.size for p in fours]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_rising_times_come_back_exactly(
    clips: dict[str, Path], tmp_path: Path, data: st.DataObject
) -> None:
    shutil.rmtree(tmp_path / "footage", ignore_errors=True)
    info, packets = packets_of(clips["h264"])
    start = data.draw(st.integers(-(2**40), 2**40))
    steps = data.draw(st.lists(st.integers(1, 20 * TICKS), min_size=len(packets), max_size=len(packets)))
    late = data.draw(st.lists(st.integers(0, TICKS), min_size=len(packets), max_size=len(packets)))
    moved, dts = [], start
    for p, step, delay in zip(packets, steps, late, strict=True):
        dts += step
        moved.append(Packet(dts + delay, dts, START_US, p.keyframe, False, p.size, p.av))
    index, _ = record(tmp_path / "footage", info, moved, data.draw(st.floats(0.5, 30)))
    back = [p for row in index.segments() for p in read_packets(tmp_path / "footage", row)]
    assert [(p.pts, p.dts) for p in back] == [(p.pts, p.dts) for p in moved]


def test_a_segment_begins_at_a_keyframe_once_it_is_long_enough(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    info, packets = packets_of(clips["h264"])  # a keyframe each second
    index, ids = record(tmp_path, info, packets[3:], segment_s=1.5)
    assert ids[:7] == [""] * 7  # before the first keyframe nothing can be decoded
    rows = index.segments()
    assert [row.n for row in rows] == [0, 1]
    assert [row.keyframes for row in rows] == [2, 1]
    assert [row.first_pts for row in rows] == [TICKS, 3 * TICKS]
    assert all(next(read_packets(tmp_path, row)).keyframe for row in rows)


def test_a_closed_file_is_whole_hashed_and_durable_before_it_is_indexed(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda fd: (done.append(f"sync {os.readlink(f'/proc/self/fd/{fd}')}"), fsync(fd))
    )
    monkeypatch.setattr(os, "rename", lambda a, b: (done.append(f"rename {b}"), rename(a, b)))

    class Noting(MemoryIndex):
        def put_segment(self, row):
            done.append(f"row {row.state}")
            super().put_segment(row)

    info, packets = packets_of(clips["h264"])
    index = Noting()
    writer = SegmentWriter(tmp_path, "gate", "sub", 7, info, index)
    for packet in packets:
        writer.write(packet)
    writer.close()
    writer.close()
    (row,) = index.segments()
    path = tmp_path / row.path
    folders = [tmp_path, *reversed(path.parent.relative_to(tmp_path).parents)]
    made = [
        f"sync {tmp_path / name}" for name in folders
    ]  # each new folder's name is durable in the one above
    assert done[: len(made) - 1] == made[1:]
    assert done[len(made) - 1 :] == [
        "row open",
        f"sync {path}{PART}",
        f"rename {path}",
        f"sync {path.parent}",
        "row closed",
    ]
    assert row.state == "closed"
    assert row.sha256 == sha256(path.read_bytes()).hexdigest()
    assert row.bytes == path.stat().st_size == writer.bytes_written
    assert row.packets == len(packets)


def test_the_loops_packets_are_not_touched(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h264-b"])

    def state(p: Packet) -> tuple[object, ...]:
        return (
            p.av.pts,
            p.av.dts,
            p.av.time_base,
            p.av.stream,
            p.av.stream_index,
            p.av.is_keyframe,
            bytes(p.av),
        )

    before = [state(p) for p in packets]
    record(tmp_path, info, packets)
    assert [state(p) for p in packets] == before


def test_an_open_segment_can_be_read(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h264-b"])
    index = MemoryIndex()
    writer = SegmentWriter(tmp_path, "gate", "sub", 7, info, index)
    for packet in packets[:25]:
        writer.write(packet)
    row = writer.row
    assert row is not None
    assert row == index.rows[row.id]
    assert row.state == "open"
    back = list(read_packets(tmp_path, row))
    assert times(back) == times(packets[:20])  # two fragments of a second; the third is not complete
    writer.close()
    assert times(list(read_packets(tmp_path, row))) == times(packets[:25])


def test_capture_time_follows_the_epochs_anchors(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h264"])
    index, _ = record(tmp_path, info, packets, segment_s=60)
    (row,) = index.segments()
    capture = CaptureMap(
        tuple(
            Anchor(pts=pts, capture_us=us, source="rtcp", uncertainty_us=0)
            for pts, us in ((0, START_US), (2 * TICKS, START_US + 2_500_000))
        )
    )
    back = list(read_packets(tmp_path, row, capture))
    assert [p.capture_us for p in back] == [capture.at(p.pts) for p in packets]


def test_times_that_stand_still_are_recorded_a_tick_apart(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h264"])
    stuck = [Packet(0, 0, START_US, p.keyframe, False, p.size, p.av) for p in packets[:10]]
    index, _ = record(tmp_path, info, stuck)
    (row,) = index.segments()
    assert [p.dts for p in read_packets(tmp_path, row)] == list(range(10))


def test_parameter_sets_in_midstream_are_kept(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h264"], annexb=True)
    index, _ = record(tmp_path, info, packets, segment_s=60)
    (row,) = index.segments()
    for packet in read_packets(tmp_path, row):
        payload, kinds = bytes(packet.av), set()
        while payload:
            length = int.from_bytes(payload[:4], "big")
            kinds.add(payload[4] & 0x1F)
            payload = payload[4 + length :]
        assert ({7, 8} <= kinds) == packet.keyframe


def test_hevc_is_tagged_for_browsers(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h265"], annexb=True)
    index, _ = record(tmp_path, info, packets)
    assert b"hvc1" in init_segment(tmp_path / index.segments()[0].path)


def test_damaged_parameter_sets_are_an_error_and_leave_nothing(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    info, packets = packets_of(clips["h264"])
    index = MemoryIndex()
    broken = msgspec.structs.replace(info, extradata=b"\0\0\0\1\x67\x42")  # and none in these packets
    writer = SegmentWriter(tmp_path, "gate", "sub", 7, broken, index)
    with pytest.raises(StorageError, match="gate/sub"):
        writer.write(packets[0])
    assert index.segments() == []
    assert not list(tmp_path.rglob("*.mp4*"))
    assert writer.write(packets[1]) == ""


def test_broken_sets_in_the_sdp_are_replaced_by_those_before_the_keyframe(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    info, packets = packets_of(clips["h264"], annexb=True)
    broken = msgspec.structs.replace(info, extradata=b"\0\0\0\1\x67\x42")
    index, _ = record(tmp_path, broken, packets)
    row = index.segments()[0]
    assert len(pictures(read_info(tmp_path, row), list(read_packets(tmp_path, row)))) == row.packets


def test_a_full_disk_keeps_what_was_written_and_tries_again(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, packets = packets_of(clips["h264"])
    index = MemoryIndex()
    writer = SegmentWriter(tmp_path, "gate", "sub", 7, info, index)
    write, room = os.write, [3]

    def full_after_three(fd: int, data: bytes) -> int:
        room[0] -= 1
        if room[0] < 0:
            write(fd, bytes(data)[: len(data) // 2])  # the disk takes half of it
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full_after_three)
    with pytest.raises(DiskFull, match="free some space"):
        list(map(writer.write, packets))
    monkeypatch.undo()
    (row,) = index.segments()
    assert row.state == "recovered"
    assert times(list(read_packets(tmp_path, row))) == times(packets[: row.packets])
    assert row.packets == 10
    for packet in packets[25:]:
        writer.write(packet)
    writer.close()
    assert [row.state for row in index.segments()] == ["recovered", "closed"]


def test_a_read_only_folder_is_named(clips: dict[str, Path], tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "gate").write_text("a file where a folder should be")
    else:
        tmp_path.chmod(0o500)
    info, packets = packets_of(clips["h264"])
    index = MemoryIndex()
    with pytest.raises(StorageError, match="gate/sub"):
        SegmentWriter(tmp_path, "gate", "sub", 7, info, index).write(packets[0])
    assert index.segments() == []


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\0b", "-x"])
def test_names_that_are_not_folders_are_refused(name: str, clips: dict[str, Path], tmp_path: Path) -> None:
    info, _ = packets_of(clips["h264"])
    with pytest.raises(StorageError, match="cannot name a folder"):
        SegmentWriter(tmp_path, name, "sub", 7, info, MemoryIndex())


def test_a_deleted_segment_says_so(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h264"])
    index, _ = record(tmp_path, info, packets)
    row = index.segments()[0]
    (tmp_path / row.path).unlink()
    with pytest.raises(StorageError, match="is gone"):
        next(read_packets(tmp_path, row))


def test_a_file_that_is_not_footage_says_so(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h264"])
    index, _ = record(tmp_path, info, packets)
    row = index.segments()[0]
    (tmp_path / row.path).write_bytes(b"not a film")
    with pytest.raises(StorageError, match="cannot be read"):
        next(read_packets(tmp_path, row))


def test_a_dropped_writer_leaves_a_file_that_ends_whole(clips: dict[str, Path], tmp_path: Path) -> None:
    info, packets = packets_of(clips["h264"])
    writer = SegmentWriter(tmp_path, "gate", "sub", 7, info, MemoryIndex())
    for packet in packets[:25]:
        writer.write(packet)
    (part,) = tmp_path.rglob(f"*{PART}")
    assert fragments(part)[0] == part.stat().st_size

"""Killed writers: at most one fragment is lost and nobody has to do anything."""

import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.media import TICKS
from ingest.packets import Packet
from storage.fragments import PART, whole_length
from storage.recovery import cameras_of, recover
from storage.rows import SegmentRow
from storage.segments import SegmentWriter, read_packets
from tests.clipmaker import FPS, MemoryIndex, make_clip, packets_of

KILLS = 12

WRITER = """
import sys, time
from pathlib import Path
import msgspec
from storage.rows import SegmentRow
from storage.segments import SegmentWriter
from tests.clipmaker import MemoryIndex, packets_of

clip, root, log = sys.argv[1:]

class Logged(MemoryIndex):
    def put_segment(self, row):
        with open(log, "ab", buffering=0) as f:
            f.write(msgspec.json.encode(row) + b"\\n")

info, packets = packets_of(Path(clip))
writer = SegmentWriter(Path(root), "gate", "sub", 7, info, Logged(), segment_s=2.0)
print("ready", flush=True)
for packet in packets:
    writer.write(packet)
    print(packet.dts, flush=True)
    time.sleep(0.0005)
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=60, b_frames=2)


def killed_run(clip: Path, root: Path, log: Path, after_s: float) -> int:
    """Write until a kill -9; answers the dts of the last packet that the writer had taken."""
    command = [sys.executable, "-c", WRITER, str(clip), str(root), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(after_s)
        os.kill(process.pid, signal.SIGKILL)
        lines = process.stdout.read().splitlines()
    return int(lines[-1]) if lines else -1


def test_a_kill_loses_at_most_one_fragment(clip: Path, tmp_path: Path) -> None:
    _, packets = packets_of(clip)
    chance = random.Random(11)
    cut_midway = 0
    for n in range(KILLS):
        root, log = tmp_path / str(n), tmp_path / f"{n}.log"
        taken = killed_run(clip, root, log, chance.uniform(0, 0.5))
        index = MemoryIndex()
        for line in log.read_bytes().splitlines() if log.exists() else []:
            index.put_segment(msgspec.json.decode(line, type=SegmentRow))
        recover(root, index)
        rows = index.segments()
        assert not list(root.rglob(f"*{PART}"))
        assert all(row.state in ("closed", "recovered") for row in rows)
        assert all(row.sha256 == sha256((root / row.path).read_bytes()).hexdigest() for row in rows)
        back = [p.dts for row in rows for p in read_packets(root, row)]
        assert back == [p.dts for p in packets][: len(back)]  # no hole before the end
        lost = taken - (back[-1] if back else -TICKS // FPS)
        assert lost <= TICKS  # one fragment
        cut_midway += bool(back)
    assert cut_midway > KILLS // 3  # the kills did fall into the writing


def begun(root: Path, clip: Path, count: int, segment_s: float = 60) -> tuple[MemoryIndex, list[Packet]]:
    """A writer that stopped after `count` packets without closing."""
    info, packets = packets_of(clip)
    index = MemoryIndex()
    writer = SegmentWriter(root, "gate", "sub", 7, info, index, segment_s=segment_s)
    for packet in packets[:count]:
        writer.write(packet)
    return index, packets


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), twice=st.booleans())
def test_a_file_cut_anywhere_is_recovered_to_its_last_whole_fragment(
    clip: Path, tmp_path: Path, cut: float, twice: bool
) -> None:
    root = tmp_path / str(time.monotonic_ns())
    index, packets = begun(root, clip, 55)
    (part,) = root.rglob(f"*{PART}")
    data = part.read_bytes()
    part.write_bytes(data[: int(len(data) * cut)])
    whole = whole_length(part)
    rows = recover(root, index)
    if twice:
        assert recover(root, index) == []
    if whole == 0:
        assert rows == []
        assert index.segments() == []
        assert not [p for p in root.rglob("*") if p.is_file()]
        return
    (row,) = rows
    assert index.segments() == rows
    assert row.bytes == whole == (root / row.path).stat().st_size
    back = list(read_packets(root, row))
    assert [(p.pts, p.dts, p.capture_us) for p in back] == [
        (p.pts, p.dts, p.capture_us) for p in packets[: row.packets]
    ]
    assert row.last_pts == max(p.pts for p in back)
    assert row.keyframes == sum(p.keyframe for p in back)


def test_garbage_after_the_last_fragment_is_cut_off(clip: Path, tmp_path: Path) -> None:
    """As a power cut leaves it: the file's length is there, its last blocks are not."""
    index, _ = begun(tmp_path, clip, 35)
    (part,) = tmp_path.rglob(f"*{PART}")
    whole = part.stat().st_size
    part.write_bytes(part.read_bytes() + bytes(5000))
    (row,) = recover(tmp_path, index)
    assert row.bytes == whole


def test_a_kill_between_rename_and_row_is_mended(clip: Path, tmp_path: Path) -> None:
    index, _ = begun(tmp_path, clip, 35)
    (part,) = tmp_path.rglob(f"*{PART}")
    part.rename(str(part).removesuffix(PART))
    (row,) = recover(tmp_path, index)
    assert row.state == "recovered"
    assert row.packets == len(list(read_packets(tmp_path, row)))


def test_a_kill_before_the_file_was_made_leaves_no_row(clip: Path, tmp_path: Path) -> None:
    index, _ = begun(tmp_path, clip, 35)
    (part,) = tmp_path.rglob(f"*{PART}")
    part.unlink()
    assert recover(tmp_path, index) == []
    assert index.segments() == []


def test_a_file_that_no_index_knows_says_itself_what_it_is(clip: Path, tmp_path: Path) -> None:
    index, _ = begun(tmp_path, clip, 35)
    (open_row,) = index.segments()
    lost = MemoryIndex()
    (row,) = recover(tmp_path, lost)
    assert (row.id, row.path, row.first_pts, row.start_us) == (
        open_row.id,
        open_row.path,
        open_row.first_pts,
        open_row.start_us,
    )
    assert lost.segments() == [row]


def test_only_the_cameras_asked_for_are_touched(clip: Path, tmp_path: Path) -> None:
    index, _ = begun(tmp_path, clip, 35)
    assert recover(tmp_path, index, cameras={"yard"}) == []
    assert [row.state for row in index.segments()] == ["open"]
    assert len(recover(tmp_path, index, cameras={"gate"})) == 1


def test_cameras_are_known_by_their_rows_and_by_their_folders(clip: Path, tmp_path: Path) -> None:
    index, _ = begun(tmp_path, clip, 35)
    (tmp_path / "yard" / "main").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert cameras_of(tmp_path, index) == {"gate", "yard"}
    assert cameras_of(tmp_path / "none", index) == {"gate"}


def test_no_footage_folder_yet_is_no_error(tmp_path: Path) -> None:
    assert recover(tmp_path / "none", MemoryIndex()) == []

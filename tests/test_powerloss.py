"""Power cuts at many moments of real runs: what was acknowledged is there, and what is there is whole.

That the same cuts lose acknowledged events with `synchronous` below FULL shows that the cuts cut.
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from events.clock import ManualClock
from events.errors import StorageError
from storage.journal import Journal
from storage.objects import FolderObjects
from storage.recovery import recover
from testbed.journal_load import crossing
from testbed.powerloss import Change, Disk, build, environment, read_record
from tests.clipmaker import make_clip

ROOT = Path(__file__).parents[1]
SOURCE = "/site/camera/gate"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = build(tmp_path_factory.mktemp("powerloss"))
    if library is None:
        pytest.skip("power cuts are recorded by a C library, and there is no compiler (cc) here")
    return library


def run(library: Path, tmp_path: Path, arguments: list[str]) -> tuple[Path, list[Change]]:
    """Run Python with the arguments, recorded; answers the folder it wrote to and the record."""
    root, record = tmp_path / "box", tmp_path / "record"
    root.mkdir()
    subprocess.run(
        [sys.executable, *(argument.replace("BOX", str(root)) for argument in arguments)],
        cwd=ROOT,
        env=environment(library, root, record),
        check=True,
        timeout=120,
    )
    return root, list(read_record(record))


def power_cuts(
    root: Path, changes: list[Change], number: int, tmp_path: Path, *, seed: int = 1
) -> Iterator[tuple[Path, int]]:
    """The folder after each of `number` cuts at random moments, and what was acknowledged until then."""
    chance = random.Random(seed)
    disk = Disk(root)
    moments = set(chance.sample(range(len(changes)), min(number, len(changes))))
    for n, change in enumerate(changes):
        disk.feed(change)
        if n in moments:
            after = tmp_path / "after"
            disk.cut_power(after, chance)
            lines = disk.content(root / "acknowledged").split()
            yield after, int(lines[-1]) if lines else 0
            shutil.rmtree(after)


def journal_run(library: Path, tmp_path: Path, synchronous: str) -> tuple[Path, list[Change]]:
    """600 events in groups of 5, with enough ballast for several checkpoints of the write-ahead log."""
    arguments = ["-m", "testbed.journal_load", "BOX/state/journal.db", "--events", "600", "--group", "5"]
    arguments += ["--ballast", "120000", "--synchronous", synchronous, "--acknowledge", "BOX/acknowledged"]
    return run(library, tmp_path, arguments)


def lost(after: Path, acknowledged: int) -> bool:
    """Acknowledged events are missing. What is there must be the beginning of what was sent."""
    journal = Journal(after / "state" / "journal.db", ManualClock())
    try:
        events = [record.event for record in journal.read(0, 10_000)]
        assert events == [crossing(SOURCE, n) for n in range(len(events))]
        journal.append([crossing(SOURCE, len(events))])
        journal.flush()
        return len(events) < acknowledged
    finally:
        journal.close()


def test_the_record_is_complete(library: Path, tmp_path: Path) -> None:
    """Without a power cut the record gives exactly the files that the process left."""
    root, changes = journal_run(library, tmp_path, "FULL")
    disk = Disk(root)
    for change in changes:
        disk.feed(change)
    disk.everything(tmp_path / "copy")
    assert content(tmp_path / "copy") == content(root)
    assert {"c", "w", "f", "d", "u"} <= {change.op for change in changes}


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_no_acknowledged_event_is_lost(library: Path, tmp_path: Path) -> None:
    root, changes = journal_run(library, tmp_path, "FULL")
    checkpoints = sum(c.op == "f" and c.path.endswith("journal.db") for c in changes)
    assert checkpoints >= 3, "the cuts are to fall into checkpoints too"
    cuts = [lost(*cut) for cut in power_cuts(root, changes, 80, tmp_path)]
    assert cuts == [False] * 80


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_below_full_the_same_cuts_lose_acknowledged_events(
    library: Path, tmp_path: Path, synchronous: str
) -> None:
    root, changes = journal_run(library, tmp_path, synchronous)

    def lost_or_damaged(after: Path, acknowledged: int) -> bool:
        try:
            return lost(after, acknowledged)
        except (StorageError, AssertionError):
            return True

    assert any(lost_or_damaged(*cut) for cut in power_cuts(root, changes, 30, tmp_path))


OBJECTS = """
import os, sys
from pathlib import Path
from storage.objects import FolderObjects
box = Path(sys.argv[1])
out = os.open(box / "acknowledged", os.O_WRONLY | os.O_CREAT)
objects = FolderObjects(box / "objects")
for n in range(60):
    objects.put(f"alerts/a{n // 10}/{n}", b"%d " % n * 2000)
    os.write(out, b"%d\\n" % (n + 1))
"""


def test_an_object_is_whole_or_absent_and_stays_once_put(library: Path, tmp_path: Path) -> None:
    root, changes = run(library, tmp_path, ["-c", OBJECTS, "BOX"])
    for after, acknowledged in power_cuts(root, changes, 60, tmp_path):
        objects = FolderObjects(after / "objects")
        found = {int(key.rsplit("/", 1)[1]): objects.get(key) for key in objects.keys("alerts/")}
        assert set(found) >= set(range(acknowledged))
        assert all(data == b"%d " % n * 2000 for n, data in found.items())


FOOTAGE = """
import os, sys
from pathlib import Path
from events.clock import SystemClock
from events.media import Anchor
from storage.journal import Journal
from storage.segments import SegmentWriter
from tests.clipmaker import packets_of
box = Path(sys.argv[1])
info, packets = packets_of(Path(sys.argv[2]))
out = os.open(box / "acknowledged", os.O_WRONLY | os.O_CREAT)
journal = Journal(box / "journal.db", SystemClock(), group_s=0.0)
anchor = Anchor(pts=0, capture_us=packets[0].capture_us, source="arrival", uncertainty_us=1)
epoch = journal.open_epoch("gate", "sub", info, anchor)
writer = SegmentWriter(box / "footage", "gate", "sub", epoch, info, journal, segment_s=1.0)
for packet in packets:
    writer.write(packet)
    os.write(out, b"%d\\n" % (writer.segments - 1))
writer.close()
journal.close()
"""


def test_a_segment_in_the_index_is_whole(library: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=12)
    root, changes = run(library, tmp_path, ["-c", FOOTAGE, "BOX", str(clip)])
    assert sum(change.op == "r" for change in changes) == 12, "segments of 1 s"
    with_footage = 0
    for after, acknowledged in power_cuts(root, changes, 60, tmp_path):
        with_footage += check_footage(after, acknowledged) > 0
    assert with_footage > 20


def check_footage(after: Path, acknowledged: int) -> int:
    """Segments that were closed have their file, as it was; recovery needs no hand. Answers how many."""
    journal = Journal(after / "journal.db", ManualClock())
    try:
        closed = journal.segments(state="closed")
        assert len(closed) >= acknowledged
        recover(after / "footage", journal)
        for row in journal.segments():
            assert row.state in ("closed", "recovered")
            assert sha256((after / "footage" / row.path).read_bytes()).hexdigest() == row.sha256
        assert journal.segments(state="closed") == closed
        return len(closed)
    finally:
        journal.close()

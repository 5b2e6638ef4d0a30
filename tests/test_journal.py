"""The journal: what is kept, in which order, once, and what happens when it cannot write."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.clock import ManualClock, SystemClock
from events.errors import DiskFull, StorageError
from events.events import Event
from events.media import Anchor
from ingest.packets import StreamInfo
from storage import journal as journal_module
from storage.journal import Journal
from storage.logbus import LogBus
from storage.rows import SegmentRow
from tests.contracts.examples import EPOCH, crossing, event, health

ROOT = Path(__file__).parents[1]
INFO = StreamInfo(codec="h264", width=640, height=360, extradata=b"\x00\x01\xff", fps=12.0)


def anchor(pts: int, capture_us: int = 5) -> Anchor:
    return Anchor(pts=pts, capture_us=capture_us, source="rtcp", uncertainty_us=9)


def segment(id: str, start_us: int = 0, end_us: int = 10, **changes: object) -> SegmentRow:
    row = SegmentRow(
        id=id,
        camera="gate",
        stream="sub",
        epoch=EPOCH,
        n=0,
        path=f"{id}.mp4",
        state="closed",
        codec="h264",
        width=640,
        height=360,
        first_pts=0,
        last_pts=90_000,
        start_us=start_us,
        end_us=end_us,
    )
    return msgspec.structs.replace(row, **changes)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db", ManualClock(EPOCH), group_s=0.0)
    yield journal
    journal.close()


# -- events


def test_what_is_flushed_is_read_in_order(journal: Journal) -> None:
    sent = [crossing(n) for n in range(30)]
    for e in sent:
        journal.append([e])
    journal.flush()
    assert [r.event for r in journal.read(0, 100)] == sent
    assert [r.event for r in journal.read(27, 2)] == sent[27:29]
    assert journal.read(30, 100) == []
    assert journal.read(0, 0) == []


def test_a_read_for_some_families_passes_over_so_much_at_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SCAN", 10)
    for n in range(35):
        if n in (3, 4, 33):
            journal.note("/s/box/b", health("note", str(n)), EPOCH)
        else:
            journal.append([crossing(n)])
    journal.flush()
    steps, after = [], 0
    while after < 35:
        records, after = journal.page(after, 100, ("health",))
        steps.append(([record.offset for record in records], after))
    assert steps == [([4, 5], 10), ([], 20), ([], 30), ([34], 35)]
    assert journal.page(0, 1, ("health",))[1] == 4, "a full page ends at its last record"
    assert journal.page(35, 9, ("health",)) == ([], 35)
    assert [record.offset for record in journal.read(0, 100, ("health",))] == [4, 5, 34]
    assert [record.offset for record in journal.read(0, 2, ("health",))] == [4, 5]
    subscription = LogBus(journal, ManualClock(EPOCH)).subscribe("late", ("health",))
    assert [record.offset for record in subscription.poll()] == [4, 5]
    assert [record.offset for record in subscription.poll()] == [34], "however much stands before it"
    assert subscription.poll() == []


def test_a_repeat_is_ignored_and_a_conflict_keeps_the_first(journal: Journal) -> None:
    first = crossing(0)
    other = msgspec.structs.replace(first, time_us=first.time_us + 1)
    same_id = msgspec.structs.replace(first, sequence=1)
    for e in (first, first, other, same_id, crossing(2)):
        journal.append([e])
    journal.flush()
    assert [r.event for r in journal.read(0, 10)] == [first, crossing(2)]
    stats = journal.stats()
    assert (stats.events, stats.repeats, stats.conflicts) == (2, 1, 2)


@settings(max_examples=20, deadline=None)
@given(resumes=st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_resuming_from_anywhere_repeats_harmlessly(
    resumes: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    sent = [crossing(n) for n in range(60)]
    for start in [0, *resumes]:
        journal = Journal(path, ManualClock(), synchronous="OFF", group_s=0.0)
        journal.append(sent[start:])
        journal.close()
    journal = Journal(path, ManualClock(), synchronous="OFF")
    assert [r.event for r in journal.read(0, 100)] == sent
    journal.close()


def test_notes_are_numbered_without_a_hole_over_openings(tmp_path: Path) -> None:
    clock = ManualClock()
    seen = []
    for _ in range(2):
        journal = Journal(tmp_path / "journal.db", clock)
        for n in range(3):
            journal.note("/s/box/b", health("note", f"w{n}"), 7 + n)
        journal.note("/s/camera/c", health("note"), 7)
        journal.flush()
        seen.append([(r.event.source, r.event.epoch, r.event.sequence) for r in journal.read(0, 99)][-4:])
        epoch = journal.epoch
        assert seen[-1] == [*(("/s/box/b", epoch, n) for n in range(3)), ("/s/camera/c", epoch, 0)]
        journal.close()
        clock.step_wall(-3600)  # an epoch is new even so
    assert seen[0] != seen[1]


def test_a_value_that_cannot_be_written_fails_at_its_maker(journal: Journal) -> None:
    with pytest.raises(TypeError):
        journal.append([event(health(object()), 0)])  # type: ignore[arg-type]
    journal.append([crossing(0)])
    journal.flush()
    assert len(journal.read(0, 9)) == 1


def test_many_events_share_a_commit(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", SystemClock(), group_s=0.2)
    before = journal.stats().commits
    for n in range(100):
        journal.append([crossing(n)], decoded_at=time.monotonic())
    while journal.stats().queued:
        time.sleep(0.01)
    assert journal.stats().commits - before <= 5
    lag = journal.lag_ms()
    assert lag.count == 100
    assert 100 <= lag.p99 <= 10_000
    journal.close()


def test_writers_of_several_processes_leave_no_hole_that_is_filled_later(tmp_path: Path) -> None:
    """A reader that follows by offset, while three processes write, misses nothing."""
    path = tmp_path / "journal.db"
    journal = Journal(path, SystemClock())
    command = [sys.executable, "-m", "testbed.journal_load", str(path), "--events", "400", "--group", "3"]
    writers = [
        subprocess.Popen([*command, "--source", f"/s/camera/{n}"], cwd=ROOT, stdout=subprocess.DEVNULL)
        for n in range(3)
    ]
    seen: dict[str, list[int]] = {}
    position = 0
    until = time.monotonic() + 60
    while sum(map(len, seen.values())) < 1200 and time.monotonic() < until:
        for record in journal.read(position, 100):
            position = record.offset
            seen.setdefault(record.event.source, []).append(record.event.sequence)
    assert [w.wait(60) for w in writers] == [0, 0, 0]
    assert seen == {f"/s/camera/{n}": list(range(400)) for n in range(3)}
    journal.close()


# -- epochs, anchors, snapshots, segments


def test_epochs_rise_even_when_the_clock_is_set_back(tmp_path: Path) -> None:
    clock = ManualClock(EPOCH)
    journal = Journal(tmp_path / "journal.db", clock)
    first = journal.open_epoch("gate", "sub", INFO, anchor(0))
    clock.step_wall(-1000)
    second = journal.open_epoch("gate", "sub", INFO, anchor(0))
    assert second > first
    assert journal.epoch not in (first, second)
    journal.close()


def test_an_epoch_comes_back_with_its_anchors_and_its_end(journal: Journal) -> None:
    epoch = journal.open_epoch("gate", "sub", INFO, anchor(0, 1))
    journal.add_anchor("gate", "sub", epoch, anchor(900, 2))
    other = journal.open_epoch("gate", "main", INFO, anchor(0))
    journal.end_epoch("gate", "sub", epoch, 1800, "closed by the camera")
    journal.end_epoch("gate", "sub", epoch, 9999, "a second end does not count")
    journal.flush()
    (row,) = journal.epochs("gate", "sub")
    assert (row.epoch, row.info, row.end_pts, row.reason) == (epoch, INFO, 1800, "closed by the camera")
    assert row.capture.anchors == (anchor(0, 1), anchor(900, 2))
    (row,) = journal.epochs("gate", "main")
    assert (row.epoch, row.end_pts, row.reason) == (other, None, None)


def test_an_anchor_out_of_order_or_of_no_epoch_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", ManualClock())
    epoch = journal.open_epoch("gate", "sub", INFO, anchor(500))
    journal.close()
    journal = Journal(tmp_path / "journal.db", ManualClock())  # it is not only remembered
    with pytest.raises(StorageError, match="before the last one"):
        journal.add_anchor("gate", "sub", epoch, anchor(499))
    with pytest.raises(StorageError, match="no epoch 7"):
        journal.add_anchor("gate", "sub", 7, anchor(0))
    journal.add_anchor("gate", "sub", epoch, anchor(500))
    journal.flush()
    assert len(journal.epochs("gate", "sub")[0].capture.anchors) == 2
    journal.close()


def test_the_newest_snapshots_and_the_first_of_each_segment_are_kept(journal: Journal) -> None:
    assert journal.snapshot("gate", "sub") is None
    for n in range(20):
        journal.save_snapshot("gate", "sub", EPOCH, f"s{n // 10}", n, bytes([n]))
        journal.save_snapshot("gate", "main", EPOCH, "", n, b"")
    journal.flush()
    newest = journal.snapshot("gate", "sub")
    assert newest is not None
    assert (newest.pts, newest.blob, newest.segment, newest.epoch) == (19, b"\x13", "s1", EPOCH)
    firsts = [journal.snapshot("gate", "sub", f"s{n}") for n in range(2)]
    assert [s and s.pts for s in firsts] == [0, 10]
    assert snapshots_in(journal) == {"sub": 5, "main": 3}
    journal.delete_segment("s0")
    assert journal.snapshot("gate", "sub", "s0") is None
    journal.delete_segment("s1")
    assert snapshots_in(journal) == {"sub": 3, "main": 3}
    newest = journal.snapshot("gate", "sub")
    assert newest is not None
    assert newest.pts == 19


def snapshots_in(journal: Journal) -> dict[str, int]:
    with sqlite3.connect(journal.path) as connection:
        rows = connection.execute("SELECT stream, count(*) FROM snapshots GROUP BY stream").fetchall()
    connection.close()
    return dict(rows)


def test_segments_are_found_by_what_is_asked(journal: Journal) -> None:
    rows = [
        segment("a", 0, 10),
        segment("b", 10, 20, n=1),
        segment("c", 5, 15, camera="yard"),
        segment("d", 20, 20, n=2, state="open"),
    ]
    for row in reversed(rows):
        journal.put_segment(row)
    a, b, c, d = rows
    assert journal.segments() == [a, c, b, d]
    assert journal.segments(camera="gate", stream="sub") == [a, b, d]
    assert journal.segments(camera="gate", stream="main") == []
    assert journal.segments(from_us=11, to_us=12) == [c, b]
    assert journal.segments(from_us=1000) == [d], "what is being written has no end yet"
    assert journal.segments(state="open") == [d]
    closed = segment("d", 20, 30, n=2, sha256="00")
    journal.put_segment(closed)
    assert journal.segments(camera="gate", from_us=25) == [closed]
    journal.delete_segment("d")
    journal.delete_segment("d")
    assert journal.segments(from_us=21) == []


# -- consumers and pruning


def test_an_offset_is_committed_and_never_goes_back(journal: Journal) -> None:
    assert journal.committed("g") == 0
    journal.commit("g", 7)
    journal.commit("g", 3)
    assert journal.committed("g") == 7


def test_only_what_every_consumer_has_and_is_old_is_pruned(tmp_path: Path) -> None:
    clock = ManualClock(EPOCH)
    journal = Journal(tmp_path / "journal.db", clock)
    journal.append([crossing(n) for n in range(3000)])
    journal.flush()
    clock.advance(100)
    journal.append([crossing(n) for n in range(3000, 3010)])
    journal.flush()
    old = EPOCH + 50_000_000
    assert journal.prune(old) == 0, "no consumer is known"
    journal.add_consumer("slow")
    journal.commit("fast", 3010)
    assert journal.prune(old) == 0
    journal.commit("slow", 2500)
    assert journal.prune(old) == 2500
    journal.forget_consumer("slow")
    assert journal.prune(old) == 500
    assert [r.offset for r in journal.read(0, 100)] == list(range(3001, 3011))
    assert journal.prune(EPOCH + 500_000_000) == 10
    journal.append([crossing(5000)])
    journal.flush()
    assert [r.offset for r in journal.read(0, 100)] == [3011], "an offset is never given twice"
    journal.close()


def test_epochs_go_when_nothing_needs_them(tmp_path: Path) -> None:
    clock = ManualClock(EPOCH)
    journal = Journal(tmp_path / "journal.db", clock)
    epochs = []
    for _ in range(4):
        epochs.append(journal.open_epoch("gate", "sub", INFO, anchor(0)))
        clock.advance(1)
    journal.put_segment(segment("a", epoch=epochs[1]))
    journal.prune(EPOCH + 100_000_000)
    assert [row.epoch for row in journal.epochs("gate", "sub")] == [epochs[1], epochs[3]]
    journal.close()


def test_the_write_ahead_log_stays_bounded(tmp_path: Path) -> None:
    """An open read makes it grow; once that is over, it is cut back."""
    path = tmp_path / "journal.db"
    journal = Journal(path, ManualClock(), group_s=0.0, synchronous="OFF")
    wal = path.with_name("journal.db-wal")

    def write() -> None:
        for _ in range(60):
            journal.save_snapshot("gate", "sub", 1, "", 0, os.urandom(500_000))
            journal.flush()

    write()
    assert wal.stat().st_size < 20 << 20
    reader = sqlite3.connect(path)
    cursor = reader.execute("SELECT name FROM sqlite_schema")
    cursor.fetchone()
    write()
    assert wal.stat().st_size > 25 << 20, "the open read did not hold the log: this test shows nothing"
    cursor.close()
    reader.close()
    write()
    assert wal.stat().st_size < 20 << 20
    journal.close()


# -- what goes wrong


def test_a_full_file_loses_nothing_and_says_so(tmp_path: Path) -> None:
    """SQLite's own bound stands for the disk's."""
    journal = Journal(tmp_path / "journal.db", SystemClock(), group_s=0.0, max_bytes=400_000)
    check_full(journal, lambda: raise_bound(journal))


def raise_bound(journal: Journal) -> None:
    raised = journal._writer._connect

    def connect() -> sqlite3.Connection:
        connection = raised()
        connection.execute("PRAGMA max_page_count = 1000000")
        return connection

    journal._writer._connect = connect


def test_a_full_disk_loses_nothing_and_says_so(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(39_000_000))
        journal = Journal(disk / "journal.db", SystemClock(), group_s=0.0)
        check_full(journal, ballast.unlink)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def check_full(journal: Journal, make_room: Callable[[], object]) -> None:
    """Fill it, see the errors, make room: all that was accepted is there once, in order."""
    accepted: list[Event] = []
    full = ""
    while not full:
        assert len(accepted) < 10 * journal_module.BOUND, "it never filled"
        group = [crossing(n) for n in range(len(accepted), len(accepted) + 50)]
        try:
            journal.append(group)
            accepted += group
        except DiskFull as e:
            full = str(e)
    assert "journal.db cannot grow" in full
    assert "free some space" in full
    assert len(accepted) - len(journal.read(0, 1 << 30)) > journal_module.BOUND - 50, "only at the bound"
    assert not journal.healthy
    assert "cannot grow" in journal.stats().problem
    with pytest.raises(DiskFull):
        journal.flush()
    with pytest.raises(DiskFull):
        journal.put_segment(segment("never"))
    assert journal.segments() == []
    make_room()
    until = time.monotonic() + 20
    while journal.stats().queued and time.monotonic() < until:
        time.sleep(0.02)
    assert journal.healthy
    assert journal.stats().problem == ""
    assert [r.event for r in journal.read(0, 1 << 30)] == accepted
    assert journal.segments() == [], "what was refused did not happen later"
    journal.close()


def test_closing_on_a_full_disk_says_how_many_events_are_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", SystemClock(), group_s=0.0, max_bytes=300_000)
    journal.append([crossing(n) for n in range(5000)])
    with pytest.raises(DiskFull, match=r"\d+ events are not in the journal"):
        journal.close()
    with pytest.raises(StorageError, match="is closed"):
        journal.append([crossing(0)])


def test_a_file_in_the_folder_s_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("")
    with pytest.raises(StorageError, match=r"folder/journal\.db"):
        Journal(tmp_path / "folder" / "journal.db", ManualClock())


def test_a_read_only_folder_is_named_with_the_mend(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if os.geteuid() == 0:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("root may write anywhere, and mounting is not allowed here")
    else:
        folder.chmod(0o500)
    try:
        with pytest.raises(
            StorageError, match=r"folder/journal\.db cannot be written.*make its folder writable"
        ):
            Journal(folder / "journal.db", ManualClock())
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(folder)], check=True)


def test_another_process_s_long_transaction_delays_but_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path, SystemClock(), group_s=0.0)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    journal.append([crossing(0)])
    timer = threading.Timer(0.5, other.execute, ("COMMIT",))
    timer.start()
    journal.flush()
    assert len(journal.read(0, 9)) == 1
    timer.join()
    other.close()
    journal.close()


def test_threads_append_and_read_at_once(journal: Journal) -> None:
    def work(n: int) -> None:
        for i in range(100):
            journal.append([crossing(i, source=f"/s/camera/{n}")])
            if i % 20 == 0:
                journal.flush()
                journal.read(0, 10)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    journal.flush()
    seen: dict[str, list[int]] = {}
    for record in journal.read(0, 1000):
        seen.setdefault(record.event.source, []).append(record.event.sequence)
    assert seen == {f"/s/camera/{n}": list(range(100)) for n in range(6)}


@pytest.mark.slow
def test_killed_at_any_moment_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    """20 kills of one journal; each life goes on a little before where the last one got to."""
    path = tmp_path / "journal.db"
    moments = random.Random(5)
    acknowledged = 0
    for _ in range(20):
        start = max(acknowledged - 7, 0)
        command = [sys.executable, "-m", "testbed.journal_load", str(path), "--events", "1000000"]
        process = subprocess.Popen(
            [*command, "--group", "5", "--start", str(start)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        lines = [line, *process.stdout]
        process.wait()
        process.stdout.close()
        acknowledged = max([acknowledged, *(int(text) for text in lines if text.endswith("\n"))])
        journal = Journal(path, ManualClock())
        sequences = [r.event.sequence for r in journal.read(0, 1 << 30)]
        journal.close()
        assert sequences == list(range(len(sequences)))
        assert len(sequences) >= acknowledged
    assert acknowledged > 100

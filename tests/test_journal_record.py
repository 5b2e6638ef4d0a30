"""What is recorded with the journal's own numbers: once, without a hole, together with its state."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import codec
from events.clock import ManualClock, SystemClock
from events.errors import DiskFull
from events.events import Reading, sensor_source
from events.ids import event_id
from events.noted import Noted
from storage.journal import BOUND, Journal
from tests.contracts.examples import health
from tests.test_journal import raise_bound

ROOT = Path(__file__).parents[1]


def noted(n: int, sensor: str = "m1", id: str = "") -> Noted:
    data = Reading(quantity="level", value=n / 10, unit="m", received_us=n)
    return Noted(sensor_source("s", sensor), id or event_id("s", sensor, "level", n), data, n)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db", ManualClock(), group_s=0.0)
    yield journal
    journal.close()


def kept(journal: Journal) -> list[tuple[str, str, int, int]]:
    events = [record.event for record in journal.read(0, 1_000_000)]
    return [(e.source, e.family, e.epoch, e.sequence) for e in events]


def test_recorded_events_are_numbered_by_source_and_family(journal: Journal) -> None:
    wet = Noted(sensor_source("s", "m1"), event_id("wet"), health("note"), 5)
    journal.record([noted(0), noted(1, "m2"), noted(1), wet, noted(2)])
    journal.note(sensor_source("s", "m1"), health("note"), 6)
    journal.flush()
    one, two, epoch = "/s/sensor/m1", "/s/sensor/m2", journal.epoch
    assert kept(journal) == [
        (one, "sensor", epoch, 0),
        (two, "sensor", epoch, 0),
        (one, "sensor", epoch, 1),
        (one, "health", epoch, 0),
        (one, "sensor", epoch, 2),
        (one, "health", epoch, 1),
    ]
    first = journal.read(0, 1)[0].event
    assert (first.id, first.time_us, first.data) == (noted(0).id, 0, noted(0).data)


def test_an_id_that_is_there_uses_no_number(journal: Journal) -> None:
    journal.record([noted(0), noted(1), noted(0)])
    journal.record([noted(1), noted(2), noted(0), noted(3)])
    journal.flush()
    events = [record.event for record in journal.read(0, 99)]
    assert [(e.time_us, e.sequence) for e in events] == [(n, n) for n in range(4)]
    assert journal.stats().repeats == 3
    assert journal.stats().conflicts == 0


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=8), reopen=st.integers(0, 8))
def test_each_is_kept_once_and_without_a_hole(
    batches: list[list[int]], reopen: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    clock = ManualClock()
    journal = Journal(path, clock, synchronous="OFF", group_s=0.0)
    for n, batch in enumerate(batches):
        if n == reopen:
            journal.close()
            clock.advance(1)
            journal = Journal(path, clock, synchronous="OFF", group_s=0.0)
        journal.record([noted(i, f"m{i % 3}") for i in batch])
    journal.flush()
    events = [record.event for record in journal.read(0, 999)]
    journal.close()
    assert sorted(e.time_us for e in events) == sorted({i for batch in batches for i in batch})
    next_number: dict[tuple[str, int], int] = {}
    for e in events:
        assert e.sequence == next_number.get((e.source, e.epoch), 0)
        next_number[e.source, e.epoch] = e.sequence + 1


def test_state_is_kept_with_the_events(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", ManualClock())
    assert journal.state("rules") is None
    journal.record([noted(0)], state=("rules", b"\x00a"), states=[("rules/b", b"1"), ("rules/a", b"2")])
    journal.record([noted(0)], state=("rules", b"c"))
    journal.record([], states=[("other", b"3")])
    journal.close()
    journal = Journal(tmp_path / "journal.db", ManualClock())
    assert journal.state("rules") == b"c"
    assert journal.states("rules/") == {"rules/a": (1, b"2"), "rules/b": (1, b"1")}
    journal.record([noted(1)], states=[("rules/b", b"4")])
    journal.flush()
    assert journal.states("rules/b") == {"rules/b": (2, b"4")}
    journal.forget_state("rules/a")
    journal.flush()
    assert list(journal.states("")) == ["other", "rules", "rules/b"]
    assert len(journal.read(0, 9)) == 2
    journal.close()


def test_done_is_called_after_the_commit(journal: Journal) -> None:
    seen: list[tuple[str, int]] = []

    def done() -> None:
        other = sqlite3.connect(journal.path)  # sees only what was committed
        seen.append(
            (threading.current_thread().name, other.execute("SELECT count(*) FROM events").fetchone()[0])
        )
        other.close()

    journal.record([noted(0), noted(1)], done=done)
    journal.record([noted(1)], done=done)  # nothing new in it: it is done all the same
    journal.flush()
    assert [count for _, count in seen] == [2, 2]
    assert all(name != threading.current_thread().name for name, _ in seen)


def test_what_cannot_be_written_fails_at_its_maker(journal: Journal) -> None:
    wrong = Noted("/s/sensor/x", "id", health(object()), 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        journal.record([noted(0), wrong])
    journal.flush()
    assert journal.read(0, 9) == []


def test_numbers_have_no_hole_after_a_full_disk(tmp_path: Path) -> None:
    """What a failed transaction gave is given again."""
    journal = Journal(tmp_path / "journal.db", SystemClock(), group_s=0.0, max_bytes=400_000)
    called: list[int] = []
    sent = 0
    while journal.healthy:
        assert sent < BOUND, "it never filled"
        journal.record([noted(sent + i) for i in range(50)], done=lambda: called.append(50))
        sent += 50
        time.sleep(0.002)
    with pytest.raises(DiskFull):
        journal.flush()
    stored = len(journal.read(0, 1 << 30))
    assert 0 < stored == sum(called) < sent
    raise_bound(journal)
    until = time.monotonic() + 20
    while journal.stats().queued and time.monotonic() < until:
        time.sleep(0.02)
    assert [r.event.sequence for r in journal.read(0, 1 << 30)] == list(range(sent))
    assert sum(called) == sent
    journal.close()


def test_a_file_of_the_first_form_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    script = (ROOT / "storage/sql/journal.001.sql").read_text()
    old = sqlite3.connect(path)
    old.executescript(script)
    old.execute("PRAGMA user_version = 1")
    old.close()
    journal = Journal(path, ManualClock())
    journal.record([noted(0)], state=("a", b"b"))
    journal.flush()
    assert journal.state("a") == b"b"
    journal.close()


KILLED = """
import sys
from pathlib import Path
from events.clock import SystemClock
from storage.journal import Journal
from tests.test_journal_record import noted

journal = Journal(Path(sys.argv[1]), SystemClock(), group_s=0.0)
n = int(sys.argv[2])
while True:
    n += 7
    journal.record([noted(i) for i in range(n - 7, n)], state=("next", str(n).encode()))
"""


def test_state_and_events_agree_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    start = 0
    for _ in range(3):
        command = [sys.executable, "-c", KILLED, str(path), str(start)]
        process = subprocess.Popen(command, cwd=ROOT)
        time.sleep(1.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        journal = Journal(path, ManualClock())
        start = int(journal.state("next") or 0)
        assert [r.event.time_us for r in journal.read(0, 1_000_000)] == list(range(start))
        journal.close()
    assert start > 0


def test_its_bytes_are_those_of_any_event(journal: Journal) -> None:
    journal.record([noted(3)])
    journal.flush()
    event = journal.read(0, 1)[0].event
    raw = sqlite3.connect(journal.path).execute("SELECT body FROM events").fetchone()[0]
    assert raw == codec.encode(event)

"""The embedded bus passes the bus contract; what is its own is that other processes' commits arrive too."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.clock import ManualClock, SystemClock
from events.events import Event
from storage.journal import Journal
from storage.logbus import LogBus
from tests.contracts.bus import BusContract, Log
from tests.contracts.examples import crossing, event, health


class JournalLog:
    quiet_s = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self.journal = Journal(self.path, SystemClock(), group_s=0.0)
        self.bus = LogBus(self.journal, SystemClock())

    def publish(self, events: list[Event]) -> None:
        self.journal.append(events)
        self.journal.flush()

    def restart(self) -> None:
        self.journal.close()
        self._open()


class TestLogBus(BusContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        log = JournalLog(tmp_path / "journal.db")
        yield log
        log.journal.close()


def test_another_process_s_events_arrive(tmp_path: Path) -> None:
    log = JournalLog(tmp_path / "journal.db")
    sub = log.bus.subscribe("g")
    code = (
        "import sys; from pathlib import Path; from tests.test_logbus import JournalLog, crossing;"
        "log = JournalLog(Path(sys.argv[1])); log.publish([crossing(7)]); log.journal.close()"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, str(log.path)], cwd=root, check=True, timeout=60)
    assert [r.event.sequence for r in sub.poll(10.0)] == [7]
    log.journal.close()


def test_a_clock_that_stands_still_does_not_hang_the_wait(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = Journal(tmp_path / "journal.db", clock)
    assert LogBus(journal, clock).subscribe("g").poll(0.2) == []
    journal.close()


def test_other_families_are_not_read_again_at_each_poll(tmp_path: Path) -> None:
    log = JournalLog(tmp_path / "journal.db")
    log.publish([crossing(n) for n in range(50)])
    sub = log.bus.subscribe("g", ("health",))
    assert sub.poll(0.0) == []
    reads: list[int] = []
    page = log.journal.page
    log.journal.page = lambda after, *rest: reads.append(after) or page(after, *rest)  # type: ignore[method-assign,func-returns-value]
    assert sub.poll(0.0) == []
    log.publish([event(health("raised"), 0)])
    assert len(sub.poll(0.0)) == 1
    assert reads == [50]
    log.journal.close()

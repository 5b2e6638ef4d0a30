"""What is made after an event: one that cannot be worked off stops neither the others nor the service."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from events.bus import Record
from events.clock import ManualClock
from events.events import Judged, camera_source
from pipeline.afterwork import PATIENCE_S, Afterwork, Job, Step
from storage.journal import Journal
from storage.logbus import LogBus


class Odd(Afterwork):
    """Has a fault that shows with one event."""

    done: list[str]

    def _steps(self, record: Record) -> Sequence[Step]:
        return (self._work,)

    def _work(self, job: Job, patient: bool, waits: bool) -> bool:
        data = job.event.data
        assert isinstance(data, Judged)
        if data.alert == "bad":
            raise KeyError(data.alert)
        self.done.append(data.alert)
        return True


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db", ManualClock(1_700_000_000_000_000))
    yield opened
    opened.close()


def test_a_fault_of_ours_costs_one_event_its_pictures_and_no_more(journal: Journal) -> None:
    clock = ManualClock(1_700_000_000_000_000)
    bus = LogBus(journal, clock)
    service = Odd(bus, "odd", ("judgement",), clock)
    service.done = []
    subscription = bus.subscribe("odd", ("judgement",))
    for alert in ("bad", "good"):
        journal.note(camera_source("town", "gate"), Judged(alert=alert, rule="r", verdict="true", who="w"), 1)
    journal.flush()
    service._round(subscription, False)
    assert service.done == ["good"]
    assert journal.committed("odd") < journal.last_offset()  # it may go better in a moment
    clock.advance(PATIENCE_S + 1)
    service._round(subscription, False)
    assert journal.committed("odd") == journal.last_offset()
    subscription.close()

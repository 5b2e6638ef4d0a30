"""Judgements reach the loop of their camera, once or twice but never not at all."""

from pathlib import Path

import pytest

from events.clock import ManualClock
from events.events import Judged, camera_source
from pipeline.judgements import Judgements
from pipeline.lane import Lane
from pipeline.policy import Limits, Live
from storage import trace
from storage.journal import Journal
from tests.clipmaker import START_US
from tests.loopmaker import make_lane

GATE = camera_source("town", "gate")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db", ManualClock(START_US))


def lanes() -> dict[str, Lane]:
    made, _ = make_lane(Live(Limits()))
    return {GATE: made}


def judge(journal: Journal, alert: str, source: str = GATE) -> None:
    journal.note(source, Judged(alert=alert, rule="yard", verdict="true", who="desk"), START_US)
    journal.flush()


def told(by: dict[str, Lane], pts: int = 900) -> list[str]:
    return [line.alert for line in by[GATE].policy.told(pts) if isinstance(line, trace.Verdict)]


def test_each_camera_is_told_its_own_at_the_next_packet(journal: Journal) -> None:
    by = lanes()
    reader = Judgements("worker-0", journal, by)
    judge(journal, "a1")
    judge(journal, "b1", camera_source("town", "other"))
    reader.poll()
    lines = by[GATE].policy.told(900)
    assert list(lines) == [trace.Verdict(pts=900, alert="a1", verdict="true")]
    reader.poll()
    assert told(by) == []


def test_after_a_kill_nothing_is_left_out_and_what_is_long_told_is_not_repeated(
    journal: Journal,
) -> None:
    by = lanes()
    reader = Judgements("worker-0", journal, by)
    judge(journal, "a1")
    for _ in range(3):
        reader.poll()
        told(by)
    judge(journal, "a2")
    reader.poll()  # read, but the loop has had no packet: killed here
    journal.flush()
    by = lanes()
    Judgements("worker-0", journal, by).poll()
    assert told(by) == ["a2"]


def test_while_a_camera_is_away_its_judgements_are_kept_for_it(journal: Journal) -> None:
    by = lanes()
    reader = Judgements("worker-0", journal, by)
    judge(journal, "a1")
    for _ in range(5):
        reader.poll()  # no packet comes
    journal.flush()
    by = lanes()
    Judgements("worker-0", journal, by).poll()
    assert told(by) == ["a1"]

"""After a kill: the same loop over what was recorded gives what the kill took, once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli import wiring
from events import codec
from events.errors import DiskFull
from events.events import AlertCleared, AlertRaised, Event
from pipeline.lane import Lane
from pipeline.meter import Meter
from pipeline.policy import AsSeen
from pipeline.resume import last_run, resume, unfinished
from pipeline.sink import RESUMED, JournalSink
from storage import trace
from storage.recovery import recover
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("resume") / "clip.mp4", 12, visits((15, 40), (60, 100)))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Recorded]:
    opened = open_site(tmp_path)
    yield opened
    opened.journal.close()


def again(site: Recorded) -> int:
    """What a worker does at its start."""
    recover(site.footage, site.journal, ["gate"])
    seconds = 0
    for epoch in unfinished(site.journal, "gate", "main"):
        seconds += resume(site.journal, epoch, site.footage, site.model, site.make_lane, site.sink)
    site.journal.flush()
    return seconds


def plain(events: list[Event]) -> list[str]:
    """Type, subject and media time: all but ids and epochs."""
    return [f"{e.type} {getattr(e.data, 'rule', '')} {e.pts}" for e in events]


@pytest.mark.parametrize("killed_at", [3, 20, 33, 61, 64, 80, 99])
def test_what_a_kill_took_comes_again_once(
    site: Recorded, clip: Path, tmp_path: Path, killed_at: int
) -> None:
    record(site, clip, killed_at=killed_at)
    before = site.events()
    again(site)
    after = site.events()
    assert [codec.encode(e) for e in after[: len(before)]] == [codec.encode(e) for e in before]
    assert site.journal.stats().conflicts == 0
    assert not unfinished(site.journal, "gate", "main")
    (tmp_path / "whole").mkdir()
    whole = open_site(tmp_path / "whole")
    record(whole, clip)
    expected = plain([e for e in whole.events() if e.pts < (killed_at - 5) * 9000])
    whole.journal.close()
    assert plain(after)[: len(expected)] == expected
    assert again(site) == 0  # nothing is left to do
    assert site.events() == after


def test_traces_are_whole_after_a_resume(site: Recorded, clip: Path) -> None:
    record(site, clip, killed_at=64)
    again(site)
    assert not list(site.footage.rglob(f"*{RESUMED}"))
    assert not list(site.footage.rglob("*.part"))
    traces = [site.footage / row.trace_path for row in site.journal.segments() if row.trace_path]
    assert len(traces) == 3
    assert all(path.stat().st_size > 50 for path in traces)


def test_only_the_end_is_analysed_again(site: Recorded, clip: Path) -> None:
    """From the last snapshot on, not from the epoch's beginning."""
    epoch = record(site, clip, killed_at=99)
    recover(site.footage, site.journal, ["gate"])
    row = next(e for e in site.journal.epochs("gate", "main") if e.epoch == epoch)
    run = last_run(site.journal, row)
    assert run is not None
    assert [segment.n for segment in run.segments] == [4]


def test_an_alert_of_footage_that_is_lost_is_cleared(site: Recorded, clip: Path) -> None:
    """The analysis was ahead of the disk: the alert is committed, the pictures are gone."""
    done = 0
    for killed_at in range(30, 42):
        record(site, clip, killed_at=killed_at)
        site.clock.advance(60)
    before = {e.id for e in site.events()}
    again(site)
    alerts: dict[str, list[str]] = {}
    for e in site.events():
        if e.family == "alert":
            alerts.setdefault(e.data.alert, []).append(e.type)
    assert alerts
    for types in alerts.values():
        assert types[0] == "linli.alert.raised.v1"
        assert types[-1] == "linli.alert.cleared.v1"
        done += 1
    assert before < {e.id for e in site.events()}
    numbers: dict[tuple[int, str], list[int]] = {}
    for e in site.events():
        numbers.setdefault((e.epoch, e.family), []).append(e.sequence)
    assert all(found == list(range(len(found))) for found in numbers.values())
    assert done >= 5
    raised = {e.data.alert: e for e in site.events() if isinstance(e.data, AlertRaised)}
    ended = [e.data for e in site.events() if isinstance(e.data, AlertCleared)]
    assert [d for d in ended if d.until_us == raised[d.alert].time_us]  # the rules did not know of these


def test_an_epoch_without_footage_is_ended(site: Recorded, clip: Path) -> None:
    record(site, clip, killed_at=30)
    for path in site.footage.rglob("*.mp4*"):
        path.unlink()
    again(site)
    (epoch,) = site.journal.epochs("gate", "main")
    assert epoch.end_pts is not None
    assert "killed" in str(epoch.reason) or "not resumed" in str(epoch.reason)


def broken(error: Exception) -> Callable[[JournalSink, AsSeen], Lane]:
    def make(*_: object) -> Lane:
        raise error

    return make


def test_footage_that_breaks_the_analysis_is_tried_once(site: Recorded, clip: Path) -> None:
    """Or the worker would fall at each start, and all its cameras with it."""
    record(site, clip, killed_at=30)
    (epoch,) = unfinished(site.journal, "gate", "main")
    assert resume(site.journal, epoch, site.footage, site.model, broken(ValueError("x")), site.sink) == 0
    site.journal.flush()
    assert not unfinished(site.journal, "gate", "main")


def test_a_full_disk_at_the_start_gives_nothing_up(site: Recorded, clip: Path) -> None:
    record(site, clip, killed_at=30)
    (epoch,) = unfinished(site.journal, "gate", "main")
    with pytest.raises(DiskFull):
        resume(site.journal, epoch, site.footage, site.model, broken(DiskFull("no room")), site.sink)
    site.journal.flush()
    assert unfinished(site.journal, "gate", "main") == [epoch]


def open_alerts(site: Recorded) -> list[str]:
    cleared = {e.data.alert for e in site.events() if isinstance(e.data, AlertCleared)}
    raised = [e.data.alert for e in site.events() if isinstance(e.data, AlertRaised)]
    return [alert for alert in raised if alert not in cleared]


def worker_starts(site: Recorded) -> Lane:
    """As in a worker's process: one loop that remembers the last snapshot, resumes, and lives on."""
    camera = site.loaded.camera("gate")
    recover(site.footage, site.journal, ["gate"])
    return wiring._lane(site.loaded, camera, site.model, site.journal, Meter(lambda: 0), site.clock)


def goes_on(site: Recorded, lane: Lane, clip: Path) -> None:
    """The next epoch, through the lane that a worker's start left."""
    site.clock.advance(5)
    record(site, clip, lane=lane)


@pytest.mark.parametrize("killed_at", [33, 36, 64, 80])
@pytest.mark.parametrize("fails", ["the footage", "the detector", "the trace"])
def test_a_resume_that_fails_leaves_no_alert_open_and_no_number_taken(
    site: Recorded, clip: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int, fails: str
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    record(site, clip, killed_at=killed_at)
    before = open_alerts(site)
    with monkeypatch.context() as broken:
        if fails == "the detector":
            broken.setattr(site.model, "detect", fail)
        else:
            broken.setattr(f"pipeline.resume.{'drive' if fails == 'the footage' else 'traced'}", fail)
        lane = worker_starts(site)
    assert before or killed_at > 36
    assert open_alerts(site) == []
    goes_on(site, lane, clip)
    assert open_alerts(site) == []
    assert site.journal.stats().conflicts == 0
    assert not unfinished(site.journal, "gate", "main")
    numbers: dict[tuple[int, str], list[int]] = {}
    for e in site.events():
        numbers.setdefault((e.epoch, e.family), []).append(e.sequence)
    assert len({epoch for epoch, _ in numbers}) == 2
    assert all(found == list(range(len(found))) for found in numbers.values())
    ids = [e.data.alert for e in site.events() if isinstance(e.data, AlertCleared)]
    assert len(ids) == len(set(ids))  # none was cleared twice


@pytest.mark.parametrize("killed_at", [33, 36, 64, 80])
def test_an_analysis_given_up_before_a_restart_is_ended_then(
    site: Recorded, clip: Path, killed_at: int
) -> None:
    epoch = record(site, clip, killed_at=killed_at)
    site.journal.end_epoch(
        "gate", "main", epoch, killed_at * 9000, "the analysis failed"
    )  # as `gave_up` does
    lane = worker_starts(site)
    assert open_alerts(site) == []
    goes_on(site, lane, clip)
    assert site.journal.stats().conflicts == 0
    assert open_alerts(site) == []


def test_rules_that_cannot_be_ended_leave_no_alert_open(
    site: Recorded, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    record(site, clip, killed_at=36)
    assert open_alerts(site)
    with monkeypatch.context() as broken:
        broken.setattr("pipeline.resume.drive", fail)
        broken.setattr("events.engine.Engine.end", fail)
        lane = worker_starts(site)
    assert open_alerts(site) == []
    goes_on(site, lane, clip)
    assert site.journal.stats().conflicts == 0
    assert open_alerts(site) == []


def test_a_damaged_line_of_the_trace_does_not_stop_a_resume(site: Recorded, clip: Path) -> None:
    record(site, clip, killed_at=37)
    for path in site.footage.rglob("*.trace*"):
        raw = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([b"{garbage\n", *raw[1:-1], b"{garbage\n"]))
    assert again(site) > 0
    (epoch,) = site.journal.epochs("gate", "main")
    assert epoch.reason == "killed"
    for path in site.footage.rglob("*.trace*"):
        lines = trace.read_trace(path)
        if path.stem.startswith(site.journal.segments()[-1].id):
            assert isinstance(lines[0], trace.Open)

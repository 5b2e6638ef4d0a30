"""After a kill: the same loop over what was recorded gives what the kill took, once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from events import codec
from events.errors import DiskFull
from events.events import AlertCleared, AlertRaised, Event
from pipeline.lane import Lane
from pipeline.policy import AsSeen
from pipeline.resume import last_run, resume, unfinished
from pipeline.sink import RESUMED, JournalSink
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

"""What has to go goes, an open alert's footage stays, and a full disk is told once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import wiring
from events.errors import DiskFull, StorageError
from events.events import Health
from pipeline.housekeeping import Housekeeper
from pipeline.projector import catch_up
from storage.retention import Hold, Limits
from storage.store import SqliteStore
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Recorded]:
    opened = open_site(tmp_path)
    record(opened, draw(tmp_path / "clip.mp4", 8, visits((15, 40))))
    yield opened
    opened.journal.close()


def keeper(site: Recorded, limits: Limits, holds: list[Hold] | None = None) -> Housekeeper:
    return Housekeeper(
        site.journal, site.footage, limits, lambda: holds or [], lambda _: 0, "/town/box/here", site.clock
    )


def disk_health(site: Recorded) -> list[str]:
    site.journal.flush()
    records = site.journal.read(0, 999, ("health",))
    return [r.event.data.state for r in records if isinstance(r.event.data, Health)]


def test_old_footage_goes_with_its_trace_and_its_row(site: Recorded) -> None:
    rows = site.journal.segments()
    assert len(rows) == 4
    site.clock.advance(3600)
    freed = keeper(site, Limits(max_age_s=1800)).sweep()
    assert freed == sum(row.bytes for row in rows)
    assert site.journal.segments() == []
    assert not [p for p in site.footage.rglob("*") if p.is_file()]


def test_the_oldest_goes_first_until_there_is_room(site: Recorded) -> None:
    rows = site.journal.segments()
    keeper(site, Limits(max_bytes=sum(row.bytes for row in rows[2:]))).sweep()
    assert [row.id for row in site.journal.segments()] == [row.id for row in rows[2:]]


def test_what_an_open_alert_needs_stays_and_the_lack_is_told_once(site: Recorded) -> None:
    rows = site.journal.segments()
    hold = Hold("gate", rows[0].start_us, rows[-1].end_us)
    housekeeper = keeper(site, Limits(max_bytes=1), [hold])
    housekeeper.sweep()
    housekeeper.sweep()
    assert len(site.journal.segments()) == 4
    assert disk_health(site) == ["raised"]
    housekeeper._holds = list
    housekeeper.sweep()
    assert site.journal.segments() == []
    housekeeper.sweep()
    assert disk_health(site) == ["raised", "cleared"]


def test_a_store_that_is_away_keeps_no_footage_from_going(
    site: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    """What it said last is still held."""
    rows = site.journal.segments()
    asked: list[int] = []

    def away() -> list[Hold]:
        asked.append(1)
        if len(asked) > 1:
            raise StorageError("the store does not answer")
        return [Hold("gate", rows[-1].start_us + 1, rows[-1].end_us)]

    housekeeper = keeper(site, Limits(max_bytes=1))
    housekeeper._holds = away
    housekeeper._limits = Limits(max_bytes=sum(row.bytes for row in rows))
    housekeeper.sweep()
    assert len(site.journal.segments()) == 4
    housekeeper._limits = Limits(max_bytes=1)
    housekeeper.sweep()
    assert [row.id for row in site.journal.segments()] == [rows[-1].id]
    assert "the store does not answer" in caplog.text


def test_a_reserve_that_is_there_deletes_nothing(site: Recorded) -> None:
    assert keeper(site, Limits(reserve_bytes=1)).sweep() == 0
    assert len(site.journal.segments()) == 4


def test_events_that_everyone_has_are_pruned(site: Recorded) -> None:
    site.journal.add_consumer("projector")
    site.journal.commit("projector", site.journal.last_offset())
    site.clock.advance(3600)
    keeper(site, Limits(max_age_s=1800)).sweep()
    assert site.events() == []


def test_a_consumer_that_stays_behind_is_named_once_and_with_the_mend(site: Recorded) -> None:
    for group in ("projector", "evidence", "once"):
        site.journal.add_consumer(group)
    site.journal.commit("projector", site.journal.last_offset())
    housekeeper = keeper(site, Limits(max_age_s=1800))
    housekeeper.sweep()
    site.journal.flush()
    assert not site.journal.read(0, 99, ("health",))  # it has half an hour yet
    site.clock.advance(3600)
    housekeeper.sweep()
    housekeeper.sweep()
    site.journal.flush()
    (said,) = [r.event.data for r in site.journal.read(0, 99, ("health",))]
    assert isinstance(said, Health)
    assert (said.what, said.state) == ("consumer", "raised")
    assert "once left events unread" in said.message
    assert "linli tail SITE --forget once" in said.message
    site.journal.forget_consumer("once")
    again = keeper(site, Limits(max_age_s=1800))  # restarted: it knows what was said
    again.sweep()
    again.sweep()
    assert disk_health(site) == ["raised", "cleared"]


def test_what_is_no_footage_is_looked_through_once_an_hour(site: Recorded) -> None:
    asked: list[int] = []
    housekeeper = keeper(site, Limits(max_age_s=1800))
    housekeeper._old = lambda before_us: asked.append(before_us) or 0  # type: ignore[func-returns-value]
    for _ in range(5):
        housekeeper.sweep()
        site.clock.advance(30)
    assert len(asked) == 1
    site.clock.advance(3600)
    housekeeper.sweep()
    assert len(asked) == 2


def test_people_s_pictures_go_though_the_journal_takes_nothing(
    site: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> int:
        raise DiskFull("no room")

    asked: list[int] = []
    housekeeper = keeper(site, Limits(max_age_s=1800))
    housekeeper._old = lambda before_us: asked.append(before_us) or 0  # type: ignore[func-returns-value]
    monkeypatch.setattr(site.journal, "prune", full)
    with pytest.raises(DiskFull):
        housekeeper.sweep()
    assert len(asked) == 1


def test_a_site_s_store_is_pruned_with_the_rest(site: Recorded) -> None:
    path = wiring.Paths(site.loaded.data).store
    store = SqliteStore(path)
    while catch_up(site.bus.subscribe("projector"), store):
        pass
    assert store.sizes().events > 4
    site.clock.advance(31 * 86_400)
    services = wiring.services(site.loaded, site.clock)
    (housekeeper,) = [service for service in services if isinstance(service, Housekeeper)]
    housekeeper.sweep()
    housekeeper._journal.close()
    assert store.sizes().events == 1  # the newest one
    assert store.sizes().alerts == store.sizes().open_alerts
    store.close()


def test_a_folder_that_is_gone_does_not_end_the_thread(
    site: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.housekeeping.EVERY_S", 0.05)
    housekeeper = keeper(site, Limits(max_bytes=1))
    housekeeper._footage = site.footage / "gone"
    housekeeper.start()
    while "housekeeping:" not in caplog.text:
        assert housekeeper.alive
    assert housekeeper.alive
    housekeeper.stop()
    assert not housekeeper.alive


def test_a_lack_told_before_a_restart_is_cleared_after_it(site: Recorded) -> None:
    rows = site.journal.segments()
    keeper(site, Limits(max_bytes=1), [Hold("gate", rows[0].start_us, rows[-1].end_us)]).sweep()
    assert disk_health(site) == ["raised"]
    keeper(site, Limits(max_bytes=1)).sweep()
    assert disk_health(site) == ["raised", "cleared"]

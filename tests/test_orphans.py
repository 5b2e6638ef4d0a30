"""Alerts of what the site has no more are cleared; all others stay."""

from pathlib import Path

from events.clock import ManualClock
from pipeline.projector import catch_up
from storage.journal import Journal
from storage.logbus import LogBus
from storage.orphans import clear_orphans
from storage.store import SqliteStore
from tests.contracts.examples import EPOCH, SENSOR, alert, event


def test_open_alerts_of_a_camera_that_is_gone_are_cleared_once(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = Journal(tmp_path / "journal.db", clock)
    bus, store = LogBus(journal, clock), SqliteStore(tmp_path / "store.db")
    subscription = bus.subscribe("store")
    raised = alert("old", 0)[0].data
    journal.append(
        [
            event(alert("kept", 0)[0].data, 0, source="/site/camera/gate"),
            event(raised, 0, source="/site/camera/gone"),
            event(alert("done", 0)[0].data, 1, source="/site/camera/gone"),
            event(alert("done", 0)[2].data, 2, source="/site/camera/gone"),
            event(alert("lid", 0)[0].data, 0, source=SENSOR),
            event(alert("other", 0)[0].data, 0, source="/elsewhere/camera/gone"),
        ]
    )

    def clear() -> int:
        journal.flush()
        while catch_up(subscription, store):
            pass
        return clear_orphans(store, journal, "/site/camera/", {"gate"}, EPOCH + 9)

    assert clear() == 1
    assert clear() == 0
    row = store.alert("old")
    assert row is not None
    assert (row.state, row.reason, row.until_us, row.cleared_us) == (
        "cleared",
        "rule-removed",
        EPOCH,
        EPOCH + 9,
    )
    assert {a.alert for a in store.alerts(open_only=True)} == {"kept", "lid", "other"}
    done = store.alert("done")
    assert done is not None
    assert done.reason == "left"
    store.close()
    journal.close()

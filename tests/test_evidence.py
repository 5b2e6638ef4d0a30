"""Pictures and clips of alerts: cut once, after a kill again, never in the way of others."""

import errno
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from events.errors import DiskFull
from events.events import AlertCleared, AlertRaised
from pipeline.afterwork import LAST_S, PATIENCE_S, Job
from pipeline.evidence import GROUP, Evidence, EvidenceSettings, sweep_evidence
from pipeline.projector import catch_up
from storage.objects import FolderObjects
from storage.store import SqliteStore
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record
from tests.siteworks import until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Recorded]:
    """Two visits, so two alerts."""
    opened = open_site(tmp_path)
    record(opened, draw(tmp_path / "clip.mp4", 18, visits((25, 60), (85, 115))))
    opened.clock.advance(30)
    yield opened
    opened.journal.close()


def evidence(site: Recorded, objects: Path) -> Evidence:
    return Evidence(
        site.bus,
        site.journal,
        site.footage,
        FolderObjects(objects),
        lambda camera: "main",
        EvidenceSettings(pre_s=2.0, post_s=2.0),
        site.clock,
    )


def alerts(site: Recorded) -> list[AlertRaised]:
    return [e.data for e in site.events() if isinstance(e.data, AlertRaised)]


def test_each_alert_gets_its_picture_and_its_clip(site: Recorded, tmp_path: Path) -> None:
    worker = evidence(site, tmp_path / "objects")
    worker.start()
    assert worker.alive
    names = [data.alert for data in alerts(site)]
    assert len(names) == 2
    until(lambda: len(list((tmp_path / "objects").rglob("*.mp4"))) == 2, 20, "both clips are cut")
    worker.stop()
    assert not worker.alive
    assert site.journal.committed(GROUP) > 0
    for name in names:
        data = (tmp_path / "objects" / "pictures" / f"{name}.jpg").read_bytes()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture.shape == (180, 320)
        with av.open(str(tmp_path / "objects" / "clips" / f"{name}.mp4")) as clip:
            frames = sum(1 for _ in clip.decode(video=0))
        assert 25 <= frames <= 75  # from two seconds before to two after


def test_people_are_pixelated_in_the_picture(site: Recorded, tmp_path: Path) -> None:
    """The box is striped every eight rows; pixelated, its stripes are gone."""
    worker = evidence(site, tmp_path / "objects")
    worker.start()
    until(lambda: list((tmp_path / "objects").rglob("*.jpg")), 20, "the first picture")
    worker.stop()
    first = alerts(site)[0]
    data = (tmp_path / "objects" / "pictures" / f"{first.alert}.jpg").read_bytes()
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).astype(int)
    x1, _, x2, _ = first.box
    column = picture[70:140, int((x1 + x2) / 2 * 320)]
    assert np.abs(np.diff(column)).max() < 120  # plain: 215 between stripe and box


def test_a_killed_worker_cuts_again_and_misses_none(site: Recorded, tmp_path: Path) -> None:
    """What was read but not done is not committed."""
    clock = site.clock
    clock.step_wall(-1000)  # the footage seems not to have come yet
    first = evidence(site, tmp_path / "objects")
    subscription = site.bus.subscribe(GROUP, ("alert",))
    first._round(subscription, False)
    assert not list((tmp_path / "objects").rglob("*.*"))
    assert site.journal.committed(GROUP) < min(r.offset for r in site.journal.read(0, 99, ("alert",)))
    clock.step_wall(1000)
    second = evidence(site, tmp_path / "objects")
    second._round(site.bus.subscribe(GROUP, ("alert",)), False)
    assert len(list((tmp_path / "objects").rglob("*.mp4"))) == 2


def test_lost_footage_is_given_up_after_a_while_and_blocks_nobody(
    site: Recorded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for row in site.journal.segments()[:3]:
        (site.footage / row.path).unlink()
    worker = evidence(site, tmp_path / "objects")
    subscription = site.bus.subscribe(GROUP, ("alert",))
    worker._round(subscription, False)
    last = alerts(site)[-1].alert
    assert (tmp_path / "objects" / "clips" / f"{last}.mp4").exists()
    site.clock.advance(PATIENCE_S + 1)
    worker._round(subscription, False)
    assert "no evidence for" in caplog.text
    assert site.journal.committed(GROUP) == site.journal.last_offset()


def test_a_full_disk_is_waited_for_however_long_it_takes(
    site: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = evidence(site, tmp_path / "objects")
    subscription = site.bus.subscribe(GROUP, ("alert",))
    with monkeypatch.context() as full:
        full.setattr("storage.cutting.os.replace", no_room)
        with pytest.raises(DiskFull, match="free some space"):
            worker._round(subscription, False)
        site.clock.advance(PATIENCE_S + 1)
        with pytest.raises(DiskFull):
            worker._round(subscription, False)
        with pytest.raises(DiskFull):
            worker._round(subscription, True)
    first = site.journal.read(0, 1, ("alert",))[0].offset
    assert site.journal.committed(GROUP) < first
    worker._round(subscription, False)
    assert len(list((tmp_path / "objects").rglob("*.mp4"))) == 2
    assert site.journal.committed(GROUP) > first


def test_events_that_are_no_alerts_are_not_kept_for_it(tmp_path: Path) -> None:
    site = open_site(tmp_path)
    record(site, draw(tmp_path / "clip.mp4", 6, visits()))
    worker = evidence(site, tmp_path / "objects")
    worker._round(site.bus.subscribe(GROUP, ("alert",)), False)
    assert site.journal.committed(GROUP) == site.journal.last_offset() > 0
    site.journal.close()


def test_what_vanishes_while_it_is_swept_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, store = FolderObjects(tmp_path / "objects"), SqliteStore(tmp_path / "store.db")
    objects.put("clips/old.mp4", b"x")
    listed = lambda _, prefix: iter(["clips/gone.mp4", "clips/old.mp4"] if prefix == "clips/" else [])  # noqa: E731
    monkeypatch.setattr(FolderObjects, "keys", listed)
    assert sweep_evidence(objects, store, 1 << 60) == 1
    store.close()


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def running_site(tmp_path: Path) -> Recorded:
    """The second visit is at its height when the analysis stops, and the stream's epoch is open."""
    opened = open_site(tmp_path)
    record(opened, draw(tmp_path / "clip.mp4", 18, visits((25, 60), (85, 115))), killed_at=110)
    return opened


def test_a_stop_leaves_to_the_next_start_what_footage_still_comes_for(tmp_path: Path) -> None:
    site = running_site(tmp_path)
    first = evidence(site, tmp_path / "objects")
    subscription = site.bus.subscribe(GROUP, ("alert",))
    first._round(subscription, True)
    done, left = (data.alert for data in alerts(site))
    assert (tmp_path / "objects" / "clips" / f"{done}.mp4").exists()
    assert not (tmp_path / "objects" / "clips" / f"{left}.mp4").exists()
    records = site.journal.read(0, 99, ("alert",))
    offset = next(r.offset for r in records if r.event.subject == left)
    assert site.journal.committed(GROUP) < offset
    site.journal.end_epoch("gate", "main", site.journal.open_epochs()[0][2], 0, "killed")
    site.journal.flush()
    second = evidence(site, tmp_path / "objects")
    second._round(site.bus.subscribe(GROUP, ("alert",)), True)
    assert (tmp_path / "objects" / "clips" / f"{left}.mp4").exists()
    assert site.journal.committed(GROUP) >= offset
    site.journal.close()


def test_after_the_epoch_s_end_nothing_more_is_waited_for(tmp_path: Path) -> None:
    """The trace never comes to the moment after the alert; nothing else will."""
    site = running_site(tmp_path)
    site.clock.advance(30)
    worker = evidence(site, tmp_path / "objects")
    subscription = site.bus.subscribe(GROUP, ("alert",))
    worker._round(subscription, False)
    left = alerts(site)[-1].alert
    clip = tmp_path / "objects" / "clips" / f"{left}.mp4"
    assert not clip.exists()  # it is open: more may come
    site.journal.end_epoch("gate", "main", site.journal.open_epochs()[0][2], 0, "lost")
    site.journal.flush()
    worker._round(subscription, False)
    assert clip.exists()
    site.journal.close()


def test_evidence_of_closed_alerts_goes_when_its_time_is_up(site: Recorded, tmp_path: Path) -> None:
    objects, store = FolderObjects(tmp_path / "objects"), SqliteStore(tmp_path / "store.db")
    subscription = site.bus.subscribe("test")
    while catch_up(subscription, store):
        pass
    first, second = (data.alert for data in alerts(site))
    assert {row.state for row in store.alerts()} == {"cleared"}
    for name in (first, second, "unknown"):
        objects.put(f"pictures/{name}.jpg", b"x")
        objects.put(f"clips/{name}.mp4", b"x")
    row = store.alert(second)
    assert row is not None
    assert sweep_evidence(objects, store, row.raised_us) == 2  # only the first is older
    assert [Path(key).stem for key in objects.keys("clips/")] == sorted([second, "unknown"])
    assert sweep_evidence(objects, store, row.raised_us + 1) == 2
    assert list(objects.keys()) == ["clips/unknown.mp4", "pictures/unknown.jpg"]  # its file is new
    store.close()


def test_evidence_of_an_open_alert_stays(site: Recorded, tmp_path: Path) -> None:
    objects, store = FolderObjects(tmp_path / "objects"), SqliteStore(tmp_path / "store.db")
    records = site.bus.subscribe("test").poll(0.0, 1000)
    store.apply(site.journal.id, [r for r in records if not isinstance(r.event.data, AlertCleared)])
    name = alerts(site)[0].alert
    objects.put(f"clips/{name}.mp4", b"x")
    assert sweep_evidence(objects, store, 1 << 60) == 0
    assert list(objects.keys()) == [f"clips/{name}.mp4"]
    store.close()


def test_what_is_too_much_at_the_end_is_left_for_the_next_start(site: Recorded, tmp_path: Path) -> None:
    """A slow box with many alerts ends in time, and misses none."""
    first = evidence(site, tmp_path / "objects")
    cut = first._clip

    def slow(job: Job, patient: bool, waits: bool) -> bool:
        site.clock.advance(LAST_S)
        return cut(job, patient, waits)

    first._clip = slow  # type: ignore[method-assign]
    first.ask()
    first._run()
    assert len(list((tmp_path / "objects").rglob("*.mp4"))) == 1
    second = evidence(site, tmp_path / "objects")
    second._round(site.bus.subscribe(GROUP, ("alert",)), False)
    assert len(list((tmp_path / "objects").rglob("*.mp4"))) == 2

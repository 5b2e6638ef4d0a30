"""Portraits of captured faces: cut from the very picture, pixelated or sealed, once, and not again."""

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from events.errors import DiskFull
from events.events import FaceCaptured, FaceDeleted
from pipeline.afterwork import PATIENCE_S
from pipeline.moments import Moments
from pipeline.portraits import GROUP
from storage.objects import FolderObjects
from storage.sealing import unseal
from storage.store import SqliteStore
from storage.trace import Line, read_trace
from storage.whereabouts import PERSONAL
from tests.captured import CROPS, SEALED, WALK, captured, decoded, deleted, face_at, portraits
from tests.clipmaker import START_US
from tests.facekeys import IDENTITY, PASSPHRASE
from tests.loopmaker import SIZE, draw
from tests.recorded import Recorded, open_site, record
from tests.siteworks import until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Recorded]:
    """Somebody walks through once."""
    opened = open_site(tmp_path)
    record(opened, draw(tmp_path / "clip.mp4", 6, WALK))
    opened.clock.advance(30)
    yield opened
    opened.journal.close()


def kept(objects: Path) -> dict[str, bytes]:
    """What lies in the folder, by its ending."""
    return {path.suffix: path.read_bytes() for path in objects.rglob("*") if path.is_file()}


def made(site: Recorded, objects: Path, **more: object) -> dict[str, bytes]:
    """After one round of a fresh service."""
    worker = portraits(site, objects, **more)  # type: ignore[arg-type]
    subscription = site.bus.subscribe(GROUP, ("face",))
    worker._round(subscription, False)
    subscription.close()
    return kept(objects)


def committed(site: Recorded, data: FaceCaptured) -> bool:
    """Whether the service is done with the capture."""
    records = site.journal.read(0, 99, ("face",))
    offset = next(r.offset for r in records if r.event.subject == data.capture)
    return site.journal.committed(GROUP) >= offset


def test_the_service_makes_a_crop_and_a_sealed_original(site: Recorded, tmp_path: Path) -> None:
    data = captured(site, 25)
    worker = portraits(site, tmp_path / "objects")
    worker.start()
    until(lambda: len(kept(tmp_path / "objects")) == 2, 20, "both pictures are made")
    worker.stop()
    assert not worker.alive
    assert committed(site, data)
    objects = FolderObjects(tmp_path / "objects")
    assert list(objects.keys()) == [data.sealed, data.picture]


def test_they_are_cut_from_the_picture_that_the_event_names(site: Recorded, tmp_path: Path) -> None:
    """The box is 6.5 pixels further in the next picture: its edge tells which one it is."""
    for n, picture in enumerate((8, 25, 40)):
        folder = tmp_path / f"objects-{picture}"
        captured(site, picture, n)
        made(site, folder)
        sealed = next(path for path in folder.rglob("*.age") if path.stem == captured_id(site, n))
        grey = decoded(unseal(sealed.read_bytes(), IDENTITY, PASSPHRASE))
        left = max(int((face_at(picture)[0] - 20 / SIZE[0]) * SIZE[0]), 0)
        row = grey[35:40].mean(axis=0)  # between two stripes it is bright all over
        bright = np.nonzero(row > 205)[0]
        expected = round(float(WALK(picture) or 0)) - left
        assert abs(int(bright[0]) - expected) <= 2
        assert abs(int(bright[-1]) - (expected + 39)) <= 2


def captured_id(site: Recorded, n: int) -> str:
    return [r.event.subject for r in site.journal.read(0, 99, ("face",))][n]


def test_the_crop_is_pixelated_and_the_original_is_not(site: Recorded, tmp_path: Path) -> None:
    """The box has dark stripes eight rows apart; in blocks they are gone."""
    captured(site, 25)
    pictures = made(site, tmp_path / "objects")
    crop = decoded(pictures[".jpg"])
    plain = decoded(unseal(pictures[".age"], IDENTITY, PASSPHRASE))
    assert crop.shape == plain.shape == (90, 80)
    column = slice(35, 62), slice(38, 42)
    assert np.abs(np.diff(plain[column], axis=0)).max() > 120
    assert np.abs(np.diff(crop[column], axis=0)).max() < 60


def test_without_the_policy_no_original_is_kept(site: Recorded, tmp_path: Path) -> None:
    captured(site, 25)
    assert set(made(site, tmp_path / "objects", settings=CROPS)) == {".jpg"}


def test_an_event_that_names_no_original_gets_none(site: Recorded, tmp_path: Path) -> None:
    captured(site, 25, sealed=False)
    assert set(made(site, tmp_path / "objects")) == {".jpg"}


def test_after_a_kill_it_is_cut_again_to_the_same_crop_under_a_new_key(
    site: Recorded, tmp_path: Path
) -> None:
    data = captured(site, 25)
    site.clock.step_wall(-1000)  # the footage seems not to have come yet
    assert made(site, tmp_path / "objects") == {}
    assert not committed(site, data)
    site.clock.step_wall(1000)
    first = made(site, tmp_path / "objects")
    again = made(site, tmp_path / "again") or kept(tmp_path / "again")
    assert again == {}  # the first is committed
    other = portraits(site, tmp_path / "objects")
    subscription = site.bus.subscribe(GROUP, ("face",))
    subscription.seek({site.journal.id: 0})
    other._round(subscription, False)
    second = kept(tmp_path / "objects")
    assert second[".jpg"] == first[".jpg"]
    assert second[".age"] != first[".age"]
    assert unseal(second[".age"], IDENTITY, PASSPHRASE) == unseal(first[".age"], IDENTITY, PASSPHRASE)


def test_a_full_disk_is_waited_for(site: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = captured(site, 25)
    worker = portraits(site, tmp_path / "objects")
    subscription = site.bus.subscribe(GROUP, ("face",))
    with monkeypatch.context() as full:
        full.setattr("storage.objects.os.fsync", no_room)
        for _ in range(3):
            with pytest.raises(DiskFull):
                worker._round(subscription, False)
            site.clock.advance(PATIENCE_S + 1)
    assert kept(tmp_path / "objects") == {}
    assert not committed(site, data)
    worker._round(subscription, False)
    assert set(kept(tmp_path / "objects")) == {".jpg", ".age"}
    assert committed(site, data)


def no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def told(site: Recorded) -> list[FaceDeleted]:
    events = [record.event.data for record in site.journal.read(0, 99, ("face",))]
    return [data for data in events if isinstance(data, FaceDeleted)]


def counted(site: Recorded, folder: Path) -> tuple[int, int]:
    """Pictures and originals that count as held."""
    store = SqliteStore(folder / "store.db")
    try:
        store.apply("test", site.journal.read(0, 999))
        return store.face_counts()
    finally:
        store.close()


def test_lost_footage_is_given_up_after_a_while(
    site: Recorded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for row in site.journal.segments():
        (site.footage / row.path).unlink()
    data = captured(site, 25)
    worker = portraits(site, tmp_path / "objects")
    subscription = site.bus.subscribe(GROUP, ("face",))
    worker._round(subscription, False)
    assert not committed(site, data)
    site.clock.advance(PATIENCE_S + 1)
    worker._round(subscription, False)
    assert f"no portraits for {data.capture} of gate" in caplog.text
    assert committed(site, data)
    assert told(site) == [FaceDeleted(capture=data.capture, what="all", reason="lost")]
    assert counted(site, tmp_path) == (0, 0), "what never was is not held"


def test_where_it_is_not_known_who_is_there_all_is_hidden(
    site: Recorded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for row in site.journal.segments():
        (site.footage / row.trace_path).unlink()
    data = captured(site, 25)
    pictures = made(site, tmp_path / "objects")
    assert set(pictures) == {".jpg"}
    assert f"no original of capture {data.capture}" in caplog.text
    assert told(site) == [FaceDeleted(capture=data.capture, what="sealed", reason="lost")]
    assert counted(site, tmp_path) == (1, 0)
    crop = decoded(pictures[".jpg"])
    blocks = crop[:, 4::10]  # eight across, ten pixels each
    assert np.abs(crop[:, 2::10] - blocks).max() < 25


def test_a_trace_is_parsed_again_only_when_it_has_changed(
    site: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a moment asks twice a second."""
    parsed: list[Path] = []

    def counted_read(path: Path) -> list[Line]:
        parsed.append(path)
        return read_trace(path)

    monkeypatch.setattr("pipeline.moments.read_trace", counted_read)
    moments = Moments(site.journal, site.footage, lambda _: "main", PERSONAL, site.clock)
    at_us = START_US + 1_000_000
    first = moments.hidden("gate", at_us).at(at_us)
    read = len(parsed)
    assert read == len(set(parsed)) > 0
    assert moments.hidden("gate", at_us).at(at_us) == first
    assert len(parsed) == read
    lines = parsed[0].read_bytes().splitlines(keepends=True)
    parsed[0].write_bytes(b"".join(lines[: len(lines) // 2]))
    moments.hidden("gate", at_us)
    assert len(parsed) == read + 1
    assert len(moments._parsed) == read
    monkeypatch.setattr("pipeline.moments._KEPT", 0)
    moments.hidden("gate", at_us)
    assert moments._parsed == {}


def test_what_was_deleted_meanwhile_is_not_made(site: Recorded, tmp_path: Path) -> None:
    first, second = captured(site, 25, 0), captured(site, 30, 1)
    deleted(site, first, "all")
    deleted(site, second, "sealed")
    made(site, tmp_path / "objects")
    assert list(FolderObjects(tmp_path / "objects").keys()) == [second.picture]


def test_a_deletion_that_comes_while_the_footage_is_waited_for_counts(site: Recorded, tmp_path: Path) -> None:
    """Read in another round than the capture, and before it can be cut."""
    data = captured(site, 25)
    site.clock.step_wall(-1000)
    worker = portraits(site, tmp_path / "objects")
    subscription = site.bus.subscribe(GROUP, ("face",))
    worker._round(subscription, False)
    deleted(site, data)
    worker._round(subscription, False)
    site.clock.step_wall(1000)
    worker._round(subscription, False)
    assert kept(tmp_path / "objects") == {}
    assert committed(site, data)


def test_what_was_deleted_does_not_come_back_when_it_is_cut_again(site: Recorded, tmp_path: Path) -> None:
    """Killed between making and committing, deleted, started again with the deletion in a later batch."""
    data = captured(site, 25)
    made(site, tmp_path / "objects")
    deleted(site, data)
    assert len(kept(tmp_path / "objects")) == 2  # whoever asked was killed before the files went
    made(site, tmp_path / "objects")
    assert kept(tmp_path / "objects") == {}


@pytest.mark.parametrize(("days", "left"), [(2.9, {".jpg", ".age"}), (3.1, {".jpg"}), (7.1, set[str]())])
def test_what_would_be_deleted_at_once_is_not_made(
    site: Recorded, tmp_path: Path, days: float, left: set[str]
) -> None:
    """The box was off for days with captures that it had not cut."""
    data = captured(site, 25)
    site.clock.step_wall(days * 86_400)
    assert set(made(site, tmp_path / "objects", settings=SEALED)) == left
    assert committed(site, data)

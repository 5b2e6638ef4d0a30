"""When its time is up nothing of a captured face is left, in no file and no byte, but in the footage."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import wiring
from events.errors import StorageError
from events.events import FaceCaptured, FaceDeleted
from pipeline.portraits import GROUP
from pipeline.projector import catch_up
from storage.captures import delete_face, keys_of, sweep_faces
from storage.journal import Journal
from storage.objects import FolderObjects
from storage.sealing import unseal
from storage.store import SqliteStore
from tests.captured import SEALED, WALK, captured, portraits
from tests.facekeys import IDENTITY, PASSPHRASE
from tests.loopmaker import draw
from tests.recorded import Recorded, open_site, record

DAY_S = 86_400.0
HOUR_S = 3600.0
PIECE = 24
"""Bytes: so many in a row do not come about by chance."""


class Kept:
    """A site in which three faces were captured, and all that is kept of them is made."""

    def __init__(self, folder: Path) -> None:
        self.site: Recorded = open_site(folder)
        record(self.site, draw(folder / "clip.mp4", 6, WALK))
        self.site.clock.advance(30)
        self.data = self.site.loaded.data
        paths = wiring.Paths(self.data)
        self.objects = FolderObjects(paths.objects)
        self.store = SqliteStore(paths.store)
        self.subscription = self.site.bus.subscribe("store")
        self.faces = [captured(self.site, picture, n) for n, picture in enumerate((12, 25, 38))]
        self.portray()
        self.project()

    def portray(self) -> None:
        subscription = self.site.bus.subscribe(GROUP, ("face",))
        portraits(self.site, self.objects.path("x").parent)._round(subscription, False)
        subscription.close()

    def project(self) -> None:
        self.site.journal.flush()
        while catch_up(self.subscription, self.store):
            pass

    def sweep(self) -> int:
        now = self.site.clock.wall_us()
        gone = sweep_faces(self.objects, self.store, self.site.journal, now, SEALED)
        self.project()
        return gone

    def states(self) -> list[str]:
        rows = [self.store.face(data.capture) for data in self.faces]
        return [row.state if row else "unknown" for row in rows]

    def deletions(self) -> list[tuple[str, str, str]]:
        records = self.site.journal.read(0, 999, ("face",))
        found = [r.event.data for r in records if isinstance(r.event.data, FaceDeleted)]
        return [(data.capture, data.what, data.reason) for data in found]

    def secrets(self) -> dict[str, list[bytes]]:
        """Of each capture the crop, the sealed and the plain original."""
        crops = [self.objects.get(data.picture) or b"" for data in self.faces]
        sealed = [self.objects.get(data.sealed) or b"" for data in self.faces]
        return {
            "crop": crops,
            "sealed": sealed,
            "plain": [unseal(data, IDENTITY, PASSPHRASE) for data in sealed],
        }

    def where(self, pictures: list[bytes]) -> set[str]:
        """The files below the data folder in which any piece of any of the pictures stands.

        JPEG's headers are alike in all pictures; the coded picture begins after the mark FF DA.
        """
        pieces: set[bytes] = set()
        for data in pictures:
            body = data[data.index(b"\xff\xda") + 14 :] if data[:2] == b"\xff\xd8" else data[200:]
            assert len(body) > 4 * PIECE
            pieces |= {body[i : i + PIECE] for i in range(0, len(body) - PIECE, PIECE)}
        found = set()
        for path in sorted(p for p in self.data.rglob("*") if p.is_file()):
            content = path.read_bytes()
            if any(piece in content for piece in pieces):
                found.add(str(path.relative_to(self.data)))
        return found


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    opened = Kept(tmp_path)
    yield opened
    opened.store.close()
    opened.site.journal.close()


def test_when_the_time_is_up_nothing_is_left_and_the_events_stay(kept: Kept) -> None:
    secrets = kept.secrets()
    files = {f"objects/{data.picture}" for data in kept.faces}
    originals = {f"objects/{data.sealed}" for data in kept.faces}
    assert kept.where(secrets["crop"]) == files  # so the search finds what there is
    assert kept.where(secrets["sealed"]) == originals
    assert kept.where(secrets["plain"]) == set()  # never, not even while it is kept

    kept.site.clock.advance(3 * DAY_S + 60)
    assert kept.sweep() == 3
    assert kept.states() == ["unsealed"] * 3
    assert kept.where(secrets["sealed"]) == set()
    assert kept.where(secrets["crop"]) == files
    assert kept.store.face_counts() == (3, 0)

    kept.site.clock.advance(4 * DAY_S)
    assert kept.sweep() == 3
    assert kept.states() == ["deleted"] * 3
    for pictures in secrets.values():
        assert kept.where(pictures) == set()
    assert [p for p in (kept.data / "objects").rglob("*") if p.is_file()] == []
    assert kept.store.face_counts() == (0, 0)

    names = [data.capture for data in kept.faces]
    expired = [(name, what, "expired") for what in ("sealed", "all") for name in reversed(names)]
    assert sorted(kept.deletions()) == sorted(expired)
    events = [r.event.data for r in kept.site.journal.read(0, 999, ("face",))]
    assert [data for data in events if isinstance(data, FaceCaptured)] == kept.faces
    assert [data for data in (r.event.data for r in kept.store.events()) if data in kept.faces] == kept.faces
    assert kept.site.journal.segments()  # the footage goes by its own retention
    assert kept.sweep() == 0
    assert len(kept.deletions()) == 6  # nothing is said twice


def test_what_is_not_yet_old_enough_stays(kept: Kept) -> None:
    kept.site.clock.advance(3 * DAY_S - 60)
    assert kept.sweep() == 0
    assert kept.states() == ["kept"] * 3
    assert kept.deletions() == []


def test_what_somebody_asked_for_goes_at_once_and_alone(kept: Kept) -> None:
    secrets = kept.secrets()
    row = kept.store.face(kept.faces[1].capture)
    assert row is not None
    delete_face(kept.objects, kept.site.journal, row, kept.site.clock.wall_us())
    kept.project()
    assert kept.states() == ["kept", "deleted", "kept"]
    assert kept.deletions() == [(row.capture, "all", "asked")]
    for pictures in secrets.values():
        assert kept.where([pictures[1]]) == set()
        assert kept.where([pictures[0], pictures[2]]) == kept.where(pictures)
    assert len(kept.where(secrets["crop"])) == 2
    kept.site.clock.advance(8 * DAY_S)
    kept.sweep()
    assert [d for d in kept.deletions() if d[0] == row.capture] == [(row.capture, "all", "asked")]


def test_a_kill_between_file_and_event_is_mended_by_the_next_sweep(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.site.clock.advance(8 * DAY_S)
    with monkeypatch.context() as dies:
        dies.setattr(Journal, "note", refused)
        with pytest.raises(StorageError):
            kept.sweep()
    assert not list(kept.objects.keys())
    assert kept.states() == ["kept"] * 3
    assert kept.sweep() == 0
    assert kept.states() == ["deleted"] * 3
    assert len(kept.deletions()) == 3


def test_a_kill_between_two_files_is_mended_too(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.site.clock.advance(8 * DAY_S)
    left = iter([False, False, True])

    def delete(self: FolderObjects, key: str) -> None:
        if next(left):
            raise StorageError("killed")
        self.path(key).unlink()

    with monkeypatch.context() as dies:
        dies.setattr(FolderObjects, "delete", delete)
        with pytest.raises(StorageError):
            kept.sweep()
    assert len(list(kept.objects.keys())) == 4
    assert kept.sweep() == 4
    assert kept.states() == ["deleted"] * 3


def refused(*_: object) -> None:
    raise StorageError("killed")


def test_what_a_deleted_capture_left_behind_goes_at_once(kept: Kept) -> None:
    """As a copy put back by hand, or a picture made while it was deleted, would be."""
    first, second, _ = kept.faces
    crop, sealed = kept.objects.get(first.picture), kept.objects.get(second.sealed)
    assert crop
    assert sealed
    for data, what in ((first, "all"), (second, "sealed")):
        gone = FaceDeleted(capture=data.capture, what=what, reason="asked")  # type: ignore[arg-type]
        kept.site.journal.note("/town/camera/gate", gone, kept.site.clock.wall_us())
    kept.project()
    assert kept.states() == ["deleted", "unsealed", "kept"]
    assert kept.sweep() == 3  # both of the first, the original of the second
    keys = set(kept.objects.keys())
    assert keys == {second.picture, kept.faces[2].picture, kept.faces[2].sealed}


def test_what_a_kill_left_half_written_goes_after_an_hour(kept: Kept) -> None:
    folder = kept.objects.path(kept.faces[0].picture).parent
    half = folder / f".{kept.faces[0].capture}.jpg.123-456.half"
    half.write_bytes(kept.secrets()["crop"][0])
    now = kept.site.clock.wall_us() / 1e6
    os.utime(half, (now - HOUR_S + 60, now - HOUR_S + 60))
    assert kept.sweep() == 0
    assert half.exists()  # somebody may be writing it
    os.utime(half, (now - HOUR_S - 60, now - HOUR_S - 60))
    assert kept.sweep() == 1
    assert not half.exists()


def test_a_file_of_a_capture_that_nobody_knows_goes_by_its_age(kept: Kept) -> None:
    """The store was made anew from a journal that was pruned."""
    now = kept.site.clock.wall_us() / 1e6
    for age_days, n in ((2.0, 7), (4.0, 8), (8.0, 9)):
        for key in keys_of("gate", f"stranger{n}"):
            kept.objects.put(key, b"x")
            os.utime(kept.objects.path(key), (now - age_days * DAY_S,) * 2)
    assert kept.sweep() == 3
    strangers = {Path(key).name for key in kept.objects.keys("faces/gate/stranger")}
    assert strangers == {"stranger7.jpg", "stranger7.age", "stranger8.jpg"}
    assert kept.deletions() == []


def test_many_captures_of_one_moment_all_go(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of captures meet in the same microsecond."""
    monkeypatch.setattr("storage.captures._PAGE", 3)
    at = kept.faces[0].at_us
    more = [captured(kept.site, 12, n, at_us=at) for n in range(3, 10)]
    kept.project()
    kept.site.clock.advance(8 * DAY_S)
    kept.sweep()
    names = {name for name, _, _ in kept.deletions()}
    assert names == {data.capture for data in [*kept.faces, *more]}

"""The stills of a picture fault: before its first sign, and when it was told."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from events.events import Health, camera_source
from pipeline.evidence import sweep_evidence
from pipeline.faults import GROUP, FaultPictures, keys_of
from storage.objects import FolderObjects
from storage.store import SqliteStore
from tests.clipmaker import START_US
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Recorded]:
    """Somebody is there from 9 s to 12 s."""
    opened = open_site(tmp_path)
    record(opened, draw(tmp_path / "clip.mp4", 18, visits((90, 120))))
    opened.clock.advance(30)
    yield opened
    opened.journal.close()


def tell(site: Recorded, what: str, at_s: float, since_s: float = 0.0, state: str = "raised") -> str:
    """Note a fault, as the loop's watch does; answers the event's id."""
    since_us = START_US + round(since_s * 1e6) if since_s else 0
    data = Health(what=what, state=state, message="look at the lens", since_us=since_us)  # type: ignore[arg-type]
    site.journal.note(camera_source("town", "gate"), data, START_US + round(at_s * 1e6))
    site.journal.flush()
    return site.journal.read(0, 999, ("health",))[-1].event.id


def pictures(site: Recorded, folder: Path) -> FaultPictures:
    objects = FolderObjects(folder)
    return FaultPictures(
        site.bus, site.journal, site.footage, objects, lambda camera: "main", ("person",), site.clock
    )


def brightness(path: Path) -> float:
    """Mean of the middle of the picture, where the bright box walks."""
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    return float(picture[60:150, 100:220].mean())


def test_a_fault_has_a_picture_before_its_first_sign_and_one_when_it_was_told(
    site: Recorded, tmp_path: Path
) -> None:
    event = tell(site, "covered", at_s=10.5, since_s=9.5)
    pictures(site, tmp_path / "objects")._round(site.bus.subscribe(GROUP, ("health",)), False)
    before, after = (tmp_path / "objects" / key for key in keys_of(event))
    assert brightness(after) > brightness(before) + 20  # somebody is in the later one


def test_where_nobody_knows_when_it_began_an_old_picture_is_taken(site: Recorded, tmp_path: Path) -> None:
    event = tell(site, "turned", at_s=17.0)
    pictures(site, tmp_path / "objects")._round(site.bus.subscribe(GROUP, ("health",)), False)
    assert all((tmp_path / "objects" / key).exists() for key in keys_of(event))


@pytest.mark.parametrize(("what", "state"), [("connection", "raised"), ("covered", "cleared")])
def test_other_health_events_have_no_pictures(site: Recorded, tmp_path: Path, what: str, state: str) -> None:
    tell(site, what, 10.5, 9.5, state)
    pictures(site, tmp_path / "objects")._round(site.bus.subscribe(GROUP, ("health",)), False)
    assert not list((tmp_path / "objects").rglob("*.jpg"))


def test_its_pictures_go_when_their_time_is_up(site: Recorded, tmp_path: Path) -> None:
    tell(site, "black", at_s=10.5, since_s=9.5)
    pictures(site, tmp_path / "objects")._round(site.bus.subscribe(GROUP, ("health",)), False)
    objects = FolderObjects(tmp_path / "objects")
    store = SqliteStore(tmp_path / "store.db")
    made_us = max(path.stat().st_mtime_ns for path in (tmp_path / "objects").rglob("*.jpg")) // 1000
    assert sweep_evidence(objects, store, made_us - 10_000_000) == 0
    assert sweep_evidence(objects, store, made_us + 10_000_000) == 2
    store.close()

"""What a kill left of cameras and streams that the site file has no more: finished by the first worker."""

from pathlib import Path

import pytest

from cli import settings, wiring
from storage.fragments import PART
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record
from tests.siteworks import site_file

SUB = 'sub_url = "rtsp://h/s"'


@pytest.fixture
def killed(tmp_path: Path) -> Recorded:
    """The camera gate was killed while it was recorded and analysed."""
    site = open_site(tmp_path)
    record(site, draw(tmp_path / "clip.mp4", 6, visits((5, 40))), killed_at=30)
    return site


def recover_with(
    killed: Recorded, cameras: dict[str, str], shard: int, more: str = 'decode = "lazy"'
) -> None:
    """Start the worker of another site file on the same data."""
    folder = killed.loaded.path.parent
    loaded = settings.load(site_file(folder, cameras, dict.fromkeys(cameras, more)))
    wiring.recover_left(loaded, killed.journal, wiring.shard(loaded, shard, 2), killed.clock)
    killed.journal.flush()


def parts(killed: Recorded) -> list[Path]:
    return list(killed.footage.rglob(f"*{PART}"))


def test_a_camera_that_was_taken_out_is_finished_by_the_first_worker(killed: Recorded) -> None:
    others = {"yard": "rtsp://h/y", "door": "rtsp://h/d"}
    recover_with(killed, others, shard=1)
    assert len(parts(killed)) == 1
    assert len(killed.journal.open_epochs()) == 1
    recover_with(killed, others, shard=0)
    assert parts(killed) == []
    assert killed.journal.open_epochs() == []
    (epoch,) = killed.journal.epochs("gate", "main")
    assert epoch.reason == "killed"
    assert [row.state for row in killed.journal.segments("gate")] == ["closed", "recovered"]
    killed.journal.close()


def test_a_camera_of_another_worker_is_that_one_s(killed: Recorded) -> None:
    """It may be at work with it right now."""
    cameras = {"yard": "rtsp://h/y", "gate": "rtsp://h/m"}
    recover_with(killed, cameras, shard=0)
    assert len(parts(killed)) == 1
    assert len(killed.journal.open_epochs()) == 1
    recover_with(killed, cameras, shard=1)
    assert parts(killed) == []
    assert len(killed.journal.open_epochs()) == 1  # to be resumed
    killed.journal.close()


def test_a_stream_that_is_analysed_no_more_has_its_epoch_ended(killed: Recorded) -> None:
    recover_with(killed, {"gate": "rtsp://h/m"}, shard=0, more=SUB)
    assert parts(killed) == []
    assert killed.journal.open_epochs() == []
    (before,) = killed.journal.epochs("gate", "main")
    epoch = killed.journal.open_epoch("gate", "sub", before.info, before.capture.anchors[0])
    recover_with(killed, {"gate": "rtsp://h/m"}, shard=0, more=SUB)
    assert killed.journal.open_epochs() == [("gate", "sub", epoch)]  # to be resumed
    recover_with(killed, {"gate": "rtsp://h/m"}, shard=0)
    assert killed.journal.open_epochs() == []
    killed.journal.close()

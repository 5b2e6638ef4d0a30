"""One stream's reader: what it calls wrong is cleared, also by the process after it; a stop is no trouble."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli import settings, wiring
from events.clock import SystemClock
from events.errors import SourceError, StorageError
from events.events import Health, camera_source
from ingest.footage import FootageSource
from ingest.source import Opened, Source
from pipeline.camera import Reader
from storage.journal import Journal
from storage.segments import SegmentWriter
from tests.loopmaker import draw, visits
from tests.siteworks import site_file, until

SOURCE = camera_source("town", "gate")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("reader") / "clip.mp4", 12, visits((15, 40)))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db", SystemClock())
    yield opened
    opened.close()


def reader(folder: Path, journal: Journal, source: Callable[[], Source], stream: str = "main") -> Reader:
    def writer(epoch: int, opened: Opened) -> SegmentWriter:
        return SegmentWriter(folder / "footage", "gate", stream, epoch, opened.info, journal, segment_s=2)

    return Reader("gate", stream, "town", source, writer, journal, SystemClock())


def tell(journal: Journal, what: str, state: str, stream: str = "main") -> None:
    data = Health(what=what, state=state, message="", detail={"stream": stream})  # type: ignore[arg-type]
    journal.note(SOURCE, data, 0)
    journal.flush()


def test_the_journal_knows_what_was_last_raised(journal: Journal) -> None:
    tell(journal, "connection", "raised")
    tell(journal, "disk", "raised", "sub")
    tell(journal, "frozen", "raised")
    tell(journal, "frozen", "cleared")
    tell(journal, "connection", "note")
    journal.note("/town/camera/other", Health(what="black", state="raised", message=""), 0)
    journal.flush()
    assert journal.raised(SOURCE) == {"connection": "main", "disk": "sub"}
    tell(journal, "connection", "cleared")
    assert journal.raised(SOURCE) == {"disk": "sub"}


def test_what_was_raised_before_the_start_is_cleared_when_it_is_well(
    tmp_path: Path, journal: Journal, clip: Path
) -> None:
    for what in ("connection", "disk", "reading"):
        tell(journal, what, "raised")
    made = reader(tmp_path, journal, lambda: FootageSource(clip, clock=SystemClock(), speed=4.0))
    made.take_over(journal.raised(SOURCE))
    made.start()
    until(lambda: not journal.raised(SOURCE), 10, "all is cleared")
    made.stop()
    assert made.join(10)


def test_what_is_still_wrong_after_the_start_is_told_as_it_is_now(tmp_path: Path, journal: Journal) -> None:
    def refuse() -> Source:
        raise SourceError("no answer; check its power")

    tell(journal, "connection", "raised")
    made = reader(tmp_path, journal, refuse)
    made.take_over(journal.raised(SOURCE))
    made.start()
    until(lambda: len(journal.read(0, 9, ("health",))) == 2, 5, "it is told")
    made.stop()
    assert made.join(5)
    data = journal.read(0, 9, ("health",))[-1].event.data
    assert isinstance(data, Health)
    assert data.message == "no answer; check its power"


@pytest.mark.parametrize("error", [SourceError("broken off"), StorageError("x"), ZeroDivisionError()])
def test_a_stop_while_the_camera_is_opened_is_no_trouble(
    tmp_path: Path, journal: Journal, clip: Path, error: Exception
) -> None:
    opening, stopped = threading.Event(), threading.Event()

    class Slow(FootageSource):
        def open(self) -> Opened:
            opening.set()
            assert stopped.wait(5)
            raise error

    made = reader(tmp_path, journal, lambda: Slow(clip))
    made.start()
    assert opening.wait(5)
    made.stop()
    stopped.set()
    assert made.join(5)
    journal.flush()
    assert journal.read(0, 9, ("health",)) == []


def test_a_stop_before_there_is_a_source_opens_none(tmp_path: Path, journal: Journal, clip: Path) -> None:
    class Never(FootageSource):
        def open(self) -> Opened:
            raise AssertionError("opened after the stop")

    def source() -> Source:
        made.stop()
        return Never(clip)

    made = reader(tmp_path, journal, source)
    made.start()
    assert made.join(5)
    journal.flush()
    assert journal.read(0, 9, ("health",)) == []


@pytest.mark.parametrize("sub", [False, True])
def test_a_worker_hands_what_was_raised_to_the_stream_it_was_said_of(tmp_path: Path, sub: bool) -> None:
    """And that of a stream that is not read any more to the main one."""
    more = {"gate": 'sub_url = "rtsp://127.0.0.1:9/s"'} if sub else None
    loaded = settings.load(site_file(tmp_path, {"gate": "rtsp://127.0.0.1:9/x"}, more))
    journal = wiring.open_journal(loaded, SystemClock())
    tell(journal, "connection", "raised", "sub")
    tell(journal, "disk", "raised", "main")
    tell(journal, "shedding", "raised")
    tell(journal, "corrupt", "raised")
    journal.close()
    worker = wiring.worker(loaded, wiring.shard(loaded, 0, 1), SystemClock())
    found = {made.stream: set(made._troubles) for made in worker._readers}
    assert found == ({"main": {"disk"}, "sub": {"connection"}} if sub else {"main": {"connection", "disk"}})
    worker._journal.flush()
    assert set(worker._journal.raised(SOURCE)) == {"connection", "disk", "corrupt"}
    worker._journal.close()

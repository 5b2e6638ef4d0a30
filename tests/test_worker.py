"""A worker over footage in place of cameras: overload, disk trouble, its status, readers that fail."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from cli import settings, wiring
from detectors.detections import Detections
from events.clock import SystemClock
from events.errors import DiskFull, StorageError
from events.events import Event, Health
from ingest.footage import FootageSource
from ingest.packets import Packet
from ingest.source import Opened, Source
from pipeline.camera import Reader
from pipeline.contract import LoopSettings
from pipeline.lane import Lane
from pipeline.meter import Meter
from pipeline.policy import Limits, Live
from pipeline.scheduler import Scheduler, SchedulerSettings
from pipeline.sink import JournalSink
from pipeline.worker import Worker, WorkerStatus
from storage.journal import Journal
from storage.segments import SegmentWriter
from tests.loopmaker import Sees, draw, make_lane, visits
from tests.siteworks import site_file, until

WHERE = visits((5, 115))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("worker") / "busy.mp4", 12, WHERE)


class Slow(Sees):
    seconds = 0.0

    def detect(self, frame, crops=()) -> Detections:  # type: ignore[no-untyped-def]
        time.sleep(self.seconds)
        return super().detect(frame, crops)


class Rig:
    """A worker of one camera whose parts may be broken."""

    def __init__(self, folder: Path, source: Callable[[], Source]) -> None:
        self.clock = SystemClock()
        self.footage = folder / "footage"
        self.footage.mkdir()
        self.journal = Journal(folder / "journal.db", self.clock)
        self.detector = Slow(WHERE)
        self.broken: Exception | None = None
        self.status = folder / "worker-0.json"
        made, _ = make_lane(Live(Limits()), LoopSettings(fps=5, mode="full"))
        sink = JournalSink(
            "town", "gate", "main", self.journal, self.footage, model="m", settings="s", clock=self.clock
        )
        self.lane = Lane(
            "gate", made.loop, sink, Live(Limits(refuse_s=0.6, resume_s=0.3, skip_s=3)), self.clock
        )
        self.reader = Reader("gate", "main", "town", source, self._writer, self.journal, self.clock)
        scheduler = Scheduler(
            {"gate": self.detector},
            [self.lane],
            frozenset(),
            SchedulerSettings(),
            self.clock,
            Meter(lambda: 0),
        )
        self.reader.analyse(self.lane, scheduler.notify)
        self.worker = Worker("worker-0", [self.reader], [self.lane], scheduler, self.journal, self.clock)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=lambda: self.worker.run(self.stop, self.status))

    def _writer(self, epoch: int, opened: Opened) -> SegmentWriter:
        if self.broken is not None:
            raise self.broken
        return SegmentWriter(
            self.footage, "gate", "main", epoch, opened.info, self.journal, segment_s=2, fragment_s=0.5
        )

    def health(self, what: str) -> list[Event]:
        records = self.journal.read(0, 999, ("health",))
        return [r.event for r in records if isinstance(r.event.data, Health) and r.event.data.what == what]

    def states(self, what: str) -> list[str]:
        return [e.data.state for e in self.health(what) if isinstance(e.data, Health)]

    def __enter__(self) -> "Rig":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(30)
        self.journal.close()
        assert not self.thread.is_alive()


@pytest.fixture
def endless(clip: Path) -> Callable[[], Source]:
    return lambda: FootageSource([clip] * 20, clock=SystemClock(), speed=1.0)


@pytest.fixture
def rig(tmp_path: Path, endless: Callable[[], Source]) -> Iterator[Rig]:
    with Rig(tmp_path, endless) as made:
        yield made


def test_a_box_too_slow_says_so_and_says_when_it_is_over(rig: Rig) -> None:
    rig.detector.seconds = 0.5  # five looks a second are wanted, two are possible
    until(lambda: rig.states("shedding") == ["raised"], 12, "shedding is told")
    status = msgspec.json.decode(rig.status.read_bytes(), type=WorkerStatus)
    assert status.cameras[0].refused + status.cameras[0].skipped > 0
    assert status.cameras[0].segments >= 1  # recording goes on
    text = rig.health("shedding")[0].data
    assert isinstance(text, Health)
    assert "smaller model or fewer cameras" in text.message
    rig.detector.seconds = 0.0
    until(lambda: rig.states("shedding") == ["raised", "cleared"], 12, "its end is told")
    rig.stop.set()
    rig.thread.join(20)
    status = msgspec.json.decode(rig.status.read_bytes(), type=WorkerStatus)
    assert rig.reader.packets == rig.lane.loop.tally.packets  # drained: all that came was gone through
    assert status.cameras[0].packets == rig.reader.packets
    assert status.problem == ""
    assert rig.journal.epochs("gate", "main")[-1].reason == "stopped"


def test_disk_trouble_is_raised_once_and_cleared_when_footage_is_written(rig: Rig) -> None:
    until(lambda: rig.reader.packets > 5, 10, "it records")
    rig.broken = DiskFull("no room to write footage gate/main/1.mp4: free some space")
    writer = rig.reader._writer
    assert writer is not None

    def refuse(_: Packet) -> str:
        raise StorageError("footage gate/main/0.mp4 cannot be written: Input/output error")

    writer.write = refuse  # type: ignore[method-assign]
    until(lambda: rig.states("disk") == ["raised", "raised"], 8, "both kinds are told")
    time.sleep(2)
    assert rig.states("disk") == ["raised", "raised"]  # and not again at each attempt
    rig.broken = None
    until(lambda: rig.states("disk")[2:] == ["cleared"], 12, "it is mended")
    since = rig.health("disk")[2].time_us
    begun = [r.start_us for r in rig.journal.segments()]
    assert begun
    assert since > 0
    assert rig.states("connection") == []


def test_a_fault_of_ours_in_a_reader_is_told_and_tried_again(
    tmp_path: Path, endless: Callable[[], Source], caplog: pytest.LogCaptureFixture
) -> None:
    fails = [ZeroDivisionError("rtsp://guard:hunter2@h/m")]

    def source() -> Source:
        if fails:
            raise fails.pop()
        return endless()

    with Rig(tmp_path, source) as rig:
        until(lambda: rig.states("reading") == ["raised", "cleared"], 15, "told, and over")
        said = rig.health("reading")[0].data
    assert isinstance(said, Health)
    assert "ZeroDivisionError" in said.message
    assert "hunter2" not in said.message + caplog.text
    assert "test_worker.py" in caplog.text  # where it happened


def test_a_status_file_that_cannot_be_written_ends_nothing(
    tmp_path: Path, endless: Callable[[], Source], caplog: pytest.LogCaptureFixture
) -> None:
    made = Rig(tmp_path, endless)
    made.status = tmp_path / "gone" / "worker-0.json"
    with made as rig:
        until(lambda: "cannot be written" in caplog.text, 8, "it is in the log")
        assert rig.thread.is_alive()


def test_a_worker_opens_opencv_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("cv2.setNumThreads", asked.append)
    loaded = settings.load(site_file(tmp_path, {"gate": "rtsp://127.0.0.1:9/x"}))
    built = wiring.worker(loaded, wiring.shard(loaded, 0, 1), SystemClock())
    built._journal.close()
    assert asked == [1]


def test_a_thread_beside_that_ended_by_itself_is_told_once(
    tmp_path: Path, endless: Callable[[], Source], caplog: pytest.LogCaptureFixture
) -> None:
    class Ended:
        alive = False

        def __repr__(self) -> str:
            return "the asking of a dome"

        def start(self) -> None: ...

        def stop(self) -> None: ...

        def join(self, timeout_s: float) -> None: ...

    made = Rig(tmp_path, endless)
    made.worker._beside = [Ended()]
    made.worker._report_ended()
    with made:
        until(lambda: made.status.exists(), 10, "a round")
    told = [r for r in caplog.records if "the asking of a dome ended by itself" in r.getMessage()]
    assert len(told) == 1

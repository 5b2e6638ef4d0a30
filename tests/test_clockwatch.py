"""A camera's clock that is off by more than a second, alone and over real RTSP."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.clock import SystemClock
from events.events import Health, camera_source
from ingest.clockwatch import OFF_US, RIGHT_US, ClockWatch
from ingest.rtsp import RtspSource
from ingest.source import Opened
from pipeline.camera import Reader
from storage.journal import Journal
from storage.segments import SegmentWriter
from testbed.rtsp import GstServer, Mount, ServerMissing
from tests.conftest import need_server
from tests.siteworks import until

SECOND = 1_000_000


def told(errors: list[int], raised: bool = False) -> list[tuple[int, str, float]]:
    watch = ClockWatch(raised)
    changes = ((n, watch.error(e)) for n, e in enumerate(errors))
    return [(n, c.state, c.offset_s) for n, c in changes if c is not None]


@pytest.mark.parametrize("off", [1.1, -1.1, 90.0, -8 * 3600.0])
def test_a_clock_that_is_off_is_told_at_the_second_report_and_when_it_is_right(off: float) -> None:
    wrong = round(off * SECOND)
    assert told([0, wrong, wrong, wrong, -30_000, -30_000, 0]) == [(2, "raised", off), (5, "cleared", -0.03)]


@given(st.lists(st.integers(-OFF_US, OFF_US), max_size=50))
def test_delays_under_a_second_are_no_matter(errors: list[int]) -> None:
    assert told(errors) == []


@given(st.lists(st.sampled_from([0, 3 * SECOND, -3 * SECOND, 9 * SECOND]), max_size=50))
def test_a_single_odd_report_is_not_believed(odd: list[int]) -> None:
    errors = [e for n, o in enumerate(odd) for e in (o, 0 if n % 2 else 6 * SECOND * (n + 1))]
    steady = any(abs(a - b) <= SECOND // 2 and min(abs(a), abs(b)) > OFF_US for a, b in pairwise(errors))
    assert bool(told(errors)) == steady


def test_between_the_two_limits_it_stays_as_it_was() -> None:
    between = (OFF_US + RIGHT_US) // 2
    assert told([between] * 5) == []
    assert told([between] * 5, raised=True) == []
    assert told([0, 0], raised=True) == [(1, "cleared", 0.0)]


def test_reports_of_two_epochs_are_not_put_together() -> None:
    watch = ClockWatch()
    assert watch.compare(5 * SECOND, 0) is None
    watch.begin()
    assert watch.compare(5 * SECOND, 0) is None
    change = watch.compare(5 * SECOND, 0)
    assert change is not None
    assert "5.0 s ahead of this box's" in change.message
    assert "; " in change.message


@pytest.fixture(scope="module")
def server(clips: SimpleNamespace) -> Iterator[GstServer]:
    mounts = {"late": Mount(clips.plain, behind_s=2.5), "right": Mount(clips.plain)}
    try:
        opened = GstServer(mounts).__enter__()
    except ServerMissing as error:
        need_server(error)
        return
    yield opened
    opened.close()


def test_a_camera_whose_clock_is_behind_is_a_health_event(tmp_path: Path, server: GstServer) -> None:
    journal, clock = Journal(tmp_path / "journal.db", SystemClock()), SystemClock()
    readers = []
    for name in ("late", "right"):

        def writer(epoch: int, opened: Opened, name: str = name) -> SegmentWriter:
            folder = tmp_path / "footage"
            return SegmentWriter(folder, name, "main", epoch, opened.info, journal, segment_s=2)

        def source(name: str = name) -> RtspSource:
            return RtspSource(server.url(name), clock=clock)

        readers.append(Reader(name, "main", "town", source, writer, journal, clock))
    # what the journal still calls wrong is cleared by a clock that is right
    wrong = Health(what="clock", state="raised", message="", detail={"stream": "main"})
    journal.note(camera_source("town", "right"), wrong, 0)
    journal.flush()
    readers[1].take_over(journal.raised(camera_source("town", "right")))
    for reader in readers:
        reader.start()
    until(lambda: "clock" in journal.raised(camera_source("town", "late")), 15, "the clock is told")
    until(lambda: not journal.raised(camera_source("town", "right")), 15, "the other one is right again")
    for reader in readers:
        reader.stop()
    assert all(reader.join(10) for reader in readers)
    said = [r.event.data for r in journal.read(0, 99, ("health",)) if r.event.source.endswith("late")]
    found = [d for d in said if isinstance(d, Health) and d.what == "clock"]
    assert len(found) == 1
    assert -2.9 < float(found[0].detail["offset_s"]) < -2.2
    assert "behind this box's" in found[0].message
    journal.close()

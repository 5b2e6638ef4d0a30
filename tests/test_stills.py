"""One picture out of the footage: the right moment, pixelated unless told otherwise."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from events.errors import StorageError
from storage.rows import SegmentRow
from storage.stills import frame_at, picture_at
from storage.trace import read_trace
from storage.whereabouts import Whereabouts
from tests.clipmaker import START_US
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record

WHERE = visits((15, 55))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("stills")
    opened = open_site(folder)
    record(opened, draw(folder / "clip.mp4", 8, WHERE, bf="2"))
    yield opened
    opened.journal.close()


@pytest.fixture
def rows(site: Recorded) -> list[SegmentRow]:
    return site.journal.segments()


def grey(data: bytes) -> NDArray[np.int64]:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).astype(np.int64)


def left_edge(picture: NDArray[np.int64]) -> float:
    """Where the bright box begins."""
    return float(np.flatnonzero(picture[64:68].mean(axis=0) > 210).min())


@pytest.mark.parametrize("n", [20, 25, 31, 39, 40, 47])
def test_the_picture_is_the_last_one_before_the_moment(
    site: Recorded, rows: list[SegmentRow], n: int
) -> None:
    """In the middle of a group, at its end, across segments, with B-frames."""
    for us in (0, 99_000):
        # Media time begins with the first decoding time, two pictures before the first is shown.
        data = picture_at(site.footage, rows, START_US + (n + 2) * 100_000 + us)
        wanted = WHERE(n)
        assert wanted is not None
        assert left_edge(grey(data)) == pytest.approx(wanted, abs=3)


def test_people_are_pixelated(site: Recorded, rows: list[SegmentRow]) -> None:
    traces = [read_trace(site.footage / row.trace_path) for row in rows]
    at = START_US + 3_000_000
    hidden = picture_at(site.footage, rows, at, Whereabouts(traces, ("person",)))
    plain = picture_at(site.footage, rows, at)
    left = WHERE(28)
    assert left is not None
    middle = int(left + 20)
    assert np.abs(np.diff(grey(plain)[70:140, middle])).max() > 150
    assert np.abs(np.diff(grey(hidden)[70:140, middle])).max() < 120
    away = np.s_[0:40, 0:60]
    assert np.abs(grey(plain)[away] - grey(hidden)[away]).max() < 40  # the rest is as it was


def test_people_are_hidden_where_they_were_when_the_picture_was_taken(tmp_path: Path) -> None:
    """It stands for a second after its segment's end, and the walker has gone on meanwhile."""
    opened = open_site(tmp_path)
    record(opened, draw(tmp_path / "clip.mp4", 4, visits((5, 50))))
    rows = opened.journal.segments()[:1]
    traces = [read_trace(opened.footage / row.trace_path) for row in opened.journal.segments()]
    known = Whereabouts(traces, ("person",))
    shown = grey(picture_at(opened.footage, rows, rows[0].end_us))
    x = int(left_edge(shown)) + 20
    hidden = grey(picture_at(opened.footage, rows, rows[0].end_us + 900_000, known))
    assert np.abs(np.diff(shown[70:140, x])).max() > 150
    assert np.abs(np.diff(hidden[70:140, x])).max() < 120
    opened.journal.close()


def test_a_moment_without_footage_is_named(site: Recorded, rows: list[SegmentRow]) -> None:
    with pytest.raises(StorageError, match=r"no footage of 2025-06-15T.*deleted by retention"):
        picture_at(site.footage, rows, START_US + 60_000_000)


def test_a_deleted_file_is_named(site: Recorded, rows: list[SegmentRow], tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=rows[0].path):
        frame_at(tmp_path, rows[0], START_US)
    assert site.footage.exists()

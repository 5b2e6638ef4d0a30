"""Traces: every line comes back, a torn one costs only itself."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import StorageError
from events.media import Anchor
from events.observations import Box, Observation, Track
from storage import trace

ANCHOR = Anchor(pts=0, capture_us=1_750_000_000_000_000, source="arrival", uncertainty_us=500_000)

LINES: list[trace.Line] = [
    trace.Open(epoch=1, pts=0, model="ab", settings="cd", width=640, height=360, anchors=(ANCHOR,)),
    trace.Gate(pts=0, state="awake", why="start"),
    trace.Frame(
        pts=7500, tracks=((1, "人", 0.81, 10.0, 20.0, 60.5, 180.0, True),), crops=((0, 0, 320, 320),)
    ),
    trace.Frame(pts=8250, faint=(("person", 1.0, 2.0, 30.5, 40.0),)),
    trace.Shed(from_pts=9000, to_pts=18000, why="packets"),
    trace.Mode(pts=18000, mode="full"),
    trace.AnchorLine(anchor=ANCHOR),
    trace.Reached(pts=20000),
]


def test_lines_come_back(tmp_path: Path) -> None:
    writer = trace.TraceWriter(tmp_path / "day" / "a.trace.jsonl")
    writer.append(*LINES[:3])
    assert trace.read_trace(tmp_path / "day" / "a.trace.jsonl") == LINES[:3]  # while it is being written
    writer.append(*LINES[3:])
    writer.append()
    writer.close()
    writer.close()
    assert trace.read_trace(tmp_path / "day" / "a.trace.jsonl") == LINES


def test_a_frame_is_made_of_an_observation() -> None:
    track = Track(3, "person", 0.123456, Box(1.04, 2.06, 30, 40), seen=False)
    observation = Observation(pts=7, capture_us=8, width=640, height=360, tracks=(track,))
    assert trace.Frame.of(observation, [(0, 0, 10, 10)]) == trace.Frame(
        pts=7, tracks=((3, "person", 0.123, 1.0, 2.1, 30, 40, False),), crops=((0, 0, 10, 10),)
    )


def test_a_frame_without_what_later_versions_add_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b'{"type":"frame","pts":1,"tracks":[],"crops":[]}\n')
    assert trace.read_trace(tmp_path / "old") == [trace.Frame(pts=1)]


def test_no_trace_is_an_empty_one(tmp_path: Path) -> None:
    assert trace.read_trace(tmp_path / "none") == []


@given(cut=st.floats(0, 1))
def test_a_trace_cut_anywhere_can_be_read_and_continued(
    tmp_path_factory: pytest.TempPathFactory, cut: float
) -> None:
    path = tmp_path_factory.mktemp("trace") / "a.trace.jsonl"
    writer = trace.TraceWriter(path)
    writer.append(*LINES)
    writer.close()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    kept = trace.read_trace(path)
    assert kept == LINES[: len(kept)]
    assert len(kept) == path.read_bytes().count(b"\n")
    writer = trace.TraceWriter(path)
    writer.append(LINES[-1])
    writer.close()
    assert trace.read_trace(path) == [*kept, LINES[-1]]


def test_damage_before_the_end_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.trace.jsonl"
    path.write_bytes(b'{"type":"reached","pts":1}\n{"type":"dance"}\n{"type":"reached","pts":2}\n')
    with pytest.raises(StorageError, match="line 2"):
        trace.read_trace(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/a\.trace"):
        trace.TraceWriter(tmp_path / "file" / "a.trace")

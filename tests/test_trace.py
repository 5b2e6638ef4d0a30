"""Traces: every line comes back, a torn one costs only itself."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import StorageError
from events.media import Anchor
from events.observations import Box, Observation, Track
from storage import trace
from storage.whereabouts import Whereabouts

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


def written(path: Path, lines: list[trace.Line], bad: set[int]) -> list[trace.Line]:
    """What is read of these lines when some are damaged."""
    writer = trace.TraceWriter(path)
    writer.append(*lines)
    writer.close()
    raw = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(b'{"garbage\x00\n' if n in bad else line for n, line in enumerate(raw)))
    return trace.read_trace(path)


def test_damaged_lines_become_a_span_of_which_nothing_is_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = LINES[0]
    lines = [opened, *(trace.Frame(pts=n * 7500) for n in range(1, 9))]
    found = written(tmp_path / "a", lines, {4, 5})
    # From two lines before: pictures may come after the line of the keyframe that follows them.
    assert found == [*lines[:4], trace.Shed(from_pts=15000, to_pts=45000, why="damaged"), *lines[6:]]
    assert "2 damaged lines, the first is number 5" in caplog.text
    assert written(tmp_path / "b", lines, {0})[1:] == lines[1:]


def test_a_damaged_end_hides_more_than_a_gap_between_traces(tmp_path: Path) -> None:
    lines = [LINES[0], trace.Frame(pts=7500), trace.Frame(pts=15000)]
    *_, last = written(tmp_path / "a", lines, {2})
    assert isinstance(last, trace.Shed)
    assert last.to_pts > 15000 + 90_000


def test_a_person_in_a_damaged_line_is_hidden_with_the_whole_picture(tmp_path: Path) -> None:
    lines = [LINES[0], *(trace.Frame(pts=n * 18000) for n in range(1, 50))]
    anchor = ANCHOR.capture_us
    for bad in ({20}, {20, 21, 22}, {49}, {0}, {1}):
        known = Whereabouts([written(tmp_path / f"{min(bad)}{len(bad)}", lines, bad)])
        for n in bad:
            assert known.at(anchor + n * 200_000) is None
    assert known.at(anchor + 9_000_000) == []  # and only there


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/a\.trace"):
        trace.TraceWriter(tmp_path / "file" / "a.trace")

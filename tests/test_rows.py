"""The segment index's contract: the double that other tests use and the journal behave alike."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from events.clock import ManualClock
from storage.database import queries
from storage.journal import Journal
from storage.recovery import recover
from storage.retention import Limits, plan, sweep
from storage.rows import SegmentIndex
from storage.segments import SegmentWriter, read_packets
from tests.clipmaker import START_US, MemoryIndex, make_clip, packets_of
from tests.test_retention import row


@pytest.fixture(params=["memory", "journal"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SegmentIndex]:
    if request.param == "memory":
        yield MemoryIndex()
        return
    journal = Journal(tmp_path / "journal.db", ManualClock(), group_s=0.001)
    yield journal
    journal.close()


def ids(rows: list) -> list[str]:
    return [r.id for r in rows]


def test_rows_are_found_by_what_is_given(index: SegmentIndex) -> None:
    index.put_segment(row(3, "gate", 200, 99, 10, "open"))
    index.put_segment(row(1, "gate", 0, 99, 10))
    index.put_segment(row(2, "gate", 100, 99, 10, "recovered"))
    index.put_segment(row(4, "yard", 50, 99, 10))
    assert ids(index.segments()) == ["1", "4", "2", "3"]
    assert ids(index.segments(camera="gate")) == ["1", "2", "3"]
    assert ids(index.segments(camera="gate", stream="main")) == []
    assert ids(index.segments(camera="gate", from_us=99, to_us=100)) == ["1", "2"]
    assert ids(index.segments(state="recovered")) == ["2"]
    assert ids(index.segments(from_us=10_000)) == ["3"]  # an open one may reach there
    assert index.segments(camera="yard") == [row(4, "yard", 50, 99, 10)]


def test_of_one_stream_the_same_rows_are_found(index: SegmentIndex) -> None:
    kept = [row(n, "gate", 50 * n, 99, 10, "open" if n == 3 else "closed") for n in range(6)]
    for one in [*kept, row(9, "yard", 50, 99, 10)]:
        index.put_segment(one)
    for span in [(None, None), (120, None), (None, 120), (120, 180), (10_000, None)]:
        found = index.segments("gate", kept[0].stream, *span)
        assert found == index.segments("gate", None, *span)
        assert {one.camera for one in found} == {"gate"}
    assert ids(index.segments("gate", kept[0].stream, 120, 180)) == ["1", "2", "3"]
    assert ids(index.segments("gate", kept[0].stream, state="open")) == ["3"]


def test_one_stream_s_rows_are_found_by_its_index(tmp_path: Path) -> None:
    """Each picture of a face asks several times; a month of all cameras is millions of rows."""
    journal = Journal(tmp_path / "journal.db", ManualClock())
    asked = "EXPLAIN QUERY PLAN " + queries("journal")["segments_of"]
    plan_of = journal._reader.rows(asked, ("gate", "sub", 0, 1, None))
    assert any("SEARCH segments USING INDEX segments_by_stream" in str(line) for line in plan_of)
    journal.close()


def test_a_row_is_replaced_and_forgotten(index: SegmentIndex) -> None:
    first = row(1, "gate", 0, 0, 0, "open")
    index.put_segment(first)
    index.put_segment(msgspec.structs.replace(first, state="closed", end_us=50, bytes=7, sha256="ab"))
    assert [(r.state, r.end_us, r.bytes, r.sha256) for r in index.segments()] == [("closed", 50, 7, "ab")]
    index.delete_segment("1")
    index.delete_segment("1")
    assert index.segments() == []


def test_footage_is_written_recovered_and_deleted_with_it(index: SegmentIndex, tmp_path: Path) -> None:
    info, packets = packets_of(make_clip(tmp_path / "clip.mp4"))
    writer = SegmentWriter(tmp_path / "footage", "gate", "sub", 7, info, index, segment_s=2)
    for packet in packets[:35]:
        writer.write(packet)
    assert [r.state for r in index.segments()] == ["closed", "open"]
    recovered = recover(tmp_path / "footage", index)
    assert [r.state for r in recovered] == ["recovered"]
    rows = index.segments()
    assert [r.state for r in rows] == ["closed", "recovered"]
    back = [p.pts for r in rows for p in read_packets(tmp_path / "footage", r)]
    assert back == [p.pts for p in packets[:30]]
    decided = plan(rows, START_US + 60_000_000, 0, Limits(max_age_s=1))
    assert sweep(tmp_path / "footage", index, decided.delete) == sum(r.bytes for r in rows)
    assert index.segments() == []
    assert not list((tmp_path / "footage").rglob("*.mp4"))

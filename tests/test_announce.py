"""A finished segment is an event, an open one is not; the index behind it is the journal's own."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from events.events import Segment
from pipeline.announce import AnnouncingIndex
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Recorded]:
    opened = open_site(tmp_path)
    record(opened, draw(tmp_path / "clip.mp4", 5, visits((15, 40))))
    yield opened
    opened.journal.close()


def test_what_is_finished_is_told(site: Recorded) -> None:
    index = AnnouncingIndex(site.journal, "town", site.clock)
    first, second = index.segments("gate", "main")[:2]
    index.put_segment(msgspec.structs.replace(first, state="open"))
    index.put_segment(first)
    index.put_segment(msgspec.structs.replace(second, state="recovered"))
    site.journal.flush()
    told = [r.event for r in site.journal.read(0, 100, ("segment",))]
    assert [e.source for e in told] == ["/town/camera/gate"] * 2
    data = [e.data for e in told]
    assert all(isinstance(d, Segment) for d in data)
    assert [(d.segment, d.sha256, d.recovered) for d in data] == [  # type: ignore[union-attr]
        (first.id, first.sha256, False),
        (second.id, second.sha256, True),
    ]
    index.delete_segment(first.id)
    assert first.id not in [row.id for row in site.journal.segments()]

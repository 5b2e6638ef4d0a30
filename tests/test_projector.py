"""From the bus into the store: each event once, whatever the store does in between."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from events.bus import Record
from events.errors import DiskFull
from pipeline.projector import Projector
from storage.store import SqliteStore
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record
from tests.siteworks import until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Recorded]:
    opened = open_site(tmp_path)
    record(opened, draw(tmp_path / "clip.mp4", 8, visits((15, 40))))
    yield opened
    opened.journal.close()


def stored(store: SqliteStore) -> list[str]:
    return [record.event.id for record in store.events()]


def test_all_that_is_journaled_is_stored_in_order(site: Recorded, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    projector = Projector(site.bus, store, site.clock)
    projector.start()
    projector.stop()  # projects what is there, then ends
    assert stored(store) == [r.event.id for r in site.journal.read(0, 999)]
    assert store.offset(site.journal.id) == site.journal.last_offset()
    store.close()


def test_the_store_alone_says_where_to_go_on(site: Recorded, tmp_path: Path) -> None:
    """A store that was lost is filled again, although the bus has it all committed."""
    for name in ("first.db", "second.db"):
        store = SqliteStore(tmp_path / name)
        projector = Projector(site.bus, store, site.clock)
        projector.start()
        projector.stop()
        assert len(stored(store)) == site.journal.last_offset()
        store.close()


class Fails(SqliteStore):
    """A store on a disk that is full for a while: neither written nor read."""

    fails = 4

    def _perhaps(self) -> None:
        if self.fails:
            self.fails -= 1
            raise DiskFull("no room for the store; free some space")

    def apply(self, log: str, records: Sequence[Record]) -> int:
        self._perhaps()
        return super().apply(log, records)

    def offset(self, log: str) -> int:
        self._perhaps()
        return super().offset(log)


def test_a_store_that_fails_for_a_while_gets_all_of_it_later(
    site: Recorded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Fails(tmp_path / "store.db")
    projector = Projector(site.bus, store, site.clock)
    projector._stop.wait = lambda timeout=None: False  # type: ignore[method-assign,assignment]
    projector.start()
    until(lambda: len(stored(store)) == site.journal.last_offset(), 10, "all is stored")
    assert projector.alive
    projector.stop()
    assert caplog.text.count("no room for the store") == 1, "not at each attempt"
    assert stored(store) == [r.event.id for r in site.journal.read(0, 999)]
    store.close()


def test_a_store_of_some_families_does_not_keep_the_others_from_being_pruned(
    site: Recorded, tmp_path: Path
) -> None:
    """What is of no concern to it counts as read, though it takes none of it."""
    store = SqliteStore(tmp_path / "store.db")
    projector = Projector(site.bus, store, site.clock, group="some", families=("face",))
    projector.start()
    last = site.journal.last_offset()
    until(lambda: site.journal.committed("some") == last, 10, "the bus is told")
    projector.stop()
    assert stored(store) == []
    assert last > 3
    store.close()

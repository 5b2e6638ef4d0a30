"""The SQLite store passes the store's contract; killed, repeated or rebuilt, it is the same byte for byte."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import storage
from events.clock import ManualClock
from events.errors import StorageError
from pipeline.projector import catch_up
from storage.journal import Journal
from storage.logbus import LogBus
from storage.store import SqliteStore
from tests.contracts.examples import (
    EPOCH,
    crossing,
    event,
    face,
    interval,
    judged,
    reading,
)
from tests.contracts.store import LOG, Shelf, StoreContract, records
from tests.storeworks import some_events

SQL = Path(storage.__file__).parent / "sql"


class SqliteShelf:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore(path)

    def restart(self) -> None:
        self.store.close()
        self.store = SqliteStore(self.path)


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def shelf(self, tmp_path: Path) -> Iterator[Shelf]:
        shelf = SqliteShelf(tmp_path / "store.db")
        yield shelf
        shelf.store.close()


def content(path: Path) -> bytes:
    """The whole store as SQLite writes it afresh: the same rows give the same bytes."""
    copy = path.with_suffix(".copy")
    copy.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    connection.close()
    raw = bytearray(copy.read_bytes())
    for field in (24, 92):  # change counter and the one that goes with it: how often, not what
        raw[field : field + 4] = bytes(4)
    return bytes(raw)


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(st.integers(1, 20), max_size=10), back=st.integers(0, 9))
def test_any_batches_with_any_repeats_give_the_same_store(
    steps: list[int], back: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    sent = records(some_events())
    at_once = SqliteStore(folder / "at-once.db", synchronous="OFF")
    at_once.apply(LOG, sent)
    at_once.close()
    in_steps = SqliteShelf(folder / "steps.db")
    position = 0
    for step in [*steps, len(sent)]:
        in_steps.store.apply(LOG, sent[max(position - back, 0) : position + step])
        position += step
        if step % 4 == 0:
            in_steps.restart()
    in_steps.store.close()
    assert content(folder / "steps.db") == content(folder / "at-once.db")


def test_a_rebuild_from_the_journal_gives_the_same_store(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = Journal(tmp_path / "journal.db", clock, group_s=0.0)
    bus = LogBus(journal, clock)
    live = SqliteStore(tmp_path / "live.db")
    sub = bus.subscribe("store")
    for n, e in enumerate(some_events()):
        journal.append([e])
        if n % 7 == 0:
            journal.flush()
            catch_up(sub, live, limit=3)
    journal.flush()
    while catch_up(sub, live):
        pass
    live.close()
    rebuilt = SqliteStore(tmp_path / "rebuilt.db")
    sub = bus.subscribe("rebuild")
    while catch_up(sub, rebuilt):
        pass
    assert (
        rebuilt.offset(bus.id) == journal.committed("rebuild") == journal.last_offset() == len(some_events())
    )
    rebuilt.close()
    journal.close()
    assert content(tmp_path / "live.db") == content(tmp_path / "rebuilt.db")


def test_a_difference_is_seen_by_the_comparison(tmp_path: Path) -> None:
    for name, sent in (("a", some_events()), ("b", some_events()[:-1])):
        store = SqliteStore(tmp_path / f"{name}.db")
        store.apply(LOG, records(sent))
        store.close()
    assert content(tmp_path / "a.db") != content(tmp_path / "b.db")


def test_a_projector_killed_between_store_and_bus_goes_on_from_the_store_s_offset(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = Journal(tmp_path / "journal.db", clock)
    journal.append([crossing(n) for n in range(3)])
    journal.flush()
    bus = LogBus(journal, clock)
    store = SqliteStore(tmp_path / "store.db")
    store.apply(bus.id, bus.subscribe("store").poll())  # and killed: no commit on the bus
    sub = bus.subscribe("store")
    assert catch_up(sub, store) == 3
    assert store.totals()[0].count == 3
    assert journal.committed("store") == 3
    store.close()
    journal.close()


SECOND_FORM = """
INSERT INTO offsets VALUES ('log', 4);
INSERT INTO alerts (alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us,
    tracks, box, detail) VALUES ('a1', '/site/camera/gate', 1, 'yard', 'intrusion', 'major', 'person', 'open',
    5, 6, 7, '[1]', '[0.1,0.2,0.3,0.4]', '{"dwell_s":2.5}');
INSERT INTO health VALUES ('/site/camera/gate', 'black', 'raised', 'black', '{}', 5, 6);
INSERT INTO intervals VALUES ('/site/camera/gate', 'door', 0, 1, 0, 60, '{"in.person":2}', '{}', 60.0);
INSERT INTO pruned VALUES ('/site/camera/gate', 'count', 1, 7);
"""


def test_a_store_of_the_second_form_is_brought_up_to_date_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as connection:
        for number in (1, 2):
            connection.executescript((SQL / f"store.{number:03d}.sql").read_text(encoding="utf-8"))
        connection.executescript(SECOND_FORM)
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    store = SqliteStore(path)
    row = store.alert("a1")
    assert row is not None
    assert (row.box, row.place, row.preset, row.causes) == ((0.1, 0.2, 0.3, 0.4), None, "", ())
    assert (row.verdict, row.detail) == (None, {"dwell_s": 2.5})
    assert [(h.what, h.state, h.since_us, h.event) for h in store.cameras_health()] == [
        ("black", "raised", 5, "")
    ]
    assert [(c.counts, c.preset) for c in store.counts()] == [({"in.person": 2}, "")]
    assert store.offset(LOG) == 4
    pruned = event(interval(7, EPOCH, {}).data, 7, source="/site/camera/gate", epoch=1)
    sent = [pruned, judged("a1", "ignore", 0), reading(0, 2.0), face(1)]
    assert store.apply(LOG, records(sent, after=4)) == 3
    row = store.alert("a1")
    assert row is not None
    assert row.verdict == "ignore"
    store.close()
    SqliteStore(path).close()


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(StorageError, match=r"store\.db is damaged .* move it away"):
        SqliteStore(path)


def test_a_store_of_a_newer_linli_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(StorageError, match="newer Linli"):
        SqliteStore(path)

"""The store on a real PostgreSQL passes the store's contract, and holds what the SQLite store holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.postgres import PostgresStore
from storage.store import SqliteStore
from testbed.postgis import PostGIS
from testbed.store_content import content, differences
from tests.contracts.examples import EPOCH
from tests.contracts.store import LOG, Shelf, StoreContract, records
from tests.storeworks import new_store, some_events


class PostgresShelf:
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.store = PostgresStore(dsn)

    def restart(self) -> None:
        self.store.close()
        self.store = PostgresStore(self.dsn)


@pytest.fixture
def dsn(postgis: PostGIS) -> Iterator[str]:
    """An empty store."""
    dsn = new_store(postgis)
    yield dsn
    postgis.drop_database(dsn)


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def shelf(self, dsn: str) -> Iterator[Shelf]:
        shelf = PostgresShelf(dsn)
        yield shelf
        shelf.store.close()


def test_both_stores_hold_the_same(dsn: str, tmp_path: Path) -> None:
    sent = records(some_events())
    ours, theirs = SqliteStore(tmp_path / "store.db"), PostgresStore(dsn)
    for store in (ours, theirs):
        for n in range(0, len(sent), 7):
            store.apply(LOG, sent[max(n - 3, 0) : n + 7])
    assert content(dsn)["events"], "something is compared"
    assert differences(content(tmp_path / "store.db"), content(dsn)) == []
    for store in (ours, theirs):
        store.prune(EPOCH + 12_000_000)
    assert content(dsn)["pruned"]
    assert differences(content(tmp_path / "store.db"), content(dsn)) == []
    assert [r.event for r in ours.events(limit=9999)] == [r.event for r in theirs.events(limit=9999)]
    ours.close()
    theirs.close()

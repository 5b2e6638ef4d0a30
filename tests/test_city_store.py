"""The city's store on SQLite and on PostgreSQL with PostGIS: one contract, one content."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from city.closure import FACTS
from events.bus import Record
from events.clock import SystemClock
from events.errors import ConfigError, DiskFull, StorageError, StoreAway
from events.events import Event
from pipeline.projector import Projector
from storage.city.casequery import CaseQuery
from storage.city.engine import is_postgres, reading, writing
from storage.city.metadata import METADATA
from storage.city.store import CityStore
from storage.journal import Journal
from storage.logbus import LogBus
from testbed.city_content import content, differences
from testbed.postgis import PostGIS
from tests.city_sequences import counted, sequences
from tests.contracts.city_examples import Life, whole_life
from tests.contracts.city_store import LOG, CityStoreContract, Where, folded, open_store, records
from tests.servers import started

DAYS = ("2025-01-01", "2027-12-31")


class TestSqliteCityStore(CityStoreContract):
    @pytest.fixture
    def where(self, tmp_path: Path) -> Where:
        return tmp_path / "city.db"


class TestPostgresCityStore(CityStoreContract):
    @pytest.fixture
    def where(self, database: str) -> Where:
        return database


@pytest.fixture
def both(tmp_path: Path, database: str) -> Iterator[dict[str, CityStore]]:
    """One store of each kind, by its name."""
    places: dict[str, Where] = {"sqlite": tmp_path / "city.db", "postgres": database}
    made = {name: open_store(where, tmp_path) for name, where in places.items()}
    yield made
    for store in made.values():
        store.close()


@given(
    sent=sequences(),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    scenario=st.sampled_from(["", "matter"]),
    area=st.sampled_from(["", "370481", "370481001", "370481001001", "370481001001G03"]),
)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_sequence_gives_the_same_on_both_stores_and_in_the_fold(
    both: dict[str, CityStore], sent: list[Event], sizes: list[int], scenario: str, area: str
) -> None:
    cases = folded(sent)
    contents = {}
    for name, store in both.items():
        _empty(store)
        _in_batches(store, records(sent), sizes)
        assert store.cases.cases(list(cases)) == cases, name
        for by in ("town", "category", "scenario", "day", "month", "community"):
            rows = store.cases.closure(scenario, *DAYS, by, area)
            found = {row.key: tuple(getattr(row, fact) for fact in FACTS) for row in rows}
            assert found == counted(cases.values(), by, scenario, area), (name, by)
        late_us = max(case.updated_us for case in cases.values())
        late = {id_ for id_, case in cases.items() if not case.final and 0 < case.due_us < late_us}
        page = store.cases.page(CaseQuery(overdue_at_us=late_us, order="due"))
        assert {case.case for case in page.cases} == late, name
        contents[name] = content(store.cases._engine, "case")
    assert differences(contents["sqlite"], contents["postgres"]) == []


def _in_batches(store: CityStore, sent: Sequence[Record], sizes: Sequence[int]) -> None:
    """The records in batches of these sizes; each begins with what came before."""
    first = n = 0
    while first < len(sent):
        size = sizes[n % len(sizes)]
        store.apply(LOG, sent[max(first - 1, 0) : first + size])
        first, n = first + size, n + 1


def _empty(store: CityStore) -> None:
    with writing(store.cases._engine) as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
        if not is_postgres(connection):
            connection.exec_driver_sql("DELETE FROM city_feature_boxes")


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreAway, match=r"127\.0\.0\.1:1/x does not answer") as away:
        open_store("postgresql://u:secret@127.0.0.1:1/x", tmp_path)
    assert "secret" not in str(away.value)
    with pytest.raises(ConfigError, match="not of the form"):
        open_store("nonsense", tmp_path)
    (tmp_path / "city.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="is damaged"):
        open_store(tmp_path / "city.db", tmp_path)


def test_its_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "city.db", tmp_path)
    store.apply(LOG, records(list(whole_life("c1"))))
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.glob("city.db*")}
    assert modes == {"city.db": 0, "city.db-wal": 0, "city.db-shm": 0}
    store.close()


@pytest.mark.slow
def test_a_server_that_went_away_is_asked_again(tmp_path: Path) -> None:
    server = started(PostGIS())
    try:
        store = open_store(server.new_database(), tmp_path)
        sent = records(list(whole_life("c1")))
        assert store.apply(LOG, sent[:2]) == 2
        server.kill()
        with pytest.raises(StoreAway, match="does not answer"):
            store.apply(LOG, sent)
        with pytest.raises(StoreAway, match="does not answer"):
            store.cases.case("c1")
        server.start()
        assert store.offset(LOG) == 2
        assert store.apply(LOG, sent) == 4
        store.close()
    finally:
        server.remove()


def test_a_full_disk_is_said_and_waited_for(tmp_path: Path) -> None:
    store = open_store(tmp_path / "city.db", tmp_path)
    with reading(store.cases._engine) as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    sent = records([e for n in range(40) for e in whole_life(f"c{n}")])
    bound = [pages + 8]
    event.listen(
        store.cases._engine, "begin", lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {bound[0]}")
    )
    with pytest.raises(DiskFull, match="goes on by itself"):
        store.apply(LOG, sent)
    assert (store.offset(LOG), store.cases.count(CaseQuery())) == (0, 0)
    bound[0] = 1 << 20
    assert store.apply(LOG, sent) == len(sent)
    store.close()


def test_the_projector_keeps_it_up_and_sets_aside_what_it_refuses(tmp_path: Path) -> None:
    clock = SystemClock()
    journal = Journal(tmp_path / "journal.db", clock, group_s=0.0, synchronous="OFF")
    bad = Life("bad")
    first, wrong = bad.open(), bad.step("accept", state="accepted")
    wrong = msgspec.structs.replace(wrong, sequence=5)
    journal.append([*whole_life("c1"), first, wrong, *whole_life("c2")])
    journal.flush()
    store, aside = open_store(tmp_path / "city.db", tmp_path), list[tuple[str, str]]()
    projector = Projector(
        LogBus(journal, clock),
        store,
        clock,
        group="city",
        aside=lambda record, error: aside.append((record.event.id, str(error))),
    )
    projector.start()
    projector.stop()
    assert [id_ for id_, _ in aside] == [wrong.id]
    assert "step 5 from 'reported' does not follow step 0" in aside[0][1]
    assert store.offset(journal.id) == journal.last_offset()
    assert set(store.cases.cases(["c1", "c2", "bad"])) == {"c1", "c2", "bad"}
    store.close()
    journal.close()

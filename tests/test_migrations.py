"""A store on PostgreSQL is brought up to date with data in it, while it is written, and after a kill."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from events import codec
from events.errors import StorageError, StoreDenied
from events.events import Event
from storage.migrating import migrate
from storage.pgform import FORMS
from storage.pglink import Address
from storage.postgres import PostgresStore
from testbed.postgis import PostGIS
from tests.contracts.examples import CAMERA, EPOCH, claim, crossing
from tests.contracts.store import LOG, records

KEPT = 20_000
"""Events that are in the store before."""
FIRST_FORM = [
    """INSERT INTO events (id, source, family, epoch, sequence, time_us, body)
    VALUES (%(id)s, %(source)s, 'count', %(epoch)s, %(sequence)s, %(time_us)s, %(body)s)
    ON CONFLICT (source, family, epoch, sequence) DO NOTHING""",
    """INSERT INTO totals (source, rule, direction, label, count, last_us)
    VALUES (%(source)s, 'door', 'in', 'person', 1, %(time_us)s)
    ON CONFLICT (source, rule, direction, label) DO UPDATE SET count = totals.count + 1,
        last_us = greatest(totals.last_us, excluded.last_us)""",
    """INSERT INTO alerts (alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us,
        updated_us, tracks, box, detail, place, preset, causes)
    VALUES (%(id)s, %(source)s, %(epoch)s, 'yard', 'crowd', 'major', 'person', 'open', 1, %(time_us)s, 1,
        '[1]', 'null', '{"dwell_s": 2.5}', '[121.4737, 31.2304]', '', '[]') ON CONFLICT (alert) DO NOTHING""",
    """INSERT INTO faces (capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed,
        state, deleted_us)
    VALUES (%(id)s, %(source)s, %(time_us)s, 1, 2, 0.5, '{}', '[0,0,0,0]', 'p', '', 'kept', 0)
    ON CONFLICT (capture) DO NOTHING""",
    """INSERT INTO offsets (log, "offset") VALUES ('log', %(offset)s)
    ON CONFLICT (log) DO UPDATE SET "offset" = excluded."offset" """,
]
"""What the first form's Linli writes for one event (of four kinds at once)."""

MIGRATES = """
import sys
from storage.migrating import migrate
from storage.pglink import Address
migrate(Address(sys.argv[1]))
"""


@pytest.fixture
def bare(postgis: PostGIS) -> Iterator[str]:
    """A database without anything."""
    dsn = postgis.new_database(bare=True)
    yield dsn
    postgis.drop_database(dsn)


class OldWriter:
    """A Linli of the first form that goes on writing; every failure and every write's duration is kept."""

    def __init__(self, dsn: str) -> None:
        self.written = 0
        self.failures: list[str] = []
        self.longest_s = 0.0
        self._dsn = dsn
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "OldWriter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._dsn) as connection:
            while not self._ends.is_set():
                begun = time.monotonic()
                try:
                    with connection.transaction():
                        write_first_form(connection, crossing(KEPT + self.written), KEPT + self.written + 1)
                    self.written += 1
                except psycopg.Error as e:
                    self.failures.append(str(e))
                self.longest_s = max(self.longest_s, time.monotonic() - begun)


def write_first_form(connection: psycopg.Connection, e: Event, offset: int) -> None:
    values = {
        "id": e.id,
        "source": e.source,
        "epoch": e.epoch,
        "sequence": e.sequence,
        "time_us": e.time_us,
        "body": codec.encode(e).decode(),
        "offset": offset,
    }
    for statement in FIRST_FORM:
        connection.execute(statement, values)


def first_form(dsn: str) -> None:
    """The first form with data in it."""
    assert migrate(Address(dsn), to="0001") == ["0001"]
    with psycopg.connect(dsn) as connection, connection.pipeline():
        for n in range(KEPT // 20):
            write_first_form(connection, crossing(n), n + 1)
    with psycopg.connect(dsn) as connection:
        body = codec.encode(crossing(0)).decode()
        connection.execute(
            "INSERT INTO events (id, source, family, epoch, sequence, time_us, body) "
            "SELECT 'e' || n, '/site/camera/other', 'count', 1, n, %s + n, %s "
            "FROM generate_series(%s::bigint, %s::bigint) AS n",
            (EPOCH, body, KEPT // 20, KEPT - 1),
        )


def test_the_revisions_are_those_that_the_store_knows() -> None:
    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    script = ScriptDirectory.from_config(config)
    assert tuple(r.revision for r in script.walk_revisions())[::-1] == FORMS


def test_an_empty_database_gets_all_and_the_second_time_nothing(bare: str) -> None:
    with pytest.raises(StorageError, match=r"neither PostGIS nor .*linli store migrate"):
        PostgresStore(bare)
    assert migrate(Address(bare)) == list(FORMS)
    assert migrate(Address(bare)) == []
    PostgresStore(bare).close()


def test_from_the_first_form_with_data_while_it_is_written(bare: str) -> None:
    first_form(bare)
    with pytest.raises(StorageError, match=r"form 0001, this Linli needs 0003.*linli store migrate"):
        PostgresStore(bare)
    with OldWriter(bare) as writer:
        while writer.written < 20:
            time.sleep(0.01)
        assert migrate(Address(bare)) == ["0002", "0003"]
        after = writer.written
        while writer.written < after + 20 and not writer.failures:
            time.sleep(0.01)
    print(f"{writer.written} writes meanwhile, the longest {writer.longest_s:.2f} s")
    assert writer.failures == []
    store = PostgresStore(bare)
    assert store.sizes().events == KEPT + writer.written
    assert [t.count for t in store.totals()] == [KEPT // 20 + writer.written]
    assert store.sizes().open_alerts == KEPT // 20 + writer.written
    assert store.face_counts() == (KEPT // 20 + writer.written, 0)
    assert store.offset(LOG) == KEPT + writer.written
    following = KEPT + writer.written
    sent = [crossing(following), claim("b", EPOCH, 1, EPOCH), claim("a", 1, 2, EPOCH + 10_000_000)]
    assert store.apply(LOG, records(sent, after=following)) == 3
    assert [t.count for t in store.totals()] == [10], "what the first form kept is superseded as well"
    store.close()


def test_what_was_killed_before_its_end_is_named_and_gone_on_with(bare: str, postgis: PostGIS) -> None:
    first_form(bare)
    with psycopg.connect(bare) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM totals")  # an index that is built waits for this to end
        child = subprocess.Popen([sys.executable, "-c", MIGRATES, bare])
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND query LIKE 'CREATE INDEX%'"
        )
        until = time.monotonic() + 60
        while not (found := postgis.sql(waiting, Address(bare).database)):
            assert time.monotonic() < until
            time.sleep(0.05)
        child.kill()
        child.wait()
        postgis.sql(f"SELECT pg_terminate_backend({found})")
    with pytest.raises(StorageError, match=r"form 0002.*0003 is half applied, index events_superseded"):
        PostgresStore(bare)
    assert migrate(Address(bare)) == ["0003"]
    PostgresStore(bare).close()


def test_a_table_that_is_locked_for_long_is_waited_for_and_stops_nobody(bare: str) -> None:
    """Readers come through while the change waits for a long reader of the same table."""
    first_form(bare)
    with ThreadPoolExecutor() as pool, psycopg.connect(bare) as reader:
        reader.execute("SELECT count(*) FROM faces")  # in a transaction that stays open
        done = pool.submit(migrate, Address(bare))
        longest, until = 0.0, time.monotonic() + 3
        while time.monotonic() < until:
            begun = time.monotonic()
            with psycopg.connect(bare) as other:
                other.execute("SELECT count(*) FROM faces")
            longest = max(longest, time.monotonic() - begun)
            time.sleep(0.05)
        assert not done.done()
        assert longest < 2.9, "the change gave way now and then"
        reader.rollback()
        assert done.result(60) == ["0002", "0003"]


def test_two_who_migrate_at_once(bare: str) -> None:
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(migrate, Address(bare)) for _ in range(2)]
        assert sorted(d.result(120) for d in done) == [[], list(FORMS)]
    PostgresStore(bare).close()


def test_a_newer_form_is_refused(bare: str) -> None:
    migrate(Address(bare))
    with psycopg.connect(bare) as connection:
        connection.execute("UPDATE linli_form SET version_num = '0999'")
    for attempt in (lambda: PostgresStore(bare), lambda: migrate(Address(bare))):
        with pytest.raises(StorageError, match=r"newer Linli \(form 0999, .* install that one"):
            attempt()


def test_who_may_not_add_postgis_is_told_who_may(bare: str, postgis: PostGIS) -> None:
    role = f"r{bare[-6:]}"
    postgis.sql(f"create role {role} login")
    try:
        with pytest.raises(StoreDenied, match=f"{role} may not add PostGIS .* CREATE EXTENSION postgis"):
            migrate(Address(bare.replace("postgres@", f"{role}@")))
    finally:
        postgis.sql(f"drop role {role}")


def test_map_clients_find_alerts_as_points(bare: str) -> None:
    first_form(bare)
    migrate(Address(bare))
    with psycopg.connect(bare) as connection:
        kind = connection.execute(
            "SELECT type, srid FROM geometry_columns WHERE f_table_name = 'alerts_on_map'"
        ).fetchall()
        assert kind == [("POINT", 4326)]
        row = connection.execute("SELECT source, state, ST_AsText(geom) FROM alerts_on_map").fetchone()
        assert row == (CAMERA, "open", "POINT(121.4737 31.2304)")
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT * FROM alerts_on_map WHERE geom && ST_MakeEnvelope(121, 31, 121.1, 31.1, 4326)"
        ).fetchall()
        assert "alerts_by_place" in str(plan)

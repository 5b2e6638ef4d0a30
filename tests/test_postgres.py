"""The store on a real PostgreSQL passes the store's contract, and holds what the SQLite store holds."""

import contextlib
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from events.bus import Record
from events.errors import ConfigError, DiskFull, EventRefused, StorageError, StoreAway, StoreDenied
from events.events import Event
from ingest.credentials import Credentials
from storage.opening import open_store
from storage.pglink import Address
from storage.postgres import PostgresStore
from storage.store import SqliteStore
from testbed.postgis import PostGIS
from testbed.store_content import content, differences
from tests.contracts.examples import CAMERA, EPOCH, alert, claim, crossing, event, health, reading
from tests.contracts.store import LOG, Shelf, StoreContract, records
from tests.handovers import at
from tests.servers import started
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


def test_two_who_apply_one_log_at_once_count_everything_once(dsn: str) -> None:
    sent = records([crossing(n, label=("person", "car")[n % 2]) for n in range(400)])
    with_each = [PostgresStore(dsn) for _ in range(3)]

    def project(store: PostgresStore) -> int:
        return sum(store.apply(LOG, sent[n : n + 20]) for n in range(0, len(sent), 20))

    with ThreadPoolExecutor() as pool:
        assert sum(pool.map(project, with_each)) == 400
    assert [t.count for t in with_each[0].totals()] == [200, 200]
    for store in with_each:
        store.close()


def test_different_logs_that_change_the_same_rows_do_not_stop_each_other(dsn: str) -> None:
    store = PostgresStore(dsn)
    cameras = [f"{CAMERA}{n}" for n in range(20)]

    def project(log: int) -> int:
        """Each log has other events of all the cameras, in another order."""
        chance = random.Random(log)
        new = 0
        for step in range(20):
            sent: list[Event] = []
            for camera in chance.sample(cameras, 10):
                said = crossing(step, source=camera)
                sent.append(msgspec.structs.replace(said, epoch=EPOCH + log))
                sent.append(event(health("raised"), step, source=camera, epoch=EPOCH + log))
                sent.append(reading(100 * log + step, 1.0, sensor=camera))
            new += store.apply(f"log {log}", records(sent, after=100 * step))
        return new

    with ThreadPoolExecutor() as pool:
        assert sum(pool.map(project, range(4))) == 4 * 20 * 30
    assert sum(t.count for t in store.totals()) == 4 * 20 * 10
    store.close()


def test_a_claim_and_what_it_covers_may_come_at_the_same_time(dsn: str, tmp_path: Path) -> None:
    claims = [claim("ab"[n % 2], EPOCH + n, n + 1, EPOCH + 1_000_000 * n) for n in range(8)]
    said = [at(crossing(s).data, EPOCH + n, s, 2 * s) for n in range(8) for s in range(8)]
    alone = SqliteStore(tmp_path / "store.db")
    alone.apply(LOG, records([*said, *claims]))
    alone.close()
    stores = [PostgresStore(dsn) for _ in range(2)]

    def project(store: PostgresStore, log: str, sent: list[Event]) -> None:
        for n, e in enumerate(sent, 1):
            store.apply(log, [Record(n, e)])

    with ThreadPoolExecutor() as pool:
        for done in [
            pool.submit(project, s, str(n), e)
            for n, (s, e) in enumerate(zip(stores, (said, claims), strict=True))
        ]:
            done.result()
    assert differences(content(tmp_path / "store.db", offsets=False), content(dsn, offsets=False)) == []
    for store in stores:
        store.close()


def test_who_reads_on_in_the_log_of_events_misses_none(dsn: str) -> None:
    """Several write at once, and what has the smaller number may be committed later."""
    store, reading_it = PostgresStore(dsn), PostgresStore(dsn)

    def project(log: int) -> None:
        for n in range(60):
            store.apply(str(log), [Record(n + 1, crossing(n, source=f"{CAMERA}{log}"))])

    seen: list[str] = []
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(project, log) for log in range(4)]
        after, ended, page = 0, False, [Record(0, crossing(0))]
        while page or not ended:
            ended = all(d.done() for d in done)
            page = reading_it.events(after)
            seen += [r.event.id for r in page]
            after = page[-1].offset if page else after
    assert len(seen) == len(set(seen)) == 240
    store.close()
    reading_it.close()


def test_an_event_that_cannot_be_held_is_named_and_nothing_is_applied(dsn: str) -> None:
    store = PostgresStore(dsn)
    huge = msgspec.structs.replace(crossing(1), epoch=1 << 70)
    with pytest.raises(EventRefused, match=huge.id) as caught:
        store.apply(LOG, records([crossing(0), huge, crossing(2)]))
    assert (caught.value.log, caught.value.offset) == (LOG, 2)
    assert (store.offset(LOG), store.events()) == (0, [])
    nul = msgspec.structs.replace(alert("a1")[0].data, rule="ya\x00rd", detail={"why": "a\x00b"})
    assert store.apply(LOG, records([event(nul, 0)])) == 1, "what PostgreSQL has no letter for is replaced"
    row = store.alert("a1")
    assert row is not None
    assert (row.rule, row.detail) == ("ya\ufffdrd", {"why": "a\ufffdb"})
    store.close()


def test_the_server_is_killed_and_comes_back() -> None:
    with started(PostGIS()) as server:
        dsn = new_store(server)
        store = PostgresStore(dsn)
        assert store.apply(LOG, records([crossing(0)])) == 1
        server.kill()
        for call in (lambda: store.totals(), lambda: store.apply(LOG, records([crossing(1)], after=1))):
            with pytest.raises(StoreAway, match=r"127\.0\.0\.1:\d+/t_\w+ does not answer .*start it"):
                call()
        with pytest.raises(StoreAway):
            PostgresStore(dsn)
        server.start()
        assert store.apply(LOG, records([crossing(0), crossing(1)])) == 1
        assert [t.count for t in store.totals()] == [2], "what was acknowledged is there"
        server.restart()
        assert [t.count for t in store.totals()] == [2], "an idle connection that broke is replaced unseen"
        server.restart()
        assert store.apply(LOG, records([crossing(2)], after=2)) == 1
        store.close()
        server.remove()


def test_errors_name_the_store_and_the_mend_and_never_the_password(dsn: str, postgis: PostGIS) -> None:
    role = f"r{dsn[-6:]}"
    postgis.sql(f"create role {role} login password 'Geheim7'")
    host = Address(dsn).conninfo
    assert "host=127.0.0.1" in host
    there = f"127.0.0.1:{postgis.port}"
    login = Credentials(role, "Geheim7")
    name = Address(dsn).database
    try:
        with pytest.raises(StorageError, match="there is no such database; create it: createdb nowhere"):
            open_store(f"postgresql://{there}/nowhere", Credentials("postgres", "x"))
        with pytest.raises(StoreDenied, match="knows no user noone; create the role"):
            open_store(f"postgresql://{there}/{name}", Credentials("noone", "Geheim7"))
        with pytest.raises(StoreDenied, match=f"{role} may not do that .*permission denied.*grant it"):
            open_store(f"postgresql://{there}/{name}", login)
        with pytest.raises(ConfigError, match="not of the form postgresql") as caught:
            open_store("postgresql://u:Geheim%zz7@h/d")
        assert "Geheim" not in str(caught.value)
        postgis.sql(f"alter database {name} set default_transaction_read_only = on")
        store = PostgresStore(dsn)
        with pytest.raises(StorageError, match=r"is read-only .*name the primary server"):
            store.apply(LOG, records([crossing(0)]))
        store.close()
    finally:
        postgis.sql(f"drop role {role}")
    assert "Geheim7" not in repr(Address(f"postgresql://{there}/{name}", login))


def fill(store: PostgresStore, sent: list[Record]) -> None:
    for n in range(0, len(sent), 1000):
        store.apply(LOG, sent[n : n + 1000])


def test_a_full_disk_is_told_and_writing_goes_on_when_there_is_room(postgis: PostGIS) -> None:
    disk = Path(tempfile.mkdtemp(prefix="linli-small-"))
    name = f"small_{disk.name[-6:]}".lower()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs (root)")
    try:
        subprocess.run(["chown", "postgres:", str(disk)], check=True)
        postgis.sql(f"create tablespace {name} location '{disk}'")
        model = Address(new_store(postgis)).database
        postgis.sql(f"create database {name} template {model} tablespace {name} strategy file_copy")
        store = PostgresStore(postgis.dsn_of(name))
        sent = records([crossing(n) for n in range(60_000)])
        with pytest.raises(DiskFull, match=r"no room on the server .* goes on by itself"):
            fill(store, sent)
        done = store.offset(LOG)
        assert store.totals()[0].count == done
        subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
        assert store.apply(LOG, sent[done : done + 1000]) == 1000
        assert [t.count for t in store.totals()] == [done + 1000]
        store.close()
    finally:
        postgis.sql(f"drop database if exists {name} with (force)")
        postgis.sql(f"drop tablespace if exists {name}")
        subprocess.run(["umount", "-l", str(disk)], check=True)
        disk.rmdir()


def test_killed_again_and_again_while_it_is_written_it_holds_every_event_once(tmp_path: Path) -> None:
    chance = random.Random(4)
    sent = records([*some_events(), *(crossing(n) for n in range(40, 3000))])
    alone = SqliteStore(tmp_path / "store.db")
    alone.apply(LOG, sent)
    alone.close()
    kills = 0
    with started(PostGIS()) as server, ThreadPoolExecutor(1) as pool:
        dsn = new_store(server)
        store = PostgresStore(dsn)
        while (done := acknowledged(store)) < len(sent):
            if kills < 5:
                killed = pool.submit(kill_after, server, chance.uniform(0.0, 0.3))
                kills += 1
            with contextlib.suppress(StoreAway):
                for n in range(done, len(sent), 10):
                    store.apply(LOG, sent[n : n + 10])
            killed.result()
        print(f"{kills} kills while {len(sent)} events were written")
        assert differences(content(tmp_path / "store.db"), content(dsn)) == []
        store.close()
        server.remove()


def acknowledged(store: PostgresStore) -> int:
    """How far the log is applied; waits until the server answers."""
    while True:
        with contextlib.suppress(StoreAway):
            return store.offset(LOG)
        time.sleep(0.05)


def kill_after(server: PostGIS, seconds: float) -> None:
    time.sleep(seconds)
    server.kill()
    server.start()

"""Transactions of the city's store in a file: what a large one leaves in the log."""

import sqlite3
import threading
import time
from pathlib import Path

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, func, select

from storage.city.bulk import load
from storage.city.engine import opened, reading, writing

METADATA = MetaData()
THINGS = Table("things", METADATA, Column("n", Integer, primary_key=True), Column("body", LargeBinary))
MANY = 8000


def test_what_a_large_transaction_wrote_is_copied_beside_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "city.db"
    engine = opened(path, metadata=METADATA)
    try:
        empty = path.stat().st_size
        with writing(engine) as connection:
            load(connection, THINGS, ("n", "body"), [(n, bytes(400)) for n in range(MANY)])
        deadline = time.monotonic() + 30
        while path.stat().st_size < empty + MANY * 400:
            assert time.monotonic() < deadline, "the log was not copied into the file"
            time.sleep(0.02)
        with reading(engine) as connection:
            assert connection.execute(select(func.count()).select_from(THINGS)).scalar_one() == MANY
    finally:
        engine.dispose()


def test_large_transactions_readers_and_the_copier_are_not_in_each_others_way(
    tmp_path: Path,
) -> None:
    path = tmp_path / "city.db"
    engine = opened(path, metadata=METADATA)
    done, seen = threading.Event(), set[int]()

    def read() -> None:
        while not done.is_set():
            with reading(engine) as connection:
                seen.add(connection.execute(select(func.count()).select_from(THINGS)).scalar_one())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(8):
            with writing(engine) as connection:
                rows = [(turn * MANY + n, bytes(100)) for n in range(MANY)]
                load(connection, THINGS, ("n", "body"), rows)
    finally:
        done.set()
        reader.join()
        engine.dispose()
    assert {count % MANY for count in seen} == {0}  # each transaction is seen whole or not at all
    with sqlite3.connect(path) as link:
        assert link.execute("SELECT count(*) FROM things").fetchone() == (8 * MANY,)
        assert link.execute("PRAGMA integrity_check").fetchone() == ("ok",)

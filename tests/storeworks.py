"""Stores for tests: some events of every kind, and a PostgreSQL database with the tables in it."""

import secrets

import psycopg

from events.events import Event
from storage.migrating import migrate
from storage.pglink import Address
from testbed.postgis import PostGIS
from testbed.store_content import TABLES
from tests.contracts.examples import (
    EPOCH,
    SENSOR,
    alert,
    crossing,
    event,
    face,
    face_gone,
    health,
    interval,
    judged,
    reading,
    view,
)

_MODEL = "linli_store_model"


def new_store(server: PostGIS) -> str:
    """The DSN of a new database with an empty store, copied from one that is migrated once."""
    if not server.sql(f"select 1 from pg_database where datname = '{_MODEL}'"):
        server.sql(f"create database {_MODEL} template linli_template")
        migrate(Address(server.dsn_of(_MODEL)))
    name = f"t_{secrets.token_hex(6)}"
    server.sql(f"create database {name} template {_MODEL}")
    return server.dsn_of(name)


def empty(dsn: str) -> None:
    """Take all out of a store."""
    with psycopg.connect(dsn) as connection:
        for table in TABLES:
            connection.execute(f"DELETE FROM {table}")  # quicker than TRUNCATE, which makes new files


def some_events() -> list[Event]:
    return [
        *(crossing(n, direction="in" if n % 3 else "out") for n in range(40)),
        *(interval(40 + n, EPOCH + n, {"in.person": n}) for n in range(5)),
        *(e for n in range(6) for e in alert(f"a{n}", 3 * n)),
        *(event(health(s), n) for n, s in enumerate(["raised", "note", "cleared", "raised"])),
        *(reading(n, n / 2, second=n * 7 % 20) for n in range(20)),
        *(reading(n, n / 2, sensor=SENSOR + "b") for n in range(5)),
        *(view(s, n, "road" * (s == "settled")) for n, s in enumerate(["moving", "settled", "unknown"])),
        face_gone("f2", "all", 0),
        *(face(n) for n in range(1, 6)),
        *(face_gone(f"f{n}", w, n + 10) for n, w in ((1, "sealed"), (3, "all"))),
        *(judged(f"a{n}", v, n) for n, v in enumerate(["true", "false", "ignore", "true"])),
        judged("a1", "true", 9),
        judged("later", "false", 10),
    ]

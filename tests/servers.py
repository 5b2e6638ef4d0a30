"""Fixtures: the real Kafka, S3 store and PostGIS, started when a test first asks, ended with the session.

A test whose server cannot be had is skipped with the reason; LINLI_REQUIRE_SERVERS=1 makes that an error. The
servers are shared: a test makes topics under its `topic_prefix`, objects in its `bucket`, tables in its
`database`, and one that kills or stops a server starts a server of its own (`Kafka(tmp_path)`).
"""

import os
import secrets
from collections.abc import Iterator
from typing import NoReturn, TypeVar

import pytest

from testbed.kafka import Kafka
from testbed.postgis import PostGIS
from testbed.process import Server, ServerMissing
from testbed.s3 import S3

Kind = TypeVar("Kind", bound=Server)
USERS = {"box": "box-pw", "centre": "centre-pw", "subscriber": "subscriber-pw"}
"""Of `secure_kafka`."""


def need(error: ServerMissing) -> NoReturn:
    """Skip the test, unless LINLI_REQUIRE_SERVERS=1 says that the servers have to be there."""
    if os.environ.get("LINLI_REQUIRE_SERVERS") == "1":
        raise error
    pytest.skip(str(error))


def started(server: Kind) -> Kind:
    """The server, ready; the test is skipped if it cannot be had."""
    try:
        server.start()
    except ServerMissing as error:
        need(error)
    return server


def apache(server: Kafka) -> Kafka:
    """The broker, if it is Apache Kafka: its stand-in loses at a kill what it had acknowledged."""
    if server.stand_in:
        need(ServerMissing("Apache Kafka cannot be had here, and its stand-in keeps nothing through a kill"))
    return server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker without passwords."""
    server = Kafka(tmp_path_factory.mktemp("kafka"))
    yield started(server)
    server.remove()


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker with TLS, SCRAM for `USERS`, and ACLs: none of them may do anything yet."""
    server = Kafka(tmp_path_factory.mktemp("secure-kafka"), users=USERS, acls=True)
    yield started(server)
    server.remove()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A store without TLS."""
    server = S3(tmp_path_factory.mktemp("s3"))
    yield started(server)
    server.remove()


@pytest.fixture(scope="session")
def postgis() -> Iterator[PostGIS]:
    """A cluster with PostGIS."""
    server = PostGIS()
    try:
        yield started(server)
    finally:
        server.remove()


@pytest.fixture
def topic_prefix() -> str:
    """What the names of this test's topics begin with; with a full stop at its end."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture
def bucket(s3: S3) -> str:
    """A new bucket."""
    return s3.new_bucket()


@pytest.fixture
def database(postgis: PostGIS) -> Iterator[str]:
    """The DSN of a new database with PostGIS in it; dropped after the test."""
    dsn = postgis.new_database()
    yield dsn
    postgis.drop_database(dsn)

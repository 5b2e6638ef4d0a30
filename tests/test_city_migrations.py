"""The city's tables are made and brought up to date by revisions, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from events.errors import StorageError
from storage.city.engine import connected, reading, writing
from storage.city.metadata import METADATA
from storage.city.migrating import FORMS, check, form, migrate, ready
from testbed.city_form import described, form_of
from testbed.postgis import PostGIS

AGAIN = "`python -m testbed.city_form NUMBER` writes a revision that nobody has used yet anew"


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A database without tables."""
    return tmp_path / "city.db" if request.param == "sqlite" else request.getfixturevalue("database")


@pytest.fixture
def other(where: Path | str, tmp_path: Path, request: pytest.FixtureRequest) -> Path | str:
    """Another one of the same kind."""
    if isinstance(where, Path):
        return tmp_path / "other.db"
    server: PostGIS = request.getfixturevalue("postgis")
    return server.new_database()


def test_forms_are_the_revisions() -> None:
    config = Config()
    config.set_main_option("script_location", "storage.city:migrations")
    config.set_main_option("version_path_separator", "os")
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == FORMS


def test_revisions_make_what_the_code_describes(where: Path | str, other: Path | str) -> None:
    made, meant = connected(where), connected(other)
    assert migrate(made) == list(FORMS)
    described(meant)
    assert form_of(made), "something is compared"
    assert form_of(made) == form_of(meant), AGAIN
    with reading(made) as connection:
        assert form(connection) == FORMS[-1]
    made.dispose()
    meant.dispose()


def test_a_migration_that_fails_leaves_nothing(where: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = connected(where)
    from storage.city import migrating

    whole = migrating.statements

    def broken(revision: str, dialect: str) -> list[str]:
        return [*whole(revision, dialect), "CREATE TABLE cases (n integer)"]

    before = form_of(engine)
    monkeypatch.setattr(migrating, "statements", broken)
    with pytest.raises(StorageError, match="cases"):
        migrate(engine)
    assert form_of(engine) == before
    monkeypatch.undo()
    assert migrate(engine) == list(FORMS)
    assert migrate(engine) == []
    engine.dispose()


def test_several_who_open_an_empty_database_at_once(where: Path | str) -> None:
    engines = [connected(where) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ready, engines))
    with reading(engines[0]) as connection:
        assert form(connection) == FORMS[-1]
        assert connection.execute(text("SELECT count(*) FROM city_form")).scalar() == 1
    for engine in engines:
        engine.dispose()


def test_of_a_newer_form_it_keeps_its_hands(where: Path | str) -> None:
    engine = connected(where)
    ready(engine)
    with writing(engine) as connection:
        connection.execute(text("UPDATE city_form SET version_num = '9999'"))
    for open_it in (check, ready, migrate):
        with pytest.raises(StorageError, match=r"newer Linli \(the city's form 9999"):
            open_it(engine)
    engine.dispose()


def test_a_database_without_postgis_says_so(postgis: PostGIS) -> None:
    dsn = postgis.new_database(bare=True)
    engine = connected(dsn)
    with pytest.raises(StorageError, match="has no PostGIS; run `linli store migrate`"):
        ready(engine)
    engine.dispose()
    postgis.drop_database(dsn)


def test_all_tables_have_names_of_their_own() -> None:
    boxes = {
        "alerts",
        "events",
        "offsets",
        "totals",
        "intervals",
        "faces",
        "views",
        "health",
        "claims",
        "access",
    }
    assert not boxes & set(METADATA.tables), "the box's store may lie in the same database"

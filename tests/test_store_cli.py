"""`linli store`: what a person is told of a store on PostgreSQL."""

from pathlib import Path

from click.testing import CliRunner

from cli.main import main
from storage.city.store import CityStore
from storage.objects import FolderObjects
from storage.postgres import PostgresStore
from testbed.postgis import PostGIS
from tests.contracts.city_examples import Life, whole_life
from tests.contracts.examples import EPOCH, alert, claim, crossing
from tests.contracts.store import LOG, records
from tests.storeworks import new_store

SITE = """
[site]
id = "town"
[[camera]]
id = "gate"
url = "rtsp://192.0.2.10/main"
rules = [{ kind = "line", name = "door", points = [[0.1, 0.6], [0.9, 0.6]] }]
"""


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["store", *arguments])
    return done.exit_code, done.output


def test_a_database_is_set_up_and_looked_at(postgis: PostGIS) -> None:
    dsn = postgis.new_database(bare=True)
    name = f"the store at 127.0.0.1:{postgis.port}/{dsn.rpartition('/')[2]}"
    code, said = run("check", dsn)
    assert (code, said) == (
        2,
        f"linli: {name}: the database has neither PostGIS nor Linli's tables; run `linli store migrate`\n",
    )
    assert run("migrate", dsn) == (0, f"{name}: applied 0001, 0002, 0003\n")
    assert run("migrate", dsn) == (0, f"{name}: is up to date\n")
    store = PostgresStore(dsn)
    later = EPOCH + 1_000_000
    claims = [claim("a", EPOCH, 1, EPOCH), claim("b", later, 2, later)]
    store.apply(LOG, records([*claims, alert("a1")[0], crossing(0), crossing(1)]))
    store.close()
    found = f"{name}: form 0003, 5 events (1 superseded), 1 alerts (0 open)\n"
    assert run("check", dsn) == (0, found)
    postgis.drop_database(dsn)


def test_a_site_file_names_the_store_and_its_login(postgis: PostGIS, tmp_path: Path) -> None:
    dsn, site, login = new_store(postgis), tmp_path / "site.toml", tmp_path / "login"
    login.write_text("postgres:not-asked-for\n")
    login.chmod(0o600)
    site.write_text(SITE)
    code, said = run("check", str(site))
    assert (code, "keeps its store in a file" in said) == (2, True)
    bare = dsn.replace("postgres@", "")
    site.write_text(f'{SITE}[store]\nurl = "{bare}"\ncredentials = "file:login"\n')
    code, said = run("check", str(site))
    assert (code, "form 0003, 0 events" in said) == (0, True)
    assert "not-asked-for" not in said
    postgis.drop_database(dsn)


def test_the_city_s_tables_are_set_up_and_looked_at_with_the_rest(postgis: PostGIS, tmp_path: Path) -> None:
    dsn, site = postgis.new_database(bare=True), tmp_path / "site.toml"
    name = f"the store at 127.0.0.1:{postgis.port}/{dsn.rpartition('/')[2]}"
    site.write_text(f'{SITE}[store]\nurl = "{dsn}"\n[city]\ncode = "370481"\n')
    assert run("migrate", dsn) == (0, f"{name}: applied 0001, 0002, 0003\n")
    code, said = run("check", str(site))
    assert (code, "has no tables of the city yet; run `linli store migrate`" in said) == (2, True)
    assert run("migrate", str(site)) == (
        0,
        f"{name}: is up to date\n{name}, the city's tables: applied 0001\n",
    )
    assert run("migrate", dsn) == (0, f"{name}: is up to date\n{name}, the city's tables: is up to date\n")
    store = CityStore(dsn, FolderObjects(tmp_path / "objects"), None)  # type: ignore[arg-type]
    store.apply(LOG, records([*whole_life("c1"), Life("c2").open()]))
    store.close()
    code, said = run("check", dsn)
    assert (code, said.splitlines()[1]) == (0, f"{name}, the city's tables: form 0001, 2 cases (1 open)")
    postgis.drop_database(dsn)

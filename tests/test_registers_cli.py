"""`linli registers` over a site's real files: key, import, show, export, erase, and what is written down."""

import csv
import json
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from city.features import Feature
from city.persons import check_digit
from cli import cityhall
from cli import settings as site_settings
from cli.main import main
from events.civic import PlaceChanged, place_source
from events.clock import SystemClock
from events.events import Access, Event
from events.ids import event_id
from pipeline.projector import catch_up
from storage.logbus import LogBus

SITE = """
[site]
id = "town"
data = "data"
[city]
code = "370481"
vault_key = "vault.key"
[[camera]]
id = "gate"
url = "rtsp://192.0.2.1/main"
"""
NUMBER = "99048119440305001"
NUMBER += check_digit(NUMBER)
NUMBER_2 = "99048119440305003"
WRONG = NUMBER_2 + ("0" if check_digit(NUMBER_2) != "0" else "1")
NUMBER_2 += check_digit(NUMBER_2)
PEOPLE = f"""居民编号,姓名,身份证号,现住房屋编号,入住日期,户籍地
1,=李合成,{NUMBER},H1,2010年1月1日,H1
2,王合成,{WRONG},H1,2010-01-01,外地
3,赵合成,,H1,2010/1/1,
4,陈合成,,H9,2010/1/1,
"""
MAPPING = """survey = "census"
[columns]
person = "居民编号"
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    (tmp_path / "homes.csv").write_text("home,building,address\nH1,B1,合成路1号\nH2,B1,合成路2号\n")
    (tmp_path / "people.csv").write_bytes(PEOPLE.encode("gb18030"))
    (tmp_path / "mapping.toml").write_text(MAPPING)
    assert run("key", "new", str(tmp_path / "vault.key")).exit_code == 0
    with projecting(path):
        yield path


@contextmanager
def projecting(site: Path) -> Iterator[None]:
    """The site's projector runs, and the map has a building."""
    clock, stop = SystemClock(), threading.Event()
    hall = cityhall.opened(site_settings.load(site), clock)
    building = Feature(
        id="B1",
        what="building",
        name="B1",
        parent="370481001001G01",
        geometry={"type": "Point", "coordinates": [117.0, 35.0]},
    )
    data = PlaceChanged(
        what="building", feature="B1", body=msgspec.json.encode(building).decode(), valid_us=1, who="test"
    )
    source = place_source("town", "building", "B1")
    event = Event(id=event_id(source, "place", 0), source=source, time_us=1, epoch=0, sequence=0, data=data)
    hall.journal.append_next([event])

    def project() -> None:
        subscription = LogBus(hall.journal, clock).subscribe("test", start=hall.store.offset)
        while not stop.is_set():
            catch_up(subscription, hall.store, timeout_s=0.05)

    thread = threading.Thread(target=project, name="projector")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        hall.close()


def run(*arguments: str, input: str = "") -> Result:
    return CliRunner().invoke(main, ["registers", *arguments], input=input)


def beside(site: Path, name: str) -> str:
    return str(site.with_name(name))


def settled(site: Path) -> None:
    clock = SystemClock()
    hall = cityhall.opened(site_settings.load(site), clock)
    for _ in range(1000):
        if hall.store.offset(hall.journal.id) >= hall.journal.last_offset():
            break
        clock.sleep(0.01)
    else:
        pytest.fail("the projector did not keep up")
    hall.close()


def accesses(site: Path) -> list[Access]:
    hall = cityhall.opened(site_settings.load(site), SystemClock())
    found = [record.event.data for record in hall.journal.read(0, 10_000, ("access",))]
    hall.close()
    return [one for one in found if isinstance(one, Access)]


def imported(site: Path) -> Result:
    settled(site)
    homes = run("import", str(site), "home", beside(site, "homes.csv"))
    assert "2 rows: 2 taken, 0 known already, 0 rejected" in homes.output, homes.output
    settled(site)
    people = run(
        "import", str(site), "person", beside(site, "people.csv"), "--mapping", beside(site, "mapping.toml")
    )
    settled(site)
    return people


def test_a_key_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "vault.key"
    made = run("key", "new", str(file))
    assert made.exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() not in made.output
    again = run("key", "new", str(file))
    assert again.exit_code == 2
    assert "never overwritten" in again.stderr


def test_rejected_rows_are_mended_and_sent_again(site: Path) -> None:
    dry = run(
        "import",
        str(site),
        "person",
        beside(site, "people.csv"),
        "--mapping",
        beside(site, "mapping.toml"),
        "--dry-run",
    )
    assert dry.exit_code == 1
    assert not Path(beside(site, "people.rejected.csv")).exists()
    people = imported(site)
    assert people.exit_code == 1
    assert "4 rows: 2 taken, 0 known already, 2 rejected" in people.output, people.output
    assert "row 3, 身份证号: the identity number's check digit is wrong" in people.output
    assert "row 5, 现住房屋编号: there is no home 'H9'; import the homes first" in people.output
    rejected = site.with_name("people.rejected.csv")
    assert rejected.stat().st_mode & 0o077 == 0
    with rejected.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["_row"] for row in rows] == ["3", "5"]
    mended = site.with_name("mended.csv")
    text = rejected.read_text("utf-8-sig").replace(WRONG, NUMBER_2).replace("H9", "H2")
    mended.write_text(text)
    again = run("import", str(site), "person", str(mended), "--mapping", beside(site, "mapping.toml"))
    assert "2 rows: 2 taken, 0 known already, 0 rejected" in again.output, again.output
    settled(site)
    # Everything again, the numberless under another file's name: nothing changes.
    whole = site.with_name("second.csv")
    whole.write_text(PEOPLE.replace(WRONG, NUMBER_2).replace("H9", "H2"))
    last = run("import", str(site), "person", str(whole), "--mapping", beside(site, "mapping.toml"), "--json")
    report = json.loads(last.stdout.splitlines()[-1])
    assert (report["taken"], report["unchanged"], report["rejected"]) == (0, 4, 0)
    assert report["batches"] == []


def test_show_export_and_erase_are_written_down(site: Path) -> None:
    imported(site)
    nameless = run("show", str(site), input=f"{NUMBER}\n")
    assert nameless.exit_code == 2
    assert "needs a purpose" in nameless.stderr
    found = run("show", str(site), "--purpose", "certificate", input=f"{NUMBER}\n")
    assert found.exit_code == 0, found.stderr
    shown = json.loads(found.stdout[found.stdout.index("{") :])
    assert shown["masked"]["name"] == "=***"
    assert NUMBER not in found.output
    full = run("show", str(site), shown["ref"], "--purpose", "court order 12")
    assert json.loads(full.stdout)["full"]["identity"] == NUMBER
    file = site.with_name("out.csv")
    assert run("export", str(site), str(file), "--purpose", " ").exit_code == 2
    export = run("export", str(site), str(file), "--purpose", "handover", "--area", "370481001")
    assert "out.csv: 2 persons" in export.output, export.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open(encoding="utf-8-sig") as lines:
        assert {row["name"] for row in csv.DictReader(lines)} == {"'=李合成", "赵合成"}
    kept = run("erase", str(site), shown["ref"], "--reason", "asked", input="n\n")
    assert kept.exit_code == 1
    gone = run("erase", str(site), shown["ref"], "--reason", "asked", "--yes")
    assert gone.exit_code == 0, gone.output
    assert run("show", str(site), shown["ref"]).exit_code == 2
    noted = [(one.what, one.plain, one.purpose, one.allowed) for one in accesses(site)]
    assert noted == [
        ("person-lookup", False, "certificate", True),
        ("person", True, "court order 12", True),
        ("person-export", True, "handover", True),
        ("person-erasure", False, "", True),
        ("person.read", False, "", False),
    ]
    assert all(one.who.startswith("cli ") for one in accesses(site))
    # The same file does not bring back who was erased.
    again = run(
        "import", str(site), "person", beside(site, "people.csv"), "--mapping", beside(site, "mapping.toml")
    )
    assert "this person was erased; somebody has to enter them anew, by hand" in again.output


def test_nothing_of_a_person_is_in_the_journal_or_the_stores_file(site: Path) -> None:
    imported(site)
    data = site.parent / "data"
    files = [path for path in data.rglob("*") if path.is_file()]
    assert {"journal.db", "city.db", "vault.db"} <= {path.name for path in files}
    for path in files:
        body = path.read_bytes()
        for secret in ("李合成", "赵合成", NUMBER):
            assert secret.encode() not in body, path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[columns]\nfoo = '姓名'\n", "the mapping names a field 'foo'"),
        ("[columns]\nname = 'nome'\n", "a heading 'nome', which the file has not"),
        ("[colums]\n", "unknown field"),
        ("[columns\n", "cannot be used"),
    ],
)
def test_a_mapping_that_cannot_be_used(site: Path, content: str, why: str) -> None:
    site.with_name("mapping.toml").write_text(content)
    refused = run(
        "import", str(site), "person", beside(site, "people.csv"), "--mapping", beside(site, "mapping.toml")
    )
    assert refused.exit_code == 2
    assert why in refused.stderr


def test_a_key_that_others_may_read_or_another_key_is_refused(site: Path) -> None:
    key = site.with_name("vault.key")
    key.chmod(0o644)
    refused = run("show", str(site), "0" * 24)
    assert refused.exit_code == 2
    assert f"run `chmod 600 {key}`" in refused.stderr
    key.unlink()
    assert run("key", "new", str(key)).exit_code == 0
    other = run("show", str(site), "0" * 24)
    assert other.exit_code == 2
    assert "begun with another key" in other.stderr

"""`linli appeals import` over a site's real files."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import cityhall
from cli import settings as site_settings
from cli.main import main
from events.clock import SystemClock
from pipeline.projector import catch_up
from storage.city.casequery import CaseQuery
from storage.logbus import LogBus

SITE = """
[site]
id = "town"
data = "data"
[city]
code = "370481"
[[camera]]
id = "gate"
url = "rtsp://192.0.2.1/main"
"""
RECORDS = """工单编号,来电时间,诉求分类,诉求内容,电话
A1,2026-03-02 08:00:00,噪音扰民,=夜里很吵,13900000001
A2,2026-03-02 09:00:00,龙,看见了龙,13900000002
A3,2026-03-03 09:00:00,water,停水,13900000003
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    (tmp_path / "records.csv").write_bytes(RECORDS.encode("gb18030"))
    return path


def run(site: Path, *arguments: str) -> Result:
    file = str(site.with_name("records.csv"))
    return CliRunner().invoke(main, ["appeals", "import", str(site), file, *arguments])


def kept(site: Path) -> list[str]:
    """Numbers of the appeals in the store, once it has what the journal has."""
    clock = SystemClock()
    hall = cityhall.opened(site_settings.load(site), clock)
    try:
        subscription = LogBus(hall.journal, clock).subscribe("test", start=hall.store.offset)
        while catch_up(subscription, hall.store, timeout_s=0.05):
            pass
        return sorted(case.reference for case in hall.store.cases.page(CaseQuery(scenario="appeal")).cases)
    finally:
        hall.close()


def test_a_dry_run_then_the_real_one_then_the_mended_rest(site: Path) -> None:
    dry = run(site, "--dry-run", "--json")
    assert dry.exit_code == 1
    assert json.loads(dry.stdout.splitlines()[-1])["taken"] == 2
    assert kept(site) == []
    real = run(site)
    assert real.exit_code == 1
    assert "3 records: 2 taken, 0 here already, 1 rejected" in real.output
    assert "there is no category '龙'" in real.output
    assert kept(site) == ["A1", "A3"]
    rejected = site.with_name("records.rejected.csv")
    assert rejected.stat().st_mode & 0o077 == 0
    with rejected.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [(row["工单编号"], row["_row"]) for row in rows] == [("A2", "3")]
    # Mended and sent again, with everything else once more.
    mapping = site.with_name("mapping.toml")
    mapping.write_text('[values.category]\n"龙" = "other"\n')
    again = run(site, "--mapping", str(mapping))
    assert again.exit_code == 0, again.output
    assert "3 records: 1 taken, 2 here already, 0 rejected" in again.output
    assert kept(site) == ["A1", "A2", "A3"]


def test_a_mapping_that_is_none(site: Path) -> None:
    mapping = site.with_name("mapping.toml")
    mapping.write_text('[columns]\nnumber = "x"\n')
    answer = run(site, "--mapping", str(mapping))
    assert answer.exit_code == 2
    assert "no field 'number'" in answer.output


def test_no_personal_word_is_printed(site: Path) -> None:
    shown = run(site).output
    assert "139" not in shown
    assert "夜里" not in shown

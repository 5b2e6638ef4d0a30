"""`linli cases` over a site's real files."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from city.rights import system
from city.scenario import Opening
from cli import cityhall
from cli import settings as site_settings
from cli.main import main
from desk.cases import CaseDesk
from desk.words import Words
from events.clock import SystemClock
from pipeline.projector import Projector
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
WORDS = Words(text="门口的井盖坏了", name="李某某")


class Desk:
    """A site whose desk runs, with one matter."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site.toml"
        self.site.write_text(SITE)
        self.clock = SystemClock()
        self.hall = cityhall.opened(site_settings.load(self.site), self.clock)
        hall = self.hall
        self.projector = Projector(LogBus(hall.journal, self.clock), hall.store, self.clock, group="city")
        self.projector.start()
        desk = CaseDesk(
            hall.journal, hall.store, hall.packs, self.clock, "town", hall.calendar, words=hall.words
        )
        opening = Opening(category="0203", title="井盖破损", area="370481001001", channel="grid")
        self.case = desk.open("matter", opening, system("grid"), words=WORDS).case

    def __call__(self, *args: str) -> Result:
        return CliRunner().invoke(main, ["cases", args[0], str(self.site), *args[1:]])

    def close(self) -> None:
        self.projector.stop()
        self.hall.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_what_is_open_is_listed(desk: Desk) -> None:
    said = desk("list")
    assert said.exit_code == 0
    assert f"{desk.case}  matter reported  grid 370481001001  井盖破损  due " in said.stdout
    assert desk("list", "--area", "370482").stdout == ""
    assert desk("list", "--overdue").stdout == ""
    row = json.loads(desk("list", "--scenario", "matter", "--json").stdout)
    assert (row["case"], row["state"]) == (desk.case, "reported")


def test_a_step_is_signed_and_shown_and_a_wrong_one_refused(desk: Desk) -> None:
    who = ("--who", "du", "--role", "dispatcher")
    assert "matter accepted" in desk("step", desk.case, "accept", *who).stdout
    sent = desk("step", desk.case, "dispatch", *who, "--holder", "water")
    assert "matter dispatched  grid 370481001001  water" in sent.stdout
    wrong = desk("step", desk.case, "close", *who)
    assert wrong.exit_code == 2
    assert "not from the state 'dispatched'" in wrong.stderr
    history = desk("show", desk.case)
    assert "opened by grid (system): 井盖破损" in history.stdout
    assert "dispatch by du (dispatcher): accepted -> dispatched" in history.stdout
    assert "李某某" not in history.stdout
    assert [
        json.loads(line)["version"] for line in desk("show", desk.case, "--json").stdout.splitlines()
    ] == [*range(3)]


def test_a_persons_words_are_erased_when_that_was_confirmed(desk: Desk) -> None:
    sealed = desk.hall.store.cases.case(desk.case)
    assert sealed is not None
    asked = ("erase", desk.case, "--reason", "asked", "--who", "officer")
    assert desk(*asked).exit_code == 1  # nobody said yes
    assert desk.hall.words.read(desk.case, sealed.sealed) == WORDS
    assert desk(*asked, "--yes").stdout == f"{desk.case}: erased\n"
    assert desk.hall.words.read(desk.case, sealed.sealed) is None
    assert desk(*asked, "--yes").stdout == f"{desk.case}: was erased before\n"


def test_what_is_not_there_is_said(desk: Desk, tmp_path: Path) -> None:
    for args in (("show", "nothing"), ("erase", "nothing", "--reason", "asked", "--who", "x", "--yes")):
        said = desk(*args)
        assert said.exit_code == 2
        assert "there is no case 'nothing'" in said.stderr
    bare = tmp_path / "bare.toml"
    bare.write_text(SITE.replace('[city]\ncode = "370481"\n', ""))
    assert "has no city" in CliRunner().invoke(main, ["cases", "list", str(bare)]).stderr

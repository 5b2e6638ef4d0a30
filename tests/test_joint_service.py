"""Joint alerts through a real journal: nothing lost, nothing doubled, whatever is killed when."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.clock import ManualClock
from events.errors import DiskFull
from events.events import AlertRaised, Event
from events.joint import JointEngine
from events.joint_rules import Joint, Part
from events.noted import Noted
from pipeline.joint import COMMIT_S, GROUP, JointService
from storage.journal import Journal
from storage.logbus import LogBus
from tests.siteworks import until
from tests.test_joint import JOINT, LANE, MANHOLE, cleared, raised

NOW = Joint(name="now", of=(MANHOLE, LANE), within_s=5)
STORY = [
    raised(MANHOLE, "m1", 0),
    raised(LANE, "p1", 3),
    raised(LANE, "p2", 20),
    cleared(LANE, "p1", 30),
    cleared(LANE, "p2", 40),
    raised(LANE, "p3", 50),
    cleared(MANHOLE, "m1", 60),
    raised(Part(camera="lane", rule="other"), "o1", 61),
    raised(MANHOLE, "m2", 70),
]


class Killed(BaseException):
    """The process is no more."""


class Site:
    """A journal with the alerts of a camera and a sensor, and the service over it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.journal = Journal(folder / "journal.db", self.clock, group_s=0.0)
        self.bus = LogBus(self.journal, self.clock)
        self.n = 0

    def happens(self, *events: Event) -> None:
        self.n += len(events)
        self.journal.record(
            [Noted(e.source, f"{self.n}-{i}", e.data, e.time_us) for i, e in enumerate(events)]
        )
        self.journal.flush()

    def service(self, *joints: Joint) -> JointService:
        return JointService(self.bus, self.journal, JointEngine("town", joints or (JOINT, NOW)), self.clock)

    def run(self, *joints: Joint) -> None:
        """From start to stop: all that is there is taken."""
        service = self.service(*joints)
        service.start()
        service.stop()
        assert not service.alive

    def told(self) -> list[tuple[str, str, str, int]]:
        """Joint alerts in the journal: id, source, type and time."""
        events = [record.event for record in self.journal.read(0, 10_000)]
        return [(e.id, e.source, e.type, e.time_us) for e in events if "/joint/" in e.source]

    def open(self) -> set[str]:
        opened: set[str] = set()
        for _, source, type_, _ in self.told():
            {"raised": opened.add, "updated": lambda _: None, "cleared": opened.remove}[type_.split(".")[2]](
                source
            )
        return opened


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.journal.close()


@pytest.fixture
def expected(tmp_path: Path) -> Iterator[list[tuple[str, str, str, int]]]:
    """What is told when nobody is killed."""
    (tmp_path / "undisturbed").mkdir()
    other = Site(tmp_path / "undisturbed")
    other.run()
    for event in STORY:
        other.happens(event)
        other.run()
    yield other.told()
    other.journal.close()


def test_what_comes_together_is_journaled_as_an_alert(site: Site) -> None:
    service = site.service()
    service.start()
    site.happens(*STORY[:2])
    until(lambda: len(site.told()) == 2, 10, "both joint alerts are journaled")
    site.happens(*STORY[2:])
    service.stop()
    assert site.open() == {"/town/joint/danger"}  # m2 and p3
    events = [r.event for r in site.journal.read(0, 1000) if "/joint/" in r.event.source]
    for source in ("/town/joint/danger", "/town/joint/now"):
        assert [e.sequence for e in events if e.source == source] == list(
            range(len([e for e in events if e.source == source]))
        )
    first = events[0].data
    assert isinstance(first, AlertRaised)
    assert first.causes == ("m1", "p1")


def test_it_does_not_answer_itself(site: Site) -> None:
    site.run()
    site.happens(*STORY[:2])
    site.run()
    told = site.told()
    for _ in range(3):
        site.run()
    assert site.told() == told


POINTS = ["poll", "feed", "record", "recorded", "commit", "committed"]


def kill_at(service: JointService, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies before (or after) it does this, once the story goes on."""

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    real_record, real_commit = service._journal.record, service._commit

    def recorded(items: Any, **more: Any) -> None:
        real_record(items, **more)
        service._journal.flush()  # it reached the disk, and nothing after it
        raise Killed

    def committed(subscription: Any) -> None:
        real_commit(subscription)
        raise Killed

    if point == "feed":
        monkeypatch.setattr(service._engine, "feed", die)
    elif point == "record":
        monkeypatch.setattr(service._journal, "record", die)
    elif point == "recorded":
        monkeypatch.setattr(service._journal, "record", recorded)
    elif point == "commit":
        monkeypatch.setattr(service, "_commit", die)
    elif point == "committed":
        monkeypatch.setattr(service, "_commit", committed)


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_step_neither_loses_nor_doubles(
    site: Site, point: str, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.run()
    deaths = 0
    for event in STORY:
        service = site.service()
        subscription = site.bus.subscribe(GROUP, ("alert",))
        service.resume(subscription)
        site.happens(event)
        with monkeypatch.context() as patch:
            kill_at(service, point, patch)
            try:
                if point == "poll":
                    raise Killed
                service.work(subscription, 0.0)
            except Killed:
                deaths += 1
    site.run()
    assert site.told() == expected
    assert deaths >= len(STORY) - 1


def test_the_state_says_where_to_go_on_whatever_the_bus_says(site: Site) -> None:
    site.run()
    site.happens(*STORY[:2])
    at = site.journal.last_offset()
    site.journal.commit(GROUP, at)
    site.run()
    assert len(site.told()) == 2
    subscription = site.bus.subscribe(GROUP, ("alert",))
    site.service().resume(subscription)
    assert subscription.position == {site.journal.id: at}, "nothing is read again"


def test_many_records_at_once_are_the_same(site: Site, expected: list[Any]) -> None:
    site.run()
    site.happens(*STORY)
    site.run()
    assert site.told() == expected


def test_at_its_first_start_only_what_holds_is_told(site: Site) -> None:
    site.happens(*STORY)
    site.run()
    ((_, source, type_, _),) = site.told()
    assert (source, type_) == ("/town/joint/danger", "linli.alert.raised.v1")


def test_a_joint_that_is_no_more_is_cleared(site: Site) -> None:
    site.run()
    site.happens(*STORY[:2])
    site.run()
    assert site.open() == {"/town/joint/danger", "/town/joint/now"}
    site.run(NOW)
    assert site.open() == {"/town/joint/now"}


def test_what_does_not_concern_it_is_committed_now_and_then(site: Site) -> None:
    service = site.service()
    subscription = site.bus.subscribe(GROUP, ("alert",))
    service.resume(subscription)
    before = site.journal.committed(GROUP)
    site.happens(STORY[7])
    assert service.work(subscription, 0.0) == 1
    assert site.journal.committed(GROUP) == before
    site.clock.advance(COMMIT_S)
    service.work(subscription, 0.0)
    assert site.journal.committed(GROUP) == site.journal.last_offset()


def test_a_journal_that_cannot_be_written_for_a_while_gets_it_later(
    site: Site, expected: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.run()
    service = site.service()
    service._stop.wait = lambda timeout=None: False  # type: ignore[method-assign,assignment]
    real, fails = site.journal.record, [4]

    def record(items: Any, **more: Any) -> None:
        if "state" in more and fails[0]:
            fails[0] -= 1
            raise DiskFull("no room for the journal; free some space")
        real(items, **more)

    monkeypatch.setattr(site.journal, "record", record)
    service.start()
    for event in STORY:
        site.happens(event)
    service.stop()
    assert site.told() == expected
    assert caplog.text.count("no room for the journal") == 1, "said once"


def test_a_state_that_cannot_be_read_is_begun_anew(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.run()
    site.journal.record([], state=(GROUP, b'{"of": "another version"}'))
    site.happens(*STORY[:2])
    site.run()
    assert len(site.told()) == 2
    assert "begin anew" in caplog.text

"""Orders of the platform above: cases here, answers there, each once, whatever is cut, killed or late."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from city.rights import Actor
from city.scenario import Opening
from desk.orders import CHANNEL, Orders
from desk.upstream import (
    DueChanged,
    Incoming,
    Order,
    Redo,
    Reporter,
    ReturnGranted,
    ReturnRefused,
    Verdict,
    Withdrawn,
    written,
)
from desk.upstreamfiles import FilesUpstream
from desk.upstreamhttp import HttpUpstream
from desk.words import Words
from events.civic import case_source
from events.errors import UpstreamAway
from events.media import parse_rfc3339
from pipeline.upstream import PATIENCE_S, UpstreamService
from testbed.lives import Life
from testbed.upstream import FilePlatform, Platform
from tests.flowworks import GRID, INSIDE, SITE, Works
from tests.siteworks import until

NUMBER = "20260302-0001"
SECRET = "门口的井盖坏了，我摔倒了"
DUE = "2026-03-06T18:00:00+08:00"
LATER = "2026-03-09T18:00:00+08:00"
CLERK = Actor("cao", "clerk", "*")
DISPATCHER = Actor("du", "dispatcher", "*")
HANDLER = Actor("hu", "handler", "*", org="water")
CHECKER = Actor("che", "checker", "*")


def sent(minutes: int) -> str:
    return f"2026-03-02T08:{minutes:02d}:00+08:00"


def order(message: str = "m-1", minutes: int = 0, **more: Any) -> Order:
    reporter = Reporter(name="李某某", phone="13800001111", address="平安小区3号楼")
    what = {"number": NUMBER, "title": "井盖破损", "category": "0203", "due": DUE, "place": INSIDE}
    values: dict[str, Any] = what | {"words": SECRET, "reporter": reporter}
    return Order(message=message, sent=sent(minutes), **(values | more))


def about(kind: type[Any], message: str, minutes: int, **more: Any) -> Any:
    return kind(message=message, number=NUMBER, sent=sent(minutes), **more)


class Above(Works):
    """A desk with a platform above it."""

    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(folder, **more)
        self.orders = Orders(self.book, self.store, self.packs, self.clock, self.calendar, self.words)
        self.id = self.orders.case_of(NUMBER)

    def takes(self, *messages: Incoming) -> list[bool]:
        return [self.orders.take(message) for message in messages]

    def due(self, clock: str = "upstream") -> int:
        """When a clock of the case runs out; 0: it does not run."""
        return next((d.due_us for d in self.case(self.id).deadlines if d.name == clock and d.runs), 0)

    def handled(self) -> None:
        """The plain way to the end, by people."""
        self.step(self.id, "dispatch", DISPATCHER, holder="water")
        self.step(self.id, "sign", HANDLER)
        self.again()

    def again(self) -> None:
        """From being handled to closed."""
        self.step(self.id, "handle", HANDLER, note="盖板已更换")
        self.step(self.id, "verify", CHECKER)
        self.step(self.id, "close", CHECKER, Words(text="您好，已修好"), note="已更换井盖")


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Above]:
    works = Above(tmp_path)
    works.grounded()
    yield works
    works.close()


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as platform:
        yield platform


def service(works: Above, platform: Platform) -> UpstreamService:
    upstream = HttpUpstream(platform.url, works.clock)
    return UpstreamService(works.bus, upstream, works.orders, works.clock)


def exchange(service: UpstreamService) -> None:
    """All that there is goes both ways."""
    while service.take_in() + service.give_out():
        pass


# -- what comes


def test_an_order_is_a_case_with_the_platforms_deadline(works: Above) -> None:
    assert works.takes(order()) == [True]
    case = works.case(works.id)
    assert (case.channel, case.reference, case.level, case.area) == (CHANNEL, NUMBER, "city", GRID)
    assert (case.title, case.category, case.place) == ("井盖破损", "0203", INSIDE)
    assert works.due() == parse_rfc3339(DUE)


def test_a_persons_words_are_sealed_before_anything_is_journaled(works: Above, tmp_path: Path) -> None:
    works.takes(order())
    case = works.case(works.id)
    words = works.words.read(case.case, case.sealed)
    assert words == Words(text=SECRET, name="李某某", phone="13800001111", address="平安小区3号楼")
    works.show()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            for secret in (SECRET, "李某某", "13800001111", "平安小区"):
                assert secret.encode() not in path.read_bytes(), path


def test_the_same_order_twice_is_one_case(works: Above) -> None:
    works.takes(order(), order(), order("m-9"))
    assert [step.__class__.__name__ for step in works.steps(works.id)] == ["CaseOpened"]
    assert len(list(works.objects.keys("cases/"))) == 1


def test_what_follows_waits_for_its_order(works: Above) -> None:
    redo = about(Redo, "m-2", 5, reason="照片不清楚")
    assert works.takes(redo, order(), redo, redo) == [False, True, True, True]
    assert works.actions(works.id) == ["upstream-redo"]


def test_an_order_without_anything_personal_seals_nothing(works: Above) -> None:
    works.takes(order(words="", reporter=Reporter()))
    assert works.case(works.id).sealed == ""
    assert list(works.objects.keys("cases/")) == []


# -- its deadline wins


def test_it_has_to_be_accepted_by_when_the_platform_wants_to_know(works: Above) -> None:
    works.takes(order(sign_by="2026-03-02T10:00:00+08:00"))
    assert works.due("accept") == parse_rfc3339("2026-03-02T10:00:00+08:00")
    assert works.due() == parse_rfc3339(DUE)


def test_no_clock_runs_longer_than_the_platforms(works: Above) -> None:
    works.takes(order(due="2026-03-03T12:00:00+08:00"))
    works.step(works.id, "accept", DISPATCHER)
    works.step(works.id, "dispatch", DISPATCHER, holder="water")
    end = parse_rfc3339("2026-03-03T12:00:00+08:00")
    assert {works.due(name) for name in ("upstream", "handle", "total", "sign")} == {end}
    works.step(works.id, "extend", DISPATCHER, note="rain", approver="director", amount=5)
    assert works.due("handle") == end
    works.step(works.id, "park", DISPATCHER, note="no money", approver="director")
    assert works.due() == end  # parking does not stop it
    works.clock.advance(2 * 86_400)
    works.tick()
    assert "overdue" in works.case(works.id).marks


@pytest.mark.parametrize("order_of", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_the_newest_word_on_the_deadline_holds_whatever_comes_first(
    works: Above, order_of: tuple[int, ...]
) -> None:
    days = ["2026-03-10T18:00:00+08:00", "2026-03-04T18:00:00+08:00", "2026-03-12T18:00:00+08:00"]
    changes = [about(DueChanged, f"d-{n}", n + 1, due=day) for n, day in enumerate(days)]
    works.takes(order(), *(changes[n] for n in order_of), *changes)
    assert works.due() == parse_rfc3339(days[2])
    assert works.actions(works.id).count("upstream-deadline") == len(
        [n for i, n in enumerate(order_of) if n > max(order_of[:i], default=-1)]
    )


# -- there and back


def test_the_way_of_an_order_and_what_the_platform_hears_of_it(works: Above, platform: Platform) -> None:
    platform.give(order())
    exchange(service(works, platform))
    works.step(works.id, "accept", DISPATCHER)
    works.handled()
    exchange(service(works, platform))
    signed, reply = (platform.answers[id] for id in platform.order)
    assert (signed["kind"], signed["number"]) == ("signed", NUMBER)
    assert (reply["kind"], reply["note"], reply["answer"]) == ("reply", "已更换井盖", "您好，已修好")
    assert reply["by"] == "water"

    platform.give(about(Redo, "m-2", 10, reason="市民不满意", due=LATER))
    exchange(service(works, platform))
    case = works.case(works.id)
    assert (case.state, case.closed_us, works.due()) == ("handling", 0, parse_rfc3339(LATER))
    works.again()
    exchange(service(works, platform))
    assert [platform.answers[id]["kind"] for id in platform.order] == ["signed", "reply", "reply"]

    platform.give(about(Verdict, "m-3", 20, solved=True, satisfied=False, reason="太慢"))
    exchange(service(works, platform))
    assert {"called-back", "solved", "dissatisfied"} <= set(works.case(works.id).marks)
    assert works.case(works.id).state == "closed"
    said = works.journal.history(case_source(SITE, works.id), "case")[-1].data
    assert (said.who, said.note) == ("upstream", ""), "a citizen's words are in no event"  # type: ignore[union-attr]
    assert works.words.read(works.id, said.sealed) == Words(text="太慢")  # type: ignore[union-attr]
    assert len(platform.order) == 3
    assert platform.waiting == 0


@pytest.mark.parametrize("granted", [True, False])
def test_an_order_that_is_not_ours_is_asked_to_be_taken_back(
    works: Above, platform: Platform, granted: bool
) -> None:
    platform.give(order())
    exchange(service(works, platform))
    works.step(works.id, "accept", DISPATCHER)
    works.step(works.id, "upstream-return", DISPATCHER, note="邻市管辖", approver="director")
    exchange(service(works, platform))
    asked = platform.answers[platform.order[-1]]
    assert (asked["kind"], asked["reason"], asked["approver"]) == ("return", "邻市管辖", "director")
    if granted:
        platform.give(about(ReturnGranted, "m-2", 9))
        exchange(service(works, platform))
        assert (works.case(works.id).state, works.case(works.id).final) == ("returned", True)
    else:
        platform.give(about(ReturnRefused, "m-2", 9, reason="在你市", due=LATER))
        exchange(service(works, platform))
        assert works.case(works.id).state == "accepted"
        assert works.due() == parse_rfc3339(LATER)


def test_an_order_that_is_withdrawn_is_over(works: Above) -> None:
    works.takes(order(), about(Withdrawn, "m-2", 1, reason="重复"))
    assert works.case(works.id).state == "withdrawn"
    works.takes(about(Withdrawn, "m-2", 1, reason="重复"))
    assert works.actions(works.id) == ["upstream-withdraw"]


def test_a_redo_of_what_is_still_handled_is_written_down_and_its_deadline_holds(works: Above) -> None:
    works.takes(order())
    works.step(works.id, "accept", DISPATCHER)
    works.takes(about(Redo, "m-2", 30, reason="抓紧", due="2026-03-04T12:00:00+08:00"))
    case = works.case(works.id)
    assert (case.state, case.last_action, case.last_by) == ("accepted", "upstream-redo", CHANNEL)
    end = parse_rfc3339("2026-03-04T12:00:00+08:00")
    assert works.due() == end
    assert all(d.due_us <= end for d in case.deadlines if d.runs)


def test_the_platform_is_told_nothing_of_other_cases(works: Above, platform: Platform) -> None:
    other = works.opened(Opening(category="0203", area=GRID, channel="grid"))
    works.step(other, "accept", DISPATCHER)
    exchange(service(works, platform))
    assert platform.answers == {}


# -- what goes wrong


def test_what_the_platform_never_takes_is_written_on_the_case_once(works: Above, platform: Platform) -> None:
    works.takes(order())
    works.step(works.id, "accept", DISPATCHER)
    platform.refuses.add(NUMBER)
    exchange(service(works, platform))
    assert works.actions(works.id) == ["accept", "upstream-refused"]
    assert "422" in works.steps(works.id)[-1].note  # type: ignore[union-attr]
    for event in works.events("case"):
        if event.sequence == 1:
            works.orders.refused(event, "again")
    assert works.actions(works.id) == ["accept", "upstream-refused"]


@pytest.mark.parametrize("fault", ["away", "500", "garbage", "lost", "slow-down"])
def test_nothing_is_lost_or_said_twice_while_the_platform_fails(
    works: Above, platform: Platform, fault: str
) -> None:
    platform.give(order())
    one = service(works, platform)
    exchange(one)
    works.step(works.id, "accept", DISPATCHER)
    platform.give(about(DueChanged, "m-2", 3, due=LATER))
    if fault == "away":
        platform.away()
    else:
        platform.fault = fault
    for _ in range(3):
        for way in (one.take_in, one.give_out):
            with pytest.raises(UpstreamAway):
                way()
    works.handled()
    if fault == "away":
        platform.back()
    platform.fault = ""
    exchange(one)
    assert [platform.answers[id]["kind"] for id in platform.order] == ["signed", "reply"]
    assert works.actions(works.id).count("upstream-deadline") == 1
    assert platform.waiting == 0


def test_bad_messages_are_set_aside_and_the_rest_goes_on(works: Above, platform: Platform) -> None:
    platform.give(written(order("m-7", number="7")).replace(sent(0).encode(), b"yesterday"))
    platform.give(order())
    exchange(service(works, platform))
    assert list(platform.aside) == ["m-7"]
    assert "sent is no time" in platform.aside["m-7"]
    assert works.case(works.id).reference == NUMBER


def test_what_never_gets_its_order_is_set_aside_in_the_end(works: Above, platform: Platform) -> None:
    platform.give(about(Redo, "m-2", 5, reason="照片不清楚"))
    one = service(works, platform)
    exchange(one)
    assert platform.waiting == 1
    works.clock.advance(PATIENCE_S + 1)
    exchange(one)
    assert "there is no order" in platform.aside["m-2"]


def test_the_service_in_its_thread(works: Above, platform: Platform) -> None:
    upstream = HttpUpstream(platform.url, works.clock)
    one = UpstreamService(works.bus, upstream, works.orders, works.clock, every_s=0.05)
    platform.fault = "500"
    one.start()
    until(lambda: one.problems, 20, "nothing was said")
    platform.fault = ""
    platform.give(order())
    until(lambda: works.book.story(works.id), 20, "the order is not here")
    one.stop()
    assert not one.alive


# -- exactly once

STORY: tuple[Incoming, ...] = (
    order(),
    order("m-8", 4, due=LATER),
    about(DueChanged, "m-2", 2, due="2026-03-05T18:00:00+08:00"),
    about(Redo, "m-3", 6, reason="再办", due="2026-03-11T18:00:00+08:00"),
    about(DueChanged, "m-4", 8, due="2026-03-12T18:00:00+08:00"),
    about(DueChanged, "m-5", 9, due="2026-03-20T18:00:00+08:00"),
    about(DueChanged, "m-6", 10, due="2026-03-12T18:00:00+08:00"),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(coming=st.lists(st.integers(0, len(STORY) - 1), max_size=12))
def test_in_whatever_order_and_however_often_messages_come(
    tmp_path_factory: pytest.TempPathFactory, coming: list[int]
) -> None:
    works = Above(tmp_path_factory.mktemp("orders"))
    waiting = [STORY[n] for n in coming] + list(STORY)
    while waiting:
        waiting = [message for message in waiting if not works.orders.take(message)]
    assert works.due() == parse_rfc3339("2026-03-12T18:00:00+08:00")
    causes = [step.detail.get("event") for step in works.steps(works.id)]
    assert len(causes) == len(set(causes))
    assert "upstream-redo" in works.actions(works.id)
    works.close()


ORDERS = 60


def test_whenever_it_is_killed_each_order_is_one_case_and_each_answer_one_message(tmp_path: Path) -> None:
    """Killed eight times; the platform fills one folder and empties another."""
    folder, path = tmp_path / "exchange", tmp_path / "journal.db"
    platform = FilePlatform(folder)
    for n in range(ORDERS):
        platform.give(order(f"m-{n}", 1, number=f"n-{n}"))
        platform.give(order(f"m-{n}", 1, number=f"n-{n}"))
    platform.give(about(Redo, "early", 2, reason="no order of this number comes"))

    def work(stop: threading.Event) -> None:
        works = Above(tmp_path)
        one = UpstreamService(works.bus, FilesUpstream(folder), works.orders, works.clock, 0.01)
        one.start()
        while not stop.wait(0.01):
            works.show()
            for n in range(ORDERS):
                case = works.orders.case_of(f"n-{n}")
                story = works.book.story(case)
                if story is not None and story.case.state == "reported":
                    works.step(case, "accept", CLERK)

    def progress() -> int:
        if not path.exists():
            return 0
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM events WHERE family = 'case'").fetchone()[0])

    for _ in range(8):
        target = min(progress() + 7, 2 * ORDERS)
        life = Life(work)
        until(lambda: progress() >= target, 30, "nothing happens")  # noqa: B023
        life.kill()
    life = Life(work)
    until(lambda: len(platform.answers) == ORDERS and platform.waiting == 1, 60, "it does not come to an end")
    life.stop()
    works = Above(tmp_path)
    assert {said["kind"] for said in platform.answers.values()} == {"signed"}
    numbers = sorted(said["number"] for said in platform.answers.values())
    assert numbers == sorted(f"n-{n}" for n in range(ORDERS))
    for n in range(ORDERS):
        assert works.actions(works.orders.case_of(f"n-{n}")) == ["accept"]
    assert platform.aside == {}
    works.close()

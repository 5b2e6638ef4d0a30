"""The outbox: what is taken, what counts as arrived, and what is sent again; the journal is a real one."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.clock import ManualClock, SystemClock
from events.events import Health
from pipeline.outbox import GROUP, Letter, Outbox
from pipeline.relay import Relay, RelaySettings
from storage.journal import Journal, Raw
from tests.relayworks import BOX, FAMILIES, Source, health, running, until


class Ticket:
    """Of an event that a test sends."""

    def __init__(self) -> None:
        self.is_done = False
        self.failed = False

    def succeeded(self) -> bool:
        return self.is_done and not self.failed

    def arrive(self) -> None:
        self.is_done = True


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db", SystemClock(), group_s=0.0)
    made.append(Source(1).events(400))
    made.flush()
    yield made
    made.close()


def take(outbox: Outbox, limit: int) -> dict[int, tuple[Raw, Ticket]]:
    """Taken and handed over, by offset."""
    found = {}
    for row in outbox.take(limit):
        found[row.offset] = row, Ticket()
        outbox.handed(row, found[row.offset][1], 0.0)
    return found


def test_the_position_is_where_all_before_has_arrived(journal: Journal) -> None:
    outbox = Outbox(journal, FAMILIES)
    sent = take(outbox, 100)
    assert list(sent) == list(range(1, 101))
    counts = [offset for offset, (row, _) in sent.items() if row.family == "count"]
    for offset in counts[1:]:
        sent[offset][1].arrive()
    outbox.collect()
    assert outbox.positions["count"] == 0  # the first is still under way
    sent[counts[0]][1].arrive()
    outbox.collect()
    assert outbox.positions["count"] == 100  # of this family nothing is left up to where was read
    assert outbox.position == 0
    for _, ticket in sent.values():
        ticket.arrive()
    outbox.collect()
    assert outbox.position == 100
    assert outbox.in_flight == outbox.bytes_in_flight == 0


def test_what_was_under_way_is_sent_again_after_a_failure_and_nothing_else(journal: Journal) -> None:
    outbox = Outbox(journal, FAMILIES)
    sent = take(outbox, 100)
    for offset in range(1, 61):
        sent[offset][1].arrive()
    outbox.collect()
    outbox.again()
    after = {offset for offset, (row, _) in sent.items() if offset > outbox.positions[row.family]}
    assert after == set(range(61, 101))
    again = [*take(outbox, 100), *take(outbox, 100)]
    assert again == list(range(61, 61 + len(again)))
    assert len(again) > 100
    assert outbox.repeats == 40


def test_positions_outlive_the_process_and_hold_the_journal(journal: Journal) -> None:
    outbox = Outbox(journal, FAMILIES)
    sent = take(outbox, 200)
    for row, ticket in sent.values():
        if row.family != "alert":
            ticket.arrive()
    outbox.collect()
    outbox.commit()
    first_alert = min(offset for offset, (row, _) in sent.items() if row.family == "alert")
    assert journal.committed(GROUP) < first_alert
    assert journal.prune(2**62) == journal.committed(GROUP)  # the alerts and what follows them stay
    again = take(Outbox(journal, FAMILIES), 1000)
    assert all(row.family == "alert" for offset, (row, _) in again.items() if offset <= 200)
    assert max(again) == journal.last_offset()


def test_a_family_that_rests_is_caught_up_with_in_order(journal: Journal) -> None:
    outbox = Outbox(journal, FAMILIES)
    outbox.rest(["alert"])
    for _, ticket in take(outbox, 300).values():
        ticket.arrive()
    outbox.collect()
    read = outbox.positions["count"]
    assert read >= 300
    assert outbox.positions["alert"] == 0
    outbox.wake("alert")
    seen: list[Raw] = []
    while outbox.position < journal.last_offset():
        for row, ticket in take(outbox, 20).values():
            seen.append(row)
            ticket.arrive()
        outbox.collect()
    alerts = [row.offset for row in seen if row.family == "alert"]
    assert alerts == [record.offset for record in journal.read(0, 1000, ("alert",))]
    rest = [row.offset for row in seen if row.family != "alert"]
    assert rest == [r.offset for r in journal.read(read, 1000) if r.event.family != "alert"]
    assert outbox.repeats == 0


def test_a_topic_made_anew_gets_all_again(journal: Journal) -> None:
    outbox = Outbox(journal, FAMILIES)
    assert outbox.restart(dict.fromkeys(FAMILIES, "first")) == []
    for _, ticket in take(outbox, 1000).values():
        ticket.arrive()
    outbox.collect()
    outbox.commit()
    assert journal.committed(GROUP) == journal.last_offset()
    again = Outbox(journal, FAMILIES)
    ids = dict.fromkeys(FAMILIES, "first") | {"count": "second"}
    assert again.restart(ids) == ["count"]
    assert journal.committed(GROUP) == 0  # it holds the journal again
    assert list(take(again, 1000)) == [record.offset for record in journal.read(0, 1000, ("count",))]
    assert Outbox(journal, FAMILIES).restart(ids) == []


def test_a_dead_letter_is_passed_over_for_ever(journal: Journal) -> None:
    outbox = Outbox(journal, FAMILIES)
    for row in outbox.take(10):
        if row.offset == 5:
            outbox.dead(5, Letter(family=row.family, id="x", reason="too large", bytes=9))
            continue
        ticket = Ticket()
        outbox.handed(row, ticket, 0.0)
        ticket.arrive()
    outbox.collect()
    assert outbox.position == 10
    assert 5 not in take(Outbox(journal, FAMILIES), 20)
    assert list(journal.states("relay:letter:")) == ["relay:letter:00000000000000000005"]


def test_only_some_families_leave_the_box(journal: Journal) -> None:
    outbox = Outbox(journal, ["alert"])
    sent = take(outbox, 1000)
    assert list(sent) == [record.offset for record in journal.read(0, 1000, ("alert",))]
    for _, ticket in sent.values():
        ticket.arrive()
    outbox.collect()
    assert outbox.position == journal.last_offset()  # what is for nobody holds nothing


def test_at_its_bound_the_journal_gives_up_the_least_important_first(journal: Journal) -> None:
    clock = ManualClock(time.time_ns() // 1000 + 1_000_000)
    before = {f: len(journal.read(0, 10_000, (f,))) for f in FAMILIES}
    journal.add_consumer("projector")
    journal.commit("projector", journal.last_offset())
    settings = RelaySettings(
        topics={family: f"x.{family}" for family in FAMILIES}, source=BOX, keep_s=0.0, bound_bytes=1
    )

    def away(_: object) -> None:
        raise TimeoutError  # never asked: the journal is looked at alone

    relay = Relay(journal, settings, away, clock)  # type: ignore[arg-type]
    journal.add_consumer(GROUP)
    relay._relieve()
    journal.flush()
    left = {f: len(journal.read(0, 10_000, (f,))) for f in FAMILIES}
    assert left["sensor"] == left["count"] == left["alert"] == 0  # nothing is small enough for one byte
    [(what, state, text)] = health(journal)
    assert (what, state) == ("outbox", "note")
    assert f"{before['alert']} alert" in text
    assert f"{before['sensor']} sensor" in text
    assert "offsets 1 to " in text


def test_what_others_have_not_read_is_not_given_up(journal: Journal) -> None:
    journal.add_consumer("projector")
    journal.commit("projector", 50)
    journal.add_consumer(GROUP)
    gone = journal.drop(["sensor"], 2**62, GROUP, 1000)
    assert gone
    assert all(offset <= 50 and family == "sensor" for offset, family in gone)
    assert journal.read(0, 1000, ("sensor",))[0].offset > 50


def test_trouble_is_said_once_and_again_when_it_is_over(journal: Journal, tmp_path: Path) -> None:
    from events.errors import BusAway

    calls = 0

    def connect(_: object) -> None:
        nonlocal calls
        calls += 1
        raise BusAway("Kafka's broker kafka:9092 cannot be reached: refused")

    settings = RelaySettings(topics={family: f"x.{family}" for family in FAMILIES}, source=BOX)
    status = tmp_path / "relay.json"
    with running(Relay(journal, settings, connect, SystemClock(), status)):  # type: ignore[arg-type]
        until(lambda: calls >= 3)
    journal.flush()
    [(what, state, text)] = health(journal)
    assert (what, state) == ("bus", "raised")
    assert text.startswith("Kafka's broker kafka:9092 cannot be reached: refused")
    assert b'"connected":false' in status.read_bytes()
    assert b"cannot be reached" in status.read_bytes()
    assert isinstance(journal.read(0, 1000, ("health",))[-1].event.data, Health)

"""What the city is built from again is never given up: not by pruning, not at the journal's bound."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.bus import Record
from events.civic import DayChanged, PlaceChanged, RegisterErased, desk_source, place_source, register_source
from events.clock import ManualClock
from events.events import AnyPayload, Event
from events.ids import event_id
from events.topics import FAMILIES, KEPT
from pipeline.outbox import GIVEN_UP_FIRST, GROUP, relieve
from storage.journal import SCAN, Journal
from storage.store import SqliteStore
from tests.contracts.city_examples import EPOCH, whole_life
from tests.contracts.examples import crossing


def kept(count: int = 1) -> list[Event]:
    """Events of all families that are kept."""
    found = [e for n in range(count) for e in whole_life(f"c{n}")]
    others: list[tuple[str, AnyPayload]] = [
        (
            place_source("s", "grid", "g1"),
            PlaceChanged(what="grid", feature="g1", body="", valid_us=1, who="a"),
        ),
        (
            register_source("s", "person", "p"),
            RegisterErased(what="person", entry="p", reason="asked", who="a"),
        ),
        (desk_source("s"), DayChanged(day="2026-10-01", is_="holiday", who="a")),
    ]
    for source, data in others:
        family = str(data.__struct_config__.tag).split(".")[1]
        found.append(
            Event(id=event_id(source, family), source=source, time_us=EPOCH, epoch=0, sequence=0, data=data)
        )
    return found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(EPOCH)


@pytest.fixture
def journal(tmp_path: Path, clock: ManualClock) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db", clock, group_s=0.0, synchronous="OFF")
    yield made
    made.close()


def test_pruning_leaves_what_is_kept(journal: Journal, clock: ManualClock) -> None:
    assert {e.family for e in kept()} == set(KEPT)
    journal.append([*kept(3), *(crossing(n) for n in range(50)), *whole_life("later"), crossing(50)])
    journal.commit("all", 1 << 40)
    journal.flush()
    first, last = kept(3), list(whole_life("later"))
    assert journal.prune(EPOCH + 1) == 51
    assert [r.event for r in journal.read(0, 1000)] == [*first, *last]
    clock.advance(100)
    journal.append([crossing(51), *whole_life("last")])
    journal.flush()
    assert journal.prune(EPOCH + 1) == 0, "it is not old yet"
    assert journal.prune(EPOCH + 200_000_000) == 1
    assert [r.event for r in journal.read(0, 1000)] == [*first, *last, *whole_life("last")]
    assert journal.prune(EPOCH + 200_000_000) == 0


def test_many_that_are_kept_are_passed_once(journal: Journal) -> None:
    """A later pruning begins behind them; what is old and comes after them goes."""
    journal.append([*whole_life("c"), crossing(0)])
    journal.flush()
    journal._writer.call(
        lambda tx: tx.execute("UPDATE events SET offset = offset + ? WHERE family = 'count'", (3 * SCAN,))
    )
    journal.commit("all", 1 << 40)
    assert journal.prune(EPOCH + 1) == 1
    assert len(journal.read(0, 100)) == 6


def test_at_its_bound_the_journal_keeps_them(journal: Journal, clock: ManualClock) -> None:
    assert set(GIVEN_UP_FIRST) | set(KEPT) == set(FAMILIES)
    assert not set(GIVEN_UP_FIRST) & set(KEPT)
    journal.append([*kept(3), *(crossing(n) for n in range(50))])
    journal.add_consumer(GROUP)
    journal.flush()
    clock.advance(10)
    gone = relieve(journal, 1, EPOCH + 5_000_000)
    assert {family for _, family in gone} == {"count"}
    assert [r.event for r in journal.read(0, 1000)] == kept(3)


def test_the_box_s_store_passes_them_over(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", synchronous="OFF")
    sent = [crossing(0), *kept(2), crossing(1), *whole_life("last")]
    assert store.apply("log", [Record(n, e) for n, e in enumerate(sent, 1)]) == 2
    assert store.offset("log") == len(sent)
    assert [r.event for r in store.events()] == [crossing(0), crossing(1)]
    assert store.apply("log", [Record(len(sent) + 1, next(whole_life("x")))]) == 0
    assert store.offset("log") == len(sent) + 1
    store.close()

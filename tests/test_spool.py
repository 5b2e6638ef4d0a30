"""The spool: each segment once whatever is repeated or cut, an order, and moves that the table allows."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.errors import IllegalTransition, StorageError
from storage.spool import TRANSITIONS, Item, Kind, Spool, State

HOUR_US = 3_600_000_000


def item(n: int, kind: Kind = "footage", size: int = 10, sha256: str = "a", stamp: str = "") -> Item:
    key = f"{kind}/gate/{n:04d}"
    return Item(key=key, kind=kind, path=key, sha256=sha256, bytes=size, from_us=n, to_us=n + 1, stamp=stamp)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool.db")
    yield opened
    opened.close()


def waiting(spool: Spool) -> list[str]:
    return [found.key for found in spool.of_state("waiting", 999)]


def bring(spool: Spool, key: str, to: State) -> None:
    """Into a state, from waiting."""
    if to == "lost":
        spool.lose(key, "gone", 1)
    elif to != "waiting":
        spool.begin(key)
        if to == "done":
            spool.done(key, 1)


@pytest.mark.parametrize(("start", "to"), [*itertools.product(TRANSITIONS, TRANSITIONS)])
def test_a_move_that_the_table_has_not_raises_and_changes_nothing(
    spool: Spool, start: State, to: State
) -> None:
    spool.add([item(1)])
    key = item(1).key
    bring(spool, key, start)
    moves = {
        "waiting": lambda: spool.back(key),
        "sending": lambda: spool.begin(key),
        "done": lambda: spool.done(key, 2),
        "lost": lambda: spool.lose(key, "why", 2),
    }
    before = spool.counts()
    if to in TRANSITIONS[start]:
        moves[to]()
        assert [found.key for found in spool.of_state(to, 9)] == [key]
        return
    with pytest.raises(IllegalTransition, match=f"is {start} and cannot become {to}"):
        moves[to]()
    assert [found.key for found in spool.of_state(start, 9)] == [key]
    assert spool.counts() == before


def test_what_is_not_there_is_named(spool: Spool) -> None:
    with pytest.raises(StorageError, match="nothing is not in the spool"):
        spool.begin("nothing")


def test_alerts_first_then_the_oldest(spool: Spool) -> None:
    spool.add([item(3), item(1), item(9, "clip"), item(2), item(8, "picture")])
    order: list[str] = []
    while (found := spool.next(0)) is not None:
        order.append(found.key)
        spool.begin(found.key)
        spool.done(found.key, 5)
    assert order == ["picture/gate/0008", "clip/gate/0009", *(f"footage/gate/000{n}" for n in (1, 2, 3))]
    counts = spool.counts()
    assert (counts.waiting, counts.oldest_us, counts.done, counts.done_bytes) == (0, 0, 5, 50)


def test_the_same_again_changes_nothing_and_a_replaced_file_waits_anew(spool: Spool) -> None:
    for _ in range(3):
        spool.add([item(1, "picture", stamp="s1")])
    spool.begin("picture/gate/0001")
    spool.add([item(1, "picture", stamp="s2")])
    assert waiting(spool) == [], "one that is being sent is looked at again later"
    spool.done("picture/gate/0001", 5)
    spool.add([item(1, "picture", stamp="s1")])
    assert waiting(spool) == []
    spool.add([item(1, "picture", size=20, stamp="s2")])
    assert waiting(spool) == ["picture/gate/0001"]
    assert spool.stamps("picture") == {"picture/gate/0001": "s2"}
    assert spool.counts().waiting_bytes == 20


def test_put_off_until_then_and_no_longer_than_a_clock_may_jump(spool: Spool) -> None:
    spool.add([item(1), item(2)])
    spool.begin(item(1).key)
    spool.back(item(1).key, after_us=1000)
    assert spool.next(0) == msgspec.structs.replace(item(2), stamp="")
    spool.put_off(item(2).key, 2000)
    assert spool.next(999) is None
    found = spool.next(1000)
    assert found is not None
    assert (found.key, found.begun) == (item(1).key, True)
    spool.put_off(item(1).key, 10 * HOUR_US)
    assert spool.next(0) == found, "a clock that was hours ahead put it off"


def test_a_kill_in_the_middle_is_seen_at_the_next_opening(tmp_path: Path) -> None:
    first = Spool(tmp_path / "spool.db")
    first.take_in("j", 7, [item(1), item(2)])
    first.begin(item(1).key)
    second = Spool(tmp_path / "spool.db")
    assert second.recover() == 1
    assert second.position("j") == 7
    assert second.position("another") is None
    found = second.next(0)
    assert found is not None
    assert (found.key, found.begun) == (item(1).key, True)
    first.close()
    second.close()


def test_rows_and_position_are_one_transaction(spool: Spool) -> None:
    spool.take_in("j", 1, [item(1)])
    with pytest.raises(StorageError):
        spool.take_in("j", None, [item(2)])  # type: ignore[arg-type]
    assert waiting(spool) == [item(1).key]
    assert spool.position("j") == 1
    spool.take_in("j", 2, [item(1), item(2)])
    assert waiting(spool) == [item(1).key, item(2).key]


def test_the_newest_that_waits_as_far_as_it_fits(spool: Spool) -> None:
    spool.add([item(n, size=10) for n in range(1, 6)] + [item(7, "clip", size=10)])
    spool.begin(item(1).key)
    spool.done(item(1).key, 9)
    assert [found.from_us for found in spool.newest_footage(0, 25)] == [5, 4]
    assert [found.from_us for found in spool.newest_footage(4, 999)] == [5, 4]
    assert spool.newest_footage(0, 0) == []


def test_what_is_over_does_not_stay(spool: Spool) -> None:
    spool.add([item(n) for n in range(1, 4)] + [item(5, "picture", stamp="s")])
    bring(spool, item(1).key, "done")
    bring(spool, item(2).key, "lost")
    bring(spool, "picture/gate/0005", "done")
    assert spool.prune(2) == 2
    assert spool.stamps("footage") == {item(3).key: ""}
    assert spool.stamps("picture") == {"picture/gate/0005": "s"}, "its file is still there"
    spool.forget(["picture/gate/0005", item(3).key])
    assert spool.stamps("picture") == {}
    assert spool.stamps("footage") == {item(3).key: ""}, "what waits is not forgotten"
    counts = spool.counts()
    assert (counts.done, counts.lost, counts.waiting) == (2, 1, 1)


MOVES = st.sampled_from(["add", "begin", "done", "back", "lose", "recover"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(MOVES, st.integers(0, 3))))
def test_whatever_comes_nothing_is_lost_sight_of(moves: list[tuple[str, int]]) -> None:
    """Against a table in memory."""
    states: dict[str, State] = {}
    targets: dict[str, State] = {"begin": "sending", "done": "done", "back": "waiting", "lose": "lost"}
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool.db")
        for move, n in moves:
            key = item(n).key
            if move == "add":
                spool.add([item(n)])
                states.setdefault(key, "waiting")
            elif move == "recover":
                spool.recover()
                states = {k: "waiting" if s == "sending" else s for k, s in states.items()}
            elif key in states and targets[move] in TRANSITIONS[states[key]]:
                act(spool, move, key)
                states[key] = targets[move]
            else:
                with pytest.raises((IllegalTransition, StorageError)):
                    act(spool, move, key)
        for state in TRANSITIONS:
            found = {i.key for i in spool.of_state(state, 99)}
            assert found == {k for k, s in states.items() if s == state}
        spool.close()


def act(spool: Spool, move: str, key: str) -> None:
    match move:
        case "begin":
            spool.begin(key)
        case "done":
            spool.done(key, 1)
        case "back":
            spool.back(key)
        case _:
            spool.lose(key, "w", 1)

"""What a box reads, with claims that are scripted and workers that are only written down."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from events.clock import ManualClock
from events.errors import BusAway
from pipeline.holding import Holding, Plan

PLAN = Plan(box="east", cameras=("gate", "hall", "yard"), shares=2, when_cut="go-on", session_s=6.0)


class Book:
    """Claims with tokens from `next` on; `taken`: cameras that others have claimed since."""

    def __init__(self, next_token: int = 1) -> None:
        self.next, self.taken, self.away = next_token, set[str](), False

    def take(self, box: str, share: int, cameras: Sequence[str], now_us: int) -> dict[str, int]:
        if self.away:
            raise BusAway("away")
        given = {camera: self.next + n for n, camera in enumerate(cameras)}
        self.next += len(cameras)
        return given

    def others(self, box: str, tokens: Mapping[str, int]) -> set[str]:
        return self.taken & set(tokens)

    def close(self) -> None:
        pass


class Hands:
    """A crew that only says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def start(self, share: int) -> None:
        self.asked.append(f"start {share}")

    def stop(self, shares: Iterable[int], timeout_s: float) -> None:
        self.asked += [f"stop {share}" for share in sorted(shares)]

    def sick(self) -> str:
        return ""

    def turn(self) -> None:
        pass

    def close(self) -> None:
        self.asked.append("close")


def holding(path: Path, book: Book, plan: Plan = PLAN) -> tuple[Holding, Hands, list[str]]:
    """One that has loaded its file, its workers, and what it told of its health."""
    hands, told = Hands(), list[str]()
    clock = ManualClock()
    made = Holding(plan, book, hands, path / "held.json", clock, lambda state, text, _: told.append(text))
    made.load()
    return made, hands, told


def test_a_share_is_claimed_kept_and_read_and_then_forgotten(tmp_path: Path) -> None:
    held, hands, told = holding(tmp_path, Book())
    held.begin(0)
    held.begin(1)
    assert held.tokens == {"gate": 1, "yard": 2, "hall": 3}
    assert held.reads() == {0: 2, 1: 3}
    held.end({0, 7})
    assert held.running == {1}
    assert hands.asked == ["start 0", "start 1", "stop 0"]
    again, hands, _ = holding(tmp_path, Book())
    again.again()
    again.again()
    assert hands.asked == ["start 1"]
    assert again.tokens == {"hall": 3}
    assert told == []


def test_what_cannot_be_claimed_is_not_read(tmp_path: Path) -> None:
    book = Book()
    book.away = True
    held, hands, _ = holding(tmp_path, book)
    with pytest.raises(BusAway):
        held.begin(0)
    assert held.running == set()
    assert hands.asked == []


def test_a_pause_forgets_nothing(tmp_path: Path) -> None:
    held, hands, _ = holding(tmp_path, Book())
    held.begin(1)
    held.pause()
    assert held.running == set()
    held.again()
    assert hands.asked == ["start 1", "stop 1", "start 1"]
    held.finish()
    assert hands.asked[3:] == ["close", "stop 1"]
    after, _, _ = holding(tmp_path, Book())
    after.again()
    assert after.running == {1}


def test_shares_with_a_camera_that_another_claimed_are_named(tmp_path: Path) -> None:
    book = Book()
    held, _, _ = holding(tmp_path, book)
    held.begin(0)
    held.begin(1)
    assert held.claimed_by_others() == set()
    book.taken = {"yard"}
    assert held.claimed_by_others() == {0}


@pytest.mark.parametrize(
    "other",
    [
        Plan(box="west", cameras=PLAN.cameras, shares=2, when_cut="go-on", session_s=6.0),
        Plan(box="east", cameras=(*PLAN.cameras, "aisle"), shares=2, when_cut="go-on", session_s=6.0),
    ],
)
def test_what_another_box_or_another_site_file_held_is_nobody_s(tmp_path: Path, other: Plan) -> None:
    held, _, _ = holding(tmp_path, Book())
    held.begin(0)
    then, hands, _ = holding(tmp_path, Book(), other)
    then.again()
    assert hands.asked == []


def test_tokens_that_begin_anew_are_told(tmp_path: Path) -> None:
    held, _, told = holding(tmp_path, Book(500))
    held.begin(0)
    assert told == []
    after, _, told = holding(tmp_path, Book(1))
    after.begin(0)
    assert len(told) == 1
    assert "the topic of claims was made anew: the token 2 follows 501" in told[0]

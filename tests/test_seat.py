"""A box's seat in a real group: what is wrong with the topic, and two boxes of one name."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from events.clock import SystemClock
from events.errors import ConfigError
from pipeline.seat import Seat, TwinBox
from storage.brokers import Brokers
from testbed.kafka import Kafka
from tests.boxes import make_topics

MakeSeat = Callable[..., Seat]


@pytest.fixture
def make_seat(kafka: Kafka, topic_prefix: str) -> Iterator[MakeSeat]:
    """Seats of one group; the topic has two partitions."""
    prefix = topic_prefix.rstrip(".")
    make_topics(kafka, prefix, 2)
    made: list[Seat] = []

    def make(
        box: str, instance: str, topic: str = "shares", give_up: Callable[[set[int]], None] = lambda _: None
    ) -> Seat:
        brokers = Brokers(bootstrap=(kafka.bootstrap,), prefix=prefix)
        clock = SystemClock()
        seat = Seat(
            brokers, f"{prefix}.{topic}", box, instance, 6.0, clock, reads=lambda: {}, give_up=give_up
        )
        made.append(seat)
        return seat

    yield make
    for seat in made:
        seat.close()


def joined(seat: Seat, shares: set[int]) -> None:
    """Poll until it holds just these."""
    until = time.monotonic() + 20
    while not (seat.member and seat.shares == shares):
        assert time.monotonic() < until, (seat.member, seat.shares)
        seat.poll(0.2)


def test_the_only_box_gets_all_shares(make_seat: MakeSeat) -> None:
    seat = make_seat("east", "one")
    assert not seat.opened
    assert seat.heard_at == 0
    seat.open(2)
    joined(seat, {0, 1})
    assert seat.partitions == 2
    assert seat.generation >= 1
    before = seat.heard_at
    until = time.monotonic() + 10
    while seat.heard_at <= before:  # a heartbeat is answered
        assert time.monotonic() < until
        seat.poll(0.2)
    seat.close()
    assert not seat.member


def test_a_share_goes_over_only_when_it_was_given_up(make_seat: MakeSeat) -> None:
    """Giving up takes time, and the group waits for it, with the heart beating."""
    order: list[str] = []

    def slowly(shares: set[int]) -> None:
        time.sleep(2.0)
        order.append(f"gave {sorted(shares)}")

    east, west = make_seat("east", "one", give_up=slowly), make_seat("west", "two")
    east.open(2)
    joined(east, {0, 1})
    west.open(2)
    stop = threading.Event()

    def take_part() -> None:
        while not stop.is_set():
            east.poll(0.2)

    thread = threading.Thread(target=take_part)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not (west.member and west.shares):
            assert time.monotonic() < until
            west.poll(0.2)
        order.append("came")
    finally:
        stop.set()
        thread.join(10)
    assert order[1] == "came"
    assert order[0].startswith("gave [")
    assert not east.lost


def test_a_missing_topic_is_named_with_the_mend(make_seat: MakeSeat) -> None:
    with pytest.raises(ConfigError, match=r"\.absent is missing; make it with `linli topics apply`"):
        make_seat("east", "one", topic="absent").open(2)


def test_another_number_of_partitions_is_named_with_the_mend(make_seat: MakeSeat) -> None:
    with pytest.raises(ConfigError, match=r"has 2 partitions, and \[cluster\] shares is 3; write shares = 2"):
        make_seat("east", "one").open(3)


def test_two_boxes_of_one_name_are_told(make_seat: MakeSeat) -> None:
    first = make_seat("east", "one")
    first.open(2)
    joined(first, {0, 1})
    stop = threading.Event()

    def take_part() -> None:
        while not stop.is_set():
            first.poll(0.2)

    thread = threading.Thread(target=take_part)
    thread.start()
    try:
        with pytest.raises(
            TwinBox, match=r"two boxes are called 'east': this one \(journal two\) and the one"
        ):
            make_seat("east", "two").open(2)
        make_seat("east", "one").twin()  # ourselves, before a restart
        assert make_seat("east", "one").twin() is None
        assert make_seat("west", "one").twin() is None
    finally:
        stop.set()
        thread.join(10)

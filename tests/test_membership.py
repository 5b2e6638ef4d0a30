"""Boxes that share the cameras through a real Kafka: how shares move, and that all is counted once."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.kafka import Kafka
from tests.boxes import LightBox, count_once, make_topics, newest, settled
from tests.servers import apache, started
from tests.siteworks import until

SWAPS = int(os.environ.get("LINLI_SWAPS", "3"))
"""How often the cameras change hands; the full run takes 50."""

MakeBox = Callable[[str], LightBox]


@pytest.fixture
def make_box(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> Iterator[MakeBox]:
    """Boxes of one group with four shares."""
    prefix = topic_prefix.rstrip(".")
    make_topics(kafka, prefix, 4)
    made: list[LightBox] = []

    def make(name: str) -> LightBox:
        made.append(LightBox(kafka, prefix, name, tmp_path / f"{name}-{len(made)}"))
        return made[-1]

    yield make
    for box in made:
        box.close()


def test_a_second_box_takes_its_share_and_what_stays_goes_on(make_box: MakeBox, tmp_path: Path) -> None:
    first = make_box("first").start()
    settled(first)
    second = make_box("second").start()
    until(lambda: len(second.shares) == 2, 30, "the second box has its share")
    settled(first, second)
    time.sleep(1)
    kept = first.shares
    assert len(kept) == 2
    assert len(newest(first)) == 4  # nothing of what stayed began anew
    assert first.end() == second.end() == 0
    counted, superseded = count_once([first.events(), second.events()], tmp_path / "store.db", 1)
    assert superseded == 0  # in order: never did both read a camera
    assert counted > 50


@pytest.mark.slow
def test_swaps(make_box: MakeBox, tmp_path: Path) -> None:
    """Two boxes swap cameras again and again: one ends in order, is killed, or hangs, and comes back."""
    seed = int(os.environ.get("LINLI_SEED", str(random.randrange(1 << 16))))
    chance = random.Random(seed)
    boxes = [make_box("first").start(), make_box("second").start()]
    settled(*boxes)
    ways = ["end", "kill", "hang"]
    done: dict[str, int] = dict.fromkeys(ways, 0)
    for n in range(SWAPS):
        way = ways[n] if n < len(ways) else chance.choice(ways)
        leaves, stays = chance.sample(boxes, 2)
        done[way] += 1
        if way == "end":
            assert leaves.end() == 0
        else:
            leaves.signal(signal.SIGKILL if way == "kill" else signal.SIGSTOP)
        until(
            lambda stays=stays: len(stays.shares) == 4, 30, f"after {way} (seed {seed}) the other reads all"
        )
        time.sleep(chance.random())
        if way == "hang":
            leaves.signal(signal.SIGCONT)
        else:
            leaves.start()
        until(lambda stays=stays: len(stays.shares) == 2, 30, f"after {way} (seed {seed}) both read")
        settled(*boxes)
    for box in boxes:
        assert box.end() == 0
    counted, superseded = count_once([box.events() for box in boxes], tmp_path / "store.db", seed)
    print(f"seed {seed}: {done}; {counted} crossings counted once, {superseded} superseded")
    assert counted > 100
    if done["hang"]:
        assert superseded > 0  # the test is one: what hung went on for a moment


@pytest.fixture(scope="module")
def cut_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker that hangs and is killed. An empty group waits for more members, as brokers' default is."""
    server = Kafka(tmp_path_factory.mktemp("cut"), settings={"group.initial.rebalance.delay.ms": "3000"})
    yield apache(started(server))
    server.remove()


@pytest.mark.slow
def test_cut_off_one_goes_on_and_one_stops_as_the_site_says(cut_kafka: Kafka, tmp_path: Path) -> None:
    prefix = "cut"
    make_topics(cut_kafka, prefix, 4)
    boxes = [
        LightBox(cut_kafka, prefix, name, tmp_path / name, when_cut=when_cut).start()
        for name, when_cut in (("east", "go-on"), ("west", "stop"))
    ]
    east, west = boxes
    try:
        until(lambda: len(east.shares) == len(west.shares) == 2, 40, "each has its share")
        settled(east, west)
        until(lambda: len(newest(east)) >= 2 and len(newest(west)) >= 2, 20, "their workers are at work")
        before, claims = east.shares, (len(newest(east)), len(newest(west)))
        cut_kafka.pause()
        for box in boxes:
            until(lambda box=box: box.state == "cut-off", 30, "it notices that it is cut off")
        until(lambda: not west.shares, 20, "one reads nothing any more")
        assert east.shares == before
        seen = len(east.events())
        until(lambda: len(east.events()) > seen + 10, 20, "the other goes on counting")
        still = len(west.events())
        time.sleep(1)
        assert len(west.events()) == still
        cut_kafka.resume()
        settled(east, west)
        until(lambda: east.state == west.state == "member", 30, "both are among the others again")
        assert east.shares == before
        assert len(newest(east)) == claims[0]  # its streams went on untouched
        until(lambda: len(newest(west)) > claims[1], 20, "the other began anew")
        assert "cut off from the other boxes" in east.log
        assert "among the others again" in east.log
        assert [box.end() for box in boxes] == [0, 0]
        count_once([box.events() for box in boxes], tmp_path / "store.db", 2)
    finally:
        cut_kafka.resume()
        for box in boxes:
            box.close()


@pytest.mark.slow
def test_a_start_without_brokers_reads_what_was_read_last(cut_kafka: Kafka, tmp_path: Path) -> None:
    prefix = "alone"
    make_topics(cut_kafka, prefix, 4)
    box = LightBox(cut_kafka, prefix, "east", tmp_path / "east").start()
    try:
        settled(box)
        until(lambda: len(newest(box)) == 4, 20, "it reads")
        tokens = {c.token for c in newest(box)}
        assert box.end() == 0
        cut_kafka.kill()
        box.start()
        until(lambda: len(newest(box, 4)) == 4, 40, "it reads again, by itself")
        assert {c.token for c in newest(box, 4)} == tokens
        assert box.state == "cut-off"
        cut_kafka.start()
        until(lambda: box.state == "member", 40, "it is among the others again")
        time.sleep(1)
        assert len(newest(box)) == 8  # nobody was there meanwhile: nothing begins anew
        assert box.end() == 0
    finally:
        cut_kafka.start()
        box.close()

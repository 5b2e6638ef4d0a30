"""The bus contract (`events/bus.py`) as tests. A bus's own test module derives from `BusContract`, named
`Test...`, and provides the fixture `log`.
"""

import threading
import time
from collections.abc import Sequence
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.bus import Bus, Record, Subscription
from events.events import Event
from tests.contracts.examples import CAMERA, alert, crossing, event, health

PATIENCE_S = 20.0
"""How long what was published is waited for."""


Crash = tuple[list[str], int, int]
"""Whose events are sent, how many are read at once, after how many it crashes."""

CRASHES = st.tuples(st.lists(st.sampled_from("ab"), max_size=30), st.integers(1, 7), st.integers(0, 30))


class Log(Protocol):
    """What the suite needs of a bus: the bus, a way to put events on it, and a restart."""

    bus: Bus
    quiet_s: float
    """Nothing came for so long: there is nothing. 0 where everything is there at once."""

    def publish(self, events: list[Event]) -> None:
        """All are to be had by subscribers when this returns."""

    def restart(self) -> None:
        """Close everything and open it again; `bus` is new."""


class BusContract:
    @pytest.fixture
    def log(self) -> Log:
        raise NotImplementedError

    def test_records_come_in_order_once_and_as_they_were(self, log: Log) -> None:
        sent = [crossing(n, source=f"{CAMERA}-{n % 3}") for n in range(250)]
        log.publish(sent)
        got = drain(log, "g", 250, limit=40)
        assert {r.event.id for r in got} == {e.id for e in sent}
        for name in range(3):
            source = f"{CAMERA}-{name}"
            assert [r.event for r in got if r.event.source == source] == [
                e for e in sent if e.source == source
            ]
        for name in {r.log for r in got}:
            offsets = [r.offset for r in got if r.log == name]
            assert offsets == sorted(set(offsets))
            assert offsets[0] > 0

    def test_a_log_is_named_and_a_source_s_family_is_in_one(self, log: Log) -> None:
        log.publish([crossing(n, source=f"{CAMERA}-{n % 5}") for n in range(50)])
        logs: dict[str, set[str]] = {}
        for record in drain(log, "g", 50):
            logs.setdefault(record.event.source, set()).add(record.log)
        assert all(len(names) == 1 and "" not in names for names in logs.values())

    def test_what_was_published_before_and_after_subscribing_comes(self, log: Log) -> None:
        log.publish([crossing(0)])
        sub = log.bus.subscribe("g")
        assert [r.event.sequence for r in take(sub, 1)] == [0]
        log.publish([crossing(1)])
        assert [r.event.sequence for r in take(sub, 1)] == [1]
        assert list(sub.poll(log.quiet_s)) == []
        sub.close()

    def test_an_empty_log_answers_nothing_when_the_time_is_over(self, log: Log) -> None:
        sub = log.bus.subscribe("g")
        sub.poll(log.quiet_s)
        start = time.monotonic()
        assert list(sub.poll(0.3)) == []
        assert 0.25 <= time.monotonic() - start < 3.0
        sub.close()

    def test_a_waiting_consumer_is_woken(self, log: Log) -> None:
        sub = log.bus.subscribe("g")
        sub.poll(log.quiet_s)
        timer = threading.Timer(0.2, log.publish, ([crossing(0)],))
        timer.start()
        start = time.monotonic()
        assert len(sub.poll(10.0)) == 1
        assert time.monotonic() - start < 5.0
        timer.join()
        sub.close()

    def test_who_does_not_commit_gets_all_again(self, log: Log) -> None:
        log.publish([crossing(n) for n in range(5)])
        first = drain(log, "g", 5)
        log.restart()
        assert drain(log, "g", 5) == first

    def test_who_commits_goes_on_after_it(self, log: Log) -> None:
        log.publish([crossing(n) for n in range(5)])
        sub = log.bus.subscribe("g")
        got = take(sub, 3, limit=3)
        sub.commit({got[-1].log: got[-1].offset})
        sub.close()
        log.restart()
        assert [r.event.sequence for r in drain(log, "g", 2)] == [3, 4]

    def test_consumers_do_not_disturb_each_other(self, log: Log) -> None:
        log.publish([crossing(n) for n in range(4)])
        one = drain(log, "one", 4, commit=True)
        assert drain(log, "two", 4) == one
        assert drain(log, "one", 0) == []

    def test_seek_goes_back_and_forth(self, log: Log) -> None:
        log.publish([crossing(n) for n in range(6)])
        sub = log.bus.subscribe("g")
        all_ = take(sub, 6)
        name = all_[0].log
        sub.seek({name: 0})
        assert take(sub, 6) == all_
        sub.seek({name: all_[3].offset})
        assert take(sub, 2) == all_[4:]
        sub.close()

    def test_who_keeps_offsets_elsewhere_begins_there(self, log: Log) -> None:
        """The bus's own committed offset does not count, neither when it is behind nor when it is ahead."""
        log.publish([crossing(n) for n in range(6)])
        all_ = drain(log, "g", 6, commit=True)
        asked: list[str] = []

        def stands(name: str) -> int:
            asked.append(name)
            return all_[1].offset if name == all_[0].log else 0

        sub = log.bus.subscribe("g", start=stands)
        assert take(sub, 4) == all_[2:]
        assert all_[0].log in asked
        sub.close()

    def test_logs_that_are_not_held_are_passed_over(self, log: Log) -> None:
        log.publish([crossing(0)])
        sub = log.bus.subscribe("g")
        (record,) = take(sub, 1)
        assert record.log in sub.position
        sub.seek({"of somebody else": 7})
        sub.commit({"of somebody else": 7})
        assert "of somebody else" not in sub.position
        sub.close()
        assert drain(log, "g", 1) == [record], "nothing was committed"

    def test_what_is_of_other_families_can_be_committed_as_done(self, log: Log) -> None:
        log.publish([*alert("a1"), *(crossing(n) for n in range(4))])
        sub = log.bus.subscribe("one", ("alert",))
        given = take(sub, 3)
        name = given[-1].log
        assert sub.position[name] >= given[-1].offset
        sub.commit(sub.position)
        position = dict(sub.position)
        sub.close()
        again = log.bus.subscribe("one", ("alert",))
        assert list(again.poll(log.quiet_s)) == []
        assert again.position == position
        again.close()

    def test_a_family_is_had_alone(self, log: Log) -> None:
        log.publish([crossing(0), event(health("raised"), 0), crossing(1), event(health("cleared"), 1)])
        families = [(r.event.family, r.event.sequence) for r in drain(log, "g", 2, families=("health",))]
        assert families == [("health", 0), ("health", 1)]
        assert len(drain(log, "h", 4, families=("health", "count"))) == 4
        assert drain(log, "i", 0, families=("alert",)) == []

    @given(CRASHES)
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_crash_anywhere_gives_each_event_at_least_once_in_order(self, log: Log, crash: Crash) -> None:
        crash_anywhere(log, crash)


def crash_anywhere(log: Log, crash: Crash) -> None:
    """Read in steps, commit each, lose the position once: the sequence per source has no hole."""
    sends, limit, crash_after = crash
    group = f"g{time.monotonic_ns()}"
    sequences = {"a": 0, "b": 0}
    for name in sends:
        source = f"{CAMERA}-{name}-{group}"
        log.publish([crossing(sequences[name], source=source)])
        sequences[name] += 1
    seen: list[Record] = []
    ours = f"-{group}"
    sub = log.bus.subscribe(group)
    while len({(r.log, r.offset) for r in seen}) < len(sends):
        got = list(sub.poll(PATIENCE_S, limit))
        assert got, "what was published comes"
        seen += [r for r in got if r.event.source.endswith(ours)]
        if len(seen) > crash_after:
            crash_after = 1 << 30
            sub.close()
            sub = log.bus.subscribe(group)  # without having committed the last step
            continue
        sub.commit(sub.position)
    sub.close()
    for name, count in sequences.items():
        once = {r.offset: r.event.sequence for r in seen if r.event.source == f"{CAMERA}-{name}{ours}"}
        assert [once[offset] for offset in sorted(once)] == list(range(count))


def take(sub: Subscription, count: int, limit: int = 500) -> list[Record]:
    """At least `count` records."""
    records: list[Record] = []
    until = time.monotonic() + PATIENCE_S
    while len(records) < count:
        assert time.monotonic() < until, f"{len(records)} of {count} records came"
        records += sub.poll(1.0, limit)
    return records


def drain(
    log: Log,
    group: str,
    count: int,
    *,
    families: Sequence[str] = (),
    limit: int = 500,
    commit: bool = False,
) -> list[Record]:
    """The `count` records that there are for the group, and whatever comes beyond them."""
    sub = log.bus.subscribe(group, families)
    records = take(sub, count, limit)
    records += sub.poll(log.quiet_s, limit)
    if commit:
        sub.commit(sub.position)
    sub.close()
    return records

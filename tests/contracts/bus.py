"""The bus contract (`events/bus.py`) as tests. A bus's own test module derives from `BusContract`, named
`Test...`, and provides the fixture `log`.
"""

import threading
import time
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.bus import Bus, Record
from events.events import Event
from tests.contracts.examples import CAMERA, alert, crossing, event, health


class Log(Protocol):
    """What the suite needs of a bus: the bus, a way to put events on it, and a restart."""

    bus: Bus

    def publish(self, events: list[Event]) -> None:
        """All are to be had by subscribers when this returns."""

    def restart(self) -> None:
        """Close everything and open it again; `bus` is new."""


class BusContract:
    @pytest.fixture
    def log(self) -> Log:
        raise NotImplementedError

    def test_records_come_in_order_once_and_as_they_were(self, log: Log) -> None:
        sent = [crossing(n) for n in range(250)]
        log.publish(sent)
        got = drain(log.bus, "g", limit=40)
        assert [r.event for r in got] == sent
        offsets = [r.offset for r in got]
        assert offsets == sorted(set(offsets))
        assert offsets[0] > 0

    def test_what_was_published_before_and_after_subscribing_comes(self, log: Log) -> None:
        log.publish([crossing(0)])
        sub = log.bus.subscribe("g")
        assert [r.event.sequence for r in sub.poll(5.0)] == [0]
        log.publish([crossing(1)])
        assert [r.event.sequence for r in sub.poll(5.0)] == [1]
        assert list(sub.poll(0.0)) == []
        sub.close()

    def test_an_empty_log_answers_nothing_when_the_time_is_over(self, log: Log) -> None:
        sub = log.bus.subscribe("g")
        start = time.monotonic()
        assert list(sub.poll(0.3)) == []
        assert 0.25 <= time.monotonic() - start < 3.0
        sub.close()

    def test_a_waiting_consumer_is_woken(self, log: Log) -> None:
        sub = log.bus.subscribe("g")
        sub.poll(0.0)
        timer = threading.Timer(0.2, log.publish, ([crossing(0)],))
        timer.start()
        start = time.monotonic()
        assert len(sub.poll(10.0)) == 1
        assert time.monotonic() - start < 5.0
        timer.join()
        sub.close()

    def test_who_does_not_commit_gets_all_again(self, log: Log) -> None:
        log.publish([crossing(n) for n in range(5)])
        first = drain(log.bus, "g")
        log.restart()
        assert drain(log.bus, "g") == first

    def test_who_commits_goes_on_after_it(self, log: Log) -> None:
        log.publish([crossing(n) for n in range(5)])
        sub = log.bus.subscribe("g")
        got = sub.poll(5.0, limit=3)
        sub.commit(got[-1].offset)
        sub.close()
        log.restart()
        assert [r.event.sequence for r in drain(log.bus, "g")] == [3, 4]

    def test_consumers_do_not_disturb_each_other(self, log: Log) -> None:
        log.publish([crossing(n) for n in range(4)])
        one = drain(log.bus, "one", commit=True)
        assert drain(log.bus, "two") == one
        assert drain(log.bus, "one") == []

    def test_seek_goes_back_and_forth(self, log: Log) -> None:
        log.publish([crossing(n) for n in range(6)])
        sub = log.bus.subscribe("g")
        all_ = list(sub.poll(5.0))
        sub.seek(0)
        assert list(sub.poll(5.0)) == all_
        sub.seek(all_[3].offset)
        assert list(sub.poll(5.0)) == all_[4:]
        sub.close()

    def test_what_is_of_other_families_can_be_committed_as_done(self, log: Log) -> None:
        sub = log.bus.subscribe("one", ("alert",))
        log.publish([*alert("a1"), *(crossing(n) for n in range(4))])
        given = sub.poll(1.0)
        assert given
        assert sub.position >= given[-1].offset
        assert sub.poll(0.0) == []
        last = log.bus.subscribe("two").poll(1.0)[-1].offset
        assert sub.position == last
        sub.commit(sub.position)
        again = log.bus.subscribe("one", ("alert",))
        assert again.position == last

    def test_a_family_is_had_alone(self, log: Log) -> None:
        log.publish([crossing(0), event(health("raised"), 0), crossing(1), event(health("cleared"), 1)])
        families = [(r.event.family, r.event.sequence) for r in drain(log.bus, "g", families=("health",))]
        assert families == [("health", 0), ("health", 1)]
        assert len(drain(log.bus, "h", families=("health", "count"))) == 4
        assert drain(log.bus, "i", families=("alert",)) == []

    @given(
        st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=30),
        st.integers(1, 7),
        st.integers(0, 30),
    )
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_crash_anywhere_gives_each_event_at_least_once_in_order(
        self, log: Log, sends: list[tuple[str, bool]], limit: int, crash_after: int
    ) -> None:
        """Read in steps, commit each, lose the position once: the sequence per source has no hole."""
        group = f"g{time.monotonic_ns()}"
        start = drain(log.bus, f"{group}-start")
        base = start[-1].offset if start else 0
        sequences = {"a": 0, "b": 0}
        for name, _ in sends:
            source = f"{CAMERA}-{name}-{group}"
            log.publish([crossing(sequences[name], source=source)])
            sequences[name] += 1
        seen: list[Record] = []
        sub = log.bus.subscribe(group)
        sub.commit(base)
        sub.close()
        sub = log.bus.subscribe(group)
        while True:
            missing = len(sends) - len({r.offset for r in seen})
            got = list(sub.poll(5.0 if missing else 0.0, limit))
            if not got:
                break
            seen += got
            if len(seen) > crash_after:
                crash_after = 1 << 30
                sub.close()
                sub = log.bus.subscribe(group)  # without having committed the last step
                continue
            sub.commit(got[-1].offset)
        sub.close()
        assert missing == 0
        for name, count in sequences.items():
            once = {r.offset: r.event.sequence for r in seen if r.event.source == f"{CAMERA}-{name}-{group}"}
            assert [once[offset] for offset in sorted(once)] == list(range(count))


def drain(
    bus: Bus, group: str, *, families: tuple[str, ...] = (), limit: int = 500, commit: bool = False
) -> list[Record]:
    """All there is for the group."""
    sub = bus.subscribe(group, families)
    records: list[Record] = []
    while got := sub.poll(0.0, limit):
        records += got
    if commit and records:
        sub.commit(records[-1].offset)
    sub.close()
    return records

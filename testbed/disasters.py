"""Disasters on the way from the journal to the store, and what is left of the events afterwards.

A *town* is a broker, boxes that write journals and relay them, and a centre that projects into a store, all
real, each in processes of its own. A disaster is done to it while events flow; then it is left alone until
nothing is under way, and store and journals are compared event by event (`testbed/agreement.py`).
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from events.bus import Record
from events.clock import SystemClock
from events.topics import topic_name
from pipeline.projector import Projector
from pipeline.relay import GROUP, Relay, RelaySettings
from storage.brokers import Brokers
from storage.journal import Journal
from storage.kafkabus import KafkaBus
from storage.kafkaproducer import KafkaSender
from storage.opening import open_store
from storage.store import Store
from testbed.agreement import Agreement, agree
from testbed.happenings import Street
from testbed.kafka import Kafka
from testbed.lives import Life, die

FAMILIES = ("count", "alert", "health")
"""Those that a street's events are of."""

CAMERAS = 4
SETTLED_S = 120.0

Place = Literal["before", "inside", "applied", "committed", "anywhere"]
PLACES: tuple[Place, ...] = ("before", "inside", "applied", "committed", "anywhere")
"""Where a centre is killed: before the store's transaction, inside it, between it and the bus's commit, after
that, or at any moment."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a town, and what came of its events."""

    disaster: str
    injected: str
    events: int
    lost: int
    doubled: int
    reordered: int
    changed: int
    extra: int
    miscounted: int
    seconds: float
    whole: bool

    def __str__(self) -> str:
        return (
            f"{self.disaster}: injected {self.injected}; compared {self.events} events: {self.lost} lost, "
            f"{self.doubled} doubled, {self.reordered} runs reordered, {self.changed} changed, "
            f"{self.extra} extra, {self.miscounted} totals off ({self.seconds:.0f} s)"
        )


class Town:
    """Its processes are forks: whoever holds it opens neither journal nor store before `settle`.

    Args:
        where: of the store: a path, or a PostgreSQL address that was migrated.
        seed: of all chance.
    """

    def __init__(self, folder: Path, kafka: Kafka, prefix: str, where: Path | str, seed: int) -> None:
        self.folder = folder
        self.kafka = kafka
        self.chance = random.Random(seed)
        self.brokers = Brokers(bootstrap=(kafka.bootstrap,), prefix=prefix)
        self._where = where
        self._boxes: dict[str, Life] = {}
        self._centres: dict[str, Life] = {}

    # -- who lives there

    def box(self, name: str) -> Life:
        """Start (again) a box that writes and relays until it is killed or stopped."""
        seed = self.chance.random()
        self._boxes[name] = Life(lambda stop: self._be_box(name, seed, stop))
        return self._boxes[name]

    def centre(self, name: str = "a", kill: Place | None = None) -> Life:
        """Start (again) a centre. `kill`: where it kills itself, after a few batches."""
        after = self.chance.randint(1, 3)
        delay_s = self.chance.random() * 0.004
        self._centres[name] = Life(lambda stop: self._be_centre(name, kill, after, delay_s, stop))
        return self._centres[name]

    def _be_box(self, name: str, seed: float, stop: threading.Event) -> None:
        clock, chance = SystemClock(), random.Random(seed)
        journal = Journal(self.folder / f"{name}.db", clock, group_s=0.01)
        names = {family: topic_name(self.brokers.prefix, family) for family in FAMILIES}
        settings = RelaySettings(topics=names, source=f"/town/box/{name}")
        relay = Relay(journal, settings, lambda wanted: KafkaSender(self.brokers, list(wanted)), clock)
        relay.start()
        streets = [Street("town", f"{name}-{n}", clock.wall_us() + n, seed) for n in range(CAMERAS)]
        while not stop.is_set():
            journal.append(chance.choice(streets).events(chance.randint(1, 8)))
            stop.wait(chance.random() * 0.08)
        journal.flush()
        _until(lambda: journal.committed(GROUP) >= journal.last_offset(), f"{name}: all is relayed")
        relay.stop()
        journal.close()

    def _be_centre(
        self, name: str, kill: Place | None, after: int, delay_s: float, stop: threading.Event
    ) -> None:
        bus: Any = KafkaBus(self.brokers, SystemClock(), families=FAMILIES, instance=f"centre-{name}")
        store: Any = open_store(self._where)
        if kill is not None and kill != "anywhere":
            trap = _Trap(kill, after, delay_s)
            bus, store = _TrappedBus(bus, trap), _TrappedStore(store, trap)
        projector = Projector(bus, store, SystemClock(), quiet_s=1.0)
        projector.start()
        stop.wait()
        projector.stop()
        store.close()

    # -- the end

    def settle(self, disaster: str, injected: str, began: float) -> Outcome:
        """Let the boxes finish, let the centre catch up, compare."""
        for name, life in self._boxes.items():
            if life.alive:
                life.stop(SETTLED_S + 30)
            else:
                self._finish(name)
        if not any(life.alive for life in self._centres.values()):
            self.centre("last")
        journals = [Journal(self.folder / f"{name}.db", SystemClock()) for name in sorted(self._boxes)]
        store = open_store(self._where)
        try:
            total = sum(journal.last_offset() for journal in journals)
            with suppress(AssertionError):  # the comparison says what is missing
                _until(lambda: store.sizes().events >= total, "all is stored")
            found = agree(journals, store, FAMILIES)
        finally:
            store.close()
            for journal in journals:
                journal.close()
            self.close()
        return _outcome(disaster, injected, found, time.monotonic() - began)

    def _finish(self, name: str) -> None:
        """A box that was killed relays what it had committed, and writes nothing more."""
        stop = threading.Event()
        stop.set()
        life = Life(lambda _: self._be_box(name, 0.0, stop))
        life.wait(SETTLED_S + 30)

    def close(self) -> None:
        """Kill who is left."""
        for life in (*self._boxes.values(), *self._centres.values()):
            if life.alive:
                life.kill()


class _Trap:
    """Kills the process at a place of the code, the n-th time it comes there."""

    def __init__(self, place: Place, after: int, delay_s: float) -> None:
        self.place = place
        self.delay_s = delay_s
        self._left = after

    def at(self, place: Place) -> bool:
        if place != self.place:
            return False
        self._left -= 1
        return self._left <= 0


class _TrappedStore:
    def __init__(self, store: Store, trap: _Trap) -> None:
        self._store = store
        self._trap = trap

    def apply(self, log: str, records: Sequence[Record]) -> int:
        if self._trap.at("before"):
            die()
        if self._trap.at("inside"):
            threading.Timer(self._trap.delay_s, die).start()
        new = self._store.apply(log, records)
        if self._trap.at("applied"):
            die()
        return new

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _TrappedBus:
    def __init__(self, bus: Any, trap: _Trap) -> None:
        self._bus = bus
        self._trap = trap

    def subscribe(self, *args: Any, **kwargs: Any) -> Any:
        return _TrappedSubscription(self._bus.subscribe(*args, **kwargs), self._trap)


class _TrappedSubscription:
    def __init__(self, subscription: Any, trap: _Trap) -> None:
        self._subscription = subscription
        self._trap = trap

    def commit(self, position: Mapping[str, int]) -> None:
        self._subscription.commit(position)
        if self._trap.at("committed"):
            die()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subscription, name)


# --- disasters


def boxes_killed(town: Town, times: int) -> Outcome:
    """A box is killed at random moments: of its start, of writing, of relaying."""
    began = time.monotonic()
    town.centre()
    for _ in range(times):
        life = town.box("north")
        time.sleep(0.02 + town.chance.random() * 0.9)
        life.kill()
    return town.settle("boxes_killed", f"{times} kill -9 of a box at random moments", began)


def centres_killed(town: Town, times: int) -> Outcome:
    """The centre is killed around its commits, again and again, while a box writes."""
    began = time.monotonic()
    town.box("north")
    found = dict.fromkeys(PLACES, 0)
    for n in range(times):
        place = PLACES[n % len(PLACES)]
        life = town.centre("a", place)
        until = time.monotonic() + (15.0 if place != "anywhere" else 0.3 + town.chance.random() * 1.5)
        while life.alive and time.monotonic() < until:
            time.sleep(0.01)
        if life.alive:
            if place != "anywhere":
                raise RuntimeError(f"a centre did not come to its place ({place}) within 15 s")
            life.kill()
        found[place] += 1
    places = ", ".join(f"{count} {place}" for place, count in found.items() if count)
    return town.settle("centres_killed", f"{times} kill -9 of the centre ({places})", began)


def broker_killed(town: Town, times: int) -> Outcome:
    """The broker is killed and started on the same disk."""
    began = time.monotonic()
    town.box("north")
    town.box("south")
    town.centre()
    for _ in range(times):
        time.sleep(1.0 + town.chance.random() * 2)
        town.kafka.kill()
        time.sleep(town.chance.random())
        town.kafka.start()
    time.sleep(1.0)
    return town.settle("broker_killed", f"{times} kill -9 of the broker, same disk", began)


def broker_away(town: Town, seconds: float) -> Outcome:
    """The broker is stopped for minutes while boxes go on writing, and one of them is killed meanwhile."""
    began = time.monotonic()
    town.box("north")
    south = town.box("south")
    town.centre()
    time.sleep(2.0)
    town.kafka.stop()
    time.sleep(seconds / 2)
    south.kill()
    town.box("south")
    time.sleep(seconds / 2)
    town.kafka.start()
    time.sleep(1.0)
    return town.settle(
        "broker_away", f"the broker stopped for {seconds:.0f} s, a box killed meanwhile", began
    )


def broker_hangs(town: Town, seconds: float) -> Outcome:
    """The broker stops answering (SIGSTOP) for longer than a request may take, and goes on."""
    began = time.monotonic()
    town.box("north")
    town.centre()
    time.sleep(2.0)
    town.kafka.pause()
    time.sleep(seconds)
    town.kafka.resume()
    time.sleep(1.0)
    return town.settle("broker_hangs", f"the broker hung for {seconds:.0f} s", began)


def broker_emptied(town: Town, make_topics: Callable[[], None]) -> Outcome:
    """The broker comes back with an empty disk: all that it had is gone."""
    began = time.monotonic()
    town.box("north")
    town.centre()
    time.sleep(4.0)
    town.kafka.kill()
    town.kafka.wipe()
    town.kafka.start()
    make_topics()
    time.sleep(4.0)
    return town.settle("broker_emptied", "the broker killed and its disk emptied", began)


def packets_dropped(
    town: Town, cut: Callable[[float], None], mend: Callable[[], None], times: int
) -> Outcome:
    """The network drops packets, by thirds, and all of them for longer than sessions last."""
    began = time.monotonic()
    town.box("north")
    town.centre()
    time.sleep(2.0)
    for n in range(times):
        share = 1.0 if n % 2 else 0.3
        cut(share)
        time.sleep(12.0 if share == 1.0 else 5.0)
        mend()
        time.sleep(2.0)
    return town.settle("packets_dropped", f"{times} spells of 30 % or all packets dropped", began)


def disk_filled(town: Town, fill: Callable[[], None], free: Callable[[], None]) -> Outcome:
    """The broker's disk is full, it falls; there is room again, and it is started."""
    began = time.monotonic()
    town.box("north")
    town.centre()
    time.sleep(2.0)
    fill()
    time.sleep(8.0)
    fell = town.kafka.pid is None
    free()
    town.kafka.kill()
    town.kafka.start()
    time.sleep(2.0)
    how = "it fell" if fell else "it went on and refused"
    return town.settle("disk_filled", f"the broker's disk filled ({how}), freed, started again", began)


def _outcome(disaster: str, injected: str, found: Agreement, seconds: float) -> Outcome:
    return Outcome(
        disaster=disaster,
        injected=injected,
        events=found.events,
        lost=found.lost,
        doubled=found.doubled,
        reordered=found.reordered,
        changed=found.changed,
        extra=found.extra,
        miscounted=found.miscounted,
        seconds=round(seconds, 1),
        whole=found.whole and found.events > 0,
    )


def _until(what: Callable[[], bool], name: str, within_s: float = SETTLED_S) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, f"{name}: not within {within_s:.0f} s"
        time.sleep(0.05)


@contextmanager
def town(folder: Path, kafka: Kafka, prefix: str, where: Path | str, seed: int) -> Iterator[Town]:
    """A town; nobody of it is left at the end."""
    found = Town(folder, kafka, prefix, where, seed)
    try:
        yield found
    finally:
        found.close()

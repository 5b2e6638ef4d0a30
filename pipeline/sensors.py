"""The sensors' hub: what comes in becomes readings and alerts in the journal, and is settled once there.

    hub = SensorHub(...)
    hub.start()
    hub.offer(delivery)            # from any thread; delivery.origin.settled([delivery]) follows the commit

One thread takes all that has come within a tenth of a second, maps it, feeds the rules and records readings
and alerts in one transaction. Nothing is acknowledged before, so a kill at any moment loses nothing; ids are
derived from sensor, quantity and time, so nothing is there twice.
"""

import logging
import os
import threading
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from events.clock import Clock, process_cpu_ns
from events.errors import StorageError
from events.events import Health, Reading, sensor_source
from events.ids import timed_id
from events.noted import Noted
from ingest.acceptance import Acceptance
from ingest.deliveries import Delivery, key_of
from ingest.readings import Directory, Measured, Refusal, SensorMap, shown
from ingest.senml import SenmlError, resolve
from pipeline.arrivals import Arrivals
from pipeline.complaints import Complaints
from pipeline.sensor_rules import SensorRules
from pipeline.service import Service
from storage.journal import Journal
from storage.quantiles import Histogram

log = logging.getLogger(__name__)

GROUP_S = 0.1
"""Company is waited for so long before a batch."""

BATCH = 2000
"""Deliveries in a batch at most."""

MOST_REFUSED = 100
"""So many refusals of a delivery are told one by one; the others are counted."""

RETRY_S = 1.0
TICK_S = 1.0

_LATE = {
    "late": "is over {window:g} s older than the newest; mend the sensor's clock, or `window_s` of [sensors]",
    "old": "is older than {backlog:g} s; mend the sensor's clock, or `backlog_s` of [sensors]",
    "future": "is {ahead:.0f} s in the future; mend the sensor's clock, or this box's",
}


class SensorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub did since it started; written to a file every other second and at its end."""

    pid: int
    deliveries: int
    readings: int
    """Taken, those that were there already included."""
    repeats: int
    """Recorded again, and passed over."""
    refused: dict[str, int]
    """By reason."""
    dropped: int
    """Messages of QoS 0 for which there was no room."""
    waiting: int
    lag_ms_p50: float
    lag_ms_p99: float
    """From a batch's first arrival to its commit."""
    cpu_ms: float
    connected: dict[str, bool]
    """Brokers."""
    problem: str
    """Why the journal cannot be written at present; empty while all is well."""


class SensorHub(Service):
    """See the module's text.

    Args:
        site: its id.
        box: CloudEvents source of this box, for the health of its connections.
        times: which readings are taken by their time: `window_s` and `backlog_s`.
        brokers: names of the connections that `told` will be called for, with the topics subscribed at each
            (none: those of all sensors).
    """

    def __init__(
        self,
        site: str,
        box: str,
        directory: Directory,
        journal: Journal,
        clock: Clock,
        times: tuple[float, float] = (300.0, 7 * 86_400.0),
        brokers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__("sensors")
        self._site, self._box, self._directory = site, box, directory
        self._journal, self._clock = journal, clock
        self._window_s, self._backlog_s = times
        self._acceptance = Acceptance(*times)
        self._rules = SensorRules(site, directory, self._window_s, brokers or {})
        self._complaints = Complaints(site, box, journal)
        kept = journal.states("sensors/arrivals/")
        self._arrivals = Arrivals({name: state.body for name, state in kept.items()})
        self._sources = {id: sensor_source(site, id) for id in directory.maps}
        self._inbox: deque[Delivery] = deque()
        self._ready = threading.Event()
        self._connected = dict.fromkeys(brokers or (), False)
        self._back: deque[str] = deque()
        """Brokers of which the rules do not know yet that they are connected."""
        self._lag = Histogram()
        self._raised = set(journal.raised(box))
        self._why: dict[str, str] = {}
        """What was said last of what is raised."""
        self._deliveries = self._readings = 0

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery, soon. Never waits."""
        self._inbox.append(delivery)
        if not self._ready.is_set():
            self._ready.set()

    def waiting(self) -> int:
        """Deliveries that are not read yet."""
        return len(self._inbox)

    def told(self, broker: str, state: str, text: str) -> None:
        """How a broker's connection is: raised, cleared or note. Called from any thread."""
        what = f"mqtt {broker}"
        if state != "note":
            connected = state == "cleared"
            if connected and not self._connected.get(broker):
                self._back.append(broker)  # first: whoever sees it connected sees this too
                self._ready.set()
            self._connected[broker] = connected
            if (what in self._raised) != connected and (connected or self._why.get(what) == text):
                return  # said already
            self._why[what] = text
            (self._raised.discard if connected else self._raised.add)(what)
        try:
            data = Health(what=what, state=state, message=text)  # type: ignore[arg-type]
            self._journal.note(self._box, data, self._clock.wall_us())
        except StorageError as error:
            log.error("%s; not noted: %s", error, text)

    def status(self, dropped: int = 0) -> SensorStatus:
        """What was done so far."""
        lag, stats = self._lag.quantiles(), self._journal.stats()
        return SensorStatus(
            pid=os.getpid(),
            deliveries=self._deliveries,
            readings=self._readings,
            repeats=stats.repeats,
            refused=dict(self._complaints.counts),
            dropped=dropped,
            waiting=len(self._inbox),
            lag_ms_p50=round(lag.p50, 1),
            lag_ms_p99=round(lag.p99, 1),
            cpu_ms=round(process_cpu_ns() / 1e6, 1),
            connected=dict(self._connected),
            problem=stats.problem,
        )

    def write(self, path: Path, dropped: int = 0) -> None:
        """The status as a file, replaced at once."""
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(self.status(dropped)))
        part.replace(path)

    # -- the hub's thread

    def _run(self) -> None:
        said = self._rules.restore(self._journal, self._clock.wall_us())
        self._record(said, self._rules.listen(self._clock.wall_us()))
        tick_at = 0.0
        while not (self._stop.is_set() and not self._inbox):
            self._ready.wait(TICK_S)
            self._ready.clear()
            if len(self._inbox) < BATCH:
                self._stop.wait(GROUP_S)
            while self._inbox and self._batch():
                pass
            if self._clock.monotonic() >= tick_at:
                tick_at = self._clock.monotonic() + TICK_S
                self._tick()
        self._record([], self._rules.checkpoint(self._clock.wall_us()))

    def _tick(self) -> None:
        now = self._clock.wall_us()
        away = {name for name, connected in self._connected.items() if not connected}
        came = {self._back.popleft() for _ in range(len(self._back))}
        self._back.extend(sorted(came & away))
        if came - away:
            self._record([], self._rules.listen(now, sorted(came - away), away))
        said = self._rules.tick(now, away)
        # what only a tick tells, silence, does not come out again of the journal's readings
        states = self._rules.checkpoint(now) if said or self._rules.due(now) else []
        if said or states:
            self._record(said, states)
        self._complaints.due(now)

    def _batch(self) -> bool:
        """Read and record up to `BATCH` deliveries; answers whether there were as many."""
        batch: list[Delivery] = []
        items: list[Noted] = []
        while self._inbox and len(batch) < BATCH:
            delivery = self._inbox.popleft()
            batch.append(delivery)
            try:
                self._take(delivery, items)
            except Exception as error:  # noqa: BLE001  no message may end the hub, or keep its batch
                self._refuse(delivery, Refusal("payload", _unforeseen(error, delivery)))
        self._record(items, self._arrivals.close_batch(), batch)
        self._deliveries += len(batch)
        return len(batch) == BATCH

    def _record(
        self, items: list[Noted], states: list[tuple[str, bytes]], batch: Sequence[Delivery] = ()
    ) -> None:
        """Until it is queued, however long the disk is full; nothing more is read meanwhile."""

        def done() -> None:
            if batch:
                self._lag.add((self._clock.wall_us() - batch[0].arrived_us) / 1000, len(batch))
                settle(batch)

        while items or states or batch:
            try:
                self._journal.record(items, states=states, done=done)
            except StorageError as error:
                log.error("%s; readings wait", error)
                if self._stop.wait(RETRY_S):
                    return  # they were not acknowledged, so they come again
            else:
                return

    def _take(self, delivery: Delivery, items: list[Noted]) -> None:
        if delivery.too_large:
            return self._refuse_too_large(delivery)
        arrived_us = delivery.arrived_us
        if delivery.again:
            arrived_us = self._arrivals.find(key_of(delivery)) or arrived_us
        untimed = False
        for known, (measured, refused) in self._read(delivery, arrived_us):
            if delivery.only is not None and known.id not in delivery.only:
                text = "the sender may not speak for this sensor; add it to the gateway's `sensors`"
                self._refuse(delivery, Refusal("forbidden", text, "", known.id))
                continue
            for one in measured:
                untimed = untimed or not one.timed
                self._add(delivery, known, one, items)
            for refusal in refused:
                self._refuse(delivery, refusal)
        if untimed and delivery.name:
            self._arrivals.add(key_of(delivery), arrived_us)

    def _read(
        self, delivery: Delivery, arrived_us: int
    ) -> list[tuple[SensorMap, tuple[list[Measured], list[Refusal]]]]:
        """What each sensor that the delivery is of says in it."""
        found = self._whose(delivery)
        senml = delivery.senml or (bool(found) and all(known.sensor.payload == "senml" for known in found))
        if len(found) == 1 or (found and not senml):
            time_us = delivery.time_us
            named = not delivery.topic
            read = (delivery.payload, arrived_us, time_us)
            return [(m, m.read(*read, senml=delivery.senml, named=named)) for m in found]
        if delivery.sensor or (not senml and not delivery.payload.lstrip().startswith(b"[")):
            return self._stranger(delivery)
        return self._read_pack(delivery, arrived_us, found)

    def _read_pack(
        self, delivery: Delivery, arrived_us: int, found: Sequence[SensorMap]
    ) -> list[tuple[SensorMap, tuple[list[Measured], list[Refusal]]]]:
        """A SenML pack of many sensors, told apart by their names."""
        try:
            records = resolve(delivery.payload, arrived_us)
        except SenmlError as error:
            text = f"not SenML: {error}, in {shown(delivery.payload)}"
            self._refuse(delivery, Refusal("payload", text, error.field))
            return []
        by_name = self._directory.of_records(records)
        among = {known.id for known in found} if found else set(by_name)
        pairs = [(self._directory.maps[id], part) for id, part in by_name.items() if id in among]
        pairs += [(known, records) for known in found if not known.sensor.source]
        if not pairs:
            return self._stranger(delivery)
        return [(known, known.take(part, delivery.time_us)) for known, part in pairs]

    def _whose(self, delivery: Delivery) -> Sequence[SensorMap]:
        if delivery.sensor:
            known = self._directory.named(delivery.sensor)
        elif delivery.topic:
            return self._directory.topic(delivery.topic)
        else:
            known = self._directory.source(delivery.source)
        return () if known is None else (known,)

    def _stranger(self, delivery: Delivery) -> list[tuple[SensorMap, tuple[list[Measured], list[Refusal]]]]:
        of = delivery.sensor or delivery.topic or delivery.source or "its names"
        text = f"no [[sensor]] of the site file is known by {shown(of)}; add it, with `topic` or `source`"
        self._refuse(delivery, Refusal("unknown", text))
        return []

    def _add(self, delivery: Delivery, known: SensorMap, one: Measured, items: list[Noted]) -> None:
        arrived_us, id, quantity = delivery.arrived_us, known.id, one.quantity
        if delivery.retained and not one.timed:
            text = f"{quantity}: kept by the broker since nobody knows when; let the sensor send a time"
            self._refuse(delivery, Refusal("time", text, quantity, id))
            return
        verdict = self._acceptance.judge(id, quantity, one.time_us, arrived_us)
        if verdict:
            ahead = (one.time_us - arrived_us) / 1e6
            text = _LATE[verdict].format(window=self._window_s, backlog=self._backlog_s, ahead=ahead)
            self._refuse(delivery, Refusal(verdict, f"{quantity}: its time {text}", quantity, id))
            return
        data = Reading(quantity=quantity, value=one.value, unit=one.unit, received_us=arrived_us)
        name = timed_id(one.time_us, self._site, id, quantity)
        items.append(Noted(self._sources[id], name, data, one.time_us))
        items += self._rules.feed(id, one, arrived_us)
        delivery.accepted += 1
        self._readings += 1

    def _refuse_too_large(self, delivery: Delivery) -> None:
        of = shown(delivery.topic)
        text = f"a message of {of} has {delivery.too_large} bytes, which is too large; send less at once"
        found = self._whose(delivery)
        self._refuse(delivery, Refusal("payload", text, "", found[0].id if found else ""))

    def _refuse(self, delivery: Delivery, refusal: Refusal) -> None:
        if len(delivery.refused) < MOST_REFUSED:
            delivery.refused.append(refusal)
        else:
            delivery.refused_more += 1
        self._complaints.add(refusal, delivery.arrived_us)


def _unforeseen(error: Exception, delivery: Delivery) -> str:
    """Logs where a delivery could not be worked off, and answers what to tell; neither shows its payload,
    nor the error's text, which may quote it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    of = shown(delivery.sensor or delivery.topic or delivery.source)
    log.error("a message of %s was passed over: %s in %s", of, type(error).__name__, where)
    return f"a message of {of} cannot be worked off ({type(error).__name__} in {where}); please report this"


def settle(batch: Sequence[Delivery]) -> None:
    """Tell each origin, with all of its own at once, in order."""
    by_origin: dict[int, list[Delivery]] = {}
    for delivery in batch:
        by_origin.setdefault(id(delivery.origin), []).append(delivery)
    for deliveries in by_origin.values():
        deliveries[0].origin.settled(deliveries)

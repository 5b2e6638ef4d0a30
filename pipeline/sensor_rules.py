"""The rules of all sensors of a site, and how they go on after a kill.

Every half minute the state of each engine that was fed is kept in the journal: a checkpoint. Whoever starts
restores it and feeds the readings that were journaled after it. An engine is deterministic and its alerts'
ids are derived, so what comes out again is in the journal already and is passed over there: rules and journal
agree, wherever a process was killed.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from events.events import Reading, sensor_source
from events.noted import Noted
from events.sensors import Said, SensorEngine
from ingest.readings import Directory, Measured
from ingest.sensorfile import Sensor, matches
from storage.journal import Journal

log = logging.getLogger(__name__)

EVERY_US = 30_000_000
_STATE = "sensors/engine/"
_MARK = "sensors/checkpoint"
_PAGE = 5000


class SensorRules:
    """The engines of the sensors that have rules. One thread calls it."""

    def __init__(
        self, site: str, directory: Directory, late_s: float, brokers: Mapping[str, Sequence[str]]
    ) -> None:
        """`brokers`: the topics of each, none for all. A sensor is heard only while every broker is connected
        that has its topic: by which of them it sends, nobody says."""
        self._site = site
        self._engines: dict[str, SensorEngine] = {}
        self._dirty: set[str] = set()
        self._kept_us = 0
        self._late_s = late_s
        self._at: dict[str, frozenset[str]] = {}
        """The brokers of each sensor; none if it sends otherwise."""
        for known in directory.maps.values():
            sensor = known.sensor
            if sensor.rules:
                self._engines[sensor.id] = self._engine(sensor, known.units)
                self._at[sensor.id] = _brokers_of(sensor.topic, brokers)

    def _engine(self, sensor: Sensor, units: dict[str, str]) -> SensorEngine:
        return SensorEngine(
            self._site, sensor.id, sensor.rules, place=sensor.place, units=units, late_s=self._late_s
        )

    def restore(self, journal: Journal, now_us: int) -> list[Noted]:
        """Go on where the journal ends; answers what is to be recorded.

        Raises:
            StorageError: the journal cannot be read.
        """
        said: list[Noted] = []
        states = journal.states(_STATE)
        for name, kept in states.items():
            id = name.removeprefix(_STATE)
            engine = self._engines.get(id) or SensorEngine(self._site, id, ())
            try:
                engine.restore(msgspec.json.decode(kept.body))
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("the state of sensor %s is of no use, its rules begin anew: %s", id, error)
                continue
            if id not in self._engines:  # its rules are gone: what is open is over
                said += self._noted(id, engine.tick(now_us))
                journal.forget_state(name)
        mark = journal.states(_MARK).get(_MARK)
        if mark is not None:
            said += self._catch_up(journal, mark.offset)
        return said

    def _catch_up(self, journal: Journal, after: int) -> list[Noted]:
        said: list[Noted] = []
        end = journal.last_offset()
        while self._engines and after < end:
            records, after = journal.page(after, _PAGE, ("sensor",))
            for record in records:
                event = record.event
                engine = self._engines.get(event.key)
                if engine is None or not isinstance(event.data, Reading):
                    continue
                data = event.data
                found = engine.feed(data.quantity, data.value, event.time_us, data.received_us)
                said += self._noted(event.key, found)
                self._dirty.add(event.key)
        return said

    def feed(self, sensor: str, measured: Measured, received_us: int) -> list[Noted]:
        """One reading; answers what is to be recorded together with it."""
        engine = self._engines.get(sensor)
        if engine is None:
            return []
        self._dirty.add(sensor)
        said = engine.feed(measured.quantity, measured.value, measured.time_us, received_us)
        return self._noted(sensor, said) if said else []

    def listen(
        self, now_us: int, back: Collection[str] = (), away: Collection[str] = ()
    ) -> list[tuple[str, bytes]]:
        """The sensors at the brokers that are back (none named: those at no broker) are heard from now on,
        unless another one of theirs is away; answers a checkpoint to record."""
        for id, engine in self._engines.items():
            at = self._at[id]
            if (at.intersection(back) if back else not at) and at.isdisjoint(away):
                engine.listen(now_us)
                self._dirty.add(id)
        return self.checkpoint(now_us)

    def tick(self, now_us: int, away: Collection[str] = ()) -> list[Noted]:
        """Time passes. While a broker is away, nothing is known of the silence of its sensors."""
        said: list[Noted] = []
        for id, engine in self._engines.items():
            if self._at[id].isdisjoint(away):
                found = engine.tick(now_us)
                if found:
                    self._dirty.add(id)
                    said += self._noted(id, found)
        return said

    def due(self, now_us: int) -> bool:
        """It is time for a checkpoint."""
        return bool(self._dirty) and not 0 <= now_us - self._kept_us < EVERY_US

    def checkpoint(self, now_us: int) -> list[tuple[str, bytes]]:
        """States to record, after all that was answered before."""
        self._kept_us = now_us
        if not self._engines:
            return []
        states = [
            (_STATE + id, msgspec.json.encode(self._engines[id].snapshot())) for id in sorted(self._dirty)
        ]
        self._dirty.clear()
        return [*states, (_MARK, b"")]

    def _noted(self, sensor: str, said: Iterable[Said]) -> list[Noted]:
        source = sensor_source(self._site, sensor)
        return [Noted(source, one.id, one.data, one.time_us) for one in said]


def _brokers_of(topic: str, brokers: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Those at which the topic (or filter) is subscribed; if it is at none, it can come by any."""
    if not topic:
        return frozenset()
    found = [
        name
        for name, topics in brokers.items()
        if not topics or any(matches(one, topic) or matches(topic, one) for one in topics)
    ]
    return frozenset(found or brokers)

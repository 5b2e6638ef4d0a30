"""What `linli serve` runs: projectors from Kafka into the store, and what they say of themselves.

Needs Kafka's client, which a box without brokers need not have.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from cli import observing, wiring
from cli.settings import Settings
from console.statusserver import Check, StatusServer
from events.clock import Clock
from events.errors import LinliError, UnreadableEvent
from events.tracing import traceparent
from pipeline.projecting import ProjectorFigures
from pipeline.projector import Projector, topic_of
from pipeline.pruning import Pruner
from pipeline.service import Service
from storage.deadletters import DeadLetters
from storage.kafkabus import KafkaBus
from storage.store import Store

log = logging.getLogger(__name__)

QUIET_S = 2.0
"""At the end, nothing came for so long: all that is on the bus is in the store."""


class Centre:
    """Projectors, each with a connection to the store of its own; what they say of themselves.

    Raises:
        LinliError: the site names no brokers, or the store cannot be opened.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        section = settings.file.serve
        self._brokers = wiring.brokers(settings)
        self._stores: list[Store] = [wiring.site_store(settings)]
        self._letters = DeadLetters(self._brokers, clock, f"{section.group} on {os.uname().nodename}")
        self._aside = threading.Lock()
        self.figures = ProjectorFigures(self._lag)
        self._tracer = observing.tracer(settings, clock)
        self.projectors: list[Projector] = []
        for _ in range(section.projectors):
            self._stores.append(wiring.site_store(settings))
            self.projectors.append(self._projector(self._stores[-1], section.group, clock))
        keep_s = settings.file.recording.keep_days * 86_400
        self.services: list[Service] = [Pruner(self._stores[0], keep_s, clock), *self.projectors]
        checks = [
            Check("projectors", self._fallen, alive=True),
            Check("store", self._store_away),
            Check("position", self._trouble),
        ]
        self.server = StatusServer(section.host, section.port, [self.figures], checks)

    def close(self) -> None:
        """After the services have stopped."""
        for store in self._stores:
            store.close()
        self._letters.close()
        if self._tracer is not None:
            self._tracer.close()

    def _projector(self, store: Store, group: str, clock: Clock) -> Projector:
        tracer = self._tracer
        return Projector(
            KafkaBus(self._brokers, clock, self._unreadable),
            store,
            clock,
            group=group,
            quiet_s=QUIET_S,
            aside=self._refused,
            figures=self.figures,
            seen=(lambda records, began, ended: tracer.projected(records, began, ended, group))
            if tracer is not None
            else None,
        )

    def _unreadable(self, raw: Any, error: UnreadableEvent) -> None:
        with self._aside:
            self._letters.keep(raw, error)
        self.figures.dead_letter(raw.topic, type(error).__name__)
        log.warning("%s/%s at %s is set aside: %s", raw.topic, raw.partition, raw.offset, error)

    def _refused(self, record: Any, error: LinliError) -> None:
        with self._aside:
            self._letters.refused(record, error)
        trace = traceparent(record.event)[3:35]
        log.warning("event %s is set aside: %s", record.event.id, error, extra={"trace_id": trace})

    def _lag(self) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for projector in self.projectors:
            for name, count in dict(projector.behind).items():
                found[topic_of(name)] += count
        return found

    def _fallen(self) -> str:
        fallen = sum(not service.alive for service in self.services)
        return f"{fallen} of {len(self.services)} threads have ended; the log says why" if fallen else ""

    def _store_away(self) -> str:
        self._stores[0].offset("")
        return ""

    def _trouble(self) -> str:
        return "; ".join(sorted({p.problem for p in self.projectors if p.problem}))

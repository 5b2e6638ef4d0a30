"""An exporter of spans that bears a collector which is away: says so once, and leaves it alone for a while.

Only where OpenTelemetry is installed; `pipeline/telemetry.py` imports it when it is wanted.
"""

import logging
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from events.clock import Clock
from ingest.credentials import mask

log = logging.getLogger(__name__)


class Patient(SpanExporter):
    """Args:
    away_s: so long nothing is tried after a failure; spans are dropped meanwhile.
    """

    def __init__(self, exporter: SpanExporter, where: str, clock: Clock, away_s: float) -> None:
        self._exporter = exporter
        self._where = mask(where)
        self._clock = clock
        self._away_s = away_s
        self._again_at = 0.0
        self._away = False
        self.dropped = 0
        # It says the same on each try, and that its queue is full; what matters is said here, once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them, or drop them."""
        if self._away and self._clock.monotonic() < self._again_at:
            self.dropped += len(spans)
            return SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever the library or the network does, only traces go
            log.debug("spans: %s: %s", type(error).__name__, mask(str(error)))
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            if self._away:
                log.warning("%s takes traces again; %d spans were dropped", self._where, self.dropped)
            self._away, self.dropped = False, 0
            return result
        self.dropped += len(spans)
        self._again_at = self._clock.monotonic() + self._away_s
        if not self._away:
            self._away = True
            log.warning(
                "%s takes no traces: they are dropped until it does; start the collector, or mend [telemetry]"
                " otlp. Events are not touched by this",
                self._where,
            )
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 3000) -> bool:
        return self._exporter.force_flush(timeout_millis)

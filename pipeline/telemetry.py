"""Traces across the bus, as OpenTelemetry spans: from the camera's picture to the store.

Each event names its trace and its own span (`events/tracing.py`). Three spans are told of it, each where it
can be known, never on a frame loop's thread:

    create    from the picture (capture time) to the journal's commit; the event's own span
    send      from the relay's hands to the brokers' acknowledgement
    process   a projector brings it into the store

All events of one alert are one trace. Which traces are sent is decided by the trace's id, so that every
process decides alike; alerts always are. The ids of spans are derived, too: a repeat is the same span.

OpenTelemetry is imported by `open_tracer` alone, and only where the site names a collector. A collector that
is away is told once; spans are dropped meanwhile, and nothing waits.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from events import tracing
from events.binding import Message
from events.bus import Record
from events.clock import Clock
from events.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

log = logging.getLogger(__name__)

ALWAYS = ("alert", "judgement")
"""Families whose events are all traced: those of alerts."""

QUEUE = 4096
"""Spans that wait to be sent; beyond, the oldest are dropped."""

AWAY_S = 30.0
"""A collector that did not answer is left alone for so long."""

TIMEOUT_S = 3.0
"""How long a request to the collector may take."""

_WHOLE = 1 << 64
"""The later half of a trace's id is below this."""

Operation = Literal["create", "send", "process"]
Committed = Callable[[int], int | None]
"""Offset in the journal -> when that was committed (microseconds since 1970), if it is known."""


class Arrived(NamedTuple):
    """An event that the brokers have acknowledged."""

    offset: int
    """In the journal."""
    topic: str
    message: Message
    handed_us: int
    """When the relay handed it on."""


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Values of the site file."""

    otlp: str
    """`http[s]://host:port` of the collector."""
    sample: float
    """Share of the traces that are sent."""
    box: str
    """Names this instance."""
    site: str


class Traced(NamedTuple):
    """What a span says of an event."""

    id: str
    traceparent: str
    type: str
    source: str
    sequence: str

    @property
    def trace(self) -> int:
        return int(self.traceparent[3:35], 16)

    @property
    def span(self) -> int:
        return int(self.traceparent[36:52], 16)


def chosen(family: str, traceparent: str | bytes, share: float) -> bool:
    """Whether an event's trace is sent: OpenTelemetry's rule for ratios, and alerts always."""
    if family in ALWAYS or share >= 1:
        return True
    return int(traceparent[19:35], 16) < round(share * _WHOLE)


def span_id(event_id: str, operation: Operation, where: str) -> int:
    """Of what was done about an event at a place: the same each time."""
    digest = blake2b(f"{event_id} {operation} {where}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) or 1


class _Ids(threading.local):
    """The ids that the next span gets, in this thread."""

    trace = 1
    span = 1


class Tracer:
    """Makes spans and hands them to a thread that sends them. Any thread may call; none waits."""

    def __init__(self, settings: TelemetrySettings, exporter: "SpanExporter") -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import IdGenerator
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        ids = _Ids()

        class Derived(IdGenerator):
            """Ids are derived from the event, not drawn."""

            def generate_trace_id(self) -> int:
                return ids.trace

            def generate_span_id(self) -> int:
                return ids.span

        self._ids = ids
        self._share = settings.sample
        self._told = False
        """That something went wrong with a trace."""
        self._box = settings.box
        self._api = trace
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # `chosen` has decided before a span is made
            resource=Resource.create(
                {
                    "service.name": "linli",
                    "service.namespace": settings.site,
                    "service.instance.id": settings.box,
                }
            ),
            shutdown_on_exit=False,
            id_generator=Derived(),
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter, max_queue_size=QUEUE, schedule_delay_millis=1000, max_export_batch_size=512
            )
        )
        self._tracer = self._provider.get_tracer("linli")

    def relayed(self, arrived: Sequence[Arrived], now_us: int, committed: Committed) -> None:
        """Spans `create` and `send` of what the brokers have acknowledged."""
        with self._harmless():
            for one in arrived:
                if not self._chosen(one.message):
                    continue
                headers = {name: value.decode() for name, value in one.message.headers}
                event = Traced(
                    id=headers["ce_id"],
                    traceparent=headers["ce_traceparent"],
                    type=headers["ce_type"],
                    source=headers["ce_source"],
                    sequence=headers["ce_sequence"],
                )
                captured_us = _time_us(headers["ce_time"])
                about = {"messaging.system": "kafka", "messaging.destination.name": one.topic}
                done_us = committed(one.offset) or one.handed_us
                self._span(event, "create", captured_us, done_us, about)
                about["messaging.kafka.message.key"] = one.message.key.decode()
                self._span(event, "send", one.handed_us, now_us, about)

    def journalled(self, records: Sequence[Record], committed: Committed) -> None:
        """Spans `create` of events of a box that has no relay."""
        with self._harmless():
            about = {"messaging.system": "linli", "messaging.destination.name": "journal"}
            for record in records:
                event = self._traced(record)
                if event is not None:
                    at = committed(record.offset)
                    self._span(event, "create", record.event.time_us, at or record.event.time_us, about)

    def projected(self, records: Sequence[Record], began_us: int, ended_us: int, group: str) -> None:
        """Spans `process` of what is in the store now; they were a batch, and took the same time."""
        with self._harmless():
            for record in records:
                event = self._traced(record)
                if event is None:
                    continue
                about = _destination(record.log) | {
                    "messaging.consumer.group.name": group,
                    "messaging.batch.message_count": len(records),
                    "linli.offset": record.offset,
                }
                self._span(event, "process", began_us, ended_us, about)

    def flush(self) -> None:
        """Send what waits; returns when it was tried."""
        self._provider.force_flush()

    def close(self) -> None:
        """Send what waits, and end. A collector that is away holds this up for `TIMEOUT_S` at most."""
        self._provider.shutdown()

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        """Within it nothing that goes wrong with a trace reaches the events' own way."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the relay and the projector must not end for a trace
            if not self._told:
                self._told = True
                log.warning("traces are missing: %s: %s", type(error).__name__, error)

    def _chosen(self, message: Message) -> bool:
        if message.family in ALWAYS or self._share >= 1:
            return True
        parent = next(value for name, value in message.headers if name == "ce_traceparent")
        return chosen(message.family, parent, self._share)

    def _traced(self, record: Record) -> Traced | None:
        event = record.event
        parent = tracing.traceparent(event)
        if not chosen(event.family, parent, self._share):
            return None
        return Traced(event.id, parent, event.type, event.source, str(event.sequence))

    def _span(
        self, event: Traced, operation: Operation, began_us: int, ended_us: int, about: Mapping[str, Any]
    ) -> None:
        api = self._api
        kind = {
            "create": api.SpanKind.PRODUCER,
            "send": api.SpanKind.CLIENT,
            "process": api.SpanKind.CONSUMER,
        }[operation]
        own = api.SpanContext(event.trace, event.span, True, api.TraceFlags(api.TraceFlags.SAMPLED))
        self._ids.trace = event.trace
        if operation == "create":
            context = api.set_span_in_context(api.INVALID_SPAN)
            self._ids.span = event.span
        else:
            context = api.set_span_in_context(api.NonRecordingSpan(own))
            self._ids.span = span_id(event.id, operation, f"{self._box} {about['messaging.system']}")
        span = self._tracer.start_span(
            f"{operation} {about['messaging.destination.name']}",
            context,
            kind=kind,
            start_time=began_us * 1000,
            attributes={
                **about,
                "messaging.operation.name": operation,
                "messaging.operation.type": operation,
                "messaging.message.id": event.id,
                "cloudevents.event_id": event.id,
                "cloudevents.event_source": event.source,
                "cloudevents.event_type": event.type,
                "linli.sequence": event.sequence,
            },
        )
        span.end(max(ended_us, began_us) * 1000)


def _time_us(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _destination(name: str) -> dict[str, Any]:
    """Where a log's records came from: `kafka:CLUSTER/TOPIC:ID/PARTITION`, else the journal."""
    if not name.startswith("kafka:"):
        return {"messaging.system": "linli", "messaging.destination.name": "journal"}
    parts = name.split("/")
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": parts[1].partition(":")[0] if len(parts) == 3 else name,
        "messaging.destination.partition.id": parts[-1],
    }


def open_tracer(settings: TelemetrySettings, clock: Clock, away_s: float = AWAY_S) -> Tracer | None:
    """The tracer, or None where the site names no collector; then nothing is imported.

    Raises:
        ConfigError: the libraries are not there.
    """
    if not settings.otlp:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from pipeline.spans import Patient
    except ImportError as error:
        raise ConfigError(
            f"[telemetry] otlp needs OpenTelemetry ({error.name}): `pip install 'linli[city]'`, "
            "or take otlp out of the site file"
        ) from None
    exporter = OTLPSpanExporter(f"{settings.otlp.rstrip('/')}/v1/traces", timeout=TIMEOUT_S)
    return Tracer(settings, Patient(exporter, settings.otlp, clock, away_s))

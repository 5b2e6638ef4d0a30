"""Traces: what a collector gets of an event's way from the camera to the store; what it costs without one."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from events import binding, codec, tracing
from events.bus import Record
from events.clock import SystemClock
from events.errors import StorageError
from events.events import AlertCleared, AlertRaised, Event, Interval, camera_source
from events.ids import event_id
from events.topics import DLQ
from pipeline.projector import Projector
from pipeline.relay import Relay, RelaySettings
from pipeline.telemetry import Arrived, TelemetrySettings, Tracer, chosen, open_tracer, span_id
from storage.brokers import Brokers
from storage.journal import Journal
from storage.kafkabus import KafkaBus
from storage.store import SqliteStore
from testbed.kafka import Kafka
from testbed.otlp import Collector, Span
from tests.relayworks import FAMILIES, all_sent, make_topics, opened, running, until

SOURCE = camera_source("demo", "gate")
NOW_US = 1_790_000_000_000_000
CLIENT, PRODUCER, CONSUMER = 3, 4, 5
"""SpanKind on the wire."""


def tracer(url: str, box: str = "box-1", away_s: float = 30.0) -> Tracer:
    settings = TelemetrySettings(otlp=url, sample=1.0, box=box, site="demo")
    made = open_tracer(settings, SystemClock(), away_s)
    assert made is not None
    return made


def events() -> list[Event]:
    """An alert's beginning and end, and a count."""
    raised = event_id(SOURCE, "alert", 0)
    told = [
        AlertRaised(
            alert=raised, rule="lawn", kind="intrusion", severity="major", label="person", since_us=NOW_US
        ),
        Interval(rule="door", start_us=NOW_US, end_us=NOW_US + 60_000_000, counts={}, observed_s=60.0),
        AlertCleared(alert=raised, rule="lawn", reason="left", until_us=NOW_US + 9_000_000),
    ]
    at = {"alert": 0, "count": 0}
    made = []
    for data in told:
        family = "count" if isinstance(data, Interval) else "alert"
        made.append(
            Event(
                id=event_id(SOURCE, family, at[family]),
                source=SOURCE,
                time_us=NOW_US + len(made) * 1_000_000,
                epoch=NOW_US,
                sequence=at[family],
                data=data,
            )
        )
        at[family] += 1
    return made


def arrived(some: Sequence[Event]) -> list[Arrived]:
    return [
        Arrived(n + 1, f"linli.{e.family}", binding.message(codec.encode(e)), e.time_us + 300_000)
        for n, e in enumerate(some)
    ]


def trace_of(event: Event) -> str:
    return tracing.traceparent(event)[3:35]


def test_one_alert_is_one_trace() -> None:
    """The box's relay and the centre's projector, each with its tracer: one trace, each span in its place."""
    some = events()
    records = [Record(n + 7, e, "kafka:abc/linli.alert:xyz/3") for n, e in enumerate(some)]
    with Collector() as collector:
        box, centre = tracer(collector.url), tracer(collector.url, "centre")
        box.relayed(arrived(some), NOW_US + 4_000_000, lambda offset: some[offset - 1].time_us + 200_000)
        centre.projected(records, NOW_US + 5_000_000, NOW_US + 5_100_000, "projector")
        box.close()
        centre.close()
        spans = collector.spans
    assert len(spans) == 9
    alert = [span for span in spans if span.trace == trace_of(some[0])]
    assert len(alert) == 6  # raised and cleared, three each; the count is another trace
    assert trace_of(some[2]) == trace_of(some[0]) != trace_of(some[1])
    raised = {s.name: s for s in alert if s.attributes["messaging.message.id"] == some[0].id}
    create, send, process = (
        raised[f"{operation} linli.alert"] for operation in ("create", "send", "process")
    )
    own = tracing.traceparent(some[0])[36:52]
    assert (create.id, create.parent, create.kind) == (own, "", PRODUCER)
    assert (send.parent, send.kind) == (own, CLIENT)
    assert (process.parent, process.kind) == (own, CONSUMER)
    assert (create.start_ns, create.end_ns) == (NOW_US * 1000, (NOW_US + 200_000) * 1000)
    assert (send.start_ns, send.end_ns) == ((NOW_US + 300_000) * 1000, (NOW_US + 4_000_000) * 1000)
    assert process.end_ns == (NOW_US + 5_100_000) * 1000
    assert create.resource["service.name"] == "linli"
    assert create.resource["service.instance.id"] == "box-1"
    assert process.resource["service.instance.id"] == "centre"
    assert process.attributes["messaging.destination.partition.id"] == "3"
    assert process.attributes["messaging.consumer.group.name"] == "projector"
    assert process.attributes["messaging.system"] == "kafka"
    assert {s.attributes["messaging.operation.type"] for s in alert} == {"create", "send", "process"}


def test_a_repeat_is_the_same_span() -> None:
    some = events()[:1]
    with Collector() as collector:
        for _ in range(2):  # a relay that was killed sends again
            made = tracer(collector.url)
            made.relayed(arrived(some), NOW_US + 4_000_000, lambda _: None)
            made.close()
        ids = [span.id for span in collector.spans]
    assert len(ids) == 4
    assert len(set(ids)) == 2
    assert span_id("a", "send", "box") != span_id("a", "send", "other")


def test_a_box_by_itself() -> None:
    """Without a relay the journal is the destination."""
    some = events()
    with Collector() as collector:
        made = tracer(collector.url)
        records = [Record(n + 1, e, "journal-id") for n, e in enumerate(some)]
        made.journalled(records, lambda offset: NOW_US + 5_000_000 + offset)
        made.projected(records, NOW_US + 6_000_000, NOW_US + 6_500_000, "projector")
        made.close()
        names = sorted(span.name for span in collector.spans)
    assert names == ["create journal"] * 3 + ["process journal"] * 3


def test_a_share_is_chosen_by_the_trace() -> None:
    """Every process decides alike, alerts are always sent, and the share is what was asked for."""

    ids = [event_id(SOURCE, "count", n) for n in range(4000)]
    traces = [tracing.derived(one, one) for one in ids]
    sent = {trace for trace in traces if chosen("count", trace, 0.1)}
    assert 300 < len(sent) < 500
    assert sent == {trace for trace in traces if chosen("count", trace.encode(), 0.1)}
    assert sent < {trace for trace in traces if chosen("count", trace, 0.2)}
    assert all(chosen("alert", trace, 0.0) for trace in traces)
    assert not any(chosen("count", trace, 0.0) for trace in traces)
    assert all(chosen("count", trace, 1.0) for trace in traces)
    ratio = TraceIdRatioBased(0.1)  # who samples by OpenTelemetry's own rule takes the same traces
    for trace in traces:
        decision = ratio.should_sample(None, int(trace[3:35], 16), "any").decision
        assert decision.is_sampled() == (trace in sent)


def test_a_collector_that_is_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """It holds nobody up, and takes what comes after it is back."""
    some = events()
    with Collector() as collector:
        collector.refuse = True
        made = tracer(collector.url, away_s=0.3)
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                made.relayed(arrived(some), NOW_US, lambda _: None)
                made.flush()
            told = [r for r in caplog.records if r.levelno >= logging.WARNING]
            assert len(told) == 1, [r.getMessage() for r in told]
            assert "takes no traces" in told[0].getMessage()
            assert collector.url in told[0].getMessage()
            assert not collector.spans
            collector.refuse = False
            time.sleep(0.4)
            made.relayed(arrived(some), NOW_US, lambda _: None)
            made.flush()
            assert len(collector.spans) == 6
            made.close()
    assert [r.getMessage() for r in caplog.records if "takes traces again" in r.getMessage()]


def test_nobody_listens_and_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    """A port where nothing is: far more spans than are kept; the caller is not held up, memory is bound."""
    made = tracer("http://127.0.0.1:9")
    some = arrived(events())
    before = threading.active_count()
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            made.relayed(some, NOW_US, lambda _: None)
        made.close()
    assert threading.active_count() <= before
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


def test_a_journal_that_cannot_be_read_hurts_no_relay(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong with a trace ends there, told once."""

    def closed(_: int) -> int | None:
        raise StorageError("the journal is closed")

    with Collector() as collector:
        made = tracer(collector.url)
        with caplog.at_level(logging.WARNING):
            made.relayed(arrived(events()), NOW_US, closed)
            made.relayed(arrived(events()), NOW_US, closed)
            made.relayed(arrived(events()[:1]), NOW_US, lambda _: None)
        made.close()
        assert len(collector.spans) == 2  # and it goes on
    assert [r.getMessage() for r in caplog.records] == [
        "traces are missing: StorageError: the journal is closed"
    ]


def test_without_a_collector_nothing_is_imported() -> None:
    code = (
        "import sys\n"
        "from events.clock import SystemClock\n"
        "from pipeline.telemetry import TelemetrySettings, open_tracer\n"
        "made = open_tracer(TelemetrySettings(otlp='', sample=1.0, box='b', site='s'), SystemClock())\n"
        "print(made, sorted(name for name in sys.modules if name.startswith('opentelemetry')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None []"


def test_without_the_libraries_the_site_file_is_told() -> None:
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from events.clock import SystemClock\n"
        "from pipeline.telemetry import TelemetrySettings, open_tracer\n"
        "wanted = TelemetrySettings(otlp='http://127.0.0.1:9', sample=1.0, box='b', site='s')\n"
        "try:\n"
        "    open_tracer(wanted, SystemClock())\n"
        "except Exception as e:\n"
        "    print(type(e).__name__, e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError [telemetry] otlp needs OpenTelemetry")
    assert "linli[city]" in done.stdout


def test_over_real_kafka(kafka: Kafka, tmp_path: Path, topic_prefix: str) -> None:
    """Journal, relay, broker, projector, store, all of them real: what happened on the way is one trace."""
    families = (*FAMILIES, DLQ)
    names = make_topics({"bootstrap_servers": [kafka.bootstrap]}, topic_prefix, families)
    del names[DLQ]
    brokers = Brokers(bootstrap=(kafka.bootstrap,), prefix=topic_prefix.rstrip("."))
    clock = SystemClock()
    journal = Journal(tmp_path / "journal.db", clock)
    store = SqliteStore(tmp_path / "store.db")
    some = events()
    with Collector() as collector:
        box, centre = tracer(collector.url), tracer(collector.url, "centre")

        def sent(arrived: Sequence[Arrived]) -> None:
            box.relayed(arrived, clock.wall_us(), lambda offset: journal.waiting_since(offset - 1))

        def seen(records: Sequence[Record], began_us: int, ended_us: int) -> None:
            centre.projected(records, began_us, ended_us, "projector")

        settings = RelaySettings(topics=names, source="/demo/box/box-1")
        relay = Relay(journal, settings, opened(kafka.bootstrap, prefix=topic_prefix), clock, sent=sent)
        projector = Projector(
            KafkaBus(brokers, clock, families=FAMILIES), store, clock, quiet_s=1.0, seen=seen
        )
        with running(relay):
            projector.start()
            journal.append(some)
            until(lambda: all_sent(journal))
            until(lambda: store.sizes().events == len(some))
            projector.stop()
        box.close()
        centre.close()
        spans = [span for span in collector.spans if span.trace == trace_of(some[0])]
    store.close()
    journal.close()
    assert sorted(_operation(span) for span in spans) == ["create"] * 2 + ["process"] * 2 + ["send"] * 2
    assert {span.attributes["messaging.destination.name"] for span in spans} == {names["alert"]}
    created = {span.id for span in spans if not span.parent}
    assert {span.parent for span in spans if span.parent} == created
    for event in some:
        at = {_operation(s): s for s in collector.spans if s.attributes["messaging.message.id"] == event.id}
        assert at["create"].end_ns <= at["send"].end_ns
        assert at["create"].end_ns <= at["process"].end_ns


def _operation(span: Span) -> str:
    return str(span.attributes["messaging.operation.type"])

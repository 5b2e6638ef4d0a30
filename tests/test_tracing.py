"""Trace context of events: derived, the same again, one trace for an alert."""

import re

import msgspec
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from events import tracing
from events.events import AlertCleared, AlertRaised, Event, Judged
from tests.sampled import ALERT, event, sensors, spine


def trace(event: Event) -> str:
    return tracing.traceparent(event).split("-")[1]


def span(event: Event) -> str:
    return tracing.traceparent(event).split("-")[2]


def test_it_is_what_the_w3c_asks_for() -> None:
    for each in [*spine(), *sensors()]:
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", tracing.traceparent(each))
        assert trace(each) != "0" * 32
        assert span(each) != "0" * 16


def test_it_never_changes() -> None:
    """Another version of Linli, or another program, finds the same trace."""
    assert tracing.traceparent(spine()[0]) == "00-088c69a3e818ff394e049fa18a0f2edc-39c9c8174b6c41ca-01"


def test_all_of_an_alert_is_one_trace_of_many_spans() -> None:
    about = [each for each in [*spine(), *sensors()] if getattr(each.data, "alert", "") == ALERT]
    assert {type(each.data) for each in about} >= {AlertRaised, AlertCleared, Judged}
    assert len({trace(each) for each in about}) == 1
    apart = [msgspec.structs.replace(each, id=f"x{n}") for n, each in enumerate(about)]
    assert len({span(each) for each in apart}) == len(apart)


def test_a_capture_and_its_deletion_are_one_trace() -> None:
    captured, deleted = (each for each in sensors() if each.family == "face")
    assert trace(captured) == trace(deleted)
    assert span(captured) != span(deleted)


def test_other_events_are_traces_of_their_own() -> None:
    counts = [event(number, spine()[0].data) for number in range(50)]
    assert len({trace(each) for each in counts}) == len({span(each) for each in counts}) == 50


def test_opentelemetry_reads_it() -> None:
    raised = spine()[2]
    context = TraceContextTextMapPropagator().extract({tracing.ATTRIBUTE: tracing.traceparent(raised)})
    (value,) = context.values()
    found = value.get_span_context()  # type: ignore[attr-defined]
    assert f"{found.trace_id:032x}" == trace(raised)
    assert f"{found.span_id:016x}" == span(raised)
    assert found.trace_flags.sampled

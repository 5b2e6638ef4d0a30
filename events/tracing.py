"""Trace context of an event (W3C `traceparent`), derived from the event alone: no clock, no chance.

All events of one alert, or of one face capture, are one trace; any other event is its own. Each event is a
span of its trace, the parent of whatever a consumer does about it. As it is derived, a repeat or a replay
names the same trace, nothing need be kept in the journal, and any consumer can find it without the header.

CloudEvents' distributed tracing extension calls the attribute `traceparent`.
"""

from hashlib import blake2b

from events.events import Event

ATTRIBUTE = "traceparent"
"""The CloudEvents extension attribute."""


def traceparent(event: Event) -> str:
    """The event's trace context: `00-TRACE-SPAN-01`, sampled."""
    return derived(event.id, thread(event))


def thread(event: Event) -> str:
    """What holds the events of a trace together: the alert's id, the capture's, else the event's own."""
    data = event.data
    return str(getattr(data, "alert", "") or getattr(data, "capture", "") or event.id)


def derived(event_id: str, thread: str) -> str:
    """As `traceparent`, from the ids."""
    own = _digest(event_id)
    trace = own if thread == event_id else _digest(thread)
    return f"00-{trace[:32]}-{own[32:]}-01"


def _digest(text: str) -> str:
    """32 digits for a trace and 16 for a span. That one is all zeros, which is no id, has never happened."""
    return blake2b(text.encode(), digest_size=24).hexdigest()

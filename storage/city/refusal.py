"""How a projection says that it will never hold an event."""

from events.errors import EventRefused
from events.events import Event


class Refused(EventRefused):
    """Raised by a projection; the store says which record it is."""

    def __init__(self, event: Event, why: str) -> None:
        super().__init__(f"event {event.id!r} ({event.type} of {event.source!r}): {why}")
        self.event = event

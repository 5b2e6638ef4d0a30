"""An event before it has its number: what is noted by those who have no stream to count by."""

import msgspec

from events.events import AnyPayload


class Noted(msgspec.Struct, frozen=True):
    """What happened, where and when. The journal gives epoch and sequence when it keeps it."""

    source: str
    """As in the event, e.g. `events.events.sensor_source(site, sensor)`."""
    id: str
    """The event's id, derived from what makes it one (`events.ids.event_id`): a second one is passed over."""
    data: AnyPayload
    time_us: int
    """When it happened, microseconds since 1970."""

    @property
    def family(self) -> str:
        """As `events.events.Event.family`."""
        return str(self.data.__struct_config__.tag).split(".", 2)[1]

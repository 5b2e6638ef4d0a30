"""What a resumed epoch has in the journal already.

The analysis may be up to a fragment of footage ahead of what a kill leaves on disk, so events can be
committed of pictures that are gone. A resume continues after them: what is there is not given again, what
is new is numbered after it, and an alert of the lost pictures, unknown to the resumed rules, is cleared.
"""

from collections.abc import Sequence

import msgspec

from events.events import AlertCleared, AlertRaised, Event
from events.ids import event_id


class Committed:
    """The journal's events of one epoch, and the numbers that follow them."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = list(events)
        self._ids = {e.id for e in events}
        self._next: dict[str, int] = {}
        for e in events:
            self._next[e.family] = max(self._next.get(e.family, 0), e.sequence + 1)

    def new(self, events: Sequence[Event]) -> list[Event]:
        """Those that are not there yet, with the numbers that follow."""
        return [self._numbered(e) for e in events if e.id not in self._ids]

    def orphans(self, pts: int) -> list[Event]:
        """What clears the alerts that were raised after media time `pts` and never cleared."""
        cleared = {e.data.alert for e in self._events if isinstance(e.data, AlertCleared)}
        found = []
        for e in self._events:
            if isinstance(e.data, AlertRaised) and e.pts > pts and e.data.alert not in cleared:
                data = AlertCleared(
                    alert=e.data.alert, rule=e.data.rule, reason="stream-ended", until_us=e.time_us
                )
                id_ = event_id(e.id, "orphan")
                found.append(self._numbered(msgspec.structs.replace(e, id=id_, data=data)))
        return found

    def _numbered(self, event: Event) -> Event:
        n = self._next.get(event.family, 0)
        self._next[event.family] = n + 1
        return event if event.sequence == n else msgspec.structs.replace(event, sequence=n)

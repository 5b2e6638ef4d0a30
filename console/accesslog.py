"""Every look at pictures of people, and every refusal, as an access event in the journal.

A look that cannot be written down does not happen: the journal's error ends the request.
"""

from typing import Protocol

from events.clock import Clock
from events.events import Access

_MAX_REMEMBERED = 10_000


class Notebook(Protocol):
    """The part of the journal that is needed here."""

    def note(self, source: str, data: Access, time_us: int) -> None:
        """Queue an event without an origin of its own."""


class AccessLog:
    """Notes looks and refusals.

    A player asks for a clip in many ranges, and a page for the same picture again: the same look by the same
    viewer within `again_s` is one look. So is the same refusal, or a stranger could fill the disk.
    """

    def __init__(self, notebook: Notebook, clock: Clock, source: str, again_s: float = 60.0) -> None:
        self._notebook = notebook
        self._clock = clock
        self._source = source
        self._again_s = again_s
        self._seen: dict[tuple[str, str, str, bool], float] = {}

    def look(self, who: str, what: str, object: str) -> None:
        """A pixelated picture or clip is shown."""
        if self._first((who, what, object, True)):
            self._note(Access(who=who, what=what, object=object, plain=False, purpose="", allowed=True))

    def plain(self, who: str, what: str, object: str, purpose: str) -> None:
        """Something is shown that is not pixelated. Never merged."""
        self._note(Access(who=who, what=what, object=object, plain=True, purpose=purpose, allowed=True))

    def failure(self, who: str, what: str, object: str, purpose: str) -> None:
        """Somebody had the right to something plain and not the secret. Never merged: it may be a guess."""
        self._note(Access(who=who, what=what, object=object, plain=True, purpose=purpose, allowed=False))

    def deed(self, who: str, what: str, object: str, purpose: str) -> None:
        """Somebody did something to what is kept of people. Never merged."""
        self._note(Access(who=who, what=what, object=object, plain=False, purpose=purpose, allowed=True))

    def refusal(self, who: str, what: str, object: str, plain: bool, purpose: str = "") -> None:
        """Somebody was refused. Strangers' refusals are merged whatever they asked for."""
        key = (who, what, "" if who.startswith("unknown") else object, False)
        if self._first(key):
            self._note(Access(who=who, what=what, object=object, plain=plain, purpose=purpose, allowed=False))

    def written(self, access: Access) -> None:
        """A look, deed or refusal that somebody else decided. Never merged."""
        self._note(access)

    def _first(self, key: tuple[str, str, str, bool]) -> bool:
        now = self._clock.monotonic()
        if now < self._seen.get(key, now):
            return False
        if len(self._seen) >= _MAX_REMEMBERED:
            self._seen = {k: until for k, until in self._seen.items() if until > now}
            if len(self._seen) >= _MAX_REMEMBERED:
                self._seen.clear()  # merging less is better than forgetting a look
        self._seen[key] = now + self._again_s
        return True

    def _note(self, access: Access) -> None:
        self._notebook.note(self._source, access, self._clock.wall_us())

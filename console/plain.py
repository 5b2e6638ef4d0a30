"""Short-lived permissions to look at one picture or clip that is not pixelated."""

import secrets
from typing import Literal

import msgspec

from console.problems import Problem
from events.clock import Clock

LOOK_S = 60.0
"""A permission's life: long enough to load the object, too short to be passed on."""
_MAX_LOOKS = 200

PURPOSE = (4, 200)
"""Characters of a stated purpose: at least, at most."""

What = Literal["picture", "clip"]


def stated(purpose: str) -> str:
    """The purpose as it goes into the journal.

    Raises:
        Problem: 400, it says nothing.
    """
    purpose = " ".join(purpose.split())
    least, most = PURPOSE
    if not (least <= len(purpose) <= most and purpose.isprintable()):
        raise Problem(
            400, f"purpose must say in {least} to {most} characters what the look is for", "purpose"
        )
    return purpose


class PlainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /api/alerts/{id}/plain."""

    what: What
    purpose: str


class PlainLook(msgspec.Struct, frozen=True):
    """Who may look at what, until when (the clock's monotonic time)."""

    who: str
    alert: str
    what: What
    until: float


class PlainLooks:
    """The permissions in force, in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looks: dict[str, PlainLook] = {}

    def grant(self, who: str, alert: str, what: What) -> str:
        """Permit one object to one viewer; answers the permission's unguessable name."""
        now = self._clock.monotonic()
        self._looks = {k: v for k, v in self._looks.items() if v.until > now}
        while len(self._looks) >= _MAX_LOOKS:
            del self._looks[next(iter(self._looks))]
        name = secrets.token_urlsafe(24)
        self._looks[name] = PlainLook(who, alert, what, now + LOOK_S)
        return name

    def find(self, name: str, who: str) -> PlainLook | None:
        """The permission, if it is this viewer's and still in force."""
        look = self._looks.get(name)
        if look is None or look.who != who or look.until <= self._clock.monotonic():
            return None
        return look

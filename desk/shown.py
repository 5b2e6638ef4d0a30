"""Read your own writes: what was committed to the journal is answered once the store shows it."""

from collections.abc import Callable
from typing import TypeVar

from events.clock import Clock
from events.errors import NotShownYet

WAIT_S = 5.0
"""So long the store is waited for before a change is answered without it."""
_LOOK_S = 0.01

Found = TypeVar("Found")


def until_shown(
    clock: Clock, look: Callable[[], Found | None], thing: str, version: int, wait_s: float = WAIT_S
) -> Found:
    """What `look` finds, once it does.

    Args:
        thing: what was changed, e.g. a case's id.

    Raises:
        NotShownYet: it has not in time. The change is journaled all the same.
    """
    until = clock.monotonic() + wait_s
    while True:
        found = look()
        if found is not None:
            return found
        if clock.monotonic() >= until:
            raise NotShownYet(
                f"{thing}: version {version} is journaled and holds, but the store does not show it yet; do "
                "not send it again, look later (is `linli serve` running?)",
                thing,
                version,
            )
        clock.sleep(_LOOK_S)

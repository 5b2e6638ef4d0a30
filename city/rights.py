"""Who may do what, where: decided here and nowhere else.

An actor has one role and one jurisdiction. A role is a row of `MAY`; what is not in it is refused. A
jurisdiction is the beginning of a code (6 digits the city, 9 a town, 12 a community, more a grid) or `*`, the
whole city. Which step of a case a role may take is the pack's (`city.packs`), who may touch the case at all
is decided here.
"""

from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

Role = Literal[
    "viewer",
    "operator",
    "grid worker",
    "handler",
    "clerk",
    "dispatcher",
    "checker",
    "supervisor",
    "auditor",
    "administrator",
    "channel",
]
"""What a grant can give. `channel` is a system that brings reports and takes answers: hotline, platform."""

Action = Literal[
    "map.read",
    "map.write",
    "case.read",
    "case.open",
    "case.step",
    "case.words",
    "case.export",
    "statistics.read",
    "rating.read",
    "rating.enter",
    "rating.contest",
    "rating.decide",
    "calendar.write",
    "person.read",
    "person.open",
    "person.write",
    "person.erase",
    "person.export",
    "picture.plain",
    "audit.read",
    "administer",
]

ROLES: tuple[Role, ...] = get_args(Role)
ACTIONS: tuple[Action, ...] = get_args(Action)

SYSTEM = "system"
"""Role of what acts by itself (timers, triggers). No grant can give it."""
WHOLE = "*"
"""The place of a grant for the whole city, and of what lies nowhere in particular (a calendar, a table)."""

_SEE: frozenset[Action] = frozenset(("map.read", "case.read", "statistics.read", "rating.read"))
_WORK: frozenset[Action] = _SEE | {"case.open", "case.step", "case.words"}

MAY: dict[str, frozenset[Action]] = {
    "viewer": _SEE,
    "operator": _SEE | {"case.open", "case.step"},
    "grid worker": _WORK | {"map.write", "person.read", "person.open"},
    "handler": (_SEE - {"statistics.read"}) | {"case.step", "rating.contest"},
    "clerk": _WORK | {"person.read", "person.open", "person.write"},
    "dispatcher": _WORK,
    "checker": _WORK,
    "supervisor": _WORK | {"case.export", "rating.enter", "rating.decide", "person.read"},
    "auditor": _SEE | {"audit.read", "case.words", "case.export", "person.read"},
    "administrator": _SEE
    | {
        *("map.write", "calendar.write", "case.export", "rating.enter", "rating.decide", "audit.read"),
        *("person.read", "person.open", "person.write", "person.erase", "person.export", "administer"),
    },
    "channel": frozenset(("case.open", "case.read", "case.step", "map.read")),
    SYSTEM: _WORK | {"map.write"},
}
"""The table: role -> actions. `picture.plain` is of no role: the box's own grant `plain` gives it."""

OWN: frozenset[str] = frozenset(("handler", "channel"))
"""Roles that see and move only the cases of their own organisation (channel: those that it brought)."""

_LEVELLED = frozenset(("grid worker", "clerk", "dispatcher", "checker", "supervisor"))
_LEVELS = ("grid", "community", "town", "city")


class Actor(msgspec.Struct, frozen=True):
    """Who asks."""

    who: str
    """The grant's or service's name; it signs."""
    role: str
    place: str
    """The beginning of the codes that it is for; `*`: the whole city; '': nothing."""
    org: str = ""
    """The organisation that it acts for."""

    @property
    def level(self) -> str:
        """The level of its jurisdiction: grid, community, town or city."""
        if self.place == WHOLE or len(self.place) <= 6:
            return "city"
        return "town" if len(self.place) <= 9 else "community" if len(self.place) <= 12 else "grid"


class Decision(msgspec.Struct, frozen=True):
    """Whether, and why not."""

    allowed: bool
    why: str = ""


YES = Decision(True)


def system(who: str) -> Actor:
    """What acts by itself, under a service's name, everywhere."""
    return Actor(who, SYSTEM, WHOLE)


def decide(actor: Actor, action: str, place: str, *, level: str = "", orgs: Iterable[str] = ()) -> Decision:
    """Whether the actor may do this there.

    Args:
        place: code of where the thing lies; '': it is not placed, so that only the whole city's people see
            it; `*`: it lies nowhere in particular.
        level: of a case that is moved: who is of a lower level may not, unless its organisation holds it.
        orgs: organisations that hold the case or help (of a channel: that brought it).
    """
    if not actor.place:
        return Decision(False, f"{actor.who} has no jurisdiction; its grant needs `place`")
    if action not in MAY.get(actor.role, frozenset()):
        return Decision(False, f"the role {actor.role or 'none'!r} of {actor.who} does not include {action}")
    if not within(actor.place, place):
        return Decision(False, f"{place or 'what is not placed yet'} is outside {actor.who}'s jurisdiction")
    known = {org for org in orgs if org}
    own = bool(actor.org) and actor.org in known
    if action.startswith("case.") and action != "case.open" and actor.role in OWN and not own:
        return Decision(False, f"this case is not of {actor.who}'s organisation")
    if action == "case.step" and level and actor.role in _LEVELLED and not own and _below(actor.level, level):
        return Decision(
            False, f"the case is at the level {level!r}, and {actor.who} is of the level {actor.level!r}"
        )
    return YES


def within(jurisdiction: str, place: str) -> bool:
    """Whether a jurisdiction covers a place (see `decide`)."""
    if jurisdiction == WHOLE or (jurisdiction and place == WHOLE):
        return True
    return bool(jurisdiction) and place.startswith(jurisdiction)


def reach(actor: Actor, action: str) -> str | None:
    """How what the actor may do this with begins: '' is everything; None: it may not at all.

    Lists are filtered by it; what is of `OWN` roles by the organisation as well.
    """
    if not decide(actor, action, WHOLE, orgs=(actor.org,)).allowed:
        return None
    return "" if actor.place == WHOLE else actor.place


def _below(level: str, other: str) -> bool:
    """A grid's people are their community's: what has gone up to it is still theirs."""
    return other in _LEVELS and max(1, _LEVELS.index(level)) < _LEVELS.index(other)

"""Homes and who lives in them: residence, registration and tenure are three different facts, each with a from
and a to.

Somebody may live where they are not registered (人在户不在), be registered where they do not live
(户在人不在), and own a third home.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Literal

import msgspec

from events.errors import LinliError

FactKind = Literal["residence", "registration", "tenure"]
KINDS: tuple[FactKind, ...] = ("residence", "registration", "tenure")
As = Literal["", "owner", "tenant", "family", "collective", "worker"]
"""Of a tenure: owner, tenant. Of a residence: family or collective household, a company's worker."""

OUTSIDE = "outside"
"""Place of a registration that is not in this city."""
FOREVER = "9999-12-31"
"""Until: it holds still."""


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """A home: a room or flat of a building."""

    home: str
    """Its code, unique in the city."""
    building: str
    area: str
    """Code of the grid or community that it lies in."""
    unit: str = ""
    """Stair (单元)."""
    room: str = ""
    address: str = ""
    """In full, in GB/T 23705's order: division, road or village, gate, estate, building, unit, room."""
    use: str = "residential"
    area_m2: float = 0.0


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One fact about a person and a home."""

    kind: FactKind
    home: str
    """Code of the home, or `outside`."""
    since: str
    """YYYY-MM-DD, the first day."""
    until: str = FOREVER
    """YYYY-MM-DD, the day from which it does not hold any more."""
    as_: As = msgspec.field(default="", name="as")
    household: str = ""


class FactsDisagree(LinliError):
    """What is said of where somebody lives cannot all be. Nothing was changed; the text says what to mend."""


ONE_AT_A_TIME: frozenset[str] = frozenset(("residence", "registration"))
"""Somebody lives, and is registered, in one place at a time; homes can be held by the dozen."""


def with_fact(facts: Sequence[Fact], new: Fact) -> tuple[Fact, ...]:
    """The facts with another one, which ends what it takes the place of. In order of kind and since.

    Raises:
        FactsDisagree: its dates cannot be, or the person moved twice on one day.
    """
    check_days(new)
    kept: list[Fact] = []
    for fact in facts:
        if fact.kind != new.kind or (new.kind not in ONE_AT_A_TIME and fact.home != new.home):
            kept.append(fact)
            continue
        if fact.since == new.since:
            if fact.home == new.home:
                continue  # said again, or corrected
            raise FactsDisagree(
                f"two places of {new.kind} from the same day {new.since}: {fact.home} and {new.home}; "
                "a person moves once a day: give the last place alone, or another date"
            )
        if fact.since < new.since < fact.until:
            if fact.home == new.home and fact.as_ == new.as_ and new.until == fact.until:
                return _sorted(facts)  # it holds already, and longer
            kept.append(msgspec.structs.replace(fact, until=new.since))
        elif new.since < fact.since < new.until:
            if new.until != FOREVER:
                raise FactsDisagree(
                    f"{new.kind} in {new.home} from {new.since} to {new.until} overlaps {fact.home} from "
                    f"{fact.since}; mend one of the dates"
                )
            kept.append(fact)
            new = msgspec.structs.replace(new, until=fact.since)  # an older one, told later
        else:
            kept.append(fact)
    return _sorted([*kept, new])


def check_days(fact: Fact) -> None:
    """
    Raises:
        FactsDisagree: not days, or it ends before it begins.
    """
    try:
        since, until = date.fromisoformat(fact.since), date.fromisoformat(fact.until)
        if (since.isoformat(), until.isoformat()) != (fact.since, fact.until):  # e.g. 20240531, 2024-W22-5
            raise ValueError
    except ValueError:
        raise FactsDisagree(
            f"{fact.kind}: {fact.since!r} to {fact.until!r} are not days YYYY-MM-DD"
        ) from None
    if until <= since:
        raise FactsDisagree(
            f"{fact.kind} in {fact.home} would end on {fact.until} and begin on {fact.since}; it ends later"
        )


def holds(facts: Iterable[Fact], day: str) -> list[Fact]:
    """Those that hold on a day."""
    return [fact for fact in facts if fact.since <= day < fact.until]


def standing(
    facts: Iterable[Fact], day: str
) -> Literal["same", "lives-elsewhere", "registered-elsewhere", ""]:
    """How residence and registration stand to each other on a day: 人户一致, 户在人不在, 人在户不在; "":
    neither is known."""
    now = holds(facts, day)
    lives = next((fact.home for fact in now if fact.kind == "residence"), "")
    registered = next((fact.home for fact in now if fact.kind == "registration"), "")
    if not lives and not registered:
        return ""
    if not lives:
        return "lives-elsewhere"
    return "same" if lives == registered else "registered-elsewhere"


def _sorted(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    return tuple(sorted(facts, key=lambda f: (KINDS.index(f.kind), f.since, f.home)))

"""Facts that hold for a case or not, as packs' indicators and ratings name them."""

from city.cases import Case
from city.closure import FACTS, facts

STATE = "state:"


def holds(case: Case, fact: str) -> bool:
    """Whether the fact holds: one of `city.closure.FACTS`, a mark, or state:NAME; `!` before it: not; `a|b`:
    either."""
    if fact.startswith("!"):
        return not holds(case, fact[1:])
    return any(_holds(case, name) for name in fact.split("|"))


def _holds(case: Case, name: str) -> bool:
    if name.startswith(STATE):
        return case.state == name.removeprefix(STATE)
    if name in FACTS:
        return bool(facts(case) & 1 << FACTS.index(name))
    return name in case.marks

"""The shares that a pack declares, worked out of cases."""

from collections.abc import Iterable

import msgspec

from city.cases import Case
from city.facts import holds
from city.scenario import Indicator, Pack


class Share(msgspec.Struct, frozen=True):
    """`count` of `of` cases."""

    indicator: Indicator
    count: int
    of: int

    @property
    def share(self) -> float | None:
        """0 to 1; None: of nothing."""
        return self.count / self.of if self.of else None


def within(indicator: Indicator, case: Case) -> bool:
    """Whether the case is one of those of which the share is."""
    return all(holds(case, fact) for fact in indicator.of)


def counts(indicator: Indicator, case: Case) -> bool:
    """Whether the case is one of those that are counted."""
    return within(indicator, case) and all(holds(case, fact) for fact in indicator.count)


def shares(pack: Pack, cases: Iterable[Case]) -> list[Share]:
    """The pack's indicators over its cases among these."""
    of = dict.fromkeys((i.id for i in pack.indicators), 0)
    count = dict(of)
    for case in cases:
        if case.scenario != pack.id:
            continue
        for indicator in pack.indicators:
            of[indicator.id] += within(indicator, case)
            count[indicator.id] += counts(indicator, case)
    return [Share(i, count[i.id], of[i.id]) for i in pack.indicators]

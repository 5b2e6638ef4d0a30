"""What is left of a person in a case, and for how long.

A case itself is kept for ever: what it was about, where, when, who signed each step, its marks: the figures
of every year can be counted again. What a citizen said and how to reach them lies in objects, encrypted under
the case's own key. That key is destroyed so many years after the case was closed, or when somebody asks for
it; `RegisterErased` says so, and nothing that was encrypted under the key can be read any more, wherever
copies of the objects and of the journal are. What is opened again meanwhile begins anew.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from city.cases import Case
from desk.words import entry_of
from events.civic import RegisterErased, register_source
from events.clock import Clock
from events.errors import ConfigError, VersionConflict
from events.events import Event
from events.ids import event_id
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.objects import Objects

WHAT = "case"
"""Of `RegisterErased`."""
FAMILY = "register"
STATE = "case-retention"
"""Under which the journal keeps how far the sweeps came."""
WHO = "retention"
AT_ONCE = 200
PASS_US = 30 * 86_400_000_000

Reason = Literal["asked", "expired", "mistake"]


class CaseRetention(msgspec.Struct, frozen=True, kw_only=True):
    """The policy. Raises ConfigError where it is none."""

    keep_years: float = 5.0
    """From the close of a case to the end of what is left of a person in it."""
    scenarios: Mapping[str, float] = {}
    """The same for some scenarios."""

    def __post_init__(self) -> None:
        for name, years in (("keep_years", self.keep_years), *self.scenarios.items()):
            if not 0 < years <= 100:
                raise ConfigError(
                    f"{name}: cases are kept for more than 0 and at most 100 years, not {years}"
                )

    def years(self, scenario: str) -> float:
        """How long for this scenario."""
        return self.scenarios.get(scenario, self.keep_years)


class _Stand(msgspec.Struct, frozen=True):
    """How far the sweeps came."""

    after: dict[str, str] = {}
    """Scenario -> last case, in the order of their ends."""
    since_us: int = 0
    """When this pass over all cases began."""


class CaseKeeper:
    """Carries the policy out. Used by one thread at a time; erasing is safe to be done twice."""

    def __init__(
        self,
        journal: Journal,
        store: CityStore,
        objects: Objects,
        vault: Vault,
        clock: Clock,
        site: str,
        policy: CaseRetention,
    ) -> None:
        self._journal = journal
        self._store = store
        self._objects = objects
        self._vault = vault
        self._clock = clock
        self._site = site
        self._policy = policy

    def sweep(self) -> int:
        """Erase what is left of persons in some of the cases whose time is up; answers how many cases were
        looked at.

        Raises:
            StorageError: journal, store, vault or objects cannot be used. What was erased is.
        """
        now = self._clock.wall_us()
        since_us, stand = self._stand(now)
        looked = 0
        for scenario in self._store.cases.scenarios():
            before_us = years_ago(now, self._policy.years(scenario))
            page = self._store.cases.closed(scenario, before_us, stand.get(scenario, ""), AT_ONCE)
            for case in page.cases:
                if case.final and self._has_words(case):
                    self.erase(case.case, "expired", WHO)
            if page.cases:
                last = page.cases[-1]
                stand[scenario] = f"{last.closed_us}.{last.case}"
            looked += len(page.cases)
        if looked:
            self._journal.record((), state=(STATE, msgspec.json.encode(_Stand(stand, since_us))))
            self._journal.flush()
        return looked

    def erase(self, case: str, reason: Reason, who: str) -> bool:
        """Destroy the key of a case's words, and remove them; False: it was done before.

        The key goes first: nobody is told of an erasure that has not been. Asked again after a kill, the rest
        is done.

        Raises:
            StorageError: journal, vault or objects cannot be used; ask again.
        """
        self._vault.erase(entry_of(case))
        source = register_source(self._site, WHAT, case)
        history = self._journal.history(source, FAMILY)
        told = any(isinstance(event.data, RegisterErased) for event in history)
        if not told:
            now = self._clock.wall_us()
            data = RegisterErased(what=WHAT, entry=case, reason=reason, who=who)
            version = len(history)
            id = event_id(source, FAMILY, 0, version)
            event = Event(id=id, source=source, time_us=now, epoch=0, sequence=version, data=data)
            try:
                self._journal.append_next([event])
            except VersionConflict:  # somebody else says it just now
                told = True
        for key in self._sealed(case):
            self._objects.delete(key)
        return not told

    def _stand(self, now_us: int) -> tuple[int, dict[str, str]]:
        """When this pass began, and where it is; a new one each month: what the store did not show when it
        was its turn (it was being built anew) is found then."""
        kept = self._journal.state(STATE)
        stand = msgspec.json.decode(kept, type=_Stand) if kept else _Stand()
        if now_us - stand.since_us > PASS_US:
            return now_us, {}
        return stand.since_us, dict(stand.after)

    def _sealed(self, case: str) -> set[str]:
        """Keys of the objects with words of the case."""
        steps = self._store.cases.steps(case)
        known = self._store.cases.case(case)
        found = {known.sealed} if known is not None else set()
        return (found | {step.data.sealed for step in steps}) - {""}

    def _has_words(self, case: Case) -> bool:
        return bool(case.sealed or self._sealed(case.case))


def years_ago(now_us: int, years: float) -> int:
    """The moment so many years ago; a part of a year counts as so many days of 365.25."""
    whole = int(years)
    moment = datetime.fromtimestamp(now_us / 1e6, UTC)
    day = 28 if (moment.month, moment.day) == (2, 29) else moment.day
    past = moment.replace(year=moment.year - whole, day=day)
    return int(past.timestamp() * 1e6) - int((years - whole) * 365.25 * 86_400e6)

"""Which open appeal a new one is the same as: candidates from the store, scored by `city/duplicates.py`.

Who called is compared by a blind index that is made from the sealed words when it would decide, and kept
nowhere.
"""

from collections.abc import Iterator

import msgspec

from city.cases import Case
from city.duplicates import WEIGHTS, Likeness, Link, Said, Weights, best, compare, reachable
from desk.gazetteer import plain
from desk.words import Words, WordsBox
from storage.city.casequery import CaseQuery
from storage.city.store import CityStore
from storage.city.vault import Vault

SCENARIO = "appeal"
LINKED = "linked"
"""State of the pack in which an appeal waits for the one that it is linked to."""
_COMPARED = 200
"""Earlier appeals with which a new one is compared, at most."""


class Linker:
    """See the module's text. From any thread. Methods raise StorageError."""

    def __init__(self, store: CityStore, box: WordsBox, vault: Vault, weights: Weights = WEIGHTS) -> None:
        self.weights = weights
        self._store = store
        self._box = box
        self._vault = vault

    def find(self, case: Case, words: Words | None = None) -> Link | None:
        """The open appeal that this one is most like, if any is like enough to be shown."""
        new = said(case, self._caller(case, words))
        return best(new, self._before(new), self.weights)

    def near(self, case: Case) -> list[Case]:
        """Earlier appeals that it would be compared with, whether they are open or not."""
        return self._candidates(said(case, self._caller(case)))

    def compare(self, one: Case, other: Case) -> Likeness:
        """How much two are the same, and why."""
        return compare(said(one, self._caller(one)), said(other, self._caller(other)), self.weights)

    def _before(self, new: Said) -> Iterator[Said]:
        """Open appeals with which a comparison can come to anything; who called is looked up only where that
        would decide."""
        for other in self._candidates(new):
            head = other if other.state != LINKED else self._store.cases.case(other.other)
            if head is None or head.final or head.case == new.case:
                continue
            known = said(other)
            if new.caller and reachable(new, known, self.weights):
                known = msgspec.structs.replace(known, caller=self._caller(other))
            # What is like a linked one is linked to the same head.
            yield msgspec.structs.replace(known, case=head.case)

    def _candidates(self, new: Said) -> list[Case]:
        since = new.time_us - int(self.weights.window_days * 86_400e6)
        found: dict[str, Case] = {}
        if new.place is not None:
            near = self._store.cases.near(
                new.category, new.place, 3 * self.weights.reach_m, since, SCENARIO, _COMPARED
            )
            found = {case.case: case for case in near}
        if new.caller:  # what has no place, or a new one without, can only be of the same caller
            query = CaseQuery(scenario=SCENARIO, category=new.category, since_us=since, open=True)
            for case in self._store.cases.page(query, limit=_COMPARED).cases:
                if new.place is None or case.place is None:
                    found[case.case] = case
        # Of two that come at once only the later one looks at the other.
        return [case for case in found.values() if (case.opened_us, case.case) < (new.time_us, new.case)]

    def _caller(self, case: Case, words: Words | None = None) -> bytes:
        if words is None and case.sealed:
            words = self._box.read(case.case, case.sealed)
        return self.caller(words) if words else b""

    def caller(self, words: Words) -> bytes:
        """The blind index of who called; empty: they left no way to be reached."""
        way = plain(words.phone) or plain(words.email)
        return self._vault.blind(f"caller:{way}") if way else b""


def said(case: Case, caller: bytes = b"") -> Said:
    """What an appeal is compared by."""
    return Said(
        case=case.case,
        category=case.category,
        time_us=case.opened_us,
        place=case.place,
        channel=case.channel,
        caller=caller,
    )

"""What follows for appeals from what happens: they are placed and linked, and answered when what they wait
for is at its end.

Each event may come again, and does after a desk was killed in between: what was done is not done again.
"""

import logging

from city.cases import Case
from city.rights import system
from city.scenario import Step
from desk.appeallinks import LINKED, SCENARIO
from desk.appeals import Appeals
from desk.cases import CaseDesk
from events.civic import CaseOpened, CaseStepped
from events.errors import IllegalTransition, NoSuchThing, VersionConflict
from events.events import Event
from storage.city.store import CityStore

log = logging.getLogger(__name__)

IN_WORK, ANSWERED = "in-work", "answered"
DONE = "closed"
"""State in which a matter has come to a good end."""
WITHDRAWN = "withdrawn"
ME = system("appeals")
_TRIES = 5


class Followups:
    """See the module's text. Used by one thread at a time."""

    families = ("case",)
    """Of the events that are to be taken."""

    def __init__(self, appeals: Appeals, desk: CaseDesk, store: CityStore) -> None:
        self._appeals = appeals
        self._desk = desk
        self._store = store

    def take(self, event: Event) -> int:
        """What follows from the event; answers how many appeals it moved.

        Raises:
            NotShownYet: the store is behind; give the event again.
            StorageError: as well.
        """
        data = event.data
        if isinstance(data, CaseOpened) and data.scenario == SCENARIO:
            before = self._desk.shown(event.key, 0)
            return int(self._appeals.settle(before)[0].version > before.version)
        if isinstance(data, CaseStepped) and (data.final or data.state == ANSWERED or data.action == "link"):
            return self._ended(self._desk.shown(event.key, event.sequence))
        return 0

    def _ended(self, case: Case) -> int:
        """Those that wait for this case, if it is at an end; or it, if what it waits for is."""
        if case.state == LINKED:
            head = self._store.cases.case(case.other)
            return self._answer(case.case, head) if head is not None and _over(head) else 0
        if not _over(case):
            return 0
        if case.scenario != SCENARIO:
            return self._answer(case.cause, case) if case.cause else 0
        return sum(self._answer(id_, case) for id_ in self._store.appeals.linked(case.case))

    def _answer(self, id_: str, ended: Case) -> int:
        """The appeal is answered by what ended, unless it does not wait for it any more."""
        for _ in range(_TRIES):
            case = self._store.cases.case(id_)
            if case is None or case.scenario != SCENARIO or case.other != ended.case:
                return 0
            action = _action(case, ended)
            if not action:
                return 0
            note = f"{ended.scenario} {ended.case}: {ended.state}"
            try:
                self._desk.step(case.case, case.version, Step(action=action, note=note), ME)
                return 1
            except VersionConflict:
                continue
            except (IllegalTransition, NoSuchThing) as e:
                log.warning("%s cannot be answered by %s: %s", id_, ended.case, e)
                return 0
        return 0


def _action(case: Case, ended: Case) -> str:
    """What the end of one means for an appeal that waits for it; '': nothing."""
    if case.state == LINKED:
        # What its caller took back is still open for everybody else.
        return "unlink" if ended.state == WITHDRAWN else "matter-closed"
    if case.state != IN_WORK:
        return ""
    return "matter-closed" if ended.state == DONE else "matter-refused"


def _over(case: Case) -> bool:
    return case.final or (case.scenario == SCENARIO and case.state == ANSWERED)

"""The clocks of cases: told before they run out, told when they have, and what the pack then has done.

Each is a step signed by `clock`, so the case itself says what was told: the same is not told twice, whatever
is killed between two looks. Which step it is stands in the pack (`on-warn`, `on-overdue`, `otherwise`): by
time, or by count, where the n-th of some actions starts a clock that has run out at once. A clock that the
pack says nothing of is told as `warn` and `overdue`.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from city import steps as rules
from city.cases import Case
from city.clocks import Calendar
from city.rights import SYSTEM
from city.scenario import Pack, Step
from desk.casebook import CaseBook, Story, aside
from events.civic import CaseStepped, Deadline
from events.clock import Clock
from events.errors import IllegalTransition, MissingValue
from storage.city.store import CityStore

log = logging.getLogger(__name__)

WHO = "clock"
AT_ONCE = 500
"""Cases of one look."""
_CHAIN = 8
"""Steps of one case in one look: one may start a clock that has run out at once."""

Telling = Literal["warned", "overdue"]


class Timers:
    """See the module's text. Used by one thread at a time; several may run over one journal."""

    def __init__(
        self, book: CaseBook, store: CityStore, packs: Mapping[str, Pack], clock: Clock, calendar: Calendar
    ) -> None:
        self._book = book
        self._store = store
        self._packs = packs
        self._clock = clock
        self._calendar = calendar

    def tick(self) -> int:
        """Tell what there is to tell now; answers how many steps were taken.

        Raises:
            StorageError: journal or store cannot be used; what was told is told.
        """
        now = self._clock.wall_us()
        return sum(self._look(case, now) for case in self._store.cases.due(now, AT_ONCE))

    def _look(self, seen: Case, now_us: int) -> int:
        """All that is to be told of one case. The store may be behind: the journal's word counts."""
        for done in range(_CHAIN):
            story = self._book.of_store(seen)
            due = next(tellings(story.case, now_us), None)
            if due is None:
                return done
            at_us = max(now_us, story.case.updated_us)
            if not self._book.write(story, at_us, self._step(story, due[0], due[1], at_us)):
                return done  # somebody moved it just now: at the next look
        return _CHAIN

    def _step(self, story: Story, deadline: Deadline, telling: Telling, now_us: int) -> CaseStepped:
        case = story.case
        pack = self._packs.get(case.scenario)
        for name in _actions(pack, deadline.name, telling):
            assert pack is not None
            step = Step(action=name, who=WHO, role=SYSTEM, detail={"clock": deadline.name})
            try:
                return _told(rules.step(pack, case, step, now_us, self._calendar), deadline, telling)
            except (IllegalTransition, MissingValue) as e:
                log.debug("clock %s of case %s: %s", deadline.name, case.case, e)
        said = aside(case, "warn" if telling == "warned" else "overdue", WHO, detail={"clock": deadline.name})
        said = msgspec.structs.replace(said, marks=tuple(sorted({*case.marks, telling})))
        return _told(said, deadline, telling)


def tellings(case: Case, now_us: int) -> Iterator[tuple[Deadline, Telling]]:
    """What is to be told of the case's clocks at this time, the earliest first. A warning that nobody was
    there to give before the time ran out is not given afterwards."""
    if case.final:
        return
    for deadline in sorted(case.deadlines, key=lambda d: d.due_us):
        if not deadline.runs or "overdue" in deadline.told:
            continue
        if deadline.due_us <= now_us:
            yield deadline, "overdue"
        elif deadline.warn_us and deadline.warn_us <= now_us and "warned" not in deadline.told:
            yield deadline, "warned"


def _actions(pack: Pack | None, clock: str, telling: Telling) -> list[str]:
    """Names of the actions to be tried, the wanted one first."""
    said = pack.clocks.get(clock) if pack is not None else None
    if said is None:
        return []
    wanted = (said.on_warn,) if telling == "warned" else (said.on_overdue, said.otherwise)
    return [name for name in wanted if name]


def _told(step: CaseStepped, before: Deadline, telling: Telling) -> CaseStepped:
    """The step, in which the clock that it was taken for has been told, unless it began anew."""

    def marked(deadline: Deadline) -> Deadline:
        same = deadline.name == before.name and deadline.due_us == before.due_us
        if not same or telling in deadline.told:
            return deadline
        return msgspec.structs.replace(deadline, told=(*deadline.told, telling))

    return msgspec.structs.replace(step, deadlines=tuple(marked(d) for d in step.deadlines))

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
from city.escalation import next_step
from city.scenario import Pack, Step
from desk.casebook import CaseBook, Story, aside
from events.civic import CaseStepped, Deadline
from events.clock import Clock
from events.errors import IllegalTransition, MissingValue, StorageError
from storage.city.store import CityStore

log = logging.getLogger(__name__)

WHO = "clock"
AT_ONCE = 500
"""Cases of one look."""
_CHAIN = 8
"""Steps of one case in one look: one may start a clock that has run out at once."""

_SAID = {"warned": "warn", "overdue": "overdue"}
"""Steps that need no row of a pack."""

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
        self._stuck: set[str] = set()

    def tick(self) -> int:
        """Tell what there is to tell now; answers how many steps were taken.

        Raises:
            StorageError: journal or store cannot be used; what was told is told.
        """
        now = self._clock.wall_us()
        done = 0
        for case in self._store.cases.due(now, AT_ONCE + len(self._stuck)):
            try:
                done += self._look(case, now)
                self._stuck.discard(case.case)
            except StorageError:
                raise
            except Exception:  # one that cannot be told must not keep the others
                if case.case not in self._stuck:
                    log.exception("nothing can be told of case %s", case.case)
                self._stuck.add(case.case)
        return done

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
        """What the pack wants done; where it wants or can do nothing, what is to be told is told."""
        case = story.case
        pack = self._packs.get(case.scenario)
        step = next_step(pack, case, now_us, WHO) if pack is not None else None
        if pack is not None and step is not None:
            try:
                return _told(case, rules.step(pack, case, step, now_us, self._calendar), step, now_us)
            except (IllegalTransition, MissingValue) as e:
                log.error("pack %s: its timer cannot take %s: %s", pack.id, step.action, e)
        step = Step(action=_SAID[telling], detail={"clock": deadline.name})
        said = aside(case, step.action, WHO, detail=step.detail)
        said = msgspec.structs.replace(said, marks=tuple(sorted({*case.marks, telling})))
        return _told(case, said, step, now_us)


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


def _told(before: Case, data: CaseStepped, step: Step, now_us: int) -> CaseStepped:
    """The step, in which the clock that it was taken for has been told, unless it began anew."""
    name = step.detail["clock"]
    was = next(d for d in before.deadlines if d.name == name)
    telling: Telling = "overdue" if was.due_us <= now_us else "warned"

    def marked(deadline: Deadline) -> Deadline:
        same = deadline.name == name and deadline.due_us == was.due_us
        if not same or telling in deadline.told:
            return deadline
        return msgspec.structs.replace(deadline, told=(*deadline.told, telling))

    return msgspec.structs.replace(data, deadlines=tuple(marked(d) for d in data.deadlines))

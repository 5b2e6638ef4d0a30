"""What is due by itself: warnings before a deadline, what is overdue, escalation by time and by count.

Every clock that runs counts, also of a case that nobody has signed for. By count: the n-th re-do or transfer
has started a clock that has run out (`city.steps`), so the timer finds it like any other.
"""

from city.cases import Case
from city.scenario import SYSTEM, Pack, Step
from city.steps import refusal
from events.civic import Deadline

WHO = "timer"


def next_step(pack: Pack, case: Case, now_us: int, who: str = WHO) -> Step | None:
    """The step that the timer has to take now; None: nothing is due. Ask again once it is taken.

    A clock that has run out is not warned of any more. The clock that runs out first comes first.
    """
    for deadline in sorted(case.deadlines, key=lambda d: (d.due_us, d.name)):
        for name in _names(pack, deadline, now_us):
            request = Step(action=name, who=who, role=SYSTEM, detail={"clock": deadline.name})
            action = pack.action(name)
            if action is not None and not refusal(action, case, request):
                return request
    return None


def _names(pack: Pack, deadline: Deadline, now_us: int) -> tuple[str, ...]:
    """Actions for what is to be said of the clock, the wanted one first."""
    clock = pack.clocks.get(deadline.name)
    if clock is None or not deadline.runs or "overdue" in deadline.told:
        return ()
    if now_us >= deadline.due_us:
        return tuple(name for name in (clock.on_overdue, clock.otherwise) if name)
    if deadline.warn_us and now_us >= deadline.warn_us and "warned" not in deadline.told and clock.on_warn:
        return (clock.on_warn,)
    return ()

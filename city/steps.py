"""How a case moves: an opening and each step by the pack's table. Values in, values out.

A step is looked up by its action's name and the case's state. Whatever is not in the table, or does not bring
what the row asks for, raises before anything is made.
"""

from collections.abc import Callable, Iterable, Mapping

from city import clocks
from city.cases import HANDLED, Case
from city.clocks import Calendar
from city.deadlines import YEAR_FACT as YEAR_FACT
from city.deadlines import Running, Subject
from city.scenario import BACK, LEVELS, SAME, Action, Level, Need, Opening, Pack, Step
from events.civic import CaseOpened, CaseStepped, Fact
from events.errors import IllegalTransition, MissingValue

BACK_FACT = "back"
"""Key of a case's detail: the state to which an aside goes back."""

EXTENDED = "extended"
"""Key of a case's detail: sum of its extensions."""
GUARDS: Mapping[str, tuple[Callable[[Case, Step], bool], str]] = {
    "not-handler": (
        lambda case, step: step.who != case.handled_by,
        "{who} handled it; who checks must be somebody else",
    ),
    "not-asker": (
        lambda case, step: step.who != case.last_by,
        "{who} asked for it; somebody else has to decide",
    ),
    "approver-apart": (
        lambda case, step: step.approver != step.who,
        "{who} cannot approve their own step; name somebody else as approver",
    ),
    "placed": (
        lambda case, step: bool(case.area or step.area),
        "it lies nowhere yet; give its area or place",
    ),
    "other-apart": (lambda case, step: step.other != case.case, "a case cannot be linked to itself"),
}
"""Name -> whether it holds, and why not."""


def open_case(pack: Pack, request: Opening, now_us: int, calendar: Calendar) -> CaseOpened:
    """The opening of a case of this scenario.

    Raises:
        IllegalTransition: this role opens none.
        MissingValue: the pack asks for more.
    """
    rule = pack.opening
    if request.role not in rule.roles:
        raise IllegalTransition(
            f"the role {request.role or 'none'!r} opens no case of {pack.id}; by {', '.join(rule.roles)}"
        )
    if not request.category.strip():
        raise MissingValue(f"a case of {pack.id} needs a category", "category")
    for need in rule.needs:
        if not getattr(request, need):
            raise MissingValue(f"a case of {pack.id} needs {need}", need)
    level = request.level or rule.level
    subject = Subject(request.category, request.code_system, request.severity, level, request.channel)
    running = Running(pack, subject, (), now_us, calendar, due_us=request.due_us)
    running.start(rule.start)
    running.cap()
    public = request.public
    if public is None:
        public = any(request.category.startswith(code) for code in rule.public)
    detail: dict[str, Fact] = {**rule.defaults, **request.detail}
    return CaseOpened(
        scenario=pack.id,
        pack=pack.digest,
        state=pack.initial,
        title=request.title or request.category,
        category=request.category,
        code_system=request.code_system,
        severity=request.severity,
        level=level,
        area=request.area,
        place=request.place,
        holder=request.holder,
        deadlines=running.values,
        cause=request.cause,
        component=request.component,
        estate=request.estate,
        channel=request.channel,
        reference=request.reference,
        sealed=request.sealed,
        public=public,
        occurred_us=request.occurred_us,
        who=request.who,
        role=request.role,
        detail=detail | running.year(0),
    )


def step(pack: Pack, case: Case, request: Step, now_us: int, calendar: Calendar) -> CaseStepped:
    """The case's next step.

    Raises:
        IllegalTransition: the table has no such step from here, or not for this role or person.
        MissingValue: it does not bring what the action needs, or brings what it has no use for.
    """
    action = _row(pack, case, request)
    _check_values(action, case, request)
    level = _level(action, case, request)
    state = _target(pack, action, case)
    marks = _marks(action, case, request)
    category = request.category or case.category
    subject = Subject(category, case.code_system, case.severity, level, case.channel)
    running = Running(pack, subject, case.deadlines, now_us, calendar, due_us=request.due_us)
    running.step(action, request.amount, str(request.detail.get("clock", "")))
    if pack.states[state].final:
        running.end()
    else:
        running.count(action, case.counts)
    detail: dict[str, Fact] = dict(request.detail)
    if action.handles:
        detail[HANDLED] = True
    if action.extend:
        detail |= {"amount": request.amount, EXTENDED: _extended(case) + request.amount}
    if pack.states[state].aside and state != case.state:
        detail[BACK_FACT] = case.state
    detail |= running.year(case.detail.get(YEAR_FACT, 0))
    holder = {"keep": request.holder or case.holder, "set": request.holder, "clear": request.holder}
    joint = request.helpers or (case.helpers if action.holder == "keep" else ())
    return CaseStepped(
        action=action.name,
        was=case.state,
        state=state,
        final=pack.states[state].final,
        level=level,
        area=request.area or case.area,
        place=request.place or case.place,
        category=category,
        holder=holder[action.holder],
        helpers=joint,
        deadlines=running.values,
        marks=marks,
        who=request.who,
        role=request.role,
        approver=request.approver,
        other=request.other,
        note=request.note,
        sealed=request.sealed,
        detail=detail,
    )


def allowed(pack: Pack, case: Case, role: str, who: str = "") -> tuple[Action, ...]:
    """The actions that a role can take now (what each needs is in it).

    Args:
        who: leaves out what the table refuses this person; '': nobody in particular.
    """
    return tuple(a for a in pack.actions if not refusal(a, case, Step(action=a.name, who=who, role=role)))


# -- the row


def _row(pack: Pack, case: Case, request: Step) -> Action:
    action = pack.action(request.action)
    if action is None:
        raise IllegalTransition(
            f"{pack.id} has no action {request.action[:40]!r}; there are "
            f"{', '.join(a.name for a in pack.actions)}"
        )
    why = refusal(action, case, request)
    if why:
        raise IllegalTransition(f"case {case.case} ({case.state}): {action.name}: {why}")
    return action


def refusal(action: Action, case: Case, request: Step) -> str:
    """Why the action cannot be taken; '': it can."""
    if case.state not in action.from_:
        return f"not from the state {case.state!r}; from {', '.join(action.from_)}"
    if request.role not in action.roles:
        return f"not by the role {request.role or 'none'!r}; by {', '.join(action.roles)}"
    for field, values in action.where.items():
        if fact(case, field) not in values:
            return f"only where {field} is {' or '.join(values)}"
    missing = [mark for mark in action.when if mark not in case.marks]
    if missing:
        return f"only once it is {', '.join(missing)}"
    had = [mark for mark in action.unless if mark in case.marks]
    if had:
        return f"not any more: it is {', '.join(had)}"
    if action.level in ("up", "down"):
        edge = LEVELS[-1] if action.level == "up" else LEVELS[0]
        if case.level == edge:
            return f"there is no level {'above' if action.level == 'up' else 'below'} {edge!r} here"
    for name in action.guards:
        holds, why = GUARDS[name]
        if request.who and not holds(case, request):
            return why.format(who=request.who)
    return ""


def fact(case: Case, field: str) -> str:
    """A field of the case, or of its detail, as text; '': it has none."""
    value = case.detail.get(field, getattr(case, field, ""))
    return str(value).lower() if isinstance(value, bool) else str(value)


# -- what it brings


def _check_values(action: Action, case: Case, request: Step) -> None:
    for need in (*action.needs, *_of_marks(action, request)):
        if not _brought(request, need):
            raise MissingValue(f"{action.name} needs {_SAID.get(need, need)}", need)
    takes = {*action.needs, *action.optional, *_of_marks(action, request), "note", "sealed"}
    if action.holder == "set":
        takes.add("holder")
    if action.choose:
        takes.add("marks")
    for need in _NEEDS:
        if need not in takes and _brought(request, need):
            raise MissingValue(f"{action.name} has no use for {need}; leave it out", need)
    if "amount" in takes and _brought(request, "amount"):
        bound = max(0.0, (action.at_most or clocks.MAX_AMOUNT) - _extended(case))
        whole = any(d.kind == "working-days" for d in case.deadlines if d.name in action.extend)
        if not 0 < request.amount <= bound or (whole and request.amount != int(request.amount)):
            unit = "whole working days" if whole else "time"
            raise MissingValue(f"{action.name}: amount must be {unit} above 0, at most {bound:g}", "amount")
    if action.tells and not any(d.name == request.detail.get("clock") for d in case.deadlines):
        raise MissingValue(f"{action.name} needs the name of a clock of the case in detail.clock", "detail")


_NEEDS: tuple[Need, ...] = (
    *("note", "approver", "other", "holder", "helpers", "level", "area", "place", "category"),
    *("amount", "marks", "due", "sealed"),
)
_SAID: Mapping[str, str] = {
    "approver": "the name of who approved it (approver)",
    "other": "the other case (other)",
    "holder": "an organisation (holder)",
    "helpers": "the organisations that help (helpers)",
    "note": "a reason in official words (note)",
    "amount": "how much longer (amount)",
    "due": "the platform's deadline (due_us)",
    "sealed": "words for the person (sealed)",
}


def _brought(request: Step, need: Need) -> bool:
    value = request.due_us if need == "due" else getattr(request, need)
    return bool(value.strip()) if isinstance(value, str) else value is not None and bool(value)


def _extended(case: Case) -> float:
    said = case.detail.get(EXTENDED, 0.0)
    return float(said) if isinstance(said, int | float) else 0.0


def _of_marks(action: Action, request: Step) -> Iterable[Need]:
    return (need for mark in request.marks for need in action.mark_needs.get(mark, ()))


def _marks(action: Action, case: Case, request: Step) -> tuple[str, ...]:
    marks = dict.fromkeys(case.marks)
    chosen = set(request.marks)
    for number, group in enumerate(action.choose):
        said = chosen & set(group)
        if len(said) > 1 or (number == 0 and "marks" in action.needs and not said):
            raise MissingValue(f"{action.name} needs one of {', '.join(group)} in marks", "marks")
        if said:
            marks = {mark: None for mark in marks if mark not in group} | dict.fromkeys(said)
        chosen -= said
    if chosen:
        raise MissingValue(f"{action.name} does not set {', '.join(sorted(chosen))}", "marks")
    marks |= dict.fromkeys(action.mark)
    return tuple(sorted(mark for mark in marks if mark not in action.unmark))


def _level(action: Action, case: Case, request: Step) -> Level:
    at = LEVELS.index(case.level)
    if not action.level:
        return LEVELS[at]
    wanted = request.level or LEVELS[at + {"up": 1, "down": -1, "any": 0}[action.level]]
    move = LEVELS.index(wanted) - at
    if (action.level == "up" and move <= 0) or (action.level == "down" and move >= 0):
        raise IllegalTransition(
            f"case {case.case}: {action.name} goes {action.level} from {case.level!r}, not to {wanted!r}"
        )
    return wanted


def _target(pack: Pack, action: Action, case: Case) -> str:
    if action.to == SAME:
        return case.state
    if action.to != BACK:
        return action.to
    back = str(case.detail.get(BACK_FACT, ""))
    if back not in pack.states:
        raise IllegalTransition(f"case {case.case}: the state from which it was {case.state!r} is not known")
    return back

"""What is wrong with single rows of a pack: names that nothing has, values that cannot be."""

import re
from collections.abc import Iterable, Mapping
from string import Formatter
from typing import get_args

import msgspec

from city.clocks import MAX_AMOUNT
from city.closure import FACTS
from city.rights import ROLES
from city.scenario import ALL, BACK, LEVELS, SAME, SYSTEM, Action, Clock, Pack, Trigger
from city.steps import GUARDS
from events.civic import ClockKind
from events.events import AnyPayload

_NAME = re.compile(r"^[a-z][a-z0-9-]{0,31}$")
_SEVERITIES = ("info", "minor", "major", "critical")
_PAYLOADS: Mapping[str, type] = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyPayload)}
_VALUES: Mapping[str, tuple[str, ...]] = {"severity": _SEVERITIES, "level": LEVELS}


class Problem(msgspec.Struct, frozen=True):
    """Something to be mended."""

    part: str
    """states, actions, clocks, deadlines, counted, triggers, indicators, opening or '' (the pack)."""
    at: str | int
    """Name of the state or clock; number of the row from 0."""
    text: str


def row_problems(pack: Pack) -> Iterable[Problem]:
    """What is wrong with the rows, in the order of the file."""
    if not _NAME.match(pack.id):
        yield Problem("", "id", f"id {pack.id!r}: use small letters, digits and -")
    if pack.initial not in pack.states:
        yield Problem("", "initial", f"initial {pack.initial!r} is no state; {_one_of(pack.states)}")
    elif pack.states[pack.initial].final or pack.states[pack.initial].aside:
        yield Problem("", "initial", f"initial {pack.initial!r} is final or an aside; begin elsewhere")
    if not any(state.final for state in pack.states.values()):
        yield Problem("", "id", "no state is final; mark the ends with `final = true`")
    for part, names in (("states", pack.states), ("clocks", pack.clocks)):
        for name in names:
            if not _NAME.match(name):
                yield Problem(part, name, f"{name!r}: use small letters, digits and -")
    yield from _opening(pack)
    seen: set[str] = set()
    for number, action in enumerate(pack.actions):
        if action.name in seen or not _NAME.match(action.name):
            text = "is there twice" if action.name in seen else "use small letters, digits and -"
            yield Problem("actions", number, f"action {action.name!r}: {text}")
        seen.add(action.name)
        for text in _action(pack, action):
            yield Problem("actions", number, f"action {action.name}: {text}")
    for name, clock in pack.clocks.items():
        for text in _clock(pack, clock):
            yield Problem("clocks", name, f"clock {name}: {text}")
    yield from _tables(pack)


def _opening(pack: Pack) -> Iterable[Problem]:
    for role in pack.opening.roles:
        if role not in (*ROLES, SYSTEM):
            yield Problem("opening", "roles", f"opening: {role!r} is no role; {_one_of((*ROLES, SYSTEM))}")
    for name in pack.opening.start:
        if name not in pack.clocks:
            yield Problem("opening", "start", f"opening: {name!r} is no clock; {_one_of(pack.clocks)}")


def _action(pack: Pack, action: Action) -> Iterable[str]:
    for name in action.from_:
        if name not in pack.states:
            yield f"from {name!r} is no state; {_one_of(pack.states)}"
    if action.to not in (*pack.states, SAME, BACK):
        yield f"to {action.to!r} is no state; {_one_of((*pack.states, SAME, BACK))}"
    if action.to == BACK and not all(pack.states[s].aside for s in action.from_ if s in pack.states):
        yield 'goes back ("<") from a state that is no aside; mark that with `aside = true`'
    if not action.from_ or not action.roles:
        yield "needs at least one state in `from` and one role in `roles`"
    for role in action.roles:
        if role not in (*ROLES, SYSTEM):
            yield f"{role!r} is no role; {_one_of((*ROLES, SYSTEM))}"
    for guard in action.guards:
        if guard not in GUARDS:
            yield f"{guard!r} is no guard; {_one_of(GUARDS)}"
    for verb in ("start", "stop", "resume", "meet", "extend", "restart"):
        for name in getattr(action, verb):
            if name not in pack.clocks and not (name == ALL and verb in ("stop", "resume")):
                yield f"{verb} {name!r} is no clock; {_one_of(pack.clocks)}"
    for effect in action.effects:
        if effect not in pack.effects:
            yield f"effect {effect!r} is not among the pack's `effects`; add it there"
    yield from _values(action)


def _values(action: Action) -> Iterable[str]:
    brings = {*action.needs, *action.optional}
    if bool(action.extend) != ("amount" in action.needs):
        yield '`extend` and needs = ["amount"] belong together'
    if action.at_most and not action.extend:
        yield "`at-most` is for what extends a clock; drop it"
    if action.holder == "set" and "holder" not in brings:
        yield '`holder = "set"` needs "holder" in `needs` or `optional`'
    if "approver-apart" in action.guards and "approver" not in brings:
        yield 'the guard approver-apart needs "approver" in `needs`'
    if action.level == "any" and "level" not in brings:
        yield '`level = "any"` needs "level" in `needs` or `optional`'
    if action.tells and SYSTEM not in action.roles:
        yield "`tells` is for the timer; give it the role system"
    marks = [mark for group in action.choose for mark in group]
    if "marks" in action.needs and not marks:
        yield 'needs "marks", but `choose` has none'
    for mark in (*marks, *action.mark, *action.unmark, *action.when, *action.unless):
        if not _NAME.match(mark):
            yield f"mark {mark!r}: use small letters, digits and -"
    if len(set(marks)) < len(marks):
        yield "a mark is twice in `choose`"
    for mark in action.mark_needs:
        if mark not in marks:
            yield f"`mark-needs` names {mark!r}, which is not in `choose`"


def _clock(pack: Pack, clock: Clock) -> Iterable[str]:
    yield from _amounts(clock.kind, clock.amount, clock.warn)
    wanted = (
        ("on-warn", clock.on_warn, "warned"),
        ("on-overdue", clock.on_overdue, "overdue"),
        ("otherwise", clock.otherwise, "overdue"),
    )
    for field, name, tells in wanted:
        action = pack.action(name) if name else None
        if name and action is None:
            yield f"{field} {name!r} is no action; {_one_of(a.name for a in pack.actions)}"
        elif action is not None and (action.tells != tells or SYSTEM not in action.roles):
            yield f"{field} {name}: that action needs `tells = {tells!r}` and the role system"
    if not clock.on_overdue:
        yield "needs `on-overdue`: the action that says that it has run out"
    if clock.warn and not clock.on_warn:
        yield "has `warn` without `on-warn`"


def _amounts(kind: ClockKind, amount: float, warn: float) -> Iterable[str]:
    if not 0 <= amount <= MAX_AMOUNT or warn < 0 or (amount and warn >= amount):
        yield f"amount must be 0 to {MAX_AMOUNT:g}, and warn less than it"
    if kind == "working-days" and (amount != int(amount) or warn != int(warn)):
        yield "working days are counted whole; use working-hours for less"


def _tables(pack: Pack) -> Iterable[Problem]:
    selectors: set[tuple[object, ...]] = set()
    for number, rule in enumerate(pack.deadlines):
        of = (rule.clock, rule.category, rule.severity, rule.level, rule.channel, rule.code_system)
        if rule.clock not in pack.clocks:
            yield Problem("deadlines", number, f"{rule.clock!r} is no clock; {_one_of(pack.clocks)}")
            continue
        for text in _amounts(rule.kind or pack.clocks[rule.clock].kind, rule.amount, rule.warn or 0):
            yield Problem("deadlines", number, f"deadline of {rule.clock}: {text}")
        for field, values in _VALUES.items():
            if getattr(rule, field) not in ("", *values):
                yield Problem("deadlines", number, f"{field} {getattr(rule, field)!r}: {_one_of(values)}")
        if of in selectors:
            yield Problem("deadlines", number, f"deadline of {rule.clock}: there is one for the same already")
        selectors.add(of)
    names = {action.name for action in pack.actions}
    for number, counted in enumerate(pack.counted):
        for name in counted.actions:
            if name not in names:
                yield Problem("counted", number, f"{name!r} is no action; {_one_of(sorted(names))}")
        if counted.clock not in pack.clocks or counted.count < 1:
            yield Problem("counted", number, "needs a clock that there is and a count of 1 or more")
    for number, trigger in enumerate(pack.triggers):
        for text in _trigger(pack, trigger):
            yield Problem("triggers", number, f"trigger {trigger.event}: {text}")
    known = {*FACTS, *_marks(pack), *(f"state:{name}" for name in pack.states)}
    for number, indicator in enumerate(pack.indicators):
        for fact in (*indicator.count, *indicator.of):
            for part in fact.removeprefix("!").split("|"):
                if part not in known:
                    text = f"indicator {indicator.id}: {part!r} is no fact or mark; {_one_of(sorted(known))}"
                    yield Problem("indicators", number, text)


def _trigger(pack: Pack, trigger: Trigger) -> Iterable[str]:
    payload = _PAYLOADS.get(trigger.event)
    if payload is None:
        yield "there are no such events; see docs/reference for their types"
        return
    fields = {field.name for field in msgspec.structs.fields(payload)}
    used = [*trigger.where, *trigger.marks, trigger.cause, *([trigger.severity] if trigger.severity else ())]
    for text in (trigger.title, trigger.category):
        used += [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    for name in used:
        if name not in fields:
            yield f"{name!r} is no field of it; {_one_of(sorted(fields))}"
    if trigger.then == "open":
        if SYSTEM not in pack.opening.roles:
            yield "opens cases, so the opening needs the role system"
        return
    action = pack.action(trigger.then)
    if action is None or SYSTEM not in action.roles:
        yield f"then {trigger.then!r} is no action that the role system may take"
        return
    for values in trigger.marks.values():
        for mark in values.values():
            if not any(mark in group for group in action.choose):
                yield f"{trigger.then} does not choose the mark {mark!r}"


def _marks(pack: Pack) -> Iterable[str]:
    for action in pack.actions:
        yield from action.mark
        for group in action.choose:
            yield from group


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"

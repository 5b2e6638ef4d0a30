"""What people read of a pack, made from its table: a diagram, and the tables of its page."""

from collections.abc import Iterable, Mapping, Sequence

from city.packcheck import edges
from city.scenario import BACK, SAME, Action, Clock, Pack, Rule

_NONE = "–"


def mermaid(pack: Pack) -> str:
    """The states and what leads from one to another, as a Mermaid state diagram.

    Actions that leave the state as it is are not in it. Asides go back to each state that leads into them.
    """
    ways: dict[tuple[str, str], list[str]] = {}
    for before, action, after in edges(pack):
        if before != after or action.to not in (SAME, BACK):
            ways.setdefault((before, after), []).append(action.name)
    lines = ["stateDiagram-v2", f"    [*] --> {_id(pack.initial)}"]
    lines += [f"    {_id(name)}: {state.title}" for name, state in pack.states.items()]
    lines += [f"    {_id(a)} --> {_id(b)}: {', '.join(names)}" for (a, b), names in ways.items()]
    lines += [f"    {_id(name)} --> [*]" for name, state in pack.states.items() if state.final]
    return "\n".join(lines) + "\n"


def actions_table(pack: Pack) -> str:
    """The transitions as a Markdown table."""
    rows = [
        (
            f"`{action.name}` {action.title} {action.title_zh}",
            ", ".join(action.from_),
            {SAME: "the same", BACK: "back"}.get(action.to, action.to),
            ", ".join(action.roles),
            _asked(action),
            _clocks(action),
        )
        for action in pack.actions
    ]
    return _table(("action", "from", "to", "by", "asks for", "clocks"), rows)


def states_table(pack: Pack) -> str:
    """The states as a Markdown table."""
    rows = [
        (f"`{name}`", f"{s.title} {s.title_zh}", s.stage, "end" if s.final else "aside" if s.aside else "")
        for name, s in pack.states.items()
    ]
    return _table(("state", "name", "stage", "kind"), rows)


def clocks_table(pack: Pack) -> str:
    """The clocks and deadlines as a Markdown table."""
    rows: list[tuple[str, ...]] = []
    for name, clock in pack.clocks.items():
        then = " or ".join(f"`{a}`" for a in (clock.on_overdue, clock.otherwise) if a)
        title = f"`{name}` {clock.title} {clock.title_zh}"
        rows.append((title, _amount(clock), _warn(clock), then, clock.source))
        rows += [
            (f"`{name}`: {_whose(rule)}", _amount(clock, rule), _warn(clock, rule), "", rule.source)
            for rule in pack.deadlines
            if rule.clock == name
        ]
        rows += [
            (f"`{name}`: {' or '.join(c.actions)} {c.count} times", "at once", _NONE, "", c.source)
            for c in pack.counted
            if c.clock == name
        ]
    return _table(("clock", "time", "warned before", "then", "source"), rows)


def indicators_table(pack: Pack) -> str:
    """The indicators as a Markdown table."""
    rows = [
        (f"`{i.id}` {i.title} {i.title_zh}", " and ".join(i.count), " and ".join(i.of) or "all")
        for i in pack.indicators
    ]
    return _table(("indicator", "cases that are", "of those that are"), rows)


def page(pack: Pack) -> str:
    """All of it, as a section of a page."""
    begins = ", ".join(pack.opening.roles)
    triggers = "".join(
        f"- `{t.event}`{_only(t.where)}: {'opens a case' if t.then == 'open' else f'`{t.then}`'}\n"
        for t in pack.triggers
    )
    parts = [
        f"## {pack.title} {pack.title_zh}\n\n{pack.about} Opened by: {begins}.\n",
        f"Events that open or move it:\n\n{triggers}" if triggers else "",
        f"```mermaid\n{mermaid(pack)}```\n",
        states_table(pack),
        actions_table(pack),
        clocks_table(pack),
        indicators_table(pack),
    ]
    return "\n".join(part for part in parts if part)


# -- cells


def _asked(action: Action) -> str:
    asked: list[str] = [*action.needs]
    asked += [f"{need}?" for need in action.optional]
    asked += [f"one of {' / '.join(group)}" for group in action.choose]
    asked += [f"{mark}: {', '.join(needs)}" for mark, needs in action.mark_needs.items()]
    asked += [f"only {field}: {' or '.join(values)}" for field, values in action.where.items()]
    asked += [f"once {mark}" for mark in action.when]
    asked += [f"unless {mark}" for mark in action.unless]
    asked += action.guards
    if action.level:
        asked.append(f"level {action.level}")
    return ", ".join(asked) or _NONE


def _clocks(action: Action) -> str:
    verbs = ("start", "stop", "resume", "meet", "extend", "restart")
    said = [f"{verb} {', '.join(getattr(action, verb))}" for verb in verbs if getattr(action, verb)]
    return "; ".join(said).replace("*", "all") or _NONE


def _amount(clock: Clock, rule: Rule | None = None) -> str:
    amount = rule.amount if rule else clock.amount
    kind = (rule.kind if rule else None) or clock.kind
    return f"{amount:g} {kind.replace('-', ' ')}" if amount else "as given"


def _warn(clock: Clock, rule: Rule | None = None) -> str:
    warn = clock.warn if rule is None or rule.warn is None else rule.warn
    return f"{warn:g}" if warn else _NONE


def _whose(rule: Rule) -> str:
    fields = ("category", "code_system", "severity", "level", "channel")
    said = {field.replace("_", " "): getattr(rule, field) for field in fields}
    return ", ".join(f"{field} {value}" for field, value in said.items() if value)


def _only(where: Mapping[str, tuple[str, ...]]) -> str:
    said = [f"{field} {' or '.join(values)}" for field, values in where.items()]
    return f" with {', '.join(said)}" if said else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    cells = ([cell.strip().replace("|", " or ") or _NONE for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _id(state: str) -> str:
    return state.replace("-", "_")

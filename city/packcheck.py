"""What is wrong with a pack, each with its place in the file and the mend.

Single rows are looked at by `city/packrows.py`; here is what only shows in the whole: states that nothing
reaches, ends that nothing leads to, clocks that may run out where nobody could say so.
"""

from collections.abc import Hashable, Iterable
from typing import TypeVar

from city.packrows import Problem, row_problems
from city.scenario import ALL, BACK, SAME, Action, Pack

T = TypeVar("T", bound=Hashable)


def problems(pack: Pack) -> list[Problem]:
    """What has to be mended before it can be used; empty: nothing. The whole is looked at once the rows are
    right."""
    found = list(row_problems(pack))
    return found or [*_states(pack), *_clocks(pack)]


def targets(pack: Pack, action: Action, state: str) -> frozenset[str]:
    """Where the action may lead from this state."""
    if action.to == SAME:
        return frozenset((state,))
    if action.to != BACK:
        return frozenset((action.to,))
    return frozenset(s for a in pack.actions if a.to == state for s in a.from_ if s != state)


def edges(pack: Pack) -> list[tuple[str, Action, str]]:
    """The table as state, action, state after it; asides go back to each state that leads into them."""
    return [
        (state, action, after)
        for action in pack.actions
        for state in action.from_
        for after in sorted(targets(pack, action, state))
    ]


def _states(pack: Pack) -> Iterable[Problem]:
    table = edges(pack)
    reached = _closure({pack.initial}, [(a, b) for a, _, b in table])
    ends = {name for name, state in pack.states.items() if state.final}
    ending = _closure(ends, [(b, a) for a, _, b in table])
    for name, state in pack.states.items():
        if name not in reached:
            yield Problem("states", name, f"nothing leads to {name}; give an action `to = {name!r}`")
        elif name not in ending:
            yield Problem(
                "states", name, f"{name} is a dead end; give it an action towards {' or '.join(sorted(ends))}"
            )
        if state.aside:
            if not any(a.to == BACK and name in a.from_ for a in pack.actions):
                yield Problem(
                    "states", name, f'no action goes back from the aside {name}; give one `to = "<"`'
                )
            for before, action, _ in [edge for edge in table if edge[2] == name and edge[0] != name]:
                if pack.states[before].aside:
                    text = f"{action.name} leads from the aside {before} into the aside {name}"
                    yield Problem("states", name, f"{text}, and the way back is lost; go back first")


def _clocks(pack: Pack) -> Iterable[Problem]:
    given = {rule.clock for rule in pack.deadlines}
    counted = {rule.clock for rule in pack.counted}
    for name, clock in pack.clocks.items():
        starts = name in pack.opening.start or any(name in (*a.start, *a.restart) for a in pack.actions)
        if not starts and name not in counted:
            yield Problem(
                "clocks", name, f"nothing starts {name}; name it in an action's `start`, or drop it"
            )
        if starts and not (clock.amount or clock.outranks or name in given):
            yield Problem("clocks", name, f"{name} has no amount and no [[deadlines]]; say how long it is")
        wanted = [pack.action(action) for action in (clock.on_overdue, clock.otherwise) if action]
        # What depends on the level, on marks or on people cannot be counted on.
        sure = [a for a in wanted if a and not (a.level or a.when or a.unless or a.where or a.guards)]
        silent = sorted(s for s in _running(pack, name) if not any(s in a.from_ for a in sure))
        if silent:
            yield Problem(
                "clocks",
                name,
                f"{name} may run out in {', '.join(silent)}, where nothing can be said of it; name an action "
                "from there as on-overdue or otherwise",
            )


def _running(pack: Pack, name: str) -> set[str]:
    """States in which the clock may run, whatever the cases' marks and people are."""
    start = {(pack.initial, "runs")} if name in pack.opening.start else set()
    steps: list[tuple[tuple[str, str], tuple[str, str]]] = []
    for before, action, after in edges(pack):
        counts = any(name == rule.clock and action.name in rule.actions for rule in pack.counted)
        for mode in ("none", "runs", "stopped"):
            then = "none" if pack.states[after].final else _after(pack, action, name, mode)
            steps.append(((before, mode), (after, then)))
            if counts and not pack.states[after].final:
                steps.append(((before, mode), (after, "runs")))
    start |= {(pack.initial, "none")}
    return {state for state, mode in _closure(start, steps) if mode == "runs"}


def _after(pack: Pack, action: Action, name: str, mode: str) -> str:
    every = not pack.clocks[name].outranks
    if name in action.meet:
        mode = "none"
    if mode == "runs" and (name in action.stop or (every and ALL in action.stop)):
        mode = "stopped"
    if mode == "stopped" and (name in action.resume or (every and ALL in action.resume)):
        mode = "runs"
    if name in action.restart or (name in action.start and mode == "none"):
        mode = "runs"
    return mode


def _closure(start: set[T], steps: Iterable[tuple[T, T]]) -> set[T]:
    """All that the steps reach."""
    ways: dict[T, list[T]] = {}
    for before, after in steps:
        ways.setdefault(before, []).append(after)
    found, todo = set(start), list(start)
    while todo:
        for after in ways.get(todo.pop(), ()):
            if after not in found:
                found.add(after)
                todo.append(after)
    return found

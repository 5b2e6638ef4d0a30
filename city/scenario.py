"""What a scenario's pack is made of: states, actions, clocks, triggers, layer, indicators. All of it is data.

`city.packs` reads one from its file, `city.steps` moves cases by it.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from events.civic import ClockKind, Fact
from events.payload import Place

Level = Literal["grid", "community", "town", "city"]
LEVELS: tuple[Level, ...] = ("grid", "community", "town", "city")
"""The four levels of circulation, lowest first. Above them is the platform of the prefecture, an upstream."""
Need = Literal[
    "note",
    "approver",
    "other",
    "holder",
    "helpers",
    "level",
    "area",
    "place",
    "category",
    "amount",
    "marks",
    "due",
    "sealed",
]
"""What a step of an action has to bring."""
SAME = "="
"""Target of an action that leaves the state as it is."""
BACK = "<"
"""Target of an action that goes back to the state from which an aside (parked, return asked) was entered."""
ALL = "*"
"""Every clock that runs, except those that outrank the others."""
SYSTEM = "system"
"""Role of what acts by itself: timers, triggers, adapters."""


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Base of what a pack's file has."""


class State(Part, frozen=True, kw_only=True):
    """Where a case can be."""

    title: str
    title_zh: str = ""
    stage: str = ""
    """Of digital city management's seven: collect, file, dispatch, handle, feed back, check, evaluate."""
    final: bool = False
    aside: bool = False
    """Entered from another state, to which it goes back (`to = "<"`)."""
    sign: Literal["none", "info", "minor", "major", "critical"] = "info"
    """How it shows on the map."""


class Clock(Part, frozen=True, kw_only=True):
    """Time within which something has to be done, unless `deadlines` say otherwise."""

    title: str
    title_zh: str = ""
    kind: ClockKind
    amount: float = 0.0
    """Hours, working hours or working days; 0: starts only where a due time is given (an upstream's) or a
    deadline of the table applies."""
    warn: float = 0.0
    """So much before (same unit) it is warned; 0: not."""
    on_warn: str = ""
    """Action that the timer takes then."""
    on_overdue: str = ""
    """Action that the timer takes when it has run out; where that cannot be (no higher level), `else_`."""
    otherwise: str = ""
    """Action instead of `on_overdue` where that is not possible."""
    outranks: bool = False
    """No other clock runs longer, and parking does not stop it."""
    source: str = ""
    """Where the figure is from."""


class Rule(Part, frozen=True, kw_only=True):
    """A deadline for some: the one with the longest category, then severity, level, channel applies."""

    clock: str
    category: str = ""
    """Beginning of the codes that it is for."""
    severity: str = ""
    level: str = ""
    channel: str = ""
    code_system: str = ""
    """Beginning of the name of the system that the category is of."""
    kind: ClockKind | None = None
    """None: the clock's own."""
    amount: float
    warn: float | None = None
    source: str = ""


class Action(Part, frozen=True, kw_only=True):
    """A step that can be taken: one row of the table."""

    name: str
    title: str
    title_zh: str = ""
    from_: tuple[str, ...] = msgspec.field(name="from")
    to: str
    """A state, `=` or `<`."""
    roles: tuple[str, ...]
    needs: tuple[Need, ...] = ()
    optional: tuple[Need, ...] = ()
    """What a step may bring as well; what is neither needed nor optional is refused. A note always may."""
    guards: tuple[str, ...] = ()
    """not-handler, not-asker, approver-apart: see `city.steps.GUARDS`."""
    where: Mapping[str, tuple[str, ...]] = {}
    """Only for cases whose field (or `detail`) has one of these values, e.g. channel = ["upstream"]."""
    when: tuple[str, ...] = ()
    """Only for cases with all of these marks."""
    unless: tuple[str, ...] = ()
    """Not for cases with any of these marks."""
    start: tuple[str, ...] = ()
    """Clocks that start, if they do not run yet."""
    stop: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    meet: tuple[str, ...] = ()
    extend: tuple[str, ...] = ()
    """By the step's `amount`, in the clock's unit."""
    restart: tuple[str, ...] = ()
    """From the beginning, whatever there was."""
    tells: Literal["", "warned", "overdue"] = ""
    """What is said of the clock that `detail.clock` names."""
    at_most: float = 0.0
    """Bound of the `amount`s of a case added up; 0: none."""
    level: Literal["", "up", "down", "any"] = ""
    handles: bool = False
    """Who takes it has handled the case; see the guard not-handler."""
    holder: Literal["keep", "set", "clear"] = "keep"
    """set: as the step says; clear: the level's desk has it."""
    mark: tuple[str, ...] = ()
    unmark: tuple[str, ...] = ()
    choose: tuple[tuple[str, ...], ...] = ()
    """Groups of marks from each of which the step may bring one; `needs = ["marks"]`: one of the first."""
    mark_needs: Mapping[str, tuple[Need, ...]] = {}
    """What a chosen mark asks for, e.g. duplicate = ["other"]."""
    effects: tuple[str, ...] = ()
    """What the desk does in the same commit: judgement, open:matter, reply-upstream ..."""

    @property
    def by_system(self) -> bool:
        """Whether timers and triggers may take it."""
        return SYSTEM in self.roles


class Trigger(Part, frozen=True, kw_only=True):
    """An event that opens a case, or takes a step of the case that has it as its cause."""

    event: str
    """Type, e.g. linli.alert.raised.v1."""
    where: Mapping[str, tuple[str, ...]] = {}
    """Only where the payload's field has one of these values."""
    then: str = "open"
    """open, or an action's name."""
    cause: str = "alert"
    """Field of the payload that names what it is about."""
    title: str = ""
    """Fields of the payload in braces, e.g. "{kind}: {rule}"."""
    category: str = ""
    """The same."""
    severity: str = ""
    """Field that has it; '': minor."""
    marks: Mapping[str, Mapping[str, str]] = {}
    """Field -> its value -> the mark that the step brings."""


class Counted(Part, frozen=True, kw_only=True):
    """Escalation by count: the n-th of these actions starts a clock that has run out at once."""

    actions: tuple[str, ...]
    count: int
    clock: str
    source: str = ""


class Layer(Part, frozen=True, kw_only=True):
    """How the scenario's cases lie on the map."""

    id: str
    title: str
    title_zh: str = ""
    public: bool = False
    """Whether cases whose kind is public may be shown to everybody (place, category, state)."""


class Indicator(Part, frozen=True, kw_only=True):
    """A share: of the cases for which all of `of` hold, those for which all of `count` hold."""

    id: str
    title: str
    title_zh: str = ""
    count: tuple[str, ...]
    """Facts: of `city.closure.FACTS`, any mark, or state:NAME; `!` before one: not; `a|b`: either."""
    of: tuple[str, ...] = ()


class OpeningRule(Part, frozen=True, kw_only=True):
    """How a case of the scenario begins."""

    roles: tuple[str, ...]
    needs: tuple[Literal["place", "area", "sealed", "reference", "cause", "estate", "component"], ...] = ()
    start: tuple[str, ...] = ()
    level: Level = "grid"
    public: tuple[str, ...] = ()
    """Beginnings of category codes that may be listed publicly."""
    defaults: Mapping[str, str] = {}
    """Of `detail`, e.g. kind = "help"."""


class Pack(Part, frozen=True, kw_only=True):
    """A scenario."""

    id: str
    title: str
    title_zh: str = ""
    about: str = ""
    initial: str
    opening: OpeningRule
    states: Mapping[str, State]
    actions: tuple[Action, ...]
    clocks: Mapping[str, Clock] = {}
    deadlines: tuple[Rule, ...] = ()
    counted: tuple[Counted, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    layer: Layer
    indicators: tuple[Indicator, ...] = ()
    effects: tuple[str, ...] = ()
    """Effects that actions may name; what the desk does not know it refuses at start."""
    digest: str = ""
    """SHA-256 of the file."""

    def action(self, name: str) -> Action | None:
        """The action of this name."""
        return next((a for a in self.actions if a.name == name), None)


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody reports."""

    category: str
    title: str = ""
    """In official words; '': the category's code."""
    code_system: str = ""
    severity: Literal["info", "minor", "major", "critical"] = "minor"
    level: Level | Literal[""] = ""
    """'': as the pack says."""
    area: str = ""
    place: Place | None = None
    holder: str = ""
    cause: str = ""
    component: str = ""
    estate: str = ""
    channel: str = ""
    reference: str = ""
    sealed: str = ""
    public: bool | None = None
    """None: as the pack says for its category."""
    occurred_us: int = 0
    due_us: int = 0
    """When a platform above wants it done; 0: it says nothing of it."""
    who: str = ""
    role: str = ""
    detail: Mapping[str, Fact] = {}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody does with a case."""

    action: str
    who: str = ""
    role: str = ""
    note: str = ""
    approver: str = ""
    other: str = ""
    holder: str = ""
    helpers: tuple[str, ...] = ()
    level: Level | Literal[""] = ""
    area: str = ""
    place: Place | None = None
    category: str = ""
    amount: float = 0.0
    """Of an extension, in the clock's unit."""
    due_us: int = 0
    """When a platform above wants it now."""
    marks: tuple[str, ...] = ()
    sealed: str = ""
    detail: Mapping[str, Fact] = {}

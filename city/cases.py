"""A case of a scenario, and how its events add up to it. `city.packs` says which steps there are."""

import msgspec

from city.scenario import LEVELS as LEVELS
from events.civic import CaseOpened, CaseStepped, Deadline, Fact
from events.errors import IllegalTransition
from events.payload import Place

HANDLED = "handled"
"""Key of a step's detail: who signed it has handled the case, as who signs a `handle`."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A case as of its last step."""

    case: str
    version: int
    """Sequence of its last event."""
    scenario: str
    pack: str
    state: str
    final: bool = False
    title: str
    category: str
    code_system: str = ""
    severity: str
    level: str
    area: str
    """Code of the smallest known jurisdiction; codes of what contains it are its beginnings."""
    place: Place | None = None
    holder: str = ""
    helpers: tuple[str, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    marks: tuple[str, ...] = ()
    cause: str = ""
    component: str = ""
    estate: str = ""
    channel: str = ""
    reference: str = ""
    sealed: str = ""
    public: bool = False
    other: str = ""
    """The case that it was merged into, is a duplicate of, or became."""
    opened_us: int
    updated_us: int
    occurred_us: int = 0
    closed_us: int = 0
    """When it last came to an end; 0: it is open."""
    opened_by: str = ""
    last_action: str = "open"
    last_by: str = ""
    handled_by: str = ""
    """Who signed the last step that handles: who checks must be somebody else."""
    counts: dict[str, int] = {}
    """How often each action was taken."""
    detail: dict[str, Fact] = {}

    @property
    def due_us(self) -> int:
        """When the first of the running clocks runs out; 0: none runs."""
        return min((d.due_us for d in self.deadlines if d.runs), default=0)

    @property
    def attention_us(self) -> int:
        """When a timer has to look at it next: a warning or a deadline that nothing was said of; 0: never."""
        found = 0
        for clock in self.deadlines:
            if not clock.runs or "overdue" in clock.told:
                continue
            at = clock.due_us
            if clock.warn_us and "warned" not in clock.told:
                at = min(clock.warn_us, at)
            if not found or at < found:
                found = at
        return found


def opened(case: str, time_us: int, data: CaseOpened) -> Case:
    """The case that an opening makes."""
    return Case(
        case=case,
        version=0,
        scenario=data.scenario,
        pack=data.pack,
        state=data.state,
        title=data.title,
        category=data.category,
        code_system=data.code_system,
        severity=data.severity,
        level=data.level,
        area=data.area,
        place=data.place,
        holder=data.holder,
        deadlines=data.deadlines,
        cause=data.cause,
        component=data.component,
        estate=data.estate,
        channel=data.channel,
        reference=data.reference,
        sealed=data.sealed,
        public=data.public,
        opened_us=time_us,
        updated_us=time_us,
        occurred_us=data.occurred_us,
        opened_by=data.who,
        last_by=data.who,
        detail=data.detail,
    )


def stepped(case: Case, version: int, time_us: int, data: CaseStepped) -> Case:
    """The case after a step.

    Raises:
        IllegalTransition: the step does not follow the case's last one.
    """
    if version != case.version + 1 or data.was != case.state:
        raise IllegalTransition(
            f"case {case.case}: step {version} from {data.was!r} does not follow step {case.version} "
            f"to {case.state!r}"
        )
    return msgspec.structs.replace(
        case,
        version=version,
        state=data.state,
        final=data.final,
        level=data.level,
        area=data.area,
        place=data.place,
        category=data.category,
        holder=data.holder,
        helpers=data.helpers,
        deadlines=data.deadlines,
        marks=data.marks,
        other=data.other or case.other,
        updated_us=time_us,
        closed_us=(case.closed_us or time_us) if data.final else 0,
        last_action=data.action,
        last_by=data.who,
        handled_by=data.who if data.action == "handle" or data.detail.get(HANDLED) else case.handled_by,
        counts=case.counts | {data.action: case.counts.get(data.action, 0) + 1},
        detail=case.detail | data.detail,
    )

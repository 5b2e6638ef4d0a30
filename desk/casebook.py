"""Cases as the journal has them: ahead of the store, and the word that counts for what acts by itself.

What timers, triggers and the platform above do is done once because each of its steps says what it answers
(`detail` "event"), and because a step follows the version that was read, or is not kept.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from city.cases import Case, opened, stepped
from events.civic import CaseOpened, CaseStepped, Deadline, Fact, case_source
from events.errors import VersionConflict
from events.events import Event
from events.ids import event_id
from storage.city.store import CityStore
from storage.journal import Journal

FAMILY = "case"
CAUSE = "event"
"""In a step's `detail`: id of the event or message that it answers."""


def folded(case_id: str, events: Iterable[Event]) -> Case | None:
    """The case that its events add up to; None: there are none."""
    case: Case | None = None
    for event in events:
        if isinstance(event.data, CaseOpened):
            case = opened(case_id, event.time_us, event.data)
        elif isinstance(event.data, CaseStepped) and case is not None:
            case = stepped(case, event.sequence, event.time_us, event.data)
    return case


class Story(msgspec.Struct, frozen=True):
    """A case with all that happened to it."""

    case: Case
    events: Sequence[Event]

    def answered(self, cause: str) -> bool:
        """Whether a step, or the opening, answers this event or message."""
        return any(
            isinstance(e.data, CaseOpened | CaseStepped) and e.data.detail.get(CAUSE) == cause
            for e in self.events
        )


class CaseBook:
    """Reads cases from the journal and writes what follows. From any thread.

    Args:
        site: id of the site, for events' sources.
    """

    def __init__(self, journal: Journal, store: CityStore, site: str) -> None:
        self._journal = journal
        self._store = store
        self.site = site

    def story(self, case_id: str) -> Story | None:
        """The case; None: there is none, or it came in a batch and nothing happened to it since."""
        events = self._journal.history(case_source(self.site, case_id), FAMILY)
        case = folded(case_id, events)
        return None if case is None else Story(case, events)

    def of_store(self, case: Case) -> Story:
        """The case that the store answered, as the journal has it now."""
        return self.story(case.case) or Story(case, ())

    def write(self, story: Story | str, time_us: int, data: CaseOpened | CaseStepped) -> bool:
        """Commit the next version of the case, or (by its id) its opening; False: that version is there
        already, by whoever it is.

        Raises:
            StorageError: nothing was committed.
        """
        id, version = (story, 0) if isinstance(story, str) else (story.case.case, story.case.version + 1)
        events = [self._event(id, version, time_us, data)]
        if isinstance(story, Story) and not story.events:  # it came in a batch, and has no beginning here
            events.insert(0, self._event(id, 0, story.case.opened_us, _beginning(story.case)))
        try:
            self._journal.append_next(events)
        except VersionConflict:
            return False
        return True

    def _event(self, id: str, version: int, time_us: int, data: CaseOpened | CaseStepped) -> Event:
        source = case_source(self.site, id)
        name = event_id(source, FAMILY, 0, version, str(data.detail.get(CAUSE, "")), data.who, time_us)
        return Event(id=name, source=source, time_us=time_us, epoch=0, sequence=version, data=data)


def _beginning(case: Case) -> CaseOpened:
    """The opening of a case that came in a batch."""
    same = {name: getattr(case, name) for name in CaseOpened.__struct_fields__ if hasattr(case, name)}
    return CaseOpened(**same, who=case.opened_by, role="channel")


def aside(
    case: Case,
    action: str,
    who: str,
    *,
    role: str = "system",
    note: str = "",
    deadlines: Sequence[Deadline] | None = None,
    detail: Mapping[str, Fact] | None = None,
) -> CaseStepped:
    """A step that leaves the case where it is, and needs no row in a pack: something is said of it."""
    return CaseStepped(
        action=action,
        was=case.state,
        state=case.state,
        final=case.final,
        level=case.level,  # type: ignore[arg-type]
        area=case.area,
        place=case.place,
        category=case.category,
        holder=case.holder,
        helpers=case.helpers,
        deadlines=case.deadlines if deadlines is None else tuple(deadlines),
        marks=case.marks,
        who=who,
        role=role,
        note=note,
        detail=dict(detail or {}),
    )

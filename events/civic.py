"""What a city's people do: cases that move, the map, the registers, the desk's own settings.

Nothing here names or describes a person: what does lies encrypted in an object that an event refers to
(`sealed`, `object`), under keys that never travel. Events of a case, of a place and of a register's entry
have it as their source and no stream: epoch 0, and the sequence is its version, so that of two people who
change the same thing at once one is told that the other was first.
"""

from typing import Literal

import msgspec

from events.payload import Payload, Place

Fact = str | int | float | bool
"""A value of a `detail`; never about a person."""

ClockKind = Literal["hours", "working-hours", "working-days"]


class Deadline(msgspec.Struct, frozen=True, kw_only=True):
    """One running, stopped or met clock of a case, as of the event that carries it."""

    name: str
    """As the pack calls it: sign, handle, check, total, upstream ..."""
    kind: ClockKind
    amount: float
    """In hours, working hours or working days, as declared or extended."""
    started_us: int
    due_us: int
    warn_us: int = 0
    """When to warn; 0: never."""
    stopped_us: int = 0
    """Parked since then; 0: it runs."""
    left: float = 0.0
    """While it is stopped: what is left of it, in the unit of `kind`; negative once it is overdue."""
    met_us: int = 0
    """When what it asks for was done; 0: not yet. It runs no more."""
    told: tuple[Literal["warned", "overdue"], ...] = ()
    """What has been said of it."""

    @property
    def runs(self) -> bool:
        """Whether time counts against it."""
        return not self.stopped_us and not self.met_us


class CaseOpened(Payload, frozen=True, kw_only=True, tag="linli.case.opened.v1"):
    """A case of a scenario begins: a video alert to be judged, a grid matter, a citizen's appeal ..."""

    scenario: str
    """The pack's id: video, matter, appeal, or a city's own."""
    pack: str
    """Digest of the pack under which it was opened."""
    state: str
    title: str
    """In official words, e.g. the category's name; never a citizen's."""
    category: str
    """Code of what it is about."""
    code_system: str = ""
    """Whose code that is, e.g. GB/T 30428.2-2013, local."""
    severity: Literal["info", "minor", "major", "critical"] = "minor"
    level: Literal["grid", "community", "town", "city"] = "grid"
    area: str = ""
    """Code of the smallest known jurisdiction: division code, then the grid's; '': not placed yet."""
    place: Place | None = None
    holder: str = ""
    """Organisation that has to act; '': the level's desk."""
    deadlines: tuple[Deadline, ...] = ()
    cause: str = ""
    """Id of the alert or case from which it came."""
    component: str = ""
    """Code of the city component that it is about."""
    estate: str = ""
    """Property estate that it lies in."""
    channel: str = ""
    """camera, grid, hotline, online, open311, council, inspection, upstream ..."""
    reference: str = ""
    """Its number in the system that it came from."""
    sealed: str = ""
    """Object with the reporter's own words and how to reach them, encrypted; '': nothing."""
    public: bool = False
    """Whether its kind may be listed publicly (place, category, state; never words)."""
    occurred_us: int = 0
    """When what it is about happened, if that is known and another time."""
    who: str
    """Grant, service or channel that opened it."""
    role: str
    detail: dict[str, Fact] = {}


class CaseStepped(Payload, frozen=True, kw_only=True, tag="linli.case.stepped.v1"):
    """A step of a case; it carries what holds after it, so that no reader needs the pack."""

    action: str
    """As the pack calls it: accept, dispatch, sign, return-request, park, merge, judge, warn, escalate ..."""
    was: str
    """State before."""
    state: str
    """State after."""
    final: bool = False
    """The state after it is an end (unless it is opened again)."""
    level: Literal["grid", "community", "town", "city"]
    area: str
    place: Place | None = None
    category: str
    holder: str
    helpers: tuple[str, ...] = ()
    """Organisations that handle it jointly with the holder."""
    deadlines: tuple[Deadline, ...] = ()
    marks: tuple[str, ...] = ()
    """Facts that hold from now on, all of them: called-back, solved, satisfied, unsolved, dissatisfied,
    parked, supervised, true, false, duplicate, exercise ..."""
    who: str
    """Signs the step."""
    role: str
    approver: str = ""
    """Who approved it, where that has to be somebody (parking, extension, return)."""
    other: str = ""
    """The case that it is merged into, a duplicate of, or became."""
    note: str = ""
    """In official words; nothing about persons."""
    sealed: str = ""
    """Object with words about or for a person (an answer, a visit), encrypted."""
    detail: dict[str, Fact] = {}


class PlacesImported(Payload, frozen=True, kw_only=True, tag="linli.place.imported.v1"):
    """Things of the map came in one batch."""

    what: str
    """jurisdiction, component, building, organisation, unit, estate, duty, station, camera, visit ..."""
    object: str
    """Key of the batch: JSON lines of `city.features.Feature`, sorted by id."""
    sha256: str
    """Of the object's bytes; the batch's identity: the same one again changes nothing."""
    rows: int
    rejected: int = 0
    origin: str = ""
    """The file's name, the survey."""
    complete: bool = False
    """What is of this kind and not in the batch is gone from its date on."""
    valid_us: int
    """From when on it holds."""
    who: str


class PlaceChanged(Payload, frozen=True, kw_only=True, tag="linli.place.changed.v1"):
    """One thing of the map was made, changed or removed."""

    what: str
    feature: str
    """Its id, unique for its kind."""
    body: str
    """`city.features.Feature` as JSON; '': it is gone."""
    valid_us: int
    who: str


class RegisterImported(Payload, frozen=True, kw_only=True, tag="linli.register.imported.v1"):
    """Entries of a register came in one encrypted batch: persons, homes, who lives where, appeals of a
    hotline."""

    what: str
    """person, household, home, tenancy, care, appeal ..."""
    object: str
    """Key of the encrypted batch."""
    sha256: str
    rows: int
    rejected: int = 0
    origin: str = ""
    purpose: str = ""
    who: str


class RegisterChanged(Payload, frozen=True, kw_only=True, tag="linli.register.changed.v1"):
    """One entry was made or changed."""

    what: str
    entry: str
    """Opaque reference."""
    object: str
    """Key of the encrypted entry."""
    who: str


class RegisterErased(Payload, frozen=True, kw_only=True, tag="linli.register.erased.v1"):
    """The key of an entry was destroyed: what was encrypted under it is gone, wherever it lies."""

    what: str
    entry: str
    reason: Literal["asked", "expired", "mistake"]
    who: str


class Rated(Payload, frozen=True, kw_only=True, tag="linli.desk.rated.v1"):
    """A merit or demerit of a property company, or what became of one."""

    entry: str
    state: Literal["entered", "contested", "upheld", "withdrawn"]
    company: str
    estate: str
    category: str
    points: float
    """Above 0: merit; below: demerit."""
    since_us: int
    expires_us: int
    cause: str = ""
    """The case or inspection that it comes from."""
    note: str = ""
    who: str


class DayChanged(Payload, frozen=True, kw_only=True, tag="linli.desk.day.v1"):
    """A day of the working calendar."""

    day: str
    """YYYY-MM-DD."""
    is_: Literal["holiday", "workday", "usual"] = msgspec.field(name="is")
    """usual: as the calendar's file says; a change is taken back."""
    name: str = ""
    who: str


def case_source(site: str, case: str) -> str:
    """CloudEvents source of a case."""
    return f"/{site}/case/{case}"


def place_source(site: str, what: str, id: str) -> str:
    """CloudEvents source of a thing of the map."""
    return f"/{site}/place/{what}:{id}"


def register_source(site: str, what: str, entry: str) -> str:
    """CloudEvents source of a register's entry."""
    return f"/{site}/register/{what}:{entry}"


def desk_source(site: str, thing: str = "desk") -> str:
    """CloudEvents source of the desk (its imports), or of a thing of its own: an entry of ratings, a day."""
    return f"/{site}/desk/{thing}"

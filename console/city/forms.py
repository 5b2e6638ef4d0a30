"""What the API of cases takes and gives."""

from typing import Annotated, Literal

import msgspec

from city.cases import Case
from events.civic import Fact
from events.payload import Place

PRINTED = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""A text without control characters."""
Line = Annotated[str, msgspec.Meta(max_length=200, pattern=PRINTED)]
"""One line."""
Text = Annotated[str, msgspec.Meta(max_length=4000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]
"""Lines of a person."""
Code = Annotated[str, msgspec.Meta(max_length=80, pattern=r"^[A-Za-z0-9_.:/+-]*$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_.-]+$")]
Version = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]
Lon = Annotated[float, msgspec.Meta(ge=-180, le=180)]
Lat = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Level = Literal["grid", "community", "town", "city"]
Names = Annotated[tuple[Line, ...], msgspec.Meta(max_length=20)]


class WordsForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words about or for a person. They are encrypted, and never part of an event or of a list."""

    text: Text = ""
    name: Line = ""
    phone: Line = ""
    email: Line = ""
    address: Line = ""
    media: Line = ""


class CaseForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case that somebody opens by hand. Without `place` and `area` it lies in the caller's jurisdiction."""

    scenario: Name
    category: Annotated[Code, msgspec.Meta(min_length=1)]
    title: Line = ""
    """In official words; the category's name by default."""
    severity: Literal["info", "minor", "major", "critical"] = "minor"
    area: Code = ""
    place: tuple[Lon, Lat] | None = None
    holder: Line = ""
    component: Code = ""
    estate: Code = ""
    cause: Code = ""
    reference: Line = ""
    occurred_us: Annotated[int, msgspec.Meta(ge=0, le=1 << 52)] = 0
    detail: dict[Name, bool | int | float | Line] = {}
    words: WordsForm | None = None
    key: Line = ""
    """The same one again opens nothing and answers the case that it opened."""


class StepForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step. `version` is what the caller saw, unless If-Match says it."""

    action: Name
    version: Version | None = None
    note: Line = ""
    """In official words; nothing about persons."""
    approver: Line = ""
    other: Code = ""
    holder: Line = ""
    helpers: Names = ()
    level: Level | Literal[""] = ""
    area: Code = ""
    place: tuple[Lon, Lat] | None = None
    category: Code = ""
    amount: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 0.0
    """Of an extension, in the unit of the clock."""
    marks: Names = ()
    detail: dict[Name, bool | int | float | Line] = {}
    words: WordsForm | None = None


class CaseShown(Case, frozen=True, kw_only=True):
    """A case as of its version; `due_us` is when the first running clock runs out, 0 if none runs."""

    due_us: int = 0
    words: bool = False
    """Whether words of a person belong to it; GET /cases/{id}/words reads them."""


class CasePage(msgspec.Struct, frozen=True, kw_only=True):
    """Cases, and what to send as `after` for those that follow; null: these are the last."""

    items: tuple[CaseShown, ...]
    next: str | None = None


class StepShown(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a case, signed."""

    version: int
    time_us: int
    action: str
    was: str = ""
    state: str
    level: str
    area: str
    holder: str = ""
    helpers: tuple[str, ...] = ()
    who: str
    role: str
    approver: str = ""
    other: str = ""
    note: str = ""
    marks: tuple[str, ...] = ()
    words: bool = False
    detail: dict[str, Fact] = {}


class StepList(msgspec.Struct, frozen=True, kw_only=True):
    """All steps of a case, the first one first."""

    items: tuple[StepShown, ...]


class ActionShown(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller may do with the case now."""

    name: str
    title: str
    title_zh: str = ""
    needs: tuple[str, ...] = ()
    """Values that the step must have."""
    optional: tuple[str, ...] = ()
    """Values that it may have as well."""
    marks: tuple[tuple[str, ...], ...] = ()
    """Groups of marks, from each of which the step may bring one."""


class ActionList(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller may do now; empty: nothing."""

    items: tuple[ActionShown, ...]


class WordsShown(msgspec.Struct, frozen=True, kw_only=True):
    """Words of the opening (version 0) or of a step; `erased`: their key is gone."""

    version: int
    erased: bool = False
    text: str = ""
    name: str = ""
    phone: str = ""
    email: str = ""
    address: str = ""
    media: str = ""


class WordsList(msgspec.Struct, frozen=True, kw_only=True):
    """All words that belong to a case."""

    items: tuple[WordsShown, ...]


class EraseWordsForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why what a person said is erased."""

    reason: Literal["asked", "mistake"]


class WordsErased(msgspec.Struct, frozen=True, kw_only=True):
    """Of which case; nobody reads them any more."""

    case: str
    again: bool
    """It had been done before."""


def shown(case: Case) -> CaseShown:
    """A case as the API shows it: with its due time, and without the keys of its words."""
    fields = {name: getattr(case, name) for name in Case.__struct_fields__}
    return CaseShown(**fields | {"sealed": ""}, due_us=case.due_us, words=bool(case.sealed))


def place_of(form: CaseForm | StepForm) -> Place | None:
    """The form's place, to the 7 digits that events have."""
    return None if form.place is None else (round(form.place[0], 7), round(form.place[1], 7))

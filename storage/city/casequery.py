"""What is asked of cases, and what is answered."""

from typing import Literal

import msgspec

from city.cases import Case
from events.civic import CaseOpened, CaseStepped

Order = Literal["opened", "due"]
Figure = Literal["opened", "closed", "on_time", "called_back", "solved", "satisfied", "reopened"]
Grouping = Literal["town", "category", "scenario", "day", "month", "community"]
Finding = Literal["re-clocked", "self-checked", "parked-then-closed"]

BBox = tuple[float, float, float, float]
"""West, south, east, north; degrees."""


class CaseQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which cases; all that is given must hold."""

    scenario: str = ""
    area: str = ""
    """Beginning of the code of the jurisdiction in which they lie."""
    town: str | None = None
    """First 9 digits of the code, all that there are; '': not placed. None: any."""
    community: str | None = None
    """First 12, the same."""
    state: str = ""
    open: bool | None = None
    """True: not at an end; False: closed."""
    overdue_at_us: int = 0
    """A clock of it had run out at this time and still runs; 0: any."""
    holder: str = ""
    """Organisation that holds it or helps."""
    category: str = ""
    level: str = ""
    severity: str = ""
    channel: str = ""
    opened_by: str = ""
    reference: str = ""
    """Its number elsewhere."""
    cause: str = ""
    """Id of the alert or case from which it came."""
    estate: str = ""
    public: bool | None = None
    bbox: BBox | None = None
    since_us: int = 0
    """Opened at or after; 0: whenever."""
    until_us: int = 0
    """Opened before; 0: whenever."""
    order: Order = "opened"
    """opened: the newest first; due: what is due first first (only cases with a running clock)."""


class Page(msgspec.Struct, frozen=True):
    """Some cases, and where to read on."""

    cases: tuple[Case, ...]
    after: str = ""
    """To be given for the next page; empty: there is none."""


class StepRow(msgspec.Struct, frozen=True):
    """One event of a case."""

    version: int
    time_us: int
    data: CaseOpened | CaseStepped


class ClosureRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the cases that were opened in a span; see `CaseTables.closure`."""

    key: str
    """Town's or community's code, category, scenario, day YYYY-MM-DD or month YYYY-MM."""
    opened: int
    closed: int
    on_time: int
    called_back: int
    solved: int
    satisfied: int
    reopened: int
    median_s: float | None
    """Time to close of those that are closed: half of them took no longer. From a histogram whose steps are
    a quarter to a half of their value; None: none is closed."""
    p90_s: float | None
    p99_s: float | None


class OverdueRow(msgspec.Struct, frozen=True):
    """Open cases of a level whose clock has run out."""

    scenario: str
    level: str
    overdue: int
    open: int


class SpotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A place (about 100 m wide) at which the same comes again."""

    spot: int
    place: tuple[float, float]
    """Middle of it."""
    category: str
    area: str
    """Of the last case there."""
    count: int
    last_us: int

"""Being built: signatures hold."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine

from city.cases import Case
from events.events import Event
from events.payload import Place
from storage.city.casequery import (
    CaseQuery,
    ClosureRow,
    Figure,
    Finding,
    Grouping,
    OverdueRow,
    Page,
    SpotRow,
    StepRow,
)


class CaseTables:
    """Cases, their steps, and what is counted of them."""

    def __init__(self, engine: Engine, features: Any, zone: str = "Asia/Shanghai") -> None:
        self._engine, self._features, self._zone = engine, features, zone

    def project(self, connection: Connection, events: Sequence[Event]) -> None:
        """CaseOpened and CaseStepped."""

    def project_imports(self, connection: Connection, events: Sequence[Event]) -> None:
        """RegisterImported of what='appeal': reads the batch and calls `bulk`."""

    def bulk(
        self,
        connection: Connection,
        cases: Iterable[Case],
        steps: Iterable[tuple[str, StepRow]] = (),
    ) -> int:
        """Insert many cases as they are, with (case id, step) of their history; cases that are here already
        are passed over with their steps. Answers how many were new."""
        raise NotImplementedError

    def case(self, id: str) -> Case | None:
        """The case; None: there is none."""
        raise NotImplementedError

    def cases(self, ids: Sequence[str]) -> dict[str, Case]:
        """Those of these that there are."""
        raise NotImplementedError

    def steps(self, id: str) -> list[StepRow]:
        """Its history, oldest first; empty: there is no such case."""
        raise NotImplementedError

    def page(self, query: CaseQuery, after: str = "", limit: int = 100) -> Page:
        """Some of the cases; `after`: of the page before."""
        raise NotImplementedError

    def count(self, query: CaseQuery, most: int = 10_000) -> int:
        """How many there are; it stops at `most`."""
        raise NotImplementedError

    def due(self, before_us: int, limit: int = 500) -> list[Case]:
        """Open cases of whose clocks something is to be told (a warning, that it ran out) up to this time,
        that was not told yet; the earliest first."""
        raise NotImplementedError

    def near(
        self, category: str, place: Place, metres: float, since_us: int, scenario: str = "", limit: int = 50
    ) -> list[Case]:
        """Cases of the category opened since, within so many metres, the nearest first."""
        raise NotImplementedError

    def closure(
        self, scenario: str, from_day: str, to_day: str, by: Grouping, area: str = ""
    ) -> list[ClosureRow]:
        """What became of the cases opened on these days (YYYY-MM-DD, both included), by key. `scenario`
        empty: of all."""
        raise NotImplementedError

    def behind(
        self,
        figure: Figure,
        query: CaseQuery,
        after: str = "",
        limit: int = 100,
    ) -> Page:
        """The cases that a figure of `closure` counts, among those of the query."""
        raise NotImplementedError

    def overdue(self, now_us: int, area: str = "") -> list[OverdueRow]:
        """Open cases and those with a clock that has run out, by scenario and level."""
        raise NotImplementedError

    def recurring(
        self, scenario: str, since_day: str, least: int = 3, area: str = "", limit: int = 100
    ) -> list[SpotRow]:
        """Places at which cases of one category were opened again and again since a day, most first."""
        raise NotImplementedError

    def findings(self, what: Finding, area: str = "", after: str = "", limit: int = 100) -> Page:
        """The auditor's lists, the latest first."""
        raise NotImplementedError

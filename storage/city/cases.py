"""Cases: projected from their events, found by whoever has to do with them, counted.

    store.cases.page(CaseQuery(holder="water-works", overdue_at_us=now, order="due"), limit=50)
    store.cases.closure("appeal", "2023-01-01", "2025-12-31", "town")

Lists are read by their keys, page by page, from an index; figures come from sums that are kept as cases
change (`storage.city.casecounts`).
"""

from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec
from sqlalchemy import Connection, Engine, Table, func, select

from city.cases import Case
from city.closure import bit
from events import codec
from events.civic import CaseOpened, CaseStepped
from events.events import Event
from events.payload import Place
from storage.city.casecounts import BY_CATEGORY, BY_COMMUNITY, BY_MONTH, BY_TOWN, SPOTS, Days
from storage.city.casefigures import closure, overdue, recurring, row_query
from storage.city.casefind import closed, count, due, findings, near, page, scenarios
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
from storage.city.casetables import CASES, EARLY, FINDINGS, OPEN, ORGS, STEPS, case_of
from storage.city.casewrites import CaseWrites, Folded, touched
from storage.city.engine import among, load, reading
from storage.city.features import FeatureTables

_AT_ONCE = 5000
_steps = msgspec.json.Decoder(CaseOpened | CaseStepped)


class CaseTables:
    """Cases, their steps, and what is counted of them. Queries raise StorageError.

    Args:
        features: the map, on which cases are shown.
        zone: of the days by which is counted.
    """

    def __init__(self, engine: Engine, features: FeatureTables, zone: str = "Asia/Shanghai") -> None:
        self._engine = engine
        self._features = features
        self._days = Days(zone)

    # -- projections

    def project(self, connection: Connection, events: Sequence[Event]) -> None:
        """CaseOpened and CaseStepped, in order. What was projected before changes nothing. Steps of a case
        that is not here yet wait for it: a batch of cases comes by another log.

        Raises:
            Refused: an event does not follow the case's last one.
            StorageError: of the database.
        """
        writes = CaseWrites(connection, self._features, self._days)
        folded = Folded(writes.known(touched(events)))
        for event in events:
            folded.add(event)
        folded.late(writes.waiting(folded.after.keys() - folded.before.keys()))
        writes.write(folded)

    def bulk(
        self,
        connection: Connection,
        cases: Iterable[Case],
        steps: Iterable[tuple[str, StepRow]] = (),
    ) -> int:
        """Insert many cases as they are; those that are here already are passed over.

        Args:
            steps: id of the case and step, each step once: their history, for the new ones.

        Returns:
            How many were new.

        Raises:
            StorageError: of the database.
        """
        writes = CaseWrites(connection, self._features, self._days)
        fresh: set[str] = set()
        left = iter(cases)
        while some := {case.case: case for case in islice(left, _AT_ONCE)}:
            new = some.keys() - writes.known(list(some)).keys()
            writes.insert(some[id_] for id_ in new)
            fresh |= new
            if late := writes.waiting(new):
                folded = Folded({id_: some[id_] for id_ in late})
                folded.late(late)
                writes.write(folded)
        history = (row for row in steps if row[0] in fresh)
        while rows := list(islice(history, _AT_ONCE)):
            load(
                connection,
                STEPS,
                ("case", "version", "time_us", "body"),
                [(id_, s.version, s.time_us, codec.encode_data(s.data).decode()) for id_, s in rows],
            )
        return len(fresh)

    @staticmethod
    def tables() -> tuple[Table, ...]:
        """All that is of cases."""
        sums = (BY_TOWN, BY_CATEGORY, BY_MONTH, BY_COMMUNITY, SPOTS)
        return (CASES, OPEN, ORGS, STEPS, EARLY, FINDINGS, *sums)

    # -- one case

    def case(self, id: str) -> Case | None:
        """The case; None: there is none."""
        return self.cases([id]).get(id)

    def cases(self, ids: Sequence[str]) -> dict[str, Case]:
        """Those of these that there are."""
        with reading(self._engine) as connection:
            found = connection.execute(
                select(CASES.c.case, CASES.c.doc).where(among(connection, CASES.c.case, ids))
            )
            return {id_: case_of(doc) for id_, doc in found}

    def steps(self, id: str) -> list[StepRow]:
        """Its history, oldest first; empty: there is no such case."""
        asked = select(STEPS.c.version, STEPS.c.time_us, STEPS.c.body)
        with reading(self._engine) as connection:
            found = connection.execute(asked.where(STEPS.c.case == id).order_by(STEPS.c.version))
            return [StepRow(version, time_us, _steps.decode(body)) for version, time_us, body in found]

    def waiting(self) -> int:
        """How many steps wait for cases that are not here yet. For longer than a log is behind: something of
        the logs is missing."""
        with reading(self._engine) as connection:
            return int(connection.execute(select(func.count()).select_from(EARLY)).scalar_one())

    # -- lists

    def page(self, query: CaseQuery, after: str = "", limit: int = 100) -> Page:
        """Some of the cases.

        Args:
            after: of the page before.

        Raises:
            ValueError: `after` is of no page.
        """
        with reading(self._engine) as connection:
            return page(connection, query, after, limit)

    def count(self, query: CaseQuery, most: int = 10_000) -> int:
        """How many there are; counting stops at `most`."""
        with reading(self._engine) as connection:
            return count(connection, query, most)

    def due(self, before_us: int, limit: int = 500) -> list[Case]:
        """Open cases of whose clocks something is to be told (a warning, that it ran out) up to this time
        that was not told yet; the earliest first."""
        with reading(self._engine) as connection:
            return due(connection, before_us, limit)

    def closed(self, scenario: str, before_us: int, after: str = "", limit: int = 500) -> Page:
        """Cases of a scenario that came to their end before this time, the earliest first. `after`: of the
        page before."""
        with reading(self._engine) as connection:
            return closed(connection, scenario, before_us, after, limit)

    def scenarios(self) -> list[str]:
        """Those of which there are cases."""
        with reading(self._engine) as connection:
            return scenarios(connection)

    def near(
        self, category: str, place: Place, metres: float, since_us: int, scenario: str = "", limit: int = 50
    ) -> list[Case]:
        """Cases of the category opened at or after `since_us` within so many metres, the nearest first."""
        with reading(self._engine) as connection:
            asked = CaseQuery(category=category, scenario=scenario, since_us=since_us)
            return near(connection, asked, place, metres)[:limit]

    # -- figures

    def closure(
        self, scenario: str, from_day: str, to_day: str, by: Grouping, area: str = ""
    ) -> list[ClosureRow]:
        """What became of the cases that were opened on these days (YYYY-MM-DD, both included), by key.

        Args:
            scenario: empty: all.
            area: beginning of a jurisdiction's code: only cases there.

        Raises:
            ValueError: a day is none.
        """
        with reading(self._engine) as connection:
            return closure(connection, self._days, scenario, (from_day, to_day), by, area)

    def row(self, scenario: str, days: tuple[str, str], by: Grouping, key: str, area: str = "") -> CaseQuery:
        """The cases that a row of `closure` counts, for `page` and `behind`.

        Args:
            days: the first and the last, as they were asked for.
        """
        return row_query(self._days, scenario, days, by, key, area)

    def behind(  # noqa: PLR0913 - as `closure`, and which of its figures
        self,
        figure: Figure,
        scenario: str,
        from_day: str,
        to_day: str,
        by: Grouping,
        key: str,
        area: str = "",
        after: str = "",
        limit: int = 100,
    ) -> Page:
        """The cases that a figure of `closure` counts in the row of this key, the newest first."""
        query = self.row(scenario, (from_day, to_day), by, key, area)
        with reading(self._engine) as connection:
            return page(connection, query, after, limit, bit(figure))

    def overdue(self, now_us: int, area: str = "") -> list[OverdueRow]:
        """Open cases, and of them those with a clock that has run out, by scenario and level."""
        with reading(self._engine) as connection:
            return overdue(connection, now_us, area)

    def recurring(
        self, scenario: str, since_day: str, least: int = 3, area: str = "", limit: int = 100
    ) -> list[SpotRow]:
        """Places at which cases of one category were opened again and again since the month of this day,
        the most first."""
        with reading(self._engine) as connection:
            return recurring(connection, scenario, since_day, least, area, limit)

    def findings(self, what: Finding, area: str = "", after: str = "", limit: int = 100) -> Page:
        """The auditor's lists, the latest first."""
        with reading(self._engine) as connection:
            return findings(connection, what, area, after, limit)

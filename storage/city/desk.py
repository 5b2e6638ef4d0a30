"""What the desk itself keeps: days of the working calendar that people changed, and entries of ratings.

    store.desk.ratings(rules, estates, now_us)      # company x estate, each point with its case

What follows from cases is worked out when it is asked for, by the rules as they are then, and is not kept;
what people say of such an entry (contested, withdrawn) takes its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Engine, Index, String, Table, Text, select

from city.cases import Case
from city.estates import Estate
from city.ratings import DAY_US, Entry, Rating, RatingRules, derived, merged, rated
from events.civic import DayChanged, Rated
from events.events import Event
from storage.city.casetables import CASES, case_of
from storage.city.engine import reading, upsert
from storage.city.metadata import METADATA

DAYS = Table(
    "city_days",
    METADATA,
    Column("day", String, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("is", String, nullable=False),
    Column("name", String, nullable=False),
    Column("who", String, nullable=False),
    Column("time_us", BigInteger, nullable=False),
)

ENTRIES = Table(
    "city_rated",
    METADATA,
    Column("entry", String, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("company", String, nullable=False),
    Column("estate", String, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("city_rated_by_estate", "estate"),
    Index("city_rated_by_company", "company"),
)

SAID = Table(
    "city_rated_said",
    METADATA,
    Column("entry", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("time_us", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)
"""All that was said of an entry, in order."""

_AT_ONCE = 500
_Row = dict[str, Any]
_encoder = msgspec.json.Encoder()
_entry = msgspec.json.Decoder(Entry)
_said = msgspec.json.Decoder(Rated)


class DayRow(msgspec.Struct, frozen=True, kw_only=True):
    """A day that people changed."""

    day: str
    is_: str = msgspec.field(name="is")
    """holiday, workday, or usual: it was changed, and changed back."""
    name: str
    who: str
    time_us: int


class DeskTables:
    """See the module's text. Queries raise StorageError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def project(self, connection: Connection, events: Sequence[Event]) -> None:
        """Rated and DayChanged, in order. What was projected before changes nothing.

        Raises:
            StorageError: of the database.
        """
        days: dict[str, _Row] = {}
        entries: dict[str, _Row] = {}
        said: list[_Row] = []
        for event in events:
            data = event.data
            row: _Row = {"sequence": event.sequence}
            if isinstance(data, DayChanged):
                row |= {"day": data.day, "is": data.is_, "name": data.name, "who": data.who}
                days[data.day] = row | {"time_us": event.time_us}
            elif isinstance(data, Rated):
                body = _encoder.encode(data).decode()
                said.append(row | {"entry": data.entry, "time_us": event.time_us, "body": body})
                row |= {"entry": data.entry, "company": data.company, "estate": data.estate}
                entries[data.entry] = row | {"expires_us": data.expires_us, "body": _body(data)}
        upsert(connection, DAYS, _newer(connection, DAYS, days))
        upsert(connection, ENTRIES, _newer(connection, ENTRIES, entries))
        upsert(connection, SAID, said)

    # -- days

    def days(self) -> dict[str, tuple[str, str]]:
        """Days that people changed, for `Calendar.with_days`."""
        return {row.day: (row.is_, row.name) for row in self.day_rows()}

    def day_rows(self) -> list[DayRow]:
        """The same, with who changed them and when, by day."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(DAYS).order_by(DAYS.c.day)).mappings()
            return [
                DayRow(day=r["day"], is_=r["is"], name=r["name"], who=r["who"], time_us=r["time_us"])
                for r in rows
            ]

    # -- ratings

    def ratings(self, rules: RatingRules, estates: Iterable[Estate], now_us: int) -> list[Rating]:
        """The ratings of the estates' companies, as they are now, in the order of the estates. Estates
        without a company, or beyond its contract, have none."""
        some = [estate for estate in estates if estate.company and estate.under_contract(now_us)]
        found: list[Rating] = []
        for first in range(0, len(some), _AT_ONCE):
            part = some[first : first + _AT_ONCE]
            entries = self._entries(rules, part, now_us)
            found += [rated(rules, estate, entries.get(estate.id, ()), now_us) for estate in part]
        return found

    def rating(self, rules: RatingRules, estate: Estate, now_us: int) -> Rating | None:
        """The rating of one; None: it has no company now."""
        return next(iter(self.ratings(rules, (estate,), now_us)), None)

    def entry(self, rules: RatingRules, estate: Estate, entry: str, now_us: int) -> Entry | None:
        """An entry of the estate, of whatever company and state; None: there is none."""
        entries = self._entries(rules, (estate,), now_us).get(estate.id, ())
        return next((found for found in entries if found.entry == entry), None)

    def said(self, entry: str) -> list[tuple[int, Rated]]:
        """What was said of an entry, with when, in order."""
        with reading(self._engine) as connection:
            query = select(SAID.c.time_us, SAID.c.body).where(SAID.c.entry == entry).order_by(SAID.c.sequence)
            return [(time_us, _said.decode(body)) for time_us, body in connection.execute(query)]

    def _entries(
        self, rules: RatingRules, estates: Sequence[Estate], now_us: int
    ) -> Mapping[str, Sequence[Entry]]:
        """All entries, by estate: what follows from cases, and what people said."""
        since_us = now_us - max((rule.days for rule in rules.rules), default=0) * DAY_US
        ids = [estate.id for estate in estates]
        scenarios = sorted({rule.scenario for rule in rules.rules})
        with reading(self._engine) as connection:
            cases = _grouped(_cases(connection, ids, scenarios, since_us))
            query = select(ENTRIES.c.estate, ENTRIES.c.body).where(ENTRIES.c.estate.in_(ids))
            rows = [(estate, _entry.decode(body)) for estate, body in connection.execute(query)]
        said: dict[str, list[Entry]] = {}
        for estate, entry in rows:
            said.setdefault(estate, []).append(entry)
        return {
            estate.id: merged(derived(rules, estate, cases.get(estate.id, ())), said.get(estate.id, ()))
            for estate in estates
        }


def _body(data: Rated) -> str:
    """The entry as of this event."""
    return _encoder.encode(Entry(**{name: getattr(data, name) for name in Entry.__struct_fields__})).decode()


def _cases(
    connection: Connection, estates: Sequence[str], scenarios: Sequence[str], since_us: int
) -> list[Case]:
    query = select(CASES.c.doc).where(
        CASES.c.estate != "",  # as the index says
        CASES.c.estate.in_(estates),
        CASES.c.scenario.in_(scenarios),
        CASES.c.opened_us > since_us,
    )
    return [case_of(doc) for doc in connection.execute(query).scalars()]


def _grouped(cases: Iterable[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.estate, []).append(case)
    return found


def _newer(connection: Connection, table: Table, rows: Mapping[str, _Row]) -> list[_Row]:
    """The rows that are newer than what is there."""
    if not rows:
        return []
    key = next(iter(table.primary_key))
    query = select(key, table.c.sequence).where(key.in_(list(rows)))
    known = {str(row[0]): int(row[1]) for row in connection.execute(query)}
    return [row for name, row in rows.items() if int(row["sequence"]) > known.get(name, -1)]

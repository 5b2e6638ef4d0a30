"""Finds cases: lists by their keys, page by page, each from the smallest table that has them all."""

from collections.abc import Iterable, Sequence
from math import asin, cos, radians, sin, sqrt
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from city.cases import Case
from city.closure import rows
from events.payload import Place
from storage.city.casequery import BBox, CaseQuery, Finding, Page
from storage.city.casetables import CASES, FINDINGS, OPEN, ORGS, case_of

_EXACT = (
    *("scenario", "state", "category", "level", "severity", "channel", "opened_by"),
    *("reference", "cause", "estate"),
)
_FILLED = ("reference", "cause", "estate")
_MOST_ROWS = 64
"""A box over more rows of spots is looked for without them."""
_EARTH_M = 6_371_008.8
_METRES = 111_320.0
"""Of a degree of latitude."""

Condition = ColumnElement[bool]


def page(connection: Connection, query: CaseQuery, after: str, limit: int, facts: int = 0) -> Page:
    """`CaseTables.page`; of these only cases with one of the facts (0: all)."""
    asked, at, id_ = _keys(query, facts)
    if after:
        beyond = tuple_(at, id_) > _token(after) if query.order == "due" else tuple_(at, id_) < _token(after)
        asked = asked.where(beyond)
    first = at.op("+")(0) if _few(query) else at  # not in the order of an index over all
    order = (first, id_) if query.order == "due" else (first.desc(), id_.desc())
    found = connection.execute(asked.order_by(*order).limit(limit + 1)).all()
    return _page(connection, [(id_, at) for id_, at in found], limit)


def count(connection: Connection, query: CaseQuery, most: int) -> int:
    """`CaseTables.count`."""
    asked, _, _ = _keys(query, 0)
    return int(
        connection.execute(select(func.count()).select_from(asked.limit(most).subquery())).scalar_one()
    )


def sizes(connection: Connection) -> tuple[int, int]:
    """How many cases there are, and how many of them are open."""
    every, still = (select(func.count()).select_from(table) for table in (CASES, OPEN))
    return int(connection.execute(every).scalar_one()), int(connection.execute(still).scalar_one())


def due(connection: Connection, before_us: int, limit: int) -> list[Case]:
    """`CaseTables.due`."""
    next_us = OPEN.c.next_us
    asked = select(OPEN.c.case).where(next_us > 0, next_us <= before_us).order_by(next_us).limit(limit)
    return _docs(connection, connection.execute(asked).scalars())


def closed(connection: Connection, scenario: str, before_us: int, after: str, limit: int) -> Page:
    """`CaseTables.closed`."""
    at, id_ = CASES.c.closed_us, CASES.c.case
    asked = select(id_, at).where(CASES.c.scenario == scenario, at > 0, at < before_us)
    if after:
        asked = asked.where(tuple_(at, id_) > _token(after))
    found = connection.execute(asked.order_by(at, id_).limit(limit + 1)).all()
    return _page(connection, [(id_, at) for id_, at in found], limit)


def scenarios(connection: Connection) -> list[str]:
    """`CaseTables.scenarios`: the next one after each, by the index."""
    found: list[str] = []
    while True:
        asked = select(func.min(CASES.c.scenario)).where(CASES.c.scenario > (found[-1] if found else ""))
        following = connection.execute(asked).scalar()
        if following is None:
            return found
        found.append(str(following))


def near(connection: Connection, query: CaseQuery, place: Place, metres: float) -> list[Case]:
    """`CaseTables.near`."""
    lon, lat = place
    high = metres / _METRES
    wide = high / max(cos(radians(lat)), 0.01)
    where = [*_conditions(query, CASES), *_inside((lon - wide, lat - high, lon + wide, lat + high), CASES)]
    found = [
        (distance_m(place, case.place), case)
        for case in map(case_of, connection.execute(select(CASES.c.doc).where(*where)).scalars())
        if case.place is not None
    ]
    return [case for far, case in sorted(found, key=lambda pair: (pair[0], pair[1].case)) if far <= metres]


def findings(connection: Connection, what: Finding, area: str, after: str, limit: int) -> Page:
    """`CaseTables.findings`."""
    at, id_ = FINDINGS.c.at_us, FINDINGS.c.case
    asked = select(id_, at).where(FINDINGS.c.what == what)
    if area:
        asked = asked.join(CASES, CASES.c.case == id_).where(*within(CASES, area))
    if after:
        asked = asked.where(tuple_(at, id_) < _token(after))
    found = connection.execute(asked.order_by(at.desc(), id_.desc()).limit(limit + 1)).all()
    return _page(connection, [(id_, at) for id_, at in found], limit)


def within(table: Table, area: str) -> list[Condition]:
    """The cases of a table that lie in a jurisdiction."""
    if not area:
        return []
    found: list[Condition] = []
    if len(area) >= 12:
        found.append(table.c.community == area[:12])
    elif len(area) >= 9:
        found.append(table.c.town == area[:9])
    if len(area) not in (9, 12):
        found.append(func.substr(table.c.area, 1, len(area)) == area)
    return found


def distance_m(one: Place, other: Place) -> float:
    """Metres between two places (haversine; R. W. Sinnott, Sky and Telescope 68, 1984)."""
    (lon1, lat1), (lon2, lat2) = (tuple(map(radians, place)) for place in (one, other))
    half = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_M * asin(min(1.0, sqrt(half)))


def _keys(query: CaseQuery, facts: int) -> tuple[Select[Any], ColumnElement[Any], ColumnElement[str]]:
    """A query for ids with what they are ordered by, and these two columns."""
    by_due = query.order == "due" or bool(query.overdue_at_us)
    table = OPEN if (query.open is True or by_due) and not facts else CASES
    if by_due and facts:
        raise ValueError("what stands behind a figure comes in the order of opening")
    keys = ORGS if query.holder else table
    at = keys.c.due_us if query.order == "due" else keys.c.opened_us
    asked = select(keys.c.case, at)
    if query.holder:
        asked = asked.join(table, and_(table.c.case == keys.c.case)).where(keys.c.org == query.holder)
    if by_due:
        asked = asked.where(keys.c.due_us > 0)
    if query.overdue_at_us:
        asked = asked.where(keys.c.due_us < query.overdue_at_us)
    if table is CASES and query.open is not None:
        asked = asked.where(table.c.final.is_(not query.open))
    if facts:
        asked = asked.where(table.c.facts.op("&")(facts) != 0)
    if query.since_us:  # of the table by which it is ordered, too, or the index is read from its end
        asked = asked.where(keys.c.opened_us >= query.since_us)
    if query.until_us:
        asked = asked.where(keys.c.opened_us < query.until_us)
    return asked.where(*_conditions(query, table)), at, keys.c.case


def _conditions(query: CaseQuery, table: Table) -> list[Condition]:
    found = [table.c[name] == value for name in _EXACT if (value := getattr(query, name))]
    # As their indexes say it: those are of what is filled in alone.
    found += [table.c[name] != literal_column("''") for name in _FILLED if getattr(query, name)]
    found += within(table, query.area)
    if query.town is not None:
        found.append(table.c.town == query.town)
    if query.community is not None:
        found.append(table.c.community == query.community)
    if query.public is not None:
        found.append(table.c.public.is_(query.public))
    if query.since_us:
        found.append(table.c.opened_us >= query.since_us)
    if query.until_us:
        found.append(table.c.opened_us < query.until_us)
    if query.bbox is not None:
        found += _inside(query.bbox, table)
    return found


def _inside(box: BBox, table: Table) -> list[Condition]:
    west, south, east, north = box
    found: list[Condition] = [table.c.lon.between(west, east), table.c.lat.between(south, north)]
    if _small(box):
        spans = rows(*box)
        found.append(or_(*(table.c.spot.between(first, last) for first, last in spans)))
    return found


def _small(box: BBox) -> bool:
    return (box[3] - box[1]) * 1000 < _MOST_ROWS


def _few(query: CaseQuery) -> bool:
    """Whether it is found by what it says, and then put in order."""
    return (query.bbox is not None and _small(query.bbox)) or any(getattr(query, name) for name in _FILLED)


def _docs(connection: Connection, ids: Iterable[str]) -> list[Case]:
    """The cases, in this order."""
    order = list(ids)
    if not order:
        return []
    found = dict(connection.execute(select(CASES.c.case, CASES.c.doc).where(CASES.c.case.in_(order))).all())
    return [case_of(found[id_]) for id_ in order]


def _page(connection: Connection, found: Sequence[tuple[str, int]], limit: int) -> Page:
    some = found[:limit]
    after = f"{some[-1][1]}.{some[-1][0]}" if len(found) > limit else ""
    return Page(tuple(_docs(connection, (id_ for id_, _ in some))), after)


def _token(after: str) -> tuple[int, str]:
    at, point, id_ = after.partition(".")
    if not point or not at.isascii() or not at.removeprefix("-").isdigit():
        raise ValueError(f"{after[:60]!r} is no page's `after`")
    return int(at), id_

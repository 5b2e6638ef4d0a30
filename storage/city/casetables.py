"""The tables of cases, and a case as rows of them.

`cases` has all, `case_open` again those that are not at an end, with their clocks: what people work with is
found among thousands and not among millions. `case_orgs` has who holds a case or helps, now or at its end.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)

from city.cases import Case
from city.closure import facts, spot, step_of
from storage.city.metadata import METADATA, WORD

Row = tuple[Any, ...]

TEXTS = (
    *("scenario", "category", "area", "town", "community", "state", "level", "severity", "holder", "channel"),
    *("opened_by", "reference", "cause", "estate"),
)
COMMON = ("case", *TEXTS, "public", "opened_us", "lon", "lat", "spot")
"""Columns that queries filter by, of both tables."""
OF_CASES = (*COMMON, "version", "updated_us", "closed_us", "final", "facts", "step", "doc")
OF_OPEN = (*COMMON, "due_us", "next_us")
OF_ORGS = ("org", "case", "opened_us", "due_us")


def _common() -> list[Column[Any]]:
    return [
        Column("case", WORD, primary_key=True),
        *(Column(name, WORD, nullable=False) for name in TEXTS),
        Column("public", Boolean, nullable=False),
        Column("opened_us", BigInteger, nullable=False),
        Column("lon", Float),
        Column("lat", Float),
        Column("spot", BigInteger),
    ]


CASES = Table(
    "cases",
    METADATA,
    *_common(),
    Column("version", Integer, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("facts", Integer, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("doc", Text, nullable=False),
    Index("cases_by_time", "opened_us", "case"),
    Index("cases_by_scenario", "scenario", "opened_us", "case"),
    Index("cases_by_town", "town", "opened_us", "case"),
    Index("cases_by_community", "community", "opened_us", "case"),
    Index("cases_by_spot", "spot"),
    # For those whose time to be kept is up; what is open is not in it.
    Index(
        "cases_by_close",
        "scenario",
        "closed_us",
        "case",
        sqlite_where=text("closed_us > 0"),
        postgresql_where=text("closed_us > 0"),
    ),
    # Steps change nothing that is indexed: with room on its page PostgreSQL leaves the indexes alone.
    postgresql_with={"fillfactor": "85"},
)
for _name in ("reference", "cause", "estate"):
    _filled = CASES.c[_name] != ""
    Index(f"cases_by_{_name}", CASES.c[_name], sqlite_where=_filled, postgresql_where=_filled)

OPEN = Table(
    "case_open",
    METADATA,
    *_common(),
    Column("due_us", BigInteger, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Index("case_open_by_time", "opened_us", "case"),
    Index("case_open_by_due", "due_us", "case"),
    Index("case_open_by_next", "next_us"),
    Index("case_open_by_town", "town", "due_us", "case"),
    Index("case_open_by_community", "community", "due_us", "case"),
    postgresql_with={"fillfactor": "70"},
)

ORGS = Table(
    "case_orgs",
    METADATA,
    Column("org", WORD, primary_key=True),
    Column("case", WORD, primary_key=True),
    Column("opened_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Index("case_orgs_by_time", "org", "opened_us", "case"),
)
_runs = ORGS.c.due_us > 0
Index("case_orgs_by_due", "org", "due_us", "case", _table=ORGS, sqlite_where=_runs, postgresql_where=_runs)

STEPS = Table(
    "case_steps",
    METADATA,
    Column("case", WORD, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("time_us", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)

EARLY = Table(
    "case_early",
    METADATA,
    Column("case", WORD, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Steps of cases that are not here yet: a batch of cases comes by another log than their steps."""

FINDINGS = Table(
    "case_findings",
    METADATA,
    Column("what", WORD, primary_key=True),
    Column("case", WORD, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Index("case_findings_by_time", "what", "at_us", "case"),
)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Case)


def case_of(doc: str) -> Case:
    """The case in a row's `doc`."""
    return _decoder.decode(doc)


def common(case: Case) -> Row:
    """Values of `COMMON`."""
    lon, lat = case.place or (None, None)
    return (
        case.case,
        case.scenario,
        case.category,
        case.area,
        case.area[:9],
        case.area[:12],
        case.state,
        case.level,
        case.severity,
        case.holder,
        case.channel,
        case.opened_by,
        case.reference,
        case.cause,
        case.estate,
        case.public,
        case.opened_us,
        lon,
        lat,
        spot(case.place) if case.place else None,
    )


def of_case(case: Case, known: Row) -> Row:
    """Values of `OF_CASES`. `known`: its `common`."""
    doc = _encoder.encode(case).decode()
    if "\\u0000" in doc:  # PostgreSQL's text has no such character; JSON spells it
        known = plain(known)
    return (
        *known,
        case.version,
        case.updated_us,
        case.closed_us,
        case.final,
        facts(case),
        step_of(case),
        doc,
    )


def of_open(case: Case, known: Row) -> Row:
    """Values of `OF_OPEN`."""
    return (*plain(known), case.due_us, case.attention_us)


def of_orgs(case: Case) -> dict[str, Row]:
    """Values of `OF_ORGS` by organisation."""
    if not case.holder and not case.helpers:
        return {}
    due = 0 if case.final else case.due_us
    orgs = {plain_text(org) for org in (case.holder, *case.helpers) if org}
    return {org: (org, case.case, case.opened_us, due) for org in orgs}


def plain_text(text: str) -> str:
    """As every database can hold it."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def plain(row: Sequence[Any]) -> Row:
    """The same of a row."""
    return tuple(plain_text(value) if isinstance(value, str) else value for value in row)

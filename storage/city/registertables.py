"""Tables of the registers: persons, their facts and care tags, homes, visits."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, String, Table

from storage.city.metadata import METADATA

PERSONS = Table(
    "reg_persons",
    METADATA,
    Column("ref", String, primary_key=True),
    Column("blind", LargeBinary),
    Column("area", String, nullable=False),
    Column("home", String, nullable=False),
    Column("care", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
Index("reg_persons_by_blind", PERSONS.c.blind)
Index("reg_persons_by_area", PERSONS.c.area, PERSONS.c.ref)

FACTS = Table(
    "reg_facts",
    METADATA,
    Column("ref", String, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("home", String, nullable=False),
    Column("since", String, nullable=False),
    Column("until", String, nullable=False),
    Column("as", String, nullable=False),
    Column("household", String, nullable=False),
    sqlite_with_rowid=False,
)
Index("reg_facts_by_home", FACTS.c.home)

CARE = Table(
    "reg_care",
    METADATA,
    Column("tag", String, primary_key=True),
    Column("area", String, primary_key=True),
    Column("ref", String, primary_key=True),
    sqlite_with_rowid=False,
)
Index("reg_care_by_ref", CARE.c.ref)

HOMES = Table(
    "reg_homes",
    METADATA,
    Column("home", String, primary_key=True),
    Column("building", String, nullable=False),
    Column("area", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("room", String, nullable=False),
    Column("address", String, nullable=False),
    Column("use", String, nullable=False),
    Column("area_m2", Float, nullable=False),
    sqlite_with_rowid=False,
)
Index("reg_homes_by_building", HOMES.c.building)
Index("reg_homes_by_area", HOMES.c.area, HOMES.c.home)

VISITS = Table(
    "reg_visits",
    METADATA,
    Column("visit", String, primary_key=True),
    Column("ref", String, nullable=False),
    Column("area", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("org", String, nullable=False),
    Column("who", String, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
Index("reg_visits_by_ref", VISITS.c.ref, VISITS.c.time_us)

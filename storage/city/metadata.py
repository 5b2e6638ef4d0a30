"""The one description of the city's tables, for SQLite and PostgreSQL alike. Each module adds its own."""

from sqlalchemy import MetaData, String

METADATA = MetaData(
    naming_convention={
        "ix": "%(table_name)s_by_%(column_0_N_name)s",
        "uq": "%(table_name)s_one_%(column_0_N_name)s",
        "pk": "%(table_name)s_key",
    }
)

WORD = String().with_variant(String(collation="C"), "postgresql")
"""Type of codes and ids: in the order of their characters, whatever the database's language is."""

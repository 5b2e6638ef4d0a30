"""The one description of the city's tables, for SQLite and PostgreSQL alike. Each module adds its own."""

from sqlalchemy import MetaData

METADATA = MetaData(
    naming_convention={
        "ix": "%(table_name)s_by_%(column_0_N_name)s",
        "uq": "%(table_name)s_one_%(column_0_N_name)s",
        "pk": "%(table_name)s_key",
    }
)

"""The form of the city's tables: as the code describes them, and as a database has them.

python -m testbed.city_form 0001        # writes the statements of a revision that nobody has used yet
"""

import re
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, text

from storage.city import migrations, store
from storage.city.engine import connected, is_postgres, reading, writing
from storage.city.metadata import METADATA
from testbed.postgis import PostGIS

assert store.OFFSETS.metadata is METADATA, (
    "all of the store's modules are imported, and have added their tables"
)

_COLUMNS = """
SELECT table_name, column_name, data_type, udt_name, collation_name, is_nullable, column_default,
    generation_expression, is_identity
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 ORDER BY 1, 2
"""
_OPTIONS = """
SELECT c.relname, c.reloptions::text, a.attname, a.attstorage FROM pg_class c JOIN pg_attribute a
    ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1, 3
"""
_SQLITE = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2"


def form_of(engine: Engine) -> list[tuple[Any, ...]]:
    """Everything that tells one form from another; what belongs to the revisions and PostGIS is left out."""
    asked = (_COLUMNS, _INDEXES, _CONSTRAINTS, _OPTIONS) if is_postgres(engine) else (_SQLITE,)
    with reading(engine) as connection:
        rows = [tuple(row) for query in asked for row in connection.execute(text(query))]
    return [
        tuple(" ".join(v.split()) if isinstance(v, str) else v for v in row)
        for row in rows
        if not any(
            str(v).startswith(("city_form", "spatial_ref_sys", "geometry_columns", "geography_columns"))
            for v in row
        )
    ]


def described(engine: Engine) -> list[str]:
    """Make the tables as the code describes them; answers the statements that did it."""
    done: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if re.match(r"\s*(CREATE|ALTER)\b", statement):
            done.append(re.sub(r"[ \t]+\n", "\n", statement.strip()))

    event.listen(engine, "before_cursor_execute", note)
    with writing(engine) as connection:
        METADATA.create_all(connection, checkfirst=False)
    event.remove(engine, "before_cursor_execute", note)
    ordered: list[str] = []
    for indexes, some in groupby(done, lambda statement: " INDEX " in statement.partition(" ON ")[0]):
        part = list(some)
        ordered += sorted(part) if indexes else part  # those of a table come in any order
    return ordered


def main(revision: str) -> None:
    """Write what makes the tables as they are described now."""
    folder = Path(migrations.__file__).parent / "sql"
    server = PostGIS()
    server.start()
    try:
        with tempfile.TemporaryDirectory() as spare:
            for where in (Path(spare) / "city.db", server.new_database()):
                engine = connected(where)
                text_ = "".join(f"{statement};\n\n" for statement in described(engine)).rstrip("\n") + "\n"
                (folder / f"{revision}.{engine.dialect.name}.sql").write_text(text_, encoding="utf-8")
                engine.dispose()
    finally:
        server.remove()


if __name__ == "__main__":
    main(sys.argv[1])

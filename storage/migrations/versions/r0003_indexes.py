"""The indexes for the second revision's columns, built while the store is written."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

INDEXES = {
    "events_superseded": "events (n) WHERE superseded",
    "events_counted": "events (source, time_us) WHERE family = 'count' AND NOT superseded",
    "alerts_by_source": "alerts (source, epoch)",
    "alerts_by_place": "alerts USING gist (linli_point(place)) WHERE linli_point(place) IS NOT NULL",
    "faces_by_place": "faces USING gist (linli_point(place)) WHERE linli_point(place) IS NOT NULL",
}

BROKEN = text(
    "SELECT c.relname FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid "
    "WHERE NOT indisvalid AND c.relnamespace = current_schema()::regnamespace"
)


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # It blocks nobody and may wait for long: a limit would only leave it half done.
        op.execute("SET lock_timeout = 0")
        for name in op.get_bind().execute(BROKEN).scalars().all():
            if name in INDEXES:  # its building was cut off
                op.execute(f"DROP INDEX CONCURRENTLY {name}")
        for name, columns in INDEXES.items():
            op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {columns}")

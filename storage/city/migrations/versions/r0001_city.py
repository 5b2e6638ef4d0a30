"""The first form: map, registers, cases, desk."""

from alembic import op

from storage.city.migrating import statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    connection = op.get_bind()
    for statement in statements(revision, connection.dialect.name):
        connection.exec_driver_sql(statement)

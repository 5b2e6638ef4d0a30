"""Called by Alembic: runs the revisions on the connection that `storage/migrating.py` hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transaction_per_migration=True,
    version_table="linli_form",
)
with context.begin_transaction():
    context.run_migrations()

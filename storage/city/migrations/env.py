"""Called by Alembic: runs the revisions on the connection that `storage/city/migrating.py` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="city_form")
with context.begin_transaction():
    context.run_migrations()

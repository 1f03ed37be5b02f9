"""Alembic runs this for every command; the connection comes from `cloud_hub.schema.upgrade`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()

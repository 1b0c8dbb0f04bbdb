"""Run by Alembic: takes the connection and the transaction of the caller, sets up no logging."""

from alembic import context

from understudy.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()

"""Moves the tables of a store from one revision to another.

Imported only when there is something to move: Alembic takes a third of a second to import.
"""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, NullPool, create_engine

_FOLDER = Path(__file__).parent / "migrations"

_one_at_a_time = threading.Lock()
"""Alembic hands the connection to the steps through names of the whole process."""


def revisions() -> list[str]:
    """Every revision this version knows, oldest first."""
    return [step.revision for step in ScriptDirectory(str(_FOLDER)).walk_revisions()][::-1]


def upgrade_sqlite(url: URL, *, busy_timeout_seconds: float) -> None:
    """Bring the SQLite file at *url* to the newest revision, in one transaction. Blocks its thread.

    Of several processes that come at once, the first does it and the others find it done.
    """
    arguments = {"timeout": busy_timeout_seconds, "isolation_level": None}
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        upgrade(connection)


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Move the tables up to *revision*, inside the transaction that *connection* is in."""
    with _one_at_a_time:
        command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Move the tables down to *revision* (``"base"``: to nothing). Drops what later steps brought."""
    with _one_at_a_time:
        command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

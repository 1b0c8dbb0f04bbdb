"""Moves the tables of a connected store from one revision to another.

Imported only when there is something to move: Alembic takes a third of a second to import.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

_FOLDER = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """Every revision this version knows, oldest first."""
    return [step.revision for step in ScriptDirectory(str(_FOLDER)).walk_revisions()][::-1]


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Move the tables up to *revision*, inside the transaction that *connection* is in."""
    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Move the tables down to *revision* (``"base"``: to nothing). Drops what later steps brought."""
    command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

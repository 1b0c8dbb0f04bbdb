"""A store in one SQLite file, for one host."""

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.dialects.sqlite import insert

from understudy.config import DEFAULT_ENVIRONMENT
from understudy.store.database import SqliteDatabase
from understudy.store.sample import Bounds
from understudy.store.sql import SqlStore


class SqliteStore(SqlStore):
    """``sqlite:///PATH``: survives restarts and crashes; several processes may use one file."""

    def __init__(
        self,
        path: Path,
        *,
        bounds: Bounds | None = None,
        busy_timeout_seconds: float = 2.0,
        deadline_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        environment: str = DEFAULT_ENVIRONMENT,
    ) -> None:
        """Nothing is touched before `open`.

        *busy_timeout_seconds* is how long a write waits for another process: 2 s, longer than any
        transaction here takes, shorter than a person's patience with a kill switch.
        *deadline_seconds* bounds a whole operation, the wait for this process's own others included;
        undoing what it cut off may take *busy_timeout_seconds* more.
        """
        database = SqliteDatabase(
            path, busy_timeout_seconds=busy_timeout_seconds, deadline_seconds=deadline_seconds
        )
        super().__init__(
            database, insert=insert, name=str(path), bounds=bounds, clock=clock, environment=environment
        )

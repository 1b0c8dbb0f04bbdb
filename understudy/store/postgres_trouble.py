"""What PostgreSQL's errors mean for the person who runs Understudy: what is wrong, and the mend."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from understudy.errors import StoreError

_MENDS = {
    "28000": "refuses this user; look at pg_hba.conf and at the user in the URL",
    "28P01": "refuses the password; look at the user and the password in the URL",
    "3D000": "has no such database; create it (`createdb`), or name another one in the URL",
    "42501": "does not allow this user what it needs; it must own the schema, or be allowed to create it",
    "25006": "is read-only (a standby?); name the primary, or add ?target_session_attrs=read-write",
    "53100": "cannot grow: the disk is full; make room, then try again",
    "53300": "has too many connections; raise max_connections, or end some of them",
    "55P03": "is locked by another transaction; end it (see pg_stat_activity), then try again",
    "57P03": "is starting up or shutting down; try again",
    "58030": "cannot be read or written; look at its disk",
}
"""By SQLSTATE (PostgreSQL, appendix A)."""

_FOREIGN = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


def store_error(name: str, error: BaseException) -> StoreError:
    """The StoreError for *error*, which came from asyncpg, SQLAlchemy or the operating system."""
    cause: BaseException = error
    while isinstance(cause, DBAPIError) and cause.orig is not None:
        cause = cause.orig
    mend = _MENDS.get(str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)))
    if mend is not None:
        return StoreError(f"store {name}: {mend}")
    if isinstance(cause, ConnectionRefusedError):
        return StoreError(f"store {name}: refuses connections; is PostgreSQL running there?")
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return StoreError(f"store {name}: {text or type(cause).__name__}")


@contextmanager
def as_store_errors(name: str, *, deadline_seconds: float) -> Iterator[None]:
    """Turn what asyncpg, SQLAlchemy and the clock raise inside into StoreError."""
    try:
        yield
    except (TimeoutError, PoolTimeoutError) as error:
        raise StoreError(
            f"store {name}: did not answer within {deadline_seconds:g} s; try again, and look at the server,"
            " at the network and at who else holds locks (pg_stat_activity)"
        ) from error
    except _FOREIGN as error:
        raise store_error(name, error) from error

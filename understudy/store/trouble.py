"""What SQLite's errors mean for the person who runs Understudy: what is wrong, and the mend."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from understudy.errors import StoreError

_MENDS = {
    sqlite3.SQLITE_BUSY: "is locked by another process; end what holds it (`fuser {path}`), then try again",
    sqlite3.SQLITE_LOCKED: "is locked by another process; end what holds it (`fuser {path}`), then try again",
    sqlite3.SQLITE_READONLY: (
        "is read-only for this user; give write permission to its folder and to {path}* (the file, and"
        " its -wal and -shm if they are there)"
    ),
    sqlite3.SQLITE_NOTADB: ("is not a SQLite database; move it away, or name another file under `store:`"),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged; stop Understudy and restore a backup, or save what is left with"
        " `sqlite3 {path} .recover`"
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened; the file and its folder must exist, and this user must be allowed to"
        " read and write both"
    ),
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; make room, then try again",
    sqlite3.SQLITE_IOERR: "cannot be read or written; look at the disk and its mount",
}


def store_error(path: Path, error: BaseException) -> StoreError:
    """The StoreError for *error*, which came from SQLite, SQLAlchemy or the operating system."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(cause, "sqlite_errorcode", None)
    mend = _MENDS.get(code & 0xFF) if isinstance(code, int) else None
    if mend is not None:
        return StoreError(f"store {path}: {mend.format(path=path)}")
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return StoreError(f"store {path}: {text}")


def is_code(error: BaseException, *codes: int) -> bool:
    """Whether SQLite gave one of the primary result *codes*."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in codes


@contextmanager
def as_store_errors(path: Path, *, deadline_seconds: float) -> Iterator[None]:
    """Turn what SQLite, SQLAlchemy and the clock raise inside into StoreError."""
    try:
        yield
    except TimeoutError as error:
        raise StoreError(
            f"store {path}: did not answer within {deadline_seconds:g} s; try again, and look at the disk"
            " and at who else uses the file"
        ) from error
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise store_error(path, error) from error

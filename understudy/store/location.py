"""Which store a URL names."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.config import (
    DEFAULT_ENVIRONMENT,
    LAST_GOOD_FILE,
    Layers,
    Refused,
    StorePlace,
    postgres_place,
    read_store,
    redis_place,
    store_mark,
)
from understudy.errors import StoreError
from understudy.store.memory import MemoryStore
from understudy.store.protocol import Store
from understudy.store.sample import Bounds

if TYPE_CHECKING:
    from understudy.store.last_good import LastGood

COPY_SECONDS: Final = 1.0
"""A kill switch waits so long for a copy that does not answer; SQL has it by then."""


def open_store(
    place: StorePlace,
    base: Path = Path(),
    *,
    bounds: Bounds | None = None,
    busy_timeout_seconds: float = 2.0,
    environment: str = DEFAULT_ENVIRONMENT,
) -> Store:
    """The store of *environment* at *place*; its `open` has still to be awaited.

    A URL as ``store:`` in the configuration takes it; the path of ``sqlite:///PATH`` is relative to *base*
    unless it begins with a slash: ``sqlite:////var/lib/understudy.db``. Raises StoreError for anything
    else, without repeating a password.
    """
    if isinstance(place, Layers):
        return _layered(place, base, bounds, environment)
    url = place
    try:
        scheme, _, rest = read_store(url).partition("://")
        # SQLAlchemy takes a quarter of a second to import, which memory:// need not pay.
        if scheme == "sqlite":
            from understudy.store.sqlite import SqliteStore

            path = sqlite_path(rest, base)
            return SqliteStore(
                path, bounds=bounds, busy_timeout_seconds=busy_timeout_seconds, environment=environment
            )
        if scheme in ("postgresql", "postgres"):
            from understudy.store.postgres import PostgresStore

            return PostgresStore(postgres_place(url), bounds=bounds, environment=environment)
        if scheme.startswith("redis"):
            from understudy.store.redis_store import RedisStore

            return RedisStore(redis_place(url), bounds=bounds, environment=environment)
    except Refused as refused:
        raise StoreError(f"store: {refused.message}; {refused.hint}") from None
    return MemoryStore(bounds=bounds, environment=environment)


def _layered(place: Layers, base: Path, bounds: Bounds | None, environment: str) -> Store:
    from understudy.store.layered import LayeredStore
    from understudy.store.redis_copy import RedisCopy
    from understudy.store.redis_link import RedisLink
    from understudy.store.sql import SqlStore

    sql = open_store(place.sql, base, bounds=bounds, environment=environment)
    if not isinstance(sql, SqlStore):
        raise StoreError("store: sql: is not such a store; for example postgresql://user@host/database")
    try:
        link = RedisLink(redis_place(place.redis), deadline_seconds=COPY_SECONDS)
    except Refused as refused:
        raise StoreError(f"store: redis: {refused.message}; {refused.hint}") from None
    return LayeredStore(sql, RedisCopy(link, environment), last_good(place, base, environment))


def last_good(
    place: StorePlace, base: Path = Path(), environment: str = DEFAULT_ENVIRONMENT
) -> "LastGood | None":
    """The file where a host keeps the last good rules of *environment* of the store at *place*.

    Beside the file of SQLite, where Understudy may write in any case, else in *base*. None for ``memory://``,
    which forgets on purpose. Two layers know the mark of their SQL, and need no other.
    """
    from understudy.store.last_good import LastGood

    if isinstance(place, Layers):
        return LastGood(last_good_path(base.absolute() / place.file, environment))
    scheme, _, rest = place.partition("://")
    if scheme == "memory":
        return None
    if scheme == "sqlite":
        path = sqlite_path(rest, base)
        path = path.with_name(f"{path.name}-rules.json")
    else:
        path = base.absolute() / LAST_GOOD_FILE
    origin = sha256(store_mark(place).encode("utf-8", "replace")).hexdigest()[:16]
    return LastGood(last_good_path(path, environment), origin=origin)


def last_good_path(path: Path, environment: str) -> Path:
    """Where the last good rules of *environment* are kept, when *path* is where those of the first are."""
    if environment == DEFAULT_ENVIRONMENT:
        return path
    return path.with_name(f"{path.stem}.{environment}{path.suffix}")


def sqlite_path(rest: str, base: Path) -> Path:
    """The file that ``sqlite://`` + *rest* names, as an absolute path."""
    return base.absolute() / rest[1:]

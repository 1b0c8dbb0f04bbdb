"""Which store a URL names."""

from pathlib import Path

from understudy.config import Refused, postgres_place, read_store, redis_place
from understudy.errors import StoreError
from understudy.store.memory import MemoryStore
from understudy.store.protocol import Store
from understudy.store.sample import Bounds


def open_store(
    url: str, base: Path = Path(), *, bounds: Bounds | None = None, busy_timeout_seconds: float = 2.0
) -> Store:
    """The store that *url* names; its `open` has still to be awaited.

    A URL as ``store:`` in the configuration takes it; the path of ``sqlite:///PATH`` is relative to *base*
    unless it begins with a slash: ``sqlite:////var/lib/understudy.db``. Raises StoreError for anything
    else, without repeating a password.
    """
    try:
        scheme, _, rest = read_store(url).partition("://")
        # SQLAlchemy takes a quarter of a second to import, which memory:// need not pay.
        if scheme == "sqlite":
            from understudy.store.sqlite import SqliteStore

            path = sqlite_path(rest, base)
            return SqliteStore(path, bounds=bounds, busy_timeout_seconds=busy_timeout_seconds)
        if scheme in ("postgresql", "postgres"):
            from understudy.store.postgres import PostgresStore

            return PostgresStore(postgres_place(url), bounds=bounds)
        if scheme.startswith("redis"):
            from understudy.store.redis_store import RedisStore

            return RedisStore(redis_place(url), bounds=bounds)
    except Refused as refused:
        raise StoreError(f"store: {refused.message}; {refused.hint}") from None
    return MemoryStore(bounds=bounds)


def sqlite_path(rest: str, base: Path) -> Path:
    """The file that ``sqlite://`` + *rest* names, as an absolute path."""
    return base.absolute() / rest[1:]

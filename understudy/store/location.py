"""Which store a URL names."""

from pathlib import Path

from understudy.errors import StoreError
from understudy.store.memory import MemoryStore
from understudy.store.protocol import Store
from understudy.store.sample import Bounds

_LATER = ("redis", "rediss", "postgres", "postgresql", "postgresql+asyncpg")
_FORMS = "use sqlite:///PATH, sqlite:////ABSOLUTE/PATH or memory://"


def open_store(
    url: str, base: Path = Path(), *, bounds: Bounds | None = None, busy_timeout_seconds: float = 2.0
) -> Store:
    """The store that *url* names; its `open` has still to be awaited.

    ``memory://`` or ``sqlite:///PATH``, PATH relative to *base* (the folder of the configuration file)
    unless it begins with a slash: ``sqlite:////var/lib/understudy.db``. Raises StoreError for anything
    else, without repeating the URL: it may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise StoreError(f"store: not a URL; {_FORMS}")
    if scheme == "memory":
        return _memory(rest, bounds)
    if scheme == "sqlite":
        path = sqlite_path(rest, base)
        # SQLAlchemy takes a quarter of a second to import, which memory:// need not pay.
        from understudy.store.sqlite import SqliteStore

        return SqliteStore(path, bounds=bounds, busy_timeout_seconds=busy_timeout_seconds)
    if scheme in _LATER:
        raise StoreError(f"store: {scheme}:// arrives in a later version; {_FORMS}")
    raise StoreError(f"store: {scheme}:// is not known; {_FORMS}")


def sqlite_path(rest: str, base: Path) -> Path:
    """The file that ``sqlite://`` + *rest* names, as an absolute path. Raises StoreError."""
    if not rest.startswith("/"):
        raise StoreError("store: sqlite:// needs three slashes before a path: sqlite:///understudy.db")
    name = rest[1:]
    if not name or name == ":memory:":
        raise StoreError("store: sqlite:/// names no file; use sqlite:///understudy.db, or memory://")
    if "?" in name or "#" in name or "\0" in name:
        raise StoreError("store: sqlite:/// takes a path alone, no options after ? or #")
    return base.absolute() / name


def _memory(rest: str, bounds: Bounds | None) -> Store:
    if rest:
        raise StoreError("store: memory:// has no path; it ends with the process")
    return MemoryStore(bounds=bounds)

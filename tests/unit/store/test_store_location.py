"""Which store a URL names, and what is said of URLs that name none."""

from pathlib import Path

import pytest

from understudy.errors import StoreError
from understudy.store import MemoryStore, open_store
from understudy.store.location import sqlite_path


def test_memory_is_named_by_its_scheme() -> None:
    """`memory://` and nothing else."""
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("/understudy.db", "/etc/understudy/understudy.db"),
        ("/data/u.db", "/etc/understudy/data/u.db"),
        ("/./u.db", "/etc/understudy/u.db"),
        ("//var/lib/u.db", "/var/lib/u.db"),
        ("/a b%20c.db", "/etc/understudy/a b%20c.db"),
    ],
)
def test_three_slashes_are_relative_four_are_absolute(rest: str, path: str) -> None:
    """Relative to the folder of the configuration file; nothing is decoded."""
    assert sqlite_path(rest, Path("/etc/understudy")) == Path(path)


def test_a_relative_base_is_made_absolute() -> None:
    """A later change of the working folder does not move the store."""
    assert sqlite_path("/u.db", Path("conf")) == Path.cwd() / "conf" / "u.db"


async def test_a_sqlite_url_opens_its_file(tmp_path: Path) -> None:
    """The file appears under the base folder."""
    store = open_store("sqlite:///u.db", tmp_path)
    await store.open()
    await store.close()

    assert (tmp_path / "u.db").is_file()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "mysql://user:secret@db/understudy",
            r"mysql:// is no store of this version; for example sqlite:///",
        ),
        ("understudy.db", r"is not a store"),
        ("", r"is not a store"),
        ("sqlite://understudy.db", r"two slashes; did you mean sqlite:///understudy.db"),
        ("sqlite:///", r"names no file; memory://"),
        ("sqlite:///u.db?mode=ro", r"a file name has no"),
        ("memory://name", r"memory:// has nothing behind it"),
        ("postgresql://user:secret@[db/understudy", r"brackets"),
    ],
)
def test_other_urls_are_refused_without_repeating_them(url: str, message: str) -> None:
    """The error names scheme and mend, and no password."""
    with pytest.raises(StoreError, match=message) as caught:
        open_store(url)

    assert "secret" not in str(caught.value)

"""Where the store is: each URL says one thing, and no problem repeats a password."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.config.place import Refused
from understudy.config.store import ESCAPES, HINT, postgres_place, read_store, resolve_store, store_text


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "sqlite:///understudy.db",
        "sqlite:////var/lib/understudy.db",
        "postgresql://ann:secret@db:5432/shop?sslmode=verify-full&schema=rules",
        "postgres:///shop",
        "postgresql://a:1,b:2/shop?target_session_attrs=read-write",
    ],
)
def test_a_store_is_kept_as_written(url: str) -> None:
    """Nothing is added and nothing decoded."""
    assert read_store(url) == url


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("mysql://me:secret@db/u", "mysql:// is no store of this version", HINT),
        ("understudy.db", '"understudy.db" is not a store', HINT),
        ("sqlite://a.db", '"sqlite://a.db" has two slashes', "did you mean sqlite:///a.db?"),
        ("sqlite:///", '"sqlite:///" names no file', "memory:// keeps everything in memory"),
        ("sqlite:///u.db?mode=ro", '"sqlite:///u.db?mode=ro": a file name has no ?, # or NUL here', HINT),
        ("memory://x", '"memory://x": memory:// has nothing behind it', "did you mean memory://?"),
        (3, "must be a URL, not 3", HINT),
        (
            "postgresql://db/shop?schema=Shop-1",
            'the schema "Shop-1" is not of small letters, digits and _',
            "schema=understudy",
        ),
        (
            "postgresql://me:sec#ret@db/shop",
            "this URL has a # or an @ where none can be",
            ESCAPES,
        ),
        (
            "postgresql://me:secret/@db/shop",
            "this URL has a # or an @ where none can be",
            ESCAPES,
        ),
        ("postgresql://me:secret@[::1/shop", "this URL cannot be read", "look at its brackets: [::1]:5432"),
    ],
)
def test_a_wrong_store_says_what_was_meant(written: object, message: str, hint: str) -> None:
    """Every refusal says what is wrong and shows the form that would do."""
    with pytest.raises(Refused) as refused:
        read_store(written)
    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_the_driver_is_asked_for_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the configuration is refused, with the command that mends it."""
    monkeypatch.setattr("understudy.config.store.find_spec", lambda _name: None)
    with pytest.raises(Refused, match="needs asyncpg") as refused:
        read_store("postgresql://db/shop")
    assert refused.value.hint == "pip install 'understudy[postgres]'"


def test_a_relative_store_lies_beside_the_configuration() -> None:
    """The folder of the file decides, not the folder of whoever starts the process."""
    assert resolve_store("sqlite:///a/b.db", Path("/etc/understudy")) == "sqlite:////etc/understudy/a/b.db"
    assert resolve_store("sqlite:////var/b.db", Path("/etc")) == "sqlite:////var/b.db"
    assert resolve_store("memory://", Path("/etc")) == "memory://"


def test_people_see_no_password() -> None:
    """Where the store is shown, user and place stand, and nothing secret."""
    shown = store_text("postgresql://ann:secret@db:5432/shop?password=secret&sslmode=require")
    assert shown == "postgresql://ann@db:5432/shop"
    assert store_text("sqlite:////u.db") == "sqlite:////u.db"


def test_the_schema_is_ours_and_the_rest_the_drivers() -> None:
    """The driver gets every option but the schema."""
    place = postgres_place("postgres://ann@db/shop?schema=rules&sslmode=require")
    assert (place.schema, place.dsn) == ("rules", "postgresql://ann@db/shop?sslmode=require")
    assert postgres_place("postgresql://db").schema == "understudy"


@given(st.text(), st.sampled_from(["", "sqlite:///", "postgresql://", "postgresql://a:b@[", "memory://"]))
def test_reading_a_store_only_ever_refuses(text: str, start: str) -> None:
    """No text makes the reader fail in another way than by refusing."""
    with suppress(Refused):
        assert read_store(start + text) == start + text

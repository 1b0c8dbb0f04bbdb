"""Where the store is: each URL says one thing, and no problem repeats a password."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.config.place import Place, Refused
from understudy.config.store import (
    ESCAPES,
    HINT,
    Layers,
    RedisPlace,
    StorePlace,
    postgres_place,
    read_store,
    read_store_place,
    redis_place,
    resolve_store,
    store_text,
)


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "sqlite:///understudy.db",
        "sqlite:////var/lib/understudy.db",
        "postgresql://ann:secret@db:5432/shop?sslmode=verify-full&schema=rules",
        "postgres:///shop",
        "postgresql://a:1,b:2/shop?target_session_attrs=read-write",
        "redis://ann:secret@cache:6379/3?prefix=shop",
        "rediss+sentinel://a:1,[::1]:2/main/0?ca=/etc/ca.pem",
        "redis+cluster://a,b,c",
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
        (
            "redis://me:secret@a,b",
            "several hosts need a kind",
            "redis+sentinel:// or redis+cluster://",
        ),
        (
            "redis+sentinel://a",
            "Sentinel needs the name of a service",
            "redis+sentinel://HOST:26379/SERVICE",
        ),
        ("redis+cluster://a/1", '"/1" names no database', "a number, as in redis://127.0.0.1:6379/0"),
        ("redis://:secret@", "this URL names no host, or a port that is none", "redis://127.0.0.1:6379/0"),
        ("redis://a:0", "this URL names no host, or a port that is none", "redis://127.0.0.1:6379/0"),
        ("redis://a?db=1", 'unknown option "db"', "known are prefix, ca, cert and key"),
        (
            "redis://a?prefix={}",
            "the prefix is not of letters, digits, _, ., : and -",
            "prefix=understudy",
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


def layers(**given: object) -> tuple[StorePlace | None, list[tuple[str, str]]]:
    """What is read of a mapping, and the problems by place."""
    place = Place("store")
    found = read_store_place(given, place)
    return found, [(problem.path, problem.message) for problem in place.problems]


def test_a_store_may_have_two_layers() -> None:
    """SQL and Redis; the file of the last good rules has a name unless it is given one."""
    sql, redis = "postgresql://ann:secret@db/shop", "redis://:secret@cache"
    found, problems = layers(sql=sql, redis=redis)
    assert (found, problems) == (Layers(sql=sql, redis=redis, file="understudy-rules.json"), [])
    assert found is not None
    assert resolve_store(found, Path("/etc")) == Layers(
        sql=sql, redis=redis, file="/etc/understudy-rules.json"
    )
    assert store_text(found) == "postgresql://ann@db/shop behind redis://@cache"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"sql": "sqlite:///u.db"}, ("store.redis", "is missing")),
        ({"redis": "redis://a"}, ("store.sql", "is missing")),
        ({"sql": "redis://a", "redis": "redis://a"}, ("store.sql", "is not such a store")),
        ({"sql": "sqlite:///u.db", "redis": "memory://"}, ("store.redis", "is not such a store")),
        ({"sql": 3, "redis": "redis://a"}, ("store.sql", "must be a URL, not 3")),
        ({"sql": "sqlite:///u.db", "redis": "redis://a", "cache": 1}, ("store.cache", "unknown key")),
        (
            {"sql": "sqlite:///u.db", "redis": "redis://a", "file": ""},
            ("store.file", 'must be the name of a file, not ""'),
        ),
    ],
)
def test_a_wrong_layer_is_named(given: dict[str, object], problem: tuple[str, str]) -> None:
    """Each problem stands at its own key."""
    assert layers(**given)[1] == [problem]


def test_people_see_no_password() -> None:
    """Where the store is shown, user and place stand, and nothing secret."""
    shown = store_text("postgresql://ann:secret@db:5432/shop?password=secret&sslmode=require")
    assert shown == "postgresql://ann@db:5432/shop"
    assert store_text("redis://:secret@cache/1?prefix=a") == "redis://@cache/1"
    assert store_text("sqlite:////u.db") == "sqlite:////u.db"


def test_the_schema_is_ours_and_the_rest_the_drivers() -> None:
    """The driver gets every option but the schema."""
    place = postgres_place("postgres://ann@db/shop?schema=rules&sslmode=require")
    assert (place.schema, place.dsn) == ("rules", "postgresql://ann@db/shop?sslmode=require")
    assert postgres_place("postgresql://db").schema == "understudy"


def test_every_part_of_a_redis_url_is_read() -> None:
    """What is escaped in user and password is meant; ports are the usual ones unless they are given."""
    place = redis_place("rediss+sentinel://ann:a%40b%2F@one,[::1]:7/main/2?prefix=shop&ca=ca.pem")
    assert place == RedisPlace(
        kind="sentinel",
        hosts=(("one", 26379), ("::1", 7)),
        is_tls=True,
        shown="rediss+sentinel://ann@one,[::1]:7/main/2",
        username="ann",
        password="a@b/",
        database=2,
        service="main",
        prefix="shop",
        ca="ca.pem",
    )
    assert redis_place("redis://a").hosts == (("a", 6379),)


@given(
    st.text(),
    st.sampled_from(
        [
            "",
            "sqlite:///",
            "postgresql://",
            "postgresql://a:b@[",
            "memory://",
            "redis://",
            "redis+sentinel://a,",
        ]
    ),
)
def test_reading_a_store_only_ever_refuses(text: str, start: str) -> None:
    """No text makes the reader fail in another way than by refusing."""
    with suppress(Refused):
        assert read_store(start + text) == start + text


def test_no_password_is_in_a_representation() -> None:
    """What a traceback or a log shows of a store."""
    sql, redis = "postgresql://ann:hunter2@db/x", "redis://ann:hunter2@cache/0"
    for place in (postgres_place(sql), redis_place(redis), Layers(sql=sql, redis=redis)):
        assert "hunter2" not in repr(place)

"""Where the store is: one URL, or two in layers. No problem found here repeats a password."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from understudy.config.place import Place, Refused, shown

HINT: Final = (
    "for example sqlite:///understudy.db, postgresql://user@host/database, redis://host or memory://"
)
ESCAPES: Final = "write a # in a password as %23, an @ as %40, a / as %2F"
POSTGRES: Final = ("postgresql", "postgres")

POSTGRES_SCHEMA: Final = "understudy"
"""Our tables have short names, and a database is often shared with applications."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresPlace:
    """Where a PostgreSQL store is. ``dsn`` is for the driver, ``shown`` for people, without the password."""

    dsn: str = field(repr=False)
    schema: str
    shown: str


REDIS: Final = tuple(
    f"{scheme}{kind}" for scheme in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster")
)
"""With s: over TLS. With a kind: whoever Sentinel says is the primary; a Cluster."""

REDIS_PREFIX: Final = "understudy"
"""What our keys begin with, as a Redis is often shared with applications."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPlace:
    """Where a Redis is. ``kind`` is ``single``, ``sentinel`` (then ``service`` names the primary, and the
    hosts are Sentinels) or ``cluster``. ``shown`` is for people, without the password.
    """

    kind: str
    hosts: tuple[tuple[str, int], ...]
    is_tls: bool
    shown: str
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    service: str = ""
    prefix: str = REDIS_PREFIX
    ca: str = ""
    cert: str = ""
    key: str = ""


LAST_GOOD_FILE: Final = "understudy-rules.json"
"""What keeps the last good rules on a host, unless the configuration names another or SQLite has a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """A store of two servers: ``sql`` is the truth, ``redis`` its fast copy and the bell that tells of
    changes; ``file`` keeps the last good rules on this host, for a start without either.
    """

    sql: str = field(repr=False)
    redis: str = field(repr=False)
    file: str = LAST_GOOD_FILE


StorePlace = str | Layers


def read_store_place(value: object, place: Place) -> StorePlace | None:
    """A store's URL, or the mapping of two of them; None when something in the mapping was refused."""
    if not isinstance(value, Mapping):
        return read_store(value)
    place.known_keys(value, ("sql", "redis", "file"))
    found: dict[str, str] = {}
    for key, kinds, example in (
        ("sql", (*POSTGRES, "sqlite"), "postgresql://user@host/database"),
        ("redis", REDIS, "redis://127.0.0.1:6379/0"),
    ):
        at = place.key(key)
        try:
            url = read_store(value[key]) if key in value else ""
        except Refused as refused:
            at.refuse(refused.message, refused.hint)
            continue
        if url.partition("://")[0] not in kinds:
            at.refuse("is not such a store" if url else "is missing", f"for example {example}")
        found[key] = url
    if "file" in value:
        found["file"] = str(value["file"])
        if not isinstance(value["file"], str) or not value["file"].strip() or "\0" in value["file"]:
            place.key("file").refuse(f"must be the name of a file, not {shown(value['file'])}")
    return Layers(**found) if "sql" in found and "redis" in found else None


def read_store(value: object) -> str:
    """A store's URL, as written; a relative file stays relative (see `resolve_store`)."""
    if not isinstance(value, str):
        raise Refused(f"must be a URL, not {shown(value)}", HINT)
    scheme, separator, rest = value.partition("://")
    if not separator:
        raise Refused(f"{shown(value)} is not a store", HINT)
    match scheme:
        case "memory":
            _check_memory(value, rest)
        case "sqlite":
            _check_sqlite(value, rest)
        case _ if scheme in POSTGRES:
            postgres_place(value)
        case _ if scheme in REDIS:
            redis_place(value)
        case _:
            raise Refused(f"{scheme}:// is no store of this version", HINT)
    return value


def resolve_store(store: StorePlace, base: Path) -> StorePlace:
    """*store* with its files made absolute: relative ones lie beside the configuration in *base*."""
    if isinstance(store, Layers):
        sql = _resolved(store.sql, base)
        return Layers(sql=sql, redis=store.redis, file=str((base / store.file).absolute()))
    return _resolved(store, base)


def _resolved(store: str, base: Path) -> str:
    if not store.startswith("sqlite:///"):
        return store
    return f"sqlite:///{(base / store.removeprefix('sqlite:///')).absolute()}"


def store_text(store: StorePlace) -> str:
    """*store* as people may see it: without its password and its options."""
    if isinstance(store, Layers):
        return f"{store_text(store.sql)} behind {store_text(store.redis)}"
    scheme = store.partition("://")[0]
    if scheme in POSTGRES:
        return postgres_place(store).shown
    return redis_place(store).shown if scheme in REDIS else store


def store_mark(url: str) -> str:
    """What tells the store at *url* from others: where it is and which part of it, whoever asks."""
    scheme = url.partition("://")[0]
    if scheme in POSTGRES:
        sql = postgres_place(url)
        return f"{sql.shown.rpartition('@')[2]} {sql.schema}"
    if scheme in REDIS:
        redis = redis_place(url)
        return f"{redis.kind} {redis.hosts} {redis.service} {redis.database} {redis.prefix}"
    return url


def postgres_place(url: str) -> PostgresPlace:
    """Read a URL: ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&schema=NAME``.

    All but ``schema`` is libpq's (several hosts, ``sslmode``, ``sslrootcert``, ``target_session_attrs``,
    ``passfile``, …), as asyncpg understands it. Raises Refused.
    """
    if find_spec("asyncpg") is None:
        raise Refused("postgresql:// needs asyncpg", "pip install 'understudy[postgres]'")
    parts = split_url(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    schema = options.pop("schema", POSTGRES_SCHEMA)
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        raise Refused(
            f"the schema {shown(schema)} is not of small letters, digits and _", "schema=understudy"
        )
    dsn = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options), ""))
    return PostgresPlace(dsn=dsn, schema=schema, shown=f"postgresql://{without_password(parts)}{parts.path}")


def redis_place(url: str) -> RedisPlace:
    """Read a URL: ``redis://USER:PASSWORD@HOST:PORT/DATABASE?prefix=NAME``, or with several hosts
    ``redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DATABASE``, ``redis+cluster://HOST,HOST``.

    With ``rediss`` over TLS, ``ca``, ``cert`` and ``key`` naming files. Raises Refused.
    """
    parts = split_url(url)
    secure, _, kind = parts.scheme.partition("+")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = set(options) - {"prefix", "ca", "cert", "key"}
    if unknown:
        raise Refused(f"unknown option {shown(min(unknown))}", "known are prefix, ca, cert and key")
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", options.get("prefix", REDIS_PREFIX)):
        raise Refused("the prefix is not of letters, digits, _, ., : and -", "prefix=understudy")
    user, _, places = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    service, database = _below(parts.path, kind)
    return RedisPlace(
        kind=kind or "single",
        hosts=_hosts(places, kind),
        is_tls=secure == "rediss",
        shown=f"{parts.scheme}://{without_password(parts)}{parts.path}",
        username=unquote(username),
        password=unquote(password),
        service=service,
        database=database,
        **options,
    )


def _below(path: str, kind: str) -> tuple[str, int]:
    """The service and the database that the path of a redis:// URL names."""
    names = [name for name in path.split("/") if name]
    service = names.pop(0) if kind == "sentinel" and names else ""
    if kind == "sentinel" and not service:
        raise Refused("Sentinel needs the name of a service", "redis+sentinel://HOST:26379/SERVICE")
    database = names.pop(0) if names else "0"
    if names or not re.fullmatch(r"[0-9]{1,4}", database) or (kind == "cluster" and database != "0"):
        raise Refused(f"{shown(path)} names no database", "a number, as in redis://127.0.0.1:6379/0")
    return service, int(database)


def _hosts(places: str, kind: str) -> tuple[tuple[str, int], ...]:
    """Every host with its port."""
    usual = 26379 if kind == "sentinel" else 6379
    found = []
    for place in places.split(","):
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?", place)
        if match is None or not 0 < int(match[2] or usual) < 65536:
            raise Refused("this URL names no host, or a port that is none", "redis://127.0.0.1:6379/0")
        found.append((match[1].strip("[]"), int(match[2] or usual)))
    if len(found) > 1 and not kind:
        raise Refused("several hosts need a kind", "redis+sentinel:// or redis+cluster://")
    return tuple(found)


def split_url(url: str) -> SplitResult:
    """The parts of a server's URL. Raises Refused when they cannot be told apart."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Refused("this URL cannot be read", "look at its brackets: [::1]:5432") from None
    if parts.fragment or "@" in parts.path + parts.query:
        raise Refused(
            "this URL has a # or an @ where none can be",
            "write a # in a password as %23, an @ as %40, a / as %2F",
        )
    return parts


def without_password(parts: SplitResult) -> str:
    """User and places, without the password."""
    user, at, places = parts.netloc.rpartition("@")
    return f"{user.partition(':')[0]}{at}{places}"


def _check_memory(value: str, rest: str) -> None:
    if rest:
        raise Refused(f"{shown(value)}: memory:// has nothing behind it", "did you mean memory://?")


def _check_sqlite(value: str, rest: str) -> None:
    if not rest.startswith("/"):
        raise Refused(f"{shown(value)} has two slashes", f"did you mean sqlite:///{rest or 'understudy.db'}?")
    if rest.strip("/") in {"", ":memory:"}:
        raise Refused(f"{shown(value)} names no file", "memory:// keeps everything in memory")
    if "\x00" in rest or "?" in rest or "#" in rest:
        raise Refused(f"{shown(value)}: a file name has no ?, # or NUL here", HINT)

"""What a rule may know of a request, extracted only when asked.

Names: `targetingKey`, `method`, `host`, `path`, `query.NAME`, `headers.NAME`, `cookies.NAME`, `ip`,
`$flagd.flagKey`, `$flagd.timestamp`. What is not there is null. Of duplicates, the first counts.
Fields called `X-Understudy-…` are ours to set: whatever a client sends there is not seen.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from understudy.decide.coercion import Json
from understudy.decide.fields import DataResolver, flagd_field
from understudy.decide.fractional import UNIT
from understudy.decide.logic import Node, Resolver, closest, constant
from understudy.errors import Problem
from understudy.messages import Head

Field = Callable[[Head], str | None]

GROUPS = ("headers", "cookies", "query")
UNIT_KINDS = ("header", "cookie", "query", "ip")
TAB: Final = 0x09
SPACE: Final = 0x20
QUOTE: Final = 0x22
SEMICOLON: Final = 0x3B
LETTER_C: Final = 0x63
CASE: Final = 0x20
"""What distinguishes a small letter from its capital."""

_OURS = b"x-understudy-"


def decoded(value: bytes) -> str:
    """*value* as UTF-8, as every SDK hashes it; as Latin-1 where it is none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _wire(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def _is_ours(name: bytes) -> bool:
    return name.replace(b"_", b"-").startswith(_OURS)


def header(name: str, empty: str | None = "") -> Field | None:
    """The first field called *name*, in any case; None when no rule may see it. An empty one is *empty*."""
    wanted = name.lower().encode("utf-8", "replace")
    if not wanted or _is_ours(wanted):
        return None
    size = len(wanted)

    def find(head: Head) -> str | None:
        for key, value in head.headers:
            if len(key) == size and key.lower() == wanted:
                # RFC 9110 5.5: outer space is no part of a value.
                return decoded(value.strip(b" \t")) or empty
        return None

    return find


def cookie(name: str, empty: str | None = "") -> Field | None:
    """The first cookie called *name* (its case matters), searched in all Cookie fields, unquoted.

    An empty one is *empty*. None when no cookie can be called so.
    """
    if not name or name[0] in " \t" or "=" in name or ";" in name:
        return None
    wanted = name.encode("utf-8", "replace") + b"="
    size = len(wanted)

    def find(head: Head) -> str | None:
        for key, value in head.headers:
            # "accept" has six letters, too.
            if len(key) == 6 and key[0] | CASE == LETTER_C and key.lower() == b"cookie":
                # Every byte is looked at once: a client may send 32 KiB of names that are nearly ours.
                start = 0
                while (place := value.find(wanted, start)) >= 0:
                    end = value.find(b";", place)
                    if _begins_pair(value, start, place):
                        found = value[place + size :] if end < 0 else value[place + size : end]
                        return _unquoted(found) or empty
                    if end < 0:
                        break
                    start = end + 1
        return None

    return find


def _begins_pair(value: bytes, start: int, place: int) -> bool:
    """Whether nothing but white space stands before *place*, back to a semicolon or *start*."""
    before = value[place - 1] if place else SEMICOLON
    if before == SEMICOLON:
        return True
    if before != SPACE and before != TAB:
        return False
    if place > 1 and value[place - 2] == SEMICOLON:  # as clients write it
        return True
    return not value[value.rfind(b";", start, place) + 1 or start : place].strip(b" \t")


def _unquoted(value: bytes) -> str:
    value = value.strip(b" \t")
    if len(value) > 1 and value[0] == QUOTE and value[-1] == QUOTE:
        value = value[1:-1]
    return decoded(value)


def query(name: str, empty: str | None = "") -> Field | None:
    """The first query value called *name*, percent-decoded, ``+`` as a space. An empty one is *empty*."""

    def find(head: Head) -> str | None:
        given = head.query
        if not given:
            return None
        for part in given.split("&"):
            key, _, value = part.partition("=")
            if part and _unescaped(key) == name:
                return _unescaped(value) or empty
        return None

    return find


def _unescaped(value: str) -> str:
    if value.isascii() and "%" not in value and "+" not in value:
        return value
    return decoded(unquote_to_bytes(_wire(value.replace("+", " "))))


def path(head: Head) -> str:
    """The path as it came, undecoded."""
    found = head.path
    return found if found.isascii() else decoded(_wire(found))


def _method(head: Head) -> str:
    return head.method


def _host(head: Head) -> str | None:
    return head.host or None


def ip(head: Head) -> str | None:
    """The client's address; None when unknown."""
    return head.client_ip or None


def request_field(name: str) -> Field | None:
    """What gives the field called *name* of a request; None when there is no such field."""
    plain: dict[str, Field] = {"method": _method, "host": _host, "path": path, "ip": ip}
    group, dot, rest = name.partition(".")
    if not dot:
        return plain.get(name)
    makers: dict[str, Callable[[str], Field | None]] = {"headers": header, "cookies": cookie, "query": query}
    maker = makers.get(group)
    return maker(rest) if maker else None


def unit_field(unit: str | None) -> Field | None:
    """What gives the unit, by a route's ``unit``: ``header:NAME``, ``cookie:NAME``, ``query:NAME``, ``ip``.

    An empty value is no unit.
    """
    if not unit:
        return None
    if unit == "ip":
        return ip
    kind, _, name = unit.partition(":")
    makers = {"header": header, "cookie": cookie, "query": query}
    return makers[kind](name, None) if kind in makers else None


def check_unit(unit: str, path: str = "unit") -> list[Problem]:
    """What is wrong with a route's ``unit``."""
    kind, colon, name = unit.partition(":")
    if unit == "ip":
        return []
    if kind == "jwt":
        message = "units from a JWT are not in this version: no token is verified yet"
        return [Problem(path=path, message=message, hint="use header:NAME or cookie:NAME")]
    if kind not in UNIT_KINDS or kind == "ip":
        known = "header:NAME, cookie:NAME, query:NAME or ip"
        hint = closest(kind, UNIT_KINDS, "did you mean {}:NAME?") if colon else ""
        return [Problem(path=path, message=f"{unit!r} is not a unit: {known}", hint=hint)]
    if not name:
        return [Problem(path=path, message=f"{unit!r} names nothing", hint=f"like {kind}:uid")]
    if kind == "header" and _is_ours(name.lower().encode("utf-8", "replace")):
        return [Problem(path=path, message=f"{name} is Understudy's own field; clients' are dropped")]
    return []


class RequestResolver:
    """Reads `var` from a request head; nothing is extracted that no rule names."""

    def __init__(
        self, flag_key: str, unit: str | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self.flag_key = flag_key
        self._clock = clock
        self._unit_at = unit
        self._unit = unit_field(unit)

    def field(self, name: str, default: Json = None) -> Node:
        """The value called *name*, *default* where there is none."""
        if name.split(".", 1)[0] == "$flagd":
            return flagd_field(self.flag_key, self._clock, name, default)
        if name == "":
            return Node(self.context)
        if name in GROUPS:
            return Node(lambda head: self.context(head)[name])
        find = self._unit if name == UNIT else request_field(name)
        if find is None:
            return constant(default)
        if default is None:
            return Node(find)
        return Node(lambda head: default if (value := find(head)) is None else value)

    def find(self, data: Any, name: str, default: Json = None) -> Json:
        """The same, for a name that is only known at run time."""
        return self.field(name, default).run(data)

    def element(self) -> Resolver:
        """The resolver for rules that look at one element of a list."""
        return DataResolver().element()

    def of_flag(self, key: str) -> Resolver:
        """The resolver for another flag in the same context."""
        return RequestResolver(key, self._unit_at, self._clock)

    def context(self, head: Head) -> dict[str, Json]:
        """All that rules may know of *head*, as an SDK would send it; what is not there is left out."""
        found: dict[str, Json] = {
            "method": head.method,
            "host": _host(head),
            "path": path(head),
            "ip": ip(head),
            UNIT: self._unit(head) if self._unit else None,
            "$flagd": flagd_field(self.flag_key, self._clock, "$flagd").run(head),
        }
        present: dict[str, Json] = {name: value for name, value in found.items() if value is not None}
        return {
            **present,
            "headers": _first(_all_headers(head)),
            "cookies": _first(_all_cookies(head)),
            "query": _first(_all_query(head)),
        }


def _first(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _all_headers(head: Head) -> Iterator[tuple[str, str]]:
    for key, value in head.headers:
        if key and not _is_ours(key.lower()):
            yield decoded(key.lower()), decoded(value.strip(b" \t"))


def _all_cookies(head: Head) -> Iterator[tuple[str, str]]:
    for key, value in head.headers:
        if key.lower() == b"cookie":
            for part in value.split(b";"):
                name, equals, rest = part.lstrip(b" \t").partition(b"=")
                if equals and name:
                    yield decoded(name), _unquoted(rest)


def _all_query(head: Head) -> Iterator[tuple[str, str]]:
    for part in head.query.split("&"):
        key, _, value = part.partition("=")
        if part:
            yield _unescaped(key), _unescaped(value)

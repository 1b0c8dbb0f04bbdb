"""Compare header fields: names, values as multisets, cookies by name."""

from collections.abc import Sequence
from typing import Final

from understudy.comparators.content import content_type
from understudy.comparators.found import Found
from understudy.forwarding import HOP_BY_HOP
from understudy.messages import Answer, Headers

# The way, not the answer: hop by hop, and who passed it on. The body says its length: bytes that differ in
# number differ.
UNCOMPARED_HEADERS: Final = HOP_BY_HOP | {b"via", b"content-length"}
"""Lower-case fields that are never compared."""

VOLATILE_HEADERS: Final = frozenset(
    {
        # After Keploy, pkg/models/flaky_headers.go.
        b"date",
        b"x-request-id",
        b"request-id",
        b"x-correlation-id",
        b"correlation-id",
        b"x-runtime",
        b"traceparent",
        b"tracestate",
        b"b3",
        b"x-b3-traceid",
        b"x-b3-spanid",
        b"x-b3-parentspanid",
        b"x-datadog-trace-id",
        b"x-datadog-parent-id",
        b"x-amzn-trace-id",
        b"x-amzn-requestid",
        b"x-amz-request-id",
        b"x-amz-id-2",
        b"x-cloud-trace-context",
        b"sentry-trace",
        # Times and ids of one answer that others give.
        b"age",
        b"cf-ray",
        b"server-timing",
        b"x-trace-id",
        b"x-response-time",
        b"x-process-time",
        b"x-envoy-upstream-service-time",
        # Names the software and its version, which a new version may well change.
        b"server",
    }
)
"""Lower-case fields whose value is forgiven; that they are there is still compared."""

LIST_HEADERS: Final = frozenset(
    {
        # Lists of case-insensitive tokens in which order means nothing.
        b"vary",
        b"allow",
        b"cache-control",
        b"accept-ranges",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-expose-headers",
    }
)
SET_COOKIE: Final = b"set-cookie"
CONTENT_TYPE: Final = b"content-type"
FORGIVEN: Final = VOLATILE_HEADERS | UNCOMPARED_HEADERS


def compare_content_types(found: Found, primary: Answer, shadow: Answer) -> None:
    """Media type and parameters, but those that frame a multipart body."""
    a, b = primary.header(CONTENT_TYPE), shadow.header(CONTENT_TYPE)
    if a == b:
        return
    mine, theirs = content_type(a), content_type(b)
    if (mine.media, mine.charset, mine.others) != (theirs.media, theirs.charset, theirs.others):
        found.add(("headers", "content-type"), "content_type", mine.shown, theirs.shown)


def compare_headers(found: Found, primary: Answer, shadow: Answer, *, is_head: bool = False) -> None:
    """Note differing fields below ``/headers``: missing, extra, header.

    Cookies stand below ``/headers/set-cookie``, a changed value as value, changed attributes as header.
    With *is_head* the Content-Length is compared where both have one: there is no body to say it.
    """
    if primary.headers == shadow.headers or (not is_head and _is_same(primary.headers, shadow.headers)):
        return
    mine, theirs = _table(primary.headers), _table(shadow.headers)
    for name, values in mine.items():
        others = theirs.get(name)
        if others is None:
            _note_absent(found, name, "missing", values)
        elif values != others and name not in VOLATILE_HEADERS:
            _compare_values(found, name, values, others)
    for name, values in theirs.items():
        if name not in mine:
            _note_absent(found, name, "extra", values)
    if is_head:
        a, b = primary.header(b"content-length"), shadow.header(b"content-length")
        if a and b and a != b:
            _note(found, b"content-length", [a], [b])


def _is_same(mine: Headers, theirs: Headers) -> bool:
    """A quick yes, for fields in one order; a no means only that they must be looked at."""
    if len(mine) != len(theirs):
        return False
    for field, other in zip(mine, theirs, strict=True):
        if field != other:
            name = field[0].lower()
            if name != other[0].lower() or (field[1] != other[1] and name not in FORGIVEN):
                return False
    return True


def _table(headers: Headers) -> dict[bytes, list[bytes]]:
    """The fields by name, without the first Content-Type, which is compared apart; a second one is wrong."""
    table: dict[bytes, list[bytes]] = {}
    is_typed = False
    for name, value in headers:
        name = name.lower()
        if name == CONTENT_TYPE and not is_typed:
            is_typed = True
        elif name not in UNCOMPARED_HEADERS:
            if name in table:
                table[name].append(value)
            else:
                table[name] = [value]
    return table


def _compare_values(found: Found, name: bytes, mine: list[bytes], theirs: list[bytes]) -> None:
    if name == SET_COOKIE:
        _compare_cookies(found, mine, theirs)
    elif name in LIST_HEADERS:
        if _members(mine) != _members(theirs):
            _note(found, name, mine, theirs)
    elif found.rules is not None and found.rules.is_unordered(("headers", _text(name))):
        _compare_unordered(found, name, mine, theirs)
    elif sorted(mine) != sorted(theirs):
        _note(found, name, mine, theirs)


def _compare_unordered(found: Found, name: bytes, mine: list[bytes], theirs: list[bytes]) -> None:
    """Like `LIST_HEADERS`, because a rule says so; the case of a member may mean something here."""
    if _split(mine) != _split(theirs):
        _note(found, name, mine, theirs)
    else:
        found.add(("headers", _text(name)), "order", _shown(mine), _shown(theirs), ignored=True)


def _members(values: list[bytes]) -> list[bytes]:
    return sorted(member.lower() for member in _split(values))


def _split(values: list[bytes]) -> list[bytes]:
    return sorted(part.strip() for part in b",".join(values).split(b",") if part.strip())


def _note(found: Found, name: bytes, mine: list[bytes], theirs: list[bytes]) -> None:
    found.add(("headers", _text(name)), "header", _shown(mine), _shown(theirs))


def _note_absent(found: Found, name: bytes, kind: str, values: list[bytes]) -> None:
    if name == SET_COOKIE:
        some, none = _cookies(values), _cookies([])
        _compare_jars(found, some, none) if kind == "missing" else _compare_jars(found, none, some)
        return
    tokens = ("headers", _text(name))
    if kind == "missing":
        found.add(tokens, kind, _shown(values), None)
    else:
        found.add(tokens, kind, None, _shown(values))


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _shown(values: list[bytes]) -> object:
    return _text(values[0]) if len(values) == 1 else [_text(value) for value in values]


# -- cookies


Cookie = tuple[str, tuple[tuple[str, str], ...]]
"""Value and attributes, lower case and sorted; Expires without its value, which is a clock."""


def _compare_cookies(found: Found, mine: list[bytes], theirs: list[bytes]) -> None:
    _compare_jars(found, _cookies(mine), _cookies(theirs))


def _compare_jars(found: Found, mine: dict[str, list[Cookie]], theirs: dict[str, list[Cookie]]) -> None:
    for name in mine | theirs:
        a, b = mine.get(name, []), theirs.get(name, [])
        tokens = ("headers", "set-cookie", name)
        if not b:
            found.add(tokens, "missing", _values(a), None)
        elif not a:
            found.add(tokens, "extra", None, _values(b))
        else:
            if sorted(value for value, _ in a) != sorted(value for value, _ in b):
                found.add(tokens, "value", _values(a), _values(b))
            if sorted(rest for _, rest in a) != sorted(rest for _, rest in b):
                found.add(tokens, "header", _attributes(a), _attributes(b))


def _cookies(lines: list[bytes]) -> dict[str, list[Cookie]]:
    jar: dict[str, list[Cookie]] = {}
    for line in lines:
        pair, *rest = _text(line).split(";")
        name, _, value = pair.partition("=")
        attributes = sorted(_attribute(part) for part in rest if part.strip())
        jar.setdefault(name.strip(), []).append((value.strip(), tuple(attributes)))
    return jar


def _attribute(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    name, value = name.strip().lower(), value.strip()
    if name == "expires":
        return name, ""
    return name, value if name == "path" else value.lower()


def _values(cookies: Sequence[Cookie]) -> object:
    return cookies[0][0] if len(cookies) == 1 else [value for value, _ in cookies]


def _attributes(cookies: Sequence[Cookie]) -> object:
    texts = ["; ".join(f"{n}={v}" if v else n for n, v in rest) for _, rest in cookies]
    return texts[0] if len(texts) == 1 else texts

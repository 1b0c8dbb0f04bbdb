"""One request as an application is handed it (ASGI), readable as the head that rules decide by."""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

from understudy.messages import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

UNRESERVED: Final = "/!$&'()*+,;=:@~"
"""What stands in a path unescaped, beside letters, digits and ._- (RFC 3986 3.3)."""


class AsgiRequest:
    """The head in an HTTP scope; nothing is made of it before a rule asks.

    The path is the client's, as it stood on the wire (``raw_path``), wherever the application is mounted;
    where a server does not tell it, its ``path`` escaped anew. ``client_ip`` is the server's peer, unless
    ``way`` is set: that finds who asked behind the proxies before this one, when a rule first asks.

    It stays as it came, whatever the application does to its scope and its list of fields: what is asked of
    it late is answered as at first.

    The scope itself is not kept, because it holds the decision, which holds this: a cycle for each request.
    ``again`` is a copy of it without the decision, for who asks the application once more.
    """

    __slots__ = (
        "_client_ip",
        "_given",
        "_headers",
        "_host",
        "_path",
        "_query",
        "_raw",
        "again",
        "asks",
        "decided",
        "method",
        "way",
    )

    def __init__(self, scope: Scope) -> None:
        # A dict is read without the calls that another mapping needs.
        given: dict[str, Any] = scope if type(scope) is dict else dict(scope)
        self.method: str = given["method"]
        self._client_ip: str = peer_of(given.get("client"))
        self._raw: bytes | str = given.get("raw_path") or given["path"]
        query = given.get("query_string", b"")
        self._query: bytes = query if isinstance(query, bytes) else _query_of(query)
        headers = given["headers"]
        self._given: Any = headers.copy() if type(headers) is list else headers
        self._path: str | None = None
        self._host: str | None = None
        self._headers: Headers | None = None
        self.way: Callable[[AsgiRequest], str] | None = None
        self.again: Scope | None = None
        self.asks: App | None = None
        """Who is asked once more: the application that answered."""
        self.decided: Any = None
        """The rules in force and what they said of this, for the decision in ``again``."""

    @property
    def client_ip(self) -> str:
        way = self.way
        if way is not None:
            self._client_ip = way(self)
            self.way = None  # last: another thread of the application's may ask meanwhile
        return self._client_ip

    @property
    def path(self) -> str:
        path = self._path
        if path is None:
            raw = self._raw
            if isinstance(raw, bytes):
                path = raw.decode("latin-1").partition("?")[0]
            else:
                path = quote(raw, safe=UNRESERVED) or "/"
            self._path = path
        return path

    @property
    def query(self) -> str:
        return self._query.decode("latin-1")

    @property
    def headers(self) -> Headers:
        headers = self._headers
        if headers is None:
            given = self._given
            self._headers = headers = given if are_fields(given) else _readable(given)
        return headers

    @property
    def host(self) -> str:
        host = self._host
        if host is None:
            host = ""
            for name, value in self.headers:
                if name == b"host" or name.lower() == b"host":
                    host = value.strip(b" \t").decode("latin-1").lower()
                    break
            self._host = host
        return host

    @property
    def target(self) -> bytes:
        """Path and query as they go on in a request line."""
        path = self.path.encode("latin-1")
        return b"%b?%b" % (path, self._query) if self._query else path


def peer_of(client: Any) -> str:
    """The address in a scope's ``client``; empty where that names none."""
    # Not a union, which mypyc makes anew each time.
    if isinstance(client, (tuple, list)) and client and isinstance(client[0], str):
        return client[0]
    return ""


def octets(given: Any) -> bytes:
    """*given* as the bytes that ASGI asks for, text in UTF-8. Raises TypeError for what is neither."""
    return given.encode("utf-8", "replace") if isinstance(given, str) else bytes(memoryview(given))


def _query_of(given: Any) -> bytes:
    """Text in the scopes of Django's test client; what cannot be read asks for nothing."""
    try:
        return octets(given)
    except TypeError:
        return b""


def are_fields(given: Any) -> bool:
    """Whether *given* is as ASGI has it, and can be kept; what is compiled refuses each field that is not."""
    if type(given) is not list:
        return False
    for field in given:
        if not (isinstance(field, tuple) and len(field) == 2):
            return False
        if not (isinstance(field[0], bytes) and isinstance(field[1], bytes)):
            return False
    return True


def _readable(given: Any) -> Headers:
    """Those of *given* that can be read: what other middleware adds may be in a form of its own."""
    found = []
    for field in given:
        with suppress(TypeError, ValueError):
            name, value = field
            found.append((octets(name), octets(value)))
    return found


NO_REQUEST: Final = AsgiRequest({"method": "", "path": "", "headers": []})
"""Stands for one whose head cannot be read, or has not been."""

"""One request as an application is handed it (ASGI), readable as the head that rules decide by."""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote

from understudy.messages import Headers

Scope = MutableMapping[str, Any]

UNRESERVED = "/!$&'()*+,;=:@~"
"""What stands in a path unescaped, beside letters, digits and ._- (RFC 3986 3.3)."""


class AsgiRequest:
    """The head in an HTTP *scope*; nothing is made of it before a rule asks.

    The path is the client's, as it stood on the wire (``raw_path``), wherever the application is mounted;
    where a server does not tell it, its ``path`` escaped anew. ``client_ip`` may be set by who knows better.
    """

    __slots__ = ("_headers", "_host", "_path", "client_ip", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        client = scope.get("client")
        self.client_ip: str = client[0] if client else ""
        self._path: str | None = None
        self._host: str | None = None
        self._headers: Headers | None = None

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    @property
    def path(self) -> str:
        path = self._path
        if path is None:
            raw = self.scope.get("raw_path")
            if raw:
                path = raw.decode("latin-1").partition("?")[0]
            else:
                path = quote(self.scope["path"], safe=UNRESERVED) or "/"
            self._path = path
        return path

    @property
    def query(self) -> str:
        query: bytes = self.scope.get("query_string", b"")
        return query.decode("latin-1")

    @property
    def headers(self) -> Headers:
        headers = self._headers
        if headers is None:
            given = self.scope["headers"]
            if not (isinstance(given, list) and (not given or type(given[0]) is tuple)):
                given = [(bytes(name), bytes(value)) for name, value in given]
            self._headers = headers = given
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
    def peer(self) -> str:
        """The address at the other end of the connection."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def target(self) -> bytes:
        """Path and query as they go on in a request line."""
        query: bytes = self.scope.get("query_string", b"")
        path = self.path.encode("latin-1")
        return b"%b?%b" % (path, query) if query else path

    @property
    def is_http1(self) -> bool:
        """Whether its fields tell how long its body is."""
        return self.scope.get("http_version", "1.1") in ("1.0", "1.1")

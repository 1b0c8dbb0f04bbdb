"""The requests that are sent, and a small client to ask one question."""

import http.client
import json
from dataclasses import dataclass

from processes import BenchError

HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0 Safari/537.36",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-US,en;q=0.9",
    "Accept-Encoding": "gzip, deflate, br",
    "Referer": "https://shop.example.com/products/123",
    "Cookie": "session=abcdef0123456789abcdef; uid=user-123456; theme=dark",
    "X-Request-Id": "8f14e45f-ceea-467f-a0e6-1c1d1f1e1a1b",
    "Authorization": "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
    "Cache-Control": "no-cache",
}
MARK = "X-Bench-Check"
"""The field by which the shadow counts copies while a proxy is checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a client sends, over and over."""

    path: str = "/"
    method: str = "GET"
    body_bytes: int = 0
    is_changing: bool = False
    """Another X-Request-Id with every request."""

    @property
    def fields(self) -> dict[str, str]:
        """The header fields beside Host and Content-Length."""
        return HEADERS | ({"Content-Type": "application/json"} if self.body_bytes else {})

    @property
    def body(self) -> bytes:
        """One JSON document of exactly `body_bytes`."""
        frame = len(json.dumps({"note": ""}))
        return json.dumps({"note": "x" * (self.body_bytes - frame)}).encode() if self.body_bytes else b""

    def raw(self, port: int) -> bytes:
        """The request as it goes over the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in self.fields.items()]
        if self.body_bytes:
            lines.append(f"Content-Length: {self.body_bytes}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def ask(
    port: int, load: Load | None = None, *, times: int = 1, is_marked: bool = False
) -> list[tuple[int, bytes]]:
    """Status and body of *times* requests of *load*, over one connection.

    With *is_marked* they also carry `MARK`, by which the shadow counts them.

    Raises:
        BenchError: an answer did not come.
    """
    load = load or Load()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    got: list[tuple[int, bytes]] = []
    fields = load.fields | ({MARK: "1"} if is_marked else {})
    try:
        for _ in range(times):
            connection.request(load.method, load.path, body=load.body or None, headers=fields)
            answer = connection.getresponse()
            got.append((answer.status, answer.read()))
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{load.method} http://127.0.0.1:{port}{load.path}: {error!r}") from None
    finally:
        connection.close()
    return got


def page(port: int, path: str) -> bytes:
    """What GET *path* gives. Raises `BenchError` unless the status is 200."""
    status, body = ask(port, Load(path=path))[0]
    if status != 200:
        raise BenchError(f"GET http://127.0.0.1:{port}{path} answered {status}: {body[:300]!r}")
    return body

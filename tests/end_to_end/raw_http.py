"""HTTP/1.1 over a plain socket: what was sent is what is written here, what came is kept as it came."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

Fields = tuple[tuple[str, str], ...]

PER_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "via"})
"""Fields that belong to one hop or one moment. Everything else must arrive as it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; ``chunks`` makes it a chunked one."""

    method: str
    target: str
    fields: Fields = ()
    body: bytes = b""
    chunks: tuple[bytes, ...] = ()

    def wire(self, *, host: str, more: Fields = ()) -> bytes:
        """The bytes of the request; *more* fields stand after its own."""
        framing: Fields = ()
        if self.chunks:
            framing = (("Transfer-Encoding", "chunked"),)
        elif self.body or self.method in ("POST", "PUT", "PATCH"):
            framing = (("Content-Length", str(len(self.body))),)
        fields = (("Host", host), *self.fields, *more, *framing)
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"{self.method} {self.target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + self._content()

    def _content(self) -> bytes:
        if not self.chunks:
            return self.body
        return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in self.chunks) + b"0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """One answer: the status line, the fields in their order, the body without its transfer coding."""

    status_line: str
    fields: Fields
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.status_line.split(" ", 2)[1])

    def field(self, name: str) -> str:
        """The value of the only field called *name* (lower case); empty when there is none."""
        values = [value for known, value in self.fields if known.lower() == name]
        assert len(values) < 2, values
        return values[0] if values else ""

    @property
    def end_to_end(self) -> Fields:
        """The fields that a proxy may not touch, in order, duplicates kept."""
        return tuple((name, value) for name, value in self.fields if name.lower() not in PER_HOP)


class RawClient:
    """One connection, for any number of requests, one at a time."""

    def __init__(self, port: int, *, timeout_seconds: float = 60.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds)
        self._reader = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()
        self._socket.close()

    def ask(self, request: Request, *, host: str = "httpbin.example", more: Fields = ()) -> RawAnswer:
        """Send *request* and read its whole answer."""
        self._socket.sendall(request.wire(host=host, more=more))
        return self._read(is_head=request.method == "HEAD")

    def _read(self, *, is_head: bool) -> RawAnswer:
        status_line = self._line()
        fields = tuple(self._fields())
        names = {name.lower(): value for name, value in fields}
        status = int(status_line.split(" ", 2)[1])
        body = b""
        if not is_head and status not in (204, 304):
            body = self._body(names)
        return RawAnswer(status_line=status_line, fields=fields, body=body)

    def _body(self, names: dict[str, str]) -> bytes:
        if names.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        if "content-length" in names:
            return self._exactly(int(names["content-length"]))
        return self._reader.read()

    def _chunks(self) -> Sequence[bytes]:
        chunks = []
        while size := int(self._line().partition(";")[0], 16):
            chunks.append(self._exactly(size))
            assert self._line() == ""
        assert list(self._fields()) == []
        return chunks

    def _fields(self) -> Sequence[tuple[str, str]]:
        fields = []
        while line := self._line():
            name, _, value = line.partition(":")
            fields.append((name, value.strip()))
        return fields

    def _line(self) -> str:
        line = self._reader.readline(65_536)
        assert line.endswith(b"\r\n"), f"the connection ended in the middle of a line: {line!r}"
        return line[:-2].decode("latin-1")

    def _exactly(self, size: int) -> bytes:
        body = self._reader.read(size)
        assert len(body) == size, f"the connection ended after {len(body)} of {size} bytes"
        return body


def ask_once(port: int, request: Request, *, more: Fields = ()) -> RawAnswer:
    """Ask on a connection of its own."""
    with RawClient(port) as client:
        return client.ask(request, more=more)

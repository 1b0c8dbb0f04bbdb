"""A control process whose every answer is scripted, on a real socket, in a thread of its own."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self

import pytest

BOTH = {"on": True, "off": False}
WAIT_SECONDS = 60.0


def flag(default: str = "on", rule: Any = None, variants: Any = None) -> dict[str, Any]:
    """A flag, boolean unless *variants* are given."""
    made: dict[str, Any] = {"variants": variants or BOTH, "defaultVariant": default}
    return made if rule is None else {**made, "targeting": rule}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Without its query."""
        return self.line.split()[1].partition("?")[0]


class ScriptedServer:
    """Answers with ``document`` at ``version`` while ``fault`` is empty; ``streams`` says if it streams.

    ``tag`` is the entity tag, of the document if it is empty.

    Faults: ``500``, ``401``, ``garbage``, ``html``, ``half``, ``loris`` (a head that never ends), ``trickle``
    (a body that never ends), ``bomb`` (gzip that unfolds to far too much), ``redirect``, ``hang``, ``reset``.
    """

    def __init__(self, **flags: Any) -> None:
        self.document: dict[str, Any] = {"flags": flags, "$evaluators": {}, "metadata": {}, "killed": []}
        self.version, self.stored_at = 1, 1_767_000_000.0
        self.fault, self.tag = "", ""
        self.streams = True
        self.asked: list[Asked] = []
        self.extra: dict[str, tuple[int, bytes]] = {}
        self._listeners: set[asyncio.StreamWriter] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._begun, self._ended = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._begun.wait(WAIT_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The last in the queue: whoever connected before it is being answered then.
        with socket.create_connection(("127.0.0.1", self._port), WAIT_SECONDS) as last:
            last.sendall(b"GET /last HTTP/1.1\r\n\r\n")
            last.recv(100)
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(WAIT_SECONDS)

    def put(self, flags: Mapping[str, Any], *, version: int | None = None, later: float = 1.0) -> None:
        """Put *flags* in force as the next version, and tell the listeners."""
        self.document = {**self.document, "flags": dict(flags)}
        self.version = self.version + 1 if version is None else version
        self.stored_at += later
        self.tell()

    def tell(self, data: bytes = b"") -> None:
        """Tell the listeners of the version, or send them *data*."""
        event = data or b'id: %d\ndata: {"type": "refetchEvaluation"}\n\n' % self.version
        self._loop.call_soon_threadsafe(self._write_all, event)

    def cut(self) -> None:
        """End all streams."""
        self._loop.call_soon_threadsafe(self._cut_all)

    def fail(self, fault: str, document: dict[str, Any]) -> None:
        """From now on *fault*, with *document* behind it, which no answer that is being made has seen."""
        done = threading.Event()

        def change() -> None:
            self.fault, self.document = fault, document
            done.set()

        self._loop.call_soon_threadsafe(change)
        assert done.wait(WAIT_SECONDS)

    def wait_for_listener(self) -> None:
        """Until somebody hears the stream."""
        wait_until(lambda: bool(self._listeners))

    def count(self, path: str) -> int:
        """How often *path* was asked."""
        return sum(asked.path == path for asked in list(self.asked))

    def _write_all(self, data: bytes) -> None:
        for writer in self._listeners:
            writer.write(data)

    def _cut_all(self) -> None:
        for writer in list(self._listeners):
            writer.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self._port)
        self._port = server.sockets[0].getsockname()[1]
        self._begun.set()
        await self._ended.wait()
        server.close()
        rest = set(self._answering)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        try:
            await self._answer(await _read(reader), reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._listeners.discard(writer)
            if self._ended.is_set():
                writer.transport.abort()
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asked.path == "/last":
            return
        self.asked.append(asked)
        if self.fault:
            await self._fail(writer)
        elif asked.path == "/ofrep/v1/sse" and asked.line.startswith("GET") and self.streams:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 2000\n\n")
            self._listeners.add(writer)
            # A client that has read all ends with a FIN, which the writer does not show.
            while not (writer.is_closing() or reader.at_eof()):
                await asyncio.sleep(0.01)
        elif asked.path in self.extra:
            status, body = self.extra[asked.path]
            writer.write(_whole(status, body))
        elif asked.path == "/api/v1/sync/flags.json":
            self._definition(asked, writer)
        elif asked.path == "/ofrep/v1/sse":
            is_head = asked.line.startswith("HEAD")
            writer.write(_whole(200 if is_head else 404, b"", "content-type: text/event-stream\r\n"))
        else:
            writer.write(_whole(404, b'{"errorCode":"FLAG_NOT_FOUND","errorDetails":"no"}'))
        await writer.drain()

    def _definition(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        body = json.dumps(self.document).encode()
        tag = self.tag or f'"{blake2b(body, digest_size=8).hexdigest()}"'
        fields = f"etag: {tag}\r\n"
        if self.version:
            about = f"x-understudy-version: {self.version}\r\nx-understudy-stored-at: {self.stored_at}\r\n"
            fields += about
        is_known = asked.headers.get("if-none-match") == tag
        writer.write(_whole(304 if is_known else 200, b"" if is_known else body, fields))

    async def _fail(self, writer: asyncio.StreamWriter) -> None:
        fault = self.fault
        whole = json.dumps(self.document).encode()
        bodies = {"garbage": b"\x00\xff{" * 100, "html": b"<html>log in</html>"}
        if fault in ("500", "401"):
            writer.write(_whole(int(fault), b'{"detail": "no"}'))
        elif fault in bodies:
            writer.write(_whole(200, bodies[fault]))
        elif fault == "half":
            writer.write(_whole(200, whole)[: -len(whole) // 2])
        elif fault == "redirect":
            writer.write(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n")
        elif fault == "bomb":
            writer.write(_whole(200, _bomb(), "content-encoding: gzip\r\n"))
        elif fault in ("hang", "loris", "trickle"):
            await self._linger(writer, b"" if fault == "hang" else b"HTTP/1.1 200 OK\r\n")
        await writer.drain()

    async def _linger(self, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(head + (b"content-length: 100000\r\n\r\n{" if self.fault == "trickle" else b""))
        while self.fault and not writer.is_closing():
            if head:
                writer.write(b" " if self.fault == "trickle" else b"x: y\r\n")
            await asyncio.sleep(0.02)


def _bomb() -> bytes:
    import zlib

    unfolding = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    return b"".join(unfolding.compress(zeros) for _ in range(80)) + unfolding.flush()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(line=line, headers=headers, body=body)


def _whole(status: int, body: bytes, fields: str = "") -> bytes:
    kind = "" if "content-type" in fields else "content-type: application/json\r\n"
    head = f"HTTP/1.1 {status} X\r\nconnection: close\r\n{kind}{fields}"
    length = "" if status == 304 else f"content-length: {len(body)}\r\n"
    return f"{head}{length}\r\n".encode() + body


def give_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients that end wait until what they send then is there, however slow the machine."""
    monkeypatch.setattr("understudy.client.life.LAST_SECONDS", WAIT_SECONDS)
    monkeypatch.setattr("understudy.client.client._CLOSE_SECONDS", WAIT_SECONDS)


def wait_until(is_so: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Until *is_so*; fails after *seconds*."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.005)

"""Services on loopback that answer as told, and recordings to ask them."""

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from store_servers import free_port

from understudy.config import Service
from understudy.replay import Playback, Recorded, Recording, Replay
from understudy.testing import answer
from understudy.testing.http1 import request_end

Reply = Callable[[str, int], bytes | None]
"""The bytes to answer a target with, given how many requests came before; None hangs up."""


def json_answer(document: object, *, status: int = 200, **fields: str) -> bytes:
    """An answer with *document* as its body."""
    named = [("Content-Type", "application/json"), *((n.replace("_", "-"), v) for n, v in fields.items())]
    return answer(status, json.dumps(document).encode(), named)


class Stage:
    """One service; ``asked`` has every request whole, as it came. While it is ``shut`` nobody is answered.

    Once it has left, its port refuses: no other test is given it.
    """

    def __init__(self, reply: Reply, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        self.connections: list[_Peer] = []
        self.url = ""
        self.shut = False
        self._reply = reply
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Peer(self), "127.0.0.1", free_port(), ssl=self._tls
        )
        scheme = "http" if self._tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the listener and every connection."""
        if self._server is not None:
            self._server.close()
        for peer in self.connections:
            peer.transport.abort()

    @property
    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [request.split(b" ")[1].decode() for request in self.asked]

    def open(self) -> None:
        """Answer those who wait, and who comes from now on."""
        self.shut = False
        for peer in self.connections:
            peer.go_on()

    def reply_to(self, request: bytes) -> bytes | None:
        self.asked.append(request)
        return self._reply(request.split(b" ")[1].decode(), len(self.asked) - 1)


class _Peer(asyncio.Protocol):
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._held = b""
        self._waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._stage.connections.append(self)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := request_end(self._held, 0)) is not None:
            request, self._held = self._held[:end], self._held[end:]
            reply = self._stage.reply_to(request)
            if reply is None:
                self.transport.abort()
                return
            self._waiting.append(reply)
            if not self._stage.shut:
                self.go_on()

    def go_on(self) -> None:
        while self._waiting:
            self.transport.write(self._waiting.pop(0))


def recorded(path: str = "/items", method: str = "GET", **more: Any) -> Recorded:
    """One request."""
    plain: dict[str, Any] = {
        "host": "shop.example",
        "query": "",
        "headers": (),
        "credentials": (),
        "body": b"",
        "override": "",
        "at": None,
    }
    return Recorded(**{**plain, "method": method, "path": path, **more})


def recording(requests: Iterable[Recorded], **more: Any) -> Recording:
    """A recording of *requests*, without anything skipped."""
    asked = tuple(requests)
    plain: dict[str, Any] = {
        "name": "some.har",
        "entries": len(asked),
        "skipped": {},
        "hosts": {"shop.example": len(asked)},
        "replayed_hosts": ("shop.example",),
        "broken": "",
    }
    return Recording(requests=asked, **{**plain, **more})


def replay(primary: Stage | str, candidate: Stage | str, requests: Iterable[Recorded], **more: Any) -> Replay:
    """A replay of *requests*, of which the primary is asked all twice."""

    def service(stage: Stage | str) -> Service:
        return Service(url=stage if isinstance(stage, str) else stage.url, connect_timeout=60.0)

    control = more.pop("control", None)
    whole = Replay(
        recording=recording(requests),
        primary=service(primary),
        candidate=service(candidate),
        control=service(control) if control else None,
        control_share=1.0,
        timeout_seconds=60.0,
    )
    return replace(whole, **more)


async def played(asked: Replay, **more: Any) -> dict[str, Any]:
    """The report of a whole replay."""
    return await Playback(asked, **more).run()


def assert_balanced(report: dict[str, Any]) -> None:
    """Every request is booked, and every sent copy has an outcome."""
    for books in (report["mirror"], report["control"]):
        sent = books["eligible"] - sum(books["skipped"].values()) - sum(books["dropped"].values())
        assert books["sent"] == sent
        assert books["sent"] == books["answered"] + sum(books["failed"].values())

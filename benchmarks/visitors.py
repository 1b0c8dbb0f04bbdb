"""Clients of the fault run: they ask in every way, check each answer, and some of them leave."""

import asyncio
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

from traffic import Load
from upstreams import BODIES

PATIENCE_SECONDS = 10.0
THINK_SECONDS = 0.05
"""Longest pause between two requests of a visitor: so the run lasts for many openings of the breakers."""

NO_LINGER = struct.pack("ii", 1, 0)
KINDS = {
    "GET": 780,
    "HEAD": 20,
    "POST of 2 KiB": 60,
    "POST of 12 KiB": 20,
    "POST over the cap": 10,
    "POST in chunks": 10,
    "PUT": 20,
    "method override": 10,
    "a copy itself": 20,
    "leaves after the request": 20,
    "leaves within the body": 15,
    "leaves within the head": 5,
    "resets after the request": 10,
}
"""Kind of request to its weight. No answer is awaited from those that leave."""

UNCERTAIN = ("resets after the request",)
"""A reset may overtake the request, so nobody can say whether the proxy saw it."""

UNSEEN = ("leaves within the head",)


@dataclass(slots=True, kw_only=True)
class Visits:
    """What was asked so far, and what was wrong with the answers."""

    wanted: int
    asked: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """As many as wanted."""
        return self.asked.total() >= self.wanted

    @property
    def certain(self) -> int:
        """Requests of which the proxy has seen the whole head."""
        return self.asked.total() - self.uncertain - sum(self.asked[kind] for kind in UNSEEN)

    @property
    def uncertain(self) -> int:
        """Requests of which it may have."""
        return sum(self.asked[kind] for kind in UNCERTAIN)


class Visitor:
    """One client with one connection at a time."""

    def __init__(self, port: int, visits: Visits, chance: random.Random) -> None:
        self._port = port
        self._visits = visits
        self._chance = chance
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def stay(self) -> None:
        """Ask until all visits are made."""
        kinds, weights = list(KINDS), list(KINDS.values())
        while not self._visits.is_over:
            (kind,) = self._chance.choices(kinds, weights)
            self._visits.asked[kind] += 1
            try:
                await asyncio.sleep(self._chance.uniform(0.0, THINK_SECONDS))
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._ask(kind)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                self._visits.wrong.append(f"{kind}: {error!r}")
                self._leave(is_reset=True)
        self._leave()

    async def _ask(self, kind: str) -> None:
        reader, writer = await self._connected()
        request, body = self._request(kind)
        if kind == "leaves within the head":
            writer.write(request[: len(request) // 2])
        elif kind == "leaves within the body":
            writer.write(request + body[: len(body) // 2])
        else:
            writer.write(request + body)
        await writer.drain()
        if kind.startswith(("leaves", "resets")):
            self._leave(is_reset=kind.startswith("resets"))
            return
        status, got = await self._answer(reader, is_head=kind == "HEAD")
        path = "/" if kind in ("GET", "HEAD", "method override", "a copy itself") else "/submit"
        if status != 200 or got != (b"" if kind == "HEAD" else BODIES[path]):
            self._visits.wrong.append(f"{kind}: {status} with {len(got)} bytes")

    def _request(self, kind: str) -> tuple[bytes, bytes]:
        """Head and body. The unit is another one each time, so that all variants are met."""
        sizes = {"POST of 2 KiB": 2048, "POST of 12 KiB": 12_288, "POST over the cap": 40_000}
        more = {
            "method override": "X-HTTP-Method-Override: DELETE",
            "a copy itself": "X-Understudy-Shadow: 1",
        }
        size = sizes.get(kind, 6000 if kind == "leaves within the body" else 0)
        method = {"HEAD": "HEAD", "PUT": "PUT"}.get(
            kind, "POST" if size or kind == "POST in chunks" else "GET"
        )
        path = "/submit" if method in ("POST", "PUT") else "/"
        fields = Load().fields | {"Cookie": f"uid=visitor-{self._chance.getrandbits(32)}"}
        lines = [f"{method} {path} HTTP/1.1", "Host: bench", *(f"{k}: {v}" for k, v in fields.items())]
        lines += [more[kind]] if kind in more else []
        body = b"b" * size
        if kind == "POST in chunks":
            lines.append("Transfer-Encoding: chunked")
            body = b"3e8\r\n" + b"c" * 1000 + b"\r\n0\r\n\r\n"
        elif method in ("POST", "PUT"):
            lines.append(f"Content-Length: {size}")
        return "\r\n".join([*lines, "", ""]).encode(), body

    async def _answer(self, reader: asyncio.StreamReader, *, is_head: bool) -> tuple[int, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        fields = {line.split(b":")[0].lower(): line.split(b":", 1)[1].strip() for line in lines[1:] if line}
        size = 0 if is_head else int(fields.get(b"content-length", b"0"))
        body = await reader.readexactly(size)
        if fields.get(b"connection", b"").lower() == b"close":
            self._leave()
        return int(lines[0].split()[1]), body

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection is None:
            self._connection = await asyncio.open_connection("127.0.0.1", self._port)
        return self._connection

    def _leave(self, *, is_reset: bool = False) -> None:
        if self._connection is None:
            return
        _, writer = self._connection
        self._connection = None
        if is_reset:
            peer: socket.socket = writer.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        writer.close()

"""A steady load that forgives nothing: every request that was sent and not answered whole is a failure.

For proving that a restart is not felt. Clients as people's are would send such a request again and hide it.
"""

import asyncio
import contextlib
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

PATIENCE_SECONDS: Final = 60.0
"""A connect or an answer that takes longer is a failure: a busy machine may hold up both for a while."""

RETRY_SECONDS: Final = 0.01


@dataclass(slots=True)
class LoadTally:
    """What the clients met. ``refused`` counts connects: nothing was sent on them."""

    answered: int = 0
    refused: int = 0
    connects: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """The answer time that *share* of all answers did not exceed; 0 without any."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class _NotOk(Exception):
    """An answer, but not a 200."""


class SteadyLoad:
    """*clients* connections that together send *rate* requests a second, in a thread of their own.

    Each keeps its connection until the server says ``Connection: close`` or closes it while nothing is
    asked; every *closing*-th client says ``Connection: close`` itself, so that connects never stop. *target*
    is (host, port), or the path of a Unix socket. Use it in a ``with`` block; `stop` gives the tally.
    """

    def __init__(
        self,
        target: tuple[str, int] | Path,
        *,
        rate: float = 1000.0,
        clients: int = 40,
        closing: int = 4,
        path: str = "/",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tally = LoadTally()
        self._target = target
        self._interval = clients / rate
        self._clients = clients
        self._closing = closing
        self._path = path
        self._tls = tls
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> LoadTally:
        """End every client after its present request."""
        self._is_over.set()
        self._thread.join(2 * PATIENCE_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError("the load does not end")
        return self.tally

    def until_answered(self, more: int) -> None:
        """Wait for *more* answers from now on. Raises TimeoutError when they do not come."""
        goal = self.tally.answered + more
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.tally.answered < goal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{goal - self.tally.answered} answers never came: {self.tally.failed}")
            time.sleep(RETRY_SECONDS)

    async def _run(self) -> None:
        started = time.monotonic()
        await asyncio.gather(
            *(
                self._client(index, started + index * self._interval / self._clients)
                for index in range(self._clients)
            )
        )

    async def _client(self, index: int, due: float) -> None:
        closes = self._closing > 0 and index % self._closing == 0
        ending = "Connection: close\r\n" if closes else ""
        request = f"GET {self._path} HTTP/1.1\r\nHost: load\r\n{ending}\r\n".encode()
        while not self._is_over.is_set():
            streams = await self._connect()
            if streams is None:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            reader, writer = streams
            try:
                due = await self._talk(reader, writer, request, due)
            finally:
                writer.close()
                with contextlib.suppress(OSError, TimeoutError):
                    await asyncio.wait_for(writer.wait_closed(), 1.0)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        named = {"ssl": self._tls, "server_hostname": "localhost"} if self._tls is not None else {}
        self.tally.connects += 1
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if isinstance(self._target, Path):
                    return await asyncio.open_unix_connection(str(self._target))
                return await asyncio.open_connection(*self._target, **named)  # type: ignore[arg-type]
        except (ConnectionRefusedError, FileNotFoundError):
            self.tally.refused += 1
        except (OSError, TimeoutError) as error:
            self.tally.failed[f"connect: {type(error).__name__}"] += 1
        return None

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, due: float
    ) -> float:
        """Ask until the connection ends; when the next request is due."""
        while not self._is_over.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if reader.at_eof() or self._is_over.is_set():  # closed while nothing was asked: seen in time
                return due
            sent = time.monotonic()
            due = max(due + self._interval, sent)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    writer.write(request)
                    is_last = await self._answer(reader)
            except _NotOk as error:
                self.tally.failed[str(error)] += 1
                return due
            except (OSError, EOFError, ValueError, KeyError, TimeoutError) as error:
                self.tally.failed[type(error).__name__] += 1
                return due
            self.tally.answered += 1
            self.tally.seconds.append(time.monotonic() - sent)
            if is_last:
                return due
        return due

    async def _answer(self, reader: asyncio.StreamReader) -> bool:
        """Read one whole answer; whether it is the connection's last. Raises `_NotOk` unless it is a 200."""
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        await reader.readexactly(int(fields[b"content-length"]))
        if not status.startswith(b"HTTP/1.1 200"):
            raise _NotOk(status.decode("latin-1"))
        return fields.get(b"connection", b"").lower() == b"close"

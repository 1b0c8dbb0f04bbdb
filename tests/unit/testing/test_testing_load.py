"""The steady load counts every request that was sent and not answered, and nothing else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from store_servers import free_port

from understudy.testing import LoadTally, SteadyLoad

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    """A server that runs *handler* for each connection, then closes it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
            await writer.drain()
        except (OSError, EOFError):
            pass  # the load has ended
        finally:
            writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()


async def loaded(
    handler: Handler, *, answers: int, clients: int = 4, closing: int = 0, rate: float = 400
) -> LoadTally:
    """What a load met until it had so many answers."""
    async with serving(handler) as target:
        with SteadyLoad(target, rate=rate, clients=clients, closing=closing) as load:
            await asyncio.to_thread(load.until_answered, answers)
            return await asyncio.to_thread(load.stop)


async def for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(LAST if b"Connection: close" in head else OK)


async def test_a_connection_is_kept_and_the_rate_held() -> None:
    """Forty answers of four clients at 400 a second take a tenth of a second, on four connections."""
    tally = await loaded(for_ever, answers=40)
    assert (dict(tally.failed), tally.refused, tally.connects) == ({}, 0, 4)
    assert tally.answered == len(tally.seconds) >= 40
    assert 0 < tally.quantile(0.5) <= tally.quantile(1.0)


async def test_some_clients_say_close_themselves() -> None:
    """Two of the four, with each request, so that new connections never stop."""
    last = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal last
        while True:
            is_last = b"Connection: close" in await reader.readuntil(b"\r\n\r\n")
            last += is_last
            writer.write(LAST if is_last else OK)

    async with serving(counting) as target:
        with SteadyLoad(target, rate=400, clients=4, closing=2) as load:
            while last < 10:
                await asyncio.sleep(0.005)
            tally = await asyncio.to_thread(load.stop)
    assert dict(tally.failed) == {}
    assert tally.connects >= 2 + last
    assert tally.answered > last


async def test_an_announced_end_is_no_failure() -> None:
    """The client connects again."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(LAST)

    tally = await loaded(once, answers=10)
    assert dict(tally.failed) == {}
    assert tally.connects >= 10


async def test_an_idle_close_that_is_seen_in_time_is_no_failure() -> None:
    """Nothing had been asked."""

    async def unannounced(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # The answer and the end in one packet: the end is there when the next request is due.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        writer.write(OK)
        writer.write_eof()

    tally = await loaded(unannounced, answers=5, clients=1)
    assert dict(tally.failed) == {}


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (b"", "IncompleteReadError"),
        (OK[:-1], "IncompleteReadError"),
        (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 503 Service Unavailable",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n", "KeyError"),
    ],
)
async def test_a_request_without_a_whole_200_is_a_failure(said: bytes, failure: str) -> None:
    """Each one is counted, by what happened."""
    asked = 0

    async def third(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(said if asked == 3 else LAST)

    tally = await loaded(third, answers=10, clients=1)
    assert dict(tally.failed) == {failure: 1}


async def test_refused_connects_are_counted_apart(tmp_path: Path) -> None:
    """Nothing was sent on them, at a port or at a path."""
    gone = ("127.0.0.1", free_port())
    for target in (gone, tmp_path / "gone"):
        with SteadyLoad(target, rate=100, clients=1) as load:
            while not load.tally.refused:
                await asyncio.sleep(0.005)
            tally = await asyncio.to_thread(load.stop)
        assert (dict(tally.failed), tally.answered) == ({}, 0)


def test_without_answers_there_is_no_quantile() -> None:
    """Zero, and no fault."""
    assert LoadTally().quantile(0.99) == 0.0

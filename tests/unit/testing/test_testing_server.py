"""The scripted server against a raw client, on both event loops."""

import asyncio
import inspect
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop

from understudy.testing import End, Pause, Receive, ScriptedServer, Send, answer

REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


@asynccontextmanager
async def connected(server: ScriptedServer) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*server.address)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def test_a_request_is_recorded_and_answered() -> None:
    """What was sent is kept to the byte; the answer comes as it was given; the peer ends the connection."""
    async with ScriptedServer([Receive(), answer(200, b"ok")]) as server:
        async with connected(server) as (reader, writer):
            writer.write(REQUEST)
            assert await reader.readuntil(b"ok") == answer(200, b"ok")
        seen = await server.connection()
        await server.until(lambda: seen.is_closed)

        assert seen.received == REQUEST
        assert (seen.taken, seen.ending) == ([REQUEST], "eof")


async def test_pipelined_requests_are_taken_one_by_one() -> None:
    """Each step of waiting takes one request, though both came at once."""
    async with (
        ScriptedServer([Receive(), b"1", Receive(), b"2", End.CLOSE]) as server,
        connected(server) as (reader, writer),
    ):
        writer.write(REQUEST + REQUEST)

        assert await reader.read() == b"12"
        assert server.connections[0].taken == [REQUEST, REQUEST]


async def test_waiting_ends_at_a_mark_or_after_a_number_of_bytes() -> None:
    """A mark is taken with what stands before it, a number counts from there."""
    async with (
        ScriptedServer([Receive(until=b"\n"), Receive(until=3), b"!", End.CLOSE]) as server,
        connected(server) as (reader, writer),
    ):
        writer.write(b"a line\n1234")

        assert await reader.read() == b"!"
        assert server.connections[0].taken == [b"a line\n", b"123"]
        assert server.connections[0].received == b"a line\n1234"


async def test_an_answer_is_split_where_told() -> None:
    """The pieces are read apart, and together they are the answer."""
    pieces = []
    async with (
        ScriptedServer([Send(data=b"abcdef", split_at=(1, 4), pause_seconds=0.005), End.CLOSE]) as server,
        connected(server) as (reader, _),
    ):
        while piece := await reader.read(100):
            pieces.append(piece)

    assert pieces == [b"a", b"bcd", b"ef"]


async def test_an_answer_split_at_every_byte_is_whole() -> None:
    """Nothing is lost or repeated between the pieces."""
    whole = answer(200, b"body")
    async with (
        ScriptedServer([Send(data=whole, split_at=range(1, len(whole))), End.CLOSE]) as server,
        connected(server) as (reader, _),
    ):
        assert await reader.read() == whole


async def test_close_ends_in_order_though_the_peer_goes_on() -> None:
    """The answer and an end arrive, whatever was sent and not asked for."""
    async with (
        ScriptedServer([b"bye", End.CLOSE]) as server,
        connected(server) as (reader, writer),
    ):
        writer.write(b"unread " * 1000)

        assert await reader.read() == b"bye"


async def test_reset_comes_after_the_bytes_before_it() -> None:
    """The peer gets what was sent, then the reset."""
    async with ScriptedServer([Receive(until=1), b"par", End.RESET]) as server, asyncio.timeout(60):
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, server.address)
            await loop.sock_sendall(client, b"?")
            await server.until(lambda: server.connections and server.connections[0].is_closed)

            assert await loop.sock_recv(client, 100) == b"par"
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(client, 100)


async def test_hang_reads_on_and_stays_silent() -> None:
    """The peer gets neither answer nor end, even after its own end; its bytes are recorded."""
    async with ScriptedServer([End.HANG]) as server, connected(server) as (reader, writer):
        writer.write(REQUEST)
        writer.write_eof()
        seen = await server.connection()
        await server.until(lambda: seen.ending == "eof")

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.01)
        assert seen.received == REQUEST
        assert not seen.is_closed


async def test_stall_does_not_read() -> None:
    """The peer's bytes are left in the kernel until its sending stops."""
    async with ScriptedServer([End.STALL]) as server, connected(server) as (_, writer):
        writer.write(bytes(32 * 1024 * 1024))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.05)

        assert (await server.connection()).received == b""
        writer.transport.abort()


async def test_the_end_of_the_peer_ends_the_script() -> None:
    """A peer that leaves before its request is whole gets nothing, and its connection is closed."""
    async with ScriptedServer([Receive(), b"never"]) as server, connected(server) as (reader, writer):
        writer.write(REQUEST[:-1])
        writer.write_eof()

        assert await reader.read() == b""
        assert (server.connections[0].taken, server.connections[0].ending) == ([], "eof")


async def test_a_reset_of_the_peer_is_seen() -> None:
    """A peer that vanishes is told from one that ends."""
    async with ScriptedServer() as server, connected(server) as (_, writer):
        writer.write(b"half")
        seen = await server.connection()
        await server.until(lambda: seen.received == b"half")
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

        await server.until(lambda: seen.is_closed)
        assert seen.ending == "reset"


async def test_each_connection_plays_its_own_script_and_later_ones_the_last() -> None:
    """Scripts are given out in the order of acceptance."""
    got = []
    async with ScriptedServer([b"first", End.CLOSE], [b"other", End.CLOSE]) as server:
        for _ in range(3):
            async with connected(server) as (reader, _writer):
                got.append(await reader.read())

    assert got == [b"first", b"other", b"other"]


async def test_a_script_for_ever_answers_every_request() -> None:
    """After its last step it starts again, on the same connection."""
    async with (
        ScriptedServer([Receive(), Pause(seconds=0.0), b"ok\n"], forever=True) as server,
        connected(server) as (reader, writer),
    ):
        for _ in range(3):
            writer.write(REQUEST)
            assert await reader.readline() == b"ok\n"
        assert len(server.connections) == 1


def test_an_empty_script_cannot_be_played_for_ever() -> None:
    """A script without a step that starts again would never let go of the loop."""
    with pytest.raises(ValueError, match="script: "):
        ScriptedServer([b"one"], [], forever=True)


async def test_leaving_ends_every_connection() -> None:
    """A hung connection ends with the server."""
    async with asyncio.timeout(60):
        async with ScriptedServer([End.HANG]) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            seen = await server.connection()
        assert seen.is_closed
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


SCENARIOS = [
    value
    for name, value in list(globals().items())
    if name.startswith("test_")
    and inspect.iscoroutinefunction(value)
    and not inspect.signature(value).parameters
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_holds_on_uvloop_too(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Everything above that needs no parameter is true on the loop of the workers as well."""
    uvloop.run(scenario())

"""The fault proxy between a raw client and a scripted upstream, on both event loops."""

import asyncio
import gc
import inspect
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvloop

from understudy.testing import (
    Bandwidth,
    End,
    Fault,
    FaultProxy,
    Latency,
    LimitData,
    Pause,
    Receive,
    Reset,
    ScriptedServer,
    Slicer,
    SlowClose,
    Timeout,
    answer,
)

DEADLINE_SECONDS = 60.0
NEVER_SECONDS = 600.0
"""A wait that no test could sit out: it must be ended by what the test does."""


class Client:
    """A raw socket: what asyncio's streams would hide (bytes before a reset) is seen."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.raw, data)

    async def receive(self) -> bytes:
        return await self._loop.sock_recv(self.raw, 65_536)

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += (piece := await self._loop.sock_recv(self.raw, size - len(data)))
            assert piece, f"ended after {data!r}"
        return data

    async def rest(self) -> tuple[bytes, str]:
        """Everything up to the end, and the end: ``eof`` or ``reset``."""
        data = bytearray()
        try:
            while piece := await self.receive():
                data += piece
        except ConnectionResetError:
            return bytes(data), "reset"
        return bytes(data), "eof"

    def finish(self) -> None:
        self.raw.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()


@asynccontextmanager
async def connected(port: int, *, receive_buffer_bytes: int = 0) -> AsyncIterator[Client]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        with socket.socket() as raw:
            raw.setblocking(False)
            if receive_buffer_bytes:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
            yield Client(raw)


def now() -> float:
    # uvloop's clock has steps of 1 ms, hence the slack in what is asserted of times.
    return asyncio.get_running_loop().time()


async def test_bytes_and_ends_pass_both_ways() -> None:
    """Without a fault both peers get each other's bytes and ends; both are counted and recorded."""
    async with (
        ScriptedServer([Receive(until=4), b"pong!", End.CLOSE]) as upstream,
        FaultProxy(upstream=upstream.address, record=True) as proxy,
        connected(proxy.port) as client,
    ):
        await client.send(b"ping")
        client.finish()

        assert await client.rest() == (b"pong!", "eof")
        await proxy.until(lambda: proxy.open_connections == 0)
        assert upstream.connections[0].received == b"ping"
        assert upstream.connections[0].ending == "eof"
        assert (proxy.connections, proxy.bytes_up, proxy.bytes_down) == (1, 4, 5)
        assert [(bytes(each.up), bytes(each.down)) for each in proxy.recordings] == [(b"ping", b"pong!")]


async def test_an_http_client_is_served_through_the_proxy() -> None:
    """``url`` is one that an HTTP client takes; a kept connection is one connection."""
    async with (
        ScriptedServer([Receive(), answer(200, b"hello")], forever=True) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=60) as client,
    ):
        answers = [await client.post("/", content=b"x" * 100_000), await client.get("/")]

        assert [each.content for each in answers] == [b"hello", b"hello"]
        assert proxy.connections == proxy.open_connections == 1


async def test_a_half_closed_client_still_gets_its_answer() -> None:
    """The client's end is passed on alone; the other direction goes on."""
    async with (
        ScriptedServer([Receive(until=3), Pause(seconds=0.005), b"late", End.CLOSE]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        await client.send(b"ask")
        client.finish()
        seen = await upstream.connection()
        await upstream.until(lambda: seen.ending == "eof")

        assert await client.rest() == (b"late", "eof")


async def test_a_reset_of_the_upstream_comes_after_its_bytes() -> None:
    """What the upstream sent before it reset the connection still reaches the client, late or not."""
    async with (
        ScriptedServer([Receive(until=1), b"half an ans", End.RESET]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.down.set(Latency(seconds=0.01))
        await client.send(b"?")

        assert await client.rest() == (b"half an ans", "reset")


async def test_a_reset_of_the_client_reaches_the_upstream() -> None:
    """A client that vanishes is seen upstream as such, and the connection is over."""
    async with (
        ScriptedServer() as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        await client.send(b"half a requ")
        await proxy.until(lambda: proxy.bytes_up == 11)
        client.reset()

        seen = await upstream.connection()
        await upstream.until(lambda: seen.ending == "reset")
        await proxy.until(lambda: proxy.open_connections == 0)


async def test_an_unreachable_upstream_resets_the_client() -> None:
    """A client whose upstream refuses is not left waiting."""
    async with ScriptedServer() as upstream, FaultProxy(upstream=upstream.address) as closed:
        closed.refuse()
        async with (
            FaultProxy(upstream=("127.0.0.1", closed.port)) as proxy,
            connected(proxy.port) as client,
        ):
            assert await client.rest() == (b"", "reset")


async def test_a_receiver_that_does_not_read_stops_the_sender() -> None:
    """The proxy holds at most a few pieces; everything arrives once the client reads."""
    size = 32 * 1024 * 1024
    async with (
        ScriptedServer([bytes(size), End.CLOSE]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        passed = -1
        while passed < proxy.bytes_down:
            passed = proxy.bytes_down
            await asyncio.sleep(0.02)
        assert passed < size

        client.finish()
        data, end = await client.rest()
        assert (len(data), end) == (size, "eof")


@pytest.mark.parametrize(("chance", "least_seconds"), [(0.5, 0.015), (1.0, 0.025)])
async def test_latency_delays_by_its_seconds_and_the_jitter_that_chance_gives(
    chance: float, least_seconds: float
) -> None:
    """Chance 0.5 is the latency itself (20 ms), 1 the most that jitter adds (30 ms)."""
    async with (
        ScriptedServer([Receive(until=1), b"!"]) as upstream,
        FaultProxy(upstream=upstream.address, chance=lambda: chance) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.down.set(Latency(seconds=0.02, jitter_seconds=0.01))
        began = now()
        await client.send(b"?")
        seen = await upstream.connection()
        await upstream.until(lambda: seen.received == b"?")

        assert await client.exactly(1) == b"!"
        assert now() - began >= least_seconds


async def test_latency_keeps_the_order() -> None:
    """Pieces with a jitter of their own each come in the order they were sent."""
    chances = iter([1.0, 0.0] * 500)
    data = bytes(range(200))
    async with (
        ScriptedServer() as upstream,
        FaultProxy(upstream=upstream.address, chance=lambda: next(chances)) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.up.set(Latency(seconds=0.002, jitter_seconds=0.002))
        for at in range(0, 200, 20):
            await client.send(data[at : at + 20])
            await asyncio.sleep(0)

        await proxy.until(lambda: proxy.bytes_up == 200)
        seen = await upstream.connection()
        await upstream.until(lambda: seen.received == data)


async def test_a_change_of_the_faults_ends_their_waits() -> None:
    """Bytes that a latency holds back are released when it is lifted."""
    async with (
        ScriptedServer() as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.up.set(Latency(seconds=NEVER_SECONDS))
        await client.send(b"held")
        await asyncio.sleep(0.01)
        assert proxy.bytes_up == 0

        proxy.heal()
        seen = await upstream.connection()
        await upstream.until(lambda: seen.received == b"held")


async def test_latency_reads_only_a_little_ahead() -> None:
    """A sender is stopped, by the proxy's and the kernel's bounds, while its bytes are held back."""
    most = 32 * 1024 * 1024
    sent = idle_turns = 0
    async with (
        ScriptedServer() as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.up.set(Latency(seconds=NEVER_SECONDS))
        while idle_turns < 20 and sent < most:
            try:
                sent += client.raw.send(bytes(65_536))
                idle_turns = 0
            except BlockingIOError:
                idle_turns += 1
            await asyncio.sleep(0.001)

    assert 0 < sent < most


async def test_bandwidth_is_never_exceeded() -> None:
    """2,000 bytes at 40,000 bytes/s take 50 ms, less the 20 ms that may pass at once."""
    async with (
        ScriptedServer([Receive(until=1), bytes(2000)]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.down.set(Bandwidth(bytes_per_second=40_000))
        began = now()
        await client.send(b"?")

        assert await client.exactly(2000) == bytes(2000)
        assert now() - began >= 0.025


async def test_a_bandwidth_of_a_byte_a_minute_can_be_raised() -> None:
    """A wait for room ends with the fault and leaves no debt; nothing is lost or sent twice."""
    async with (
        ScriptedServer() as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.up.set(Bandwidth(bytes_per_second=1 / 60))
        await client.send(b"abcdef")
        await asyncio.sleep(0.01)
        assert proxy.bytes_up == 0

        proxy.up.set(Bandwidth(bytes_per_second=1e6))
        seen = await upstream.connection()
        await upstream.until(lambda: seen.received == b"abcdef")


async def test_slow_close_delays_the_end_alone() -> None:
    """The bytes come at once, the end not before the fault allows it."""
    async with (
        ScriptedServer([b"all", End.CLOSE]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.down.set(SlowClose(seconds=NEVER_SECONDS))
        assert await client.exactly(3) == b"all"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.receive(), 0.01)

        proxy.down.set(SlowClose(seconds=0.001))
        assert await client.receive() == b""


async def test_timeout_swallows_bytes_for_good() -> None:
    """What was swallowed is counted and never comes; what is sent after the fault passes."""
    async with (
        ScriptedServer() as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.up.set(Timeout())
        await client.send(b"lost")
        await proxy.until(lambda: proxy.up.swallowed_bytes == 4)
        assert proxy.bytes_up == 0

        proxy.up.set()
        await client.send(b"kept")
        seen = await upstream.connection()
        await upstream.until(lambda: seen.received == b"kept")


async def test_timeout_swallows_the_end_too() -> None:
    """The upstream does not learn that the client has ended while the fault lasts."""
    async with (
        ScriptedServer() as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.up.set(Timeout())
        client.finish()
        seen = await upstream.connection()
        await asyncio.sleep(0.01)
        assert seen.ending == ""

        proxy.up.set()
        await upstream.until(lambda: seen.ending == "eof")


async def test_timeout_closes_after_its_seconds() -> None:
    """Both peers see an end in order, and none of the bytes."""
    async with (
        ScriptedServer() as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.up.set(Timeout(seconds=0.02))
        began = now()
        await client.send(b"lost")

        assert await client.rest() == (b"", "eof")
        assert now() - began >= 0.015
        seen = await upstream.connection()
        await upstream.until(lambda: seen.ending == "eof")
        assert seen.received == b""


@pytest.mark.parametrize("is_up", [True, False])
async def test_reset_hits_an_idle_connection_at_once(is_up: bool) -> None:
    """Both peers are reset when the fault is set, in either direction, though no byte passes."""
    async with (
        ScriptedServer() as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        seen = await upstream.connection()
        (proxy.up if is_up else proxy.down).set(Reset())

        assert await client.rest() == (b"", "reset")
        await upstream.until(lambda: seen.ending == "reset")


async def test_reset_at_once_never_reaches_the_upstream_on_a_new_connection() -> None:
    """A connection made while the fault is set is reset before anything is connected behind it."""
    async with ScriptedServer() as upstream, FaultProxy(upstream=upstream.address) as proxy:
        proxy.up.set(Reset())
        async with connected(proxy.port) as client:
            assert await client.rest() == (b"", "reset")
        await proxy.until(lambda: proxy.open_connections == 0)
        assert (proxy.connections, upstream.connections) == (1, [])


async def test_reset_comes_after_exactly_its_bytes() -> None:
    """The client gets the bytes up to the mark, then the reset."""
    async with (
        ScriptedServer([Receive(until=1), b"0123456789"]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.down.set(Reset(after_bytes=7))
        await client.send(b"?")

        assert await client.rest() == (b"0123456", "reset")
        assert proxy.bytes_down == 7


async def test_limit_data_closes_in_order_after_exactly_its_bytes() -> None:
    """The client gets the bytes up to the mark and an end, not a reset, though it goes on sending."""
    async with (
        ScriptedServer([Receive(until=1), b"0123456789"]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.down.set(LimitData(after_bytes=4))
        await client.send(b"?")
        await proxy.until(lambda: proxy.bytes_down == 4)
        await client.send(b"more")

        assert await client.rest() == (b"0123", "eof")
        seen = await upstream.connection()
        await upstream.until(lambda: seen.ending == "eof")


async def test_a_slow_reader_gets_all_bytes_before_the_limit() -> None:
    """Closing on bytes of the client that nobody reads any more does not cost it what it has not read."""
    async with (
        ScriptedServer([Receive(until=1), bytes(1_000_000)]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port, receive_buffer_bytes=4096) as client,
    ):
        proxy.down.set(LimitData(after_bytes=60_000))
        await client.send(b"?")
        await proxy.until(lambda: proxy.bytes_up == 1)
        proxy.up.set(Latency(seconds=NEVER_SECONDS))
        await client.send(bytes(400_000))
        await proxy.until(lambda: proxy.bytes_down == 60_000)
        await asyncio.sleep(0.01)

        data, end = await client.rest()
        assert (len(data), end) == (60_000, "eof")


async def test_a_limit_counts_what_the_connection_passed_before() -> None:
    """A limit below what has passed already ends the connection at once."""
    async with (
        ScriptedServer([b"0123456789"]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        assert await client.exactly(10) == b"0123456789"
        proxy.down.set(LimitData(after_bytes=10))

        assert await client.rest() == (b"", "eof")


async def test_the_slicer_cuts_pieces_and_loses_nothing() -> None:
    """20 bytes in slices of 3 come in several reads, in order."""
    data = bytes(range(20))
    async with (
        ScriptedServer([Receive(until=1), data]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.down.set(Slicer(size_bytes=3, pause_seconds=0.002))
        await client.send(b"?")
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < 20:
            pieces.append(await client.receive())

        assert b"".join(pieces) == data
        assert len(pieces) > 1
        assert {len(piece) % 3 for piece in pieces[:-1]} == {0}


async def test_faults_work_together() -> None:
    """Slices, a latency and a bandwidth delay; the limit still falls on its byte."""
    async with (
        ScriptedServer([Receive(until=1), bytes(1000)]) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as client,
    ):
        proxy.down.set(
            Latency(seconds=0.005),
            Slicer(size_bytes=64),
            Bandwidth(bytes_per_second=100_000),
            LimitData(after_bytes=333),
        )
        await client.send(b"?")

        assert await client.rest() == (bytes(333), "eof")


async def test_refuse_and_resume_keep_the_port_and_the_present_connections() -> None:
    """New connections are refused until resumed, on the same port; an accepted one goes on."""
    async with (
        ScriptedServer([Receive(until=1), b"!"], forever=True) as upstream,
        FaultProxy(upstream=upstream.address) as proxy,
        connected(proxy.port) as present,
    ):
        await present.send(b"?")
        await present.exactly(1)
        port = proxy.port
        proxy.refuse()
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            async with connected(port):
                pass
        await present.send(b"?")
        assert await present.exactly(1) == b"!"

        proxy.resume()
        async with connected(port) as another:
            await another.send(b"?")
            assert await another.exactly(1) == b"!"
        assert (proxy.port, proxy.connections) == (port, 2)


async def test_recordings_are_bounded_together() -> None:
    """Bytes over the bound pass, but are not kept."""
    async with (
        ScriptedServer([Receive(until=6), b"world"]) as upstream,
        FaultProxy(upstream=upstream.address, record=True, record_bytes=8) as proxy,
        connected(proxy.port) as client,
    ):
        await client.send(b"hello ")
        assert await client.exactly(5) == b"world"

        assert proxy.recordings[0].up == b"hello "
        assert proxy.recordings[0].down == b"wo"


async def test_leaving_closes_everything() -> None:
    """Open connections end with the proxy, whatever their faults wait for; no socket is left behind."""
    async with ScriptedServer([b"x" * 100_000]) as upstream:
        async with FaultProxy(upstream=upstream.address) as proxy:
            proxy.down.set(Latency(seconds=NEVER_SECONDS))
            proxy.up.set(Timeout())
            async with connected(proxy.port) as client:
                await client.send(b"held")
                await proxy.until(lambda: proxy.up.swallowed_bytes == 4)
        assert proxy.open_connections == 0
        seen = await upstream.connection()
        await upstream.until(lambda: seen.is_closed)
    with pytest.raises(ConnectionRefusedError):
        async with connected(proxy.port):
            pass
    gc.collect()


async def test_a_failing_test_fails_with_its_own_error() -> None:
    """An error inside the block comes out as it is, not in a group."""
    with pytest.raises(LookupError, match="mine"):
        async with FaultProxy(upstream=("127.0.0.1", 1)):
            raise LookupError("mine")


async def test_until_has_a_deadline() -> None:
    """What never comes is a TimeoutError."""
    async with FaultProxy(upstream=("127.0.0.1", 1)) as proxy:
        with pytest.raises(TimeoutError):
            await proxy.until(lambda: proxy.connections, timeout_seconds=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bandwidth(bytes_per_second=0),
        lambda: Slicer(size_bytes=0),
        lambda: Latency(seconds=-1),
        lambda: Latency(seconds=1, jitter_seconds=2),
    ],
)
def test_an_impossible_fault_is_refused(make: Callable[[], Fault]) -> None:
    """A fault that could not be played is a ValueError where it is written."""
    with pytest.raises(ValueError, match="fault: "):
        make()


async def test_two_faults_of_a_kind_are_refused() -> None:
    """One direction has one fault of each kind; a refused change changes nothing."""
    async with FaultProxy(upstream=("127.0.0.1", 1)) as proxy:
        proxy.up.set(Reset())
        with pytest.raises(ValueError, match="two of one kind"):
            proxy.up.set(Timeout(), Timeout(seconds=1))
        assert proxy.up.faults == (Reset(),)


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

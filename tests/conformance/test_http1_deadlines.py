"""Nothing waits for ever: whatever a client or a service does or leaves undone, it ends, in time.

Time is in the test's hands: it passes in steps, and between two of them the hostile end does a little more.
"""

from collections.abc import Awaitable, Callable

import pytest
from http1_harness import END, Peer, Stage, get, ok, post, scripted, settle, stage

STEP_SECONDS = 0.5
UPLOAD = get(b"/", b"Content-Length: 1000000", method=b"POST")
CHUNKED = get(b"/", b"Transfer-Encoding: chunked", method=b"POST")
OK = b"HTTP/1.1 200 OK\r\n"

Tick = Callable[[int], None]


async def pass_until(s: Stage, is_over: Callable[[], object], tick: Tick, most_seconds: float) -> float:
    """Let time pass, with *tick* every second, until *is_over*; the seconds it took."""
    steps = 0
    while not is_over():
        assert steps * STEP_SECONDS <= most_seconds, f"not over after {steps * STEP_SECONDS} s"
        if steps % 2 == 0:
            tick(steps // 2)
        await settle(4)
        s.advance(STEP_SECONDS)
        await settle(4)
        steps += 1
    return steps * STEP_SECONDS


def nothing(_: int) -> None:
    """Another second in which nobody does anything."""


def one_of(peer: Peer, data: bytes) -> Tick:
    """The next byte of *data*, which starts again when it is over."""
    return lambda second: peer.send(data[second % len(data) :][:1])


# -- clients ---------------------------------------------------------------------------------------------

TRICKLES = {
    # What was sent at once, what trickles behind it a byte a second, what it ends by, after how long.
    "a head": (b"GET / HTTP/1.1\r\nX: ", b"x", "head_timeout", 10),
    "a target": (b"GET /", b"x", "head_timeout", 10),
    "a head behind an empty line": (b"\r\nGET / HTTP/1.1\r\nX: ", b"x", "head_timeout", 10),
    "a sized body": (UPLOAD, b"x", "body_timeout", 31),
    "a sized body after much of it": (UPLOAD + b"x" * 500_000, b"x", "body_timeout", 31),
    "chunks of a byte": (CHUNKED, b"1\r\nx\r\n", "body_timeout", 31),
    "the size of a chunk": (CHUNKED, b"0", "body_timeout", 31),
    "a chunk extension": (CHUNKED + b"5;", b"x", "body_timeout", 31),
    "trailers": (CHUNKED + b"0\r\nX: ", b"x", "body_timeout", 31),
    "a body that was asked for": (
        UPLOAD.replace(END, b"\r\nExpect: 100-continue" + END),
        b"x",
        "body_timeout",
        31,
    ),
}


@pytest.mark.parametrize("name", TRICKLES)
@scripted
async def test_a_client_that_trickles(name: str) -> None:
    """408 when its time is over, however steadily it sends; the service's end is closed with it."""
    start, drip, reason, seconds = TRICKLES[name]
    async with stage() as s:
        client = await s.client()
        client.send(start)
        await settle(20)
        took = await pass_until(s, lambda: s.errors, one_of(client, drip), seconds + 1)
        assert took >= seconds - 1
        assert s.errors == {reason: 1}
        answer = await client.message()
        if answer.status == 100:
            answer = await client.message()
        assert (answer.status, answer.reason) == (408, reason)
        await client.ended()
        for upstream in s.upstream.connections:
            await upstream.ended()
        s.advance(1.1)
        await s.idle()


@scripted
async def test_empty_lines_that_trickle() -> None:
    """They begin no request: closed without an answer ten seconds after the first."""
    async with stage() as s:
        client = await s.client()
        await pass_until(s, lambda: client.ending, one_of(client, b"\r\n"), 11)
        assert client.received == b""
        await s.idle()


@scripted
async def test_a_second_head_that_trickles_behind_an_answer() -> None:
    """Its ten seconds begin with its turn."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get() + b"GET /")
        s.advance(14.0)
        upstream.send(ok())
        assert (await client.message()).status == 200
        took = await pass_until(s, lambda: s.errors, one_of(client, b"x"), 11)
        assert took >= 9
        assert s.errors == {"head_timeout": 1}


@pytest.mark.parametrize("rate", ["240B", 0])
@scripted
async def test_an_upload_as_slow_as_allowed(rate: object) -> None:
    """It may take all the time it needs; without a least rate one byte in 29 s is as good."""
    piece = b"x" * (240 * 29 if rate else 1)
    async with stage(limits={"body_rate": rate}) as s:
        client = await s.client()
        client.send(get(b"/", b"Content-Length: %d" % (50 * len(piece)), method=b"POST"))
        upstream = await s.upstream.accepted()
        await upstream.head()
        for _ in range(50):
            s.advance(29.0)
            client.send(piece)
            await upstream.take(len(piece))
        upstream.send(ok(b"all"))
        assert (await client.message()).body == b"all"


@scripted
async def test_a_client_that_was_held_owes_nothing_for_that_time() -> None:
    """While the service did not read, the client could not send: its time begins anew."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/", b"Content-Length: 20000000", method=b"POST"))
        upstream = await s.upstream.accepted()
        await upstream.head()
        upstream.transport.pause_reading()
        client.send(b"x" * 19_999_999)
        await settle(100)
        s.advance(29.0)
        upstream.transport.resume_reading()
        await upstream.take(19_999_999)
        s.advance(29.0)
        client.send(b"x")
        await upstream.take(1)
        upstream.send(ok(b"all"))
        assert (await client.message()).body == b"all"


@scripted
async def test_who_waited_for_a_connection_has_all_the_time_for_the_body() -> None:
    """The 30 seconds begin when the body is asked for."""
    async with stage(service={"connections": 1}) as s:
        first, upstream, _ = await s.asked(get())
        upstream.send(OK + b"Content-Length: 1\r\n\r\n")
        await first.head()
        second = await s.client()
        second.send(get(b"/2", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST"))
        await settle()
        s.advance(25.0)
        upstream.send(b"x")
        assert (await second.message()).status == 100
        s.advance(25.0)
        second.send(b"abc")
        assert (await upstream.message()).body == b"abc"


@scripted
async def test_who_waits_in_line_with_an_upload() -> None:
    """504 when no connection comes free in time, though the upload is not read."""
    async with stage(service={"connections": 1, "idle_timeout": "24h"}) as s:
        first, upstream, _ = await s.asked(get())
        upstream.send(OK + b"\r\n")
        await first.head()
        second = await s.client()
        second.send(UPLOAD + b"x" * 900_000)
        await settle(20)
        took = await pass_until(s, lambda: s.errors, nothing, 31)
        assert took >= 29
        assert (await second.message()).reason == "answer_timeout"
        assert repr(s.pool).endswith("open=1 idle=0 opening=0 waiting=0>")
        s.advance(1.1)
        await settle()
        await second.ended()


@scripted
async def test_a_client_that_takes_nothing_of_an_answer() -> None:
    """Cut after the idle time and counted as the client's fault; the service is told by a close."""
    async with stage() as s:
        client = await s.client(receive_buffer_bytes=4096)
        client.transport.pause_reading()
        client.send(get())
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok(b"x" * 9_000_000))
        await settle(100)
        took = await pass_until(s, lambda: s.errors, nothing, 61)
        assert took >= 59
        assert s.errors == {"cut_client_idle": 1}
        await s.idle()
        await upstream.ended()


@scripted
async def test_a_client_that_does_not_take_a_small_answer() -> None:
    """Its connection is idle, and ends as such; what it did not take is dropped half a minute later."""
    async with stage() as s:
        client = await s.client(receive_buffer_bytes=4096)
        client.transport.pause_reading()
        client.send(get() * 40)
        upstream = await s.upstream.accepted()
        for _ in range(40):
            await settle(3)
            if END in upstream.received:
                await upstream.head()
                upstream.send(ok(b"x" * 200_000))
        await pass_until(s, lambda: not s.proxy.connections, nothing, 60 + 60 + 31)


@pytest.mark.parametrize("what", ["sends on", "is silent", "has gone"])
@scripted
async def test_a_client_after_an_early_answer(what: str) -> None:
    """It has a second to read it, whatever it does."""
    async with stage() as s:
        client = await s.client()
        client.send(UPLOAD)
        upstream = await s.upstream.accepted()
        await upstream.head()
        upstream.send(b"HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\nbig")
        assert (await client.message()).status == 413
        if what == "has gone":
            client.finish()
        tick: Tick = (lambda _: client.send(b"x" * 9000)) if what == "sends on" else nothing
        await pass_until(s, lambda: not s.proxy.connections, tick, 2)
        await upstream.ended()


@pytest.mark.parametrize("reads", [True, False])
@scripted
async def test_a_half_closed_client_of_a_silent_service(reads: bool) -> None:
    """504 and the end, in the same time as for any other."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        client.finish()
        if not reads:
            client.transport.pause_reading()
        took = await pass_until(s, lambda: not s.proxy.connections, nothing, 16)
        assert took >= 14
        await upstream.ended()
        assert s.errors == {"answer_timeout": 1}


@scripted
async def test_a_client_that_stays_after_a_refusal() -> None:
    """A second, then it is closed."""
    async with stage() as s:
        client = await s.client()
        client.send(b"nonsense\r\n\r\n")
        assert (await client.message()).status == 400
        await pass_until(s, lambda: not s.proxy.connections, one_of(client, b"x"), 2)


# -- services --------------------------------------------------------------------------------------------

Script = Callable[[Peer], Awaitable[None]]


async def silent(_: Peer) -> None:
    """Say nothing."""


async def half_a_head(upstream: Peer) -> None:
    upstream.send(OK + b"X: ")


async def interim(upstream: Peer) -> None:
    upstream.send(b"HTTP/1.1 103 H\r\n\r\n")


SILENT: dict[str, tuple[Script, bytes]] = {
    "says nothing": (silent, b""),
    "begins a head": (half_a_head, b""),
    "trickles a head": (half_a_head, b"x"),
    "trickles empty lines": (silent, b"\r\n"),
    "says one interim answer": (interim, b""),
    "trickles interim answers": (interim, b"HTTP/1.1 103 H\r\n\r\n"),
}


@pytest.mark.parametrize("request_", [get(), post(b"abc")], ids=["GET", "POST"])
@pytest.mark.parametrize("name", SILENT)
@scripted
async def test_a_service_that_does_not_come_to_its_answer(name: str, request_: bytes) -> None:
    """504 fifteen seconds after the request; the client goes on, on another connection."""
    begin, drip = SILENT[name]
    async with stage() as s:
        client, upstream, _ = await s.asked(request_)
        await begin(upstream)
        took = await pass_until(s, lambda: s.errors, one_of(upstream, drip) if drip else nothing, 16)
        assert took >= 14
        assert s.errors == {"answer_timeout": 1}
        answer = await client.message()
        while answer.status < 200:
            answer = await client.message()
        assert (answer.status, answer.field(b"connection")) == (504, b"")
        await upstream.ended()
        client.send(get(b"/next"))
        await (await s.upstream.accepted()).message()


STOPS = {
    "a sized body": OK + b"Content-Length: 9\r\n\r\nx",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    "a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nx",
    "the last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
    "a body until close": OK + b"\r\nx",
}


@pytest.mark.parametrize("name", STOPS)
@scripted
async def test_a_service_that_stops_in_its_answer(name: str) -> None:
    """The client is cut after a minute, and counted as the service's fault."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(STOPS[name])
        await client.take_until(b"x")
        took = await pass_until(s, lambda: s.errors, nothing, 61)
        assert took >= 59
        assert s.errors == {"cut_answer_idle": 1}
        assert await client.rest() == "reset"
        await upstream.ended()


@scripted
async def test_an_answer_may_trickle() -> None:
    """Events come when they come: a byte in 59 seconds keeps an answer alive (SSE, long poll)."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(OK + b"Content-Length: 100\r\n\r\n")
        await client.head()
        for _ in range(100):
            s.advance(59.0)
            upstream.send(b"x")
            await client.take(1)
        assert s.errors == {}


@scripted
async def test_a_trailer_that_trickles() -> None:
    """It is no part of the answer: the client is cut a minute after the last of it."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: ")
        await client.take_until(b"x\r\n")
        await pass_until(s, lambda: s.errors, one_of(upstream, b"x"), 61)
        assert s.errors == {"cut_answer_idle": 1}

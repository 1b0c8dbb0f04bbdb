"""A service that is away, full, or closes kept connections: what the client is told, what is tried again."""

import socket

import pytest
from http1_harness import Peer, Stage, chunked, get, ok, post, scripted, settle, stage

from understudy.upstream import Origin


@scripted
async def test_connection_refused() -> None:
    """502 at once, counted, tried twice; the client goes on and is served when the service is back."""
    async with stage() as s:
        s.upstream.close()
        client = await s.client()
        for n in (1, 2):
            client.send(get())
            answer = await client.message()
            assert (answer.status, answer.reason) == (502, "connect_refused")
            assert answer.field(b"content-type") == b"application/problem+json"
            assert answer.field(b"cache-control") == b"no-store"
            assert answer.field(b"connection") == b""
            assert s.errors == {"connect_refused": n}
        assert repr(s.pool).endswith("open=0 idle=0 opening=0 waiting=0>")
        await s.upstream.listen(s.upstream.port)
        client.send(get(b"/back"))
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok(b"back"))
        assert (await client.message()).body == b"back"


@scripted
async def test_a_connection_that_is_accepted_and_dropped() -> None:
    """502 closed; nothing is counted as open afterwards."""
    async with stage() as s:
        s.upstream.drops = True
        client = await s.client()
        client.send(get())
        answer = await client.message()
        assert (answer.status, answer.reason) in ((502, "closed"), (502, "reset"))
        await settle()
        assert repr(s.pool).endswith("open=0 idle=0 opening=0 waiting=0>")
        s.upstream.drops = False
        client.send(get())
        for _ in range(len(s.upstream.connections)):
            await s.upstream.accepted()
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok(b"on"))
        assert (await client.message()).body == b"on"


@scripted
async def test_a_service_that_does_not_accept() -> None:
    """504 when no connection is made in time."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)
    url = f"http://127.0.0.1:{full.getsockname()[1]}"
    async with stage(service={"url": url, "connect_timeout": "50ms"}) as s:
        client = await s.client()
        client.send(get())
        answer = await client.message()
        assert (answer.status, answer.reason) == (504, "connect_timeout")
        assert repr(s.pool).endswith("open=0 idle=0 opening=0 waiting=0>")
    for each in (*fillers, full):
        each.close()


@scripted
async def test_a_full_service() -> None:
    """Over its connections requests wait in a bounded line, over that 503; each waits for its turn."""
    async with stage(service={"connections": 1, "queue": 2}) as s:
        clients = [await s.client() for _ in range(4)]
        clients[0].send(get(b"/0"))
        upstream = await s.upstream.accepted()
        await upstream.message()
        for number in (1, 2):
            clients[number].send(get(b"/%d" % number))
            await settle()
        assert repr(s.pool).endswith("open=1 idle=0 opening=0 waiting=2>")
        clients[3].send(get(b"/3"))
        answer = await clients[3].message()
        assert (answer.status, answer.reason) == (503, "pool_full")
        for number in (0, 1, 2):
            upstream.send(ok(b"%d" % number))
            assert (await clients[number].message()).body == b"%d" % number
            if number < 2:
                assert (await upstream.message()).start == b"GET /%d HTTP/1.1" % (number + 1)
        assert len(s.upstream.connections) == 1


@scripted
async def test_who_waits_in_line_and_leaves() -> None:
    """The connection goes to the next in line, not to one that has gone."""
    async with stage(service={"connections": 1}) as s:
        clients = [await s.client() for _ in range(4)]
        clients[0].send(get(b"/0"))
        upstream = await s.upstream.accepted()
        await upstream.message()
        for number in (1, 2, 3):
            clients[number].send(get(b"/%d" % number))
            await settle()
        clients[1].reset()
        clients[2].reset()
        await settle()
        assert repr(s.pool).endswith("open=1 idle=0 opening=0 waiting=1>")
        upstream.send(ok())
        assert (await upstream.message()).start == b"GET /3 HTTP/1.1"


@scripted
async def test_who_waits_too_long_in_line() -> None:
    """504 after the time for a first byte, and its place is given up."""
    async with stage(service={"connections": 1, "first_byte_timeout": "3s"}) as s:
        first, upstream, _ = await s.asked(get())
        s.advance(2.0)
        second = await s.client()
        second.send(get(b"/2"))
        await settle()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await first.head()
        s.advance(3.1)
        assert (await second.message()).reason == "answer_timeout"
        assert repr(s.pool).endswith("open=1 idle=0 opening=0 waiting=0>")


@scripted
async def test_a_lost_connection_makes_room_for_all_who_wait() -> None:
    """When connections break, as many are opened again as callers wait, up to the bound."""
    async with stage(service={"connections": 2}) as s:
        busy = [await s.asked(get(b"/%d" % n)) for n in range(2)]
        waiting = [await s.client() for _ in range(3)]
        for client in waiting:
            client.send(get(b"/w"))
            await settle()
        assert repr(s.pool).endswith("open=2 idle=0 opening=0 waiting=3>")
        for _, upstream, _ in busy:
            upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        for client, upstream, _ in busy:
            await client.head()
            upstream.reset()
        fresh = [await s.upstream.accepted() for _ in range(2)]
        for upstream in fresh:
            await upstream.message()
            upstream.send(ok(b"", b"Connection: close"))
        third = await s.upstream.accepted()
        await third.message()
        third.send(ok())
        for client in waiting:
            assert (await client.message()).status == 200


@scripted
async def test_all_who_wait_are_told_when_the_service_is_gone() -> None:
    """Nobody waits for a connection that nobody opens."""
    async with stage(service={"connections": 1}) as s:
        first, _, _ = await s.asked(get())
        waiting = [await s.client() for _ in range(5)]
        for client in waiting:
            client.send(get(b"/w"))
        await settle()
        s.upstream.close()
        assert (await first.message()).status == 502
        for client in waiting:
            assert (await client.message()).reason == "connect_refused"
        assert repr(s.pool).endswith("open=0 idle=0 opening=0 waiting=0>")


async def kept(s: Stage) -> tuple[Peer, Peer]:
    """A client that was answered once, and the upstream connection that is kept."""
    client, upstream, _ = await s.asked(get(b"/first"))
    upstream.send(ok())
    await client.message()
    return client, upstream


@pytest.mark.parametrize("how", ["reset", "closed"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
@scripted
async def test_an_idempotent_request_meets_a_closing_connection(method: bytes, how: str) -> None:
    """Sent once more, on a fresh connection, even if another kept one is there."""
    async with stage() as s:
        two = [await s.asked(get()) for _ in range(2)]
        for client, upstream, _ in two:
            upstream.send(ok())
            await client.message()
        client = two[0][0]
        client.send(get(b"/again", method=method))
        (stale,) = [upstream for _, upstream, _ in two if await got(upstream)]
        if how == "reset":
            stale.reset()
        else:
            stale.close()
        fresh = await s.upstream.accepted()
        assert (await fresh.message()).start == method + b" /again HTTP/1.1"
        fresh.send(ok(b"" if method == b"HEAD" else b"fresh"))
        assert (await client.message(bodyless=method == b"HEAD")).status == 200
        assert s.errors == {}


async def got(upstream: Peer) -> bool:
    """Whether anything arrives at *upstream*."""
    await settle()
    return bool(upstream.received)


@scripted
async def test_a_request_is_sent_at_most_twice() -> None:
    """A second break is told: 502."""
    async with stage() as s:
        client, stale = await kept(s)
        client.send(get())
        await stale.message()
        stale.reset()
        fresh = await s.upstream.accepted()
        await fresh.message()
        fresh.reset()
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, "reset")
        assert len(s.upstream.connections) == 2


@scripted
async def test_a_fresh_connection_that_breaks_is_not_retried() -> None:
    """The service saw the request and broke: 502."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.close()
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, "closed")
        assert len(s.upstream.connections) == 1


@pytest.mark.parametrize(
    "request_",
    [
        get(method=b"POST"),
        post(b"abc"),
        get(method=b"PATCH"),
        get(b"/", b"Content-Length: 3", method=b"PUT") + b"abc",
        get(b"/", b"Transfer-Encoding: chunked", method=b"PUT") + chunked(b"abc"),
    ],
)
@scripted
async def test_what_may_have_happened_is_not_repeated(request_: bytes) -> None:
    """No POST is sent again after a byte of it went out, and no request with a body."""
    async with stage() as s:
        client, stale = await kept(s)
        client.send(request_)
        await stale.message()
        stale.reset()
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, "reset")
        await settle()
        assert len(s.upstream.connections) == 1


@pytest.mark.parametrize("request_", [get(b"/x"), post(b"abc", target=b"/x")])
@scripted
async def test_a_connection_known_to_be_closed_is_not_used(request_: bytes) -> None:
    """A kept connection whose end has been seen is passed over, for a POST too."""
    async with stage() as s:
        client, stale = await kept(s)
        stale.finish()
        await settle()
        client.send(request_)
        fresh = await s.upstream.accepted()
        assert (await fresh.message()).start.endswith(b" /x HTTP/1.1")
        fresh.send(ok(b"fresh"))
        assert (await client.message()).body == b"fresh"


@scripted
async def test_a_post_of_which_nothing_went_out_is_sent_again() -> None:
    """The connection is found lost in the very turn in which the request came: nothing was sent."""
    async with stage() as s:
        client, stale = await kept(s)
        (lent,) = s.pool._idle
        (connection,) = s.proxy.connections
        assert lent.transport is not None
        connection.data_received(post(b"abc", target=b"/p"))
        lent.transport.abort()
        lent.connection_lost(ConnectionResetError())
        fresh = await s.upstream.accepted()
        request = await fresh.message()
        assert (request.start, request.body) == (b"POST /p HTTP/1.1", b"abc")
        fresh.send(ok(b"once"))
        assert (await client.message()).body == b"once"
        await stale.ended()
        assert stale.received == b""


@scripted
async def test_a_retry_insists_on_a_fresh_connection_when_the_pool_is_full() -> None:
    """At its bound the pool gives up a kept connection to make room for the fresh one."""
    async with stage(service={"connections": 2}) as s:
        two = [await s.asked(get()) for _ in range(2)]
        for client, upstream, _ in two:
            upstream.send(ok())
            await client.message()
        two[0][0].send(get(b"/again"))
        (stale,) = [upstream for _, upstream, _ in two if await got(upstream)]
        (other,) = [upstream for _, upstream, _ in two if upstream is not stale]
        stale.reset()
        fresh = await s.upstream.accepted()
        assert (await fresh.message()).start == b"GET /again HTTP/1.1"
        fresh.send(ok(b"fresh"))
        assert (await two[0][0].message()).body == b"fresh"
        assert other.received == b""


@scripted
async def test_an_upstream_that_closes_after_each_answer() -> None:
    """Every request gets a connection of its own and is answered."""
    async with stage() as s:
        client = await s.client()
        for number in range(5):
            client.send(get(b"/%d" % number))
            upstream = await s.upstream.accepted()
            await upstream.message()
            upstream.send(ok(b"%d" % number, b"Connection: close"))
            upstream.close()
            assert (await client.message()).body == b"%d" % number
        assert s.errors == {}


@scripted
async def test_an_answer_and_the_end_in_one_segment() -> None:
    """A service that says keep-alive and closes all the same costs nobody an answer."""
    async with stage() as s:
        client = await s.client()
        for number in range(5):
            client.send(post(b"x", target=b"/%d" % number))
            upstream = await s.upstream.accepted()
            await upstream.message()
            upstream.send(ok(b"%d" % number, b"Connection: keep-alive"))
            upstream.finish()
            assert (await client.message()).body == b"%d" % number
            await upstream.ended()
            await settle()


@scripted
async def test_a_name_that_no_resolver_takes() -> None:
    """502; the worker goes on."""
    async with stage(service={"url": "http://127.0.0.1:1"}, faults=True) as s:
        client = await s.client()
        client.send(get(b"/"))
        assert (await client.message()).reason == "connect_refused"
        s.pool.origin = Origin(f"http://{'a' * 70}.example:80")
        client.send(get(b"/"))
        assert (await client.message()).reason == "connect_refused"
        client.send(get(b"/"))
        assert (await client.message()).status == 502


@scripted
async def test_closing_the_pool_tells_who_waits() -> None:
    """503 for those who have no connection yet."""
    async with stage(service={"connections": 1}) as s:
        first, upstream, _ = await s.asked(get())
        second = await s.client()
        second.send(get(b"/2"))
        await settle()
        s.pool.close()
        assert (await second.message()).reason == "pool_closed"
        second.send(get(b"/3"))
        assert (await second.message()).reason == "pool_closed"
        await upstream.ended()
        first.reset()

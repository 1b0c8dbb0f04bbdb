"""Answers that want to be more than one answer: interim bodies, surplus bytes, answers nobody asked for.

A kept upstream connection is shared by clients, so one byte too many would be the head of another
client's answer (response-queue poisoning), and one too few would be taken from it.
"""

import pytest
from http1_harness import FLAGGED, Peer, Stage, chunked, get, ok, post, scripted, settle, stage

from understudy.proxy.connection import ClientConnection

OK = b"HTTP/1.1 200 OK\r\n"
FALSE = ok(b"false")

INTERIM_BODIES = {
    "an interim answer with a length": b"HTTP/1.1 104 Upload\r\nContent-Length: %d\r\n\r\n" % len(FALSE)
    + FALSE,
    "an unknown interim answer with a length": b"HTTP/1.1 199 X\r\nContent-Length: 5\r\n\r\nfalse",
    "early hints with a length": b"HTTP/1.1 103 Hints\r\nContent-Length: %d\r\n\r\n" % len(FALSE) + FALSE,
    "processing with a length": b"HTTP/1.1 102 P\r\nContent-Length: 5\r\n\r\nfalse",
    "continue with a length": b"HTTP/1.1 100 C\r\nContent-Length: 5\r\n\r\nfalse",
    "an interim answer in chunks": b"HTTP/1.1 104 U\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(FALSE),
    "an interim answer in no chunks": b"HTTP/1.1 104 U\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "early hints in chunks": b"HTTP/1.1 103 H\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"false"),
    "an interim answer of both": (
        b"HTTP/1.1 104 U\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    ),
}

CODINGS = {
    "a tab behind the coding": OK + b"Transfer-Encoding: chunked\t\r\n\r\n" + chunked(b"false"),
    "a vertical tab": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + chunked(b"false"),
    "a parameter": OK + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + chunked(b"false"),
    "quotes": OK + b'Transfer-Encoding: "chunked"\r\n\r\n' + chunked(b"false"),
    "an empty item": OK + b"Transfer-Encoding: ,chunked\r\n\r\n" + chunked(b"false"),
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nfalse",
    "no coding": OK + b"Transfer-Encoding:\r\nContent-Length: 5\r\n\r\nfalse",
    "two fields": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunked(b"f"),
    "a space before the colon": OK + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\nfalse",
    "a folded coding": OK + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\nfalse",
    "a signed length": OK + b"Content-Length: +5\r\n\r\nfalse",
    "a hexadecimal length": OK + b"Content-Length: 0x5\r\n\r\nfalse",
    "a length with a fraction": OK + b"Content-Length: 5.0\r\n\r\nfalse",
    "a length over 64 bits": OK + b"Content-Length: 18446744073709551621\r\n\r\nfalse",
    "lengths that differ": OK + b"Content-Length: 5\r\nContent-Length: 4\r\n\r\nfalse",
    "equal lengths": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nfalse",
    "digits that are not ASCII": OK + "Content-Length: \uff15\r\n\r\nfalse".encode(),
}


async def answered(upstream: Peer, reply: bytes, how: str) -> None:
    """Send *reply* whole or byte by byte."""
    if how == "whole":
        upstream.send(reply)
    else:
        await upstream.dribble(reply)


async def is_served(s: Stage, client: Peer) -> None:
    """*client*'s next request is answered by a fresh connection, with its own answer."""
    client.send(get(b"/next"))
    fresh = await s.upstream.accepted()
    assert (await fresh.message()).start == b"GET /next HTTP/1.1"
    fresh.send(ok(b"mine"))
    assert (await client.message()).body == b"mine"
    assert client.received == b""


@pytest.mark.parametrize("how", ["whole", "dribbled"])
@pytest.mark.parametrize("name", INTERIM_BODIES)
@scripted
async def test_an_interim_answer_has_no_body(name: str, how: str) -> None:
    """RFC 9110 15.2: what claims to be its body is neither body nor answer of anything: 502."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        await answered(upstream, INTERIM_BODIES[name] + ok(b"late"), how)
        answer = await client.message()
        if answer.status < 200:
            answer = await client.message()
        assert (answer.status, answer.reason) == (502, "bad_answer")
        await upstream.ended()
        await is_served(s, client)


@scripted
async def test_an_empty_interim_body_is_none() -> None:
    """Some servers say ``Content-Length: 0`` in a 100 or 103; nothing hangs on it."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        for status in (b"100", b"103", b"104"):
            await upstream.dribble(b"HTTP/1.1 " + status + b" X\r\nContent-Length: 0\r\nX-A: 1\r\n\r\n")
        upstream.send(ok(b"done"))
        assert (await client.message()).fields == [(b"X-A", b"1")]
        assert (await client.message()).status == 104
        assert (await client.message()).body == b"done"


@pytest.mark.parametrize("how", ["whole", "dribbled"])
@pytest.mark.parametrize("name", CODINGS)
@scripted
async def test_an_answer_that_two_readers_may_frame_differently(name: str, how: str) -> None:
    """502; not a byte of it is framed anew by guessing."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        await answered(upstream, CODINGS[name], how)
        assert (await client.message()).reason == "bad_answer"
        await upstream.ended()
        await is_served(s, client)


SWITCHES = {
    "bare": b"HTTP/1.1 101 Switching\r\n\r\n",
    "of HTTP/1.0": b"HTTP/1.0 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "with a length": b"HTTP/1.1 101 S\r\nContent-Length: 5\r\n\r\nfalse",
    "with chunks": b"HTTP/1.1 101 S\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "behind an interim answer": b"HTTP/1.1 103 H\r\n\r\nHTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n",
}


@pytest.mark.parametrize("how", ["whole", "dribbled"])
@pytest.mark.parametrize("name", SWITCHES)
@scripted
async def test_a_false_101_opens_nothing(name: str, how: str) -> None:
    """502: nobody asked; what follows reaches neither this client nor the next."""
    async with stage() as s:
        client, upstream, _ = await s.asked(post(b"abc"))
        await answered(upstream, SWITCHES[name] + FALSE, how)
        answer = await client.message()
        if answer.status < 200:
            answer = await client.message()
        assert (answer.status, answer.reason) == (502, "unasked_upgrade")
        await upstream.ended()
        await is_served(s, client)


@pytest.mark.parametrize(
    "reply", [FALSE, b"HTTP/1.1 408 Time\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 103 H\r\n\r\n"]
)
@scripted
async def test_an_answer_before_the_request_was_sent_is_no_answer_to_it(reply: bytes) -> None:
    """It lay in the kernel when the connection was lent: the request goes to a fresh one, nobody notices.

    Taken for the answer, it would free the connection with the request still to be sent, and the
    request's own answer would go to whoever is next.
    """
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(ok())
        await client.message()
        other = await s.client()
        await settle()
        one, two = both(s, client, other)
        (kept,) = s.pool._idle
        one.data_received(get(b"/one"))
        kept.data_received(reply)
        two.data_received(get(b"/two"))
        fresh = [await s.upstream.accepted() for _ in range(2)]
        for peer in fresh:
            request = await peer.message()
            peer.send(ok(request.start.split(b" ")[1]))
        assert (await client.message()).body == b"/one"
        assert (await other.message()).body == b"/two"
        assert upstream.received == b""
        assert s.errors == {}


@scripted
async def test_a_shadows_answer_before_its_copy_was_sent_is_no_answer_to_it() -> None:
    """It would be compared with an answer to something else, and so would every later one."""
    mirrored = get(b"/", b"X-Beta: yes")
    async with stage(FLAGGED) as s:
        client, upstream, _ = await s.asked(mirrored)
        shadow = await s.shadow.accepted()
        await shadow.message()
        shadow.send(ok())
        upstream.send(ok())
        await client.message()
        await settle()
        pools = [pool for service in s.proxy.engine.pools for pool in service.pools]
        (kept,) = [pool._idle[0] for pool in pools if pool.origin.port == s.shadow.port]
        (connection,) = s.proxy.connections
        connection.data_received(mirrored)
        kept.data_received(FALSE)
        fresh = await s.shadow.accepted()
        await fresh.message()
        fresh.send(ok(b"again"))
        await upstream.message()
        upstream.send(ok(b"again"))
        assert (await client.message()).body == b"again"
        await settle()
        assert s.recorder.pairs == []
        assert shadow.received == b""


def both(s: Stage, client: Peer, other: Peer) -> tuple[ClientConnection, ClientConnection]:
    """The proxy's sides of two clients."""
    sides: dict[object, ClientConnection] = {}
    for connection in s.proxy.connections:
        assert connection.transport is not None
        sides[connection.transport.get_extra_info("peername")] = connection
    return (
        sides[client.transport.get_extra_info("sockname")],
        sides[other.transport.get_extra_info("sockname")],
    )


@scripted
async def test_an_answer_is_whole_once() -> None:
    """Two answers to two pipelined requests in one read: the second was not asked for yet, and is dropped."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/1") + get(b"/2"))
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok(b"1") + FALSE)
        assert (await client.message()).body == b"1"
        fresh = await s.upstream.accepted()
        assert (await fresh.message()).start == b"GET /2 HTTP/1.1"
        fresh.send(ok(b"2"))
        assert (await client.message()).body == b"2"
        assert upstream.received == b""


@pytest.mark.parametrize("at", range(0, 60, 7))
@scripted
async def test_surplus_wherever_it_is_cut(at: int) -> None:
    """Cut anywhere between two reads, a second answer reaches nobody."""
    reply = ok(b"mine") + FALSE
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        await upstream.send_split(reply, at)
        assert (await client.message()).body == b"mine"
        await upstream.ended()
        await is_served(s, client)


@pytest.mark.parametrize(
    "trailer",
    [b"Connection: close", b"Transfer-Encoding: gzip", b"connection: Upgrade", b"Upgrade: x"],
)
@pytest.mark.parametrize("how", ["whole", "dribbled"])
@scripted
async def test_a_trailer_that_may_be_none_ends_the_connection(trailer: bytes, how: str) -> None:
    """Framing may not stand there (RFC 9110 6.5.1): the answer counts, the connection is not
    kept, and costs the next client nothing."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        reply = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n"
        await answered(upstream, reply, how)
        assert (await client.message()).body == b"hello"
        await upstream.ended()
        await is_served(s, client)
        assert s.errors == {}

"""Bodies stream both ways with back-pressure; early answers, Expect, Upgrade: DESIGN 6, rules 5, 7, 10."""

import pytest
from http1_harness import END, Message, Peer, Stage, chunked, get, ok, post, scripted, settle, stage

from understudy.proxy.connection import PIPELINE_DEPTH

MEGABYTE = 1_000_000
CHUNKED = b"Transfer-Encoding: chunked"


def chunked_post(*fields: bytes, target: bytes = b"/") -> bytes:
    """The head of a chunked POST."""
    return get(target, CHUNKED, *fields, method=b"POST")


@scripted
async def test_a_sized_body_streams() -> None:
    """Each piece goes on before the next one comes, under the length that was announced."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/", b"Content-Length: 000011 ", method=b"POST"))
        upstream = await s.upstream.accepted()
        head = await upstream.head()
        assert head.fields_named(b"content-length") == [b"11"]
        for piece in (b"hello", b" ", b"world"):
            client.send(piece)
            assert await upstream.take(len(piece)) == piece
        upstream.send(ok())
        assert (await client.message()).status == 200
        client.send(get(b"/next"))
        assert (await upstream.message()).start == b"GET /next HTTP/1.1"


@pytest.mark.parametrize("how", ["at once", "dribbled"])
@scripted
async def test_a_chunked_body_streams(how: str) -> None:
    """Chunks go on as chunks; extensions and trailers stay here."""
    body = b'5;a="b;c"\r\nhello\r\n6;x\r\n world\r\n0;y\r\nX-Trailer: 1\r\nX-Host: 2\r\n\r\n'
    async with stage() as s:
        client = await s.client()
        if how == "at once":
            client.send(chunked_post() + body)
        else:
            await client.dribble(chunked_post() + body)
        upstream = await s.upstream.accepted()
        request = await upstream.message()
        assert request.field(b"transfer-encoding") == b"chunked"
        assert request.body == b"hello world"
        assert request.fields_named(b"content-length") == []
        await settle()
        assert upstream.received == b""
        upstream.send(ok())
        assert (await client.message()).status == 200
        client.send(get(b"/next"))
        assert (await upstream.message()).start == b"GET /next HTTP/1.1"


BAD_CHUNKS = [
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"\r\n",
    b"fffffffffffffffff\r\nhello",
    b"5;\x00\r\nhello\r\n0\r\n\r\n",
    b"0\r\n\n",
    b"0\r\nX : 1\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"0\r\nX: 1\r\n 2\r\n\r\n",
]


@pytest.mark.parametrize("body", BAD_CHUNKS)
@scripted
async def test_bad_chunks(body: bytes) -> None:
    """400 and closed both ways: the service can never take what came for a whole request."""
    async with stage() as s:
        client, upstream, _ = await chunked_begun(s)
        client.send(body + get(b"/smuggled"))
        answer = await client.message()
        assert (answer.status, answer.reason) == (400, "bad_request")
        assert await client.rest() == "eof"
        await upstream.ended()
        assert not upstream.received.endswith(b"0\r\n\r\n")
        assert b"smuggled" not in upstream.received
        assert len(s.upstream.connections) == 1


async def chunked_begun(s: Stage) -> tuple[Peer, Peer, Message]:
    """A client in the middle of a chunked POST, and the upstream that saw its head."""
    client = await s.client()
    client.send(chunked_post())
    upstream = await s.upstream.accepted()
    return client, upstream, await upstream.head()


@scripted
async def test_bad_chunks_after_the_answer_began() -> None:
    """Too late for 400: the client is reset."""
    async with stage() as s:
        client, upstream, _ = await chunked_begun(s)
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await client.take_until(b"hello")
        client.send(b"nonsense\r\n")
        assert await client.rest() == "reset"
        await upstream.ended()
        assert s.errors == {"cut_bad_request": 1}


@pytest.mark.parametrize("endless", [b"5;", b"0\r\nX-Trailer: ", b"000000"])
@scripted
async def test_endless_chunk_extensions_and_trailers(endless: bytes) -> None:
    """Bounded: 400 instead of reading for ever."""
    async with stage() as s:
        client, upstream, _ = await chunked_begun(s)
        client.send(endless)
        filler = b"0" if endless.startswith(b"00") else b"x"
        for _ in range(20):
            client.send(filler * 8000)
            await s.turn()
        answer = await client.message()
        assert answer.status == 400
        await upstream.ended()


@scripted
async def test_a_body_behind_another_request_waits() -> None:
    """A pipelined upload is kept, held and replayed whole when its turn comes."""
    body = b"x" * 50_000
    async with stage() as s:
        client = await s.client()
        client.send(
            get(b"/1") + post(body, target=b"/2") + chunked_post(target=b"/3") + chunked(b"abc", b"de")
        )
        upstream = await s.upstream.accepted()
        assert (await upstream.message()).start == b"GET /1 HTTP/1.1"
        await settle()
        assert upstream.received == b""
        upstream.send(ok(b"1"))
        second = await upstream.message()
        assert (second.start, second.body) == (b"POST /2 HTTP/1.1", body)
        upstream.send(ok(b"2"))
        third = await upstream.message()
        assert (third.start, third.body) == (b"POST /3 HTTP/1.1", b"abcde")
        upstream.send(ok(b"3"))
        assert [(await client.message()).body for _ in range(3)] == [b"1", b"2", b"3"]


@scripted
async def test_a_slow_upstream_holds_the_client() -> None:
    """A client is read no faster than the service reads; nothing is lost when it goes on."""
    size = 30 * MEGABYTE
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/", b"Content-Length: %d" % size, method=b"POST"))
        upstream = await s.upstream.accepted()
        await upstream.head()
        upstream.transport.pause_reading()
        client.send(b"x" * size)
        most = 0
        for _ in range(100):
            await settle(4)
            most = max(most, held_upstream(s))
        assert client.transport.get_write_buffer_size() > 10 * MEGABYTE, "the client was never held"
        assert 0 < most <= 64 * 1024 + 256_000
        upstream.transport.resume_reading()
        assert await upstream.take(size) == b"x" * size
        upstream.send(ok(b"all"))
        assert (await client.message()).body == b"all"


def held_upstream(s: Stage) -> int:
    """Bytes held for the only upstream connection."""
    (connection,) = s.pool._open
    assert connection.transport is not None
    return connection.transport.get_write_buffer_size() + sum(len(data) for _, data in s.outgoing._first)


def held_client(s: Stage) -> int:
    """Bytes held for the only client."""
    (connection,) = s.proxy.connections
    assert connection.transport is not None
    return connection.transport.get_write_buffer_size() + sum(len(data) for _, data in s.outgoing._first)


@pytest.mark.parametrize("framing", ["sized", "chunked", "until close"])
@scripted
async def test_a_slow_client_holds_the_upstream(framing: str) -> None:
    """The service is read no faster than the client reads; nothing is lost when it goes on."""
    body = b"x" * (20 * MEGABYTE)
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        client.transport.pause_reading()
        if framing == "sized":
            upstream.send(ok(body))
        elif framing == "chunked":
            upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body))
        else:
            upstream.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            upstream.finish()
        most = 0
        for _ in range(100):
            await settle(4)
            most = max(most, held_client(s))
        assert upstream.transport.get_write_buffer_size() > 5 * MEGABYTE, "the upstream was never held"
        assert 0 < most <= 64 * 1024 + 2 * 256_000
        client.transport.resume_reading()
        answer = await client.message()
        assert len(answer.body) == len(body)
        assert answer.body == body


@scripted
async def test_a_client_that_never_reads_is_held() -> None:
    """Small answers to endless requests pile up for nobody: the client is read no more."""
    body = b"x" * 50_000
    async with stage() as s:
        client = await s.client(receive_buffer_bytes=4096)
        client.transport.pause_reading()
        client.send(get() * 3000)
        upstream = await s.upstream.accepted()
        served = 0
        for _ in range(600):
            await settle(3)
            while END in upstream.received:
                await upstream.head()
                upstream.send(ok(body))
                served += 1
        assert held_client(s) <= 64 * 1024 + 2 * len(body)
        assert served < 300
        client.reset()
        upstream.reset()


@scripted
async def test_an_early_answer_to_an_upload() -> None:
    """413 before the upload ends: the client gets all of it, then the end; the rest goes nowhere."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/", b"Content-Length: 30000000", method=b"POST"))
        upstream = await s.upstream.accepted()
        await upstream.head()
        upstream.transport.pause_reading()
        client.send(b"x" * 5_000_000)
        await settle()
        upstream.transport.resume_reading()
        upstream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        answer = await client.message()
        assert (answer.status, answer.body, answer.field(b"connection")) == (413, b"big", b"close")
        await upstream.ended()
        s.advance(2.0)
        await client.ended()
        await s.idle()


@scripted
async def test_after_an_early_answer_the_client_has_time_to_read_it() -> None:
    """The connection is closed for writing at once, read for a while, and closed at last."""
    async with stage() as s:
        client, upstream, _ = await chunked_begun(s)
        upstream.send(ok(b"enough", b"X-A: 1"))
        assert (await client.message()).body == b"enough"
        assert await client.rest() == "eof"
        for _ in range(30):
            client.send(b"5\r\nhello\r\n" * 1000)
            await settle(3)
        assert len(s.proxy.connections) == 1
        assert not client.is_lost
        s.advance(0.9)
        assert len(s.proxy.connections) == 1
        s.advance(0.2)
        await s.idle()


@scripted
async def test_an_answer_that_overtakes_the_upload_but_lets_it_go_on() -> None:
    """A service may answer while it reads: both go on, and the connection closes after both."""
    async with stage() as s:
        client, upstream, _ = await chunked_begun(s)
        upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        head = await client.head()
        assert head.field(b"connection") == b"close"
        await client.take_until(b"hello\r\n")
        client.send(b"3\r\nabc\r\n")
        assert await upstream.take_until(b"abc\r\n") == b"3\r\nabc\r\n"
        client.send(b"0\r\n\r\n")
        assert await upstream.take(5) == b"0\r\n\r\n"
        upstream.send(b"0\r\n\r\n")
        assert await client.rest() == "eof"
        assert client.received == b"0\r\n\r\n"
        await upstream.ended()


@scripted
async def test_an_unread_upload_is_not_waited_for_at_the_end_of_an_answer() -> None:
    """A service that answers until close and stops reading ends the exchange with its end."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/", b"Content-Length: 30000000", method=b"POST"))
        upstream = await s.upstream.accepted()
        await upstream.head()
        upstream.transport.pause_reading()
        client.send(b"x" * 20_000_000)
        await settle(50)
        upstream.send(b"HTTP/1.1 413 Too Large\r\n\r\nbig")
        upstream.finish()
        await client.take_until(b"3\r\nbig\r\n0\r\n\r\n")
        assert await client.rest() == "eof"
        s.advance(1.1)


@pytest.mark.parametrize("how", ["sized", "chunked"])
@scripted
async def test_expect_100_continue(how: str) -> None:
    """The client is told to go on once the service is there; Expect itself stays here."""
    async with stage() as s:
        client = await s.client()
        framing = b"Content-Length: 5" if how == "sized" else CHUNKED
        client.send(get(b"/", b"Expect: 100-Continue ", framing, method=b"PUT"))
        upstream = await s.upstream.accepted()
        assert (await upstream.head()).fields_named(b"expect") == []
        assert (await client.message()).start == b"HTTP/1.1 100 Continue"
        client.send(b"hello" if how == "sized" else chunked(b"hello"))
        assert b"hello" in await upstream.take(5 if how == "sized" else 15)
        upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"done"))
        assert (await client.message()).body == b"done"


@scripted
async def test_no_100_when_no_body_is_waited_for() -> None:
    """Not for a request without a body, not for HTTP/1.0, not when the service cannot be reached."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get(b"/", b"Expect: 100-continue"))
        upstream.send(ok(b"1"))
        assert (await client.message()).body == b"1"
        client.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
        await upstream.message()
        upstream.send(ok(b"2"))
        assert (await client.message()).body == b"2"
        s.upstream.close()
        client = await s.client()
        client.send(get(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"))
        assert (await client.message()).status == 502
        assert await client.rest() == "eof"


@scripted
async def test_a_final_answer_instead_of_100() -> None:
    """A service that refuses at once is heard; the body that was asked for goes nowhere."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"))
        upstream = await s.upstream.accepted()
        await upstream.head()
        upstream.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        assert (await client.message()).status == 100
        assert (await client.message()).status == 401
        assert await client.rest() == "eof"


UPGRADES = {
    "HTTP/2": (b"GET", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", b""),
    "HTTP/2 behind TLS": (b"GET", b"Upgrade: h2\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", b""),
    "HTTP/2 without its version": (b"GET", b"Upgrade: HTTP\r\n", b""),
    "sized": (b"POST", b"Content-Length: 5\r\n", b"hello"),
    "empty": (b"POST", b"Content-Length: 0\r\n", b""),
    "empty, padded": (b"POST", b"Content-Length: 00 \r\n", b""),
    "chunked": (b"POST", b"Transfer-Encoding: chunked\r\n", chunked(b"he", b"llo")),
}


@pytest.mark.parametrize("how", ["at once", "dribbled"])
@pytest.mark.parametrize("name", UPGRADES)
@scripted
async def test_an_upgrade_that_is_not_offered(name: str, how: str) -> None:
    """Upgrade stays here (RFC 9110 7.8 lets us), the request goes on as HTTP/1.1, and the connection too.

    With a body nobody could tell where it ends and the other protocol begins; HTTP/2 in a tunnel would
    carry requests past the rules.
    """
    method, framing, body = UPGRADES[name]
    fields = b"Host: a\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\n"
    if b"Upgrade:" not in framing:
        fields += b"Upgrade: websocket\r\n"
    wire = method + b" /up HTTP/1.1\r\n" + fields + framing + b"\r\n" + body
    async with stage() as s:
        client = await s.client()
        for number in (1, 2):
            if how == "at once":
                client.send(wire + get(b"/next"))
            else:
                await client.dribble(wire)
                client.send(get(b"/next"))
            upstream = s.upstream.connections[0] if number == 2 else await s.upstream.accepted()
            request = await upstream.message()
            assert request.start == method + b" /up HTTP/1.1"
            assert request.body == (b"hello" if body else b"")
            assert not {b"upgrade", b"connection", b"x-hop"} & {name.lower() for name, _ in request.fields}
            upstream.send(ok(b"plain"))
            assert (await client.message()).body == b"plain"
            assert (await upstream.message()).start == b"GET /next HTTP/1.1"
            upstream.send(ok(b"next"))
            assert (await client.message()).body == b"next"


@scripted
async def test_many_upgrades_in_one_read() -> None:
    """They are answered one after another, as many as other requests are."""
    request = get(b"/else", b"Connection: upgrade", b"Upgrade: h2c")
    async with stage({"routes": [{"path": "/api", "serve": "a"}]}) as s:
        client = await s.client()
        client.send(request * 500)
        for _ in range(PIPELINE_DEPTH + 1):
            assert (await client.message()).reason == "no_route"
        assert await client.rest() == "eof"


@scripted
async def test_an_upgrade_with_bad_framing_behind_another_request() -> None:
    """It is refused in its turn."""
    bad = (
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: gzip\r\n\r\n"
    )
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        client.send(bad + get(b"/smuggled"))
        upstream.send(ok())
        assert (await client.message()).status == 200
        assert (await client.message()).status in (400, 501)
        assert await client.rest() == "eof"
        assert upstream.received == b""

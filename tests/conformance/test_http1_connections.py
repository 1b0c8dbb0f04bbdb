"""The life of client connections: order, reuse, limits in time, drain, and who is told when one is lost."""

import pytest
from http1_harness import chunked, get, ok, post, scripted, settle, stage

from understudy.proxy import SWEEP_SECONDS
from understudy.proxy.connection import PIPELINE_DEPTH


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (get(b"/", b"Connection: close"), {b"connection": b"close"}),
        (get(b"/", b"Connection: keep-alive, Close"), {b"connection": b"close"}),
        (get(b"/", b"Connection: x", b"Connection: close"), {b"connection": b"close"}),
        (b"GET / HTTP/1.0\r\n\r\n", {b"connection": b"close"}),
        (b"GET / HTTP/1.0\r\nConnection: x\r\n\r\n", {b"connection": b"close"}),
    ],
)
@scripted
async def test_who_asks_to_close_is_closed(request_: bytes, fields: dict[bytes, bytes]) -> None:
    """After the whole answer, which says so; the upstream connection is kept."""
    async with stage() as s:
        client, upstream, request = await s.asked(request_)
        assert request.fields_named(b"connection") == []
        upstream.send(ok(b"bye"))
        answer = await client.message()
        assert answer.body == b"bye"
        assert answer.field(b"connection") == fields[b"connection"]
        assert await client.rest() == "eof"
        assert client.received == b""
        assert repr(s.pool).endswith("open=1 idle=1 opening=0 waiting=0>")


@scripted
async def test_http_1_0_keep_alive() -> None:
    """A client of HTTP/1.0 that asks for it keeps its connection, and is told so."""
    async with stage() as s:
        client = await s.client()
        for number in range(2):
            client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n")
            upstream = s.upstream.connections[0] if number else await s.upstream.accepted()
            await upstream.message()
            upstream.send(ok())
            assert (await client.message()).field(b"connection") == b"keep-alive"


@scripted
async def test_requests_one_after_another() -> None:
    """One client connection and one upstream connection serve any number of requests."""
    async with stage() as s:
        client = await s.client()
        for number in range(50):
            body = b"%d" % number
            client.send(post(body) if number % 3 else get(b"/" + body))
            upstream = s.upstream.connections[0] if number else await s.upstream.accepted()
            request = await upstream.message()
            assert request.body == (body if number % 3 else b"")
            upstream.send(ok(body))
            answer = await client.message()
            assert (answer.body, answer.field(b"connection")) == (body, b"")
        assert len(s.upstream.connections) == 1


@scripted
async def test_two_clients_share_the_upstream_connection() -> None:
    """One after the other; each gets its own answers and its own forwarding fields."""
    async with stage() as s:
        one, upstream, _ = await s.asked(get(b"/one"))
        upstream.send(ok(b"1"))
        assert (await one.message()).body == b"1"
        two = await s.client()
        two.send(b"GET /two HTTP/1.1\r\nHost: b.example\r\n\r\n")
        request = await upstream.message()
        assert (request.field(b"host"), request.field(b"x-forwarded-host")) == (b"b.example", b"b.example")
        upstream.send(ok(b"2"))
        assert (await two.message()).body == b"2"
        assert one.received == b""


@pytest.mark.parametrize("split", [1, 20, 45, 60, 90])
@scripted
async def test_pipelined_requests_are_answered_in_order(split: int) -> None:
    """One at a time, whatever was asked at once; the service never sees two at a time."""
    async with stage() as s:
        client = await s.client()
        await client.send_split(b"".join(get(b"/%d" % n) for n in range(5)), split)
        upstream = await s.upstream.accepted()
        for number in range(5):
            assert (await upstream.message()).start == b"GET /%d HTTP/1.1" % number
            await settle()
            assert upstream.received == b""
            await upstream.dribble(ok(b"%d" % number))
            assert (await client.message()).body == b"%d" % number
        client.send(get(b"/last"))
        assert (await upstream.message()).start == b"GET /last HTTP/1.1"


@scripted
async def test_the_pipeline_is_bounded() -> None:
    """Of 1000 requests in one read a bounded number is answered; the last says that nothing more comes."""
    async with stage() as s:
        client = await s.client()
        client.send(b"".join(get(b"/%d" % n) for n in range(1000)))
        upstream = await s.upstream.accepted()
        last = PIPELINE_DEPTH
        for number in range(last + 1):
            assert (await upstream.message()).start == b"GET /%d HTTP/1.1" % number
            upstream.send(ok(b"%d" % number))
            answer = await client.message()
            assert answer.body == b"%d" % number
            assert answer.field(b"connection") == (b"close" if number == last else b"")
        assert await client.rest() == "eof"
        assert upstream.received == b""


@scripted
async def test_the_pipeline_is_bounded_for_what_the_proxy_answers_itself() -> None:
    """One after another too, others between them: eight thousand in a read would hold the loop."""
    async with stage() as s:
        client = await s.client()
        client.send(get(method=b"TRACE") * 1000)
        for number in range(PIPELINE_DEPTH + 1):
            answer = await client.message()
            assert answer.status == 405
            assert answer.field(b"connection") == (b"close" if number == PIPELINE_DEPTH else b"")
        assert await client.rest() == "eof"
        assert s.errors == {"bad_method": PIPELINE_DEPTH + 1, "pipeline_too_deep": 1}


@scripted
async def test_what_follows_a_last_request_is_not_answered() -> None:
    """After ``Connection: close`` nothing is a request."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/1") + get(b"/2", b"Connection: close") + get(b"/smuggled"))
        upstream = await s.upstream.accepted()
        for number in (b"1", b"2"):
            assert (await upstream.message()).start == b"GET /%b HTTP/1.1" % number
            upstream.send(ok(number))
            assert (await client.message()).body == number
        assert await client.rest() == "eof"
        assert client.received == upstream.received == b""
        assert s.errors == {}


@scripted
async def test_empty_lines_between_requests_are_skipped() -> None:
    """RFC 9112 2.2: some clients send one after a body."""
    async with stage() as s:
        client, upstream, _ = await s.asked(post(b"abc"))
        client.send(b"\r\n")
        upstream.send(ok())
        await client.message()
        client.send(b"\r\n" + get(b"/2"))
        assert (await upstream.message()).start == b"GET /2 HTTP/1.1"


@scripted
async def test_a_half_closed_client_gets_its_answers() -> None:
    """All that it asked before; then the connection ends."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/1") + post(b"abc", target=b"/2"))
        client.finish()
        upstream = await s.upstream.accepted()
        for number in (b"1", b"2"):
            await upstream.message()
            upstream.send(ok(number))
            assert (await client.message()).body == number
        assert await client.rest() == "eof"


@scripted
async def test_a_half_closed_client_that_asked_alone_gets_its_answer() -> None:
    """The answer says that it is the last."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        client.finish()
        await settle()
        upstream.send(ok(b"x" * 100_000))
        answer = await client.message()
        assert (len(answer.body), answer.field(b"connection")) == (100_000, b"close")
        assert await client.rest() == "eof"


@pytest.mark.parametrize("what", [b"", b"GET / HT", post(b"abc")[:-1], b"\r\n"])
@scripted
async def test_a_client_that_ends_in_the_middle(what: bytes) -> None:
    """A connection that ends before a request is whole ends quietly; so does its upstream exchange."""
    async with stage() as s:
        client = await s.client()
        client.send(what)
        await settle()
        client.finish()
        assert await client.rest() == "eof"
        assert client.received == b""
        for upstream in s.upstream.connections:
            await upstream.ended()
        await s.idle()
        assert s.errors == {}


@pytest.mark.parametrize("rest", [b"GET /3 HT", post(b"abc")[:-1]])
@scripted
async def test_a_client_that_ends_in_the_middle_of_a_later_request(rest: bytes) -> None:
    """What was whole is answered; what was not never starts."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/1") + rest)
        await settle()
        client.finish()
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok(b"1"))
        assert (await client.message()).body == b"1"
        assert await client.rest() == "eof"
        assert upstream.received == b""
        assert len(s.upstream.connections) == 1


# -- time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [b"G", b"GET / HTTP/1.1\r\nHost: a", get()[:-1]])
@scripted
async def test_a_slow_head(part: bytes) -> None:
    """408 ten seconds after its first byte, however steadily it drips."""
    async with stage() as s:
        client = await s.client()
        client.send(part[:1])
        await settle()
        for at in range(1, 10):
            s.advance(1.0)
            client.send(part[at : at + 1])
            await settle()
        s.advance(1.1)
        answer = await client.message()
        assert (answer.status, answer.reason) == (408, "head_timeout")
        assert await client.rest() == "eof"


@scripted
async def test_a_silent_client_is_told_nothing() -> None:
    """An idle connection ends without an answer that a later request could take for its own."""
    async with stage() as s:
        fresh = await s.client()
        client, upstream, _ = await s.asked(get())
        upstream.send(ok())
        await client.message()
        for _ in range(59):
            s.advance(1.0)
        await settle()
        assert not client.ending
        s.advance(1.1)
        assert await client.rest() == await fresh.rest() == "eof"
        assert client.received == fresh.received == b""


@scripted
async def test_empty_lines_are_no_head() -> None:
    """A client that sends line ends only is closed without an answer."""
    async with stage() as s:
        client = await s.client()
        client.send(b"\r\n")
        await settle()
        s.advance(10.1)
        assert await client.rest() == "eof"
        assert client.received == b""


@scripted
async def test_a_slow_body() -> None:
    """408 when a body stops for too long; each piece that makes up for it starts the time again."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/", b"Content-Length: 50000", method=b"POST"))
        upstream = await s.upstream.accepted()
        for _ in range(5):
            s.advance(29.0)
            client.send(b"x" * 29 * 240)
            await settle()
        s.advance(30.1)
        answer = await client.message()
        assert (answer.status, answer.reason) == (408, "body_timeout")
        assert await client.rest() == "eof"
        await upstream.ended()


@scripted
async def test_a_service_that_does_not_read() -> None:
    """504 and not 408: the client would send if it were read."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/", b"Content-Length: 20000000", method=b"POST"))
        upstream = await s.upstream.accepted()
        upstream.transport.pause_reading()
        client.send(b"x" * 20_000_000)
        await settle(60)
        s.advance(30.1)
        answer = await client.message()
        assert (answer.status, answer.reason) == (504, "answer_timeout")
        s.advance(1.1)


@scripted
async def test_a_service_that_does_not_answer() -> None:
    """504 after fifteen seconds; the client goes on, the upstream connection does not."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        s.advance(14.9)
        upstream.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        assert (await client.message()).status == 102
        s.advance(0.2)
        answer = await client.message()
        assert (answer.status, answer.reason, answer.field(b"connection")) == (504, "answer_timeout", b"")
        await upstream.ended()
        client.send(get(b"/2"))
        assert (await (await s.upstream.accepted()).message()).start == b"GET /2 HTTP/1.1"


@scripted
async def test_a_service_that_stops_answering() -> None:
    """The client is reset sixty seconds after the last piece."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n")
        for _ in range(3):
            await settle()
            s.advance(59.0)
            upstream.send(b"x")
        await settle()
        assert not client.ending
        s.advance(60.1)
        assert await client.rest() == "reset"
        await upstream.ended()
        assert s.errors == {"cut_answer_idle": 1}


@scripted
async def test_the_services_own_times_count() -> None:
    """``first_byte_timeout`` and ``idle_timeout`` of the service that answers."""
    async with stage(service={"first_byte_timeout": "2s", "idle_timeout": "3s"}) as s:
        client, upstream, _ = await s.asked(get())
        s.advance(2.1)
        assert (await client.message()).status == 504
        client, upstream, _ = await s.asked(get())
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n")
        await client.head()
        s.advance(2.9)
        await settle()
        assert not client.ending
        s.advance(0.2)
        assert await client.rest() == "reset"


@pytest.mark.parametrize("keep", [b"keep-alive", b"close"])
@scripted
async def test_a_client_that_stops_reading(keep: bytes) -> None:
    """What it does not take is kept for a while, as long as it takes some; then it is reset."""
    async with stage() as s:
        client = await s.client(receive_buffer_bytes=4096)
        client.transport.pause_reading()
        client.send(get(b"/", b"Connection: " + keep))
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok(b"x" * 5_000_000))
        await settle(100)
        for _ in range(400):
            client.transport.resume_reading()
            await settle(2)
            client.transport.pause_reading()
            if not upstream.transport.get_write_buffer_size():
                break
            s.advance(20.0)
        await settle(10)
        s.advance(60.1)
        await settle()
        s.advance(30.1)
        await settle()
        s.advance(30.1)
        await s.idle()


@scripted
async def test_an_idle_upstream_connection_ends() -> None:
    """After four seconds, before common servers end theirs."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(ok())
        await client.message()
        s.advance(4.0)
        await settle()
        assert not upstream.is_lost
        s.advance(0.1)
        await upstream.ended()
        await settle()
        assert repr(s.pool).endswith("open=0 idle=0 opening=0 waiting=0>")


# -- leaving -------------------------------------------------------------------------------------------


@scripted
async def test_drain() -> None:
    """Idle connections close after a moment, running requests are answered and told it was the last."""
    async with stage() as s:
        idle = await s.client()
        client, upstream, _ = await s.asked(get())
        client.send(get(b"/pipelined"))
        waits = 0

        async def wait(seconds: float) -> None:
            nonlocal waits
            waits += 1
            assert seconds == SWEEP_SECONDS
            await settle(2)
            if waits == 8:
                assert await idle.rest() == "eof"
                upstream.send(ok(b"last"))

        assert await s.proxy.drain(30.0, wait=wait) == 0
        answer = await client.message()
        assert (answer.body, answer.field(b"connection")) == (b"last", b"close")
        assert await client.rest() == "eof"
        assert waits < 15


@scripted
async def test_drain_cuts_what_does_not_end() -> None:
    """After its time, and says how many requests."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())

        async def wait(_: float) -> None:
            await settle(1)

        assert await s.proxy.drain(1.0, wait=wait) == 1
        assert await client.rest() == "reset"
        await upstream.ended()


PHASES = [
    "connecting",
    "head",
    "body",
    "waiting",
    "interim",
    "answering",
    "queued",
    "slow reader",
    "slow service",
]


@pytest.mark.parametrize("phase", PHASES)
@scripted
async def test_a_client_that_vanishes(phase: str) -> None:
    """In every phase its upstream exchange is closed with it, and nothing is left of it."""
    async with stage() as s:
        client = await s.client()
        if phase == "head":
            client.send(get()[:-1])
            await settle()
        elif phase == "connecting":
            client.send(get())
            await client.until(lambda: s.proxy.connections, "the connection")
        elif phase in ("body", "slow service"):
            client.send(get(b"/", b"Content-Length: 9000000", method=b"POST") + b"abc")
            upstream = await s.upstream.accepted()
            if phase == "slow service":
                upstream.transport.pause_reading()
                client.send(b"x" * 8_000_000)
                await settle(50)
        else:
            client.send(get() + (get(b"/2") if phase == "queued" else b""))
            upstream = await s.upstream.accepted()
            await upstream.message()
            if phase == "interim":
                upstream.send(b"HTTP/1.1 103 Hints\r\n\r\n")
            elif phase == "answering":
                upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
                await client.take_until(b"abc")
            elif phase == "slow reader":
                client.transport.pause_reading()
                upstream.send(ok(b"x" * 9_000_000))
                await settle(50)
        client.reset()
        if phase == "slow service":
            upstream.transport.resume_reading()
        if phase in ("queued", "slow service"):  # nobody reads, so the reset is seen by the deadline
            await settle()
            s.advance(30.1)
            await settle()
            s.advance(30.1)
        await s.idle()
        for upstream in s.upstream.connections:
            if phase != "connecting":
                await upstream.ended()
        await settle()
        if phase == "head":
            assert s.proxy.engine.pools == []
            return
        opened = 1 if phase == "connecting" and s.upstream.connections else 0
        assert repr(s.pool).endswith(f"open={opened} idle={opened} opening=0 waiting=0>")


@scripted
async def test_what_a_vanished_client_sent_reaches_nobody_else() -> None:
    """Data queued for an exchange that was given up is not sent on the connection's next one."""
    async with stage() as s:
        one, upstream, _ = await s.asked(get(b"/1"))
        upstream.send(ok())
        await one.message()
        one.send(get(b"/gone", b"Content-Length: 100", method=b"POST") + b"secret")
        one.reset()
        two, fresh, request = await s.asked(get(b"/2"))
        assert request.start == b"GET /2 HTTP/1.1"
        fresh.send(ok(b"2"))
        assert (await two.message()).body == b"2"
        await settle()
        assert fresh.received == b""


@pytest.mark.patched
@scripted
async def test_a_fault_of_ours_is_one_requests_fault() -> None:
    """500, logged, counted; the proxy serves on."""
    async with stage(faults=True) as s:

        def broken(_: object) -> None:
            raise RuntimeError("planted")

        engine = s.proxy.engine
        decide = engine.decide
        setattr(engine, "decide", broken)  # noqa: B010  planted
        answer = await s.refused(get() + get())
        assert (answer.status, answer.reason) == (500, "internal")
        client = await s.client()
        client.send(get() + get())
        assert (await client.message()).status == 500
        setattr(engine, "decide", decide)  # noqa: B010  mended
        assert [str(error) for error in s.logged] == ["planted", "planted"]
        assert s.errors == {"internal": 2}
        client, upstream, _ = await s.asked(get())
        upstream.send(ok())
        assert (await client.message()).status == 200
        assert s.faults == []


@scripted
async def test_a_fault_in_an_answer_is_one_requests_fault() -> None:
    """The client is told or cut, and the proxy serves on."""
    async with stage(faults=True) as s:
        client, upstream, _ = await s.asked(get())
        s.proxy.via_field = None  # type: ignore[assignment]  # planted
        upstream.send(ok())
        answer = await client.message()
        assert (answer.status, answer.reason) == (500, "internal")
        s.proxy.via_field = b"Via: 1.1 x\r\n"
        client.reset()
        other, upstream, _ = await s.asked(get())
        upstream.send(ok(b"on"))
        assert (await other.message()).body == b"on"


@pytest.mark.patched
@scripted
async def test_a_fault_in_a_deadline_is_one_connections_fault() -> None:
    """The sweep goes on to the others; the connection with the fault is cut."""
    async with stage(faults=True) as s:
        client, _, _ = await s.asked(get())
        other, _, _ = await s.asked(get(b"/2"))
        (connection,) = [c for c in s.proxy.connections if c._current and c._current.path == "/"]
        connection.mark = None  # type: ignore[assignment]  # planted
        s.advance(15.1)
        assert await client.rest() == "reset"
        assert (await other.message()).status == 504
        assert len(s.logged) == 1


@pytest.mark.parametrize("chunks", [1, 3])
@scripted
async def test_counts_of_requests(chunks: int) -> None:
    """Every exchange is counted once, by the class of what the client got."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(*[b"x"] * chunks))
        await client.message()
        client.send(get())
        await upstream.message()
        upstream.send(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        await client.message()
        client.send(get())
        await upstream.message()
        upstream.close()
        fresh = await s.upstream.accepted()
        await fresh.message()
        fresh.reset()
        assert (await client.message()).status == 502
        client.send(get())
        fresh = await s.upstream.accepted()
        await fresh.message()
        client.reset()
        await s.idle()
        (stats,) = s.metrics.requests.values()
        assert stats.codes == [0, 0, 1, 0, 2, 1]
        assert sum(stats.duration.counts) == 4

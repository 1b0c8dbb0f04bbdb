"""Answers on their way back: DESIGN 6, rules 3, 5 and 6. What is not whole is never made to look whole."""

import pytest
from http1_harness import VIA, chunked, get, ok, post, scripted, stage

from understudy.upstream.connection import MOST_INTERIM

OK = b"HTTP/1.1 200 OK\r\n"

BAD = {
    "space before the colon": OK + b"X-A : 1\r\nContent-Length: 0\r\n\r\n",
    "a folded line": OK + b"X-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
    "a bare CR": OK + b"X-A: 1\r2\r\nContent-Length: 0\r\n\r\n",
    "a bare LF": OK + b"X-A: 1\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X-A: \x00\r\nContent-Length: 0\r\n\r\n",
    "a control character in a value": OK + b"X-A: \x02\r\nContent-Length: 0\r\n\r\n",
    "a bare LF in the reason": b"HTTP/1.1 200 O\nK\r\nContent-Length: 0\r\n\r\n",
    "a bare CR in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "length and coding": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "a list of lengths": OK + b"Content-Length: 1, 1\r\n\r\na",
    "a length that is none": OK + b"Content-Length: one\r\n\r\na",
    "another coding": OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "another coding first": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a request": get(),
    "status 600": b"HTTP/1.1 600 Six\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 Nine\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 None\r\nContent-Length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD)
@scripted
async def test_what_is_not_an_answer(name: str) -> None:
    """502, counted, the upstream connection closed; the client's goes on and meets a fresh one."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(BAD[name] + ok(b"poison"))
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, "bad_answer")
        assert s.errors == {"bad_answer": 1}
        await upstream.ended()
        client.send(get(b"/next"))
        fresh = await s.upstream.accepted()
        assert (await fresh.message()).start == b"GET /next HTTP/1.1"
        fresh.send(ok(b"fresh"))
        assert (await client.message()).body == b"fresh"


@pytest.mark.parametrize("name", ["a folded line", "another coding", "status 600", "no HTTP"])
@scripted
async def test_what_is_not_an_answer_byte_by_byte(name: str) -> None:
    """The same verdict when every byte comes by itself."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        await upstream.dribble(BAD[name])
        assert (await client.message()).reason == "bad_answer"


@pytest.mark.parametrize("fields", [b"", b"Connection: upgrade\r\nUpgrade: websocket\r\n"])
@scripted
async def test_a_101_nobody_asked_for(fields: bytes) -> None:
    """502: no client of ours asked for another protocol, whatever the upstream says."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(b"HTTP/1.1 101 Switching\r\n" + fields + b"\r\n" + ok(b"poison"))
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, "unasked_upgrade")
        await upstream.ended()


@pytest.mark.parametrize("reason", [b"O\x00K", b"O\x01K", b"O\x7fK"])
@scripted
async def test_a_reason_with_control_characters_is_left_out(reason: bytes) -> None:
    """The status counts (RFC 9112 4); the phrase does not go on."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(b"HTTP/1.1 200 " + reason + b"\r\nContent-Length: 0\r\n\r\n")
        assert (await client.message()).start == b"HTTP/1.1 200 "


@pytest.mark.parametrize("reason", [b"", b"Sehr g\xfct", b"All is\twell"])
@scripted
async def test_a_reason_goes_on(reason: bytes) -> None:
    """The service's own phrase, or none."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(b"HTTP/1.1 599 " + reason + b"\r\nContent-Length: 0\r\n\r\n")
        assert (await client.message()).start == b"HTTP/1.1 599 " + reason


SURPLUS = {
    "a whole answer": ok() + ok(b"poison"),
    "one byte": ok() + b"X",
    "half a head": ok() + b"HTTP/1.1 200 OK\r\nContent-",
    "a body of a 204": b"HTTP/1.1 204 No\r\nContent-Length: 6\r\n\r\npoison",
    "a body of a 304": b"HTTP/1.1 304 No\r\nContent-Length: 6\r\n\r\npoison",
    "after chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"ok") + ok(b"poison"),
    "after Connection: close": ok(b"ok", b"Connection: close") + ok(b"poison"),
}


@pytest.mark.parametrize("how", ["at once", "later"])
@pytest.mark.parametrize("name", SURPLUS)
@scripted
async def test_surplus_bytes_reach_nobody(name: str, how: str) -> None:
    """What follows an answer closes that connection, at once or later; the next client gets its own."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get(b"/1"))
        if how == "at once":
            upstream.send(SURPLUS[name])
        else:
            upstream.send(SURPLUS[name][:-1])
            await client.message()
            upstream.send(SURPLUS[name][-1:])
        if how == "at once":
            await client.message()
        await upstream.ended()
        other, fresh, seen = await s.asked(get(b"/2"))
        assert seen.start == b"GET /2 HTTP/1.1"
        assert upstream.received == b""
        fresh.send(ok(b"mine"))
        assert (await other.message()).body == b"mine"
        assert client.received == b""


@pytest.mark.parametrize(
    "reply",
    [ok(b"poison"), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nX"],
)
@scripted
async def test_a_body_of_an_answer_to_head_reaches_nobody(reply: bytes) -> None:
    """HEAD has no body whatever Content-Length says; one that comes all the same closes the connection."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get(method=b"HEAD"))
        upstream.send(reply)
        answer = await client.message(bodyless=True)
        assert answer.status == 200
        await upstream.ended()
        client.send(get(b"/next"))
        assert (await (await s.upstream.accepted()).message()).start == b"GET /next HTTP/1.1"
        assert client.received == b""


@scripted
async def test_bytes_nobody_asked_for_close_an_idle_connection() -> None:
    """An answer to no request is not kept for the next one."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get(b"/1"))
        upstream.send(ok())
        await client.message()
        upstream.send(ok(b"poison"))
        await upstream.ended()
        client.send(get(b"/2"))
        fresh = await s.upstream.accepted()
        await fresh.message()
        fresh.send(ok(b"mine"))
        assert (await client.message()).body == b"mine"


@scripted
async def test_an_upstream_that_speaks_first_is_not_listened_to() -> None:
    """A greeting before the request is no answer to it: 502, and nothing of it reaches the client."""
    async with stage() as s:
        s.upstream.greeting = ok(b"poison")
        client = await s.client()
        client.send(get())
        answer = await client.message()
        assert answer.status == 502
        assert client.received == b""


@pytest.mark.parametrize("length", [b"Content-Length: 12345\r\n", b"Transfer-Encoding: chunked\r\n", b""])
@scripted
async def test_answers_to_head(length: bytes) -> None:
    """The fields pass, no body is waited for, and a client on keep-alive goes on."""
    async with stage() as s:
        client = await s.client()
        for number in range(3):
            client.send(get(b"/%d" % number, method=b"HEAD"))
            upstream = s.upstream.connections[-1] if number and length else await s.upstream.accepted()
            assert (await upstream.message()).start == b"HEAD /%d HTTP/1.1" % number
            upstream.send(OK + length + b"\r\n")
            answer = await client.message(bodyless=True)
            assert answer.field(b"content-length") == (b"12345" if b"12345" in length else b"")
            assert answer.field(b"transfer-encoding") == b""
        client.send(get(b"/get"))
        upstream = s.upstream.connections[-1] if length else await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok(b"body"))
        assert (await client.message()).body == b"body"


@pytest.mark.parametrize(
    ("reply", "length"),
    [
        (b"HTTP/1.1 204 No\r\n\r\n", b""),
        (b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not\r\nContent-Length: 12345\r\n\r\n", b"12345"),
        (b"HTTP/1.1 304 Not\r\nETag: x\r\n\r\n", b""),
        (b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n", b"0"),
    ],
)
@scripted
async def test_answers_without_a_body(reply: bytes, length: bytes) -> None:
    """204 and 304 end with their head, both ways, and both connections are used again."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(reply)
        answer = await client.message(bodyless=length != b"0")
        assert answer.field(b"content-length") == length
        assert answer.field(b"transfer-encoding") == b""
        client.send(get(b"/next"))
        assert (await upstream.message()).start == b"GET /next HTTP/1.1"
        upstream.send(ok(b"next"))
        assert (await client.message()).body == b"next"


@scripted
async def test_interim_answers_go_on() -> None:
    """1xx answers pass with their end-to-end fields, in order, before the final one."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Hop: 1\r\nConnection: x-hop\r\nLink: </b>\r\n\r\n"
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(hints)
        first = await client.message()
        assert first.start == b"HTTP/1.1 103 Early Hints"
        assert first.fields == [(b"Link", b"</a>"), (b"Link", b"</b>")]
        await upstream.dribble(b"HTTP/1.1 102 Processing\r\n\r\n")
        assert (await client.message()).status == 102
        upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + ok(b"done"))
        assert (await client.message()).status == 103
        answer = await client.message()
        assert (answer.status, answer.body) == (200, b"done")
        client.send(get(b"/next"))
        await upstream.message()


@pytest.mark.parametrize("size", [1, MOST_INTERIM + 1])
@scripted
async def test_interim_answers_without_end(size: int) -> None:
    """So many and no more, in one read or in many: who only announces holds nobody up."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        for _ in range(0, MOST_INTERIM + 1, size):
            upstream.send(b"HTTP/1.1 103 E\r\n\r\n" * size)
            await s.turn()
        for _ in range(MOST_INTERIM):
            assert (await client.message()).status == 103
        assert (await client.message()).reason == "bad_answer"
        await upstream.ended()


@scripted
async def test_a_row_of_interim_answers_is_counted_for_its_answer_alone() -> None:
    """A connection that has served many answers with some before each serves more."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        for _ in range(3):
            upstream.send(b"HTTP/1.1 103 E\r\n\r\n" * MOST_INTERIM + ok(b"x"))
            for _ in range(MOST_INTERIM):
                assert (await client.message()).status == 103
            assert (await client.message()).body == b"x"
            client.send(get())
            await upstream.message()


@scripted
async def test_interim_answers_do_not_reach_http_1_0() -> None:
    """A client of HTTP/1.0 gets the final answer only (RFC 9110 15.2)."""
    async with stage() as s:
        client, upstream, _ = await s.asked(b"GET / HTTP/1.0\r\n\r\n")
        upstream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(b"done"))
        assert (await client.message()).body == b"done"
        assert await client.rest() == "eof"


CUT = {
    "sized": (OK + b"Content-Length: 10\r\n\r\nhello", "closed"),
    "sized, head only": (OK + b"Content-Length: 10\r\n\r\n", "closed"),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "closed"),
    "chunked, in a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello", "closed"),
    "chunked, before the last line": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "closed",
    ),
}


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("name", CUT)
@scripted
async def test_a_short_body_is_never_a_success(name: str, version: bytes) -> None:
    """The client is reset: a close in good order could end the answer, most of all for HTTP/1.0."""
    reply, reason = CUT[name]
    async with stage() as s:
        client, upstream, _ = await s.asked(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
        upstream.send(reply)
        assert (await client.head()).status == 200
        upstream.close()
        assert await client.rest() == "reset"
        assert not client.received.endswith(b"0\r\n\r\n")
        assert s.errors == {"cut_" + reason: 1}


@scripted
async def test_a_body_that_breaks_the_rules_is_never_a_success() -> None:
    """502 while nothing of the answer is out, a reset afterwards."""
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(head + b"5\r\nhelloX")
        assert (await client.message()).reason == "bad_answer"
        client.send(get())
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(head)
        await client.head()
        upstream.send(b"5\r\nhelloX")
        assert await client.rest() == "reset"
        assert s.errors == {"bad_answer": 1, "cut_bad_answer": 1}


@scripted
async def test_an_answer_until_close_that_is_reset_is_never_a_success() -> None:
    """A reset is no end of an answer."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(OK + b"\r\nhello")
        assert await client.take_until(b"hello\r\n")
        upstream.reset()
        assert await client.rest() == "reset"
        assert s.errors == {"cut_reset": 1}


@scripted
async def test_an_answer_until_close_becomes_chunked() -> None:
    """A client of HTTP/1.1 gets an end that it can see, and may go on."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(b"HTTP/1.0 200 OK\r\n\r\nhello ")
        assert (await client.head()).field(b"transfer-encoding") == b"chunked"
        upstream.send(b"world")
        upstream.close()
        assert await client.take_until(b"0\r\n\r\n") == b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
        client.send(get(b"/next"))
        await (await s.upstream.accepted()).message()


@scripted
async def test_an_answer_until_close_ends_an_http_1_0_connection() -> None:
    """A client of HTTP/1.0 gets it as it is, ended by a close in good order."""
    async with stage() as s:
        client, upstream, _ = await s.asked(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        upstream.send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"hello ", b"world"))
        answer = await client.message()
        assert answer.field(b"connection") == b"close"
        assert answer.body == b"hello world"
        assert s.errors == {}


@pytest.mark.parametrize("split", range(1, 12))
@scripted
async def test_chunks_go_on_as_they_come(split: int) -> None:
    """Chunked answers are streamed, extensions and trailers dropped, wherever they are split."""
    body = b'5;name="v;"\r\nhello\r\n6\r\n world\r\n0;last\r\nX-Trailer: 1\r\nX-More: 2\r\n\r\n'
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        await upstream.send_split(body, split * 6)
        answer = await client.message()
        assert answer.body == b"hello world"
        assert answer.field(b"via") == b"1.1 " + VIA
        client.send(get(b"/next"))
        assert (await upstream.message()).start == b"GET /next HTTP/1.1"


@pytest.mark.parametrize(
    "endless",
    [
        OK + b"X-Endless: ",
        b"HTTP/1.1 200 ",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5;",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
    ],
)
@scripted
async def test_endless_heads_and_trailers_are_cut(endless: bytes) -> None:
    """What has no end is bounded by the size of a head."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(endless)
        for _ in range(12):
            upstream.send(b"x" * 8000)
            await s.turn()
        await upstream.ended()
        await client.until(lambda: client.received or client.ending, "an answer or a reset")
        assert set(s.errors) <= {"answer_head_too_large", "cut_answer_head_too_large"}
        assert sum(s.errors.values()) == 1


@scripted
async def test_too_large_a_head_of_an_answer() -> None:
    """502 for a head over 32 KiB, even when it came whole in one read; and for over 100 fields."""
    async with stage() as s:
        for reply in (ok(b"", b"X-A: " + b"x" * 33_000), ok(b"", *[b"X-%d: 1" % n for n in range(101)])):
            client, upstream, _ = await s.asked(get())
            upstream.send(reply)
            answer = await client.message()
            assert (answer.status, answer.reason) == (502, "answer_head_too_large")
            await upstream.ended()
            client.reset()


@scripted
async def test_a_large_body_in_the_same_read_is_no_large_head() -> None:
    """Only the head counts."""
    body = b"x" * 300_000
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(ok(body))
        assert (await client.message()).body == body


@scripted
async def test_an_answer_before_the_request_was_sent() -> None:
    """An early final answer to a POST reaches the client; the rest of the body goes nowhere."""
    async with stage() as s:
        client = await s.client()
        client.send(post(b"x" * 10)[:-5])
        upstream = await s.upstream.accepted()
        await upstream.head()
        upstream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        answer = await client.message()
        assert (answer.status, answer.body) == (413, b"big")
        assert answer.field(b"connection") == b"close"
        assert await client.rest() == "eof"
        await upstream.ended()

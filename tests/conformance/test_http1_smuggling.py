"""Two readers of one stream: whatever could be framed in two ways is refused, whole or byte by byte.

The classes are those of the literature (CL.TE, TE.CL, TE.TE, CL.CL, CL.0, 0.CL, terminators, line and
method splitting). Each is told alone, behind a good request on the same connection, and to a route that
is mirrored: no request hidden in it is answered, sent on or copied.
"""

import pytest
from http1_harness import FLAGGED, Peer, Stage, chunked, get, ok, post, scripted, settle, stage

A = b"Host: a.example\r\nX-Beta: yes\r\n"
POST = b"POST /first HTTP/1.1\r\n" + A
GET = b"GET /first HTTP/1.1\r\n" + A
HIDDEN = b"GET /hidden HTTP/1.1\r\n" + A + b"\r\n"
CODED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"


def obscured(field: bytes, *, length: bytes = b"Content-Length: 4\r\n") -> bytes:
    """A POST that one reader frames by *field*, another by *length*."""
    return POST + length + field + b"\r\n\r\n" + LAST


REFUSED = {
    # CL.TE and TE.CL: the length ends in the middle of what the chunks say, and the reverse.
    "CL.TE": POST + b"Content-Length: 6\r\n" + CODED + b"\r\n" + LAST + b"G",
    "CL.TE, length behind": POST + CODED + b"Content-Length: 6\r\n\r\n" + LAST + b"G",
    "TE.CL": POST + b"Content-Length: 4\r\n" + CODED + b"\r\n5c\r\n" + HIDDEN + LAST,
    "TE.CL in HTTP/1.0": b"POST / HTTP/1.0\r\n" + A + b"Content-Length: 4\r\n" + CODED + b"\r\n" + LAST,
    "TE and a length of 0": POST + b"Content-Length: 0\r\n" + CODED + b"\r\n" + LAST,
    # TE.TE: one reader takes the field for the coding, the other does not.
    "another coding and a length": obscured(b"Transfer-Encoding: cow"),
    "no coding and a length": obscured(b"Transfer-Encoding:"),
    "identity and a length": obscured(b"Transfer-Encoding: identity"),
    "x-chunked": obscured(b"Transfer-Encoding: xchunked"),
    "a space before the colon": obscured(b"Transfer-Encoding : chunked"),
    "a tab before the colon": obscured(b"Transfer-Encoding\t: chunked"),
    "a tab behind the coding": obscured(b"Transfer-Encoding: chunked\t", length=b""),
    "a vertical tab": obscured(b"Transfer-Encoding:\x0bchunked", length=b""),
    "a form feed": obscured(b"Transfer-Encoding: \x0cchunked", length=b""),
    "a no-break space": obscured(b"Transfer-Encoding: \xa0chunked", length=b""),
    "a next-line character": obscured(b"Transfer-Encoding: \x85chunked", length=b""),
    "NUL before the coding": obscured(b"Transfer-Encoding: \x00chunked", length=b""),
    "quotes": obscured(b'Transfer-Encoding: "chunked"', length=b""),
    "an empty item first": obscured(b"Transfer-Encoding: ,chunked", length=b""),
    "an empty item last": obscured(b"Transfer-Encoding: chunked,", length=b""),
    "chunked, identity": obscured(b"Transfer-Encoding: chunked, identity", length=b""),
    "identity, chunked": obscured(b"Transfer-Encoding: identity, chunked", length=b""),
    "two fields, the last another": obscured(CODED + b"Transfer-Encoding: cow", length=b""),
    "two fields, the first another": obscured(b"Transfer-Encoding: cow\r\n" + CODED[:-2], length=b""),
    "a field behind a bare LF": obscured(b"X: y\nTransfer-Encoding: chunked"),
    "a field behind a bare CR": obscured(b"X: y\rTransfer-Encoding: chunked"),
    "a folded coding": obscured(b"Transfer-Encoding:\r\n chunked"),
    "a folded field that hides the coding": obscured(b"X: y\r\n Transfer-Encoding: chunked"),
    "a coding folded by a bare LF": obscured(b"Transfer-Encoding:\n chunked"),
    "a first line that is a field": b"POST / HTTP/1.1\r\n " + CODED + A + b"\r\n" + LAST,
    # CL.CL and lengths that are none.
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "a length and none": POST + b"Content-Length: 4\r\nContent-Length:\r\n\r\nabcd",
    "a length of 0 and one of 5": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde",
    "two lengths in one field": POST + b"Content-Length: 4 5\r\n\r\nabcde",
    "a list of lengths": POST + b"Content-Length: 4,4\r\n\r\nabcd",
    "a length with a plus": POST + b"Content-Length: +4\r\n\r\nabcd",
    "a length with a minus": POST + b"Content-Length: -0\r\n\r\n",
    "a length with a fraction": POST + b"Content-Length: 4.0\r\n\r\nabcd",
    "a length with a semicolon": POST + b"Content-Length: 4;\r\n\r\nabcd",
    "a length in hexadecimal": POST + b"Content-Length: 0x4\r\n\r\nabcd",
    "a length behind a no-break space": POST + b"Content-Length: \xa04\r\n\r\nabcd",
    "a length behind a vertical tab": POST + b"Content-Length:\x0b4\r\n\r\nabcd",
    "a length of 2**64": POST + b"Content-Length: 18446744073709551616\r\n\r\n",
    "a length of 2**64 + 4": POST + b"Content-Length: 18446744073709551620\r\n\r\nabcd",
    "a space before the colon of the length": POST + b"Content-Length : 4\r\n\r\nabcd",
    "a folded length": POST + b"Content-Length:\r\n 4\r\n\r\nabcd",
    # 0.CL by Expect: a server that answers at once has not read the body that its peer will send.
    "an unknown expectation": POST + b"Expect: 200-ok\r\nContent-Length: 4\r\n\r\nabcd",
    "an expectation behind a word": POST + b"Expect: y 100-continue\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of expectations": POST + b"Expect: 100-continue, 100-continue\r\nContent-Length: 4\r\n\r\nabcd",
    "an expectation and a parameter": POST + b"Expect: 100-continue;q=1\r\nContent-Length: 4\r\n\r\nabcd",
    "an expectation and a no-break space": POST
    + b"Expect: 100-continue\xa0\r\nContent-Length: 4\r\n\r\nabcd",
    "a folded expectation": POST + b"Expect:\r\n 100-continue\r\nContent-Length: 4\r\n\r\nabcd",
    "an empty expectation": POST + b"Expect:\r\nContent-Length: 4\r\n\r\nabcd",
    "two expectations": POST + b"Expect: 100-continue\r\nExpect: x\r\nContent-Length: 4\r\n\r\nabcd",
    # Where the head ends.
    "an end by LF": GET + b"\n",
    "an end by CR": GET + b"\r" + HIDDEN,
    "an end by CR CR": GET + b"\r\r",
    "an end by CR CR LF": GET + b"\r\r\n",
    "an end by LF CR": GET[:-2] + b"\n\r" + HIDDEN,
    "an end by NUL": GET + b"\x00\r\n\r\n",
    "a line end by CR alone": GET + b"X: 1\rY: 2\r\n\r\n",
    "a line end by LF alone": GET + b"X: 1\nY: 2\r\n\r\n",
    "a line end by CR NUL LF": GET + b"X: 1\r\x00\nY: 2\r\n\r\n",
    "spaces for an empty line": GET + b"  \r\n\r\n",
    # Where the method and the lines end.
    "a method behind a space": b" " + HIDDEN,
    "a method behind NUL": b"\x00" + HIDDEN,
    "a method behind a byte order mark": b"\xef\xbb\xbf" + HIDDEN,
    "a method and a tab": HIDDEN.replace(b"GET ", b"GET\t"),
    "a target and a tab": HIDDEN.replace(b" HTTP/", b"\tHTTP/"),
    "a target and a vertical tab": HIDDEN.replace(b" HTTP/", b"\x0bHTTP/"),
    "a target with a bare LF": HIDDEN.replace(b"/hidden", b"/a\n/hidden"),
    "a target with a bare CR": HIDDEN.replace(b"/hidden", b"/a\r/hidden"),
    "a target with NUL": HIDDEN.replace(b"/hidden", b"/hidden\x00"),
    "a target and a version in it": HIDDEN.replace(b"/hidden", b"/a HTTP/1.1 /hidden"),
    "a request line in a request line": b"GET /a GET /hidden HTTP/1.1\r\n" + A + b"\r\n",
    "a request line by LF": HIDDEN.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"),
    "a request line by CR": HIDDEN.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r"),
    "a request line by CR CR LF": HIDDEN.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\r\n"),
    "a version and a space": HIDDEN.replace(b"HTTP/1.1\r\n", b"HTTP/1.1 \r\n"),
    "no version": HIDDEN.replace(b" HTTP/1.1", b" "),
    "an unknown method": HIDDEN.replace(b"GET", b"GPOST"),
    "a method of lower case": HIDDEN.replace(b"GET", b"Get"),
    "an answer": ok() + HIDDEN,
}

CHUNKS = {
    "a space behind the size": b"5 \r\nhello\r\n" + LAST,
    "a tab behind the size": b"5\t\r\nhello\r\n" + LAST,
    "a space before the size": b" 5\r\nhello\r\n" + LAST,
    "0x": b"0x5\r\nhello\r\n" + LAST,
    "a plus": b"+5\r\nhello\r\n" + LAST,
    "a minus": b"-5\r\nhello\r\n" + LAST,
    "an underscore": b"0_5\r\nhello\r\n" + LAST,
    "a letter that is no digit": b"g\r\nhello\r\n" + LAST,
    "a full-width digit": "\uff15\r\nhello\r\n".encode() + LAST,
    "a size over 64 bits": b"10000000000000005\r\nhello\r\n" + LAST,
    "a size far over 64 bits": b"f" * 40 + b"\r\nhello\r\n" + LAST,
    "no size": b"\r\nhello\r\n" + LAST,
    "no size, an extension": b";a=b\r\nhello\r\n" + LAST,
    "a size ended by LF": b"5\nhello\r\n" + LAST,
    "a size ended by CR": b"5\rhello\r\n" + LAST,
    "a size ended by CR CR LF": b"5\r\r\nhello\r\n" + LAST,
    "a size ended by NUL": b"5\x00\r\nhello\r\n" + LAST,
    "an extension ended by LF": b"5;a\nhello\r\n" + LAST,
    "an extension with a bare CR": b"5;a\rb\r\nhello\r\n" + LAST,
    "an extension with a bare LF in its value": b"5;a=b\nc\r\nhello\r\n" + LAST,
    "a quoted LF": b'5;a="\n"\r\nhello\r\n' + LAST,
    "a quoted line end": b'5;a="\r\nhello\r\n' + LAST,
    "NUL in an extension": b"5;a\x00\r\nhello\r\n" + LAST,
    "a space before an extension": b"5 ;a=b\r\nhello\r\n" + LAST,
    "an extension without a name": b"5;\r\nhello\r\n" + LAST,
    "too short a chunk": b"6\r\nhello\r\n" + LAST,
    "too long a chunk": b"4\r\nhello\r\n" + LAST,
    "no line end behind a chunk": b"5\r\nhello" + LAST,
    "two bytes for a line end": b"5\r\nhelloXX" + LAST,
    "a chunk ended by LF": b"5\r\nhello\n" + LAST,
    "a chunk ended by CR": b"5\r\nhello\r" + LAST,
    "a chunk ended by CR X": b"5\r\nhello\rX" + LAST,
    "a chunk ended by LF CR": b"5\r\nhello\n\r" + LAST,
    "a last chunk ended by LF": b"5\r\nhello\r\n0\n\r\n",
    "an end by LF": b"5\r\nhello\r\n0\r\n\n",
    "an end by CR": b"5\r\nhello\r\n0\r\n\r" + HIDDEN,
    "an end by CR CR LF": b"5\r\nhello\r\n0\r\n\r\r\n",
    "an end by two bytes": b"5\r\nhello\r\n0\r\nXX",
    "a request for a trailer": b"5\r\nhello\r\n0\r\n" + HIDDEN,
    "a trailer ended by LF": b"5\r\nhello\r\n0\r\nX: 1\n\r\n",
    "a trailer and an end by LF": b"5\r\nhello\r\n0\r\nX: 1\r\n\n",
    "a trailer and an end by CR X": b"5\r\nhello\r\n0\r\nX: 1\r\n\rX",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n",
    "a trailer with a space before its colon": b"5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
    "a trailer with NUL": b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
    "a trailer that is a length": b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
}


async def told(client: Peer, wire: bytes, how: str) -> None:
    """Send *wire* whole or byte by byte; a proxy that has closed meanwhile swallows the rest."""
    if how == "whole":
        client.send(wire)
    else:
        await client.dribble(wire)


async def is_refused(s: Stage, client: Peer) -> None:
    """Exactly one 4xx or 5xx, then the end."""
    answer = await client.message()
    assert answer.status in (400, 405, 417, 501, 505), answer
    assert answer.field(b"connection") == b"close"
    assert sum(s.errors.values()) == 1
    assert await client.rest() in ("eof", "reset")  # a reset by what was sent after the end
    assert client.received == b"", "bytes after the answer"


@pytest.mark.parametrize("how", ["whole", "dribbled"])
@pytest.mark.parametrize("name", REFUSED)
@scripted
async def test_a_head_that_two_may_read_differently(name: str, how: str) -> None:
    """One 4xx or 501, and closed: nothing reaches the service or its shadow, least what hides behind."""
    async with stage(FLAGGED) as s:
        client = await s.client()
        await told(client, REFUSED[name] + HIDDEN * 2, how)
        await is_refused(s, client)
        await settle()
        assert not s.upstream.connections
        assert not s.shadow.connections


@pytest.mark.parametrize("name", REFUSED)
@scripted
async def test_a_bad_head_behind_a_good_request(name: str) -> None:
    """The good one is answered; the same refusal comes in its turn, and nothing else is sent on."""
    async with stage(FLAGGED) as s:
        client = await s.client()
        client.send(get(b"/good") + REFUSED[name] + HIDDEN * 2)
        upstream = await s.upstream.accepted()
        assert (await upstream.message()).start == b"GET /good HTTP/1.1"
        upstream.send(ok(b"good"))
        assert (await client.message()).body == b"good"
        await is_refused(s, client)
        await settle()
        assert upstream.received == b""
        assert len(s.upstream.connections) == 1
        assert not s.shadow.connections


@pytest.mark.parametrize("how", ["whole", "dribbled"])
@pytest.mark.parametrize("name", CHUNKS)
@scripted
async def test_chunks_that_two_may_read_differently(name: str, how: str) -> None:
    """400 and closed: the service can never take the request for whole, and no copy of it is sent."""
    routes = [{**FLAGGED["routes"][0], "mirror_methods": ["POST", "GET"]}]
    async with stage(FLAGGED, routes=routes) as s:
        client = await s.client()
        await told(client, POST + CODED + b"\r\n" + CHUNKS[name] + HIDDEN * 2, how)
        await is_refused(s, client)
        await settle()
        for upstream in s.upstream.connections:
            if upstream.received:
                await upstream.ended()
            assert not upstream.received.endswith(LAST)
            assert b"hidden" not in upstream.received.partition(b"\r\n\r\n")[0]
            assert upstream.received.count(b" HTTP/1.1\r\n") <= 1
        assert len(s.upstream.connections) <= 1
        assert not s.shadow.connections


@pytest.mark.parametrize("how", ["whole", "dribbled"])
@pytest.mark.parametrize("name", CHUNKS)
@scripted
async def test_chunks_of_an_answer_that_two_may_read_differently(name: str, how: str) -> None:
    """The client gets a 502, or the beginning and a reset: never an answer that looks whole."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        await told(upstream, b"HTTP/1.1 200 OK\r\n" + CODED + b"\r\n" + CHUNKS[name] + ok(b"false"), how)
        await upstream.ended()
        head = await client.head()
        assert head.status == (502 if how == "whole" else 200)
        if how == "dribbled":
            assert await client.rest() == "reset"
            assert not client.received.endswith(LAST)
        assert sum(s.errors.values()) == 1
        other, fresh, _ = await s.asked(get(b"/next"))
        fresh.send(ok(b"mine"))
        assert (await other.message()).body == b"mine"


ONE_READING = {
    "CL.0": (get(b"/x", b"Content-Length: %d" % len(HIDDEN), method=b"GET") + HIDDEN, HIDDEN),
    "a body of HEAD": (get(b"/x", b"Content-Length: 5", method=b"HEAD") + b"hello", b"hello"),
    "a body of OPTIONS": (get(b"/x", b"Content-Length: 5", method=b"OPTIONS") + b"hello", b"hello"),
    "a body of DELETE": (get(b"/x", CODED[:-2], method=b"DELETE") + chunked(b"hello"), b"hello"),
    "a padded length": (get(b"/x", b"Content-Length: 0000005 \t", method=b"POST") + b"hello", b"hello"),
    "a length of zeros": (get(b"/x", b"Content-Length: 000", method=b"POST"), b""),
    "a coding in capitals": (
        get(b"/x", b"TRANSFER-ENCODING: CHUNKED ", method=b"POST") + chunked(b"hello"),
        b"hello",
    ),
    "an underscored coding": (post(b"hello", b"Transfer_Encoding: chunked", target=b"/x"), b"hello"),
    "an underscored length": (get(b"/x", b"Content_Length: 9", method=b"POST"), b""),
    "a length that Connection names": (post(b"hello", b"Connection: content-length", target=b"/x"), b"hello"),
    "a coding that Connection names": (
        get(b"/x", CODED[:-2], b"Connection: transfer-encoding", method=b"POST") + chunked(b"hello"),
        b"hello",
    ),
    "a zero-padded chunk": (
        get(b"/x", CODED[:-2], method=b"POST") + b"0000005\r\nhello\r\n000\r\n\r\n",
        b"hello",
    ),
    "a trailer that is a Host": (
        get(b"/x", CODED[:-2], method=b"POST") + b"5\r\nhello\r\n0\r\nHost: b\r\nExpect: x\r\n\r\n",
        b"hello",
    ),
    "an expectation in two fields": (
        post(b"hello", b"Expect: 100-continue", b"Expect: 100-Continue", target=b"/x"),
        b"hello",
    ),
    "an expectation of a GET": (
        get(b"/x", b"Expect: 100-continue", b"Content-Length: 5") + b"hello",
        b"hello",
    ),
}


@pytest.mark.parametrize("how", ["whole", "dribbled"])
@pytest.mark.parametrize("name", ONE_READING)
@scripted
async def test_what_has_one_reading_is_framed_anew(name: str, how: str) -> None:
    """The service gets one length or one coding, that of the body that came, and then the next request."""
    wire, body = ONE_READING[name]
    async with stage() as s:
        client = await s.client()
        await told(client, wire + get(b"/next"), how)
        upstream = await s.upstream.accepted()
        request = await upstream.message()
        assert request.start.endswith(b" /x HTTP/1.1")
        assert request.body == body
        framing = [
            n.lower() for n, _ in request.fields if n.lower() in (b"content-length", b"transfer-encoding")
        ]
        assert len(framing) <= 1
        assert not {b"expect", b"trailer"} & {name.lower() for name, _ in request.fields}
        upstream.send(b"HTTP/1.1 204 No\r\n\r\n")
        answer = await client.message(bodyless=True)
        if answer.status == 100:
            answer = await client.message(bodyless=True)
        assert answer.status == 204
        assert (await upstream.message()).start == b"GET /next HTTP/1.1"


@pytest.mark.parametrize("method", [b"DESCRIBE", b"SETUP", b"PLAY", b"RECORD", b"FLUSH"])
@scripted
async def test_methods_of_another_protocol(method: bytes) -> None:
    """405: llhttp reads RTSP too, whose requests are none of HTTP."""
    async with stage() as s:
        client = await s.client()
        client.send(get(method=method).replace(b" HTTP/", b" RTSP/"))
        assert (await client.message()).reason == "bad_method"
        await settle()
        assert not s.upstream.connections


@scripted
async def test_every_request_is_routed_by_its_own_head() -> None:
    """That a connection's first request went to a service opens nothing for its second."""
    async with stage({"routes": [{"path": "/", "serve": "a", "host": "a.example"}]}) as s:
        client, upstream, _ = await s.asked(get(b"/1"))
        upstream.send(ok())
        await client.message()
        client.send(get(b"/2").replace(b"a.example", b"b.example") + get(b"http://b.example/3"))
        assert [(await client.message()).reason for _ in range(2)] == ["no_route", "no_route"]
        client.send(get(b"http://a.example/4").replace(b"Host: a.example", b"Host: b.example"))
        assert (await upstream.message()).start == b"GET /4 HTTP/1.1"

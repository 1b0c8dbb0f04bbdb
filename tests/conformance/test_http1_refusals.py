"""Requests that are answered here and go no further: DESIGN 6, rules 2, 3, 4, 5 and 7."""

import pytest
from http1_harness import END, Stage, get, ok, post, scripted, stage

A = b"Host: a.example\r\n"
POST = b"POST / HTTP/1.1\r\n" + A
GET = b"GET / HTTP/1.1\r\n" + A

FRAMING = {
    "length and coding": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "two equal lengths": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", 400),
    "a list of lengths": (POST + b"Content-Length: 5, 5\r\n\r\nabcde", 400),
    "a signed length": (POST + b"Content-Length: +5\r\n\r\nabcde", 400),
    "a negative length": (POST + b"Content-Length: -5\r\n\r\n", 400),
    "a hexadecimal length": (POST + b"Content-Length: 0x5\r\n\r\nabcde", 400),
    "an underscored length": (POST + b"Content-Length: 1_0\r\n\r\nabcde", 400),
    "an empty length": (POST + b"Content-Length:\r\n\r\n", 400),
    "too large a length": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "a length of digits that are not ASCII": (POST + "Content-Length: \uff15\r\n\r\n".encode(), 400),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked twice, two fields": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked not last": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "another coding first": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "another coding first, two fields": (
        POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "another coding": (POST + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 501),
    "a coding like chunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "chunked with a parameter": (POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501),
    "an empty coding": (POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400),
    "a vertical tab before chunked": (POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "a coding in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "another coding, with an upgrade": (
        GET + b"Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        501,
    ),
}

SYNTAX = {
    "space before the colon": GET + b"X-A : 1\r\n\r\n",
    "tab before the colon": GET + b"X-A\t: 1\r\n\r\n",
    "space before the colon of the length": POST + b"Content-Length : 5\r\n\r\nabcde",
    "a folded line": GET + b"X-A: 1\r\n 2\r\n\r\n",
    "a line folded by a tab": GET + b"X-A: 1\r\n\t2\r\n\r\n",
    "a first line that is folded": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "a bare CR in a value": GET + b"X-A: 1\r2\r\n\r\n",
    "a bare LF after a value": GET + b"X-A: 1\nX-B: 2\r\n\r\n",
    "NUL in a value": GET + b"X-A: 1\x002\r\n\r\n",
    "a control character in a value": GET + b"X-A: 1\x012\r\n\r\n",
    "NUL in a name": GET + b"X\x00A: 1\r\n\r\n",
    "an empty name": GET + b": 1\r\n\r\n",
    "a line without a colon": GET + b"nonsense\r\n\r\n",
    "bare LFs only": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare LF at the end of the head": GET + b"\n",
    "a bare CR after the version": b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    "space after the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a high byte in the target": b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a lower-case protocol": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "a version with two digits": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "a version of the future": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a target that is no target": b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n",
}

HOSTS = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": GET + A + b"\r\n",
    "two different Hosts": GET + b"Host: b\r\n\r\n",
    "an empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "an empty Host in HTTP/1.0": b"GET / HTTP/1.0\r\nHost:\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a query": b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
    "a Host with userinfo": b"GET / HTTP/1.1\r\nHost: me@a\r\n\r\n",
    "a list of Hosts": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "a Host with a port that is none": b"GET / HTTP/1.1\r\nHost: a:port\r\n\r\n",
    "a Host of high bytes": b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n",
    "absolute-form without Host": b"GET http://a/ HTTP/1.1\r\n\r\n",
    "absolute-form with a bad Host": b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n",
    "absolute-form with userinfo": b"GET http://me@b/ HTTP/1.1\r\n" + A + b"\r\n",
}

TARGETS = {
    "* with GET": b"GET * HTTP/1.1\r\n" + A + b"\r\n",
    "another scheme": b"GET ftp://a/ HTTP/1.1\r\n" + A + b"\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\n" + A + b"\r\n",
    "a fragment in absolute-form": b"GET http://a/b#c HTTP/1.1\r\n" + A + b"\r\n",
}


async def refused(s: Stage, request: bytes, status: int) -> str:
    """Ask *request*, be refused with *status*; the counted reason."""
    answer = await s.refused(request)
    assert answer.status == status, answer
    assert answer.field(b"connection") == b"close"
    assert s.errors == {answer.reason: 1}
    return answer.reason


@pytest.mark.parametrize("name", FRAMING)
@scripted
async def test_framing_that_two_readers_may_read_differently(name: str) -> None:
    """Refused and closed; not a byte goes on."""
    request, status = FRAMING[name]
    async with stage() as s:
        await refused(s, request, status)


@pytest.mark.parametrize("name", FRAMING)
@scripted
async def test_nothing_behind_a_bad_frame_is_a_request(name: str) -> None:
    """A request hidden behind it is neither answered nor sent on, and the connection closes."""
    request, status = FRAMING[name]
    async with stage() as s:
        await refused(s, request + get(b"/smuggled") * 3, status)


@pytest.mark.parametrize("name", SYNTAX)
@scripted
async def test_what_is_not_http(name: str) -> None:
    """400 and closed."""
    async with stage() as s:
        assert await refused(s, SYNTAX[name], 400) == "bad_request"


@pytest.mark.parametrize("name", ["a folded line", "a bare LF after a value", "an unknown method"])
@scripted
async def test_what_is_not_http_byte_by_byte(name: str) -> None:
    """The same verdict when every byte comes by itself."""
    async with stage() as s:
        client = await s.client()
        await client.dribble(SYNTAX[name])
        assert (await client.message()).status == 400
        assert await client.rest() == "eof"
        assert not s.upstream.connections


@pytest.mark.parametrize("name", HOSTS)
@scripted
async def test_host_must_be_one_valid_host(name: str) -> None:
    """400 for a missing, repeated or invalid Host, in absolute-form too."""
    async with stage() as s:
        assert await refused(s, HOSTS[name], 400) == "bad_host"


@pytest.mark.parametrize("name", TARGETS)
@scripted
async def test_targets_that_mean_nothing_here(name: str) -> None:
    """400: ``*`` goes with OPTIONS, a fragment never leaves a client, other schemes are not ours."""
    async with stage() as s:
        assert await refused(s, TARGETS[name], 400) == "bad_target"


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        (b"A.example:8080", b"A.example:8080"),
        (b"[::1]:80", b"[::1]:80"),
        (b"127.0.0.1", b"127.0.0.1"),
        (b"under_score.example", b"under_score.example"),
        (b"a.example \t", b"a.example \t"),
    ],
)
@scripted
async def test_host_goes_on_as_it_came(host: bytes, seen: bytes) -> None:
    """A valid Host is forwarded as spelled, and told without outer space."""
    async with stage() as s:
        _, _, request = await s.asked(b"GET / HTTP/1.1\r\nHost: " + host + END)
        assert request.field(b"host") == seen
        assert request.field(b"x-forwarded-host") == host.strip()


@pytest.mark.parametrize(
    ("method", "target", "sent"),
    [
        (b"GET", b"http://b.example:81/p?q=1", b"/p?q=1"),
        (b"GET", b"HTTP://b.example:81", b"/"),
        (b"GET", b"http://b.example:81?q", b"/?q"),
        (b"GET", b"https://b.example:81//x/../y", b"//x/../y"),
        (b"OPTIONS", b"http://b.example:81", b"*"),
        (b"OPTIONS", b"http://b.example:81/", b"/"),
    ],
)
@scripted
async def test_absolute_form_goes_on_as_origin_form(method: bytes, target: bytes, sent: bytes) -> None:
    """The URL's authority replaces Host (RFC 9112 3.2.2); its path and query go on byte for byte."""
    async with stage() as s:
        _, _, request = await s.asked(get(target, method=method))
        assert request.start == method + b" " + sent + b" HTTP/1.1"
        assert request.field(b"host") == b"b.example:81"
        assert request.field(b"x-forwarded-host") == b"b.example:81"


@scripted
async def test_absolute_form_in_http_1_0_needs_no_host() -> None:
    """The URL's authority becomes the Host that the service needs."""
    async with stage() as s:
        _, _, request = await s.asked(b"GET http://b.example/x HTTP/1.0\r\n\r\n")
        assert request.start == b"GET /x HTTP/1.1"
        assert request.fields_named(b"host") == [b"b.example"]


@scripted
async def test_asterisk_with_options_goes_on() -> None:
    """``OPTIONS *`` asks about the server as a whole, and is forwarded as it is."""
    async with stage() as s:
        _, _, request = await s.asked(get(b"*", method=b"OPTIONS"))
        assert request.start == b"OPTIONS * HTTP/1.1"


@scripted
async def test_connect_is_refused_and_closes() -> None:
    """405 with Allow; what a client sent into the tunnel it hoped for is no request."""
    async with stage() as s:
        request = b"CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n" + get(b"/smuggled")
        answer = await s.refused(request)
        assert (answer.status, answer.reason) == (405, "bad_method")
        assert b"GET" in answer.field(b"allow")
        assert s.errors == {"bad_method": 1}


@scripted
async def test_trace_is_refused() -> None:
    """405: it would show the fields we add. The connection stays usable."""
    async with stage() as s:
        client = await s.client()
        client.send(get(method=b"TRACE"))
        assert (await client.message()).status == 405
        client.send(get(b"/next"))
        assert (await (await s.upstream.accepted()).message()).start == b"GET /next HTTP/1.1"


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9"])
@scripted
async def test_other_versions_are_refused(version: bytes) -> None:
    """505: they are not spoken here."""
    async with stage() as s:
        assert await refused(s, b"GET / " + version + b"\r\n" + A + b"\r\n", 505) == "bad_version"


@scripted
async def test_a_simple_request_of_http_0_9_is_refused() -> None:
    """A request line without a version is one of HTTP/0.9."""
    async with stage() as s:
        assert (await s.refused(b"GET /\r\n\r\n")).status == 505


@scripted
async def test_unknown_expectations_are_refused() -> None:
    """417, and nothing of the body is waited for."""
    async with stage() as s:
        answer = await s.refused(get(b"/", b"Expect: 200-maybe", b"Content-Length: 5", method=b"POST"))
        assert (answer.status, answer.reason) == (417, "bad_expect")


LIMITS = {"target_bytes": 300, "header_bytes": 1024, "header_fields": 10}


@pytest.mark.parametrize("how", ["whole", "segments"])
@scripted
async def test_too_long_a_target(how: str) -> None:
    """414, counted across segments; the longest that is allowed goes on."""
    async with stage(limits=LIMITS) as s:
        client = await s.client()
        request = get(b"/" + b"x" * 300)
        if how == "whole":
            client.send(request)
        else:
            await client.send_split(request, 200)
        answer = await client.message()
        assert (answer.status, answer.reason) == (414, "target_too_long")
        assert await client.rest() == "eof"
        _, _, seen = await s.asked(get(b"/" + b"x" * 299))
        assert len(seen.start) == len("GET  HTTP/1.1") + 300


@scripted
async def test_an_endless_target() -> None:
    """414 as soon as it is too long, not when it ends."""
    async with stage(limits=LIMITS) as s:
        client = await s.client()
        client.send(b"GET /" + b"x" * 400)
        assert (await client.message()).status == 414
        assert await client.rest() == "eof"


@pytest.mark.parametrize("how", ["whole", "segments", "behind a body", "behind a request"])
@scripted
async def test_too_large_a_head(how: str) -> None:
    """431, however the head is spread over reads and whatever stands before it in one."""
    large = get(b"/large", *[b"X-%d: %b" % (n, b"y" * 200) for n in range(6)])
    async with stage(limits=LIMITS) as s:
        client = await s.client()
        upstream = None
        if how == "whole":
            client.send(large)
        elif how == "segments":
            await client.dribble(large[:-4])
            client.send(large[-4:])
        else:
            before = post(b"abc") if how == "behind a body" else get()
            await client.send_split(before + large, len(before) - 2)
            upstream = await s.upstream.accepted()
            await upstream.message()
            upstream.send(ok())
            assert (await client.message()).status == 200
        answer = await client.message()
        assert (answer.status, answer.reason) == (431, "head_too_large")
        assert await client.rest() == "eof"
        assert upstream is None or upstream.received == b""


@scripted
async def test_the_largest_head_goes_on() -> None:
    """Exactly the limit, wherever it stands in a read, is no error."""
    fields = [b"X-%d: %b" % (n, b"y" * 94) for n in range(9)]
    size = sum(len(field) + 2 for field in fields) + len("Host: a.example\r\n")
    fields.append(b"X-Z: " + b"z" * (1024 - size - len("X-Z: \r\n")))
    request = get(b"/", *fields[1:])
    async with stage(limits=LIMITS) as s:
        client = await s.client()
        client.send(get(b"/first") + request)
        upstream = await s.upstream.accepted()
        assert (await upstream.message()).start == b"GET /first HTTP/1.1"
        upstream.send(ok())
        assert (await client.message()).status == 200
        assert len((await upstream.message()).fields) == 9 + 5


@scripted
async def test_an_endless_head() -> None:
    """431 before it ends."""
    async with stage(limits=LIMITS) as s:
        client = await s.client()
        for _ in range(8):
            client.send(b"GET / HTTP/1.1\r\nX: " if not _ else b"x" * 250)
            await client.dribble(b"y")
        answer = await client.message()
        assert (answer.status, answer.reason) == (431, "head_too_large")


@scripted
async def test_too_many_fields() -> None:
    """431 at one more than the limit."""
    async with stage(limits=LIMITS) as s:
        answer = await s.refused(get(b"/", *[b"X-%d: 1" % n for n in range(10)]))
        assert (answer.status, answer.reason) == (431, "too_many_fields")
        _, _, seen = await s.asked(get(b"/", *[b"X-%d: 1" % n for n in range(9)]))
        assert len(seen.fields) == 10 + 4


@scripted
async def test_a_refusal_waits_for_its_turn() -> None:
    """Requests pipelined before a bad one are all answered, in order; then 400, then the end."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/1") + get(b"/2") + get(b"/3") + b"nonsense\r\n\r\n" + get(b"/smuggled"))
        upstream = await s.upstream.accepted()
        for number in (b"1", b"2", b"3"):
            assert (await upstream.message()).start == b"GET /%b HTTP/1.1" % number
            upstream.send(ok(number))
            assert (await client.message()).body == number
        assert (await client.message()).status == 400
        assert await client.rest() == "eof"
        assert client.received == upstream.received == b""


@scripted
async def test_a_bad_body_behind_another_request_waits_for_its_turn() -> None:
    """The request before it is answered; the bad one never starts."""
    async with stage() as s:
        client = await s.client()
        client.send(get(b"/1") + POST + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        upstream = await s.upstream.accepted()
        assert (await upstream.message()).start == b"GET /1 HTTP/1.1"
        upstream.send(ok())
        assert (await client.message()).status == 200
        assert (await client.message()).status == 400
        assert await client.rest() == "eof"
        assert upstream.received == b""
        assert len(s.upstream.connections) == 1


@scripted
async def test_no_route_is_a_404() -> None:
    """A request that no route matches is answered here, and the connection goes on."""
    async with stage({"routes": [{"path": "/api", "serve": "a"}]}) as s:
        client = await s.client()
        for _ in range(3):
            client.send(get(b"/else"))
            answer = await client.message()
            assert (answer.status, answer.reason) == (404, "no_route")
            assert answer.field(b"connection") == b""
        client.send(get(b"/api"))
        assert (await (await s.upstream.accepted()).message()).start == b"GET /api HTTP/1.1"
        assert s.errors == {"no_route": 3}


@scripted
async def test_a_refused_request_with_a_body_closes() -> None:
    """What is left of its body could be taken for the next request."""
    async with stage({"routes": [{"path": "/api", "serve": "a"}]}) as s:
        answer = await s.refused(post(get(b"/smuggled"), target=b"/else"))
        assert (answer.status, answer.field(b"connection")) == (404, b"close")


@scripted
async def test_a_refused_head_request_gets_no_body() -> None:
    """The fields of the problem, and nothing after them."""
    async with stage({"routes": [{"path": "/api", "serve": "a"}]}) as s:
        client = await s.client()
        client.send(get(b"/else", method=b"HEAD"))
        assert (await client.message(bodyless=True)).status == 404
        client.send(get(b"/else"))
        assert (await client.message()).reason == "no_route"


@scripted
async def test_a_remembered_header_block_is_one_request() -> None:
    """A request is only taken for a repetition when what stands before the block is one request line."""
    block = b"Host: a.example\r\nX-A: 1\r\n\r\n"
    async with stage() as s:
        client = await s.client()
        client.send(b"\r\nGET /1 HTTP/1.1\r\n" + block)
        upstream = await s.upstream.accepted()
        assert (await upstream.message()).start == b"GET /1 HTTP/1.1"
        upstream.send(ok())
        assert (await client.message()).status == 200
        client.send(b"GET /2 HTTP/1.1\r\nGET /1 HTTP/1.1\r\n" + block)
        assert (await client.message()).status == 400

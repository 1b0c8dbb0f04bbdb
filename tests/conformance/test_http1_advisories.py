"""What other Python servers, clients and proxies got wrong, each once: the advisory stands in the docstring.

Where several advisories are one mistake they share a test; the case carries the number.
"""

import logging
from pathlib import Path

import pytest
from http1_harness import Stage, chunked, get, ok, post, scripted, settle, stage

from understudy.config import parse_settings
from understudy.errors import UnderstudyError
from understudy.proxy.connection import PIPELINE_DEPTH

A = b"Host: a.example\r\n"
GET = b"GET / HTTP/1.1\r\n" + A
POST = b"POST / HTTP/1.1\r\n" + A
OK = b"HTTP/1.1 200 OK\r\n"
CODED = b"Transfer-Encoding: chunked\r\n"
HIDDEN = get(b"/hidden")

REQUESTS = {
    # aiohttp
    "CVE-2023-37276": GET + b"X: \rTransfer-Encoding: chunked\r\n\r\n" + chunked(HIDDEN),
    "CVE-2023-47627 sign": POST + b"Content-Length: +5\r\n\r\nhello",
    "CVE-2023-47627 underscore": POST + b"Content-Length: 0_5\r\n\r\nhello",
    "CVE-2023-47627 NUL": GET + b"X: a\x00b\r\n\r\n",
    "CVE-2023-47627 chunk": POST + CODED + b"\r\n+5\r\nhello\r\n0\r\n\r\n",
    "CVE-2023-47641": POST + b"Content-Length: 5\r\n" + CODED + b"\r\n0\r\n\r\n",
    "CVE-2024-23829 name": GET + b"X\x00: 1\r\n\r\n",
    "CVE-2024-23829 colon": POST + b"Content-Length\t: 5\r\n\r\nhello",
    "CVE-2024-23829 separator": GET + b'X"Y: 1\r\n\r\n',
    "CVE-2024-23829 version": b"GET / HTTP/1.1\x0b\r\n" + A + b"\r\n",
    "CVE-2024-52304": POST + CODED + b"\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
    "CVE-2025-53643": POST + CODED + b"\r\n0\r\nX: y\r\nGET /hidden HTTP/1.1\r\n\r\n",
    "CVE-2025-69224 length": POST + "Content-Length: \u0665\r\n\r\nhello".encode(),
    "CVE-2025-69224 chunk": POST + CODED + "\r\n\u0665\r\nhello\r\n0\r\n\r\n".encode(),
    "CVE-2025-69224 version": "GET / HTTP/1.\u0661\r\nHost: a.example\r\n\r\n".encode(),
    "CVE-2026-34525": GET + b"Host: b.example\r\n\r\n",
    # gunicorn
    "CVE-2024-1135": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunked(HIDDEN),
    "GHSA-w3h3-4rj7-4ph4": POST + CODED + b"Transfer-Encoding: identity\r\n\r\n" + chunked(HIDDEN),
    # waitress
    "CVE-2019-16785": b"GET / HTTP/1.1\r\nHost: a.example\nContent-Length: 9\r\n\r\n",
    "CVE-2019-16786": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(HIDDEN),
    "CVE-2019-16789": POST + b"Content-Length: 5\r\nTransfer-Encoding:\x0bchunked\r\n\r\n" + chunked(HIDDEN),
    "CVE-2019-16792": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "CVE-2022-24761 length": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "CVE-2022-24761 extension": POST + CODED + b"\r\n5;\x01\r\nhello\r\n0\r\n\r\n",
    # twisted
    "CVE-2019-12387": b"GET /\x0d\x0aX: 1 HTTP/1.1\r\n" + A + b"\r\n",
    "CVE-2020-10108": POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
    "CVE-2020-10109": POST + CODED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "CVE-2022-24801 sign": POST + CODED + b"\r\n-5\r\nhello\r\n0\r\n\r\n",
    "CVE-2022-24801 prefix": POST + CODED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "CVE-2022-24801 space": POST + CODED + b"\r\n5 \r\nhello\r\n0\r\n\r\n",
    "CVE-2022-24801 end": POST + CODED + b"\r\n5\r\nhello\n0\r\n\r\n",
    # tornado
    "GHSA-753j-mpmx-qq6g": POST + b"Content-Length: 1\r\nTransfer-Encoding: identity\r\n\r\nh",
    "GHSA-qppv-j76h-2rpx": POST + CODED + b"\r\n0_5\r\nhello\r\n0\r\n\r\n",
    # h11, mitmproxy, eventlet, gevent, starlette
    "GHSA-vqfr-h8mv-ghfj": POST + CODED + b"\r\n5\r\nhelloXX0\r\n\r\n",
    "CVE-2021-39214": POST + b"Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "CVE-2022-24766": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n",
    "CVE-2025-58068": POST + CODED + b"\r\n0\r\nX: y\n\r\n" + HIDDEN,
    "CVE-2023-41419": POST + CODED + b"\r\n0\r\nContent-Length: 99\r\n\r\n" + HIDDEN,
    "CVE-2026-48710": b"GET /admin HTTP/1.1\r\nHost: a.example/public?x=\r\n\r\n",
}


@pytest.mark.parametrize("how", ["whole", "dribbled"])
@pytest.mark.parametrize("advisory", REQUESTS)
@scripted
async def test_a_request_that_was_read_wrongly(advisory: str, how: str) -> None:
    """aiohttp CVE-2023-37276, CVE-2023-47627, CVE-2023-47641, CVE-2024-23829, CVE-2024-52304, CVE-2025-53643,
    CVE-2025-69224, CVE-2026-34525; gunicorn CVE-2024-1135, GHSA-w3h3-4rj7-4ph4; waitress CVE-2019-16785,
    CVE-2019-16786, CVE-2019-16789, CVE-2019-16792, CVE-2022-24761; twisted CVE-2019-12387, CVE-2020-10108,
    CVE-2020-10109, CVE-2022-24801; tornado GHSA-753j-mpmx-qq6g, GHSA-qppv-j76h-2rpx; h11 GHSA-vqfr-h8mv-ghfj;
    mitmproxy CVE-2021-39214, CVE-2022-24766; eventlet CVE-2025-58068; gevent CVE-2023-41419; Starlette
    CVE-2026-48710: refused and closed, nothing whole at the service, nothing hidden answered.
    """
    async with stage() as s:
        client = await s.client()
        if how == "whole":
            client.send(REQUESTS[advisory] + HIDDEN)
        else:
            await client.dribble(REQUESTS[advisory])
        answer = await client.message()
        assert answer.status in (400, 501, 505), answer
        assert await client.rest() in ("eof", "reset")
        assert client.received == b""
        for upstream in s.upstream.connections:
            assert b"hidden HTTP" not in upstream.received
            assert not upstream.received.endswith(b"\r\n0\r\n\r\n")


ANSWERS = {
    "CVE-2026-34520 NUL": OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "CVE-2026-34520 control": OK + b"X: a\x1bb\r\nContent-Length: 0\r\n\r\n",
    "CVE-2026-34519": b"HTTP/1.1 200 O\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    "CVE-2020-7695": OK + b"Location: /\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    "CVE-2022-24766": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n",
    "GHSA-vqfr-h8mv-ghfj": OK + CODED + b"\r\n5\r\nhelloXX0\r\n\r\n",
}


@pytest.mark.parametrize("advisory", ANSWERS)
@scripted
async def test_an_answer_that_was_passed_on(advisory: str) -> None:
    """aiohttp CVE-2026-34520 and CVE-2026-34519, uvicorn CVE-2020-7695 (splitting), mitmproxy CVE-2022-24766,
    h11 GHSA-vqfr-h8mv-ghfj: 502, and no field of the service's making reaches the client.
    """
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(ANSWERS[advisory])
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, "bad_answer")
        assert answer.fields_named(b"set-cookie") == []
        await upstream.ended()


@pytest.mark.parametrize("side", ["request", "answer"])
@scripted
async def test_trailers_without_end(side: str) -> None:
    """aiohttp CVE-2026-22815 (trailers without bound): cut after the size of a head, kept nowhere."""
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        if side == "answer":
            upstream.send(OK + CODED + b"\r\n0\r\n")
            for n in range(100):
                upstream.send(b"X-%d: %b\r\n" % (n, b"y" * 1000))
                await settle(2)
            await upstream.ended()
            assert await client.rest() == "reset"
        else:
            upstream.send(ok())
            await client.message()
            client.send(POST + CODED + b"\r\n0\r\n")
            for n in range(200):
                client.send(b"X-%d: %b\r\n" % (n, b"y" * 1000))
                await settle(2)
            assert (await client.message()).reason == "body_framing_too_large"
            s.advance(1.1)


@scripted
async def test_a_line_over_its_limit_in_segments() -> None:
    """aiohttp CVE-2026-54277 (limits forgotten between segments): they count across reads."""
    async with stage(limits={"target_bytes": 300, "header_bytes": 1024}) as s:
        for start, status in ((b"GET /", 414), (GET + b"X: ", 431), (GET, 431)):
            client = await s.client()
            client.send(start)
            for _ in range(40):
                client.send(b"Y: 2\r\n" * 10 if start == GET else b"x" * 60)
                await settle(3)
            assert (await client.message()).status == status


@scripted
async def test_a_pipeline_without_end() -> None:
    """aiohttp CVE-2026-54273 (a queue without bound): a bounded number is parsed ahead and held."""
    async with stage() as s:
        client = await s.client()
        client.send(get() * 20_000)
        upstream = await s.upstream.accepted()
        await upstream.message()
        await settle(30)
        (connection,) = s.proxy.connections
        assert len(connection._queue) <= PIPELINE_DEPTH
        assert upstream.received == b""


@scripted
async def test_pipelined_answers_keep_their_order() -> None:
    """twisted CVE-2023-46137 (answers out of order when a body ends late): one at a time, in order."""
    async with stage() as s:
        client = await s.client()
        client.send(post(b"one", target=b"/1") + post(b"two", target=b"/2")[:-1])
        upstream = await s.upstream.accepted()
        assert (await upstream.message()).start == b"POST /1 HTTP/1.1"
        client.send(b"o" + get(b"/3"))
        upstream.send(ok(b"1"))
        for number in (b"2", b"3"):
            assert (await upstream.message()).start.endswith(b" /%b HTTP/1.1" % number)
            upstream.send(ok(number))
        assert [(await client.message()).body for _ in range(3)] == [b"1", b"2", b"3"]


@scripted
async def test_many_tiny_chunks_do_not_hold_the_others() -> None:
    """aiohttp CVE-2025-69229 (tiny chunks take the processor): other clients are served between them."""
    wire = b"1\r\nx\r\n" * 400_000
    async with stage() as s:
        other, upstream, _ = await s.asked(get())
        upstream.send(ok())
        await other.message()
        busy = await s.client()
        busy.send(POST + CODED + b"\r\n")
        await upstream.head()
        busy.send(wire)
        other.send(get(b"/other"))
        free = await s.upstream.accepted()
        assert (await free.message()).start == b"GET /other HTTP/1.1"
        assert len(upstream.received) < len(wire), "the other client waited for all chunks"
        busy.send(b"0\r\n\r\n")
        assert (await upstream.take_until(b"\r\n0\r\n\r\n")).count(b"x") == len(wire) // 6


@pytest.mark.parametrize(
    "document",
    [
        {"services": {"a": {"url": "http://a:1", "set_headers": {"X-A": "1\r\nX-B: 2"}}}},
        {"services": {"a": {"url": "http://a:1", "set_headers": {"X-A\r\nX-B": "2"}}}},
        {"services": {"a": {"url": "http://a:1\r\nX-B: 2"}}},
        {
            "services": {"a": {"url": "http://a:1"}},
            "flags": {
                "f": {
                    "state": "ENABLED",
                    "variants": {"v\r\nX-B: 2": {"serve": "a"}},
                    "defaultVariant": "v\r\nX-B: 2",
                }
            },
            "routes": [{"path": "/", "flag": "f"}],
        },
    ],
    ids=["value", "name", "url", "variant"],
)
def test_configured_text_splits_no_request(document: dict[str, object]) -> None:
    """aiohttp CVE-2023-49081 and CVE-2023-49082, twisted CVE-2019-12387 (CRLF written as given): text that we
    write into requests is refused where it is configured.
    """
    with pytest.raises(UnderstudyError):
        parse_settings({"store": "memory://", "flags": {}, "routes": [], **document}, base=Path(), environ={})


async def nonsense(s: Stage, count: int) -> None:
    for number in range(count):
        client = await s.client()
        client.send(b"GET /\x1b[31m%d\r\nfalse log line HTTP/1.1\r\n\r\n" % number)
        assert (await client.message()).status == 400
        await client.ended()


@scripted
async def test_bad_requests_write_no_log() -> None:
    """uvicorn CVE-2020-7694 (log injection), tornado CVE-2025-47287 (a log line for each bad part): they are
    counted, not logged.
    """
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    setattr(handler, "emit", records.append)  # noqa: B010  mypy knows it as a method
    logging.getLogger().addHandler(handler)
    try:
        async with stage() as s:
            await nonsense(s, 50)
            assert s.errors == {"bad_request": 50}
    finally:
        logging.getLogger().removeHandler(handler)
    assert [record for record in records if record.name.startswith("understudy")] == []

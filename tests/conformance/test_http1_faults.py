"""A network that is slow, narrow, cut or dead, on the side of the service and on that of the client.

The seven faults of `understudy.testing.FaultProxy`, each on the way there and back.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from http1_harness import Stage, Upstream, chunked, get, ok, post, scripted, stage

from understudy.testing import (
    Bandwidth,
    Fault,
    FaultProxy,
    Latency,
    LimitData,
    Reset,
    Slicer,
    SlowClose,
    Timeout,
)

BODY = bytes(range(256)) * 40
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY[:100], BODY[100:5000], BODY[5000:])
ANSWERS = [ok(BODY), CHUNKED, OK + b"\r\n" + BODY]
LAPSE_SECONDS = 0.05

MILD: dict[str, Fault] = {
    "latency": Latency(seconds=LAPSE_SECONDS, jitter_seconds=0.01),
    "bandwidth": Bandwidth(bytes_per_second=400_000),
    "slicer": Slicer(size_bytes=5),
    "slices and pauses": Slicer(size_bytes=4000, pause_seconds=0.005),
    "slow close": SlowClose(seconds=LAPSE_SECONDS),
}
"""Faults under which all that is said arrives."""

DEADLY: dict[str, Fault] = {
    "reset": Reset(after_bytes=5000),
    "data limit": LimitData(after_bytes=5000),
    "time-out": Timeout(),
}


@asynccontextmanager
async def behind_faults() -> AsyncIterator[tuple[Stage, FaultProxy]]:
    """The service stands behind a fault proxy."""
    service = Upstream()
    await service.listen()
    async with (
        FaultProxy(upstream=("127.0.0.1", service.port)) as faults,
        stage(service={"url": faults.url}) as s,
    ):
        listening, s.upstream = s.upstream, service
        listening.close()
        try:
            yield s, faults
        finally:
            service.close()


@pytest.mark.parametrize("reply", ANSWERS, ids=["sized", "chunked", "close"])
@pytest.mark.parametrize("name", MILD)
@scripted
async def test_a_service_over_a_bad_network(name: str, reply: bytes) -> None:
    """Whole request and whole answer, byte for byte, however slow."""
    async with behind_faults() as (s, faults):
        faults.up.set(MILD[name])
        faults.down.set(MILD[name])
        client, upstream, request = await s.asked(post(BODY))
        assert request.body == BODY
        upstream.send(reply)
        if reply.endswith(OK + b"\r\n" + BODY):
            upstream.finish()
        answer = await client.message()
        assert (answer.status, answer.body) == (200, BODY)
        assert s.errors == {}


@pytest.mark.parametrize(
    "framing", [ok(BODY), CHUNKED, OK + b"\r\n" + BODY], ids=["sized", "chunked", "close"]
)
@pytest.mark.parametrize("name", DEADLY)
@scripted
async def test_a_service_whose_network_fails_in_an_answer(name: str, framing: bytes) -> None:
    """The client is never shown half an answer as a whole: it is reset, in time.

    An answer until close is the exception: it ends with its connection, in good order or not at all.
    """
    async with behind_faults() as (s, faults):
        client, upstream, _ = await s.asked(get())
        upstream.send(framing[:3000])
        head = await client.head()
        assert head.status == 200
        faults.down.set(DEADLY[name])
        upstream.send(framing[3000:])
        if name == "time-out":
            await faults.until(lambda: faults.down.swallowed_bytes)
            s.advance(60.1)
        if name == "data limit" and framing.startswith(OK + b"\r\n"):
            await client.take_until(b"\r\n0\r\n\r\n")
            return
        assert await client.rest() == "reset"
        assert not client.received.endswith(b"0\r\n\r\n")
        assert sum(s.errors.values()) == 1


@pytest.mark.parametrize("name", DEADLY)
@scripted
async def test_a_service_whose_network_fails_in_a_request(name: str) -> None:
    """502, or 504 when nothing is heard; no request with a body is sent again."""
    async with behind_faults() as (s, faults):
        faults.up.set(DEADLY[name])
        client = await s.client()
        client.send(post(BODY))
        if name == "time-out":
            await faults.until(lambda: faults.up.swallowed_bytes)
            s.advance(15.1)
        answer = await client.message()
        assert answer.status == (504 if name == "time-out" else 502)
        assert faults.connections == 1


@scripted
async def test_a_service_that_comes_back() -> None:
    """Refused: 502 at once; when the network is well again, so are the answers."""
    async with behind_faults() as (s, faults):
        faults.refuse()
        client = await s.client()
        client.send(get())
        assert (await client.message()).reason == "connect_refused"
        faults.heal()
        client.send(get())
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok(b"back"))
        assert (await client.message()).body == b"back"


@pytest.mark.parametrize("name", MILD)
@scripted
async def test_a_client_over_a_bad_network(name: str) -> None:
    """Several requests on a connection, each with a body, each answered whole."""
    async with stage() as s, FaultProxy(upstream=("127.0.0.1", s.port)) as faults:
        faults.up.set(MILD[name])
        faults.down.set(MILD[name])
        s.port = faults.port
        client = await s.client()
        for number in range(2):
            client.send(post(BODY, target=b"/%d" % number))
            upstream = s.upstream.connections[0] if number else await s.upstream.accepted()
            request = await upstream.message()
            assert (request.start, request.body) == (b"POST /%d HTTP/1.1" % number, BODY)
            upstream.send(ok(BODY))
            assert (await client.message()).body == BODY
        assert s.errors == {}
        client.close()
        await s.idle()


@pytest.mark.parametrize("name", DEADLY)
@scripted
async def test_a_client_whose_network_fails_in_a_request(name: str) -> None:
    """The service never sees half an upload as a whole one, and is told by a close, in time."""
    async with stage() as s, FaultProxy(upstream=("127.0.0.1", s.port)) as faults:
        s.port = faults.port
        faults.up.set(DEADLY[name] if name != "time-out" else LimitData(after_bytes=10**9))
        client = await s.client()
        client.send(post(BODY)[:4000])
        upstream = await s.upstream.accepted()
        await upstream.head()
        if name == "time-out":
            faults.up.set(DEADLY[name])
        client.send(post(BODY)[4000:])
        if name == "time-out":
            await faults.until(lambda: faults.up.swallowed_bytes)
            s.advance(30.1)
        await upstream.ended()
        assert len(upstream.received) < len(BODY)
        faults.heal()
        client.reset()
        s.advance(1.1)
        await s.idle()


@scripted
async def test_a_client_whose_network_narrows_holds_nobody_else() -> None:
    """While one client takes its answer at 100 kB a second, another is answered."""
    async with stage() as s, FaultProxy(upstream=("127.0.0.1", s.port)) as faults:
        faults.down.set(Bandwidth(bytes_per_second=100_000))
        straight, s.port = s.port, faults.port
        narrow, upstream, _ = await s.asked(get(b"/large"))
        upstream.send(ok(b"x" * 5_000_000))
        await narrow.head()
        s.port = straight
        other, fresh, _ = await s.asked(get(b"/small"))
        fresh.send(ok(b"small"))
        assert (await other.message()).body == b"small"
        assert len(narrow.received) < 4_000_000, "it has most of its fifty seconds to go"
        narrow.reset()
        faults.heal()
        upstream.reset()

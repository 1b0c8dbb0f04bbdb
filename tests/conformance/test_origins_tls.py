"""https:// origins: who is believed, what a refusal is called, and that nothing cut off looks whole."""

import datetime
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from http1_harness import Peer, Stage, get, ok, post, scripted, settle, stage
from origins_harness import Asked, Server, answered, bodies, servers, until

LONG_AGO = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)


@asynccontextmanager
async def https(context: ssl.SSLContext, **service: Any) -> AsyncIterator[tuple[Stage, Server]]:
    """A stage whose service a is one https:// server with *context*."""
    server = Server("x")
    await server.listen(tls=context)
    try:
        async with stage(services={"a": {"url": server.url, **service}}) as s:
            yield s, server
    finally:
        server.die()
        await settle()


def secured(server: Server) -> dict[str, Any]:
    """Service a, taken for one that speaks TLS."""
    return {"a": {"url": server.url.replace("http:", "https:")}}


@scripted
async def test_an_origin_of_our_own_authority_is_believed(tmp_path: Path) -> None:
    """Requests and answers on one kept connection; ALPN offers http/1.1, Host stays the client's."""
    authority = Authority(tmp_path)
    context = authority.server("127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with https(context, tls={"ca": str(authority.file)}) as (s, server):
        assert await bodies(s, get(), 3) == [b"x"] * 3
        assert await bodies(s, post(b"order"), 1) == [b"x"]
        assert server.accepted == 1
        assert server.asked[3].endswith(b"\r\n\r\norder")
        assert b"\r\nHost: a.example\r\n" in server.asked[0]
        (connection,) = server.connections
        assert connection.transport is not None
        chosen = connection.transport.get_extra_info("ssl_object")
        assert chosen.selected_alpn_protocol() == "http/1.1"
        assert chosen.version() == "TLSv1.3"


@pytest.mark.parametrize(
    ("names", "expired", "tls", "why"),
    [
        (["127.0.0.1"], False, {"ca": "other.pem"}, "unable to get local issuer certificate"),
        (["127.0.0.1"], False, None, "unable to get local issuer certificate"),
        (
            ["127.0.0.2"],
            False,
            {"ca": "ca.pem"},
            "IP address mismatch, certificate is not valid for '127.0.0.1'",
        ),
        (["shop.internal"], False, {"ca": "ca.pem", "server_name": "cart.internal"}, "Hostname mismatch"),
        (["127.0.0.1"], True, {"ca": "ca.pem"}, "certificate has expired"),
    ],
    ids=["another authority", "the system's authorities", "another address", "another name", "expired"],
)
@scripted
async def test_who_cannot_prove_itself_is_told_nothing(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    names: list[str],
    expired: bool,
    tls: dict[str, str] | None,
    why: str,
) -> None:
    """502 with its own counted reason, once in the log with the cause; no byte of a request was sent."""
    authority = Authority(tmp_path)
    Authority(tmp_path, "other.pem")
    context = authority.server(*names, not_after=LONG_AGO if expired else None)
    trust = {} if tls is None else {"tls": {**tls, "ca": str(tmp_path / tls["ca"])}}
    caplog.set_level(logging.ERROR, "understudy.upstream")
    async with https(context, **trust) as (s, server):
        client = await s.client()
        for _ in range(2):
            answer = await answered(client, get())
            assert (answer.status, answer.reason) == (502, "tls_failed")
        assert s.errors == {"tls_failed": 2}
        assert server.asked == []
        (told,) = [record.getMessage() for record in caplog.records]
        assert told.startswith(f"origin {server.url} of service a: TLS failed: ")
        assert why in told


@pytest.mark.parametrize(
    "tls",
    [{"server_name": "shop.internal", "ca": "ca.pem"}, {"verify": False}],
    ids=["by its name", "unverified"],
)
@scripted
async def test_a_name_may_be_given_and_checks_be_turned_off(tmp_path: Path, tls: dict[str, Any]) -> None:
    """The certificate names shop.internal, the URL an address."""
    authority = Authority(tmp_path)
    if "ca" in tls:
        tls = {**tls, "ca": str(authority.file)}
    async with https(authority.server("shop.internal"), tls=tls) as (s, _):
        assert await bodies(s, get(), 2) == [b"x"] * 2


@scripted
async def test_a_client_certificate_is_shown_to_who_asks_for_one(tmp_path: Path) -> None:
    """With it the request is answered; without it the handshake fails."""
    authority = Authority(tmp_path)
    context = authority.demanding("127.0.0.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # so that the refusal comes within the handshake
    cert, key = authority.client(tmp_path, "proxy.internal")
    tls = {"ca": str(authority.file), "cert": str(cert), "key": str(key)}
    async with https(context, tls=tls) as (s, _):
        assert await bodies(s, get(), 1) == [b"x"]
    async with https(context, tls={"ca": str(authority.file)}) as (s, _):
        client = await s.client()
        assert (await answered(client, get())).reason == "tls_failed"


@scripted
async def test_a_plain_server_behind_https_is_no_origin() -> None:
    """What it answers is not TLS: 502, and nothing was sent in the clear."""
    async with servers("plain") as (plain,), stage(services=secured(plain)) as s:
        client = await s.client()
        client.send(get())
        await until(lambda: plain.connections)
        for connection in list(plain.connections):
            connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert (await client.message()).reason == "tls_failed"
        assert plain.asked == []


@scripted
async def test_the_handshake_is_within_the_time_to_connect() -> None:
    """Who accepts and says nothing costs connect_timeout, not a minute."""
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{silent.getsockname()[1]}"
    async with stage(services={"a": {"url": url, "connect_timeout": "50ms"}}) as s:
        client = await s.client()
        answer = await answered(client, get())
        assert (answer.status, answer.reason) == (504, "connect_timeout")
    silent.close()


@scripted
async def test_an_answer_until_close_is_whole_only_with_a_goodbye(tmp_path: Path) -> None:
    """close_notify ends it in order; a bare end, which anyone on the way can forge, cuts the client off."""
    authority = Authority(tmp_path)
    context = authority.server("127.0.0.1")
    endless = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it"

    def goodbye(connection: Asked) -> None:
        connection.send(endless)
        assert connection.transport is not None
        connection.transport.close()

    async with https(context, tls={"ca": str(authority.file)}) as (s, server):
        server.ends = goodbye
        client = await s.client()
        answer = await answered(client, get())
        assert (answer.status, answer.body) == (200, b"all of it")
        server.ends = lambda connection: connection.send(endless)
        client = await s.client()
        client.send(get())
        await client.until(lambda: b"all of it" in client.received, "the body")
        (connection,) = server.connections
        assert connection.transport is not None
        below = connection.transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(below)) as raw:
            raw.shutdown(socket.SHUT_WR)
        await client.ended()
        assert client.ending == "reset"
        assert not client.received.endswith(b"0\r\n\r\n")
        assert s.errors == {"cut_closed": 1}


@scripted
async def test_large_bodies_stream_both_ways(tmp_path: Path) -> None:
    """4 MiB up and down through TLS, with a client that reads late: every byte, and bounded buffers."""
    authority = Authority(tmp_path)
    body = bytes(range(256)) * 4096 * 4
    async with https(authority.server("127.0.0.1"), tls={"ca": str(authority.file)}) as (s, server):
        server.answer = lambda request: ok(request.partition(b"\r\n\r\n")[2])
        client = await s.client(receive_buffer_bytes=4096)
        client.transport.pause_reading()
        client.send(post(body))
        await until(lambda: server.asked)
        await settle(200)
        client.transport.resume_reading()
        assert (await client.message()).body == body
        assert server.asked[0].endswith(body)
        assert await bodies(s, post(b"again"), 1) == [b"again"]


@scripted
async def test_a_shadow_that_never_shakes_hands_is_not_felt(tmp_path: Path) -> None:
    """Primaries are answered meanwhile; its copies fail in their own time."""
    flag = {
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"dark": {"serve": "a", "mirror": ["b"]}},
                "defaultVariant": "dark",
            }
        },
        "routes": [{"path": "/", "flag": "shop"}],
    }
    silent = socket.create_server(("127.0.0.1", 0))
    shadow = {"url": f"https://127.0.0.1:{silent.getsockname()[1]}", "connect_timeout": "50ms"}
    async with servers("p") as (primary,):
        services = {"a": {"url": primary.url}, "b": shadow}
        async with stage(flag, services=services) as s:
            assert await bodies(s, get(), 20) == [b"p"] * 20
            target = s.proxy.mirror.targets["mirror", "b"]
            await until(lambda: not target.in_flight)
            assert target.outcomes["failed", "connect_timeout"] == target.sent
            assert target.sent > 0
    silent.close()


@scripted
async def test_an_origin_that_fails_its_handshake_is_left_out(tmp_path: Path) -> None:
    """The request goes to the one that can prove itself, and so do all after five failures."""
    authority = Authority(tmp_path)
    good, bad = Server("good"), Server("bad")
    await good.listen(tls=authority.server("127.0.0.1"))
    await bad.listen(tls=authority.server("127.0.0.2"))
    service = {"origins": [bad.url, good.url], "tls": {"ca": str(authority.file)}}
    async with stage(services={"a": service}) as s:
        client: Peer = await s.client()
        for _ in range(12):
            assert (await answered(client, get())).body == b"good"
        assert s.metrics.ejections == {"a": 1}
        assert s.errors == {}
    good.die()
    bad.die()
    await settle()

"""Where an origin may be: a Unix socket, an IPv6 address; and what Host says where a client says none."""

import socket
from pathlib import Path

import pytest
from certificates import Authority
from http1_harness import get, post, scripted, settle, stage
from origins_harness import Server, answered, bodies, servers

OLD = b"GET / HTTP/1.0\r\n\r\n"


@scripted
async def test_a_unix_socket_is_an_origin(tmp_path: Path) -> None:
    """With bodies, on a kept connection; Host is the client's, and localhost where it sent none."""
    server = Server("x")
    await server.listen(path=str(tmp_path / "shop.sock"))
    async with stage(services={"a": {"url": server.url}}) as s:
        assert await bodies(s, get(), 3) == [b"x"] * 3
        assert await bodies(s, post(b"order"), 1) == [b"x"]
        assert server.accepted == 1
        assert b"\r\nHost: a.example\r\n" in server.asked[0]
        assert (await answered(await s.client(), OLD)).status == 200
        assert b"\r\nHost: localhost\r\n" in server.asked[-1]
    server.die()
    await settle()


@scripted
async def test_a_unix_socket_that_is_not_there_refuses(tmp_path: Path) -> None:
    """As a port does: 502, and the other origin is asked instead where there is one."""
    gone = f"unix:{tmp_path}/gone.sock"
    async with stage(services={"a": {"url": gone}}) as s:
        assert (await answered(await s.client(), get())).reason == "connect_refused"
    async with servers("y") as (there,), stage(services={"a": {"origins": [gone, there.url]}}) as s:
        assert await bodies(s, get(), 4) == [b"y"] * 4


@pytest.mark.skipif(not socket.has_ipv6, reason="this system has no IPv6")
@scripted
async def test_an_ipv6_address_is_an_origin() -> None:
    """In brackets, as everywhere in HTTP."""
    server = Server("x")
    await server.listen(host="::1")
    async with stage(services={"a": {"url": server.url}}) as s:
        assert await bodies(s, get(), 2) == [b"x"] * 2
        assert (await answered(await s.client(), OLD)).status == 200
        assert b"\r\nHost: %b\r\n" % server.url.removeprefix("http://").encode() in server.asked[-1]
    server.die()
    await settle()


@pytest.mark.skipif(not socket.has_ipv6, reason="this system has no IPv6")
@scripted
async def test_https_over_ipv6_is_checked_by_address(tmp_path: Path) -> None:
    """The certificate names ::1."""
    authority = Authority(tmp_path)
    server = Server("x")
    await server.listen(host="::1", tls=authority.server("::1"))
    async with stage(services={"a": {"url": server.url, "tls": {"ca": str(authority.file)}}}) as s:
        assert await bodies(s, get(), 2) == [b"x"] * 2
    server.die()
    await settle()


@scripted
async def test_origins_of_all_forms_stand_side_by_side(tmp_path: Path) -> None:
    """One service in transit from one machine to another, say."""
    authority = Authority(tmp_path)
    made = [Server("plain"), Server("safe"), Server("near")]
    await made[0].listen()
    await made[1].listen(tls=authority.server("127.0.0.1"))
    await made[2].listen(path=str(tmp_path / "near.sock"))
    service = {"origins": [server.url for server in made], "tls": {"ca": str(authority.file)}}
    async with stage(services={"a": service}) as s:
        assert await bodies(s, get(), 6) == [b"plain", b"safe", b"near"] * 2
    for server in made:
        server.die()
    await settle()


@scripted
async def test_no_request_names_an_address() -> None:
    """Neither Host nor an absolute target leads anywhere but to the configured origin."""
    async with servers("x", "trap") as (server, trap), stage(services={"a": {"url": server.url}}) as s:
        host = trap.url.removeprefix("http://").encode()
        client = await s.client()
        assert (await answered(client, b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)).body == b"x"
        absolute = b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (host, host)
        assert (await answered(client, absolute)).body == b"x"
        assert trap.accepted == 0

"""Active health checks: what is asked, when an origin is turned off and on; nothing waits for one."""

import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from http1_harness import Stage, get, ok, scripted, settle, stage
from origins_harness import Asked, Server, bodies, reset, servers, spread, until

CHECK = {"path": "/healthz", "interval": "5s", "timeout": "60s", "healthy": 2, "unhealthy": 3}


def is_check(request: bytes) -> bool:
    return request.startswith(b"GET /healthz HTTP/1.1\r\n")


def checks(server: Server) -> int:
    """How often *server* was asked for its health."""
    return sum(map(is_check, server.asked))


def sick(request: bytes) -> bytes:
    """Ill when asked for its health, well else."""
    return b"HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n" if is_check(request) else ok(b"sick")


def is_checked(server: Server, accepted: int) -> bool:
    """Whether one more connection came to *server*, and went."""
    return server.accepted > accepted and not server.connections


async def rounds(scene: Stage, watched: list[Server], times: int) -> None:
    """That many checks of every origin, one after another."""
    for _ in range(times):
        before = [server.accepted for server in watched]
        scene.advance(5.6)
        for server, accepted in zip(watched, before, strict=True):
            await until(partial(is_checked, server, accepted))
        await settle()


@scripted
async def test_an_origin_is_asked_as_a_client_asks() -> None:
    """GET with Host and our name, on its own connection, which is closed; at once, then by the interval."""
    async with servers("x") as (server,), stage(services={"a": {"url": server.url, "health": CHECK}}) as s:
        assert server.accepted == 0
        s.advance(0)
        await until(lambda: server.asked)
        host = server.url.removeprefix("http://").encode()
        assert server.asked == [
            b"GET /healthz HTTP/1.1\r\nHost: %b\r\nUser-Agent: understudy-health\r\nAccept: */*\r\n"
            b"Connection: close\r\n\r\n" % host
        ]
        await until(lambda: not server.connections)
        s.advance(4.4)
        await settle()
        assert server.accepted == 1
        s.advance(1.2)
        await until(lambda: server.accepted == 2)
        assert await bodies(s, get(), 1) == [b"x"]


@scripted
async def test_an_origin_is_turned_off_and_on() -> None:
    """After three failed checks no request goes there; after two good ones they share again."""
    async with servers("sick", "well") as made, stage(services=spread(made, health=CHECK)) as s:
        made[0].answer = sick
        await rounds(s, made, 2)
        assert s.metrics.origins == {"a": 2}
        await rounds(s, made, 1)
        assert s.metrics.origins == {"a": 1}
        assert await bodies(s, get(), 4) == [b"well"] * 4
        for server in made:
            server.stop_kept()
        made[0].answer = lambda _: ok(b"sick")
        await rounds(s, made, 1)
        assert s.metrics.origins == {"a": 1}
        await rounds(s, made, 1)
        assert s.metrics.origins == {"a": 2}
        assert sorted(await bodies(s, get(), 4)) == [b"sick", b"sick", b"well", b"well"]
        assert s.metrics.ejections == {}


def garbage(connection: Asked) -> None:
    connection.send(b"SSH-2.0-OpenSSH\r\n")


def endless(connection: Asked) -> None:
    connection.send(b"x" * 2000)


def redirect(connection: Asked) -> None:
    connection.send(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("ends", [reset, garbage, endless, redirect])
@scripted
async def test_what_is_no_good_answer_fails_a_check(ends: Any) -> None:
    """A reset, another protocol, a line without end, a redirect to a login page."""
    check = {**CHECK, "unhealthy": 1}
    async with servers("x") as made, stage(services={"a": {"url": made[0].url, "health": check}}) as s:
        made[0].ends = ends
        await rounds(s, made, 1)
        assert s.metrics.origins == {"a": 0}


@pytest.mark.parametrize(
    ("accepted", "status", "origins"),
    [
        ([200], 204, 0),
        ([200, 204], 204, 1),
        (["2xx", 404], 204, 1),
        (["2xx", 404], 404, 1),
        (["2xx"], 404, 0),
    ],
)
@scripted
async def test_which_statuses_pass_is_a_setting(accepted: list[Any], status: int, origins: int) -> None:
    """Numbers and classes."""
    check = {**CHECK, "unhealthy": 1, "status": accepted}
    async with servers("x") as made, stage(services={"a": {"url": made[0].url, "health": check}}) as s:
        made[0].answer = lambda _: b"HTTP/1.1 %d Any\r\n\r\n" % status
        await rounds(s, made, 1)
        assert s.metrics.origins == {"a": origins}


@scripted
async def test_a_check_has_a_deadline_and_nothing_waits_for_it() -> None:
    """Who accepts and is silent fails after the timeout; requests are answered meanwhile."""
    check = {**CHECK, "unhealthy": 1, "timeout": "50ms"}
    async with servers("x") as (server,), stage(services={"a": {"url": server.url, "health": check}}) as s:
        server.ends = lambda connection: None if is_check(server.asked[-1]) else connection.send(ok(b"x"))
        s.advance(0)
        await until(lambda: server.asked)
        assert await bodies(s, get(), 3) == [b"x"] * 3
        await until(lambda: s.metrics.origins == {"a": 0})


@scripted
async def test_checks_under_way_end_with_the_worker() -> None:
    """A silent origin and a long timeout do not hold up the end."""
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    async with stage(services={"a": {"url": url, "health": {**CHECK, "timeout": "1h"}}}) as s:
        s.advance(0)
        await settle()
    silent.close()


@scripted
async def test_a_canary_found_ill_is_asked_by_nobody() -> None:
    """The first request already finds the verdict: it is answered by the default variant's service."""
    flag = {
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"canary": {"serve": "b"}, "stable": {"serve": "a"}},
                "defaultVariant": "stable",
                "targeting": {"fractional": [["canary", 1]]},
            }
        },
        "routes": [{"path": "/", "flag": "shop", "unit": "ip"}],
    }
    async with servers("old", "new") as (old, new):
        health = {**CHECK, "unhealthy": 1, "healthy": 1}
        services = {"a": {"url": old.url}, "b": {"url": new.url, "health": health}}
        async with stage(flag, services=services) as s:
            new.answer = sick
            await rounds(s, [new], 1)
            assert await bodies(s, get(), 3) == [b"old"] * 3
            assert checks(new) == len(new.asked) == 1
            new.answer = lambda _: ok(b"new")
            await rounds(s, [new], 1)
            assert await bodies(s, get(), 3) == [b"new"] * 3


@scripted
async def test_origins_of_every_form_are_checked(tmp_path: Path) -> None:
    """TLS with its own authority and name, and a Unix socket; one that fails its handshake is ill."""
    authority = Authority(tmp_path)
    safe, near, fake = Server("safe"), Server("near"), Server("fake")
    await safe.listen(tls=authority.server("shop.internal"))
    await near.listen(path=str(tmp_path / "near.sock"))
    await fake.listen(tls=authority.server("else.internal"))
    tls = {"ca": str(authority.file), "server_name": "shop.internal"}
    service = {
        "origins": [safe.url, near.url, fake.url],
        "tls": tls,
        "health": {**CHECK, "unhealthy": 1},
    }
    async with stage(services={"a": service}) as s:
        s.advance(0)
        await until(lambda: safe.asked and near.asked and s.metrics.origins == {"a": 2})
        assert b"\r\nHost: shop.internal\r\n" in safe.asked[0]
        assert b"\r\nHost: localhost\r\n" in near.asked[0]
        assert fake.asked == []
        assert await bodies(s, get(), 4) == [b"safe", b"near"] * 2
    for server in (safe, near, fake):
        server.die()
    await settle()


@scripted
async def test_roles_of_a_service_share_its_checks() -> None:
    """What is served and mirrored to is asked once for both, and both know what was found."""
    flag = {
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"dark": {"serve": "b", "mirror": ["a"]}},
                "defaultVariant": "dark",
            }
        },
        "routes": [{"path": "/new", "serve": "a"}, {"path": "/", "flag": "shop"}],
    }
    async with servers("sick", "well", "p") as (ill, well, primary):
        services = {**spread([ill, well], health={**CHECK, "unhealthy": 1}), "b": {"url": primary.url}}
        async with stage(flag, services=services) as s:
            ill.answer = sick
            assert await bodies(s, get(), 1) == [b"p"]
            await until(lambda: ill.asked or well.asked)
            for server in (ill, well):
                server.stop_kept()
            await settle()
            ill.asked.clear()
            well.asked.clear()
            await rounds(s, [ill, well], 1)
            assert (checks(ill), checks(well)) == (1, 1)
            assert await bodies(s, get(b"/new"), 2) == [b"well"] * 2
            assert await bodies(s, get(), 3) == [b"p"] * 3
            await until(lambda: len(well.asked) == 6)
            assert len(ill.asked) == 1

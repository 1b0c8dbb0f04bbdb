"""What clients and servers made of common building blocks do by themselves, and a proxy must not.

Cookies kept for the next user, bodies decompressed, redirects followed, addresses taken from the
environment, targets quoted anew: each is somebody's default.
"""

import gzip

import pytest
from http1_harness import FLAGGED, Peer, Stage, get, ok, post, scripted, settle, stage

OURS = (
    b"X_FORWARDED_FOR",
    b"X_FORWARDED_PROTO",
    b"X_FORWARDED_HOST",
    b"X_UNDERSTUDY_FLAG",
    b"X_UNDERSTUDY_VARIANT",
)


@pytest.mark.parametrize("is_mirrored", [False, True])
@scripted
async def test_no_cookie_is_kept(is_mirrored: bool) -> None:
    """One user's Set-Cookie is never sent with another's request on the same connections (aiohttp and httpx
    keep a jar); a shadow's goes nowhere."""
    mark = [b"X-Beta: yes"] if is_mirrored else []
    async with stage(FLAGGED) as s:
        one, upstream, _ = await s.asked(get(b"/1", *mark))
        shadow = await s.shadow.accepted() if is_mirrored else None
        if shadow is not None:
            await shadow.message()
            shadow.send(ok(b"ok", b"Set-Cookie: user=shadow; Path=/"))
        upstream.send(ok(b"ok", b"Set-Cookie: user=one; Path=/"))
        assert (await one.message()).fields_named(b"set-cookie") == [b"user=one; Path=/"]
        await settle()
        two = await s.client()
        two.send(get(b"/2", *mark))
        assert (await upstream.message()).fields_named(b"cookie") == []
        upstream.send(ok())
        assert (await two.message()).fields_named(b"set-cookie") == []
        assert shadow is None or (await shadow.message()).fields_named(b"cookie") == []


@scripted
async def test_bodies_are_not_decoded() -> None:
    """A compressed body goes on as it came, with its coding (aiohttp and httpx unpack it)."""
    body = gzip.compress(b"x" * 1000)
    async with stage() as s:
        client, upstream, request = await s.asked(post(body, b"Content-Encoding: gzip"))
        assert (request.body, request.field(b"content-encoding")) == (body, b"gzip")
        assert request.fields_named(b"accept-encoding") == []
        upstream.send(ok(body, b"Content-Encoding: gzip"))
        answer = await client.message()
        assert (answer.body, answer.field(b"content-encoding")) == (body, b"gzip")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@scripted
async def test_redirects_are_not_followed(status: int) -> None:
    """They are the client's affair (aiohttp follows them); a shadow's lead nowhere."""
    async with stage(FLAGGED) as s:
        target = b"Location: http://127.0.0.1:%d/trap" % s.upstream.port
        client, upstream, _ = await s.asked(get(b"/", b"X-Beta: yes"))
        shadow = await s.shadow.accepted()
        await shadow.message()
        shadow.send(ok(b"", target).replace(b"200 OK", b"%d Moved" % status))
        upstream.send(ok(b"", target).replace(b"200 OK", b"%d Moved" % status))
        assert (await client.message()).status == status
        await settle()
        assert upstream.received == shadow.received == b""
        assert len(s.upstream.connections) == len(s.shadow.connections) == 1


@scripted
async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses come from the configuration only (httpx and aiohttp's trust_env read these)."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with stage() as s:
        client, upstream, _ = await s.asked(get())
        upstream.send(ok(b"direct"))
        assert (await client.message()).body == b"direct"


@pytest.mark.parametrize(
    "target",
    [
        b"/%2f%2F%7e~",
        b"/a/../b/./c//d",
        b"/%zz%",
        b'/"<>{}|\\^`',
        b"/?",
        b"/?a=b+c%20d&&=",
        b"//evil.example/",
        b"/;p=1",
    ],
)
@scripted
async def test_targets_are_not_quoted_anew(target: bytes) -> None:
    """Path and query go on byte for byte, to the shadow too (aiohttp's yarl would rewrite them)."""
    async with stage(FLAGGED) as s:
        _, _, request = await s.asked(get(target, b"X-Beta: yes"))
        assert request.start == b"GET " + target + b" HTTP/1.1"
        assert (await (await s.shadow.accepted()).message()).start == request.start


@scripted
async def test_a_field_larger_than_others_take() -> None:
    """A cookie of 20 KiB passes both ways (aiohttp and gunicorn stop at 8,190)."""
    field = b"Cookie: " + b"c" * 20_000
    async with stage() as s:
        client, upstream, request = await s.asked(get(b"/", field))
        assert request.field(b"cookie") == b"c" * 20_000
        upstream.send(ok(b"", b"Set-" + field))
        assert (await client.message()).field(b"set-cookie") == b"c" * 20_000


@scripted
async def test_more_connections_than_a_client_library_has() -> None:
    """150 requests at once need 150 connections (aiohttp stops at 100)."""
    async with stage() as s:
        clients = [await s.client() for _ in range(150)]
        for client in clients:
            client.send(get())
        upstreams: list[Peer] = [await s.upstream.accepted() for _ in clients]
        for upstream in upstreams:
            await upstream.message()
            upstream.send(ok())
        for client in clients:
            assert (await client.message()).status == 200


async def seen_by_wsgi(s: Stage, *fields: bytes) -> list[bytes]:
    """The names, with ``_`` for ``-`` and in capitals, that a WSGI application would see of a request."""
    _, _, request = await s.asked(get(b"/", *fields))
    return [name.upper().replace(b"-", b"_") for name, _ in request.fields]


@pytest.mark.parametrize(
    "field",
    [
        b"X_Forwarded_For: 6.6.6.6",
        b"X_Forwarded-Proto: https",
        b"X_FORWARDED_HOST: evil",
        b"X_Understudy_Variant: canary",
        b"X-Understudy_Flag: shop",
        b"x_understudy_anything: 1",
        b"Content_Length: 5",
        b"Transfer_Encoding: chunked",
        b"Proxy_Authorization: x",
    ],
)
@scripted
async def test_underscored_twins_reach_no_application(field: bytes) -> None:
    """WSGI and CGI merge ``-`` and ``_``: what a client may not set, it may not set in either spelling."""
    async with stage(FLAGGED) as s:
        names = await seen_by_wsgi(s, field)
        name = field.partition(b":")[0].upper().replace(b"-", b"_")
        ours = (
            b"X_FORWARDED_FOR",
            b"X_FORWARDED_PROTO",
            b"X_FORWARDED_HOST",
            b"X_UNDERSTUDY_VARIANT",
            b"X_UNDERSTUDY_FLAG",
        )
        assert names.count(name) == (1 if name in ours else 0)


@scripted
async def test_an_answer_goes_to_who_asked_when_another_left() -> None:
    """A call that was given up closes its connection (redis-py CVE-2023-28858 and CVE-2023-28859 kept it, and
    the late reply answered somebody else)."""
    async with stage() as s:
        one, upstream, _ = await s.asked(get(b"/one"))
        upstream.send(ok(b"1"))
        await one.message()
        one.send(get(b"/secret"))
        await upstream.message()
        one.reset()
        await settle()
        upstream.send(ok(b"secret"))
        two, fresh, _ = await s.asked(get(b"/two"))
        fresh.send(ok(b"2"))
        assert (await two.message()).body == b"2"
        await upstream.ended()

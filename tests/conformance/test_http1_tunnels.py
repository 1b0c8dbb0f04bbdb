"""An upgrade becomes a tunnel on the service's own word and on nothing else (DESIGN 6, rule 9)."""

import pytest
from http1_harness import FLAGGED, Message, Peer, Stage, get, ok, scripted, settle, stage
from test_http1_access_log import Lines, logged

from understudy.proxy.upgrade import websocket_accept

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""RFC 6455 1.3, the example."""

OFFER = (b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: " + KEY)
ASK = get(b"/chat", *OFFER, b"Sec-WebSocket-Version: 13")
FRAMES = bytes(range(256)) * 3


def switched(*fields: bytes, accept: bytes = ACCEPT) -> bytes:
    """The 101 of a WebSocket service."""
    lines = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + accept, *fields)
    return b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


async def tunnel(s: Stage, ask: bytes = ASK) -> tuple[Peer, Peer]:
    """A client and a service that have switched."""
    client, service, _ = await s.asked(ask)
    service.send(switched())
    assert (await client.head()).status == 101
    return client, service


def test_the_proof_of_the_handshake() -> None:
    """The example of RFC 6455."""
    assert websocket_accept(KEY) == ACCEPT


@scripted
async def test_bytes_go_both_ways_unread() -> None:
    """Whatever they are; the handshake's own fields are end to end, those of the hop are ours."""
    async with stage() as s:
        client, service, request = await s.asked(ASK)
        assert request.field(b"upgrade") == b"websocket"
        assert request.field(b"connection") == b"Upgrade"
        assert request.field(b"sec-websocket-key") == KEY
        service.send(switched(b"X-Own: 1", b"Keep-Alive: timeout=5"))
        answer: Message = await client.head()
        assert (answer.status, answer.field(b"x-own")) == (101, b"1")
        assert (answer.field(b"upgrade"), answer.field(b"connection")) == (b"websocket", b"Upgrade")
        assert answer.fields_named(b"keep-alive") == []
        client.send(FRAMES + get(b"/not-a-request"))
        assert await service.take(len(FRAMES) + len(get(b"/not-a-request"))) == FRAMES + get(
            b"/not-a-request"
        )
        service.send(ok(b"not an answer"))
        assert await client.take(len(ok(b"not an answer"))) == ok(b"not an answer")
        client.close()
        await service.ended()
        service.close()
        await s.idle()
        assert s.proxy.tunnels == 0


@pytest.mark.parametrize("at", range(1, len(switched()) + 4, 3))
@scripted
async def test_a_switch_split_anywhere(at: int) -> None:
    """What the service sends right behind its 101 belongs to the tunnel."""
    async with stage() as s:
        client, service, _ = await s.asked(ASK)
        await service.send_split(switched() + b"\x81\x02hi", at)
        assert (await client.head()).status == 101
        assert await client.take(4) == b"\x81\x02hi"


@pytest.mark.parametrize("at", range(1, len(ASK) + 3, 7))
@scripted
async def test_what_the_client_sends_too_early_waits(at: int) -> None:
    """Nobody knows what it is until the service has answered; then it belongs to the tunnel."""
    async with stage() as s:
        client = await s.client()
        await client.send_split(ASK + b"\x82\x01x", at)
        service = await s.upstream.accepted()
        await service.head()
        await s.turn()
        assert service.received == b""
        service.send(switched())
        assert await service.take(3) == b"\x82\x01x"


@scripted
async def test_a_service_that_does_not_switch() -> None:
    """Its answer goes on, and what the client has sent behind its request is the next one."""
    async with stage() as s:
        client = await s.client()
        client.send(ASK + get(b"/next"))
        service = await s.upstream.accepted()
        await service.head()
        await s.turn()
        assert service.received == b""
        service.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
        assert (await client.message()).status == 426
        assert (await service.message()).start == b"GET /next HTTP/1.1"
        service.send(ok(b"next"))
        assert (await client.message()).body == b"next"
        client.send(get(b"/third"))
        assert (await service.message()).start == b"GET /third HTTP/1.1"


@scripted
async def test_what_stands_behind_a_second_offer_waits_in_the_kernel() -> None:
    """However often the service declines: nobody can fill the proxy's memory behind an offer."""
    async with stage() as s:
        client = await s.client()
        client.send(ASK * 2)
        service = await s.upstream.accepted()
        await service.head()
        service.send(ok(b"1"))
        assert (await client.message()).body == b"1"
        await service.head()
        await s.turn()
        client.send(bytes(16 * 1024 * 1024))
        await settle(100)
        assert client.transport.get_write_buffer_size() > 0
        (connection,) = s.proxy.connections
        assert len(connection._held or b"") < 512 * 1024
        service.send(ok(b"2"))
        assert (await client.message()).body == b"2"
        assert (await client.message()).status == 400
        s.advance(2)  # what still comes is thrown away for a second


@scripted
async def test_many_offers_that_the_proxy_declines_itself() -> None:
    """Each gets its answer, however many stand in one read."""
    async with stage(routes=[{"path": "/only", "serve": "a"}]) as s:
        client = await s.client()
        client.send(ASK * 1000)
        for _ in range(1000):
            assert (await client.message()).reason == "no_route"
        assert s.errors == {"no_route": 1000}


NO_TUNNEL = {
    "no proof": switched(accept=b""),
    "another's proof": switched(accept=websocket_accept(b"c29tZWJvZHkgZWxzZSE=")),
    "two proofs": switched(b"Sec-WebSocket-Accept: " + ACCEPT),
    "another protocol": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "two protocols": switched().replace(b"Upgrade: websocket", b"Upgrade: websocket, x"),
    "not named by Connection": b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n",
    "bare": b"HTTP/1.1 101 S\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_TUNNEL)
@scripted
async def test_a_fake_101(name: str) -> None:
    """502 and an end for both: an application that can be talked into a status opens no tunnel."""
    async with stage() as s:
        client, service, _ = await s.asked(ASK)
        service.send(NO_TUNNEL[name] + ok(b"poison"))
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, "unasked_upgrade")
        await service.ended()
        client.send(get(b"/next"))
        assert (await (await s.upstream.accepted()).message()).start == b"GET /next HTTP/1.1"


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
@scripted
async def test_without_an_offer_there_is_no_tunnel(version: bytes) -> None:
    """Upgrade without Connection, or in HTTP/1.0, asks for nothing (RFC 9110 7.8)."""
    async with stage() as s:
        client, service, request = await s.asked(
            b"GET / " + version + b"\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"
        )
        assert request.fields_named(b"upgrade") == []
        service.send(switched())
        assert (await client.message()).reason == "unasked_upgrade"


@scripted
async def test_a_tunnel_is_never_mirrored() -> None:
    """The copy is counted as skipped, and the shadow sees nothing."""
    async with stage(FLAGGED) as s:
        await tunnel(s, get(b"/chat", *OFFER, b"X-Beta: yes"))
        target = s.proxy.mirror.targets["mirror", "b"]
        assert target.outcomes["skipped", "upgrade"] == target.eligible == 1
        assert s.shadow.connections == []


@scripted
async def test_a_tunnel_is_told_when_it_has_ended() -> None:
    """One line of the access log, with the bytes that went each way, those behind the heads among them."""
    lines = Lines()
    async with stage(options=logged(lines)) as s:
        client, service, _ = await s.asked(ASK)
        service.send(switched() + b"hi")
        assert (await client.head()).status == 101
        client.send(b"hello")
        assert await service.take(5) == b"hello"
        assert lines.lines == []
        service.close()
        await client.ended()
        client.close()
        await s.idle()
        told = lines.only()
        assert (told["status"], told["path"], told["service"]) == (101, "/chat", "a")
        assert (told["bytes_in"], told["bytes_out"], told["reason"]) == (5, 2, None)


@scripted
async def test_a_switch_is_an_answer() -> None:
    """It ends the row of failures after which an origin is left out."""
    async with stage() as s:
        for _ in range(4):
            client, service, _ = await s.asked(ASK)
            service.reset()
            assert (await client.message()).status == 502
        await tunnel(s)
        client, service, _ = await s.asked(ASK)
        service.reset()
        assert (await client.message()).status == 502
        assert s.metrics.ejections == {}


@scripted
async def test_a_reader_too_slow_holds_the_writer() -> None:
    """What stands between them is bounded, both ways."""
    async with stage() as s:
        client, service = await tunnel(s)
        for reader, writer in ((client, service), (service, client)):
            reader.transport.pause_reading()
            piece, sent = bytes(1 << 20), 0
            while writer.transport.get_write_buffer_size() < (1 << 22) and sent < 64:
                writer.send(piece)
                sent += 1
                await s.turn()
            assert sent < 64
            reader.transport.resume_reading()
            received = len(reader.received)
            assert len(await reader.take(sent << 20)) == sent << 20 >= received


@scripted
async def test_half_closing_goes_on() -> None:
    """Who has said its last may still listen."""
    async with stage() as s:
        client, service = await tunnel(s)
        client.send(b"bye")
        client.finish()
        assert await service.take(3) == b"bye"
        await service.until(lambda: service.ending == "eof", "the client's end")
        service.send(b"and good night")
        assert await client.take(14) == b"and good night"
        service.finish()
        assert await client.rest() == "eof"


@scripted
async def test_a_reset_goes_on() -> None:
    """A tunnel that breaks on one side ends at once on the other."""
    async with stage() as s:
        client, service = await tunnel(s)
        service.reset()
        await client.ended()
        await s.idle()
        assert s.proxy.tunnels == 0


@scripted
async def test_a_silent_tunnel_ends() -> None:
    """After five minutes without a byte in either direction; any byte starts them again."""
    async with stage() as s:
        client, service = await tunnel(s)
        s.advance(299)
        service.send(b"ping")
        assert await client.take(4) == b"ping"
        s.advance(299)
        client.send(b"pong")
        assert await service.take(4) == b"pong"
        s.advance(301)
        await client.ended()
        await service.ended()


@scripted
async def test_a_peer_that_takes_nothing_cannot_hold_a_closed_tunnel() -> None:
    """Bytes that do not move count as silence; then what is left is given 30 s."""
    async with stage() as s:
        client, service = await tunnel(s)
        service.transport.pause_reading()
        client.send(bytes(1 << 22))
        await s.turn()
        client.reset()
        await client.ended()
        s.advance(301)
        s.advance(31)
        await s.idle()


@scripted
async def test_the_first_byte_of_a_switch_has_a_deadline() -> None:
    """A service that never answers the offer is a 504 like any other."""
    async with stage() as s:
        client, service, _ = await s.asked(ASK)
        s.advance(16)
        assert (await client.message()).reason == "answer_timeout"
        await service.ended()

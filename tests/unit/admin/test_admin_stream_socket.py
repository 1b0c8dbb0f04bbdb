"""The events of ``/ofrep/v1/sse`` over a WebSocket, with real sockets: who listens, what is told, the end."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
from admin_fakes import ANN, FakeControl, stays
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.protocol import State

from understudy.access import Caller, Deed, Role
from understudy.admin import Keyring, create_admin
from understudy.admin import keyring as keyring_module
from understudy.admin.refusal import Refusal
from understudy.admin.request import CALLER
from understudy.admin.stream import Pace
from understudy.admin.stream_socket import StreamSocket
from understudy.app.admin_server import AdminServer
from understudy.config import Rules
from understudy.store import MemoryAccess

HERE = Caller(name="setup", role=Role.ADMIN, origin="127.0.0.1")
REVOKING = Deed(at=1.0, who="another process", origin="", action="token.revoke")
LONG_AGO = 1_767_000_000.0
PAGE = "https://app.example.com"


@dataclass
class House:
    """An admin server on a port, with an admin's and a viewer's token unless it is open."""

    control: FakeControl = field(default_factory=FakeControl)
    store: MemoryAccess = field(default_factory=MemoryAccess)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    offset: float = 0.0
    port: int = 0
    admin: str = ""
    viewer: str = ""

    def __post_init__(self) -> None:
        self.keyring = Keyring(self.store, tokens=(), clock=lambda: time.time() + self.offset)
        self.control.succession.put(version=7, rules=Rules(), at=LONG_AGO)

    async def make_tokens(self) -> None:
        """The admin's first."""
        _, self.admin = await self.keyring.create(name="root", role=Role.ADMIN, expires_at=0.0, by=HERE)
        _, self.viewer = await self.keyring.create(
            name="page", role=Role.VIEWER, expires_at=time.time() + 3600, by=HERE
        )

    def turn(self, version: int) -> None:
        """Rules *version* come into force."""
        self.control.succession.put(version=version, rules=Rules(), at=LONG_AGO)

    def socket(self, query: str = "", *, token: str = "", name: str = "localhost", **headers: str) -> connect:
        """A client that shows *token* in its handshake, and knows the server as *name*."""
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"ws://{name}:{self.port}/api/v1/stream{query}"
        return connect(
            url,
            additional_headers=headers | shown,
            proxy=None,
            open_timeout=60,
            host="127.0.0.1",
            port=self.port,
        )


@asynccontextmanager
async def served(house: House) -> AsyncIterator[House]:
    """*house* on a port of its own."""
    app = create_admin(house.control, keyring=house.keyring, stopping=house.stopping, origins=[PAGE])
    server = AdminServer(app)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        house.port = listening.getsockname()[1]
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(sockets=[listening]))
            try:
                yield house
            finally:
                house.stopping.set()
                server.should_exit = True
                async with asyncio.timeout(60):
                    await serving


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """With tokens."""
    made = House()
    await made.make_tokens()
    async with served(made):
        yield made


async def heard(client: ClientConnection) -> dict[str, Any]:
    """The next event."""
    async with asyncio.timeout(60):
        found: dict[str, Any] = orjson.loads(await client.recv())
    return found


async def closed(client: ClientConnection) -> tuple[int, str]:
    """Code and reason of the close that comes next."""
    with pytest.raises(ConnectionClosed) as caught:
        async with asyncio.timeout(60):
            await client.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def test_a_turn_is_told_under_the_id_that_the_other_stream_gives_it(house: House) -> None:
    """Version as id, the data of the server-sent event, as JSON text."""
    async with house.socket(token=house.viewer) as client:
        house.turn(8)
        event = await heard(client)

    data = {"type": "refetchEvaluation", "etag": '"8"', "lastModified": int(LONG_AGO)}
    assert event == {"id": "8", "event": "message", "data": data}


async def test_what_was_missed_is_told_by_query_and_by_first_message(house: House) -> None:
    """``last_event_id`` 6 of 7, 8, 9 that are remembered is unknown: the newest; 7: both after it."""
    house.turn(8)
    house.turn(9)
    async with house.socket("?last_event_id=7", token=house.viewer) as client:
        assert [(await heard(client))["id"] for _ in range(2)] == ["8", "9"]
    async with house.socket(token=house.viewer) as client:
        await client.send('{"last_event_id": "8"}')
        assert (await heard(client))["id"] == "9"
    async with house.socket("?last_event_id=6", token=house.viewer) as client:
        assert (await heard(client))["id"] == "9"


async def test_a_page_shows_its_token_in_the_first_message(house: House) -> None:
    """Browsers set no headers on WebSockets; the origin must be one of those that are named."""
    async with house.socket(Origin=PAGE) as client:
        await client.send(orjson.dumps({"token": house.viewer, "last_event_id": "0"}).decode())
        assert (await heard(client))["id"] == "7"


@pytest.mark.parametrize(
    "first",
    ['{"token": "ust_000000000000_' + "A" * 43 + '"}', '{"token": 7}', "{}", "no JSON", '{"tokn": ""}', "[]"],
)
async def test_a_wrong_first_message_is_the_last(house: House, first: str) -> None:
    """1008, and not one event before it."""
    house.turn(8)
    async with house.socket("?last_event_id=7") as client:
        await client.send(first)
        assert (await closed(client))[0] == 1008


async def test_a_wrong_token_or_a_strange_page_is_refused_in_the_handshake(house: House) -> None:
    """401 and 403 as everywhere else; a token in the address counts for nothing."""
    for headers, status in (
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Origin": "https://evil.example", "Authorization": f"Bearer {house.viewer}"}, 403),
        ({"name": "evil.example", "Authorization": f"Bearer {house.viewer}"}, 421),
    ):
        with pytest.raises(InvalidStatus) as caught:
            async with house.socket(**headers):
                pass
        assert caught.value.response.status_code == status


async def test_a_second_message_ends_it(house: House) -> None:
    """The stream only tells; who talks on costs more than it should."""
    async with house.socket(token=house.viewer) as client:
        await client.send('{"last_event_id": "7"}')
        await client.send('{"last_event_id": "7"}')
        assert (await closed(client))[0] == 1008


async def test_a_revoked_token_ends_its_streams_at_once_and_no_others(house: House) -> None:
    """WebSocket and server-sent events alike."""
    selector = house.viewer.split("_")[1]
    url = f"http://127.0.0.1:{house.port}/ofrep/v1/sse"
    shown = {"Authorization": f"Bearer {house.viewer}"}
    async with (
        house.socket(token=house.viewer) as client,
        house.socket(token=house.admin) as other,
        httpx.AsyncClient() as http,
        http.stream("GET", url, headers=shown) as stream,
    ):
        began = time.monotonic()
        await house.keyring.revoke(selector, by=HERE)
        assert await closed(client) == (1008, "the token is revoked or has expired")
        async with asyncio.timeout(60):
            async for _ in stream.aiter_bytes():
                pass
        assert time.monotonic() - began < 30
        house.turn(8)
        assert (await heard(other))["id"] == "8"


async def test_what_another_process_revokes_ends_when_the_tokens_are_read_again(house: House) -> None:
    """Which happens every four seconds."""
    async with house.socket(token=house.viewer) as client:
        await house.store.revoke_token(house.viewer.split("_")[1], deed=REVOKING)
        await house.keyring.refresh()
        assert (await closed(client))[0] == 1008


async def test_an_expired_token_ends_its_streams(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is moved beyond its end; the stream looks every now and then."""
    monkeypatch.setattr(keyring_module, "LOOKED_SECONDS", 0.05)
    async with house.socket(token=house.viewer) as client:
        house.offset = 4000.0
        assert (await closed(client))[0] == 1008


async def test_the_first_token_ends_the_streams_of_who_showed_none() -> None:
    """From then on everybody needs one."""
    async with served(House()) as house, house.socket("?last_event_id=0") as client:
        assert (await heard(client))["id"] == "7"
        await house.make_tokens()
        assert (await closed(client))[0] == 1008


async def test_the_streams_end_with_the_process(house: House) -> None:
    """1001, so that a client knows it may come back."""
    async with house.socket(token=house.viewer) as client:
        house.stopping.set()
        assert (await closed(client))[0] == 1001


async def test_without_an_upgrade_it_says_what_it_is(house: House) -> None:
    """426, with the way out."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {house.viewer}"}) as http:
        answer = await http.get(f"http://127.0.0.1:{house.port}/api/v1/stream")

    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert "/ofrep/v1/sse" in answer.json()["detail"]


async def test_one_that_takes_nothing_is_cut_and_counted() -> None:
    """1013 after the patience of the pace; its place is free again."""
    control = FakeControl()
    control.succession.put(version=7, rules=Rules(), at=LONG_AGO)
    pace = Pace(every_seconds=0.01, heartbeat_seconds=60.0, send_seconds=0.05)
    stream, sent = StreamSocket(control, ended=stays, pace=pace), asyncio.Queue[Any]()

    async def receive() -> dict[str, Any]:
        if sent.empty():
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        sent.put_nowait(message)
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()

    scope = {
        CALLER: ANN,
        "type": "websocket",
        "path": "/api/v1/stream",
        "headers": [],
        "query_string": b"last_event_id=0",
    }
    async with asyncio.timeout(60):
        await stream.listen(WebSocket(scope, receive, send))

    assert [sent.get_nowait()["type"] for _ in range(2)] == ["websocket.accept", "websocket.send"]
    assert sent.get_nowait()["code"] == 1013
    assert (stream.room.dropped, stream.room.listeners) == (1, 0)


async def test_one_too_many_is_sent_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 in the handshake; 1013 to one whose token came in the first message."""
    monkeypatch.setattr("understudy.admin.stream_socket.Room.check", refuse)
    with pytest.raises(InvalidStatus) as caught:
        async with house.socket(token=house.viewer):
            pass
    assert caught.value.response.status_code == 503
    async with house.socket() as client:
        await client.send(orjson.dumps({"token": house.viewer}).decode())
        assert (await closed(client))[0] == 1013


async def test_one_caller_cannot_take_every_place() -> None:
    """A token has so many sockets from one address; the others still come in, and places are given back."""
    house = House()
    async with served(house):
        await house.make_tokens()
        async with AsyncExitStack() as held:
            for _ in range(100):
                await held.enter_async_context(house.socket(token=house.viewer))
            with pytest.raises(InvalidStatus) as caught:
                async with house.socket(token=house.viewer):
                    pass
            async with house.socket(token=house.admin) as other:
                assert other.state is State.OPEN
        async with house.socket(token=house.viewer) as again:
            assert again.state is State.OPEN

    refused = caught.value.response
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
    assert "token and address" in orjson.loads(refused.body or b"")["detail"]


def refuse(_room: object, _caller: Caller) -> None:
    """There is no room."""
    raise Refusal(503, "full", headers={"Retry-After": "30"})

"""flagd's gRPC sync, asked by a client of grpcio's own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import orjson
import pytest
from admin_fakes import FakeControl
from hypothesis import given, settings
from hypothesis import strategies as st
from store_servers import free_port

from understudy.access import Caller, Role
from understudy.admin.keyring import Keyring
from understudy.admin.sync_grpc import SERVICE, SyncServer, text_field
from understudy.config import parse_rules
from understudy.errors import UnderstudyError
from understudy.store import MemoryAccess

FLAG = {"variants": {"on": True, "off": False}, "defaultVariant": "on"}


def put(control: FakeControl, version: int, **more: Any) -> None:
    """Two flags in two flag sets are in force."""
    flags = {
        "web": {**FLAG, "metadata": {"flagSetId": "web"}},
        "app": {**FLAG, "metadata": {"flagSetId": "app"}},
    }
    control.succession.put(
        version=version, rules=parse_rules({"flags": flags, **more}, services=()), at=1_767_000_000.0
    )


@pytest.fixture
def control() -> FakeControl:
    """What is served."""
    made = FakeControl()
    put(made, 1)
    return made


def free_address() -> str:
    """An address that is for this test alone."""
    return f"127.0.0.1:{free_port()}"


def open_keyring() -> Keyring:
    """No token was made yet."""
    return Keyring(MemoryAccess(), tokens=())


@pytest.fixture
async def server(control: FakeControl) -> AsyncIterator[SyncServer]:
    """A server that listens."""
    made = SyncServer(control, address=free_address(), keyring=open_keyring())
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def channel(server: SyncServer) -> AsyncIterator[grpc.aio.Channel]:
    """A client's connection to it."""
    async with grpc.aio.insecure_channel(server.address) as made:
        yield made


def flags(message: bytes) -> dict[str, Any]:
    """The flags in an answer."""
    found: dict[str, Any] = orjson.loads(text_field(message, 1))["flags"]
    return found


async def fetch(channel: grpc.aio.Channel, request: bytes = b"", chosen: str = "") -> dict[str, Any]:
    """The flags that `FetchAllFlags` answers."""
    ask = channel.unary_unary(f"/{SERVICE}/FetchAllFlags")
    return flags(await ask(request, metadata=(("flagd-selector", chosen),), timeout=60))


async def test_a_stream_has_the_definition_and_every_next_one(
    control: FakeControl, channel: grpc.aio.Channel
) -> None:
    """The first at once, the next when the rules turn."""
    stream = channel.unary_stream(f"/{SERVICE}/SyncFlags")(b"", timeout=60)
    first = flags(await stream.read())
    put(control, 2, killed=["web"])
    second = flags(await stream.read())
    stream.cancel()

    assert list(first) == ["web", "app"]
    assert first["web"] == {"state": "ENABLED", **FLAG, "metadata": {"flagSetId": "web"}}
    assert second["web"]["metadata"] == {"flagSetId": "web", "killed": True}


async def test_a_flag_set_is_chosen_by_field_or_request(channel: grpc.aio.Channel) -> None:
    """Newer clients say it in their metadata, older ones in the message (field 2); the metadata counts."""
    old = b"\x0a\x02me\x12\x0dflagSetId=app"

    assert list(await fetch(channel, old)) == ["app"]
    assert list(await fetch(channel, chosen="flagSetId=web")) == ["web"]
    assert list(await fetch(channel, old, chosen="web")) == ["web"]
    assert await fetch(channel, chosen="ios") == {}


@pytest.mark.parametrize(
    "request_bytes", [b"\xff\xff\xff\xff\xff\xff", b"\x08\x01", b"\x12\x0da=b=c", b"\x12\x7fx"]
)
async def test_a_strange_request_is_refused(channel: grpc.aio.Channel, request_bytes: bytes) -> None:
    """INVALID_ARGUMENT, and the server goes on."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await fetch(channel, request_bytes)

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert list(await fetch(channel)) == ["web", "app"]


async def test_before_the_rules_were_read_a_stream_waits() -> None:
    """It has them as soon as they are there; who fetches is told to come back."""
    control = FakeControl()
    server = SyncServer(control, address=free_address(), keyring=open_keyring())
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream = channel.unary_stream(f"/{SERVICE}/SyncFlags")(b"", timeout=60)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fetch(channel)
        put(control, 1)
        first = flags(await stream.read())
        stream.cancel()
    await server.stop()

    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert list(first) == ["web", "app"]


async def test_streams_end_when_the_process_stops(server: SyncServer, channel: grpc.aio.Channel) -> None:
    """In order, and in bounded time."""
    stream = channel.unary_stream(f"/{SERVICE}/SyncFlags")(b"", timeout=60)
    await stream.read()
    async with asyncio.timeout(60):
        await server.stop()

    assert await stream.read() is grpc.aio.EOF


class Cable:
    """Carries bytes between a client and a server, until it is cut without a word."""

    def __init__(self, to: str) -> None:
        self._host, _, port = to.rpartition(":")
        self._port = int(port)
        self._pipes: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, far_writer]
        async with asyncio.TaskGroup() as tasks:
            self._pipes += [
                tasks.create_task(self._pipe(reader, far_writer)),
                tasks.create_task(self._pipe(far_reader, writer)),
            ]

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    def cut(self) -> None:
        """Both ends stay connected and hear nothing any more."""
        for pipe in self._pipes:
            pipe.cancel()

    def close(self) -> None:
        self.cut()
        for writer in self._writers:
            writer.close()


async def test_a_client_that_vanished_holds_no_place(control: FakeControl) -> None:
    """Nobody closed its connection; it is asked whether it is there, and forgotten."""
    server = SyncServer(control, address=free_address(), keyring=open_keyring(), keepalive_seconds=0.3)
    await server.start()
    cable = Cable(server.address)
    relay = await asyncio.start_server(cable.connect, "127.0.0.1", 0)
    host, port = relay.sockets[0].getsockname()[:2]
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        async with asyncio.timeout(60):
            while not server.streams:
                stream = channel.unary_stream(f"/{SERVICE}/SyncFlags")(b"", timeout=60)
                with suppress(grpc.aio.AioRpcError):  # a slow machine may take too long for the server
                    await stream.read()
            cable.cut()
            while server.streams:
                await asyncio.sleep(0.01)
        stream.cancel()
    cable.close()
    relay.close()
    await server.stop()


async def test_once_there_is_a_token_it_must_be_shown(control: FakeControl) -> None:
    """A viewer's will do; one that is revoked ends its stream at the next turn."""
    keyring = open_keyring()
    server = SyncServer(control, address=free_address(), keyring=keyring)
    await server.start()
    here = Caller(name="here", role=Role.ADMIN)
    await keyring.create(name="boss", role=Role.ADMIN, expires_at=0.0, by=here)
    token, text = await keyring.create(name="app", role=Role.VIEWER, expires_at=0.0, by=here)
    shown = (("authorization", f"Bearer {text}"),)
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fetch(channel)
        stream = channel.unary_stream(f"/{SERVICE}/SyncFlags")(b"", metadata=shown, timeout=60)
        first = flags(await stream.read())
        await keyring.revoke(token.selector, by=here)
        put(control, 2)
        with pytest.raises(grpc.aio.AioRpcError) as revoked:
            await stream.read()
    await server.stop()

    assert refused.value.code() == revoked.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert list(first) == ["web", "app"]


async def test_a_taken_address_is_told() -> None:
    """With the setting that names it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UnderstudyError, match=f"admin.sync: cannot listen at {address}"):
            await SyncServer(FakeControl(), address=address, keyring=open_keyring()).start()


@settings(max_examples=50)
@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    """Never in another way than by ValueError, and never for long."""
    try:
        assert isinstance(text_field(message, 2), str)
    except ValueError:
        pass

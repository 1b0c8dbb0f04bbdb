"""flagd's gRPC sync (`flagd.sync.v1`): providers in other processes follow the definition.

Needs grpcio, the extra ``flagd``. The messages have one text field each, so no code is generated for them.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import unquote

import grpc
import grpc.aio

from understudy.access import Role
from understudy.admin.control import ControlPlane
from understudy.admin.definition import Definitions
from understudy.admin.keyring import Keyring
from understudy.admin.ofrep_request import Unanswerable, selector
from understudy.admin.refusal import Refusal
from understudy.errors import StoreError, UnderstudyError

SERVICE: Final = "flagd.sync.v1.FlagSyncService"
_MOST_STREAMS: Final = 1000
"""As many as may listen to OFREP's events."""
_GRACE_SECONDS: Final = 0.5
_KEEPALIVE_SECONDS: Final = 60.0
"""So often a silent client is asked whether it is there, and so long it may take to say so: gRPC's own two
hours would let clients that vanished hold every place (github.com/grpc/grpc, doc/keepalive.md)."""
_SELECTOR_FIELD: Final = 2
_DENIED: Final = grpc.StatusCode.PERMISSION_DENIED
_STATUS: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_TEXT: Final = 2
"""Protocol Buffers' wire type of text."""


class SyncServer:
    """Serves `SyncFlags` and `FetchAllFlags` at *address*, from the rules in force."""

    def __init__(
        self,
        control: ControlPlane,
        *,
        address: str,
        keyring: Keyring,
        keepalive_seconds: float = _KEEPALIVE_SECONDS,
    ) -> None:
        self._control = control
        self._keepalive_ms = int(keepalive_seconds * 1000)
        self.streams = 0
        """How many clients follow the definition now."""
        self._definitions = Definitions()
        self._keyring = keyring
        self.address = address
        self._stopping = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises: UnderstudyError when the address cannot be bound."""
        keepalive = [
            ("grpc.keepalive_time_ms", self._keepalive_ms),
            ("grpc.keepalive_timeout_ms", self._keepalive_ms),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.http2.ping_timeout_ms", self._keepalive_ms),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
        self._server = grpc.aio.server(maximum_concurrent_rpcs=_MOST_STREAMS, options=keepalive)
        methods = {
            "SyncFlags": grpc.unary_stream_rpc_method_handler(self._sync_flags),
            "FetchAllFlags": grpc.unary_unary_rpc_method_handler(self._fetch_all_flags),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        try:
            bound = self._server.add_insecure_port(self.address)
        except RuntimeError:
            bound = 0
        if not bound:
            raise UnderstudyError(f"admin.sync: cannot listen at {self.address}")
        await self._server.start()

    async def stop(self) -> None:
        """End every stream, in bounded time."""
        self._stopping.set()
        if self._server is not None:
            await self._server.stop(_GRACE_SECONDS)

    async def _sync_flags(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        await self._check(context)
        chosen = await _chosen(request, context)
        succession, told = self._control.succession, 0
        self.streams += 1
        try:
            while await self._turned(told):
                # Each time: a token may have been revoked meanwhile.
                await self._check(context)
                told = succession.serial
                yield self._message(chosen)
        finally:
            self.streams -= 1

    async def _fetch_all_flags(self, request: bytes, context: Any) -> bytes:
        await self._check(context)
        chosen = await _chosen(request, context)
        if self._control.succession.current is None:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, "the rules have not been read from the store yet"
            )
        return self._message(chosen)

    async def _check(self, context: Any) -> None:
        """Abort the call of one who may not view. The token comes in `authorization`, as over HTTP."""
        given = [value for name, value in _fields(context) if name == "authorization"]
        try:
            peer = _peer(context.peer())
            caller = await self._keyring.learning(
                lambda: self._keyring.caller(peer=peer, authorizations=given, session="")
            )
        except Refusal as refusal:
            await context.abort(_STATUS.get(refusal.status, _DENIED), refusal.detail)
        except StoreError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        else:
            role = caller.role_in(self._keyring.environment)
            if role is None or not role.may(Role.VIEWER):
                await context.abort(_DENIED, f"{caller.name} may not view")

    async def _turned(self, serial: int) -> bool:
        """Wait for a turn after *serial*; False when the process stops instead."""
        async with asyncio.TaskGroup() as tasks:
            waits = [
                tasks.create_task(self._control.succession.turn(serial)),
                tasks.create_task(_until(self._stopping)),
            ]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        return not self._stopping.is_set()

    def _message(self, chosen: str) -> bytes:
        current = self._control.succession.current
        body = b'{"flags":{}}' if current is None else self._definitions.of(current, chosen).body
        return b"\x0a" + _varint(len(body)) + body


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _fields(context: Any) -> list[tuple[str, str]]:
    """The metadata of a call that is text."""
    return [(name, value) for name, value in context.invocation_metadata() or () if isinstance(value, str)]


def _peer(name: str) -> str:
    """The address in gRPC's name of a peer, ``ipv4:127.0.0.1:1234`` or ``ipv6:[::1]:1234``."""
    return unquote(name).partition(":")[2].rpartition(":")[0].strip("[]")


async def _chosen(request: bytes, context: Any) -> str:
    """The flag set that the caller's metadata names, or its request as older clients have it."""
    fields = dict(_fields(context))
    try:
        return selector(fields.get("flagd-selector") or text_field(request, _SELECTOR_FIELD))
    except (Unanswerable, ValueError) as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise


def text_field(message: bytes, number: int) -> str:
    """The last text under field *number* of a message that has only texts; empty without one.

    Raises: ValueError when *message* is none such.
    """
    found, position = b"", 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        length, position = _read_varint(message, position)
        if tag & 7 != _TEXT or position + length > len(message):
            raise ValueError("the request is not of flagd.sync.v1")
        if tag >> 3 == number:
            found = message[position : position + length]
        position += length
    return found.decode("utf-8", "replace")


def _varint(number: int) -> bytes:
    """*number* as Protocol Buffers write it: seven bits a byte, the lowest first."""
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    """A number at *position*, and where it ends."""
    number = 0
    for shift in range(0, 35, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise ValueError("the request is not of flagd.sync.v1")

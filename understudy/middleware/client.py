"""aiohttp as the client of copies, with its conveniences turned off: it says and tells what stands there.

No cookies are kept, nothing is decompressed, redirected, quoted anew or taken from the environment, no field
is added, and bounds are the mirror's own: it asks through a `DelegatePool`, as it asks everybody.
"""

from itertools import cycle
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from understudy.config import Service, client_context
from understudy.forwarding import CONNECTION, CONTENT_LENGTH, HOP_KINDS, PASS, connection_options, kind_of
from understudy.upstream import Caller, DelegateConnection, Origin

HEADER_BYTES: Final = 32 * 1024
"""Of one field, as of all with the proxy's own client."""

BUFFER_BYTES: Final = 64 * 1024

ADDED: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
"""What aiohttp says by itself where nothing is said."""


class Session:
    """A `Delegate` that asks *service* through aiohttp. To be made in an event loop, and closed in it."""

    def __init__(self, service: Service) -> None:
        origins = [Origin(url, tls=service.tls) for url in service.all_origins]
        self._sessions = [_session(origin, service) for origin in origins]
        self._turns = cycle(zip(self._sessions, [_base(origin) for origin in origins], strict=True))

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions:
            await session.close()

    async def __call__(self, connection: DelegateConnection, caller: Caller, wire: bytes) -> None:
        del caller  # the connection knows whom to tell
        session, base = next(self._turns)
        try:
            method, url, headers, body = read_wire(base, wire)
        except ValueError:
            connection.lost("unsendable")
            return
        try:
            async with session.request(
                method,
                url,
                headers=headers,
                data=body or None,
                allow_redirects=False,
                skip_auto_headers=ADDED,
            ) as answer:
                await tell(connection, answer)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            connection.lost(reason_of(error))


async def tell(connection: DelegateConnection, answer: aiohttp.ClientResponse) -> None:
    """Tell *answer* as it comes."""
    if answer.status == 101:
        connection.lost("unasked_upgrade")
        return
    headers = end_to_end(answer.raw_headers)
    length = answer.content_length
    connection.answer(answer.status, headers, -1 if length is None else length)
    async for piece in answer.content.iter_any():
        connection.data(piece)
        if not connection.is_wanted:
            return
    connection.end()


def end_to_end(headers: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
    """The fields that are not of this hop, as the proxy's own client keeps them."""
    kinds = [(kind_of(name), name, value) for name, value in headers]
    named = {o for kind, _, value in kinds if kind == CONNECTION for o in connection_options(value)}
    return [
        (name, value)
        for kind, name, value in kinds
        if kind in (PASS, CONTENT_LENGTH) or (kind not in HOP_KINDS and name.lower() not in named)
    ]


def read_wire(base: str, wire: bytes) -> tuple[str, URL, CIMultiDict[str], bytes]:
    """Method, URL, fields and body of a request as it would be written. Raises ValueError when that cannot be
    said through aiohttp: fields that are no UTF-8, the target ``*``."""
    head, _, body = wire.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    method, target, _ = start.decode("latin-1").split(" ")
    if not target.startswith("/"):
        raise ValueError("a target that is no path")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, _, value = line.partition(b":")
        headers.add(name.decode(), value.strip(b" \t").decode())
    return method, URL(base + target, encoded=True), headers, body


def reason_of(error: Exception) -> str:
    """The label for why there is no answer, as the proxy's own client names it."""
    match error:
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return "connect_timeout"  # the only deadline that aiohttp is given
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "tls_failed"
        case aiohttp.ClientConnectorError():
            return "connect_refused"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return "closed"
        case aiohttp.ClientResponseError():
            return "bad_answer"
        case aiohttp.ClientOSError() | OSError():
            return "reset"
        case UnicodeEncodeError():
            return "unsendable"
    return "bad_answer"


def _session(origin: Origin, service: Service) -> aiohttp.ClientSession:
    connector: aiohttp.BaseConnector
    idle = service.pool_idle
    # limit=0: the room of the service bounds how many there are.
    if origin.path:
        connector = aiohttp.UnixConnector(path=origin.path, limit=0, keepalive_timeout=idle)
    elif origin.tls is None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=idle)
    else:
        context = client_context(origin.tls)
        connector = aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=idle)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        requote_redirect_url=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=service.connect_timeout),
        read_bufsize=BUFFER_BYTES,
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
    )


def _base(origin: Origin) -> str:
    return "http://localhost" if origin.path else origin.url

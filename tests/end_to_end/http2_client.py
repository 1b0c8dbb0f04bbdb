"""An HTTP/2 client that does as it is told: leaves in the middle, reads late, ends with trailers."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
from servers import ANSWER_SECONDS

Fields = Sequence[tuple[str, str]]

HOST = "shop.example"


class Gone(Exception):
    """The stream was reset, with this error code; or the connection ended (None)."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        super().__init__("the connection ended" if code is None else f"reset: {h2.errors.ErrorCodes(code)!r}")


class Stream:
    """One request on a connection, and what came of its answer."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.status = 0
        self.fields: dict[str, str] = {}
        self.hints: list[dict[str, str]] = []
        self.trailers: dict[str, str] = {}
        self.pushed: list[Stream] = []
        self.body = b""
        self.is_whole = False
        self.gone: Gone | None = None
        self.takes = True
        """Whether the server may send more than the first window."""
        self.owed = 0
        """What was not taken, of the window that all streams share."""
        self._news = asyncio.Event()

    def tell(self) -> None:
        """Something changed."""
        self._news.set()

    async def until_head(self) -> int:
        """The status, once it has come. Raises `Gone`, TimeoutError."""
        await self._until(lambda: bool(self.status))
        return self.status

    async def until_body(self, size: int) -> bytes:
        """What has come, once that is *size* bytes. Raises `Gone`, TimeoutError."""
        await self._until(lambda: len(self.body) >= size)
        return self.body

    async def whole(self) -> "Stream":
        """Itself, once the answer has ended. Raises `Gone`, TimeoutError."""
        await self._until(lambda: self.is_whole)
        return self

    async def _until(self, told: Callable[[], bool]) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            while not told():
                if self.gone is not None:
                    raise self.gone
                self._news.clear()
                await self._news.wait()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, scheme: str) -> None:
        self.streams: dict[int, Stream] = {}
        self._reader = reader
        self._writer = writer
        self._scheme = scheme
        config = h2.config.H2Configuration(header_encoding="latin-1")
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._window = asyncio.Event()
        self._flush()

    def open(self, method: str, path: str, fields: Fields = (), *, has_body: bool = False) -> Stream:
        """Ask; the body, if any, is to be sent."""
        number = self._h2.get_next_available_stream_id()
        stream = self.streams[number] = Stream(number)
        start = [(":method", method), (":path", path), (":scheme", self._scheme), (":authority", HOST)]
        self._h2.send_headers(number, [*start, *fields], end_stream=not has_body)
        self._flush()
        return stream

    async def send(self, stream: Stream, data: bytes, *, is_last: bool = False) -> None:
        """A piece of the request's body, as the server lets it."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while data:
                while not (room := self._h2.local_flow_control_window(stream.number)):
                    self._window.clear()
                    await self._window.wait()
                size = min(room, len(data), self._h2.max_outbound_frame_size)
                self._h2.send_data(stream.number, data[:size])
                data = data[size:]
                self._flush()
        if is_last:
            self._h2.end_stream(stream.number)
            self._flush()

    def end_with(self, stream: Stream, trailers: Fields) -> None:
        """End the request's body with trailers."""
        self._h2.send_headers(stream.number, list(trailers), end_stream=True)
        self._flush()

    def reset(self, stream: Stream) -> None:
        """Leave one request, and give back what it held of the connection's window."""
        self._h2.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)
        if stream.owed:
            self._h2.acknowledge_received_data(stream.owed, stream.number)
            stream.owed = 0
        self._flush()

    def leave(self) -> None:
        """End the connection, without a word."""
        self._writer.transport.abort()

    async def run(self) -> None:
        """Take what comes, until the connection ends."""
        try:
            while data := await self._reader.read(65536):
                for event in self._h2.receive_data(data):
                    self._take(event)
                self._flush()
        except ConnectionError:
            pass
        finally:
            for stream in self.streams.values():
                stream.gone = stream.gone or Gone(None)
                stream.tell()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            self._window.set()
        number = getattr(event, "stream_id", 0) or getattr(event, "parent_stream_id", 0)
        stream = self.streams.get(number or 0)
        if stream is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            stream.fields = fields_of(event.headers)
            stream.status = int(stream.fields.pop(":status"))
        elif isinstance(event, h2.events.InformationalResponseReceived):
            stream.hints.append(fields_of(event.headers))
        elif isinstance(event, h2.events.PushedStreamReceived):
            pushed = Stream(event.pushed_stream_id or 0)
            self.streams[pushed.number] = pushed
            stream.pushed.append(pushed)
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            if not stream.takes:
                stream.owed += event.flow_controlled_length
            elif event.flow_controlled_length:
                self._h2.acknowledge_received_data(event.flow_controlled_length, stream.number)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = fields_of(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            stream.is_whole = True
        elif isinstance(event, h2.events.StreamReset):
            stream.gone = Gone(int(event.error_code))
        stream.tell()

    def _flush(self) -> None:
        if not self._writer.is_closing():
            self._writer.write(self._h2.data_to_send())


@contextlib.asynccontextmanager
async def connected(port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    """A connection to 127.0.0.1, by prior knowledge or, with *tls*, by ALPN."""
    name = None if tls is None else "localhost"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    if tls is not None:
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    client = Client(reader, writer, "http" if tls is None else "https")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(client.run())
        try:
            yield client
        finally:
            running.cancel()
            writer.transport.abort()


def fields_of(headers: Iterable[Any]) -> dict[str, str]:
    """The fields of a head, of which the last of a name counts."""
    return dict(headers)

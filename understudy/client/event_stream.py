"""Server-sent events, as bytes come (HTML Living Standard, 9.2.6).

Nothing a server sends takes much memory.
"""

from dataclasses import dataclass

from understudy.client.trouble import StreamTrouble

MOST_BYTES = 64 * 1024
"""Of a line, and of one event's data. An event of the server has about 150 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One event; ``id`` is the last one that the stream named."""

    id: str
    data: str


class EventStream:
    """Gives the events in the bytes that are fed, however those are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._is_first = True
        self._data: list[str] = []
        self._size = 0
        self._id = ""

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """The events that *chunk* completes. Raises: StreamTrouble when a line or an event is too long."""
        if self._after_cr and chunk:
            chunk, self._after_cr = chunk.removeprefix(b"\n"), False
        self._after_cr = self._after_cr or chunk.endswith(b"\r")
        lines = (self._rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MOST_BYTES:
            raise StreamTrouble("the stream of changes has a line that does not end")
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: bytes) -> StreamEvent | None:
        if self._is_first:
            line, self._is_first = line.removeprefix(b"\xef\xbb\xbf"), False
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._add(text)
        elif name == b"id" and "\0" not in text:
            self._id = text[:64]
        return None

    def _add(self, text: str) -> None:
        self._size += len(text)
        if self._size > MOST_BYTES or len(self._data) > 1000:
            raise StreamTrouble("the stream of changes has an event that does not end")
        self._data.append(text)

    def _dispatch(self) -> StreamEvent | None:
        data, self._data, self._size = self._data, [], 0
        return StreamEvent(id=self._id, data="\n".join(data)) if data else None

"""What a WSGI application reads and what it answers, kept aside as it passes, up to a cap.

Nothing is read for the copy's sake, and nothing that a server or an application relies on changes: how much
is read at once, what ``len`` says of an answer, ``close`` exactly once, exceptions as they are raised.
"""

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, Protocol

from understudy.forwarding import HOP_BY_HOP
from understudy.middleware.inner import UNSEEN

Write = Callable[[bytes], object]
ExcInfo = Any
StartResponse = Callable[..., Write]
App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

NOT_COMPARED = UNSEEN | HOP_BY_HOP


class Pieces:
    """A body up to a little more than *cap* bytes, and how long the whole was."""

    __slots__ = ("_cap", "kept", "length")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self.kept: list[bytes] = []
        self.length = 0

    @property
    def held(self) -> int:
        """How many bytes are kept."""
        return min(self.length, self._cap + 1)

    def add(self, data: bytes) -> None:
        """The body goes on with *data*."""
        room = self._cap + 1 - self.length  # one more byte tells that there are too many
        self.length += len(data)
        if room > 0 and data:
            self.kept.append(bytes(data[:room]))


class Input:
    """``wsgi.input`` as the application reads it. ``is_whole``: it has read all, from front to back."""

    def __init__(self, source: Any, pieces: Pieces, *, length: int | None) -> None:
        self._source = source
        self._pieces = pieces
        self._length = length
        self._is_in_order = True
        self.is_whole = length == 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._source, name)
        return self._read1 if name == "read1" else found

    def read(self, *size: Any) -> bytes:
        data: bytes = self._source.read(*size)
        wanted = size[0] if size else None
        self._pass(data, is_last=(not data and wanted != 0) or wanted is None or wanted < 0)
        return data

    def _read1(self, *size: Any) -> bytes:
        data: bytes = self._source.read1(*size)
        self._pass(data, is_last=not data and (not size or size[0] != 0))
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readline(self, *size: Any) -> bytes:
        data: bytes = self._source.readline(*size)
        self._pass(data, is_last=not data and (not size or size[0] != 0))
        return data

    def readlines(self, *hint: Any) -> list[bytes]:
        lines: list[bytes] = self._source.readlines(*hint)
        self._pass(b"".join(lines), is_last=not hint or hint[0] in (None, 0, -1))
        return lines

    def seek(self, *place: Any) -> Any:
        """Where the server allows it; what comes then is not known to be the rest."""
        self._is_in_order = False
        return self._source.seek(*place)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _pass(self, data: bytes, *, is_last: bool) -> None:
        if not self._is_in_order:
            return
        if self.is_whole:
            # Read once more, by who may; of what was not read before, the client's word is not true.
            self.is_whole = self._length is None or not data
            self._is_in_order = self.is_whole
            return
        self._pieces.add(data)
        self.is_whole = is_last if self._length is None else self._pieces.length == self._length


class Witness(Protocol):
    """Who is told how a request ended."""

    def ended(self, reason: str) -> None:
        """Exactly once: *reason* is empty for a whole answer."""


class Tee:
    """Stands between an application and its server for one answer."""

    __slots__ = ("_body", "_is_head", "_is_over", "_start", "_witness", "headers", "last_at", "status")

    def __init__(self, start: StartResponse, body: Pieces, witness: Witness, *, is_head: bool) -> None:
        self._start = start
        self._body = body
        self._witness = witness
        self._is_head = is_head
        self._is_over = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.last_at = 0.0
        """When the application last gave something."""

    def start_response(self, status: str, headers: list[tuple[str, str]], *exc_info: ExcInfo) -> Write:
        write = self._start(status, headers, *exc_info)  # a server may refuse it, and raise
        try:
            self.status, self.headers = read_start(status, headers)
        except Exception:  # noqa: BLE001  what the server took is answered, whatever it is to us
            self.end("unreadable_answer")

        def tell(data: bytes) -> None:
            self.passed(data)
            write(data)

        return tell

    def passed(self, data: bytes) -> None:
        """The answer goes on with *data*."""
        self.last_at = perf_counter()
        if not self._is_head and not self._is_over:
            try:
                self._body.add(data)
            except Exception:  # noqa: BLE001  no bytes: the server says what it thinks of that
                self.end("unreadable_answer")

    def end(self, reason: str) -> None:
        """The answer is whole, or *reason* says why it will not be."""
        if not self._is_over:
            self._is_over = True
            self._witness.ended(reason)


def read_start(status: str, headers: list[tuple[str, str]]) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Status and compared fields of what an application starts its answer with."""
    compared = []
    for name, value in headers:
        lower = name.lower().encode("latin-1", "replace")
        if lower not in NOT_COMPARED:
            compared.append((lower, str(value).encode("latin-1", "replace")))
    return status_of(status), compared


def status_of(line: str) -> int:
    """The number in a status line; 0 when there is none."""
    code = line[:3]
    return int(code) if code.isascii() and code.isdigit() else 0


class TeedAnswer:
    """What the application returned, as the server iterates it. It is asked for nothing before that."""

    __slots__ = ("_answer", "_close", "_items", "_tee")

    def __init__(self, answer: Iterable[bytes], tee: Tee) -> None:
        self._close: Callable[[], object] | None = getattr(answer, "close", None)
        self._tee = tee
        self._answer = answer
        self._items: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        tee = self._tee
        try:
            if self._items is None:
                self._items = iter(self._answer)
            item = next(self._items)
        except StopIteration:
            tee.end("")
            raise
        except BaseException:
            tee.end("primary_failed")
            raise
        tee.passed(item)
        return item

    def close(self) -> None:
        """The server is done. What was not whole until now is not."""
        close, self._close = self._close, None
        try:
            if close is not None:
                close()
        finally:
            self._tee.end("client_aborted")


class SizedTeedAnswer(TeedAnswer):
    """One of which servers may ask the length: of one piece they make a Content-Length."""

    __slots__ = ("_length",)

    def __init__(self, answer: Any, tee: Tee) -> None:
        super().__init__(answer, tee)
        self._length = len(answer)

    def __len__(self) -> int:
        return self._length


def teed(answer: Iterable[bytes], tee: Tee) -> TeedAnswer:
    """*answer*, told to *tee* as it goes."""
    return SizedTeedAnswer(answer, tee) if hasattr(answer, "__len__") else TeedAnswer(answer, tee)

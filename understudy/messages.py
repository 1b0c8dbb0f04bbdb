"""The values that pass between the parts: what was asked and what was answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

Headers = Sequence[tuple[bytes, bytes]]
"""Fields in the order they came, names as spelled on the wire, values without outer space."""


class Head(Protocol):
    """What a decision may look at: the head of one request.

    A protocol, not a class, so that the proxy's and the middlewares' own per-request objects serve
    as they are and nothing is copied on the hot path.
    """

    @property
    def method(self) -> str:
        """Upper-case method: ``"GET"``."""

    @property
    def path(self) -> str:
        """Path as it came, undecoded, without the query: ``"/a%20b"``. Latin-1 text."""

    @property
    def query(self) -> str:
        """Query as it came, undecoded, without ``?``; empty when there is none."""

    @property
    def headers(self) -> Headers:
        """All fields of the request."""

    @property
    def host(self) -> str:
        """The Host field, lower case, with the port when one was given."""

    @property
    def client_ip(self) -> str:
        """Textual address of the client; empty when unknown (a Unix socket)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """A plain request head, for `understudy explain`, tests and tools."""

    method: str = "GET"
    path: str = "/"
    query: str = ""
    headers: Headers = ()
    host: str = ""
    client_ip: str = ""


class Answer(NamedTuple):
    """One complete answer, as it came from a service.

    A tuple, because one is made for each side of every unequal pair, and a frozen dataclass costs three
    times as much to make.

    ``body`` holds at most the capped prefix; ``length_bytes`` counts all bytes that came, and
    ``sha256`` (hex, of all bytes) is given when ``length_bytes > len(body)``. Transfer coding
    (chunked) is already removed, content coding (gzip) is not.
    """

    status: int
    headers: Headers
    body: bytes
    length_bytes: int
    sha256: str = ""

    @property
    def is_truncated(self) -> bool:
        """Whether ``body`` is only a prefix."""
        return self.length_bytes > len(self.body)

    def header(self, name: bytes) -> bytes:
        """The first value of lower-case *name*; empty when absent."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return b""


class Asked(NamedTuple):
    """What was asked, for whoever wants to ask it again.

    ``unit`` is the targeting unit (empty: none) and ``unit_at`` where the route finds it (``header:x-user``).
    ``primary`` is the service that answered the client. ``lines`` are the field lines as they went on, joined
    by CRLF; those of credentials have no value. ``body`` is empty when it was longer than is kept, while
    ``body_bytes`` counts all of it.
    """

    unit: str = ""
    unit_at: str = ""
    primary: str = ""
    lines: bytes = b""
    body: bytes = b""
    body_bytes: int = 0


NOTHING_ASKED: Final = Asked()
"""Nobody knows how it was asked."""


class Again(NamedTuple):
    """The answers to the same request, asked of all sides once more."""

    primary: Answer
    shadow: Answer
    control: Answer | None


class Pair(NamedTuple):
    """One answered copy that is not byte-equal, on its way to the comparators.

    ``again`` holds the second answers when they were asked for and came; ``unconfirmed`` says why they did
    not. Neither is set when nobody asked twice.
    """

    service: str
    endpoint: str
    flag: str
    method: str
    path: str
    query: str
    at: float
    primary: Answer
    shadow: Answer
    control: Answer | None
    asked: Asked = NOTHING_ASKED
    again: Again | None = None
    unconfirmed: str = ""


class Taken(NamedTuple):
    """One request with its answer, on its way into a recording; whoever writes it down redacts it.

    ``headers`` are the client's. ``body`` is empty when ``body_bytes`` are more than is kept; the answer's
    body is at most a beginning. ``at`` is Unix time.
    """

    method: str
    host: str
    path: str
    query: str
    at: float
    seconds: float
    unit: str
    unit_at: str
    headers: Headers
    body: bytes
    body_bytes: int
    answer: Answer

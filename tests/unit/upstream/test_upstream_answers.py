"""A head that was read before is recognised only where a parser would have read the same."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.config import Ejection
from understudy.upstream import Health, KnownHeads, UpstreamConnection
from understudy.upstream.answers import CREDIT, LONGEST_HEAD, MOST_HEADS, PAUSE

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n"


class Blind(KnownHeads):
    """Recognises nothing, so that every answer is parsed."""

    def find(self, data: bytes) -> None:
        return None


class Owner:
    """A pool that keeps count of what comes back."""

    def __init__(self, heads: KnownHeads) -> None:
        self.heads = heads
        self.health = Health("o", eject=Ejection(), clock=lambda: 0.0, on_change=lambda _: None)
        self.released = 0

    def release(self, connection: UpstreamConnection) -> None:
        self.released += 1

    def forget(self, connection: UpstreamConnection) -> None:
        pass


@dataclass
class Told:
    """A caller that writes down what it is told."""

    twin: bytes = b""
    said: list[object] = field(default_factory=list)
    raises: BaseException | None = None
    whole: bytes = b""

    def on_twin(self) -> None:
        self.said.append("twin")

    def on_interim(self, connection: UpstreamConnection) -> None:
        self.said.append(("interim", connection.status))

    def on_switch(self, connection: UpstreamConnection, rest: bytes) -> bool:
        return False

    def on_answer(self, connection: UpstreamConnection) -> None:
        self.said.append((connection.status, connection.reason, list(connection.headers), connection.length))
        if self.raises is not None:
            raise self.raises

    def on_data(self, data: bytes) -> None:
        self.said.append(("data", bytes(data)))

    def on_complete(self) -> None:
        self.said.append("complete")

    def on_flush(self) -> None:
        self.said.append("flush")

    def on_lost(self, reason: str, *, reused: bool) -> None:
        self.said.append(("lost", reason, reused))

    def on_pause(self) -> None:
        pass

    def on_resume(self) -> None:
        pass


class Line:
    """A transport that is open until it is aborted."""

    is_open = True

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return not self.is_open

    def abort(self) -> None:
        self.is_open = False


def connected(heads: KnownHeads) -> tuple[UpstreamConnection, Owner, Line]:
    """A connection of a pool that remembers in *heads*."""
    owner, line = Owner(heads), Line()
    connection = UpstreamConnection(owner, lambda _, data: None)
    connection.connection_made(line)  # type: ignore[arg-type]  # as much of a transport as is used
    return connection, owner, line


def dialogue(heads: KnownHeads, answers: list[tuple[bytes, bool]]) -> list[object]:
    """What is told of *answers* (bytes, whether to a HEAD), one read each, until the connection ends."""
    connection, owner, line = connected(heads)
    story: list[object] = []
    for data, is_head in answers:
        if not line.is_open:
            break
        told = Told()
        connection.begin(told, is_head=is_head)
        connection.data_received(data)
        story.append((told.said, owner.released, line.is_open))
        if told.said[-1:] in (["flush"], []):
            break
    return story


ANSWERS = (
    HEAD + b"ab",
    HEAD + b"cd",
    HEAD + b"a",
    HEAD + b"abc",
    HEAD + b"ab" + HEAD + b"ab",
    HEAD,
    b"\r\n" + HEAD + b"ab",
    HEAD.replace(b"200 OK", b"503 No") + b"ab",
    HEAD.replace(b"200 OK", b"404") + b"ab",
    HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"ab",
    HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"ab",
    HEAD.replace(b"\r\n\r\n", b"\r\nConnection: x-a\r\nX-A: 1\r\n\r\n") + b"ab",
    HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"ab",
    b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"ab",
    b"HTTP/1.1 103 Early\r\nX: 1\r\n\r\n" + HEAD + b"ab",
    b"HTTP/1.1 204 Nothing\r\n\r\n",
    b"HTTP/1.1 204 Nothing\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
)


@given(st.lists(st.tuples(st.sampled_from(ANSWERS), st.booleans()), max_size=8))
def test_nothing_that_is_told_depends_on_the_memory(answers: list[tuple[bytes, bool]]) -> None:
    """Any answers in any order, some to HEAD: head, pieces, end and what becomes of the connection."""
    heads = KnownHeads()
    dialogue(heads, answers)
    assert dialogue(heads, answers) == dialogue(Blind(), answers)


def test_a_known_head_is_not_parsed_again() -> None:
    """The second answer has the first one's head and its own body."""
    connection, _, _ = connected(KnownHeads())
    for body in (b"ab", b"cd"):
        told = Told()
        connection.begin(told, is_head=False)
        connection.data_received(HEAD + body)
        assert ("data", body) in told.said
    assert connection.known is not None
    assert connection.known.headers == [(b"Content-Type", b"a/b"), (b"Content-Length", b"2")]


@pytest.mark.parametrize(
    ("fault", "reason"), [(ValueError("early"), "bad_answer"), (KeyError("ours"), "internal")]
)
def test_a_caller_that_refuses(fault: Exception, reason: str) -> None:
    """Raising ends the exchange and the connection, as it does inside the parser."""
    connection, _, line = connected(KnownHeads())
    for raises in (None, fault):
        told = Told(raises=raises)
        connection.begin(told, is_head=False)
        connection.data_received(HEAD + b"ab")
    assert told.said[-1] == ("lost", reason, False)
    assert not line.is_open


def learnt(heads: KnownHeads, number: int, *, pad: int = 0) -> bytes:
    """Teach *heads* an answer of its own; its bytes."""
    data = b"HTTP/1.1 200 OK\r\nX: %d%b\r\nContent-Length: 0\r\n\r\n" % (number, b"x" * pad)
    heads.learn(data, status=200, reason=b"OK", headers=[], length=0)
    return data


def test_its_size_is_bounded() -> None:
    """So many heads, none of them long."""
    heads = KnownHeads()
    first = learnt(heads, 0)
    assert heads.find(first) is not None
    for number in range(1, MOST_HEADS + 1):
        last = learnt(heads, number)
    assert heads.find(first) is None
    assert heads.find(last) is not None
    assert heads.find(learnt(heads, 0, pad=LONGEST_HEAD)) is None


def test_an_origin_that_never_repeats_is_left_alone() -> None:
    """For some thousands of answers; then it gets another chance."""
    heads = KnownHeads()
    known = learnt(heads, 0)
    for number in range(1, CREDIT + 1):
        assert heads.find(b"HTTP/1.1 200 OK\r\nX: %d\r\n\r\n" % number) is None
    asked = [heads.find(known) for _ in range(PAUSE + 2)]
    assert asked[0] is None
    assert asked[-1] is not None

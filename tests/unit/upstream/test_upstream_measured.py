"""A measured connection: what is charged, what holding it does, and that it reads as every other one."""

import asyncio
from collections.abc import Iterator

import pytest

from understudy.config import Ejection
from understudy.upstream import Allowance, KnownHeads, UpstreamConnection
from understudy.upstream.allowance import BURST_SECONDS
from understudy.upstream.health import Health
from understudy.upstream.measured import FREE_BYTES, PIECE_BYTES, MeasuredConnection

LONG = 3 * FREE_BYTES
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG


class Line(asyncio.Transport):
    """A transport that is read or not."""

    def __init__(self) -> None:
        super().__init__()
        self._is_read = True
        self.is_open = True

    def reads(self) -> bool:
        """Whether what comes is read."""
        return self._is_read

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return not self.is_open

    def abort(self) -> None:
        self.is_open = False

    def pause_reading(self) -> None:
        self._is_read = False

    def resume_reading(self) -> None:
        assert self.is_open
        self._is_read = True


class Owner:
    """A pool that keeps nothing."""

    def __init__(self) -> None:
        self.heads = KnownHeads()
        self.health = Health("v2", eject=Ejection(), clock=lambda: 0.0, on_change=lambda _: None)
        self.released = 0

    def release(self, connection: UpstreamConnection) -> None:
        self.released += 1

    def forget(self, connection: UpstreamConnection) -> None:
        pass


class Told:
    """A caller that counts the bytes of its answer."""

    twin = b""

    def __init__(self) -> None:
        self.size = 0
        self.is_whole = False

    def on_twin(self) -> None: ...
    def on_interim(self, connection: UpstreamConnection) -> None: ...
    def on_answer(self, connection: UpstreamConnection) -> None: ...
    def on_flush(self) -> None: ...
    def on_lost(self, reason: str, *, reused: bool) -> None: ...
    def on_pause(self) -> None: ...
    def on_resume(self) -> None: ...
    def on_switch(self, connection: UpstreamConnection, rest: bytes, /) -> bool:
        return False

    def on_data(self, data: bytes) -> None:
        self.size += len(data)

    def on_complete(self) -> None:
        self.is_whole = True


class Scene:
    """One measured connection, lent to ``told``, in a loop whose allowance is used up or not."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.allowance = Allowance(loop)
        self.owner = Owner()
        self.line = Line()
        self.connection = MeasuredConnection(self.owner, lambda _, data: None, self.allowance)
        self.connection.connection_made(self.line)
        self.told = Told()
        self.connection.begin(self.told, is_head=False)

    def use_up(self) -> None:
        """Nothing may be read for the next seconds."""
        done = MeasuredConnection(self.owner, lambda _, data: None, self.allowance)
        self.allowance.charge(done, 100 * BURST_SECONDS)

    def let_read(self) -> None:
        """Give the connection turns until it reads again: a slow machine takes several for what has come."""
        while not self.line.reads():
            self.connection.go_on()


@pytest.fixture
def scene() -> Iterator[Scene]:
    """See `Scene`."""
    loop = asyncio.new_event_loop()
    yield Scene(loop)
    loop.close()


def test_a_long_answer_is_held_and_goes_on(scene: Scene) -> None:
    """Nothing of it is lost, and its time is known to say nothing."""
    scene.use_up()
    scene.connection.data_received(HEAD + bytes(2 * FREE_BYTES))
    assert not scene.line.reads()
    scene.let_read()
    scene.connection.data_received(bytes(FREE_BYTES))
    scene.let_read()
    assert (scene.told.size, scene.told.is_whole, scene.owner.released) == (LONG, True, 1)
    assert scene.line.reads()  # what ends an answer holds nobody: the connection is free for the next
    assert scene.connection.was_held
    scene.connection.begin(Told(), is_head=False)
    assert not scene.connection.was_held


def test_the_beginning_of_an_answer_is_free_when_it_is_short(scene: Scene) -> None:
    """Also when nothing may be read; what follows it is charged, however short."""
    scene.use_up()
    scene.connection.data_received(HEAD)
    assert scene.line.reads()
    scene.connection.data_received(b"a")
    assert not scene.line.reads()


def test_a_held_connection_that_is_closed_stays_closed(scene: Scene) -> None:
    """Its turn comes all the same, and does nothing."""
    scene.use_up()
    scene.connection.data_received(HEAD + bytes(2 * FREE_BYTES))
    scene.connection.abandon()
    scene.connection.go_on()
    assert not scene.line.reads()
    scene.connection.connection_lost(None)
    scene.connection.go_on()
    assert not scene.connection.hold()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CRUMBS = 40_000
"""Chunks of one byte, which together take many turns' time."""


def test_one_read_of_many_small_chunks_takes_turns(scene: Scene) -> None:
    """The loop is not held for the whole of it, nothing is lost, and the connection is good for the next."""
    scene.connection.data_received(CHUNKED + b"1\r\nx\r\n" * CRUMBS + b"0\r\n\r\n")
    turns, before = 0, 0
    while not scene.told.is_whole:
        assert not scene.line.reads()
        assert before < scene.told.size < CRUMBS
        before = scene.told.size
        turns += 1
        scene.connection.go_on()
    assert turns > 2
    assert (scene.told.size, scene.owner.released, scene.line.reads()) == (CRUMBS, 1, True)
    assert scene.connection.was_held


@pytest.mark.parametrize("size", [PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_bytes_behind_an_answer_close_the_connection(scene: Scene, size: int) -> None:
    """Also when they stand in another piece of the same read: nobody else may be answered by them."""
    body = size - len(HEAD)
    head = HEAD.replace(b"%d" % LONG, b"%d" % body)
    assert len(head) + body == size
    scene.connection.data_received(head + bytes(body) + b"HTTP/1.1 200 OK\r\n")
    while not scene.told.is_whole and scene.line.is_open:
        scene.connection.go_on()
    assert scene.told.is_whole
    assert (scene.line.is_open, scene.owner.released) == (False, 0)


HUGE = 16 * 1024 * 1024
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "size"),
    [(CLOSING + b"1\r\nx\r\n" * CRUMBS + b"0\r\n\r\n", CRUMBS), (UNTIL_CLOSE + bytes(HUGE), HUGE)],
    ids=["chunked", "until close"],
)
def test_an_end_that_comes_with_the_last_bytes_loses_none(scene: Scene, data: bytes, size: int) -> None:
    """TLS tells the end of a connection in the same turn as what came before it, also when it is held."""
    scene.connection.data_received(data)
    assert scene.told.size < size
    scene.connection.eof_received()
    assert (scene.told.size, scene.told.is_whole, scene.line.is_open) == (size, True, False)


def test_what_waits_its_turn_is_forgotten_with_the_exchange(scene: Scene) -> None:
    """An answer that was given up tells nobody anything any more."""
    scene.connection.data_received(CHUNKED + b"1\r\nx\r\n" * CRUMBS)
    size = scene.told.size
    scene.connection.abandon()
    scene.connection.eof_received()
    scene.connection.go_on()
    assert (scene.told.size, scene.line.reads()) == (size, False)

"""A measured connection: what is charged, what holding it does, and that it reads as every other one."""

import asyncio
from collections.abc import Iterator

import pytest

from understudy.config import Ejection
from understudy.upstream import Allowance, KnownHeads, UpstreamConnection
from understudy.upstream.allowance import BURST_SECONDS
from understudy.upstream.health import Health
from understudy.upstream.measured import FREE_BYTES, MeasuredConnection

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
    scene.connection.go_on()
    assert scene.line.reads()
    scene.connection.data_received(bytes(FREE_BYTES))
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

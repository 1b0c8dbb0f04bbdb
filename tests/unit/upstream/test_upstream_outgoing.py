"""Writes of one turn leave together: primaries first, in order, whatever one transport does."""

import asyncio
from typing import cast

import pytest

from understudy.upstream import Outgoing


class Transport:
    """Writes into a shared log."""

    def __init__(self, name: str, log: list[tuple[str, bytes]], *, is_broken: bool = False) -> None:
        self._name = name
        self._log = log
        self._is_broken = is_broken
        self.is_aborted = False

    def write(self, data: bytes) -> None:
        if self._is_broken:
            raise RuntimeError("the handler is closed")
        self._log.append((self._name, data))

    def abort(self) -> None:
        self.is_aborted = True


class Writer:
    """A connection, lost when its transport is None."""

    def __init__(self, transport: Transport | None) -> None:
        self.transport = cast(asyncio.Transport | None, transport)
        self.is_waiting = False


@pytest.fixture
def log() -> list[tuple[str, bytes]]:
    """What was handed to transports, in order."""
    return []


async def test_copies_go_last(log: list[tuple[str, bytes]]) -> None:
    """In the order of each kind, at the end of the turn."""
    outgoing = Outgoing(asyncio.get_running_loop())
    a, b = Writer(Transport("a", log)), Writer(Transport("b", log))
    outgoing.add_copy(b, b"1")
    outgoing.add(a, b"2")
    outgoing.add_copy(a, b"3")
    outgoing.add(b, b"4")
    assert log == []
    assert [writer.is_waiting for writer in (a, b)] == [True, True]
    await asyncio.sleep(0)
    assert [writer.is_waiting for writer in (a, b)] == [False, False]
    assert log == [("a", b"2"), ("b", b"4"), ("b", b"1"), ("a", b"3")]
    await asyncio.sleep(0)
    assert len(log) == 4


async def test_every_turn_is_flushed(log: list[tuple[str, bytes]]) -> None:
    """Also after a flush by hand, and when only copies wait."""
    outgoing = Outgoing(asyncio.get_running_loop())
    a = Writer(Transport("a", log))
    outgoing.add(a, b"1")
    outgoing.flush()
    assert log == [("a", b"1")]
    outgoing.add_copy(a, b"2")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log == [("a", b"1"), ("a", b"2")]


async def test_a_lost_connection_swallows_its_data(log: list[tuple[str, bytes]]) -> None:
    """Nobody else gets it."""
    outgoing = Outgoing(asyncio.get_running_loop())
    gone, here = Writer(None), Writer(Transport("here", log))
    outgoing.add(gone, b"1")
    outgoing.add(here, b"2")
    outgoing.flush()
    assert log == [("here", b"2")]


async def test_a_transport_that_breaks_harms_only_itself(log: list[tuple[str, bytes]]) -> None:
    """It is aborted; the others' writes leave, in this turn and in the next."""
    outgoing = Outgoing(asyncio.get_running_loop())
    broken = Transport("broken", log, is_broken=True)
    here = Writer(Transport("here", log))
    outgoing.add(Writer(broken), b"1")
    outgoing.add(here, b"2")
    outgoing.flush()
    assert broken.is_aborted
    outgoing.add(here, b"3")
    await asyncio.sleep(0)
    assert log == [("here", b"2"), ("here", b"3")]


async def test_what_has_not_left_can_be_taken_back(log: list[tuple[str, bytes]]) -> None:
    """All of one connection, in order; the others' stays; what has left stays out."""
    outgoing = Outgoing(asyncio.get_running_loop())
    a, b = Writer(Transport("a", log)), Writer(Transport("b", log))
    outgoing.add(a, b"0")
    outgoing.flush()
    for data in (b"1", b"2"):
        outgoing.add(a, data)
        outgoing.add(b, data)
    assert outgoing.take_back(a) == [b"1", b"2"]
    assert outgoing.take_back(a) == []
    outgoing.flush()
    assert log == [("a", b"0"), ("b", b"1"), ("b", b"2")]

"""Work in other threads: what comes of it, and that a thread is free afterwards, whatever it raised."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from understudy.middleware import native
from understudy.middleware.native import Hands
from understudy.middleware.work import in_thread


@pytest.mark.parametrize("error", [SystemExit("no"), KeyboardInterrupt("no"), asyncio.CancelledError("no")])
async def test_what_would_end_a_loop_is_raised_as_an_error(error: BaseException) -> None:
    """And takes no place for ever."""
    hands = Hands(1)

    def work() -> None:
        raise error

    with pytest.raises(RuntimeError, match=f"{type(error).__name__}: no"):
        await asyncio.wait_for(in_thread(hands, work), 60)
    assert await asyncio.wait_for(in_thread(hands, lambda: 7), 60) == 7


async def test_what_nobody_waits_for_is_not_kept() -> None:
    """A thread that hangs for ever does not gather the work of all who gave up behind it."""
    hands, may_go = Hands(1), threading.Event()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_thread(hands, lambda: may_go.wait(120)), 0.02)
    waiting = len(hands)
    may_go.set()
    assert waiting == 0
    assert await asyncio.wait_for(in_thread(hands, lambda: 7), 60) == 7


async def test_a_thread_that_cannot_start_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system has threads again, there is room."""

    def none(work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    hands = Hands(1)
    with monkeypatch.context() as patched:
        patched.setattr(native, "start_thread", none)
        with pytest.raises(RuntimeError, match="start new thread"):
            await in_thread(hands, lambda: 1)
    assert await asyncio.wait_for(in_thread(hands, lambda: 7), 60) == 7

"""Work in other threads: what comes of it, and that a thread is free afterwards, whatever it raised."""

import asyncio

import pytest

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

"""Work in another thread that a loop awaits, or gives up; work in a loop that another thread waits for."""

import asyncio
import concurrent.futures
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from understudy.middleware.native import Hands

AGAIN_SECONDS: Final = 0.5
"""How long a task may take to clean up before it is cancelled once more."""

T = TypeVar("T")


async def in_thread(hands: Hands, work: Callable[[], T]) -> T:
    """What *work* returns or raises. Cancelling leaves it alone, or unbegun, and nobody hears of it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def do() -> None:
        if future.cancelled():
            return
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  it is raised where it is awaited
            tell(lambda error=error: future.set_exception(carried(error)))  # type: ignore[misc]
        else:
            tell(lambda: future.set_result(result))

    def tell(how: Callable[[], None]) -> None:
        try:
            loop.call_soon_threadsafe(lambda: None if future.done() else how())
        except RuntimeError:
            pass  # the loop has ended

    hands.do(do)
    try:
        return await future
    finally:
        if future.cancelled():
            hands.forget(do)


async def ended(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel *tasks*, until they have ended.

    Once may not be enough: what a client library awaits by `asyncio.wait_for` loses the cancellation that
    meets an answer (Python before 3.12).
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)


def in_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], None], *, seconds: float) -> None:
    """Do *work* in *loop*; here, if that runs here or not at all. Raises what it raises, and TimeoutError."""
    if not loop.is_running() or loop is asyncio._get_running_loop():
        work()
        return
    done: concurrent.futures.Future[None] = concurrent.futures.Future()

    def do() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  it is raised where it is waited for
            done.set_exception(error)
        else:
            done.set_result(None)

    loop.call_soon_threadsafe(do)
    done.result(seconds)


def carried(error: BaseException) -> Exception:
    """*error* as a future may hold it: none may hold a StopIteration, and SystemExit would end the loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__qualname__}: {error}")

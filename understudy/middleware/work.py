"""Work in another thread, awaited in a loop that may give it up: then it goes on, and nobody hears of it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from understudy.middleware.native import Hands

T = TypeVar("T")


async def in_thread(hands: Hands, work: Callable[[], T]) -> T:
    """What *work* returns or raises. Cancelling leaves it alone; what was not begun is not."""
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


def carried(error: BaseException) -> Exception:
    """*error* as a future may hold it: none may hold a StopIteration, and SystemExit would end the loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__qualname__}: {error}")

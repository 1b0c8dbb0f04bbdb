"""Where a client's thread has its blocking work done: looking up a host's name, writing its file."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class LastingExecutor(ThreadPoolExecutor):
    """A pool of threads that works to the end of the program.

    Python closes every pool before it calls what `atexit` was given, which is when exposures that wait are
    sent; a host's name could not be looked up any more then. What comes later is done at once, in the thread
    that asks.
    """

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """See ThreadPoolExecutor."""
        try:
            return super().submit(function, *args, **kwargs)
        except RuntimeError:
            return _done(function, *args, **kwargs)


def _done(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
    future: Future[R] = Future()
    try:
        future.set_result(function(*args, **kwargs))
    except Exception as error:  # noqa: BLE001  # told to who asks, as every pool does
        future.set_exception(error)
    return future

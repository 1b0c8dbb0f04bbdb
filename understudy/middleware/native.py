"""The interpreter's own threads and locks, also where gevent has put its own in their place.

What mirrors runs in a real thread: a loop among greenlets would be one more of them, and hold the others up.
"""

import concurrent.futures
import os
import queue
import sys
from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MONKEY: Final = "gevent.monkey"
EVENTLET: Final = "eventlet.patcher"


class Lock(Protocol):
    """Held for a few instructions only, never over a wait."""

    def __enter__(self) -> bool: ...

    def __exit__(self, *error: object) -> None: ...


def native(module: str, name: str) -> Any:
    """*name* of *module* as it is without gevent."""
    monkey = sys.modules.get(MONKEY)
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)


def is_patched() -> bool:
    """Whether gevent has put greenlets in the place of threads."""
    monkey = sys.modules.get(MONKEY)
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def catch_up() -> None:
    """Let what SQLite's driver does in threads wait as greenlets do, also when it was imported before gevent
    patched: by its own queue the first of them would hold up its whole thread, and with it the loop."""
    driver = sys.modules.get("aiosqlite.core")
    if driver is not None:
        driver.__dict__["SimpleQueue"] = queue.SimpleQueue


def new_lock() -> Lock:
    """A lock of the interpreter. The thread that holds it may take it again: a signal's handler, or an object
    that is collected, comes between any two instructions."""
    lock: Lock = native("_thread", "RLock")()
    return lock


def start_thread(work: Callable[[], None]) -> None:
    """Do *work* in a thread that nobody waits for at exit. Raises RuntimeError where there are none."""
    patcher = sys.modules.get(EVENTLET)
    if patcher is not None and patcher.is_monkey_patched("thread"):
        # A loop among its greenlets would never let the others go on.
        raise RuntimeError("eventlet has put its own in the place of threads: serve with threads or gevent")
    native("_thread", "start_new_thread")(work, ())


class Hands:
    """Threads that do what may hang: at most *most* at once, the rest waits; none holds up an exit.

    A thread that finds nothing to do ends. In a forked process there are none, and nothing waits.
    *start* may start something else, which does its work like a thread.
    """

    def __init__(self, most: int, start: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._most = most
        self._start = start
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = new_lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = 0

    def __len__(self) -> int:
        """How many pieces of work wait."""
        return len(self._waiting)

    def do(self, work: Callable[[], None]) -> None:
        """Do *work*, which raises nothing, as soon as a thread is free. Raises RuntimeError when the system
        has no thread left."""
        if self._process != os.getpid():
            self._reset()
        with self._lock:
            if self._busy >= self._most:
                self._waiting.append(work)
                return
            self._busy += 1
        try:
            (self._start or start_thread)(lambda: self._work(work))
        except BaseException:
            with self._lock:
                self._busy -= 1
            raise

    def forget(self, work: Callable[[], None]) -> None:
        """Nobody waits for *work* any more: what was not begun is not kept, however long others hang."""
        with self._lock:
            if work in self._waiting:
                self._waiting.remove(work)

    def _work(self, work: Callable[[], None]) -> None:
        while True:
            work()
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    return
                work = self._waiting.popleft()


class Executor(concurrent.futures.ThreadPoolExecutor):
    """Threads for what blocks in an event loop, for as long as the loop lives.

    Those of `concurrent.futures` take nothing more once the main thread has ended, though other threads may
    serve on, and what mirrors ends after all of them.
    """

    def __init__(self, most: int) -> None:
        super().__init__(max_workers=most)
        self._hands = Hands(most)

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """See `concurrent.futures.Executor.submit`."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  it is raised where it is awaited
                future.set_exception(error)
            else:
                future.set_result(result)

        self._hands.do(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing is kept that could be: idle threads have ended, and none that hangs is waited for."""

"""The interpreter's own threads and locks, also where gevent has put its own in their place.

What mirrors runs in a real thread: a loop among greenlets would be one more of them, and hold the others up.
"""

import os
import sys
from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol

MONKEY: Final = "gevent.monkey"


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


def new_lock() -> Lock:
    """A lock of the interpreter."""
    lock: Lock = native("_thread", "allocate_lock")()
    return lock


def start_thread(work: Callable[[], None]) -> None:
    """Do *work* in a thread that nobody waits for at exit."""
    native("_thread", "start_new_thread")(work, ())


class Hands:
    """Threads that do what may hang: at most *most* at once, the rest waits; none holds up an exit.

    A thread that finds nothing to do ends. In a forked process there are none, and nothing waits.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = new_lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = 0

    def do(self, work: Callable[[], None]) -> None:
        """Do *work*, which raises nothing, as soon as a thread is free."""
        if self._process != os.getpid():
            self._reset()
        with self._lock:
            if self._busy >= self._most:
                self._waiting.append(work)
                return
            self._busy += 1
        start_thread(lambda: self._work(work))

    def _work(self, work: Callable[[], None]) -> None:
        while True:
            work()
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    return
                work = self._waiting.popleft()

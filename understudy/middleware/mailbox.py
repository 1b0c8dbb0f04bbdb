"""From any thread to the one that waits: a queue that also wakes a greenlet of gevent's."""

import concurrent.futures
import queue
import threading
from collections import deque
from typing import Any, Protocol, TypeVar

from understudy.middleware.native import is_patched, new_lock

T = TypeVar("T")


class Mailbox(Protocol):
    """``put`` never waits; ``get`` waits, in the thread or greenlet that made this."""

    def put(self, item: tuple[str, Any], /) -> None: ...

    def get(self) -> tuple[str, Any]: ...


def mailbox() -> Mailbox:
    """A new one, for this thread."""
    return GeventMailbox() if is_patched() else queue.SimpleQueue()


def new_future() -> "concurrent.futures.Future[Any]":
    """One that another thread may settle: `waited` waits for it. Its lock is the interpreter's."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future._condition = threading.Condition(new_lock())  # type: ignore[arg-type]
    return future


def waited(future: "concurrent.futures.Future[T]", seconds: float) -> T:
    """What *future* comes to. Raises TimeoutError after so many *seconds*.

    With gevent `result` may wait for ever, whatever its timeout: a greenlet that wakes takes the lock again,
    and when another thread holds it, gevent can lose that it was let go of.
    """
    if is_patched():
        import gevent

        mail = mailbox()
        future.add_done_callback(lambda _: mail.put(("over", None)))
        with gevent.Timeout(seconds, TimeoutError):
            mail.get()
        return future.result(0)
    return future.result(seconds)


class GeventMailbox:
    """Wakes the greenlet through its own loop, for what a greenlet waits on may not be touched elsewhere.

    Of that loop a thread may call no more than ``send`` (libev: ``ev_async_send``), on what is not closed
    meanwhile. So who waits begins and closes what wakes it: the last to hold this may be another thread.
    """

    def __init__(self) -> None:
        self._items: deque[tuple[str, Any]] = deque()
        self._lock = new_lock()
        self._waker: Any = None
        """What `put` wakes by; None while nobody waits."""

    def put(self, item: tuple[str, Any], /) -> None:
        self._items.append(item)
        with self._lock:
            if self._waker is not None:
                self._waker.send()

    def get(self) -> tuple[str, Any]:
        while not self._items:
            self._wait()
        return self._items.popleft()

    def _wait(self) -> None:
        """Until something is put."""
        import gevent
        import gevent.event

        event = gevent.event.Event()
        waker = gevent.get_hub().loop.async_()
        waker.start(event.set)
        try:
            with self._lock:
                self._waker = waker
            if not self._items:  # it may have come before `put` could wake
                event.wait()
        finally:
            with self._lock:
                self._waker = None
            waker.close()

"""From any thread to the one that waits: a queue that also wakes a greenlet of gevent's."""

import queue
from collections import deque
from typing import Any, Protocol

from understudy.middleware.native import is_patched


class Mailbox(Protocol):
    """``put`` never waits; ``get`` waits, in the thread or greenlet that made this."""

    def put(self, item: tuple[str, Any], /) -> None: ...

    def get(self) -> tuple[str, Any]: ...


def mailbox() -> Mailbox:
    """A new one, for this thread."""
    return GeventMailbox() if is_patched() else queue.SimpleQueue()


class GeventMailbox:
    """Wakes the greenlet through its own loop, for what a greenlet waits on may not be touched elsewhere."""

    def __init__(self) -> None:
        import gevent
        import gevent.event

        self._items: deque[tuple[str, Any]] = deque()
        self._event = gevent.event.Event()
        self._waker = gevent.get_hub().loop.async_()
        self._waker.start(self._event.set)

    def put(self, item: tuple[str, Any], /) -> None:
        self._items.append(item)
        self._waker.send()

    def get(self) -> tuple[str, Any]:
        while not self._items:
            self._event.wait()
            self._event.clear()
        return self._items.popleft()

    def __del__(self) -> None:
        self._waker.close()

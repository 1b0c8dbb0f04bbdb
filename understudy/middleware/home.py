"""Where the application lives in a process of gevent's: the thread whose greenlets answer its requests."""

from collections import deque
from collections.abc import Callable


class Home:
    """Starts greenlets, from any thread, in the one that made this.

    What the application keeps (connections in pools, locks) belongs to that thread's greenlets: in another
    thread gevent refuses to wait on it, or never ends waiting.
    """

    def __init__(self) -> None:
        import gevent

        self._spawn = gevent.spawn
        self._new: deque[Callable[[], None]] = deque()
        self._waker = gevent.get_hub().loop.async_(ref=False)
        self._waker.start(self._begin)

    def start(self, work: Callable[[], None]) -> None:
        """Do *work*, which raises nothing, in a greenlet there, soon."""
        self._new.append(work)
        self._waker.send()

    def _begin(self) -> None:
        while self._new:
            self._spawn(self._new.popleft())

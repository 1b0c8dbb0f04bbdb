"""A thread of its own with an event loop, for a client of threads. It does not keep that client alive."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

from understudy.client.executor import LastingExecutor

_BEGIN_SECONDS: Final = 5.0


class Background:
    """Runs *run*, from the start on, until the event it is given is set by `stop`."""

    def __init__(self, run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        self._run = run
        self._stop = asyncio.Event()
        self._begun = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._live, name="understudy-client", daemon=True)
        self._thread.start()
        self._begun.wait(_BEGIN_SECONDS)

    @property
    def is_here(self) -> bool:
        """Whether this is called in that thread."""
        return self._thread is threading.current_thread()

    def stop(self) -> None:
        """Have it end soon. Safe to call in any thread, and again."""
        try:
            if self.loop is not None:
                self.loop.call_soon_threadsafe(self._stop.set)
        except RuntimeError:
            pass  # it has ended by itself

    def join(self, seconds: float) -> None:
        """Wait for its end, up to *seconds*; not in the thread itself."""
        if not self.is_here:
            self._thread.join(seconds)

    def _live(self) -> None:
        with asyncio.Runner() as runner:
            self.loop = runner.get_loop()
            self.loop.set_default_executor(LastingExecutor(thread_name_prefix="understudy-client"))
            self._begun.set()
            runner.run(self._run(self._stop))

"""One event loop in a thread of its own, for applications that have none: there it mirrors."""

import asyncio
import atexit
import concurrent.futures
import logging
import multiprocessing
import multiprocessing.util
import os
import weakref
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import uvloop

from understudy.errors import StoreError
from understudy.middleware.handover import Handover
from understudy.middleware.native import is_patched, new_lock, start_thread

if TYPE_CHECKING:
    from understudy.middleware.understudy import Understudy

log = logging.getLogger("understudy.middleware")

START_SECONDS: Final = 10.0
"""More than rules are waited for (`RULES_SECONDS`); then the loop itself hangs."""

STOP_MARGIN_SECONDS: Final = 2.0
"""Beside the drain deadline: to cut off what did not end."""

REPORT_SECONDS: Final = 30.0

EXIT_PRIORITY: Final = 0
"""After whatever else ends with the process, which may ask the application once more."""

T = TypeVar("T")


class Background:
    """The loop of *understudy* in this process: begun by the first request, never before a fork.

    A forked process begins its own. `stop` ends it, and the interpreter's exit does.
    """

    def __init__(self, understudy: "Understudy") -> None:
        self._understudy = weakref.ref(understudy)
        self._kept: list[object] = []
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = new_lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun: concurrent.futures.Future[Handover | None] | None = None
        self._first: Handover | None = None
        self._over: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._end: asyncio.Event | None = None
        self.handover: Handover | None = None
        """Where to hand work over; None until it was begun, and after the end."""

    def forked(self) -> None:
        """This process is a new one: the thread is not here, and nothing of its loop is used or closed."""
        self._kept += [self._loop, self.handover]
        self._reset()

    def begin(self) -> Handover | None:
        """Begin, wait until rules are in force; where to hand work over. None: everything passes.

        Raises what kept it from starting, unless that shall pass (``fail_open``).
        """
        if self._process != os.getpid():
            self.forked()
        try:
            return self._started().result(START_SECONDS)
        except TimeoutError:
            log.error("mirroring did not start within %g s; requests pass meanwhile", START_SECONDS)
            return None

    def begin_soon(self) -> Handover | None:
        """Begin, without waiting; where to hand over what shall be done then. None: it has ended."""
        if self._process != os.getpid():
            self.forked()
        self._started()
        return self._first

    def _started(self) -> concurrent.futures.Future[Handover | None]:
        with self._lock:
            begun, is_first = self._begun, self._begun is None
            if begun is None:
                begun = self._begun = concurrent.futures.Future()
                understudy = self._understudy()
                if understudy is not None:
                    self._first = Handover(understudy.settings.shadow.budget_bytes)
        if is_first:
            _at_exit(weakref.ref(self))
            start_thread(self._run)
        return begun

    def run(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Do *work* in the loop, which has begun."""
        if self._loop is None:
            work.close()
            raise RuntimeError("mirroring has ended")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def report(self) -> dict[str, Any]:
        """The report on all evidence in the store, for who runs in no event loop.

        Raises `StoreError` when it cannot be read.
        """
        handover = self.begin()
        if handover is None:
            raise StoreError("there is no evidence, because mirroring is off or has ended")
        return self.run(handover.stage.report()).result(REPORT_SECONDS)

    def stop(self) -> None:
        """End the loop, within ``limits.drain_timeout``. May be called twice; not in the loop itself."""
        understudy = self._understudy()
        begun, loop = self._begun, self._loop
        if self._process != os.getpid() or begun is None or loop is None or understudy is None:
            return
        try:
            loop.call_soon_threadsafe(self._set_end)
            self._over.result(understudy.settings.limits.drain_timeout + STOP_MARGIN_SECONDS)
        except RuntimeError:
            pass  # it is closed
        except TimeoutError:
            log.warning("mirroring did not end in time, and is left")

    def _set_end(self) -> None:
        if self._end is not None:
            self._end.set()

    def _run(self) -> None:
        """What the thread does."""
        over, begun = self._over, self._begun
        assert begun is not None
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                self._loop = runner.get_loop()
                runner.run(self._live(begun))
        except BaseException as error:
            if not begun.done():
                begun.set_exception(error)
            else:
                log.exception("what mirrors has ended")
        finally:
            self.handover = self._first = None
            self._loop = None
            self._begun = concurrent.futures.Future()
            self._begun.set_result(None)  # whoever comes now, passes
            over.set_result(None)

    async def _live(self, begun: concurrent.futures.Future[Handover | None]) -> None:
        understudy = self._understudy()
        if understudy is None:
            begun.set_result(None)
            return
        self._end = asyncio.Event()
        await understudy.start()
        stage, handover = understudy.stage, self._first
        if stage is None or handover is None:
            begun.set_result(None)
            return
        handover.attach(stage)
        self.handover = handover
        begun.set_result(handover)
        seconds = understudy.settings.limits.drain_timeout
        del understudy
        await self._end.wait()
        self.handover = self._first = None
        handover.end()
        await stage.end(seconds)


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's; with gevent one that waits by gevent's selector, so that what stores do in threads, which are
    greenlets of this thread then, goes on meanwhile."""
    return asyncio.SelectorEventLoop() if is_patched() else uvloop.new_event_loop()


def _at_exit(background: "weakref.ref[Background]") -> None:
    """Let it stop with the process; one of `multiprocessing`, as granian's workers are, runs no `atexit`.

    See ``multiprocessing.process.BaseProcess._bootstrap``.
    """
    atexit.register(_stop, background)
    if multiprocessing.parent_process() is not None:
        multiprocessing.util.Finalize(None, _stop, args=(background,), exitpriority=EXIT_PRIORITY)


def _stop(background: "weakref.ref[Background]") -> None:
    found = background()
    if found is not None:
        found.stop()

"""One event loop in a thread of its own, for applications that have none: there it mirrors."""

import asyncio
import atexit
import concurrent.futures
import logging
import os
import sys
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import uvloop

from understudy.errors import StoreError
from understudy.middleware.errands import Errands
from understudy.middleware.home import Home
from understudy.middleware.mailbox import new_future, waited
from understudy.middleware.native import Executor, catch_up, is_patched, new_lock, start_thread

if TYPE_CHECKING:
    from understudy.middleware.understudy import Understudy

log = logging.getLogger("understudy.middleware")

START_SECONDS: Final = 10.0
"""More than rules are waited for (`RULES_SECONDS`); then the loop itself hangs."""

STOP_MARGIN_SECONDS: Final = 2.0
"""Beside the drain deadline: to cut off what did not end."""

LAST_SECONDS: Final = 1.0
"""To store evidence, however long canaries took."""

REPORT_SECONDS: Final = 30.0

LAST_OF_A_CHILD: Final = 0
"""Among what multiprocessing ends at the end of a process: the last, as others may still call functions."""

MOST_THREADS: Final = 8
"""For what blocks in the loop: names to be resolved, files of rules."""

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
        self._begun: concurrent.futures.Future[Errands | None] | None = None
        self._first: Errands | None = None
        self._over: concurrent.futures.Future[None] = new_future()
        self._end: asyncio.Event | None = None
        self._is_ending = False
        self._running: set[concurrent.futures.Future[Any]] = set()
        self._home: Home | None = None
        self.errands: Errands | None = None
        """What the loop is given to do; None until it was begun, and after the end."""

    def forked(self) -> None:
        """This process is a new one: the thread is not here, and nothing of its loop is used or closed."""
        self._kept += [self._loop, self.errands]
        self._reset()

    def begin(self) -> Errands | None:
        """Begin, wait until rules are in force; what takes errands then. None: everything passes.

        Raises what kept it from starting, unless that shall pass (``fail_open``).
        """
        if self._process != os.getpid():
            self.forked()
        try:
            return waited(self._started(), START_SECONDS)
        except TimeoutError:
            log.error("mirroring did not start within %g s; requests pass meanwhile", START_SECONDS)
            return None

    def begin_soon(self) -> Errands | None:
        """Begin, without waiting; what takes errands until then and after. None: it has ended."""
        if self._process != os.getpid():
            self.forked()
        self._started()
        return self._first

    def _started(self) -> concurrent.futures.Future[Errands | None]:
        with self._lock:
            begun, is_first = self._begun, self._begun is None
            if begun is None:
                begun = self._begun = new_future()
                understudy = self._understudy()
                if understudy is not None:
                    self._first = Errands(understudy.settings.shadow.budget_bytes)
        if is_first:
            self._home = Home() if is_patched() else None
            _at_exit(weakref.ref(self))
            try:
                start_thread(self._run)
            except RuntimeError as error:  # no thread is left: who comes now must not wait for one
                self._first = None
                self._over.set_result(None)
                begun.set_exception(error)
        return begun

    def run(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Do *work* in the loop; cancelled when that ends before. Raises RuntimeError when it has ended."""
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                work.close()
                raise RuntimeError("mirroring has ended")
            running = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    def start(self, work: Callable[[], None]) -> None:
        """Do *work*, which is the application's and raises nothing, where that may wait: in a thread, or with
        gevent in a greenlet beside those of its requests. Raises RuntimeError where there is no thread."""
        if self._home is None:
            start_thread(work)
        else:
            self._home.start(work)

    def report(self) -> dict[str, Any]:
        """The report on all evidence in the store, for who runs in no event loop.

        Raises `StoreError` when it cannot be read.
        """
        errands = self.begin()
        if errands is None:
            raise StoreError("there is no evidence, because mirroring is off or has ended")
        try:
            return waited(self.run(errands.stage.report()), REPORT_SECONDS)
        except (RuntimeError, concurrent.futures.CancelledError):
            raise StoreError("there is no report, because mirroring has ended") from None
        except TimeoutError:
            raise StoreError(f"there was no report within {REPORT_SECONDS:g} s") from None

    def stop(self) -> None:
        """End the loop, within ``limits.drain_timeout``, also one that is only beginning.

        May be called twice; not in the loop itself.
        """
        understudy, begun = self._understudy(), self._begun
        if self._process != os.getpid() or begun is None or understudy is None:
            return
        over = self._over
        with self._lock:
            self._is_ending = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._set_end)
        try:
            waited(over, understudy.settings.limits.drain_timeout + STOP_MARGIN_SECONDS)
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
                loop = runner.get_loop()
                with self._lock:
                    self._loop = loop
                try:
                    runner.run(self._live(begun))
                finally:
                    self._leave_loop()
        except BaseException as error:
            if not begun.done():
                begun.set_exception(error)
            else:
                log.exception("what mirrors has ended")
        finally:
            self._begun = new_future()
            self._begun.set_result(None)  # whoever comes now, passes
            over.set_result(None)

    def _leave_loop(self) -> None:
        """Nothing more goes to the loop; who waits for something in it that will never run, hears so."""
        with self._lock:
            self._loop = self.errands = self._first = None
            running, self._running = self._running, set()
        for one in list(running):
            one.cancel()

    async def _live(self, begun: concurrent.futures.Future[Errands | None]) -> None:
        understudy = self._understudy()
        if understudy is None:
            begun.set_result(None)
            return
        self._end = asyncio.Event()
        if self._is_ending:
            self._end.set()
        await understudy.start()
        stage, errands = understudy.stage, self._first
        if stage is None or errands is None:
            begun.set_result(None)
            return
        errands.attach(stage)
        self.errands = errands
        begun.set_result(errands)
        seconds = understudy.settings.limits.drain_timeout
        del understudy
        await self._end.wait()
        self.errands = self._first = None
        until = stage.loop.time() + seconds
        await self._carried(seconds)
        errands.end()
        await stage.end(max(until - stage.loop.time(), LAST_SECONDS))

    async def _carried(self, seconds: float) -> None:
        """Let the canaries under way come to their end, for so long: they are answers to clients."""
        carried = [asyncio.wrap_future(one) for one in list(self._running)]
        if carried:
            await asyncio.wait(carried, timeout=seconds)


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's; with gevent one that waits by gevent's selector, so that what stores do in threads, which are
    greenlets of this thread then, goes on meanwhile."""
    if is_patched():
        catch_up()
        return asyncio.SelectorEventLoop()
    loop = uvloop.new_event_loop()
    loop.set_default_executor(Executor(MOST_THREADS))
    return loop


def _at_exit(background: "weakref.ref[Background]") -> None:
    """Stop it when the process ends; one of multiprocessing's ends without the interpreter's callbacks."""
    atexit.register(_stop, background)
    processes, endings = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if processes is not None and endings is not None and processes.parent_process() is not None:
        endings.Finalize(None, _stop, args=(background,), exitpriority=LAST_OF_A_CHILD)


def _stop(background: "weakref.ref[Background]") -> None:
    found = background()
    if found is not None:
        found.stop()

"""The client for applications on an event loop.

It stays in touch with the server on that loop, without a thread.
"""

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from understudy.client.base import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    BaseClient,
    check,
    renew_after_fork,
)
from understudy.client.details import Details, kind_of
from understudy.client.options import TIMEOUT_SECONDS, CachePath, Mode, read_options
from understudy.client.remote import context_json
from understudy.client.status import State
from understudy.client.wire import Token
from understudy.decide import Evaluation


class AsyncClient(BaseClient):
    """Flags of the control process at *url*; arguments, answers and errors as `Client` has them.

    It stays in touch from ``async with`` or `start` on, until `close`. A question awaits nothing in local
    mode, and the server's answer in remote mode. Rules of more than 64 KiB are read in a thread of the loop's
    pool.

    Raises: ConfigError, when it could never work.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token = None,
        mode: Mode = "local",
        flag_set: str = "",
        cache: CachePath = None,
        timeout: float = TIMEOUT_SECONDS,
        poll: float = 30.0,
        exposures: bool = False,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        super().__init__(
            read_options(
                url,
                token=token,
                mode=mode,
                flag_set=flag_set,
                cache=cache,
                timeout=timeout,
                poll=poll,
                exposures=exposures,
                verify=verify,
            )
        )
        self._stop, self._ready = asyncio.Event(), asyncio.Event()
        self._waiting = 0
        """How many wait for ``_ready``, which an event loop must not find taken by another one."""
        self._running: asyncio.Task[None] | None = None
        if self.ready():
            self._ready.set()
        self._hooks.on_status(self._note)
        renew_after_fork(self)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Begin to stay in touch, on this loop, until `close`. Safe to call again.

        Also after `close`, after the loop has ended, and in a forked process: what was known goes on
        answering.
        """
        if _goes_on(self._running):
            return
        self._let_go()
        self._stop = asyncio.Event()
        if self._running is not None or not self._waiting:
            self._ready, self._waiting = asyncio.Event(), 0
        self._life.begin()
        if self.ready():
            self._ready.set()
        # Not a TaskGroup's: frameworks start and close in different tasks. This object owns it.
        loop = asyncio.get_running_loop()
        self._running = loop.create_task(self._life.run(self._stop), name="understudy-client")

    async def wait_ready(self, timeout: float = 10.0) -> bool:  # noqa: ASYNC109  # as Client has it
        """Wait until there are flags to answer with, up to *timeout* seconds; whether there are."""
        ready, self._waiting = self._ready, self._waiting + 1
        try:
            async with asyncio.timeout(timeout):
                await ready.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting -= ready is self._ready
        return self.ready()

    async def close(self) -> None:
        """Send what exposures wait, for a moment, and end; what is known goes on answering.

        Whoever waits for flags waits no longer. Safe to call again, on any loop; `start` begins anew.
        """
        running = self._running
        if running is None or not _goes_on(running):
            self._let_go()
        elif running.get_loop() is asyncio.get_running_loop():
            await self._end(running)
        else:
            ending = asyncio.run_coroutine_threadsafe(self._end(running), running.get_loop())
            await asyncio.wrap_future(ending)
        self._life.feed.close()
        if running is None or running.get_loop() is asyncio.get_running_loop():
            self._ready.set()

    async def boolean(self, flag: str, unit: str | None, default: bool, /, **attributes: Any) -> bool:
        """See `Client.boolean`."""
        check(default, BOOLEAN)
        answer = await self._found(flag, unit, attributes)
        found: bool = self._fitting(flag, unit, default, answer, BOOLEAN)
        return found

    async def string(self, flag: str, unit: str | None, default: str, /, **attributes: Any) -> str:
        """See `Client.string`."""
        check(default, STRING)
        answer = await self._found(flag, unit, attributes)
        found: str = self._fitting(flag, unit, default, answer, STRING)
        return found

    async def integer(self, flag: str, unit: str | None, default: int, /, **attributes: Any) -> int:
        """See `Client.integer`."""
        check(default, INTEGER)
        answer = await self._found(flag, unit, attributes)
        found: int = self._fitting(flag, unit, default, answer, INTEGER)
        return found

    async def number(self, flag: str, unit: str | None, default: float, /, **attributes: Any) -> float:
        """See `Client.number`."""
        check(default, NUMBER)
        answer = await self._found(flag, unit, attributes)
        return self._number(flag, unit, default, answer)

    async def object(
        self, flag: str, unit: str | None, default: dict[str, Any] | list[Any], /, **attributes: Any
    ) -> Any:
        """See `Client.object`."""
        check(default, OBJECT)
        answer = await self._found(flag, unit, attributes)
        return self._fitting(flag, unit, default, answer, OBJECT)

    async def variant(self, flag: str, unit: str | None, default: str, /, **attributes: Any) -> str:
        """See `Client.variant`."""
        check(default, STRING)
        return self._named(flag, unit, default, await self._found(flag, unit, attributes))

    async def details(self, flag: str, unit: str | None, default: Any, /, **attributes: Any) -> Details[Any]:
        """See `Client.details`."""
        kind_of(default)
        held = self._held()
        if held is None:
            return self._explained(flag, unit, default, await self._found(flag, unit, attributes), None)
        found = held.evaluate(flag, self._context(flag, unit, attributes))
        return self._explained(flag, unit, default, found, held.origin.version)

    async def evaluate_all(
        self, unit: str | None, attributes: Mapping[str, Any] | None = None
    ) -> dict[str, Details[Any]]:
        """See `Client.evaluate_all`."""
        context = self._context_of_all(unit, attributes)
        if self._is_remote:
            return self._all(await self._life.evaluate_all_remotely(context_json(context)))
        return self._all_held(context)

    async def _found(self, flag: str, unit: str | None, attributes: dict[str, Any]) -> Evaluation:
        context = self._context(flag, unit, attributes)
        if self._is_remote:
            return await self._life.evaluate_remotely(flag, context_json(context))
        return self._life.evaluate(flag, context)

    def _let_go(self) -> None:
        """Whoever runs on a loop that stands still ends when that goes on, if ever."""
        if self._running is None or not self._running.get_loop().is_closed():
            self._stop.set()

    async def _end(self, running: asyncio.Task[None]) -> None:
        self._stop.set()
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError:
            running.cancel()
            raise

    def _note(self, state: State) -> None:
        if state is State.READY:
            self._ready.set()

    def _renew(self) -> None:
        """Be ready to `start` in a forked process, where the parent's loop does not run."""
        self._running, self._ready, self._waiting = None, asyncio.Event(), 0
        self._life.renew()
        if self.ready():
            self._ready.set()


def _goes_on(running: asyncio.Task[None] | None) -> bool:
    return running is not None and not running.done() and running.get_loop().is_running()

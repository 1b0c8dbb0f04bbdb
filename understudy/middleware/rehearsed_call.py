"""The loop's side of a candidate: a call is mirrored as a request is, by the same books and bounds."""

import asyncio
import inspect
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import perf_counter
from typing import Any, Final, TypeAlias

from understudy.config import Ejection, Service
from understudy.config.app import NOWHERE
from understudy.histogram import DELTAS, Histogram
from understudy.middleware.candidate import CallHead, Given, Trial, is_async
from understudy.middleware.native import Hands
from understudy.middleware.outcome import Outcome, raised, returned
from understudy.middleware.stage import Stage
from understudy.middleware.work import in_thread
from understudy.shadow import Copy, Mirror, MirroredExchange, ShadowCall, Target
from understudy.upstream import Caller, DelegateConnection, delegate_pool

CALL: Final = "CALL"
ONCE: Final = "ONCE"
"""The methods of what is no request: a function that may be called again, and one that may not."""

CALLS: Final = frozenset({CALL, ONCE})

Ended: TypeAlias = tuple[Outcome | str, float]
"""What a function came to, or why that is not known, and the seconds that it took."""


UNCOPYABLE: Final = "uncopyable"
UNREADABLE: Final = "unreadable"
LOOP_CLOSED: Final = "loop_closed"


class Called:
    """A `Delegate` that calls *function* where *start* lets it or, if it is async, in the caller's loop."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        start: Callable[[Callable[[], None]], None],
        most: int,
        seconds: float,
        keeps_first: bool,
    ) -> None:
        self._function = function
        self._seconds = seconds
        self._keeps_first = keeps_first
        self._is_async = is_async(function)
        self.hands = Hands(most, start)

    async def __call__(self, connection: DelegateConnection, caller: Caller, wire: bytes) -> None:
        del wire
        head = caller.head if isinstance(caller, ShadowCall) else None
        if not isinstance(caller, ShadowCall) or not isinstance(head, CallHead):
            connection.lost("unknown")
            return
        try:
            async with asyncio.timeout(self._seconds):
                outcome, seconds = await self._outcome(head.given)
        except TimeoutError:
            connection.lost("timeout")
            return
        if isinstance(outcome, str):
            connection.lost(outcome)
        else:
            caller.took(seconds)
            connection.answer(outcome.status, outcome.headers, len(outcome.body))
            connection.data(outcome.body)
            connection.end()

    async def _outcome(self, given: Given) -> Ended:
        """What the function comes to, and in how many seconds of its own: threads and copies are ours.

        It is read where it was made, for reading it may take long, or hang.
        """
        if self._is_async:
            return await self._awaited(given)
        context = given.context.copy()  # one context cannot be entered twice at a time
        return await in_thread(self.hands, lambda: context.run(self._tried, given))

    def _tried(self, given: Given) -> Ended:
        try:
            arguments, keywords = given.taken(keeps_first=self._keeps_first)
        except BaseException:  # noqa: BLE001  of the arguments, so no answer of the function
            return UNCOPYABLE, 0.0
        started_at = perf_counter()
        try:
            result = self._function(*arguments, **keywords)
        except BaseException as error:  # noqa: BLE001  what it raises is its answer, SystemExit too
            return raised(error), perf_counter() - started_at
        return read(result), perf_counter() - started_at

    async def _awaited(self, given: Given) -> Ended:
        """Run it as a task of the caller's loop, in the caller's context; cancel it when this is."""
        home, theirs = asyncio.get_running_loop(), given.loop
        ended: asyncio.Future[Ended] = home.create_future()
        running: list[asyncio.Task[None]] = []

        async def run() -> None:
            found = await self._tried_there(given)
            with suppress(RuntimeError):  # who waited has ended
                home.call_soon_threadsafe(lambda: None if ended.done() else ended.set_result(found))

        if theirs is None:
            return UNREADABLE, 0.0
        try:
            # No group can own it: it belongs to the application's loop, and is held until it has ended here.
            theirs.call_soon_threadsafe(
                lambda: running.append(theirs.create_task(run(), context=given.context.copy()))
            )
        except RuntimeError:
            return LOOP_CLOSED, 0.0
        try:
            return await ended
        except asyncio.CancelledError:
            with suppress(RuntimeError):  # that loop has ended, and the task with it
                theirs.call_soon_threadsafe(lambda: [task.cancel() for task in running])
            raise

    async def _tried_there(self, given: Given) -> Ended:
        """As `_tried`, in a task of the caller's loop. Raises what ends that task from outside."""
        try:
            arguments, keywords = given.taken(keeps_first=self._keeps_first)
        except Exception:  # noqa: BLE001  of the arguments, so no answer of the function
            return UNCOPYABLE, 0.0
        started_at = perf_counter()
        try:
            result = await self._function(*arguments, **keywords)
        except (GeneratorExit, KeyboardInterrupt):
            raise  # from outside: it was ended
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return raised(error), perf_counter() - started_at
        except BaseException as error:  # noqa: BLE001  its answer; SystemExit would end the caller's loop
            return raised(error), perf_counter() - started_at
        return read(result), perf_counter() - started_at


def read(result: object) -> Outcome | str:
    """*result* as an answer, or that it cannot be read, whatever it says to that."""
    try:
        if inspect.iscoroutine(result):
            result.close()  # nobody will await it
        return returned(result)
    except Exception:  # noqa: BLE001
        return UNREADABLE


class Rehearsals:
    """Where the calls of one `Trial` are booked: a target for the candidate, one for controls, per stage."""

    def __init__(
        self,
        candidate: Callable[..., Any],
        *,
        name: str,
        in_flight: int,
        timeout: float,
        is_repeatable: bool,
    ) -> None:
        self._candidate = candidate
        self._name = name
        self._in_flight = in_flight
        self._timeout = timeout
        self._method = CALL if is_repeatable else ONCE
        self._targets: weakref.WeakKeyDictionary[Stage, tuple[Target, Target]] = weakref.WeakKeyDictionary()

    def book(
        self, trial: Trial, stage: Stage, given: Given | None, outcome: Outcome | None, seconds: float
    ) -> None:
        """Mirror one call, or count why not: not copied, not readable."""
        target, control = self._of(trial, stage)
        mirror = stage.mirror
        exchange = mirror.begin(
            (target,),
            method=self._method,
            override="",
            allowed=CALLS,
            is_shadow=False,
            path=trial.endpoint,
            query="",
            flag="",
        )
        if exchange is None:
            return
        try:
            if given is None or outcome is None:
                mirror.skip(exchange, UNCOPYABLE if given is None else UNREADABLE)
            else:
                exchange.head = CallHead(self._method, trial.endpoint, given)
                self._send(mirror, exchange, control, outcome, seconds)
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            mirror.give_up(exchange)

    def refuse(self, trial: Trial, stage: Stage, times: int) -> None:
        """Count so many calls for which there was no room."""
        target, _ = self._of(trial, stage)
        target.eligible += times
        target.reasons["dropped", "handover"] += times

    def _send(
        self, mirror: Mirror, exchange: MirroredExchange, control: Target, outcome: Outcome, seconds: float
    ) -> None:
        exchange.is_repeatable = self._method == CALL
        start = f"{self._method} {exchange.path} HTTP/1.1".encode()
        if mirror.send(exchange, Copy(start, [], None, b"", b""), control):
            exchange.primary_answer(outcome.status, outcome.headers)
            exchange.primary_data(outcome.body)
            exchange.primary_complete(seconds, b"")

    def _of(self, trial: Trial, stage: Stage) -> tuple[Target, Target]:
        found = self._targets.get(stage)
        if found is None:
            found = (
                self._target(trial, stage, "mirror", self._name, self._candidate),
                self._target(trial, stage, "control", self._name, trial.function),
            )
            self._targets[stage] = found
            # Failures teach no name, and this one's may be an exception; it is not a client that names it.
            stage.mirror.endpoints.of(self._method, trial.endpoint)
        return found

    def _target(
        self, trial: Trial, stage: Stage, role: str, name: str, function: Callable[..., Any]
    ) -> Target:
        service = replace(Service(url=NOWHERE), eject=Ejection(failures=0))
        pool = delegate_pool(
            name,
            service,
            Called(
                function,
                start=trial.understudy.background.start,
                most=self._in_flight,
                seconds=self._timeout,
                keeps_first=trial.has_instance,
            ),
            limit=self._in_flight,
            loop=stage.loop,
            spawn=stage.spawn,
            clock=stage.loop.time,
            on_change=lambda _event: None,
        )
        metrics = stage.metrics
        deltas = metrics.histogram(metrics.delta, name, DELTAS) if role == "mirror" else Histogram(DELTAS)
        target = Target(service=name, role=role, pool=pool, in_flight_limit=self._in_flight, deltas=deltas)
        stage.mirror.targets[role, name] = target
        return target

"""A candidate inside the process: a function whose calls rehearse another one, off the caller's path.

What the caller pays is a copy of the arguments, a snapshot of the result and a place in a queue.
"""

import asyncio
import contextvars
import copy
import functools
import inspect
import random
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from understudy.messages import Headers
from understudy.middleware.errands import Errands, is_alive
from understudy.middleware.outcome import Outcome, raised, returned
from understudy.middleware.rehearsing import rehearsing
from understudy.middleware.stage import Stage

if TYPE_CHECKING:
    from understudy.middleware.understudy import Understudy

P = ParamSpec("P")
R = TypeVar("R")

FLAT_BYTES = 4096
"""What a call is booked for beside its result: nobody knows what arguments hold."""


class Given:
    """One call: its arguments, and where and in which context it was made."""

    __slots__ = ("arguments", "context", "head", "is_shared", "keywords", "loop")

    def __init__(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any], *, is_shared: bool) -> None:
        self.arguments = arguments
        self.keywords = keywords
        self.is_shared = is_shared
        """Whether the caller, candidate and control all have the same objects."""
        self.context = contextvars.copy_context()
        self.loop: asyncio.AbstractEventLoop | None = None

    def taken(self, *, keeps_first: bool) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Arguments for one more call, its own unless they are shared; what it calls rehearses no more."""
        rehearsing.set(True)
        if self.is_shared:
            return self.arguments, self.keywords
        return copied(self.arguments, self.keywords, keeps_first=keeps_first)


ATOMS = frozenset({str, int, float, bool, bytes, type(None)})


class NotPlain(Exception):
    """`copy.deepcopy` has to do it."""


def _copied(value: Any, seen: set[int]) -> Any:
    """A deep copy of JSON's kinds of values, in a tenth of the time. Raises `NotPlain` for others, and for
    what is there twice."""
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is not dict and kind is not list:
        raise NotPlain
    if id(value) in seen:
        raise NotPlain
    seen.add(id(value))
    if kind is list:
        return [_copied(item, seen) for item in value]
    for key in value:
        if type(key) not in ATOMS:
            raise NotPlain
    return {key: _copied(item, seen) for key, item in value.items()}


def copied(
    arguments: tuple[Any, ...], keywords: Mapping[str, Any], *, keeps_first: bool
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Deep copies that share what the originals share; *keeps_first*: but for the instance of a method."""
    try:
        seen: set[int] = set()
        begin = 1 if keeps_first else 0
        plain = [_copied(value, seen) for value in arguments[begin:]]
        named = {key: _copied(value, seen) for key, value in keywords.items()} if keywords else {}
        return (*arguments[:begin], *plain), named
    except NotPlain:
        pass
    memo: dict[int, Any] = {}
    if keeps_first and arguments:
        memo[id(arguments[0])] = arguments[0]
    return copy.deepcopy(arguments, memo), copy.deepcopy(dict(keywords), memo) if keywords else {}


class CallHead:
    """A call as the head of a request, for the mirror: ``CALL /module.function``."""

    __slots__ = ("given", "method", "path")

    query = ""
    headers: Headers = ()
    host = ""
    client_ip = ""

    def __init__(self, method: str, path: str, given: Given) -> None:
        self.method = method
        self.path = path
        self.given = given


class Trial:
    """One decorated function and its candidate, with what they came to."""

    def __init__(
        self,
        understudy: "Understudy",
        function: Callable[..., Any],
        *,
        share: float,
        copies: bool,
        book: Callable[["Trial", Stage, Given | None, Outcome | None, float], None],
        refuse: Callable[["Trial", Stage, int], None],
        has_instance: bool,
    ) -> None:
        self.understudy = understudy
        self.function = function
        self.has_instance = has_instance
        self._share = share
        self._copies = copies
        self._book = book
        self._refuse = refuse
        self._own: Errands | None = None
        self.endpoint = f"/{label(function)}"
        # Not the interpreter's own: an application that seeds that one draws what it would draw without us.
        self._chance = random.Random().random

    def is_wanted(self) -> bool:
        """Whether this call rehearses."""
        if rehearsing.get() or self.understudy.failure:
            return False
        return self._share >= 1 or self._chance() < self._share

    def given(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Given | None:
        """The call, before the function may change what it was given; None: it cannot be copied."""
        try:
            if self._copies:
                arguments, keywords = copied(arguments, keywords, keeps_first=self.has_instance)
            return Given(arguments, keywords, is_shared=not self._copies)
        except Exception:  # noqa: BLE001  whatever an argument says to being copied: it is counted in the loop
            return None

    def ended(self, given: Given | None, outcome: Callable[[], Outcome], seconds: float) -> None:
        """The function came to *outcome*. Never raises, never waits."""
        try:
            errands = self._errands()
            if errands is None:
                return
            told = tried(outcome)
            size = FLAT_BYTES + (len(told.body) if told is not None else 0)
            errands.offer(size, lambda stage: self._book(self, stage, given, told, seconds), self)
        except Exception:  # noqa: BLE001  rehearsing is isolated
            stage = self.understudy.stage
            if stage is not None:
                stage.metrics.mirror_errors += 1

    def refused(self, stage: Stage, times: int) -> None:
        """There was no room to hand over so many calls: they are dropped."""
        self._refuse(self, stage, times)

    def _errands(self) -> Errands | None:
        """Of the application's own loop, if it mirrors there; else of a thread's."""
        understudy = self.understudy
        background = understudy.background
        if background.errands is not None:
            return background.errands
        stage = understudy.stage
        if stage is None or not is_alive(stage):
            return background.begin_soon()
        own = self._own
        if own is None or own.stage is not stage:
            own = self._own = Errands(understudy.settings.shadow.budget_bytes)
            own.attach(stage)
        return own


def tried(outcome: Callable[[], Outcome]) -> Outcome | None:
    """The outcome; None when it cannot be said, which is counted in the loop."""
    try:
        return outcome()
    except Exception:  # noqa: BLE001  whatever a result says to being read
        return None


def watched(trial: Trial, function: Callable[P, R]) -> Callable[P, R]:
    """*function*, each call of which *trial* is told of."""
    if is_async(function):
        return cast("Callable[P, R]", _watched_async(trial, cast("Callable[..., Awaitable[Any]]", function)))

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not trial.is_wanted():
            return function(*args, **kwargs)
        given = trial.given(args, kwargs)
        started_at = perf_counter()
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            known = raised(error)
            trial.ended(given, lambda: known, perf_counter() - started_at)
            raise
        trial.ended(given, lambda: returned(result), perf_counter() - started_at)
        return result

    return call


def _watched_async(trial: Trial, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not trial.is_wanted():
            return await function(*args, **kwargs)
        given = trial.given(args, kwargs)
        if given is not None:
            given.loop = asyncio.get_running_loop()
        started_at = perf_counter()
        try:
            result = await function(*args, **kwargs)
        except Exception as error:
            known = raised(error)
            trial.ended(given, lambda: known, perf_counter() - started_at)
            raise
        trial.ended(given, lambda: returned(result), perf_counter() - started_at)
        return result

    return call


def label(function: Callable[..., Any]) -> str:
    """``module.name`` of a function, of the one in a partial, of the class of another callable."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """What runs when *function* is called: of an object with ``__call__`` that one."""
    while isinstance(function, functools.partial):
        function = function.func
    is_object = not inspect.isroutine(function) and not isinstance(function, type)
    found: Callable[..., Any] = type(function).__call__ if is_object else function
    return found


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call of *function* is to be awaited."""
    return asyncio.iscoroutinefunction(function) or inspect.iscoroutinefunction(called(function))


def check(function: Any, what: str) -> None:
    """Raise TypeError unless *function* can be rehearsed: it answers once, when it is called."""
    if isinstance(function, classmethod | staticmethod) or not callable(function):
        raise TypeError(f"{what}: a function is needed; put @classmethod and @staticmethod above, not below")
    runs = called(function)
    if inspect.isgeneratorfunction(runs) or inspect.isasyncgenfunction(runs):
        raise TypeError(f"{what}: {label(function)} is a generator function, without one answer")


def has_instance(function: Callable[..., Any]) -> bool:
    """Whether the first argument is a method's, which is not copied."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False  # of a builtin, which tells none
    return bool(names) and names[0] in ("self", "cls")

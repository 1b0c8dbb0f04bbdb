"""What an application wants to be told. What its functions raise is counted and logged, never passed on."""

import inspect
import logging
import threading
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from understudy.client.status import ChangeListener, State, StatusListener

log = logging.getLogger("understudy.client")
F = TypeVar("F", bound=Callable[..., object])
_Isolated = type[BaseException] | tuple[type[BaseException], ...]
_OF_A_LISTENER: Final = (Exception, SystemExit, CancelledError)
"""A listener is called where the client stays in touch: whatever it raises there would end that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """A unit met a variant of a flag, at ``at`` (seconds since 1970).

    ``unit`` is None when nobody said whose.
    """

    flag: str
    variant: str
    unit: str | None
    at: float


ExposureHook = Callable[[Exposure], object]
"""Told of each evaluation that gave a variant, on the thread that asked; it should not wait."""


class Hooks:
    """Functions to call; adding and removing is safe from any thread, also while they are called."""

    def __init__(self) -> None:
        self._changes: tuple[ChangeListener, ...] = ()
        self._states: tuple[StatusListener, ...] = ()
        self.exposures: tuple[ExposureHook, ...] = ()
        self.errors = 0
        self.renew()

    def renew(self) -> None:
        """Begin anew, in a forked process: a lock may be held there by a thread that is not."""
        self._lock = threading.Lock()

    def on_change(self, listener: ChangeListener) -> Callable[[], None]:
        """Tell *listener* of changes, until the function returned is called. Raises: TypeError."""
        _check(listener)
        with self._lock:
            self._changes += (listener,)

        def remove() -> None:
            self._changes = _without(self._changes, listener)

        return self._once(remove)

    def on_status(self, listener: StatusListener) -> Callable[[], None]:
        """Tell *listener* of new states, until the function returned is called. Raises: TypeError."""
        _check(listener)
        with self._lock:
            self._states += (listener,)

        def remove() -> None:
            self._states = _without(self._states, listener)

        return self._once(remove)

    def on_exposure(self, hook: ExposureHook) -> Callable[[], None]:
        """Tell *hook* of exposures, until the function returned is called. Raises: TypeError."""
        _check(hook)
        with self._lock:
            self.exposures += (hook,)

        def remove() -> None:
            self.exposures = _without(self.exposures, hook)

        return self._once(remove)

    def changed(self, flags: frozenset[str]) -> None:
        """Tell of a change."""
        for listener in self._changes:
            self._call(listener, flags, _OF_A_LISTENER)

    def came_to(self, state: State) -> None:
        """Tell of a state."""
        for listener in self._states:
            self._call(listener, state, _OF_A_LISTENER)

    def met(self, exposure: Exposure) -> None:
        """Tell of an exposure."""
        for hook in self.exposures:
            self._call(hook, exposure, Exception)

    def _once(self, remove: Callable[[], None]) -> Callable[[], None]:
        """*remove*, which does nothing the second time: the function may have been added twice."""
        left = [remove]

        def once() -> None:
            with self._lock:
                if left:
                    left.pop()()

        return once

    def _call(self, function: Callable[..., object], told: object, isolated: _Isolated) -> None:
        try:
            function(told)
        except isolated:  # the application's own function; its trouble is not that of whoever asks
            self.errors += 1
            if self.errors & (self.errors - 1) == 0:  # the 1st, 2nd, 4th, 8th …: a log is not flooded
                log.exception("a function that is told of flags failed, %d in all", self.errors)


def _check(function: object) -> None:
    """Raises: TypeError for what could never be told: a coroutine function's work would not begin."""
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise TypeError(
            "a function that is told of flags is called, not awaited: give one that is not async, and"
            " have it create a task where there is more to do"
        )


def _without(functions: tuple[F, ...], gone: F) -> tuple[F, ...]:
    """*functions* without the first that is *gone*."""
    found = list(functions)
    if gone in found:
        found.remove(gone)
    return tuple(found)

"""What both clients have: whom they tell of what, and how an answer is fitted to what was asked."""

import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from understudy.client.attributes import context_of
from understudy.client.definition import Definition
from understudy.client.details import Details, check_default, copied, details_of, kind_of
from understudy.client.hooks import Exposure, ExposureHook
from understudy.client.life import Life
from understudy.client.options import Options
from understudy.client.status import ChangeListener, Status, StatusListener
from understudy.decide import Evaluation

BOOLEAN: Final = (bool,)
STRING: Final = (str,)
INTEGER: Final = (int,)
NUMBER: Final = (float, int)
OBJECT: Final = (dict, list)


class BaseClient:
    """Common to `Client` and `AsyncClient`; never made by itself."""

    def __init__(self, options: Options) -> None:
        self._life = Life(options)
        self._hooks = self._life.hooks
        self._timeout_seconds = options.timeout_seconds
        self.mode = options.mode
        """``local`` or ``remote``, as it was made."""
        self._is_remote = options.mode == "remote"

    def status(self) -> Status:
        """How this client stands with its server. Never waits."""
        return self._life.status()

    def ready(self) -> bool:
        """Whether there are flags to answer with, from the server or from the file."""
        return self._life.is_ready

    def tell_again(self) -> None:
        """Tell who listens of the state when it next is known, also if it is the same."""
        self._life.feed.tell_again()

    def flags(self) -> tuple[str, ...]:
        """The flags that may be asked, in document order; none in remote mode."""
        held = self._held()
        return held.keys if held is not None else ()

    def on_change(self, listener: ChangeListener) -> Callable[[], None]:
        """Tell *listener* which flags may answer differently; in remote mode an empty set: nobody says which.

        It is called where the client stays in touch with its server (`Client`: a thread of its own), and
        should not wait. What it raises is counted. The function returned ends it.
        """
        return self._hooks.on_change(listener)

    def on_status(self, listener: StatusListener) -> Callable[[], None]:
        """Tell *listener* each new state, as above."""
        return self._hooks.on_status(listener)

    def on_exposure(self, hook: ExposureHook) -> Callable[[], None]:
        """Tell *hook* of each question for one flag that a variant answered, on the thread that asked.

        Answers for all flags at once are no exposures: nobody has met them yet.
        """
        return self._hooks.on_exposure(hook)

    def _renew(self) -> None:
        """Go on in a forked process, where no other thread is."""
        self._life.renew()

    def _context(self, flag: str, unit: str | None, attributes: dict[str, Any]) -> dict[str, Any]:
        """Raises: TypeError."""
        if not isinstance(flag, str):
            raise TypeError(f"a flag is named by text, not {type(flag).__name__}")
        return context_of(unit, attributes)

    def _context_of_all(self, unit: str | None, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
        """As `_context`, where attributes have any name. Raises: TypeError."""
        given: object = {} if attributes is None else attributes
        if not isinstance(given, Mapping):
            raise TypeError(f"attributes are a mapping, not {type(given).__name__}")
        if not all(isinstance(name, str) for name in given):
            raise TypeError("the name of an attribute is text")
        return context_of(unit, dict(given))

    def _fitting(
        self, flag: str, unit: str | None, default: Any, found: Evaluation, kinds: tuple[type, ...]
    ) -> Any:
        """The value of *found* if it is of one of *kinds*, else *default*."""
        value = found.value
        if type(value) not in kinds:
            return default
        if self._hooks.exposures:
            self._met(flag, unit, found.variant)
        return copied(value) if kinds is OBJECT else value

    def _number(self, flag: str, unit: str | None, default: float, found: Evaluation) -> float:
        """As `_fitting`; an integer that no float reaches is no number. Raises: TypeError."""
        try:
            return float(self._fitting(flag, unit, default, found, NUMBER))
        except OverflowError:
            return as_float(default)

    def _named(self, flag: str, unit: str | None, default: str, found: Evaluation) -> str:
        if not found.variant:
            return default
        if self._hooks.exposures:
            self._met(flag, unit, found.variant)
        return found.variant

    def _explained(
        self, flag: str, unit: str | None, default: Any, found: Evaluation, version: int | None
    ) -> Details[Any]:
        details = details_of(flag, found, default, version=version, kind=kind_of(default))
        if details.variant and self._hooks.exposures:
            self._met(flag, unit, details.variant)
        return details

    def _all(self, found: Mapping[str, Evaluation], version: int | None = None) -> dict[str, Details[Any]]:
        return {key: details_of(key, each, None, version=version) for key, each in found.items()}

    def _held(self) -> Definition | None:
        """One version of the rules, for several questions; None in remote mode, and at the start."""
        return self._life.holding.held if self._life.holding is not None else None

    def _all_held(self, context: dict[str, Any]) -> dict[str, Details[Any]]:
        held = self._held()
        if held is None:
            return {}
        return self._all({key: held.evaluate(key, context) for key in held.keys}, held.origin.version)

    def _met(self, flag: str, unit: str | None, variant: str) -> None:
        self._hooks.met(Exposure(flag=flag, variant=variant, unit=unit, at=time.time()))


_living: "weakref.WeakSet[BaseClient]" = weakref.WeakSet()


def renew_after_fork(client: BaseClient) -> None:
    """Have *client* go on in processes that are forked from this one."""
    _living.add(client)


def _renew_all() -> None:
    for client in list(_living):
        client._renew()


os.register_at_fork(after_in_child=_renew_all)


def as_float(default: float) -> float:
    """Raises: TypeError for an integer that no float reaches."""
    try:
        return float(default)
    except OverflowError:
        raise TypeError("the default is larger than any float") from None


def check(default: object, kinds: tuple[type, ...]) -> None:
    """Raises: TypeError unless *default* is of one of *kinds*."""
    if type(default) not in kinds:
        check_default(default, kinds)

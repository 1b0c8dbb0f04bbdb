"""Which decision the result of a flag's rule is: the part of deciding that every request meets."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from understudy.messages import Head

if TYPE_CHECKING:
    from understudy.decide.rules import Decision


class ByRule:
    """Decides a head by what *run* says of it: as *known* has it, else as *other* does; never raises.

    *failed* makes the decision of a run that raised.
    """

    __slots__ = ("_failed", "_known", "_other", "_run")

    def __init__(
        self,
        run: Callable[[Head], Any],
        known: Mapping[Any, "Decision"],
        *,
        other: "Callable[[Any], Decision]",
        failed: "Callable[[Exception], Decision]",
    ) -> None:
        self._run = run
        self._known: dict[Any, Decision] = dict(known)
        self._other = other
        self._failed = failed

    def __call__(self, head: Head) -> "Decision":
        try:
            result = self._run(head)
        except Exception as error:  # noqa: BLE001  a rule's own failure never reaches a request
            return self._failed(error)
        if result is None or type(result) is str:
            decision = self._known.get(result)
            if decision is not None:
                return decision
        return self._other(result)

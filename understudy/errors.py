"""The one tree of errors that Understudy raises on purpose.

A message says where and what is wrong, then how to mend it.
"""

from dataclasses import dataclass


class UnderstudyError(Exception):
    """Root of every error raised on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a configuration or a rules document.

    ``path`` is dotted, with list positions in brackets: ``flags.shop.variants.canary.serve``,
    ``routes[0].unit``. ``hint`` says what was probably meant; empty when there is no good guess.
    """

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(UnderstudyError):
    """A configuration or rules document is refused; ``problems`` lists every mistake found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class StoreError(UnderstudyError):
    """The store could not answer: locked, read-only, unreachable or damaged."""


class VersionConflict(StoreError):
    """A compare-and-set lost: the document has moved on to ``actual``."""

    def __init__(self, *, expected: int, actual: int) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(f"rules document: expected version {expected}, but it is at {actual}")


class FlagNotFound(UnderstudyError):
    """No flag has that key."""

    def __init__(self, key: str, known: tuple[str, ...] = ()) -> None:
        self.key = key
        self.known = known
        super().__init__(f"flag {key!r}: not found" + (f"; there are {', '.join(known)}" if known else ""))


class ListenError(UnderstudyError):
    """An address could not be bound."""


class DecisionMissing(UnderstudyError):
    """A request was asked for its decision, and nothing has decided it: the middleware is not there."""

"""Decorate a function with a candidate: everything that can be wrong with the two is said at once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from understudy.middleware.candidate import Trial, check, has_instance, is_async, label, watched
from understudy.middleware.rehearsed_call import Rehearsals

if TYPE_CHECKING:
    from understudy.middleware.understudy import Understudy

MOST_NAME: Final = 200
"""Characters: names stand in metrics and in each piece of evidence."""

P = ParamSpec("P")
R = TypeVar("R")


def rehearse(
    understudy: "Understudy",
    candidate: Callable[..., Any],
    *,
    name: str,
    share: float,
    copies: bool,
    is_repeatable: bool,
    timeout: float,
    in_flight: int,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """See `Understudy.shadow`."""
    check(candidate, "candidate")
    if not 0 <= share <= 1 or not timeout > 0 or in_flight < 1:
        raise ValueError("share is from 0 to 1, timeout more than 0 seconds, in_flight at least 1")
    known = name or label(candidate)
    if not known.isprintable() or known.strip() != known or len(known) > MOST_NAME:
        raise ValueError(
            f"name: {known[:MOST_NAME]!r}: give a printable one without blanks around it,"
            f" of at most {MOST_NAME} characters"
        )
    if known in understudy.settings.services or known in understudy.candidates:
        raise ValueError(f"name: {known!r} is another service or candidate; give this one a name of its own")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        check(function, "function")
        if is_async(function) != is_async(candidate):
            raise TypeError(f"{label(function)} and its candidate: both are async, or neither")
        if known in understudy.candidates:
            raise ValueError(f"name: {known!r} rehearses another function already; decorate each by itself")
        understudy.candidates.add(known)
        rehearsals = Rehearsals(
            candidate, name=known, in_flight=in_flight, timeout=timeout, is_repeatable=is_repeatable
        )
        trial = Trial(
            understudy,
            function,
            share=share,
            copies=copies,
            book=rehearsals.book,
            refuse=rehearsals.refuse,
            has_instance=has_instance(function),
        )
        return watched(trial, function)

    return decorate

"""What tests make of rules before they come into force in the applications of this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from understudy.config import Rules

Alter = Callable[[Rules], Rules]
"""Other rules in the place of those that are given; never raises."""

_alters: list[Alter] = []


@contextmanager
def altering(alter: Alter) -> Iterator[None]:
    """Let *alter* change all rules that come into force in this process meanwhile, one after another.

    It is always given the rules as they are without it. What is in force already is put in force anew by
    `Understudy.lay_out`, at the beginning, at the end, and whenever *alter* says something else.
    """
    _alters.append(alter)
    try:
        yield
    finally:
        _alters.remove(alter)


def altered(rules: Rules) -> Rules:
    """*rules* as they come into force in this process."""
    for alter in _alters:
        rules = alter(rules)
    return rules

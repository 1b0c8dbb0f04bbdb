"""Schedules: from and until a moment, in seconds since 1970."""

from typing import Any

import pytest

from understudy.decide import Evaluator, check_rules

AUGUST, SEPTEMBER = 1_785_542_400, 1_788_220_800  # 2026-08-01 and 2026-09-01, 00:00 UTC
NOW = {"var": "$flagd.timestamp"}


def sale(first: Any = AUGUST, last: Any = SEPTEMBER) -> dict[str, Any]:
    rule = {"if": [{"and": [{">=": [NOW, first]}, {"<": [NOW, last]}]}, "on", "off"]}
    return {"sale": {"variants": {"on": True, "off": False}, "defaultVariant": "off", "targeting": rule}}


@pytest.mark.parametrize(
    ("now", "variant"),
    [
        (AUGUST - 0.001, "off"),
        (AUGUST, "on"),
        (SEPTEMBER - 0.001, "on"),
        (SEPTEMBER, "off"),
    ],
)
def test_a_flag_is_on_from_one_moment_until_another(now: float, variant: str) -> None:
    """The first moment is in, the last is out; the time is an argument."""
    assert Evaluator(flags=sale(), clock=lambda: now).evaluate("sale", {}).variant == variant


@pytest.mark.parametrize(
    ("moment", "hint"),
    [
        ("2026-08-01T00:00:00Z", "did you mean 1785542400?"),
        ("2026-08-01", "did you mean 1785542400?"),
        ("2026-08-01T02:00:00+02:00", "did you mean 1785542400?"),
        ("next week", "seconds since 1970, in UTC"),
        (AUGUST * 1000, "did you mean 1785542400?"),
    ],
)
def test_what_would_never_come_true_is_refused(moment: Any, hint: str) -> None:
    """A date or milliseconds: the answer has the seconds."""
    (problem,) = check_rules(flags=sale(first=moment), routes=())
    assert (problem.path, problem.hint) == ("flags.sale.targeting.if[0].and[0].>=[1]", hint)
    assert check_rules(flags=sale(), routes=()) == []

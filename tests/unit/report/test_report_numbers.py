"""Numbers as a reader wants them."""

import pytest

from understudy.report.numbers import count, duration, moment, percent, plural


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0%"),
        (0.00001, "<0.1%"),
        (0.0015, "0.1%"),
        (0.1, "10%"),
        (0.925, "92.5%"),
        (0.99999, ">99.9%"),
        (1, "100%"),
        (None, "\N{EN DASH}"),
    ],
)
def test_percent_never_rounds_to_none_or_all(share: float | None, shown: str) -> None:
    """One difference in a million is not nothing."""
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0000004, "0 µs"),
        (0.00085, "850 µs"),
        (0.0015, "1.5 ms"),
        (0.00999, "10 ms"),
        (0.0125, "12 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1.0 s"),
        (14.26, "14.3 s"),
        (1234.5, "1,234 s"),
        (None, "\N{EN DASH}"),
    ],
)
def test_durations_have_two_or_three_figures(seconds: float | None, shown: str) -> None:
    """The unit follows the size."""
    assert duration(seconds) == shown


def test_counts_have_separators_and_number() -> None:
    """Thousands are set apart; one is singular."""
    assert count(1234567) == "1,234,567"
    assert plural(1, "way") == "1 way"
    assert plural(0, "way") == "0 ways"
    assert plural(2000, "copy", "copies") == "2,000 copies"


@pytest.mark.parametrize(
    ("at", "shown"),
    [(1_767_000_000.0, "2025-12-29 09:20 UTC"), (None, ""), (1e300, ""), (-1e300, "")],
)
def test_moments_are_in_utc(at: float | None, shown: str) -> None:
    """A moment out of all range is left out."""
    assert moment(at) == shown

"""`understudy.comparators.distribution`: quantiles, intervals and bars, read off the bounds of buckets."""

from collections import Counter
from math import comb
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators import bucket, quantile
from understudy.comparators.distribution import (
    MOST_BARS,
    QUANTILES,
    Distribution,
    of_differences,
    of_times,
    ranks,
)

seconds = st.floats(1e-6, 100.0)
deltas = st.floats(-50.0, 50.0)


def differences(values: list[float]) -> Distribution:
    slower = Counter(bucket(value) for value in values if value > 0)
    faster = Counter(bucket(-value) for value in values if value <= 0)
    return of_differences(slower, faster)


@given(st.lists(seconds, min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
@settings(max_examples=50)
def test_a_quantile_of_times_is_that_of_the_evidence(times: list[float], q: float) -> None:
    """The same rank, the same bucket."""
    buckets = Counter(bucket(time) for time in times)
    assert of_times(buckets).quantile(q) == pytest.approx(quantile(buckets, q))


@given(st.lists(deltas, min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.9, 0.99]))
@settings(max_examples=50)
def test_a_quantile_of_differences_is_within_one_percent(values: list[float], q: float) -> None:
    """Also of those below zero, where the shadow was faster; a microsecond is the finest."""
    rank = max(1, -int(-q * len(values) // 1))
    expected = sorted(values)[rank - 1]
    assert differences(values).quantile(q) == pytest.approx(expected, rel=0.0101, abs=1.01e-6)


@given(st.lists(deltas, min_size=1, max_size=300))
@settings(max_examples=50)
def test_an_interval_holds_its_quantile(values: list[float]) -> None:
    """Read outward: never narrower than the counts allow, and open where nothing bounds it."""
    known = differences(values)
    for q in QUANTILES.values():
        low, high = known.interval(q)
        middle = known.quantile(q)
        assert middle is not None
        assert low is None or low <= middle
        assert high is None or high >= middle


@given(st.lists(deltas, min_size=1, max_size=300))
@settings(max_examples=50)
def test_bars_hold_everything_and_are_few(values: list[float]) -> None:
    """Ascending bounds without gaps, every value counted, at most 64 bars and the bound before the first."""
    bars = differences(values).bars()
    bounds = [bound for bound, _ in bars]
    assert bounds == sorted(set(bounds))
    assert bars[0][1] == 0
    assert sum(number for _, number in bars) == len(values)
    assert 2 <= len(bars) <= MOST_BARS + 1
    assert bars[0][0] <= min(values) + 1e-6
    assert bars[-1][0] >= max(values) - 1e-6


def test_times_have_no_bar_below_zero() -> None:
    """Zero is where time begins; and nothing has no picture, quantile or interval."""
    bars = of_times({bucket(0.00005): 3, bucket(0.25): 1}).bars()
    assert bars[0][0] == 0.0
    empty = of_times({})
    assert (empty.bars(), empty.quantile(0.5), empty.interval(0.5)) == ([], None, (0.0, None))


def test_few_times_bound_no_tail() -> None:
    """Twenty answers say nothing of how slow one in a hundred may be."""
    low, high = of_times({bucket(0.1): 20}).interval(0.99)
    assert low is not None
    assert low > 0.09
    assert high is None


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_an_interval_misses_its_quantile_in_one_of_twenty_runs_at_most(q: float) -> None:
    """Looked at after every answer, in 200 runs of 400 answers, the first quarter of it most closely."""
    misses = 0
    for run in range(200):
        chance, below = Random(f"{q}/{run}"), 0
        for n in range(1, 401):
            below += chance.random() < q
            least, most = ranks(n, q)
            if not least <= below <= most:
                misses += 1
                break
    assert misses <= 15  # 10 are promised; 15 is two standard deviations more


@given(st.integers(1, 300), st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=50)
def test_ranks_hold_with_the_promised_certainty(total: int, q: float) -> None:
    """At any one number of answers, by the binomial distribution itself."""
    least, most = ranks(total, q)
    inside = sum(comb(total, k) * q**k * (1 - q) ** (total - k) for k in range(least, most + 1))
    assert inside >= 0.95
    assert 0 <= least <= most <= total

"""`understudy.comparators.latency`: slower, or certainly not, by counts in buckets alone."""

import json
from collections import Counter
from math import sqrt
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators import Key, Ledger, bucket
from understudy.comparators.evidence import forgiven
from understudy.comparators.latency import EXCESS, Slowness, latencies
from understudy.comparators.noise import threshold

NAME = ("v2", "GET /x")
FDR = 0.05
LEVEL = threshold(1, FDR)


def counted(primary: list[float], shadow: list[float]) -> Counter[Key]:
    """Evidence of the exchanges that took so long on either side."""
    evidence: Counter[Key] = Counter()
    for mine, theirs in zip(primary, shadow, strict=True):
        delta = theirs - mine
        evidence["latency", *NAME, "primary", str(bucket(mine))] += 1
        evidence["latency", *NAME, "shadow", str(bucket(theirs))] += 1
        evidence["latency", *NAME, "slower" if delta > 0 else "faster", str(bucket(abs(delta)))] += 1
        evidence["exchange", *NAME, "late"] += theirs > forgiven(mine)
    return evidence


def judged(evidence: Counter[Key]) -> dict[str, Any]:
    return latencies(Ledger(evidence), [NAME], FDR)[NAME]


def lognormal(chance: Random, n: int, factor: float = 1.0) -> list[float]:
    """Around 80 ms, as web answers are."""
    return [factor * chance.lognormvariate(-2.53, 0.6) for _ in range(n)]


def alarms(runs: int, n: int, factor: float, shared: float) -> int:
    """In how many runs the shadow is called slower, looked at every 25 exchanges.

    Times spread by 0.6 (of their logarithm); *shared* is the part of it that lies in the request.
    """
    bad = 0
    for run in range(runs):
        chance = Random(f"alarm/{run}")
        mine: Counter[int] = Counter()
        theirs: Counter[int] = Counter()
        late = 0
        for i in range(1, n + 1):
            request, rest = chance.lognormvariate(-2.53, shared), sqrt(0.36 - shared**2)
            one, other = (request * chance.lognormvariate(0, rest) for _ in range(2))
            other *= factor
            mine[bucket(one)] += 1
            theirs[bucket(other)] += 1
            late += other > forgiven(one)
            if i % 25 == 0 and Slowness(mine, theirs, late, i).log_e() >= LEVEL:
                bad += 1
                break
    return bad


@pytest.mark.parametrize("factor", [1.0, 1.05, 1.1])
def test_up_to_the_tolerance_there_is_no_alarm(factor: float) -> None:
    """Watched all the time: not more alarms in 20 runs than the promised 5 % and chance give."""
    assert alarms(20, 500, factor, 0.0) <= 2
    assert alarms(20, 500, factor, 0.5) <= 2


def test_a_fifth_slower_is_found() -> None:
    """Within 2,000 exchanges where requests differ more than answers to one; half as slow again in 500."""
    assert alarms(10, 2000, 1.2, 0.5) >= 8
    assert alarms(10, 500, 1.5, 0.0) >= 9


def test_a_fifth_slower_in_pairs_is_found_at_once() -> None:
    """Requests take very different times, but each takes the shadow a fifth longer: 60 exchanges do."""
    chance = Random(2)
    primary = lognormal(chance, 60)
    assert judged(counted(primary, [1.2 * time for time in primary]))["verdict"] == "regression"
    assert judged(counted(primary, [1.09 * time for time in primary]))["verdict"] != "regression"


def test_clean_is_said_only_with_evidence() -> None:
    """As fast as the primary: undecided with a number at first, clean after about so many more."""
    chance = Random(3)
    few = judged(counted(lognormal(chance, 100), lognormal(chance, 100)))
    assert few["verdict"] == "undecided"
    assert 100 < few["needed"] < 2000
    many = judged(counted(lognormal(chance, 2500), lognormal(chance, 2500)))
    assert (many["verdict"], many["needed"]) == ("clean", None)


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_slower_is_never_called_clean(seed: int) -> None:
    """A tenth of its answers is late beyond the tolerance, and no number of them hides that."""
    chance = Random(seed)
    whole = judged(counted(lognormal(chance, 3000), lognormal(chance, 3000, 1.25)))
    assert whole["verdict"] != "clean"


def test_nothing_measured_is_undecided() -> None:
    """No verdict, no figures, no picture."""
    nothing = judged(Counter())
    assert (nothing["verdict"], nothing["answers"], nothing["needed"]) == ("undecided", 0, None)
    assert nothing["primary"]["p50"] is None
    assert nothing["delta"]["slower"] is None
    assert nothing["delta"]["buckets"] == []


def test_a_constant_time_needs_few_answers_to_be_clean() -> None:
    """All 10 ms on both sides: what is never late is bounded soon."""
    assert judged(counted([0.01] * 300, [0.0101] * 300))["verdict"] == "clean"


def test_differences_are_paired() -> None:
    """The shadow takes 20 ms longer in every exchange, though the times themselves overlap."""
    chance = Random(5)
    primary = [chance.uniform(0.01, 0.5) for _ in range(400)]
    delta = judged(counted(primary, [time + 0.02 for time in primary]))["delta"]
    assert delta["p50"] == pytest.approx(0.02, rel=0.011)
    assert delta["slower"] == 1.0
    low, high = delta["intervals"]["p50"]
    assert 0.0195 < low < 0.02 < high < 0.0205


def test_a_faster_shadow_has_negative_differences() -> None:
    """And is clean."""
    chance = Random(6)
    primary = lognormal(chance, 1500)
    whole = judged(counted(primary, [time / 2 for time in primary]))
    assert whole["delta"]["p90"] < 0
    assert whole["delta"]["slower"] == 0.0
    assert whole["verdict"] == "clean"


def test_the_shape_that_pages_read() -> None:
    """Every key, and all of it JSON."""
    whole = judged(counted([0.01, 0.02], [0.02, 0.01]))
    json.dumps(whole, allow_nan=False)
    for side in ("primary", "shadow", "delta"):
        assert {"p50", "p90", "p99", "intervals", "buckets"} <= whole[side].keys()
        assert whole[side]["intervals"].keys() == {"p50", "p90", "p99"}
    assert whole["delta"]["slower"] == 0.5
    assert whole["tolerance"] == 0.1
    assert whole["answers"] == 2


times = st.dictionaries(st.integers(200, 700), st.integers(1, 300), min_size=1, max_size=20)


@given(times, times, st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=50)
def test_the_number_needed_for_a_regression_suffices(
    primary: dict[int, int], shadow: dict[int, int], late: int, others: int
) -> None:
    """After so many times as much of the same, the e-value has reached its level."""
    until = Slowness(primary, shadow, late, late + others).times_until(LEVEL)
    if until < 1e6:
        whole = int(until) + 1
        mine, theirs = ({index: n * whole for index, n in side.items()} for side in (primary, shadow))
        after = Slowness(mine, theirs, late * whole, (late + others) * whole)
        assert after.log_e() >= LEVEL - 1e-6


@given(times, st.integers(1, 300))
@settings(max_examples=50)
def test_a_slower_answer_never_makes_the_shadow_look_faster(primary: dict[int, int], index: int) -> None:
    """Later answers may only raise the evidence, or leave it."""
    shadow = dict(primary)
    slower = {at + index: n for at, n in primary.items()}
    assert Slowness(primary, slower).log_e() >= Slowness(primary, shadow).log_e() - 1e-9


def test_a_tail_below_the_excess_is_no_clean_verdict() -> None:
    """One in twenty answers 400 ms later: fewer than a tenth, and the e-value leans."""
    chance = Random(8)
    primary = lognormal(chance, 3000)
    shadow = [time + 0.4 * (i % 20 == 0) for i, time in enumerate(lognormal(chance, 3000))]
    assert EXCESS > 1 / 20
    assert judged(counted(primary, shadow))["verdict"] == "regression"
